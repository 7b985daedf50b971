"""Chapter 03's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import itertools

import pytest

from vgglib.exercises import chapter_03 as check


def stack_weights(kernel, channels, bias=0, area=2):
    """The solution; its options make it wrong."""
    return sum((kernel**area * a + bias) * b for a, b in itertools.pairwise(channels))


WRONG_STACKS = {
    "with biases": lambda kernel, channels: stack_weights(kernel, channels, bias=1),
    "a side in place of an area": lambda kernel, channels: stack_weights(kernel, channels, area=1),
    "only right for 3x3": lambda kernel, channels: stack_weights(3, channels),
    "only the output channels": lambda kernel, channels: sum(kernel**2 * b * b for b in channels[1:]),
    "only the input channels": lambda kernel, channels: sum(kernel**2 * a * a for a in channels[:-1]),
    "without channels": lambda kernel, channels: kernel**2 * (len(channels) - 1),
    "one kernel for each output": lambda kernel, channels: sum(kernel**2 * b for b in channels[1:]),
    "the first and the last": lambda kernel, channels: kernel**2 * channels[0] * channels[-1] * (len(channels) > 1),
    "one layer too many": lambda kernel, channels: stack_weights(kernel, [*channels, channels[-1]]),
    "all layers multiplied": lambda kernel, channels: kernel ** (2 * (len(channels) - 1)) * channels[0],
    "fails on no layer": lambda kernel, channels: channels[1] and stack_weights(kernel, channels),
}
WRONG_SHARES = {
    "more, not fewer": lambda stack, single: 100 * (single - stack) / stack,
    "the share that is left": lambda stack, single: 100 * stack / single,
    "as a share of one": lambda stack, single: (single - stack) / single,
    "the wrong sign": lambda stack, single: 100 * (stack - single) / single,
    "never negative": lambda stack, single: abs(100 * (single - stack) / single),
    "rounded": lambda stack, single: round(100 * (single - stack) / single),
    "of the sum": lambda stack, single: 100 * (single - stack) / (single + stack),
}


def test_stack_weights_passes():
    assert check.check_stack_weights(stack_weights).status == "passed"


def test_fewer_passes():
    assert check.check_fewer(lambda stack, single: 100 * (single - stack) / single).status == "passed"


@pytest.mark.parametrize("checked", [check.check_stack_weights, check.check_fewer])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_STACKS)
def test_stack_weights_rejects(mistake):
    verdict = check.check_stack_weights(WRONG_STACKS[mistake])
    assert verdict.status == "failed"
    assert "stack_weights(" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_SHARES)
def test_fewer_rejects(mistake):
    verdict = check.check_fewer(WRONG_SHARES[mistake])
    assert verdict.status == "failed"
    assert "should be" in verdict.text


def test_numbers_pass_and_wait():
    assert check.check_pair(stack_weights(3, [64, 128, 128])).status == "passed"
    assert check.check_single(stack_weights(5, [64, 128])).status == "passed"
    for checked in (check.check_pair, check.check_single, check.check_explanation):
        assert checked(...).status == "todo"


MISTAKES = [
    (check.check_pair, 2 * 9 * 128 * 128, "sees 64 channels, not 128"),
    (check.check_pair, 2 * 9 * 64 * 128, "128 channels that the first one gives"),
    (check.check_pair, 9 * 64 * 128, "the first layer alone"),
    (check.check_pair, 221_440, "with biases"),
    (check.check_pair, 9 * 64 * 64 + 9 * 64 * 128, "second layer sees the 128"),
    (check.check_pair, 64 * 128 + 128 * 128, "9 places"),
    (check.check_pair, 12, "not it"),
    (check.check_single, 25 * 128 * 128, "sees 64 channels"),
    (check.check_single, 204_928, "with biases"),
    (check.check_single, 25 * 64 * 64, "gives 128"),
    (check.check_single, 9 * 64 * 128, "25 places"),
    (check.check_single, 25 * 64, "one kernel for each output"),
    (check.check_single, 25 * 128, "all 64 input"),
    (check.check_single, "204800", "not it"),
]


@pytest.mark.parametrize(("checked", "wrong", "why"), MISTAKES)
def test_numbers_reject_with_the_reason(checked, wrong, why):
    verdict = checked(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text


def test_explanation():
    good = "With one channel in between there are 18 weights for 25 places, so it is false; more channels help."
    assert check.check_explanation(good).status == "passed"
    for wrong in (
        "It is always true because the receptive field of both is 5x5 and depth makes networks stronger.",
        "There are 18 weights in the pair and 25 in the single layer, so the pair cannot reach them all.",  # no remedy
        "With more channels in between it is true, and with a single one it is of course rather false.",  # no counts
        "no",
        18,
    ):
        assert check.check_explanation(wrong).status == "failed"
