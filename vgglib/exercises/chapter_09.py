"""Checks of the exercises in notebooks/09_scaling_out.ipynb."""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from vgglib import scaling
from vgglib.teaching import Verdict, as_number, check_answer, check_function, check_words

PARAMETERS = 138_357_544  # of configuration D
MEGABYTES = 4 * PARAMETERS / 1e6  # of its gradient in float32
NEAR = 8e-4  # a share: who rounds the gradient to 553 MB first is off by less, who forgets a device by more


def check_shard_sizes(attempt: Callable) -> Verdict:
    """Return the verdict on how many pictures of a batch each device gets, the larger shards first."""
    if attempt is not ... and not callable(attempt):
        return Verdict("failed", f"shard_sizes(batch, devices) is a function, yours is a {type(attempt).__name__}")
    cases = {
        (256, 4): [64, 64, 64, 64],
        (5, 2): [3, 2],
        (11, 4): [3, 3, 3, 2],
        (23, 5): [5, 5, 5, 4, 4],
        (7, 1): [7],
        (2, 3): [1, 1, 0],
    }
    mistakes = {
        "what is left over all goes to the last device": lambda batch, devices: (
            [batch // devices] * (devices - 1) + [batch // devices + batch % devices]
        ),
    }
    given: dict[tuple, object] = {}

    def listed(batch: int, devices: int) -> object:
        found = given[batch, devices] = _listed(attempt(batch, devices))
        return found

    found = check_function(listed, cases, "shard_sizes", mistakes)
    why = ""
    if "yours gave" in found.text and not any(reason in found.text for reason in mistakes):
        call = next(call for call in cases if check_answer(given[call], cases[call]).status != "passed")
        why = _why_sizes(given[call], *call, cases[call])
    text = found.text if len(found.text + why) <= 200 else f"{found.text[: 197 - len(why)]}..."
    return Verdict(found.status, text + why)


def _listed(sizes: object) -> object:
    """Return what a learner's function gave as a list, if it is one by another name: a tuple, a generator, an array."""
    if isinstance(sizes, Iterable) and not isinstance(sizes, str | Mapping | set) and getattr(sizes, "shape", True):
        return [as_number(size) for size in islice(sizes, 1000)]
    return sizes


def _why_sizes(sizes: object, batch: int, devices: int, right: list[int]) -> str:
    """Return what is wrong with the sizes of one batch's shards, behind a colon; nothing where they are no sizes."""
    if not isinstance(sizes, list):
        return ": a list is asked"
    if len(sizes) != devices:
        return f": {len(sizes):,} numbers for {devices} devices"
    if any(isinstance(size, bool) or not isinstance(size, int | float) for size in sizes):
        return ": numbers are asked"
    if any(size != int(size) or size < 0 for size in sizes if abs(size) < float("inf")):
        return ": a shard has 0, 1, 2, ... pictures"
    total = " + ".join(f"{size:g}" for size in sizes)
    if sum(sizes) != batch:
        return f": {total} = {sum(sizes):g} of {batch} pictures"
    if sorted(sizes, reverse=True) == right:
        return ": the larger shards come first"
    return f": the sizes differ by {max(sizes) - min(sizes):g}, and could by less"


def check_accumulate(attempt: Callable) -> Verdict:
    """Return the verdict on a loop that leaves a batch's gradient in a network, taken shard by shard.

    attempt: called with a network whose gradients are those of a step before, pictures (N, 3), labels (N,) and the
    sizes of the shards.
    """
    for sizes in ((3, 1, 2), (2, 2)):  # unequal first: there each mistake leaves something else
        net, X, y = _problem(sum(sizes))
        start, before = net.weight.detach().clone(), torch.full_like(net.weight, 0.5)
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
        if not torch.equal(net.weight, start):
            return Verdict("failed", f"{call} changes the weights: leave the gradient, the step comes after it")
        returned = isinstance(given, Tensor) and given.numel() == net.weight.numel()
        instead = f"{call} returns the gradient: leave it in the parameters' grad, for the optimiser"
        if left is None:
            return Verdict("failed", instead if returned else f"{call} leaves no gradient in the network")
        if (most := max(did, default=0)) > max(sizes):
            return Verdict("failed", f"{call} shows the network {most} pictures at once: they do not fit into memory")
        if any(one and other for one, other in pairwise(did)):
            why = "what both left on the way forward is in memory together"
            return Verdict("failed", f"{call} shows a second shard before it calls backward for the first: {why}")
        if _alike(left, _gradient(net, X, y)):
            continue
        if returned:
            return Verdict("failed", instead)
        parts = [_gradient(net, *part) for part in zip(X.split(sizes), y.split(sizes), strict=True)]
        why = _why_gradient(left.double(), parts, before, sizes)
        return Verdict("failed", f"{call} does not leave the gradient of the batch{why}")
    return Verdict("passed", "accumulate: equal shards and unequal ones give the gradient of the batch")


def _why_gradient(left: Tensor, parts: list[Tensor], before: Tensor, sizes: tuple[int, ...]) -> str:
    """Return why ``left`` is not the batch's gradient, behind a colon: by the weight that each shard's mean has in it.

    Nothing where it is no sum of those means.
    """
    columns = torch.stack([part.flatten() for part in [*parts, before]], dim=1)
    if not left.isfinite().all():
        return ": it has numbers that are not finite"
    found = torch.linalg.lstsq(columns, left.reshape(-1, 1), driver="gelsd").solution
    if not _alike((columns @ found).reshape(left.shape), left):
        return ""
    *weights, stale = found.flatten().tolist()
    pictures, told = sum(sizes), ", ".join(f"{weight:.2f}" for weight in weights)
    shares = [size / pictures for size in sizes]

    def are(wrong: Iterable[float]) -> bool:
        return all(abs(weight - other) < 1e-4 for weight, other in zip(weights, wrong, strict=True))

    if abs(stale) > 1e-4:
        return ": the gradients of the step before are still in it"
    if not any(abs(weight) > 1e-4 for weight in weights[:-1]):
        return ": only the last shard is left: clear the gradients once, before the loop"
    if are([1] * len(sizes)):
        return ": the means of the shards are added up, as if each were the whole batch"
    if are([weights[0]] * len(sizes)):
        more = "" if abs(sum(weights) - 1) < 1e-4 else f"; and the weights must add up to 1, not {sum(weights):.2f}"
        return (
            f": every shard has the weight {weights[0]:.2f}, so a picture of a small shard has more say than one of a "
            f"large shard{more}"
        )
    if are(sizes):
        return ": it is the sum over all pictures, where the batch's loss is their mean"
    if are(len(sizes) * share for share in shares):
        return (
            f": it is {len(sizes)} times as long, once for each shard: that weight suits DistributedDataParallel, "
            "which takes the mean over the devices; here nobody divides"
        )
    times = weights[0] / shares[0]
    if are(times * share for share in shares):
        return f": the direction is right, and it is {times:.2f} times as long; the shards' shares must add up to 1"
    if are(1 / size for size in sizes):
        return ": the mean over a shard is divided by its pictures once more"
    if are(1 / share for share in shares):
        return ": the share is upside down: the smallest shard counts most"
    if are(size * share for size, share in zip(sizes, shares, strict=True)):
        return ": the loss is a sum over its shard already, and the number of its pictures is in it twice"
    return f": the means of the shards have the weights {told}"


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
    passes, others = 2 * (devices - 1), 100 if devices == 4 else 4
    known = {
        2 * (others - 1) / others * MEGABYTES: f"that is for {others} devices; here are {devices}",
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
    exact, answer = passes * MEGABYTES / devices, as_number(answer)
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
        (shard + ring) / alone: "that is t(8) / t(1), upside down: the speed-up is t(1) / t(8)",
        alone: "that is t(1), the seconds of a step alone; the speed-up is t(1) / t(8)",
        shard: "that is the work of a shard in seconds; the speed-up is t(1) / t(8)",
        ring: "that is the talk in seconds; the speed-up is t(1) / t(8)",
        alone / (shard + ring / 8): "ten gigabits are not ten gigabytes: the ring has 1.25 GB/s",
        alone / (shard + ring / 4): "a number in float32 takes 4 bytes",
        alone / (shard + 8 * ring): "1.25 GB/s are bytes already",
        scaling.speed_up(8, **{**EIGHT, "bytes_per_second": 3.25e9}): "that is at 3.25 GB/s; these have 1.25 GB/s",
    }
    answer = as_number(answer)
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
            r"ring\b|gradients? (\w+ ){0,4}(go|pass|shared)",
        ),
    }
    if isinstance(answer, str):
        own = _ASKED.sub(" ", answer)
        if own != answer and len(own.split()) < 8:
            return Verdict("failed", "these are the exercise's own words: say what happens to each of the three")
        answer = own
    return check_words(answer, ideas, against=_FALSE)


_ASKED = re.compile(  # the exercise's own sentences
    r"we have 32 times as many gpus, so we train with 32 times the batch and are done in a\s+thirty[- ]second of the "
    r"time\W*|what is wrong with this\W*|"
    r"(speak of )?(the )?number of steps,? (the )?learning rate,? and what travels\W*",
    re.IGNORECASE,
)
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
        r"\b(steps|updates|iterations) (become|get|are|grow|will be) (\w+ ){0,3}?more\W*$|"
        r"\bmore (steps|updates|iterations) (\w+ ){0,3}?(per|an|each|every) epoch\b",
        rf"{_DOUBT}|\b(not|never|fewer)\b|n['’]t\b",
        "32 times the batch takes as many pictures in fewer steps: by how many?",
    ),
    (
        r"\bkeep (the )?(lr|(learning )?rate)\b|"
        r"\b(lr|rate) (must|has to|should|needs to) (be )?(fall|drop|shrink|decrease|lower|smaller|reduced|decreased|"
        r"divided|cut|scaled down|turned down)|"
        r"\b(scale|turn|bring|take|set|put) (the )?(lr|(learning )?rate) (down|lower)\b|"
        r"\b(lower|reduce|decrease|divide) (the )?(lr|(learning )?rate)\b|"
        r"\b(lr|rate) (falls|drops|shrinks|decreases|goes down|is (\w+ )?(reduced|lowered|divided|scaled down))\b",
        rf"{_DOUBT}|\b(not|never|less|under\w*|slow\w*|too|cannot|warm\w*|diverg\w*|later|then|end|zero|ten|schedule)\b|n['’]t\b",
        "each step stands for more pictures: what happens with the old rate, and what is the common answer?",
    ),
    (
        r"\b(communicat\w*|talk\w*|traffic|sending|transfers?|gradients?|all-?reduce|exchang\w*) (\w+ ){0,4}?"
        r"(costs?|takes?|is|are) (\w+ )?(nothing|no time|free)\b",
        rf"{_DOUBT}|\b(not|never|hidden|hides?|while)\b|n['’]t\b",
        "the talk takes time in every step: how many bytes leave each device, however many there are?",
    ),
    (
        r"\b(weights|parameters|pictures|images) (\w+ ){0,2}?(travel|sent|exchanged|go|move)\b[^,:]*"
        r"\b(instead|rather|in place) (of|than) (the )?gradients\b",
        rf"{_DOUBT}|\b(not|never)\b|n['’]t\b",
        "every device has its own copy of the weights and its own pictures: what does it lack before it changes them?",
    ),
    (
        r"\b(pictures|images) (\w+ ){0,2}?(travel|sent|exchanged|move) (\w+ ){0,2}?(between|from|among|around)\b",
        rf"{_DOUBT}|\b(not|never|gradients?)\b|n['’]t\b",
        "every device has its own pictures already: what does it lack before it changes its weights?",
    ),
    (
        r"\bless (\w+ )?(travels?|is sent|has to (travel|be sent)|must (travel|be sent))\b|"
        r"\bfewer (bytes|gradients|megabytes) (travel|are sent)\b",
        rf"{_DOUBT}|\b(not|never|epochs?|in all|total|altogether|overall|fewer steps)\b|n['’]t\b",
        "in a step each device sends nearly twice the gradient, however many there are: not less than before",
    ),
)
