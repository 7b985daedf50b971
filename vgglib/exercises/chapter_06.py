"""Checks of the exercises in notebooks/06_training_scale.ipynb."""

from collections.abc import Callable, Iterable
from numbers import Integral

from vgglib.teaching import Verdict, check_function, check_words

MANY = 3400  # draws, to see whether they are even


def check_crops(attempt: Callable) -> Verdict:
    """Return the verdict on how many crops a picture rescaled to S has, mirror images included."""
    cases = {
        (600, 512, 256, 224): 5_082,
        (600, 512, 512, 224): 217_906,
        (600, 455, 256, 224): 7_524,
        (500, 500, 224, 224): 2,
        (300, 400, 256, 224): 7_788,
        (400, 300, 256, 224): 7_788,
        (28, 28, 32, 28): 50,
        (30, 45, 20, 7): 672,
        (100, 100, 200, 224): 0,
    }
    return check_function(attempt, cases, "crops")


def check_jitter(attempt: type) -> Verdict:
    """Return the verdict on a class that draws a training scale for each picture."""
    try:
        jitter = attempt(32, 48)
        first, second, many = (_whole(jitter.scales(count)) for count in (400, 400, MANY))
    except Exception as error:
        return Verdict("failed", f"Jitter(32, 48).scales(400) raised {type(error).__name__}: {error}")
    if first == [...] or ... in first:
        return Verdict("todo", "Jitter: not attempted yet")
    if len(first) != 400:
        return Verdict("failed", f"Jitter(32, 48).scales(400) should give 400 scales, yours gave {len(first)}")
    if len(set(first)) == 1:
        if first == second and list(vars(jitter)) == ["scale"]:
            if all(attempt(32, 33).scales(1)[0] == 32 for _ in range(40)):  # as given
                return Verdict("todo", "all 400 pictures have one scale: find out why, and mend it")
            why = "the upper end is mended; but the scale is drawn once for a Jitter, not for each picture"
            return Verdict("failed", why)
        return Verdict(
            "failed", f"Jitter(32, 48).scales(400) gave {first[0]} four hundred times: draw one for each picture"
        )
    drawn = set(first) | set(second)
    if not all(isinstance(scale, int) for scale in drawn):
        return Verdict("failed", f"a scale is a whole number of pixels, yours gave {next(iter(drawn))!r}")
    if min(drawn) < 32 or max(drawn) > 48:
        outside = min(drawn) if min(drawn) < 32 else max(drawn)
        return Verdict("failed", f"Jitter(32, 48) should stay from 32 to 48, yours gave {outside}")
    if missing := sorted(set(range(32, 49)) - drawn):
        which = "its upper end, 48" if missing == [48] else ", ".join(map(str, missing))
        return Verdict("failed", f"in 800 draws from 32 to 48 Jitter never draws {which}")
    if any(first[period:] == first[:-period] for period in range(1, 101)):
        return Verdict("failed", "the scales come in a fixed order, over and over: draw each at random")
    if wrong := _uneven(many):
        return wrong
    if first == second:
        return Verdict("failed", "two batches in a row had the same scales: draw anew in each")
    try:
        narrow = _whole(attempt(30, 30).scales(3))
    except Exception as error:
        return Verdict("failed", f"Jitter(30, 30).scales(3) raised {type(error).__name__}: {error}")
    if narrow != [30] * 3:
        return Verdict("failed", f"Jitter(30, 30).scales(3) should be [30, 30, 30], yours gave {narrow}")
    return Verdict("passed", "Jitter: every picture has a scale of its own, both ends included")


def _whole(scales: Iterable) -> list:
    """Return scales as a list, with a tensor's or an array's whole numbers as int."""
    plain = [scale.item() if hasattr(scale, "item") else scale for scale in scales]
    return [int(scale) if isinstance(scale, Integral) else scale for scale in plain]


def _uneven(scales: list[int]) -> Verdict | None:
    """Return what is wrong if 17 scales from 32 to 48 are not equally likely; chance alone: once in 100,000 classes."""
    ends, mean = sum(scale in (32, 48) for scale in scales), sum(scales) / len(scales)
    expected, spread = 2 / 17, (2 / 17 * 15 / 17 / len(scales)) ** 0.5
    if abs(ends / len(scales) - expected) > 4.5 * spread:
        often = "rarely" if ends / len(scales) < expected else "often"
        return Verdict("failed", f"in {len(scales):,} draws the ends, 32 and 48, come too {often}: draw evenly")
    if abs(mean - 40) > 4.5 * (24 / len(scales)) ** 0.5:
        return Verdict("failed", f"{len(scales):,} draws from 32 to 48 have a mean of {mean:.1f}: draw evenly")
    return None


def check_matches(attempt: Callable) -> Verdict:
    """Return the verdict on where the first four convolutions of a shallow network stand in a deep one."""
    cases = {
        ("64 64 | 128 128 | 256 256 256 | 512 |", "64 | 128 | 256 256 | 512 |"): [0, 2, 4, 5],
        ("64 64 | 128 128 | 256 256 | 512 |", "64 | 128 | 256 256 | 512 |"): [0, 2, 4, 5],
        ("8 8 8 | 16 16 | 32 |", "8 8 | 16 | 32 |"): [0, 1, 3, 5],
        ("8 8 | 16 | 32 32 32 |", "8 | 16 | 32 32 |"): [0, 2, 3, 4],
        ("64 | 128 | 256 256 |", "64 | 128 | 256 256 |"): [0, 1, 2, 3],
        ("8 8 | 8 8 | 16 16 |", "8 | 8 | 16 16 |"): [0, 2, 4, 5],
        ("8 8 8 | 16 16 16 16 | 32 |", "8 | 16 16 16 |"): [0, 3, 4, 5],
    }
    return check_function(attempt, cases, "matches")


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why copied layers did not help E from the paper's weights."""
    ideas = {
        "how few layers are copied": (
            "four|twelve|12|few|quarter|most|remaining|sixteen|the rest|the others|other layers|random",
            "not copied|uncopied|intermediate|(in|layers) between|middle",
        ),
        "what happens to the signal": ("signal|activation|gradient|forward",),
        "how it shrinks": (
            "vanish|shr[iau]nk|small|half|halv|lost|lose|fad(e|ing)|nothing|dead|die[sd]?|decay|decreas|zero",
            "tiny|below 1|less than (1|one)|weak|disappear|attenuat|dwindl|drop|lower|faint|shorter",
            "no signal|no gradient|insignificant|reduc",
        ),
    }
    return check_words(answer, ideas)
