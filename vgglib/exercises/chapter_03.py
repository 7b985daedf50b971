"""Checks of the exercises in notebooks/03_three_by_three_or_seven.ipynb."""

import math
import statistics
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

    def weights(
        kernel: int, channels: tuple, bias: int = 0, area: int = 2, by: tuple = (slice(None, -1), slice(1, None))
    ) -> int:
        pairs = zip(channels[by[0]], channels[by[1]], strict=True)
        return sum((kernel**area * before + bias) * after for before, after in pairs)

    mistakes = {
        "that is with biases: leave them out": lambda kernel, channels: weights(kernel, channels, bias=1),
        "a kernel of side k has k * k places": lambda kernel, channels: weights(kernel, channels, area=1),
        "each layer counts with the channels that come in, too": lambda kernel, channels: weights(
            kernel, channels, by=(slice(1, None), slice(1, None))
        ),
        "each layer counts with the channels that go out, too": lambda kernel, channels: weights(
            kernel, channels, by=(slice(None, -1), slice(None, -1))
        ),
        "each kernel reaches through all channels that come in": lambda kernel, channels: sum(
            kernel**2 * after for after in channels[1:]
        ),
        "a later layer sees the channels of the layer before it, not those of the input": lambda kernel, channels: sum(
            kernel**2 * channels[0] * after for after in channels[1:]
        ),
        "each layer has its own two numbers of channels, yours takes the first of the list for all": (
            lambda kernel, channels: kernel**2 * channels[0] ** 2 * (len(channels) - 1)
        ),
        "the first and the last number alone are not enough: the channels between count, too": (
            lambda kernel, channels: kernel**2 * channels[0] * channels[-1]
        ),
        "the first and the last number alone are not enough: each layer between has weights, too": (
            lambda kernel, channels: kernel**2 * channels[0] * channels[-1] * (len(channels) > 1)
        ),
        "each layer has weights of its own: they add up, they are not multiplied": (
            lambda kernel, channels: kernel**2 * math.prod(channels)
        ),
        "channels[-1] is the last number, and it does not stand before the first": lambda kernel, channels: sum(
            kernel**2 * channels[i - 1] * channels[i] for i in range(len(channels))
        ),
        "a list of n numbers has n - 1 layers, each with two neighbours": lambda kernel, channels: sum(
            kernel**2 * one * one for one in channels
        ),
    }
    return check_function(lambda kernel, channels: attempt(kernel, list(channels)), cases, "stack_weights", mistakes)


def check_pair(answer: object) -> Verdict:
    """Return the verdict on the weights of B's block 2: two 3x3 layers, from 64 channels to 128."""
    mistakes = {
        294_912: "the first layer sees 64 channels, not 128",
        147_456: "there are two layers, and the second sees the 128 channels that the first one gives",
        110_592: "the second layer sees the 128 channels that the first one gives",
        73_728: "that is the first layer alone, or both with a side of 3 in place of 3 * 3 places",
        49_152: "a kernel has 3 * 3 places, and the second layer sees the 128 channels that the first one gives",
        24_576: "each weight is one of the 9 places of a kernel",
        221_440: "that is with biases",
        204_800: "that is the other one, the 5x5 layer",
    }
    return check_answer(answer, 221_184, mistakes)


def check_single(answer: object) -> Verdict:
    """Return the verdict on the weights of one 5x5 layer from 64 channels to 128."""
    mistakes = {
        409_600: "it sees 64 channels and gives 128",
        204_928: "that is with biases",
        221_184: "that is the other one, the pair of 3x3 layers",
        102_400: "it gives 128 channels, not 64",
        73_728: "a 5x5 kernel has 25 places",
        40_960: "a kernel of side 5 has 5 * 5 places",
        57_344: "a kernel of side 5 has 5 * 5 places",
        401_408: "that is a 7x7 layer",
        1_600: "one kernel for each output channel: there are 128",
        3_200: "each kernel reaches through all 64 input channels",
    }
    return check_answer(answer, 204_800, mistakes)


def check_fewer(attempt: Callable) -> Verdict:
    """Return the verdict on a function that says how many per cent fewer weights a stack has than one layer."""
    cases = {
        (27, 49): 100 * 22 / 49,
        (18, 25): 28.0,
        (50, 100): 50.0,
        (100, 100): 0.0,
        (27, 25): -8.0,
        (18, 49): 100 * 31 / 49,
    }
    mistakes = {
        "that is a share; per cent are a hundred times as many": lambda stack, single: (single - stack) / single,
        "that is measured by the stack, and *fewer than the single layer* by the single layer": (
            lambda stack, single: 100 * (single - stack) / stack
        ),
        "that is what is left, not what is saved": lambda stack, single: 100 * stack / single,
        "the sign is turned round": lambda stack, single: 100 * (stack - single) / single,
        "it is negative where the stack has more": lambda stack, single: abs(100 * (single - stack) / single),
        "that is rounded down to a whole number: divide by /, not by //": (
            lambda stack, single: 100 * (single - stack) // single
        ),
    }
    for digits in range(3):
        mistakes[f"that is rounded, to {digits} digits after the point: leave all of them"] = (
            lambda stack, single, digits=digits: round(100 * (single - stack) / single, digits)
        )
    return check_function(attempt, cases, getattr(attempt, "__name__", "fewer"), mistakes)


def check_judge(attempt: Callable) -> Verdict:
    """Return the verdict on a function that says which of two networks is better, from five accuracies each.

    It should decide by the 95 % interval of the difference, 2.31 standard errors to each side: "a", "b", "cannot tell".
    """
    steady, wild = (0.1, 0.05, 0.0, -0.05, -0.1), (3.0, 1.0, 0.0, -1.0, -3.0)
    usual, mixed = (1.5, 0.5, 0.0, -0.5, -1.5), (-0.5, 1.5, -1.5, 0.0, 0.5)
    skewed = (-0.5, -0.5, -0.5, -0.5, 2.0)
    pairs = [_runs(usual, mixed, apart) for apart in (9, 0.4, 0.72, 1, 1.3, 1.44, 1.55, 1.6, 1.66, 1.75, 1.78)]
    pairs += [_runs(usual, mixed, apart) for apart in (1.82, 1.9, 2, 2.11, 2.2, 3)]
    pairs += [(b, a) for a, b in pairs]
    pairs += [_runs(steady, wild, 1.7), _runs(wild, steady, -1.7), _runs(usual, usual, 0)]
    pairs += [_runs(one, other, apart) for one, other in ((wild, steady), (steady, wild)) for apart in (2.2, 2.4, 2.7)]
    pairs += [_runs(one, other, apart) for one, other in ((skewed, steady), (steady, skewed)) for apart in (1.1, 1.3)]
    cases = {pair: _judge(*pair) for pair in pairs}
    mistakes = {
        "the larger mean alone decides nothing": lambda a, b: _judge(a, b, errors=0.0),
        "one standard error is too little": lambda a, b: _judge(a, b, errors=1.0),
        "with five runs each it takes 2.31 standard errors": lambda a, b: _judge(a, b, errors=2.0),
        "2.57 is for a single list of six runs: five against five take 2.31": lambda a, b: _judge(a, b, errors=2.571),
        "2.78 is for a single list of five runs: five against five take 2.31": lambda a, b: _judge(a, b, errors=2.776),
        "the runs count as unpaired: each list has a spread of its own": lambda a, b: _judge(a, b, paired=True),
        "the runs count as unpaired: each list has a spread of its own, and it takes 2.31 standard errors": (
            lambda a, b: _judge(a, b, paired=True, errors=2.776)
        ),
        "the spread of a mean is that of a run over the root of the number of runs": (
            lambda a, b: _judge(a, b, runs=1.0)
        ),
        "the 5 stands under the root, too: squares are divided by the number of runs": (
            lambda a, b: _judge(a, b, runs=25.0)
        ),
        "that is the square of the standard error: take the root": (
            lambda a, b: _judge(a, b, errors=2.31 * _error(a, b))
        ),
        "divide by the number of runs, 5: stdev has its 4 already": lambda a, b: _judge(a, b, runs=4.0),
        "spreads of independent means add as squares": lambda a, b: _judge(a, b, power=1),
        "statistics.variance is a square already": lambda a, b: _judge(a, b, sd=statistics.variance),
        "both spreads count, not the larger one twice": (
            lambda a, b: _judge(a, b, sd=lambda _: max(statistics.stdev(a), statistics.stdev(b)))
        ),
        "take the spread of a sample, statistics.stdev, not pstdev": lambda a, b: _judge(a, b, sd=statistics.pstdev),
        "compare the means, not the medians": lambda a, b: _judge(a, b, middle=statistics.median),
        "a and b have changed places": lambda a, b: _judge(b, a),
        "b may be the better one, too": lambda a, b: _judge(a, b).replace("b", "cannot tell"),
    }
    return check_function(lambda a, b: attempt(list(a), list(b)), cases, "judge", mistakes)


def _runs(of_a: tuple, of_b: tuple, apart: float) -> tuple:
    """Accuracies of two networks around 80 %, their means ``apart``."""
    return tuple(round(80 + apart + one, 2) for one in of_a), tuple(round(80 + one, 2) for one in of_b)


def _error(
    a: tuple,
    b: tuple,
    runs: float = 5,
    power: int = 2,
    sd: Callable = statistics.stdev,
    paired: bool = False,
) -> float:
    """The standard error of a difference of two means; its options make it wrong."""
    lists = [[one - other for one, other in zip(a, b, strict=True)]] if paired else [a, b]
    return sum((sd(one) / math.sqrt(runs)) ** power for one in lists) ** (1 / power)


def _judge(
    a: tuple, b: tuple, errors: float = 2.31, middle: Callable = statistics.fmean, **of_the_error: object
) -> str:
    """The solution of check_judge's exercise; its options make it wrong."""
    difference, error = middle(a) - middle(b), _error(a, b, **of_the_error)
    return "a" if difference > errors * error else "b" if difference < -errors * error else "cannot tell"


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why two 3x3 layers with one channel cannot give every 5x5 layer, and what helps."""
    ideas = {
        "how many weights there are": (
            "1[78]|eighteen|seventeen|2 ?[*x×·] ?9|weight|number|param|freedom|coefficient|dimension|unknown",
            r"rank|polynomial|factor(s|ed|is|iz|able)",
        ),
        "how many would be needed": (
            r"5 ?[x×·]? ?5|twenty five",
            "25|twenty five|5 ?[*x×·] ?5 ?=",
            r"irreducible|(cannot be|not|no|into|two) factor|degree (4|four)",
        ),
        "more channels in between": (
            r"filter|more kernels|hidden",
            r"channel|(feature )?maps?\b|wid(e|th)|intermediate",
        ),
    }
    verdict = check_words(answer, ideas, against=_FALSE)
    return verdict if verdict.status != "passed" else check_words(answer, {"what helps": _MORE})


_MORE = (  # a bare "channel" or "filter" is no remedy
    r"(more|several|extra|additional|enough|many|multiple|add\w*) (\w+ ){0,3}(channel|filter|maps|kernels)",
    r"(two|2|four|4|[24] c) ((feature|hidden|middle|intermediate) )?(channels|filters(?! of 3)|maps)",
    r"at least (?!1 |one )\S+ (channels|filters(?! of 3)|maps)",
    r"(wid|broad|intermediate|hidden)",
    r"(channels|filters|maps) (\w+ ){0,4}(more|added|enough|suffice)",
)
_NOT = (
    r"\b(not|no|never|neither|nor|hardly|scarcely|left out|leaving out|beside the point|"
    r"cannot|without|instead of|rather than|wrong|false)\b|n['’]t\b"
)
_HELPS = (
    r"(helps?|helped|fix(es)?|solves?|cures?|suffices?|is enough|is the remedy|repairs?|mends?|is (what is )?missing|"
    r"makes? it (true|possible))\b"
)
_MANY = r"\b(more|many|several|multiple|extra|additional|further) (\w+ ){0,2}(channels|maps|filters)"
_EQUAL = r"\b(?<!\d )(c|equally many|as many) (channels? )?(also |too )?(in )?(between|the middle|everywhere)\b"
_WIDE = r"\b(?<!\d )(c|64|many|several) (channels? )?in(,? and|, between and) out\b"
_FEW = r"\b(two|2|four|4) (channels|maps|filters) (in )?(between|the middle)( \w+){0,3} (true|possible|enough|works?)\b"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        rf"\b(relus?|non-?linear\w*) (\w+ ){{0,6}}{_HELPS}|\bhelps?( is|:)? (an? |the )?(\w+ )?(relu|non-?linear)",
        _NOT + r"|\blittle\b",
        "a ReLU between adds no weight: the pair still has 18 numbers, and a 5x5 kernel 25",
    ),
    (
        r"\b(third|another|extra|additional|further|more 3 ?[x×] ?3) ((3 ?[x×] ?3|conv\w*) )?layers? (\w+ ){0,5}"
        + _HELPS,
        _NOT + r"|\b(parallel|beside|sum)\b",
        "a third layer in the row leaves one product, in a field of 7x7: what can stand *between* the two?",
    ),
    (
        r"\b(fewer|less) (\w+ )?(channels?|maps|filters) (\w+ ){0,3}" + _HELPS,
        _NOT,
        "fewer channels between leave fewer weights still",
    ),
    (
        r"\b(fewer|less) (\w+ )?(channels?|maps|filters)( \w+){0,3},? (it|this|that)(['’]s| is| becomes) (\w+ )?true\b",
        r"\b(not|never|no)\b|n['’]t\b",
        "fewer channels between leave fewer weights still",
    ),
    (
        rf"\b(false|wrong|untrue) (only )?(if|when|where|with|for) (there are )?(too )?{_MANY} (in )?(between|the mid)"
        rf"|{_MANY}( \w+){{0,3}} (makes?|renders?|turns?) (it|this|that) (false|wrong|untrue|impossible)\b",
        r"\b(not|never|than|equally|as many)\b|n['’]t\b",
        "more channels between leave more weights: count them for one channel and for four",
    ),
    (
        rf"{_MANY}( \w+){{0,4}} (do not|don['’]t|does not|doesn['’]t|cannot|can['’]t|will not|won['’]t|never|hardly) "
        rf"(\w+ )?(help|suffice|matter|change|fix|solve|cure|repair|add)"
        rf"|{_MANY}( \w+){{0,4}} (are|is|would be) (\w+ )?(useless|no use|no help|pointless|no remedy|in vain)\b",
        r"\b(in|input|out|output)\b(?! between| the middle)|\bwithout (more|many)\b",
        "each channel between adds a product of two kernels, and 18 weights: count them for four",
    ),
    (
        r"\b(more|many|several|multiple|extra|additional) (\w+ (and|or) )?(in|input|incoming|out|output|outgoing) "
        rf"(channels|maps|filters) (\w+ ){{0,3}}({_HELPS}|do\b|are needed)"
        rf"|{_MANY} (in|at|on|of) the (input|output) (\w+ ){{0,3}}({_HELPS}|do\b|are needed)",
        r"\b(not|never|hardly|no|nor|neither|cannot) (\w+ )?(help|fix|solve|suffice|more|input|output|in|out)\b"
        r"|n['’]t (\w+ )?(help|fix|solve|suffice)\b|\b(between|middle|intermediate|hidden)\b",
        "each pair of a channel in and a channel out asks for 25 entries of its own: what stands *between* the layers?",
    ),
    (
        r"\bonly (a |the )?(relus?|non-?linear\w*)( \w+)? (does|do|can|will|would|helps?)\b"
        r"|\b(relus?|non-?linear\w*)( \w+){0,3} (gives?|adds?|brings?|supplies|supply|provides?) (\w+ ){0,4}weights?\b",
        r"\bnot only\b|\bno (\w+ )?weights?\b|\b(gives?|adds?|brings?|supplies|supply|provides?) (no|zero|neither)\b"
        r"|\b(not|never|n['’]t) (give|add|bring|supply|provide)",
        "a ReLU between adds no weight: the pair still has 18 numbers, and a 5x5 kernel 25",
    ),
    (
        r"\b(with|for|if there is|given) (only |just )?(one|1|a single) channel( \w+){0,3},? "
        r"(it|this|that|the (claim|sentence|friend))(['’]s| is| would be) (\w+ly |always |indeed |also )?"
        r"(true|right|possible|correct)\b",
        r"\b(never|not (so|the case|true) that)\b",
        "count the weights for one channel: two kernels of 9, against 25",
    ),
    (
        r"\b(18|17|eighteen|seventeen)( \w+){0,2} ?(>|(is|are) (more|larger|greater) than) ?(25|twenty)",
        r"\b(not|never)\b|n['’]t\b",
        "18 are fewer than 25",
    ),
    (
        r"\b(pair|stack|two|5 ?[x×] ?5)\b.{0,30}\b(27|49)\b",
        r"\bthree\b|\bseven\b|\b7 ?[x×] ?7",
        "27 and 49 belong to three 3x3 and one 7x7: here are two 3x3 and one 5x5",
    ),
    (
        r"\b(never|not) (\w+ )?(false|wrong)\b",
        r"\b(if|when|where|once|unless)\b",
        "it is false somewhere: count the weights for one channel",
    ),
    (
        r"\balways (\w+ )?(true|right|possible)\b",
        r"\b(not|n['’]t|isn|hardly) always\b|\b(if|when|where|with|once|unless)\b",
        "it is false somewhere: count the weights for one channel",
    ),
    (
        r"\b(18|17|eighteen|seventeen)( \w+)? (are|is|would be|will be)? ?(enough|sufficient|suffice)\b"
        r"|\b(18|17|eighteen|seventeen) (\w+ )?(can|are able to) (\w+ )?(give|reach|make|learn|span|cover)\b"
        r"|\b(18|17|eighteen|seventeen) (\w+ )?(give|reach|make|learn|span|cover)(es|s)? (all|every|each|any)\b",
        _NOT + r"|\btoo few\b",
        "18 numbers cannot reach every point of 25 dimensions",
    ),
    (
        r"\b(pair|stack|two (3 ?[x×] ?3 )?layers) (has|have|needs?|gives?) (\w+ )?(25(?! ?[-−–])|twenty)"
        r"|\b5 ?[x×] ?5 (kernel |layer |one )?(has|have|needs?) (only |just )?(1[78]|eighteen|seventeen)\b",
        _NOT,
        "the counts have changed places: two kernels of 9, or one of 25?",
    ),
    (
        rf"{_EQUAL}.{{0,30}}\b(true|possible|enough|works?)\b|\b(true|possible)\b.{{0,30}}{_EQUAL}",
        _NOT + r"|\bone\b",
        "with C channels in, between and out both counts grow by C * C: 18 C * C against 25 C * C",
    ),
    (
        rf"{_WIDE}.{{0,60}}{_FEW}|{_FEW}.{{0,60}}{_WIDE}",
        _NOT + r"|\b(one|each|single|per)\b",
        "four channels between are enough for one kernel: with C in and C out there are C * C of them",
    ),
)
