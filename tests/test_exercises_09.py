"""Chapter 09's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import pytest

from vgglib.exercises import chapter_09 as check

GRADIENT = 4 * 138_357_544 / 1e6


def shard_sizes(batch, devices):
    return [batch // devices + (n < batch % devices) for n in range(devices)]


def accumulated(gradients, counts):
    return sum(count * gradient for gradient, count in zip(gradients, counts, strict=True)) / sum(counts)


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
WRONG_SUMS = {
    "the faulty one": lambda gradients, counts: sum(gradients),
    "mean of means": lambda gradients, counts: sum(gradients) / len(gradients),
    "weighted, not divided": lambda gradients, counts: sum(c * g for g, c in zip(gradients, counts, strict=True)),
    "divided by the pictures only": lambda gradients, counts: sum(gradients) / sum(counts),
    "divided by the shards": lambda gradients, counts: (
        sum(c * g for g, c in zip(gradients, counts, strict=True)) / len(counts)
    ),
    "weighted by the first count": lambda gradients, counts: sum(counts[0] * g for g in gradients) / sum(counts),
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
    "word": "830 MB",
}
WRONG_WORDS = {
    "nothing about steps": "The gradients must be sent over the connection, and the learning rate has to be scaled.",
    "nothing about the rate": "There are fewer steps in every epoch and the gradients still have to be sent around.",
    "nothing about sending": "There are fewer steps in every epoch, so the learning rate is too small for the network.",
    "too short": "fewer steps, rate, bandwidth",
}


def test_solutions_pass():
    assert check.check_shard_sizes(shard_sizes).status == "passed"
    assert check.check_accumulated(accumulated).status == "passed"
    assert check.check_ring_of_four(830).status == "passed"
    assert check.check_ring_of_four(2 * 3 / 4 * GRADIENT).status == "passed"
    assert check.check_ring_of_thousand(1106).status == "passed"
    text = (
        "A step is not 32 times cheaper as gradients travel, there are fewer steps, and the learning rate must change."
    )
    assert check.check_explanation(text).status == "passed"


@pytest.mark.parametrize("checked", [check.check_shard_sizes, check.check_accumulated])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("checked", [check.check_ring_of_four, check.check_ring_of_thousand, check.check_explanation])
def test_answers_wait(checked):
    assert checked(...).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_SIZES)
def test_shard_sizes_rejects(mistake):
    verdict = check.check_shard_sizes(WRONG_SIZES[mistake])
    assert verdict.status == "failed"
    assert "shard_sizes(" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_SUMS)
def test_accumulated_rejects(mistake):
    verdict = check.check_accumulated(WRONG_SUMS[mistake])
    assert verdict.status == "failed"
    assert "accumulated(" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_FOUR)
def test_ring_of_four_rejects(mistake):
    assert check.check_ring_of_four(WRONG_FOUR[mistake]).status == "failed"


@pytest.mark.parametrize("wrong", [830, GRADIENT, 2 * GRADIENT, 2 * GRADIENT * 999, 1055, True])
def test_ring_of_thousand_rejects(wrong):
    assert check.check_ring_of_thousand(wrong).status == "failed"


def test_reasons_are_given():
    assert "spread" in check.check_ring_of_four(GRADIENT * 3 / 4).text
    assert "MiB" in check.check_ring_of_four(GRADIENT * 1.5 / 1.048576).text
    assert "fewer than there are devices" in check.check_ring_of_thousand(2 * GRADIENT).text


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_explanation_rejects(mistake):
    assert check.check_explanation(WRONG_WORDS[mistake]).status == "failed"
