"""Checks of the exercises in notebooks/09_scaling_out.ipynb."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

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
    return check_function(attempt, cases, "shard_sizes")


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
        if isinstance(given, Tensor) and given.numel() == net.weight.numel():
            return Verdict(
                "failed", f"{call} returns the gradient: leave it in the parameters' grad, for the optimiser"
            )
        if left is None:
            return Verdict("failed", f"{call} leaves no gradient in the network")
        if (most := max(did, default=0)) > max(sizes):
            return Verdict("failed", f"{call} shows the network {most} pictures at once: they do not fit into memory")
        if any(one and other for one, other in pairwise(did)):
            why = "what both left on the way forward is in memory together"
            return Verdict("failed", f"{call} shows a second shard before it calls backward for the first: {why}")
        parts = [_gradient(net, *part) for part in zip(X.split(sizes), y.split(sizes), strict=True)]
        right, last = _gradient(net, X, y), sizes[-1] / len(X)
        if _alike(left, right):
            continue
        known = {
            "a picture of a small shard has more say than one of a large shard": sum(parts) / len(parts),
            "the means of the shards are added up, as if each were the whole batch": sum(parts),
            "it is the sum over all pictures, where the batch's loss is their mean": len(X) * right,
            "only the last shard is left: clear the gradients once, before the loop": parts[-1],
            "only the last shard's share is left: clear the gradients once, before the loop": last * parts[-1],
            "the gradients of the step before are still in it": before + right,
        }
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
        passes * MEGABYTES: "a part is one n-th of the gradient, and only a part moves in each pass",
        MEGABYTES / devices: f"that is one pass; a training step of {devices:,} devices needs {passes:,} of them",
        MEGABYTES * (devices - 1) / devices: "that is one round; the sums must also be spread",
        MEGABYTES: "that is the gradient once; it is cut into parts, and there are two rounds",
        2 * MEGABYTES: "nearly: in each round there is one pass fewer than there are devices",
        passes * MEGABYTES / devices / 4: "a number in float32 takes 4 bytes",
        passes * MEGABYTES / devices * 1e6: "that is in bytes; a megabyte has 1,000,000 of them",
        passes * MEGABYTES / devices / 1.048576: "that is in MiB; a megabyte has 1,000,000 bytes",
    }
    exact = passes * MEGABYTES / devices
    if not isinstance(answer, int | float) or isinstance(answer, bool):
        return check_answer(answer, exact)
    if abs(answer - exact) <= NEAR * exact:
        return check_answer(answer, answer)
    meant = min(known, key=lambda number: abs(answer - number))
    return check_answer(answer, exact, {answer: known[meant]} if abs(answer - meant) <= 0.007 * meant else {})


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why many times the devices and the batch are not simply as many times faster."""
    ideas = {
        "how many steps are left": (
            "step|update|iteration|weight change|changes? of the weights|times the weights (are )?chang",
        ),
        "the learning rate": ("learning rate|the rate|scaled rate|rates?|step size|lr",),
        "what travels between the devices": (
            "travel|send|traffic|wait|link|wire|sent|communicat|bandwidth",
            "exchange|connection|all reduce|allreduce|transfer|talk|synchron|latency|share gradients",
            "gradients between",
        ),
    }
    return check_words(answer, ideas)
