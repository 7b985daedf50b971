"""Chapter 09's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
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


def takes_a_step(net, X, y, sizes):
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    accumulate(net, X, y, sizes)
    optimiser.step()


def sums_by_share(net, X, y, sizes):
    net.zero_grad()
    for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
        (F.cross_entropy(net(some), labels, reduction="sum") * len(labels) / len(y)).backward()


def by_the_first(net, X, y, sizes):
    net.zero_grad()
    for some, labels in zip(X.split(sizes), y.split(sizes), strict=True):
        (F.cross_entropy(net(some), labels) * sizes[0] / len(y)).backward()


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


def also_returned(net, X, y, sizes):
    """Right: it is left where the optimiser looks, and handed back, too."""
    accumulate(net, X, y, sizes)
    return net.weight.grad


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
REASONS = {  # why the sizes are wrong, and functions that must be told so
    "2 + 2 = 4 of 5 pictures": lambda batch, devices: [batch // devices] * devices,
    "3 + 3 = 6 of 5 pictures": lambda batch, devices: [-(-batch // devices)] * devices,
    "left over all goes to the last device": WRONG_SIZES["all of the rest to the last"],
    "the sizes differ by 3": WRONG_SIZES["all of the rest to the first"],
    "the larger shards come first": WRONG_SIZES["the larger ones last"],
    "a shard has 0, 1, 2, ... pictures": WRONG_SIZES["fractions of a picture"],
    "2 numbers for 3 devices": WRONG_SIZES["no empty shard"],
    "yours raised ZeroDivisionError": lambda batch, devices: shard_sizes(batch, devices) if devices > 2 else [1 // 0],
    "should be [64, 64, 64, 64], yours gave 64: a list is asked": lambda batch, devices: batch // devices,
    "numbers are asked": lambda batch, devices: ["64"] * devices,
    "shard_sizes(batch, devices) is a function, yours is a list": [64, 64, 64, 64],
}
WRONG_LOOPS = {  # the loop, and a word of the reason that it must be given
    "the faulty one": (loop(lambda mean, n, all, shards: mean), "added up"),
    "mean of means": (loop(lambda mean, n, all, shards: mean / shards), "small shard has more say"),
    "weighted, not divided": (loop(lambda mean, n, all, shards: mean * n), "sum over all pictures"),
    "divided by the pictures only": (loop(lambda mean, n, all, shards: mean / all), "must add up to 1"),
    "by the largest shard": (loop(lambda mean, n, all, shards: mean * n / 3 / shards), "0.67 times as long"),
    "weighted, divided by the shards": (loop(lambda mean, n, all, shards: mean * n / shards), "gradient of the batch"),
    "for DistributedDataParallel": (loop(lambda mean, n, all, shards: mean * n * shards / all), "here nobody divides"),
    "share upside down": (loop(lambda mean, n, all, shards: mean * all / n), "upside down"),
    "by its own pictures": (loop(lambda mean, n, all, shards: mean / n), "divided by its pictures once more"),
    "shards by pictures": (loop(lambda mean, n, all, shards: mean * shards / all), "has the weight 0.50"),
    "by the first shard": (by_the_first, "has the weight 0.50"),
    "sums by share": (sums_by_share, "is in it twice"),
    "some other weight": (loop(lambda mean, n, all, shards: mean * n * n * n), "have the weights 27.00, 1.00, 8.00"),
    "not finite": (loop(lambda mean, n, all, shards: mean * float("nan")), "not finite"),
    "no sum of the means": (lambda net, X, y, sizes: accumulate(net, X.exp(), y, sizes), "gradient of the batch"),
    "takes a step": (takes_a_step, "changes the weights"),
    "clears nothing": (loop(lambda mean, n, all, shards: mean * n / all, clear="never"), "step before"),
    "clears in the loop": (loop(lambda mean, n, all, shards: mean * n / all, clear="in the loop"), "before the loop"),
    "clears in the loop, unweighted": (loop(lambda mean, n, all, shards: mean, clear="in the loop"), "only the last"),
    "clears at the end": (lambda net, X, y, sizes: (accumulate(net, X, y, sizes), net.zero_grad()), "no gradient"),
    "returns it": (lambda net, X, y, sizes: (net.zero_grad(), F.cross_entropy(net(X), y))[1], "no gradient"),
    "returns what it leaves wrong": (
        lambda net, X, y, sizes: (loop(lambda mean, n, all, shards: mean)(net, X, y, sizes), net.weight.grad)[1],
        "returns the gradient",
    ),
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
    "in GB": GRADIENT * 1.5e-3,
    "sent and received": 2 * GRADIENT * 1.5,
    "for a hundred": 1096,
    "beyond the nearest MB": 829,
    "beyond the nearest MB, above": 831,
}
WRONG_EIGHT = {  # a word of the reason
    8: "without talk",
    1.9: "a star",
    6.7: "one round",
    6.8: "",
    6.9: "3.25 GB/s",
    6.5: "",
    5.5: "nearly",
    0.95: "its shard only",
    2.7: "seconds of a step",
    1.89: "a star",
    1.92: "the work of a shard",
    0.77: "the talk in seconds",
    15.3: "t(1), the seconds",
    0.1755: "upside down",
    7.6: "ten gigabytes",
    6: "",
    5: "",
    True: "",
    "5.7": "",
}
WRONG_WORDS = {
    "nothing about steps": "The gradients must be sent over the connection, and the learning rate has to be scaled.",
    "nothing about the rate": "There are fewer steps in every epoch and the gradients still have to be sent around.",
    "nothing about sending": "There are fewer steps in every epoch, so the learning rate is too small for the network.",
    "accurate": "An accurate answer takes more steps, and separate GPUs must send their gradients to each other.",
    "too short": "fewer steps, rate, bandwidth",
    "only a step's length": "The step size must grow with the batch, and the gradients must be sent around each time.",
    "three claims": "The number of steps stays the same, the learning rate does not matter, and no gradients travel.",
    "as many steps": "The number of steps remains the same, the learning rate must be scaled, and gradients travel.",
    "the steps are equal": "The steps are the same; the learning rate must be scaled and the gradients travel.",
    "no matter": "There are fewer steps, the gradients must travel, but the learning rate doesn't matter at all here.",
    "no effect": "There are 32 times fewer steps; the rate has no effect; the gradients are sent every time.",
    "nothing travels": "There are fewer steps and the learning rate must grow, but nothing has to travel between them.",
    "nothing else": "There are 32 times fewer steps; the rate can stay as it is, but then nothing else changes; "
    "gradients travel.",
    "none needed": "There's no communication needed, the steps shrink and the learning rate has to be scaled.",
    "no need": "There are fewer steps and the learning rate must grow, but the gradients need not be sent each time.",
    "more steps": "The number of steps is 32 times *larger*, the learning rate must fall, and less travels.",
    "the same steps": "You would need the same steps, keep lr, and communication costs nothing.",
    "many more": "There are 32 times more steps, the learning rate has to be scaled, and the gradients travel.",
    "a step for each": "We make the same number of updates; the learning rate must grow, and gradients are exchanged.",
    "free talk": "There are fewer steps, so the learning rate must grow; the communication is free.",
    "a lower rate": "There are fewer steps, the learning rate must be reduced, and the gradients have to travel.",
    "nothing is wrong": "Nothing is wrong: the number of steps falls, the learning rate drops too, and "
    "nothing travels.",
    "it holds": "The statement holds: 32 times fewer steps, a higher learning rate, and only gradients travel.",
    "it works": "It works: fewer steps, a higher learning rate, and gradients that travel as before.",
    "nothing wrong in it": "There's nothing wrong with it. Fewer steps, the same rate, and the gradients travel.",
    "it isn't wrong": "This isn't wrong: it has fewer steps, the learning rate can stay, and nothing has to be sent.",
    "all is right": "Everything is right: there are fewer steps, the learning rate grows, the gradients still travel.",
    "no mistake": "I see no mistake, for with fewer steps and a higher learning rate the gradients travel less often.",
    "I agree": "That's right: there are fewer steps, the learning rate falls with them, and nothing travels.",
    "not wrong": "Not wrong, as with fewer steps and the old learning rate the gradients travel all the same.",
    "the question": "Speak of the number of steps, the learning rate, and what travels.",
    "all of the question": "We have 32 times as many GPUs, so we train with 32 times the batch and are done in a "
    "thirty-second of the time. What is wrong with this? Speak of the number of steps, the learning rate, and what "
    "travels.",
    "all upside down": "The steps become 32 times more; scale the learning rate down; the weights travel instead of "
    "gradients.",
    "more at the end": "The steps become 32 times more; the learning rate must grow; the gradients travel each time.",
    "scaled down": "There are fewer steps; scale the learning rate down; the gradients travel between the devices.",
    "weights travel": "There are fewer steps; the learning rate must grow; the weights travel instead of gradients.",
    "divided": "Fewer steps, the learning rate must be divided by 32, and the pictures travel between devices.",
    "pictures travel": "Fewer steps, the learning rate must grow, and the pictures travel between devices.",
    "more in an epoch": "More steps are needed per epoch, the learning rate falls, communication takes time.",
    "more steps only": "More steps are needed per epoch; the learning rate must be scaled up; talk takes time.",
    "the rate falls": "There are fewer steps per epoch, the learning rate falls, and communication takes time.",
    "less talk": "There are 32 times less updates, the rate must be scaled up, and less data travels in each.",
}
RIGHT_WORDS = (
    "The learning rate can stay as it is, but then the network learns less, in fewer steps; and gradients travel.",
    "An epoch has 32 times fewer steps; with a scaled rate it may diverge. Each needs the gradients of all devices.",
    "Steps are 32 times fewer, the rate has to grow, and the gradients are averaged across all GPUs in each.",
    "There are fewer steps. Keep the learning rate and you are undertrained. Multiply it and it can diverge. Gradients "
    "travel each time.",
    "To reach the same accuracy it takes more steps than a 32nd of them, or another learning rate; talk costs, too.",
    "There are fewer steps, the learning rate has to change, and 553 MB has to go over the network each time.",
    "There are 32 times fewer updates, the step length must grow, and the gradients travel in every step.",
    "It is wrong that the number of steps stays the same: it falls, the rate must grow, and gradients travel.",
    "If the learning rate does not change, 32 times fewer steps get less far, and the gradients still travel.",
    "If no gradients travel, the copies part; there are fewer steps, so the learning rate has to be scaled.",
    "The number of steps does not stay the same, a rate that is not changed is too low, and gradients travel.",
    "The number of steps is not the same, so the learning rate must be scaled up; sending gradients takes time.",
    "Steps are fewer; with the same learning rate the weights move less far; all-reduce takes time, too.",
    "After the same number of steps it would be as far, but an epoch has fewer; the rate must grow; talk takes time.",
    "There are not more steps but fewer, the rate has to grow, and communication does not cost nothing.",
    "To reach the same accuracy it needs more steps than that, or another learning rate; sending takes time, too.",
    "Fewer steps: if we keep the learning rate, the weights move less; and the gradients travel in each.",
    "The number of steps is 32 times smaller and each step larger if the rate is scaled; the talk is not free.",
    "Steps are fewer, the rate must be scaled, and all-reduce takes no time only where it is hidden.",
    "In an epoch less data travels, as there are fewer steps, but no less in each; the rate must be scaled up.",
    "Steps are the same size only with the same rate, there are fewer of them, and the all-reduce takes time.",
    "Nothing is wrong with a larger batch, but it has fewer steps, needs another learning rate, and the talk costs.",
    "It is not true that nothing is wrong: fewer steps, a rate that no longer fits, and gradients that must travel.",
    "That is right only for the work: the gradients still travel, there are fewer steps, and the rate must grow.",
    "The rate that is right for 256 pictures is too low now, there are fewer steps, and all gradients must travel.",
    "The time of an epoch may be right, but is this true? There are fewer steps, the rate must grow, and talk costs.",
    "It is not 32 times as fast since the gradients have to go round the ring; fewer steps need another learning rate.",
    "There are fewer steps, the rate must change, and it is not a speed-up of 32 because gradients must be shared.",
    "Speak of the number of steps, the learning rate, and what travels: steps are 32 times fewer, the rate must grow, "
    "and the gradients travel in each.",
    "Steps are 32 times fewer and each takes longer to send, so the rate, which falls to zero at the end, must start "
    "higher.",
    "Fewer steps per epoch, so the learning rate must be scaled up; not pictures but gradients travel between them.",
    "Each step is 32 times more expensive in all, steps are fewer, the rate must grow, and gradients travel.",
    "To reduce the learning rate would be wrong: there are fewer steps, and the gradients have to travel in each.",
    "An epoch has 32 times fewer steps: with the same learning rate the network moves less, with a scaled one its loss "
    "may grow; the gradients must travel in every step.",
)


def test_solutions_pass():
    assert check.check_shard_sizes(shard_sizes).status == "passed"
    for right in (accumulate, summed_losses, scaled_at_the_end, looks_first, without_backward, also_returned):
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


@pytest.mark.parametrize("text", RIGHT_WORDS)
def test_right_words_pass(text):
    assert check.check_explanation(text).status == "passed"


@pytest.mark.parametrize("right", [5.7, 5.697, 15.33 / 2.69, 15.329 / (1.916 + 2 * 7 / 8 * 0.553 / 1.25)])
def test_prediction_passes(right):
    assert check.check_prediction(right).status == "passed"


@pytest.mark.parametrize("wrong", WRONG_EIGHT)
def test_prediction_rejects(wrong):
    verdict = check.check_prediction(wrong)
    assert verdict.status == "failed"
    assert WRONG_EIGHT[wrong] in verdict.text


@pytest.mark.parametrize("checked", [check.check_shard_sizes, check.check_accumulate])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize(
    "checked",
    [
        check.check_ring_of_four,
        check.check_ring_of_hundred,
        check.check_prediction,
        check.check_explanation,
    ],
)
def test_answers_wait(checked):
    assert checked(...).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_SIZES)
def test_shard_sizes_rejects(mistake):
    verdict = check.check_shard_sizes(WRONG_SIZES[mistake])
    assert verdict.status == "failed"
    assert "shard_sizes(" in verdict.text
    assert len(verdict.text) <= 200


@pytest.mark.parametrize("reason", REASONS)
def test_wrong_sizes_get_their_reason(reason):
    verdict = check.check_shard_sizes(REASONS[reason])
    assert verdict.status == "failed"
    assert reason in verdict.text
    assert len(verdict.text) <= 200


@pytest.mark.parametrize("made", [iter, tuple, lambda sizes: map(float, sizes), np.array, torch.tensor])
def test_sizes_may_come_in_another_wrapping(made):
    assert check.check_shard_sizes(lambda batch, devices: made(shard_sizes(batch, devices))).status == "passed"


@pytest.mark.parametrize(
    "made", [np.float32, np.int64, np.array, torch.tensor, Fraction, Decimal], ids=lambda made: made.__name__
)
def test_numbers_may_come_as_arrays_or_fractions(made):
    assert check.check_ring_of_four(made(830)).status == "passed"
    assert check.check_ring_of_hundred(made(1096)).status == "passed"
    if made is not np.int64:
        assert check.check_prediction(made(5.7)).status == "passed"
    assert "in each round there is one pass fewer" in check.check_ring_of_four(made(1107)).text


def test_long_wrong_answers_are_cut():
    verdict = check.check_shard_sizes(lambda batch, devices: [1] * batch)
    assert verdict.text.startswith("shard_sizes(256, 4) should be [64, 64, 64, 64], yours gave [1, 1,")
    assert verdict.text.endswith("...: 256 numbers for 4 devices")
    assert len(verdict.text) == 200


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
    assert "all 4 together" in check.check_ring_of_four(3320.58).text
    assert "all 100 together" in check.check_ring_of_hundred(2 * GRADIENT * 99).text
    assert "rounded too soon" in check.check_ring_of_hundred(1100).text
    assert "in GB" in check.check_ring_of_four(0.83).text
    assert "in GB" in check.check_ring_of_hundred(1.1).text
    assert "receives" in check.check_ring_of_four(1660).text
    assert "receives" in check.check_ring_of_hundred(2192).text
    assert "that is for 4 devices; here are 100" in check.check_ring_of_hundred(830).text
    assert "that is for 100 devices; here are 4" in check.check_ring_of_four(1096).text
    assert "spread" in check.check_ring_of_four(GRADIENT * 3 / 4).text
    assert "MiB" in check.check_ring_of_four(GRADIENT * 1.5 / 1.048576).text
    assert "fewer than there are devices" in check.check_ring_of_hundred(2 * GRADIENT).text


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_explanation_rejects(mistake):
    assert check.check_explanation(WRONG_WORDS[mistake]).status == "failed"
