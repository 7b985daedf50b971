"""Checks of the exercises in notebooks/03_three_by_three_or_seven.ipynb."""

from collections.abc import Callable

from vgglib.teaching import Verdict, check_answer, check_function, check_words


def check_stack_weights(attempt: Callable) -> Verdict:
    """Return the verdict on the weights of a stack, given one kernel and the channels from the input to the output."""
    cases = {
        (3, (64, 64)): 36_864,
        (3, (8, 8, 8, 8)): 1_728,
        (7, (8, 8)): 3_136,
        (3, (3, 64, 64)): 38_592,
        (5, (3, 64)): 4_800,
        (1, (16, 32)): 512,
        (3, (1, 2, 1)): 36,
        (3, (5,)): 0,
    }
    return check_function(lambda kernel, channels: attempt(kernel, list(channels)), cases, "stack_weights")


def check_pair(answer: object) -> Verdict:
    """Return the verdict on the weights of B's block 2: two 3x3 layers, from 64 channels to 128."""
    mistakes = {
        294_912: "the first layer sees 64 channels, not 128",
        147_456: "there are two layers, and the second sees the 128 channels that the first one gives",
        110_592: "the second layer sees the 128 channels that the first one gives",
        73_728: "that is the first layer alone",
        24_576: "each weight is one of the 9 places of a kernel",
        221_440: "that is with biases",
    }
    return check_answer(answer, 221_184, mistakes)


def check_single(answer: object) -> Verdict:
    """Return the verdict on the weights of one 5x5 layer from 64 channels to 128."""
    mistakes = {
        409_600: "it sees 64 channels and gives 128",
        204_928: "that is with biases",
        102_400: "it gives 128 channels, not 64",
        73_728: "a 5x5 kernel has 25 places",
        1_600: "one kernel for each output channel: there are 128",
        3_200: "each kernel reaches through all 64 input channels",
    }
    return check_answer(answer, 204_800, mistakes)


def check_fewer(attempt: Callable) -> Verdict:
    """Return the verdict on a function that says how many per cent fewer weights a stack has than one layer."""
    cases = {(27, 49): 100 * 22 / 49, (18, 25): 28.0, (50, 100): 50.0, (100, 100): 0.0, (221_184, 204_800): -8.0}
    return check_function(attempt, cases, getattr(attempt, "__name__", "fewer"))


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why two 3x3 layers with one channel cannot give every 5x5 layer, and what helps."""
    ideas = {
        "how many weights there are": (
            "1[78]|eighteen|seventeen|2 ?[*x×·] ?9|weight|number|param|freedom|coefficient|dimension|unknown",
            "rank",
        ),
        "how many would be needed": (
            r"5 ?[x×·]? ?5|twenty five",
            "25|twenty five|5 ?[*x×·] ?5 ?=",
        ),
        "more channels in between": (
            r"filter|more kernels|hidden",
            r"channel|(feature )?maps?\b|wid(e|th)|intermediate",
        ),
    }
    return check_words(answer, ideas)
