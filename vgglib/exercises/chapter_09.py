"""Checks of the exercises in notebooks/09_scaling_out.ipynb."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from vgglib import scaling
from vgglib.teaching import Verdict, check_answer, check_function, check_words

PARAMETERS = 138_357_544  # of configuration D
MEGABYTES = 4 * PARAMETERS / 1e6  # of its gradient in float32
NEAR = 8e-4  # who rounds the gradient to 553 MB first is off by less, who forgets a device by more


def check_shard_sizes(attempt: Callable) -> Verdict:
    """Return the verdict on how many pictures of a batch each device gets, the larger shards first."""
    cases = {
        (256, 4): [64, 64, 64, 64],
        (5, 2): [3, 2],
        (11, 4): [3, 3, 3, 2],
        (23, 5): [5, 5, 5, 4, 4],
        (7, 1): [7],
        (2, 3): [1, 1, 0],
    }
    found = check_function(attempt, cases, "shard_sizes")
    return Verdict(found.status, found.text if len(found.text) <= 200 else f"{found.text[:197]}...")


def check_accumulate(attempt: Callable) -> Verdict:
    """Return the verdict on a loop that leaves a batch's gradient in a network, taken shard by shard.

    attempt: called with a network whose gradients are those of a step before, pictures (N, 3), labels (N,) and the
    sizes of the shards.
    """
    for sizes in ((2, 2), (3, 1, 2)):
        net, X, y = _problem(sum(sizes))
        before = torch.full_like(net.weight, 0.5)
        net.weight.grad = before.clone()
        did: list[int] = []  # pictures that went forward and left something for the way back, and 0 for a way back
        net.register_forward_pre_hook(lambda _, seen, did=did: did.extend([len(seen[0])] * torch.is_grad_enabled()))
        net.weight.register_hook(lambda _, did=did: did.append(0))
        call = f"accumulate(net, X, y, {list(sizes)})"
        try:
            given = attempt(net, X, y, list(sizes))
        except NotImplementedError:
            return Verdict("todo", "accumulate: not attempted yet")
        except Exception as error:
            return Verdict("failed", f"{call} raised {type(error).__name__}: {error}")
        left = net.weight.grad
        if left is not None and torch.equal(left, before) and not did:
            return Verdict("todo", "accumulate: not attempted yet")
        returned = isinstance(given, Tensor) and given.numel() == net.weight.numel()
        instead = f"{call} returns the gradient: leave it in the parameters' grad, for the optimiser"
        if left is None:
            return Verdict("failed", instead if returned else f"{call} leaves no gradient in the network")
        if (most := max(did, default=0)) > max(sizes):
            return Verdict("failed", f"{call} shows the network {most} pictures at once: they do not fit into memory")
        if any(one and other for one, other in pairwise(did)):
            why = "what both left on the way forward is in memory together"
            return Verdict("failed", f"{call} shows a second shard before it calls backward for the first: {why}")
        parts = [_gradient(net, *part) for part in zip(X.split(sizes), y.split(sizes), strict=True)]
        right, last = _gradient(net, X, y), sizes[-1] / len(X)
        if _alike(left, right):
            continue
        if returned:
            return Verdict("failed", instead)
        known = {
            "a picture of a small shard has more say than one of a large shard": sum(parts) / len(parts),
            "the means of the shards are added up, as if each were the whole batch": sum(parts),
            "it is the sum over all pictures, where the batch's loss is their mean": len(X) * right,
            "only the last shard is left: clear the gradients once, before the loop": parts[-1],
            "only the last shard's share is left: clear the gradients once, before the loop": last * parts[-1],
            "the gradients of the step before are still in it": before + right,
        }
        times = (left.double() * right).sum().item() / right.square().sum().item()
        if times > 0:
            told = f"the direction is right, and it is {times:.2f} times as long; the shards' shares must add up to 1"
            known[told] = times * right
        why = next((f": {why}" for why, wrong in known.items() if _alike(left, wrong)), "")
        return Verdict("failed", f"{call} does not leave the gradient of the batch{why}")
    return Verdict("passed", "accumulate: equal shards and unequal ones give the gradient of the batch")


def _problem(pictures: int) -> tuple[nn.Linear, Tensor, Tensor]:
    """Return a small network in float64, without dice, and as many pictures and labels."""
    net = nn.Linear(3, 2, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.3, -0.2, 0.5], [0.1, 0.4, -0.6]]))
    X = torch.sin(torch.arange(3 * pictures, dtype=torch.float64) ** 2).reshape(pictures, 3)
    return net, X, torch.arange(pictures) % 2


def _gradient(net: nn.Linear, X: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the mean loss; the network keeps its own."""
    return torch.autograd.grad(nn.functional.cross_entropy(net(X), y), net.weight)[0]


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool(torch.allclose(one.double(), other, rtol=1e-5, atol=1e-9))


def check_ring_of_four(answer: object) -> Verdict:
    """Return the verdict on the megabytes that each of four devices in a ring sends."""
    return _check_ring(answer, 4)


def check_ring_of_hundred(answer: object) -> Verdict:
    """Return the verdict on the megabytes that each of a hundred devices in a ring sends."""
    return _check_ring(answer, 100)


def _check_ring(answer: object, devices: int) -> Verdict:
    """Return the verdict on a device's megabytes, taken to the nearest one."""
    passes = 2 * (devices - 1)
    known = {
        passes * MEGABYTES * devices: "that is far more than all devices send together; each sends n-th parts",
        passes
        * MEGABYTES: f"that is all {devices:,} together, or whole gradients; a device sends one n-th in each pass",
        MEGABYTES / devices: f"that is one pass; a training step of {devices:,} devices needs {passes:,} of them",
        MEGABYTES * (devices - 1) / devices: "that is one round; the sums must also be spread",
        MEGABYTES: "that is the gradient once; it is cut into parts, and there are two rounds",
        2 * passes * MEGABYTES / devices: "that is what it sends and what it receives; each byte is sent once",
        2 * MEGABYTES: "nearly: in each round there is one pass fewer than there are devices",
        passes * MEGABYTES / devices / 4: "a number in float32 takes 4 bytes",
        passes * MEGABYTES / devices * 1e6: "that is in bytes; a megabyte has 1,000,000 of them",
        passes * MEGABYTES / devices / 1.048576: "that is in MiB; a megabyte has 1,000,000 bytes",
        passes * MEGABYTES / devices / 1000: "that is in GB; a gigabyte has 1,000 megabytes",
    }
    exact = passes * MEGABYTES / devices
    if not isinstance(answer, int | float) or isinstance(answer, bool):
        return check_answer(answer, exact)
    if abs(answer - exact) <= NEAR * exact:
        return check_answer(answer, answer)
    meant = min(known, key=lambda number: abs(answer - number))
    if abs(answer - exact) <= min(abs(answer - meant), 0.005 * exact):
        return check_answer(answer, exact, {answer: "close, but rounded too soon: give it to the nearest MB"})
    return check_answer(answer, exact, {answer: known[meant]} if abs(answer - meant) <= 0.007 * meant else {})


EIGHT = dict(batch=256, parameters=PARAMETERS, images_per_second=16.7, bytes_per_second=1.25e9)


def check_prediction(answer: object) -> Verdict:
    """Return the verdict on the speed-up of eight GPUs of 2014 in a ring of 1.25 GB/s, to one decimal place."""
    alone, shard, ring = 256 / 16.7, 32 / 16.7, scaling.traffic(8, PARAMETERS) / 1.25e9
    exact = scaling.speed_up(8, **EIGHT)
    known = {
        8: "that is without talk",
        scaling.speed_up(8, **EIGHT, pattern="star"): "that is a star; they stand in a ring",
        alone / (shard + ring / 2): "that is one round of passes; there are two",
        alone / (shard + ring / 7 * 4): "that sends the gradient once; a ring sends 2 (n - 1) / n times as much",
        alone / (shard + ring / 7 * 8): "nearly: in each round there is one pass fewer than there are devices",
        alone / (alone + ring): "each device works on its shard only, an eighth of the batch",
        shard + ring: "that is t(8), the seconds of a step; the speed-up is t(1) / t(8)",
        alone / (shard + ring / 4): "a number in float32 takes 4 bytes",
        alone / (shard + 8 * ring): "1.25 GB/s are bytes already",
        scaling.speed_up(8, **{**EIGHT, "bytes_per_second": 3.25e9}): "that is at 3.25 GB/s; these have 1.25 GB/s",
    }
    if not isinstance(answer, int | float) or isinstance(answer, bool):
        return check_answer(answer, exact)
    if abs(answer - exact) <= 0.03:
        return check_answer(answer, answer)
    meant = min(known, key=lambda number: abs(answer - number))
    return check_answer(answer, exact, {answer: known[meant]} if abs(answer - meant) <= 0.05 else {})


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why many times the devices and the batch are not simply as many times faster."""
    ideas = {
        "how many steps are left": (
            "step(?! (size|length))|update|iteration|weight change|changes? of the weights",
            "times the weights (are )?chang",
        ),
        "the learning rate": (
            "learning rate|the rate|scaled rate|rates?|step (size|length)|length of (a|the|each|every) step|lr",
        ),
        "what travels between the devices": (
            "travel|send|traffic|wait|link|wire|sent|communicat|bandwidth|network (each|every) (time|step)",
            "exchange|connection|all reduce|allreduce|transfer|talk|synchron|latency|share gradients",
            r"gradients? (\w+ ){0,6}(between|across|of all)|averag|(over|through|across) the (network|cable|slot|bus)",
            r"(mb|megabytes?) (\w+ ){0,2}(go|move)",
        ),
    }
    return check_words(answer, ideas, against=_FALSE)


_DOUBT = (
    r"\b(wrong|false|mistake\w*|unless|if|without|would|only (if|when|where)|claim\w*|assum\w*)\b|"
    r"\b(not|never) (\w+ )?(true|so|right|the case|correct)\b|n['’]t (true|so|right|correct)\b"
)
_LIMITED = r"\b(but|yet|except|however|only|if|unless|though|although|apart|not true|false that|would)\b|n['’]t true\b"
_THAT = (
    r"(?<!rate )\b(this|that|it|all|everything|claim|plan|statement|sentence|reasoning|speaker|they|we)"
    r"(['’]s|['’]re| is| are| sounds| seems|(?= (isn|aren)['’]t))"
)
_ALL_IS_WELL = "but something is: are as many steps left, does the old rate still fit, and does nothing travel?"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"^\W*(the |this |that |it )?(statement |claim |plan |reasoning |argument )?(holds|works)\b",
        r"\b(holds|works) (only|if|when|while|as long|until|for|up to)\b|\b(but|however|yet|unless|except|not|wrong)\b",
        _ALL_IS_WELL,
    ),
    (
        r"\bnothing(['’]s| is| was| seems| sounds| at all is)? (\w+ )?(wrong|false)\b|"
        r"\b(not anything|none \w+ \w+ is) wrong\b|^\W*(no mistakes?|not wrong)\b|"
        r"\b(there is|there['’]s|there are|i (can )?(see|find)) no (real )?(mistakes?|errors?|faults?|flaws?)\b|"
        rf"{_THAT} (not|isn['’]t|aren['’]t) (\w+ )?(wrong|false|mistaken)\b",
        _LIMITED,
        _ALL_IS_WELL,
    ),
    (
        rf"({_THAT}|^\W*all) ((quite|perfectly|entirely|completely|all|simply|absolutely) )?"
        r"(right|correct|true|fine|ok|okay)(?=[:,]|$| (as|because|since|and)\b)(?! as long)|^\W*i agree\b",
        rf"{_LIMITED}|\b(wrong|mistake\w*|claim that|say(s|ing)? that)\b",
        _ALL_IS_WELL,
    ),
    (
        r"\b(steps|updates|iterations|number of (steps|updates|iterations)) (\w+ ){0,3}?"
        r"(?<!not )(?<!never )(stays?|remains?|is|are) (\w+ )?(?<!not )(?<!hardly )(the same|equal|unchanged)\b"
        r"(?! (size|length|work|cost|kind|in (size|length|work|cost|kind)))",
        _DOUBT,
        "32 times the batch takes as many pictures in fewer steps: by how many?",
    ),
    (
        r"\b(learning )?rate (does not|doesn['’]t|never) (\w+ )?matters?\b|"
        r"\b(learning )?rate (has no (effect|influence)|plays no (role|part)|is irrelevant|is unimportant)\b|"
        r"\b(learning )?rate (can|may) (stay|remain|be left|be kept)( (\w+ )?(the same|unchanged|as it is))?",
        rf"{_DOUBT}|\bbut then (\w+ ){{1,2}}(learns?|moves?|gets?|falls?)\b",
        "with fewer steps the rate matters: what happened to it in the runs with 2,048 pictures a step?",
    ),
    (
        r"\bno (gradients?|bytes|data|communication|traffic)( \w+)? "
        r"(travels?|is sent|are sent|(is |are )?needed|needs?|must|has|have|moves?)\b|"
        r"\bnothing (\w+ )?(travels|is sent|has to travel|must travel|needs to travel|has to be sent|must be sent)\b|"
        r"\bgradients? (do not|don['’]t|need not|needn['’]t) (\w+ )?(travel|be sent|be exchanged|have to)\b",
        _DOUBT,
        "the gradients travel in every step: after which part of a step?",
    ),
    (
        r"\bnumber of (steps|updates|iterations) (is|gets|becomes|grows|will be) (\w+ ){0,3}?\W*"
        r"(larger|higher|greater|bigger|more)\b|\bnumber of (steps|updates|iterations) (grows|rises|increases)\b|"
        r"\b(there are|it takes|it has|it makes|we take|we make) (\w+ ){0,3}?more (steps|updates|iterations)\b|"
        r"\btimes (as many|more) (steps|updates|iterations)\b",
        rf"{_DOUBT}|\b(not|never|fewer|needs?|needed|small(er)? batch|one (gpu|device)|alone|accuracy)\b|n['’]t\b",
        "32 times the batch takes as many pictures in fewer steps: by how many?",
    ),
    (
        r"\bthe same (number of )?(steps|updates|iterations)\b",
        r"\b(not|never|fewer|to|for|after|with|if|unless|false|wrong|claim\w*|assum\w*|epochs|accuracy)\b|n['’]t\b",
        "32 times the batch takes as many pictures in fewer steps: by how many?",
    ),
    (
        r"\bkeep (the )?(lr|(learning )?rate)\b|"
        r"\b(lr|rate) (must|has to|should|needs to) (be )?(fall|drop|shrink|decrease|lower|smaller|reduced|decreased)",
        rf"{_DOUBT}|\b(not|never|less|under\w*|slow\w*|too|cannot|warm\w*|diverg\w*|later|then|end)\b|n['’]t\b",
        "each step stands for more pictures: what happens with the old rate, and what is the common answer?",
    ),
    (
        r"\b(communicat\w*|talk\w*|traffic|sending|transfers?|gradients?|all-?reduce|exchang\w*) (\w+ ){0,4}?"
        r"(costs?|takes?|is|are) (\w+ )?(nothing|no time|free)\b",
        rf"{_DOUBT}|\b(not|never|hidden|hides?|while)\b|n['’]t\b",
        "the talk takes time in every step: how many bytes leave each device, however many there are?",
    ),
    (
        r"\bless (\w+ )?(travels?|is sent|has to (travel|be sent)|must (travel|be sent))\b|"
        r"\bfewer (bytes|gradients|megabytes) (travel|are sent)\b",
        rf"{_DOUBT}|\b(not|never|epochs?|in all|total|altogether|overall|fewer steps)\b|n['’]t\b",
        "in a step each device sends nearly twice the gradient, however many there are: not less than before",
    ),
)
