"""Checks of the exercises in notebooks/06_training_scale.ipynb."""

import re
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, ValuesView
from numbers import Integral, Number

from vgglib.teaching import Verdict, as_number, check_function, check_words

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
        (200, 300, 256, 224): 10_626,
        (100, 100, 200, 224): 0,
        (600, 512, 200, 224): 0,
        (600, 300, 200, 224): 0,
    }
    return _reasoned(lambda *given: as_number(attempt(*given)), cases, "crops", _why_crops, _CROPS)


def _views(rescaled: Iterable[float], crop: int) -> int:
    """Return how many views two rescaled sides give."""
    rows, columns = (int(side) - crop + 1 for side in rescaled)
    return 2 * rows * columns if rows > 0 and columns > 0 else 0


_CROPS = {  # what went wrong, for an attempt that does so in every case
    "multiply by S before you divide: `S // short` has lost what is behind the point": lambda height, width, S, crop: (
        _views((side * (S // min(height, width)) for side in (height, width)), crop)
    ),
    "the *smallest* side becomes S pixels": lambda height, width, S, crop: _views(
        (side * S // max(height, width) for side in (height, width)), crop
    ),
    "a factor with a point may end just below a whole number: multiply by S, then divide by `//`": (
        lambda height, width, S, crop: _views((side // (min(height, width) / S) for side in (height, width)), crop)
    ),
    "`short` is the cell's above, that of the photograph: compute it from `height` and `width`": (
        lambda height, width, S, crop: _views((side * S // 512 for side in (height, width)), crop)
    ),
    "compare the crop with the rescaled sides, not with the picture's": lambda height, width, S, crop: (
        0 if crop > min(height, width) else _views((side * S // min(height, width) for side in (height, width)), crop)
    ),
}


def _why_crops(given: tuple[int, ...], got: object) -> str:
    """Return what went wrong, if it is one of the mistakes that are often made."""
    height, width, S, crop = given
    short = min(height, width)
    rows, columns = height * S // short - crop, width * S // short - crop  # without the place that is forgotten
    nearest = [round(side * S / short) - crop + 1 for side in (height, width)]
    exact = [side * S / short - crop + 1 for side in (height, width)]
    reasons = (
        (2 * rows * columns, "a crop that fits exactly has one place, not none: each side has one place more"),
        (rows * columns, "a crop that fits exactly has one place, not none; and each view also has a mirror image"),
        ((rows + 1) * (columns + 1), "each view has a mirror image: count it, too"),
        (2 * (S - crop + 1) ** 2, "only the smallest side becomes S pixels; the other is longer"),
        (2 * (height - crop + 1) * (width - crop + 1), "rescale the picture to S first"),
        (2 * nearest[0] * nearest[1], "the rescaled sides are rounded down, as `//` does, not to the nearest"),
        (2 * exact[0] * exact[1], "a rescaled side is a whole number of pixels: round down, as `//` does"),
    )
    if isinstance(got, list | tuple) or getattr(got, "shape", ()) != ():
        return "give one number, not a list"
    if not isinstance(got, Number):
        return ""
    if crop > S:
        return "a crop that is larger than a side has no place"
    return next((why for wrong, why in reasons if got == wrong), "")


def _reasoned(
    attempt: Callable,
    cases: Mapping[tuple, object],
    name: str,
    why: Callable[[tuple, object], str],
    mistakes: Mapping[str, Callable] | None = None,
) -> Verdict:
    """Return check_function's verdict; where it gives no reason, with the one that ``why`` finds in call and value."""
    last = []

    def kept(*given: object) -> object:
        last[:] = given, attempt(*given)
        return last[1]

    verdict = check_function(kept, cases, name)
    if verdict.status != "failed" or "yours gave" not in verdict.text:
        return verdict
    reason = why(*last)
    told = check_function(attempt, cases, name, mistakes)
    if told.text != verdict.text:
        return told
    return Verdict("failed", f"{verdict.text}: {reason}") if reason else verdict


def check_jitter(attempt: type) -> Verdict:
    """Return the verdict on a class that draws a training scale for each picture."""
    try:
        jitter = attempt(32, 48)
        first, second, many = (_whole(jitter.scales(count)) for count in (400, 400, MANY))
    except Exception as error:
        raised = f"Jitter(32, 48).scales(400) raised {type(error).__name__}: {error}"
        if "Sample larger than population" in raised:
            raised += "; random.sample never draws a scale twice, but pictures may share one: draw each by itself"
        if "not iterable" in raised:
            raised += "; `scales` gives a list, a scale for each picture"
        return Verdict("failed", raised)
    if first == [...] or ... in first:
        return Verdict("todo", "Jitter: not attempted yet")
    if wrong := next((scale for scale in (*first, *second) if not isinstance(scale, Number)), None):
        return Verdict("failed", f"each scale is one number, yours gave {wrong!r:.40}")
    if len(first) != 400:
        return Verdict("failed", f"Jitter(32, 48).scales(400) should give 400 scales, yours gave {len(first)}")
    if len(set(first)) == 1:
        if first == second and list(vars(jitter)) == ["scale"]:
            if all(attempt(32, 33).scales(1)[0] == 32 for _ in range(40)):  # as given
                if _as_given(attempt):
                    return Verdict("todo", "Jitter: not mended yet")
                why = "`scales` still repeats the one scale that `__init__` drew: draw in `scales`, once a picture"
                return Verdict("failed", why)
            why = "the upper end is mended; but the scale is drawn once for a Jitter, not for each picture"
            return Verdict("failed", why)
        return Verdict(
            "failed", f"Jitter(32, 48).scales(400) gave {first[0]} four hundred times: draw one for each picture"
        )
    drawn = set(first) | set(second)
    if not all(isinstance(scale, int) for scale in drawn):
        fraction = next(scale for scale in drawn if not isinstance(scale, int))
        kind = ", a float: make it an int" if fraction == int(fraction) else ""
        return Verdict("failed", f"a scale is a whole number of pixels, yours gave {fraction!r}{kind}")
    if min(drawn) < 32 or max(drawn) > 48:
        outside = min(drawn) if min(drawn) < 32 else max(drawn)
        return Verdict("failed", f"Jitter(32, 48) should stay from 32 to 48, yours gave {outside}")
    if missing := sorted(set(range(32, 49)) - drawn):
        which = "its upper end, 48" if missing == [48] else ", ".join(map(str, missing))
        return Verdict("failed", f"in 800 draws from 32 to 48 Jitter never draws {which}")
    if first in (sorted(first), sorted(first, reverse=True)):
        return Verdict("failed", "the scales come in order of their size: draw each by itself")
    if any(first[period:] == first[:-period] for period in range(1, len(first) // 2 + 1)):
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


class _Given:
    """What the notebook gives, to tell an untouched method from a rewritten one."""

    def scales(self, count: int) -> list:
        return [self.scale] * count


def _as_given(attempt: type) -> bool:
    """Return whether ``scales`` is the given method, or cannot be looked at."""
    code = getattr(getattr(attempt, "scales", None), "__code__", None)
    return code is None or code.co_code == _Given.scales.__code__.co_code


def _whole(scales: Iterable) -> list:
    """Return scales as a list, with a tensor's or an array's whole numbers as int."""
    plain = [scale.tolist() if hasattr(scale, "tolist") else scale for scale in scales]
    plain = [scale[0] if isinstance(scale, list) and len(scale) == 1 else scale for scale in plain]
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

    def listed(*given: str) -> object:
        found = attempt(*given)
        return list(found) if isinstance(found, Iterator | ValuesView | KeysView) else found  # of a dict, from map

    verdict = _reasoned(listed, cases, "matches", lambda given, got: _why_matches(given, cases[given], got))
    if "is not in list" in verdict.text:
        return Verdict("failed", f"{verdict.text}: look in the deep network for the layers of the shallow one")
    return verdict


def _why_matches(given: tuple[str, str], expected: list[int], got: object) -> str:
    """Return what went wrong, if it is one of the mistakes that are often made."""
    if isinstance(got, set | frozenset):
        return "a set has no order: give a list"
    got = got.tolist() if hasattr(got, "tolist") else got
    got = list(got) if isinstance(got, tuple) else got
    if not isinstance(got, list):
        return ""
    if got == [place + 1 for place in expected]:
        return "positions are counted from 0"
    if len(got) > 4 and got[:4] == expected:
        return "only the first four convolutions of the shallow network are asked"
    if got == [0, 1, 2, 3]:
        return "that is by number; look for the same place in the same block"
    words, blocks = given[0].split(), [len(block.split()) for block in given[0].split("|")]
    convolutions = [place for place, word in enumerate(words) if word != "|"]
    if got == [convolutions[place] for place in expected]:
        return "a pooling, `|`, is no convolution: do not count it"
    if got[:4] == [sum(blocks[:block]) for block in range(len(got))][:4]:
        return "that is the first of each block; in the shallow network a block may have two"
    return ""


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why copied layers did not help E from the paper's weights."""
    ideas = {
        "how few layers are copied": (
            "four|twelve|12|few|quarter|most|remaining|sixteen|the rest|the others|other layers|random",
            r"not copied|uncopied|intermediate|(in|layers) between|middle|three quarters|75 ?(%|per ?cent)",
            r"dozen|4/16|(4|12) of (the |its |e s )?16|conv1 1",
        ),
        "what happens to the signal": (
            "signal|activation|gradient|forward|outputs|updates|values|numbers|derivatives|standard deviation",
            r"(scal|multipl|divid|halv|shrink|weaken)\w* (\w+ ){0,2}inputs?|inputs? (\w+ ){0,3}(divid|halv|scaled)",
        ),
        "how it shrinks": (
            "vanish|shr[iau]nk|small|half|halv|lost|lose|fad(e|ing)|nothing|dead|die[sd]?|decay|decreas|zero",
            r"squash|starv|collaps|tini|neither|millionth|1e ?6|under (1|one)|by (\w+ )?0[.,]\d",
            "tiny|below 1|less than (1|one)|weak|disappear|attenuat|dwindl|drop|lower|faint|shorter",
            r"kill|0[.,]\d+( ?\^| ) ?12\b|multipl\w+ (\w+ ){0,3}0[.,]\d|gain (\w+ ){0,3}0[.,][1-9]",
            r"no signal|no gradient|insignificant|reduc|0[.,]48|divid|scal\w+ (\w+ ){0,3}down",
        ),
    }
    verdict = check_words(answer, ideas, against=_REVERSED)
    if verdict.status != "passed":
        return verdict
    return next((Verdict("failed", why) for sign, why in _AGAINST if _claimed(sign, answer)), verdict)


_SHRINKS = "(shrink|vanish|fad|di(e|es|ed)\\b|decay|get lost|weaken|kill)"
_REVERSED = (  # what is claimed in a sentence, what makes it no such claim, the reason
    (
        rf"(?<!unlike )(?<!than )(?<!without )(?<!not )\bhe(['’]s| et al)?\b"
        rf"((?!n['’]t|(not|never|no|nor|neither|stop|prevent|avoid|keep|would|could|from)\b)[^,;]){{0,30}}?\b{_SHRINKS}",
        r"\b(unlike|instead of|a (little|bit)|little by little|slightly|hardly|barely|(far|much) less|times less)\b",
        "you say that He's weights shrink it: compare the lines `he` and `paper` in the figure above",
    ),
    (
        rf"(signal|gradient|activations?)( and (the )?\w+)? (do|does|did|will) ?(not|n['’]t) (\w+ )?{_SHRINKS}",
        r"\bhe\b|he['’]s|glorot|\b(if|would|could|0\.1|in the four|copied (layers|ones|convolutions))\b",
        "you say that the signal does not shrink: follow the line `paper, warm` in the figure above",
    ),
)
_AGAINST = (
    (
        r"(?<!of )all (the )?((sixteen|16|layers|convolutions)\b ?){1,2}(of \w+ )?(((are|were|is|get|got) )?copied"
        r"|(get|got|ha(ve|d)|received?|take|took|inherit(ed)?) "
        r"(((the )?net )?a s\b|(the |their )?weights (of|from) (net )?a( (and|but|so)\b| ?[,.;:]|$)))",
        "you say that all layers are copied: count the names that warm_start gave",
    ),
    (
        r"(no|none of the|(the )?(other |remaining )?(twelve|12)) (layers |convolutions |of them )?(are|were) copied",
        "count the convolutions among the names that warm_start gave: those were copied",
    ),
    (
        r"explo(d|si)|bl(o|e)w(s|n)? up|gr(o|e)w(s|n|ing)?\b(?! (weak|small|faint|tin|deep|less))|amplif",
        "you say that something grows: look at the warmed E from `paper` in the figure above",
    ),
    (
        r"rate (is|was) (?!(not|never)\b)((\w+ )?too|((so|very|quite|rather) )?(small|low|tiny))\b",
        "the learning rate is the same for all of them: look at the weights",
    ),
)
_DENIED = re.compile(
    r"\b(not|never|no|t|nor|neither|without|than|instead of|would|could|if|0[.,]1|against|avoid\w*|prevent\w*|"
    r"(keep|kept|stop|prevent|sav|hinder)\w*( \w+){1,3} from)\b"
    r"( \w+){0,3} $"
)


def _claimed(sign: str, answer: str) -> bool:
    """Return whether words that match ``sign`` stand in the answer without a denial before them."""
    said = re.sub(r"[-‐‑–—_'’‘\"“”*`\s]+", " ", answer.lower())
    return any(not _DENIED.search(said[: found.start()]) for found in re.finditer(rf"\b(?:{sign})", said))
