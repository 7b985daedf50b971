"""Chapter 06's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import itertools
import random

import numpy as np
import pytest
import torch

from vgglib.exercises import chapter_06 as check


def crops(height, width, S, crop, views=2, more=1):
    """The solution; its options make it wrong."""
    short = min(height, width)
    rows, columns = height * S // short - crop + more, width * S // short - crop + more
    return views * rows * columns if rows > 0 and columns > 0 else 0


def places(notation):
    return [(b, n) for b, block in enumerate(notation.split("|")) for n, _ in enumerate(block.split())]


def matches(deep, shallow):
    return [places(deep).index(place) for place in places(shallow)[:4]]


class Good:
    def __init__(self, low, high):
        self.low, self.high = low, high

    def scales(self, count):
        return [random.randint(self.low, self.high) for _ in range(count)]


class Stub:
    def __init__(self, low, high):
        self.scale = random.randrange(low, high)

    def scales(self, count):
        return [self.scale] * count


class OncePerBatch(Good):
    def scales(self, count):
        return [random.randint(self.low, self.high)] * count


class WithoutUpperEnd(Good):
    def scales(self, count):
        return [random.randrange(self.low, max(self.high, self.low + 1)) for _ in range(count)]


class Fractions(Good):
    def scales(self, count):
        return [random.uniform(self.low, self.high) for _ in range(count)]


class OnlyTheEnds(Good):
    def scales(self, count):
        return [random.choice([self.low, self.high]) for _ in range(count)]


class AlwaysTheSame(Good):
    def scales(self, count):
        dice = random.Random(0)
        return [dice.randint(self.low, self.high) for _ in range(count)]


class TakesTurns(Good):
    def __init__(self, low, high):
        super().__init__(low, high)
        self.turns = itertools.cycle(range(low, high + 1))

    def scales(self, count):
        return list(itertools.islice(self.turns, count))


class TooFew(Good):
    def scales(self, count):
        return super().scales(count - 1)


class FromNothing(Good):
    def scales(self, count):
        return [random.randint(0, self.high) for _ in range(count)]


class RoundedEnds(Good):
    def scales(self, count):
        return [round(random.uniform(self.low, self.high)) for _ in range(count)]


class Clipped(Good):
    def scales(self, count):
        middle = (self.low + self.high) / 2
        return [min(self.high, max(self.low, round(random.gauss(middle, 8)))) for _ in range(count)]


class TheLargerOfTwo(Good):
    def scales(self, count):
        return [max(random.randint(self.low, self.high) for _ in range(2)) for _ in range(count)]


class TwiceTheSameHalf(Good):
    def scales(self, count):
        return (super().scales((count + 1) // 2) * 2)[:count]


class InOrder(Good):
    def scales(self, count):
        return sorted(super().scales(count))


class ListOfLists(Good):
    def scales(self, count):
        return [[scale] * 2 for scale in super().scales(count)]


class OneRow(Good):
    def scales(self, count):
        return torch.tensor([super().scales(count)])


class WholeFloats(Good):
    def scales(self, count):
        return torch.empty(count).uniform_(self.low, self.high + 1).floor()


class OneNumber(Good):
    def scales(self, count):
        return random.randint(self.low, self.high)


class AsColumn(Good):
    def scales(self, count):
        return torch.randint(self.low, self.high + 1, (count, 1))


class AsTensor(Good):
    def scales(self, count):
        return torch.randint(self.low, self.high + 1, (count,))


class AsArray(Good):
    def scales(self, count):
        return np.random.default_rng().integers(self.low, self.high, count, endpoint=True)


def next_alike(deep, shallow):
    found, channels = [], [word for word in deep.split() if word != "|"]
    for word in [word for word in shallow.split() if word != "|"][:4]:
        found.append(channels.index(word, found[-1] + 1 if found else 0))
    return found


def _counted(rows, columns, crop):
    return 2 * (rows - crop + 1) * (columns - crop + 1) if min(rows, columns) >= crop else 0


def _signed(height, width, S, crop):
    return WRONG_CROPS["negative places"](height, width, S, crop)


WRONG_CROPS = {
    "without mirror images": lambda *given: crops(*given, views=1),
    "one place too few": lambda *given: crops(*given, more=0),
    "not rescaled": lambda height, width, S, crop: 2 * (height - crop + 1) * (width - crop + 1),
    "square": lambda height, width, S, crop: 2 * (S - crop + 1) ** 2,
    "largest side": lambda height, width, S, crop: crops(
        height, width, S * min(height, width) // max(height, width), crop
    ),
    "sum in place of product": lambda height, width, S, crop: (
        2 * (height * S // min(height, width) + width * S // min(height, width) - 2 * crop + 2)
    ),
    "rounded to the nearest": lambda height, width, S, crop: crops(
        round(height * S / min(height, width)), round(width * S / min(height, width)), S, crop
    ),
    "negative places": lambda height, width, S, crop: (
        2 * (height * S // min(height, width) - crop + 1) * (width * S // min(height, width) - crop + 1)
    ),
    "divided first": lambda height, width, S, crop: _counted(
        *(side * (S // min(height, width)) for side in (height, width)), crop
    ),
    "the largest side becomes S": lambda height, width, S, crop: _counted(
        *(side * S // max(height, width) for side in (height, width)), crop
    ),
    "a factor with a point": lambda height, width, S, crop: _counted(
        *(int(side // (min(height, width) / S)) for side in (height, width)), crop
    ),
    "the cell's short": lambda height, width, S, crop: _counted(height * S // 512, width * S // 512, crop),
    "judged on the original": lambda height, width, S, crop: (
        0 if crop > min(height, width) else crops(height, width, S, crop)
    ),
    "judged on both sides of the original": lambda height, width, S, crop: (
        0 if crop > min(height, width) else WRONG_CROPS["negative places"](height, width, S, crop)
    ),
    "judged on the larger side": lambda height, width, S, crop: (
        0 if max(height, width) * S // min(height, width) < crop else _signed(height, width, S, crop)
    ),
    "a list": lambda *given: [crops(*given)],
    "an array of one": lambda *given: np.array([crops(*given)]),
    "the height is always the larger": lambda height, width, S, crop: (
        2 * (height * S // width - crop + 1) * (S - crop + 1)
    ),
}
WRONG_JITTERS = (
    OncePerBatch, WithoutUpperEnd, Fractions, OnlyTheEnds, AlwaysTheSame, TakesTurns, TooFew, FromNothing, RoundedEnds,
    Clipped, TheLargerOfTwo, TwiceTheSameHalf, InOrder, ListOfLists, OneRow, WholeFloats, OneNumber,
)  # fmt: skip
WRONG_MATCHES = {
    "by number": lambda deep, shallow: [0, 1, 2, 3],
    "first of each block": lambda deep, shallow: [places(deep).index((b, 0)) for b in range(4)],
    "learned by heart": lambda deep, shallow: [0, 2, 4, 5],
    "the next layer with as many channels": lambda deep, shallow: next_alike(deep, shallow),
    "counted from one": lambda deep, shallow: [place + 1 for place in matches(deep, shallow)],
    "all layers": lambda deep, shallow: [places(deep).index(p) for p in places(shallow) if p in places(deep)],
    "names, not positions": lambda deep, shallow: ["conv1_1", "conv2_1", "conv3_1", "conv3_2"],
    "a set": lambda deep, shallow: set(matches(deep, shallow)),
    "arguments swapped": lambda deep, shallow: matches(shallow, deep),
    "poolings counted": lambda deep, shallow: [
        [place for place, word in enumerate(deep.split()) if word != "|"][found] for found in matches(deep, shallow)
    ],
    "poolings counted, by channels": lambda deep, shallow: [deep.split().index(c) for c in shallow.split() if c != "|"][
        :4
    ],
}
WRONG_WORDS = {
    "all are copied": "All sixteen layers are copied and the signal explodes so nothing is learned",
    "all are copied, without an explosion": "All 16 layers are copied, and the signal vanishes in them, so it stalls.",
    "it explodes": "Only four of the sixteen layers are copied; in the others the signal explodes, nothing is learned.",
    "it grows": "Four layers are copied, in the twelve others the gradient grows by half in each layer.",
    "the others are copied": "The other twelve layers are copied and the signal fades in the first four of them.",
    "the rate": "Four layers are copied but the learning rate is too small, so the gradient of the rest does nothing.",
    "all get A's weights": "All sixteen layers get A's weights, and the signal vanishes all the same in most of them.",
    "all have A's weights": "All layers have the weights of A, and the gradient is lost in the remaining 300 steps.",
    "all receive them": "All of it: all 16 layers received A's weights, but the signal shrinks in most of the others.",
    "the rate is small": "Four layers are copied, but the learning rate is small, so the gradient does too little.",
    "all, and the rate": "All sixteen layers get A's weights, but the rate is small and the gradient is lost in it",
    "nothing of the signal": "Only four of the sixteen layers are copied, and the other twelve are far too small.",
    "nothing of shrinking": "Only four of the sixteen layers are copied, the others change the signal of the network.",
    "the two the wrong way round": "Four of sixteen are copied. He's weights shrink the signal and gradient, "
    "the paper's weights keep both.",
    "He's vanish": "Four layers are copied. With He's weights the gradient vanishes, with the paper's it does not.",
    "nothing shrinks": "The signal and gradient do not shrink: the other twelve keep them; four layers are copied.",
    "it does not vanish": "Four layers are copied, so the signal doesn't vanish in the twelve others.",
    "all kill it": "All 16 layers are copied and kill the signal.",
    "the same in the others": "Four are copied, the signal is the same in the other twelve layers.",
    "of other things": "The learning rate in the paper is too small of the output, and other things differ.",
    "too short": "four layers, signal vanishes",
}


@pytest.fixture(autouse=True)
def _dice():
    random.seed(0)


def test_solutions_pass():
    assert check.check_crops(crops).status == "passed"
    assert check.check_jitter(Good).status == "passed"
    assert check.check_matches(matches).status == "passed"
    text = "Only four layers are copied; in the other twelve the signal shrinks by half each time, so nothing arrives."
    assert check.check_explanation(text).status == "passed"


@pytest.mark.parametrize("kind", [AsTensor, AsArray, AsColumn])
def test_whole_numbers_of_torch_and_numpy_are_whole_numbers(kind):
    torch.manual_seed(0)
    assert check.check_jitter(kind).status == "passed"


@pytest.mark.parametrize(
    "text",
    ["Only a quarter of E's convolutions come from A; through the remaining ones the activations decay towards zero.",
     "Four conv layers are copied. In between the activations decrease from layer to layer, exponentially.",
     "Four of sixteen are copied; in the twelve others the gradient on its way back is vanishingly tiny.",
     "The layers that were not copied still have std 0.01, so the signal vanishes there. With He weights it does not.",
     "The gain per layer is below one half so activations and gradients vanish in the uncopied middle of the stack.",
     "Only four layers are copied; each of the other twelve multiplies the activations by about 0.48 or less.",
     "Four of the sixteen are copied; the other twelve scale the input down by half each time.",
     "Only a few layers are copied; in the remaining ones outputs and updates go towards nothing.",
     "Copying leaves 75 % with gain 0.48, so what comes in as outputs is divided by two every layer.",
     "Not all layers are copied: twelve are left, and in these the signal does not explode, it vanishes.",
     "Four layers are copied; all layers have a gain, and in the twelve others the gain of 0.48 lets the signal fade.",
     "Four are copied; at first all layers have weights from a normal distribution, and twelve let the signal fade.",
     "Not all sixteen layers get A's weights: four do, and in the twelve others the signal vanishes.",
     "The rate is not too small: four layers are copied, and in the other twelve the gradient vanishes.",
     "Four of all sixteen layers are copied. With a std of 0.1 it would explode, with 0.01 the signal fades.",
     "The twelve random layers make the signal grow smaller and smaller, and the gradient too.",
     "In E, 4/16 convs are copied; the 12 uncopied multiply the standard deviation by around 0.3 each, so the output "
     "and the backward gradient are ~1e-6. With He gain about 1.",
     "Four of sixteen convolutions are copied. The others have std 0.01 which squashes the activations and starves the "
     "early layers of gradient.",
     "Four layers copied; the random rest lets neither signal nor gradient through, so nothing is learned.",
     "Every layer between the copied ones has a gain well under one, and there are a dozen of them; the product is a "
     "millionth for the values and also for the derivatives.",
     "They copy just conv1_1, conv2_1, conv3_1 and conv3_2; the rest make the numbers tinier and tinier both ways.",
     "Four are copied; in the twelve others the signal fades to a millionth. He's weights shrink it only a little.",
     "Four are copied; twelve starve the rest. With He's weights the gradient shrinks far less, to a tenth.",
     "Four layers are copied. He's weights do not shrink the signal, the paper's do, in each of the twelve others.",
     "Four layers are copied. Unlike He's weights the paper's shrink the signal in the twelve others, again and again.",
     "Only four are copied. The signal shrinks in the other twelve layers. He's weights would not let it shrink.",
     "In the four copied layers the signal does not shrink, in the twelve others it does, to a millionth.",
     "Only four of the sixteen convolutions are copied. The other twelve have small weights that shrink signal and "
     "gradient to nothing; He's weights keep the signal from vanishing or exploding, so E learns even cold.",
     "Four are copied; the other twelve shrink the signal, and the gradient. He's weights stop it from shrinking or "
     "growing.",
     "Four layers are copied; the other twelve kill the signal and the gradient.",
     "Only conv1_1, conv2_1, conv3_1, conv3_2 are copied. The twelve others have a gain of about 0.5, so 0.5^12 of the "
     "signal is left, and the same for the gradient.",
     "4 of the 16 layers are copied. The signal arrives times 0.48**12, the gradient about the same.",
     "4 of 16 layers are copied. With He's weights each layer keeps the variance, with the paper's the signal is "
     "multiplied with 0.48 in every layer."],
)  # fmt: skip
def test_explanations_pass(text):
    assert check.check_explanation(text).status == "passed"


def test_a_signal_that_grows_explains_nothing():
    text = "Only four layers are copied. The signal grows in the twelve others, and so does the gradient."
    assert check.check_explanation(text).status == "failed"


class UpperEndOnly(Stub):
    def __init__(self, low, high):
        self.scale = random.randint(low, high)


class RangeKept(Stub):
    def __init__(self, low, high):
        super().__init__(low, high)
        self.low, self.high = low, high


class Rewritten(Stub):
    def scales(self, count):
        return [self.scale for _ in range(count)]


class Sampled(Good):
    def scales(self, count):
        return random.sample(range(self.low, self.high + 1), count)


class Chosen(Good):
    def scales(self, count):
        return random.choices(range(self.low, self.high + 1), k=count)


def test_an_attempt_that_changes_nothing_is_no_stub():
    verdict = check.check_jitter(Rewritten)
    assert verdict.status == "failed"
    assert "draw in `scales`, once a picture" in verdict.text


def test_a_sample_without_repetition_is_named():
    verdict = check.check_jitter(Sampled)
    assert verdict.status == "failed"
    assert "never draws a scale twice" in verdict.text
    assert check.check_jitter(Chosen).status == "passed"


def test_half_a_repair_is_seen():
    verdict = check.check_jitter(UpperEndOnly)
    assert verdict.status == "failed"
    assert "upper end is mended; but the scale is drawn once for a Jitter" in verdict.text
    verdict = check.check_jitter(RangeKept)
    assert verdict.status == "failed"
    assert "draw one for each picture" in verdict.text


def test_stubs_wait():
    for stub in (lambda *given: ..., lambda *given: None):
        assert check.check_crops(stub).status == "todo"
        assert check.check_matches(stub).status == "todo"
    assert check.check_jitter(Stub).status == "todo"
    assert "scale" not in check.check_jitter(Stub).text, "what is wrong is asked"
    assert check.check_explanation(...).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_CROPS)
def test_crops_rejects(mistake):
    verdict = check.check_crops(WRONG_CROPS[mistake])
    assert verdict.status == "failed"
    assert "crops(" in verdict.text


@pytest.mark.parametrize(
    ("mistake", "why"),
    [("one place too few", "has one place, not none"), ("without mirror images", "has a mirror image: count it"),
     ("rounded to the nearest", "7,590: the rescaled sides are rounded down"), ("not rescaled", "to S first"),
     ("divided first", "multiply by S before"), ("the largest side becomes S", "the *smallest* side becomes"),
     ("a factor with a point", "just below a whole number"), ("the cell's short", "`short` is the cell's above"),
     ("judged on the original", "not with the picture's"), ("a list", "one number"), ("an array of one", "one number"),
     ("judged on the larger side", "larger than a side has no place"),
     ("square", "only the smallest side"), ("negative places", "larger than a side has no place")],
)  # fmt: skip
def test_crops_says_why(mistake, why):
    assert why in check.check_crops(WRONG_CROPS[mistake]).text


def test_crops_knows_two_mistakes_at_once_and_fractions():
    neither = check.check_crops(lambda *given: crops(*given, views=1, more=0)).text
    assert "not none; and each view also has a mirror image" in neither
    fractions = check.check_crops(
        lambda height, width, S, crop: (
            2 * (height * S / min(height, width) - crop + 1) * (width * S / min(height, width) - crop + 1)
        )
    )
    assert "a whole number of pixels" in fractions.text
    assert check.check_crops(lambda *given: np.zeros(3)).status == "failed"


@pytest.mark.parametrize("mistake", WRONG_JITTERS, ids=lambda kind: kind.__name__)
def test_jitter_rejects(mistake):
    assert check.check_jitter(mistake).status == "failed"


def test_jitter_says_why():
    assert "four hundred times" in check.check_jitter(OncePerBatch).text
    assert "upper end" in check.check_jitter(WithoutUpperEnd).text
    assert "whole number" in check.check_jitter(Fractions).text
    assert "too rarely" in check.check_jitter(RoundedEnds).text
    assert "too often" in check.check_jitter(Clipped).text
    assert "in order of their size" in check.check_jitter(InOrder).text
    assert "over and over" in check.check_jitter(TwiceTheSameHalf).text
    assert "each scale is one number, yours gave [" in check.check_jitter(ListOfLists).text
    assert "each scale is one number, yours gave [" in check.check_jitter(OneRow).text
    assert "a float: make it an int" in check.check_jitter(WholeFloats).text
    assert "`scales` gives a list" in check.check_jitter(OneNumber).text
    assert "have a mean of 4" in check.check_jitter(TheLargerOfTwo).text
    assert "raised ValueError" in check.check_jitter(int).text


@pytest.mark.parametrize("mistake", WRONG_MATCHES)
def test_matches_rejects(mistake):
    verdict = check.check_matches(WRONG_MATCHES[mistake])
    assert verdict.status == "failed"
    assert "matches(" in verdict.text


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        ("counted from one", "counted from 0"),
        ("all layers", "only the first four"),
        ("by number", "by number"),
        ("a set", "has no order"),
        ("arguments swapped", "in the deep network for the layers of the shallow one"),
        ("poolings counted", "do not count it"),
        ("first of each block", "the first of each block"),
    ],
)
def test_matches_says_why(mistake, why):
    assert why in check.check_matches(WRONG_MATCHES[mistake]).text


@pytest.mark.parametrize(
    "kind",
    [
        iter,
        tuple,
        np.array,
        lambda found: (p for p in found),
        lambda found: dict(zip("abcd", found, strict=True)).values(),
    ],
)
def test_matches_of_any_kind_of_sequence_are_right(kind):
    assert check.check_matches(lambda *given: kind(matches(*given))).status == "passed"


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_explanation_rejects(mistake):
    assert check.check_explanation(WRONG_WORDS[mistake]).status == "failed"
