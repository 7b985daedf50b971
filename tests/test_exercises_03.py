"""Chapter 03's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import itertools
import math
import statistics

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
    "the input's channels for each layer": lambda kernel, channels: sum(
        kernel**2 * channels[0] * b for b in channels[1:]
    ),
    "the first number alone": lambda kernel, channels: kernel**2 * channels[0] ** 2 * (len(channels) - 1),
    "first times last": lambda kernel, channels: kernel**2 * channels[0] * channels[-1],
    "a product of all": lambda kernel, channels: kernel**2 * math.prod(channels),
    "round the corner": lambda kernel, channels: sum(
        kernel**2 * channels[i - 1] * channels[i] for i in range(len(channels))
    ),
    "each number squared": lambda kernel, channels: sum(kernel**2 * c * c for c in channels),
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
NAMED = [
    (check.check_stack_weights, WRONG_STACKS["with biases"], "that is with biases"),
    (check.check_stack_weights, WRONG_STACKS["a side in place of an area"], "k * k places"),
    (check.check_stack_weights, WRONG_STACKS["only the output channels"], "channels that come in, too"),
    (check.check_stack_weights, WRONG_STACKS["only the input channels"], "channels that go out, too"),
    (check.check_stack_weights, WRONG_STACKS["one kernel for each output"], "reaches through all channels"),
    (check.check_stack_weights, WRONG_STACKS["the input's channels for each layer"], "of the layer before it"),
    (check.check_stack_weights, WRONG_STACKS["the first number alone"], "takes the first of the list for all"),
    (check.check_stack_weights, WRONG_STACKS["first times last"], "channels between count, too"),
    (check.check_stack_weights, WRONG_STACKS["the first and the last"], "each layer between has weights"),
    (check.check_stack_weights, WRONG_STACKS["a product of all"], "not multiplied"),
    (check.check_stack_weights, WRONG_STACKS["round the corner"], "channels[-1] is the last"),
    (check.check_stack_weights, WRONG_STACKS["each number squared"], "n - 1 layers"),
    (check.check_fewer, WRONG_SHARES["more, not fewer"], "measured by the stack"),
    (check.check_fewer, WRONG_SHARES["the share that is left"], "what is left"),
    (check.check_fewer, WRONG_SHARES["as a share of one"], "a hundred times as many"),
    (check.check_fewer, WRONG_SHARES["the wrong sign"], "turned round"),
    (check.check_fewer, WRONG_SHARES["never negative"], "negative where the stack has more"),
    (check.check_fewer, WRONG_SHARES["rounded"], "rounded, to 0 digits"),
    (check.check_fewer, lambda stack, single: round(100 * (single - stack) / single, 1), "rounded, to 1 digits"),
    (check.check_fewer, lambda stack, single: round(100 * (single - stack) / single, 2), "rounded, to 2 digits"),
    (check.check_fewer, lambda stack, single: 100 * (single - stack) // single, "not by //"),
    (check.check_fewer, lambda stack, single: int(100 * (single - stack) / single), "rounded down"),
]


def judge(a, b, errors=2.31, sd=statistics.stdev, root=True, squares=True, mean=statistics.mean, error=None):
    """The solution; its options make it wrong."""
    spreads = [sd(one) / 5**0.5 if root else sd(one) for one in (a, b)]
    if error is None:
        error = sum(one**2 for one in spreads) ** 0.5 if squares else sum(spreads)
    low, high = (mean(a) - mean(b) + side * errors * error for side in (-1, 1))
    return "a" if low > 0 else "b" if high < 0 else "cannot tell"


def paired(a, b):
    """The spread of the mean of five differences, as if runs were pairs."""
    return statistics.stdev(x - y for x, y in zip(a, b, strict=True)) / 5**0.5


def squares(a, b):
    """The squares of both spreads, added."""
    return statistics.variance(a) + statistics.variance(b)


def larger(a, b):
    return max(statistics.stdev(a), statistics.stdev(b))


WRONG_JUDGES = {
    "paired differences": (lambda a, b: judge(a, b, error=paired(a, b)), "unpaired: each list has a spread of its own"),
    "paired, with 2.776": (lambda a, b: judge(a, b, 2.776, error=paired(a, b)), "and it takes 2.31"),
    "2.776": (lambda a, b: judge(a, b, errors=2.776), "2.78 is for a single list"),
    "2.57": (lambda a, b: judge(a, b, errors=2.57), "2.57 is for a single list"),
    "5 outside the root": (lambda a, b: judge(a, b, error=squares(a, b) ** 0.5 / 5), "the 5 stands under the root"),
    "no root": (lambda a, b: judge(a, b, error=squares(a, b) / 5), "take the root"),
    "squared twice": (lambda a, b: judge(a, b, sd=statistics.variance), "a square already"),
    "medians": (lambda a, b: judge(a, b, mean=statistics.median), "not the medians"),
    "the larger spread": (lambda a, b: judge(a, b, error=larger(a, b) * (2 / 5) ** 0.5), "not the larger one twice"),
    "the larger mean": (lambda a, b: judge(a, b, errors=0), "larger mean alone"),
    "one standard error": (lambda a, b: judge(a, b, errors=1), "one standard error is too little"),
    "two standard errors": (lambda a, b: judge(a, b, errors=2), "2.31 standard errors"),
    "the normal distribution's": (lambda a, b: judge(a, b, errors=1.96), "2.31 standard errors"),
    "one side only": (lambda a, b: judge(a, b, errors=1.86), "2.31 standard errors"),
    "the spread of a run": (lambda a, b: judge(a, b, root=False), "root of the number of runs"),
    "spreads added": (lambda a, b: judge(a, b, squares=False), "add as squares"),
    "the spread of all": (lambda a, b: judge(a, b, sd=statistics.pstdev), "not pstdev"),
    "divided by four": (lambda a, b: judge(a, b, errors=2.31 * (5 / 4) ** 0.5), "stdev has its 4 already"),
    "a little too sure": (lambda a, b: judge(a, b, errors=2.2), "should be"),
    "a little too unsure": (lambda a, b: judge(a, b, errors=2.45), "should be"),
    "turned round": (lambda a, b: judge(b, a), "changed places"),
    "never b": (lambda a, b: judge(a, b).replace("b", "cannot tell"), "b may be the better one"),
    "only a's spread": (lambda a, b: judge(a, [*map(statistics.mean, [b] * 5)]), "should be"),
    "only b's spread": (lambda a, b: judge([*map(statistics.mean, [a] * 5)], b), "should be"),
    "overlapping runs": (lambda a, b: "a" if min(a) > max(b) else "b" if max(a) < min(b) else "cannot tell", "should"),
    "always open": (lambda a, b: "cannot tell", "should be 'a'"),
    "a number": (lambda a, b: statistics.mean(a) - statistics.mean(b), "should be 'a'"),
    "fails": (lambda a, b: a - b, "yours raised TypeError"),
}


def test_judge_passes():
    assert check.check_judge(judge).status == "passed"
    by_t = lambda a, b: judge(a, b, errors=2.306004)  # noqa: E731 - Student's t with all its digits
    assert check.check_judge(by_t).status == "passed"


@pytest.mark.parametrize("mistake", WRONG_JUDGES)
def test_judge_rejects_with_the_reason(mistake):
    wrong, why = WRONG_JUDGES[mistake]
    verdict = check.check_judge(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text


@pytest.mark.parametrize("errors", [2.2, 2.45, 3.0])
def test_a_hint_on_judge_is_given_for_its_own_mistake_only(errors):
    """Too sure or too unsure by a number that has no name: the case alone is shown."""
    assert check.check_judge(lambda a, b: judge(a, b, errors=errors)).text.endswith(("yours gave 'a'", "'cannot tell'"))


@pytest.mark.parametrize(("checked", "wrong", "why"), NAMED)
def test_functions_reject_with_the_reason(checked, wrong, why):
    verdict = checked(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text


def test_the_cases_of_one_exercise_do_not_answer_another():
    for wrong in WRONG_SHARES.values():
        said = check.check_fewer(wrong).text.replace(",", "").replace("_", "")
        assert "221184" not in said
        assert "204800" not in said


def test_stack_weights_passes():
    assert check.check_stack_weights(stack_weights).status == "passed"


def test_fewer_passes():
    assert check.check_fewer(lambda stack, single: 100 * (single - stack) / single).status == "passed"


@pytest.mark.parametrize("checked", [check.check_stack_weights, check.check_fewer, check.check_judge])
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
    (check.check_pair, 3 * 64 * 128 + 3 * 128 * 128, "a side of 3"),
    (check.check_pair, 2 * 3 * 64 * 128, "3 * 3 places"),
    (check.check_single, 5 * 64 * 128, "5 * 5 places"),
    (check.check_single, 7 * 64 * 128, "5 * 5 places"),
    (check.check_single, 49 * 64 * 128, "a 7x7 layer"),
    (check.check_pair, 204_800, "that is the other one"),
    (check.check_single, 221_184, "that is the other one"),
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
        "With one channel the pair has only 18 weights, a 5x5 kernel has 25, so it is false.",  # no remedy
        "Two 3x3 filters have 18 weights and a 5x5 filter has 25, so the pair cannot be it.",
        "Adding a ReLU between gives the missing 7 weights. More channels do not help.",
        "no",
        18,
    ):
        assert check.check_explanation(wrong).status == "failed"


RIGHT_WORDS = [
    "With one channel in, between and out it is false: the pair has 18 weights and a 5x5 kernel 25. With more channels "
    "between it becomes true for a single kernel.",
    "One channel: 2*9 = 18 weights (17 that count) against 25. More channels between the layers add products; four are "
    "enough. A ReLU between would not help.",
    "Two 3x3 layers have 18 weights and one 5x5 has 25, so most kernels are out of reach. Two channels between help.",
    "The pair is a product of two polynomials, and most polynomials of degree four are irreducible and do not factor. "
    "More channels between give a sum of products.",
    "It is not always true: 18 weights cannot reach all 25 with one channel between; more channels between help.",
    "With C channels in, between and out it is false, as 18 C^2 numbers are fewer than 25 C^2; more channels help.",
    "18 weights can't give all 25. With C in and out and 4 C channels between it is true.",
    "18 weights can't give all 25. With C in and out, four channels between are not enough, four times C are.",
    "18 weights can't give all 25. With C channels in and out four channels between are enough for each single kernel.",
    "Without a ReLU between, the pair is linear with 18 weights for 25; a wider middle layer with more channels helps.",
    "Does a ReLU help? No. With one channel 18 weights face 25 numbers; more channels between do the job.",
    "18 weights cannot give 25. A ReLU hardly helps, but more channels between do.",
    "18 weights for 25: a wider middle layer with a ReLU left out helps.",
    "The pair has 25 - 18 = 7 weights too few. Use more channels in the middle.",
    "It is false if there is 1 channel between, because 18 weights (or 17 that count) can't make all 25 entries; at "
    "least 25C/18 channels between are needed for C in and out.",
    "Non-linearity does not help, but multiple channels do: one channel gives 18 weights, and a 5x5 kernel has 25.",
    "With one channel it is not true: 18 < 25. More channels between help, a ReLU adds no weights.",
    "18 weights for 25. More channels in and out do not help, more channels between do.",
    "18 weights do not reach all 25. More input channels don't help, only more channels between the two.",
    "With three layers there would be 27 weights, but two 3x3 have 18 for 25. More channels between help.",
    "False with one channel, as 18 is not more than 25; true with many channels between.",
    "Without more channels between it does not work: 18 weights for 25.",
    "It is false for one channel, as 18 is less than 25. More channels help; a ReLU adds nonlinearity but no weights.",
    "Unless there are more channels between, 18 weights can't cover 25. More input or output channels do not help.",
]
FALSE_WORDS = [
    ("18 weights cannot reach 25. A ReLU between the channels helps.", "adds no weight"),
    ("18 weights cannot reach 25 with one channel between. What helps is a ReLU.", "adds no weight"),
    ("18 weights cannot reach 25 with one channel. A ReLU between them would repair it.", "adds no weight"),
    ("18 weights cannot reach 25 with one channel. The ReLU is what is missing.", "adds no weight"),
    ("It is never false: 18 weights are enough for 25 dimensions, with any channels between.", "false somewhere"),
    ("18 weights are enough for all 25, with any number of channels between the two.", "cannot reach every point"),
    ("The pair has 25 weights and the 5x5 has only 18, so fewer channels between help.", ""),
    ("The pair has 25 weights and the 5x5 has only 18, so more channels between help.", "changed places"),
    ("18 weights are too few for 25, so fewer channels between help.", "fewer weights still"),
    ("With one channel there are 18 weights for 25. A third layer helps.", "a third layer"),
    (
        "One channel: 18 weights for 25, so it's false. Even more channels between don't help, only a ReLU does.",
        "count them for four",
    ),
    ("18 < 25: false. More channels between are useless.", "count them for four"),
    ("18 weights for 25. Even wider layers with more channels fail, only a ReLU helps.", "adds no weight"),
    (
        "18 weights, not 25. Adding a ReLU between gives the missing 7 weights. More channels do not help.",
        "",
    ),
    ("18 weights for 25. Adding a ReLU between gives the missing 7 weights, or more channels.", "adds no weight"),
    ("False for one channel since 18 > 25. More channels between.", "fewer than 25"),
    ("False for one channel: the pair has 27 weights and the 5x5 has 49. More channels between.", "three 3x3"),
    (
        "With one channel it's true, as 18 weights make the 25; more channels between makes it false.",
        "count the weights for one channel",
    ),
    ("18 weights for 25 are fine with one channel; more channels between makes it false.", "leave more weights"),
    (
        "With one channel 18 weights reach all 25 of the kernel. More channels between are better.",
        "cannot reach every point",
    ),
    (
        "It is false when there are many channels between, as 18 and 25 differ. With fewer channels it is true.",
        "",
    ),
    ("It is false for some: 18 weights for 25. With fewer channels it is true.", "fewer weights still"),
    ("It is false with one channel, 18 weights for 25. More input channels help.", "*between* the layers"),
    ("It is false with one channel, 18 weights for 25. More output channels help.", "*between* the layers"),
    ("With one channel 18 weights cannot make 25: more input channels help.", "*between* the layers"),
    ("It is false with one channel, 18 weights for 25. More channels at the input would help.", "*between* the"),
    ("With one channel 18 weights cannot give 25. With C in and out and C between it is true.", "C * C"),
    (
        "18 weights cannot give 25. For C channels in and out, with four channels in between it is true.",
        "enough for one kernel",
    ),
    ("18 < 25: false. Four channels between are enough for any C channels in and out.", "enough for one kernel"),
]


@pytest.mark.parametrize("right", RIGHT_WORDS)
def test_right_explanations_pass(right):
    assert check.check_explanation(right).status == "passed"


@pytest.mark.parametrize(("wrong", "why"), FALSE_WORDS)
def test_false_explanations_are_refused_with_the_reason(wrong, why):
    verdict = check.check_explanation(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text
    assert "does not speak of" not in verdict.text
