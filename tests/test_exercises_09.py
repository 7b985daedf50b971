"""Chapter 09's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import pytest
import torch
from torch.nn import functional as F

from vgglib.exercises import chapter_09 as check

GRADIENT = 4 * 138_357_544 / 1e6


def shard_sizes(batch, devices):
    return [batch // devices + (n < batch % devices) for n in range(devices)]


def accumulate(net, X, y, sizes):
    net.zero_grad()
    for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
        (F.cross_entropy(net(some), labels) * len(labels) / len(y)).backward()


def summed_losses(net, X, y, sizes):
    net.zero_grad()
    for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
        (F.cross_entropy(net(some), labels, reduction="sum") / len(y)).backward()


def scaled_at_the_end(net, X, y, sizes):
    net.weight.grad = None
    for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
        F.cross_entropy(net(some), labels, reduction="sum").backward()
    net.weight.grad /= len(y)


def loop(weigh, clear="before"):
    """A learner's loop: ``weigh`` makes the shard's loss from its mean, its pictures, all pictures and the shards."""

    def attempt(net, X, y, sizes):
        if clear == "before":
            net.zero_grad()
        for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
            if clear == "in the loop":
                net.zero_grad()
            weigh(F.cross_entropy(net(some), labels), len(labels), len(y), len(sizes)).backward()

    return attempt


def at_once(net, X, y, sizes):
    net.zero_grad()
    F.cross_entropy(net(X), y).backward()


def one_backward(net, X, y, sizes):
    net.zero_grad()
    parts = zip(X.split(sizes), y.split(sizes), strict=True)
    (sum(F.cross_entropy(net(some), labels, reduction="sum") for some, labels in parts) / len(y)).backward()


def forward_first(net, X, y, sizes):
    net.zero_grad()
    parts = zip(X.split(sizes), y.split(sizes), strict=True)
    for loss in [F.cross_entropy(net(some), labels, reduction="sum") / len(y) for some, labels in parts]:
        loss.backward()


def looks_first(net, X, y, sizes):
    """Right: without gradients nothing waits in memory."""
    with torch.no_grad():
        [F.cross_entropy(net(some), labels) for some, labels in zip(X.split(sizes), y.split(sizes), strict=True)]
    accumulate(net, X, y, sizes)


def without_backward(net, X, y, sizes):
    net.weight.grad = torch.zeros_like(net.weight)
    for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
        loss = F.cross_entropy(net(some), labels) * len(labels) / len(y)
        net.weight.grad += torch.autograd.grad(loss, net.weight)[0]


def returned(net, X, y, sizes):
    parts = []
    for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
        net.zero_grad()
        F.cross_entropy(net(some), labels).backward()
        parts.append(len(labels) / len(y) * net.weight.grad.flatten())
    return sum(parts)


WRONG_SIZES = {
    "leaves the rest over": lambda batch, devices: [batch // devices] * devices,
    "all of the rest to the first": lambda batch, devices: (
        [batch // devices + batch % devices] + [batch // devices] * (devices - 1)
    ),
    "all of the rest to the last": lambda batch, devices: (
        [batch // devices] * (devices - 1) + [batch // devices + batch % devices]
    ),
    "rounds up until nothing is left": lambda batch, devices: [
        max(0, min(-(-batch // devices), batch - n * -(-batch // devices))) for n in range(devices)
    ],
    "fractions of a picture": lambda batch, devices: [batch / devices] * devices,
    "the larger ones last": lambda batch, devices: shard_sizes(batch, devices)[::-1],
    "no empty shard": lambda batch, devices: [size for size in shard_sizes(batch, devices) if size],
}
WRONG_LOOPS = {  # the loop, and a word of the reason that it must be given
    "the faulty one": (loop(lambda mean, n, all, shards: mean), "added up"),
    "mean of means": (loop(lambda mean, n, all, shards: mean / shards), "small shard has more say"),
    "weighted, not divided": (loop(lambda mean, n, all, shards: mean * n), "sum over all pictures"),
    "divided by the pictures only": (loop(lambda mean, n, all, shards: mean / all), "gradient of the batch"),
    "weighted, divided by the shards": (loop(lambda mean, n, all, shards: mean * n / shards), "gradient of the batch"),
    "clears nothing": (loop(lambda mean, n, all, shards: mean * n / all, clear="never"), "step before"),
    "clears in the loop": (loop(lambda mean, n, all, shards: mean * n / all, clear="in the loop"), "before the loop"),
    "clears in the loop, unweighted": (loop(lambda mean, n, all, shards: mean, clear="in the loop"), "only the last"),
    "clears at the end": (lambda net, X, y, sizes: (accumulate(net, X, y, sizes), net.zero_grad()), "no gradient"),
    "returns it": (lambda net, X, y, sizes: (net.zero_grad(), F.cross_entropy(net(X), y))[1], "no gradient"),
    "the whole batch at once": (at_once, "do not fit into memory"),
    "one way back for all": (one_backward, "a second shard before"),
    "all ways forward first": (forward_first, "a second shard before"),
    "returns the gradient": (returned, "returns the gradient"),
    "does not run": (lambda net, X, y, sizes: X.split(1.5), "raised TypeError"),
}
WRONG_FOUR = {
    "once": GRADIENT,
    "one round": GRADIENT * 3 / 4,
    "twice": 2 * GRADIENT,
    "whole gradients": 6 * GRADIENT,
    "a byte a number": GRADIENT * 1.5 / 4,
    "in MiB": GRADIENT * 1.5 / 1.048576,
    "in bytes": GRADIENT * 1.5e6,
    "for all four": 6 * GRADIENT,
    "one pass": GRADIENT / 4,
    "word": "830 MB",
}
WRONG_WORDS = {
    "nothing about steps": "The gradients must be sent over the connection, and the learning rate has to be scaled.",
    "nothing about the rate": "There are fewer steps in every epoch and the gradients still have to be sent around.",
    "nothing about sending": "There are fewer steps in every epoch, so the learning rate is too small for the network.",
    "accurate": "An accurate answer takes more steps, and separate GPUs must send their gradients to each other.",
    "too short": "fewer steps, rate, bandwidth",
}


def test_solutions_pass():
    assert check.check_shard_sizes(shard_sizes).status == "passed"
    for right in (accumulate, summed_losses, scaled_at_the_end, looks_first, without_backward):
        assert check.check_accumulate(right).status == "passed"
    assert check.check_ring_of_four(830).status == "passed"
    assert check.check_ring_of_four(2 * 3 / 4 * GRADIENT).status == "passed"
    assert check.check_ring_of_hundred(1096).status == "passed"
    for near in (829.5, 2 * 3 / 4 * 553):
        assert check.check_ring_of_four(near).status == "passed"
    for near in (1095, 1095.79, 2 * 99 / 100 * 553):
        assert check.check_ring_of_hundred(near).status == "passed"


@pytest.mark.parametrize(
    "talk",
    ["gradients travel", "the all-reduce takes time", "gradients must be transferred", "devices synchronise",
     "the talk does not shrink"],
)  # fmt: skip
def test_explanations_pass(talk):
    text = f"A step is not 32 times cheaper as {talk}, there are fewer steps, and the learning rate must change."
    assert check.check_explanation(text).status == "passed"


@pytest.mark.parametrize("checked", [check.check_shard_sizes, check.check_accumulate])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("checked", [check.check_ring_of_four, check.check_ring_of_hundred, check.check_explanation])
def test_answers_wait(checked):
    assert checked(...).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_SIZES)
def test_shard_sizes_rejects(mistake):
    verdict = check.check_shard_sizes(WRONG_SIZES[mistake])
    assert verdict.status == "failed"
    assert "shard_sizes(" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_LOOPS)
def test_accumulate_rejects(mistake):
    attempt, reason = WRONG_LOOPS[mistake]
    verdict = check.check_accumulate(attempt)
    assert verdict.status == "failed"
    assert "accumulate(" in verdict.text
    assert reason in verdict.text


@pytest.mark.parametrize("mistake", WRONG_FOUR)
def test_ring_of_four_rejects(mistake):
    assert check.check_ring_of_four(WRONG_FOUR[mistake]).status == "failed"


@pytest.mark.parametrize(
    "wrong", [830, GRADIENT, 2 * GRADIENT, 2 * 553, 1107, 1097, 1094, 2 * GRADIENT * 99, 1055, 5.5, True]
)
def test_ring_of_hundred_rejects(wrong):
    assert check.check_ring_of_hundred(wrong).status == "failed"


def test_reasons_are_given():
    assert "a training step of 4 devices needs 6" in check.check_ring_of_four(138).text
    assert check.check_ring_of_hundred(5.5).text.startswith("5.5 is not it: that is one pass")
    assert "spread" in check.check_ring_of_four(GRADIENT * 3 / 4).text
    assert "MiB" in check.check_ring_of_four(GRADIENT * 1.5 / 1.048576).text
    assert "fewer than there are devices" in check.check_ring_of_hundred(2 * GRADIENT).text


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_explanation_rejects(mistake):
    assert check.check_explanation(WRONG_WORDS[mistake]).status == "failed"
