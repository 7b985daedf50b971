"""Checks of the exercises in notebooks/02_receptive_fields.ipynb."""

from collections.abc import Callable

from vgglib.configurations import Layer, layers
from vgglib.receptive_field import receptive_field
from vgglib.teaching import Verdict, check_answer, check_function, check_words


def check_stacked_field(attempt: Callable) -> Verdict:
    """Return the verdict on the field of ``count`` layers with one kernel, all of stride 1."""
    cases = {(1, 3): 3, (2, 3): 5, (3, 3): 7, (2, 5): 9, (5, 2): 6, (4, 1): 1, (3, 7): 19, (0, 3): 1}
    return check_function(attempt, cases)


def check_field_size(attempt: Callable) -> Verdict:
    """Return the verdict on the field of layers given as (kernel, stride), input side first."""
    cases = {
        (((2, 1), (3, 1)),): 4,
        (((2, 2),),): 2,
        (((3, 1), (2, 2), (3, 1)),): 8,
        (((7, 2), (3, 2), (3, 1)),): 19,
        (((1, 4), (3, 1)),): 9,
        (_pairs(layers("A")),): 150,
        (_pairs(layers("D")),): receptive_field(layers("D")).size,
        ((),): 1,
    }
    return check_function(lambda stack: attempt(list(stack)), cases, getattr(attempt, "__name__", "field_size"))


def check_counterexample(answer: object) -> Verdict:
    """Return the verdict on the shortest stack of (kernel, stride) on which the faulty rule of exercise 2 is wrong."""
    if answer is ...:
        return Verdict("todo", "not attempted yet")
    try:
        stack = [Layer("conv", kernel, stride) for kernel, stride in answer]
        right = receptive_field(stack).size
    except (TypeError, ValueError):
        return Verdict("failed", f"{answer!r} is no stack: write [(kernel, stride), ...], whole numbers from 1 on")
    faulty = 1
    for layer in stack:
        faulty = faulty * layer.stride + layer.kernel - layer.stride
    if faulty == right:
        return Verdict("failed", f"on this stack the faulty rule is right: it gives {right}")
    told = f"on this stack it gives {faulty} instead of {right}"
    if len(stack) > 2:
        return Verdict("failed", f"{told}, and there is a shorter stack on which it fails")
    return Verdict("passed", told)


def _pairs(stack: list[Layer]) -> tuple[tuple[int, int], ...]:
    return tuple((layer.kernel, layer.stride) for layer in stack)


def check_free_units(answer: object) -> Verdict:
    """Return the verdict on how many of the 7 windows of D's pool5, along 224 pixels, hold no padding."""
    mistakes = {
        0: "look at the unit in the middle",
        2: "try the first and the last pixel of unit 2",
        3: "A has as many, above; D's windows are wider",
        4: "as many windows end inside the picture, and as many start inside: both ends must lie there",
        5: "the first and the last unit are not the only ones that stick out: a window is 212 wide",
        6: "all but one? Write the seven windows down",
        7: "the padding of the 13 convolutions adds up to 90 pixels on each side",
    }
    return check_answer(answer, 1, mistakes)


def check_first(answer: object) -> Verdict:
    """Return the verdict on the first pixel of the window of unit 5 of pool3 in D."""
    mistakes = {
        40: "unit 5 starts there if unit 0 starts at pixel 0; padding moves all windows",
        58: "padding moves windows to the left",
        -18: "that is where unit 0 starts",
        14: "that is unit 4: units are counted from 0",
        30: "that is unit 6: units are counted from 0",
        2: "pool3's units stand twice as far apart as those of conv3_3",
        62: "pool3's units stand half as far apart as those of pool4",
        0: "there the part of unit 0 begins that lies in the picture; unit 5 is asked",
        43.5: "that is the centre",
        65: "that is the last pixel of the window",
        29: "that is pool3 of A",
        26: "that is pool3 of B",
        18: "that is pool3 of E",
    }
    return check_answer(answer, 22, mistakes)


def check_centre(answer: object) -> Verdict:
    """Return the verdict on the centre of unit 5 of pool3 in D, in pixels."""
    even = "a window of an even number of pixels has its middle between two of them"
    mistakes = {
        43: even,
        44: even,
        61.5: "that is the centre if unit 0 starts at pixel 0; padding moves all windows",
        79.5: "padding moves windows to the left",
        21.5: "that is the way from the first pixel to the centre; count it from where unit 5 starts",
        22: "half the size leads from where a window starts to its middle: where does unit 5 start?",
        3.5: "that is unit 0",
        35.5: "that is unit 4: units are counted from 0",
        51.5: "that is unit 6: units are counted from 0",
        23.5: "pool3's units stand twice as far apart as those of conv3_3",
        65: "that is the last pixel of the window",
        10.5: "that is pool1",
        87.5: "that is pool4",
        175.5: "that is pool5",
    }
    pair = list(answer) if isinstance(answer, tuple | list) else []
    if len(pair) == 2 and all(type(part) is int for part in pair):
        whole, rest = pair
        if rest == whole + 1:
            return Verdict("failed", f"these are two pixels, {whole} and {rest}: the centre is one number")
        if isinstance(answer, tuple) and rest >= 0:
            return Verdict("failed", f"Python reads a comma as two numbers, {whole} and {rest}: write {whole}.{rest}")
    if isinstance(answer, list):
        return Verdict("failed", f"{answer} is not it: one number is asked, without brackets")
    return check_answer(answer, 43.5, mistakes)


def _about_the_size(size: int) -> str:
    if size < 10:
        return "the step is right; layers add to the size"
    return "the step is right; the size is too large: a layer after fewer poolings adds less"


def check_built(built: list[Layer]) -> Verdict:
    """Return the verdict on a stack with kernels of 2 and 3 whose units have a field of 10 pixels and stand 4 apart."""
    if built == [Layer("conv", kernel=2), Layer("conv", kernel=3)]:
        return Verdict("todo", "this is still the stack that the explorer started with")
    large = [f"{layer.kind} {n}" for n, layer in enumerate(built, start=1) if layer.kernel not in (2, 3)]
    field = receptive_field(built)
    read = len(_pixels(built))
    if large:
        return Verdict("failed", f"kernels of 2 and 3 only: {', '.join(large)} has another")
    if read < field.size:
        told = f"your last units read only {read} pixels of a window of {field.size}, with gaps between them"
        return Verdict("failed", f"{told}: a stride that is no larger than its kernel, and a dilation of 1, leave none")
    if (field.size, field.stride) != (10, 4):
        told = f"the field of your last units is {field.size}, and they stand {field.stride} apart"
        hint = _about_the_size(field.size) if field.stride == 4 else "strides multiply: two of 2 make 4"
        return Verdict("failed", f"{told}; it should be 10, and they 4 apart ({hint})")
    return Verdict("passed", f"{len(built)} layers, a field of 10 pixels, units 4 apart")


def _pixels(stack: list[Layer]) -> set[int]:
    """The pixels that a unit reads, counted from the first of its window."""
    units = {0}
    for layer in reversed(stack):
        units = {unit * layer.stride + step * layer.dilation for unit in units for step in range(layer.kernel)}
    return units


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on what a field of 404 pixels means for a picture of 224."""
    ideas = {
        "what fills the window outside the picture": (r"pad|zero|border|0s?\b",),
        "what the unit sees of the picture": (
            r"100 ?(%|per ?cent)|each|224 ?x|(edge|corner|side|border) to (edge|corner|side|border)",
            "no(thing| pixel).{0,30}(miss|left out)",
            "whol|all|entire|every|complete|full|total|224 of|everything|224 pixels|0 to 223|first to (the )?last",
            "(inside|within) (the|its) window",
        ),
        "larger pictures": (
            r"4[1-9]\d\b|[5-9]\d\d\b|tall|wider|gr[eo]w",
            r"q (= ?|is |of )?(2[3-9]|3\d)\d\b|q (exceeds|is (above|over|more than)|>) ?224\b",
            "(genuine|real|true|actual) (neighbou?r|pixel|context)",
            "larg|big|dense|410|384|512|high(er)? resolution|more pixels|greater|context|upscale|rescale",
            "enlarge",
            r"more (of the )?(picture|image)|(less|fewer) (zeros?|padding)",
        ),
    }
    return check_words(answer, ideas, against=_FALSE)


_NOT = r"\b(not|no longer|never|neither|nor|instead of|rather than|without)\b|n['’]t\b"
_LARGER = r"(larger|bigger|greater) (test(ing)? )?(pictures?|images?|inputs?|ones)"
_MORE = r"(larger|bigger|wider|greater|grow|smaller|narrower|shrink)\b(?! than)"
_FIELD = r"(overall |whole )?(network )?(receptive )?field"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"\b(padding|zeros) (\w+ )?((enlarge|increase|widen|extend|grow)s? (\w+ ){0,3}fields?\b"
        rf"|makes? (the |its )?(receptive )?fields? {_MORE})",
        _NOT,
        "padding enlarges no field: it moves the windows, and fills them",
    ),
    (
        r"\b(sees?|covers?) (only |just |about |roughly |a )*(half|quarter|third|fraction) of (the|its) (\w+ )?"
        "(picture|image|input)",
        _NOT + r"|larg|big|test|dense|\d{3}",
        "where does the unit's window start and end? Look for a pixel of the picture that lies outside",
    ),
    (
        r"\bsees? (only|just|merely) (the |its |a )?(middle|cent(re|er)|central|inner)\b"
        r"|\b(only|just|merely) sees? (the |its |a )?(middle|cent(re|er)|central|inner)\b",
        r"larg|big|test|dense|\d{3}",
        "where does the unit's window start and end? Look for a pixel of the picture that lies outside",
    ),
    (
        r"\b(reflect|mirror|replicat)\w*",
        _NOT + r"|\b(no|unlike|another|other|alternatives?|would be)\b",
        "these layers pad in another way: *Where is the field?* says what padding brings in",
    ),
    (
        rf"\b{_LARGER} (make|have|bring|change)s? (no (difference|change|effect)|nothing)\b(?! (to|in|on|for)\b)",
        r"\b(but|except)\b",
        "on a larger picture something else stands where the padding was",
    ),
    (
        rf"\b{_LARGER},? (nothing|hardly anything) (changes|happens|is different)\b(?! (to|in|on|for|about)\b)"
        rf"|\bnothing (changes|happens) (on|with|for) {_LARGER}",
        r"\b(but|except|sizes?|fields?|weights?|network)\b",
        "on a larger picture something else stands where the padding was",
    ),
    (
        rf"\b{_LARGER},? (\w+ ){{0,3}}(more|additional) (zero )?(padding|zeros)\b",
        _NOT + r"|\b(no|than|once)\b",
        "on a larger picture something else stands where the padding was",
    ),
    (
        rf"\b({_LARGER}|(pictures?|images?)( \w+){{0,2}} (are|is|get) (larger|bigger)),? (\w+ )?the {_FIELD} (\w+ )?"
        rf"((gets|becomes|is) {_MORE}|grows|increases|expands|shrinks|decreases)\b"
        rf"|\b({_LARGER}|dense (evaluation|testing)) (\w+ly )?((enlarge|increase|widen|extend|shrink)s? the {_FIELD}\b"
        rf"|makes? the {_FIELD} {_MORE}|(give|have|need|get)s? (us )?an? (\w+ly )?{_MORE} {_FIELD}\b)",
        _NOT + r"|\b(context|sense|meaning|(it|which|that|this|paper) means?)\b",
        "a field's size comes from the layers alone: larger pictures change what lies in the window, and where the "
        "paper speaks of a larger field, it speaks of that",
    ),
    (
        r"(\b(not|never|cannot)|n['’]t) see (the )?(whole|entire|full|complete|all of the) (picture|image|input)\b"
        r"|\bsees?\b.*, (and )?not (the )?(whole|entire|full|complete) (picture|image|input)\b",
        r"larg|big|test|dense|longer|any ?more|\b(41\d|4[2-9]\d|[5-9]\d\d)\b|\b(conv|pool)\d",
        "where does the unit's window start and end? Look for a pixel of the picture that lies outside",
    ),
    (
        rf"\b{_LARGER} ((are|is) (not (possible|allowed|accepted)|impossible|forbidden)\b"
        r"|(can ?not|can['’]t) be (used|tested|given|read|fed|shown)\b|do(es)?( not|n['’]t) (fit|work)\b)",
        r"\b(but|unless|until|fully|linear|flatten\w*|without)\b",
        "the paper tests on larger pictures: a 7x7 convolution in place of fc6 reads any",
    ),
    (
        r"\b(stretch|rescal|resiz|upscal|enlarg)\w* to ((fit|fill) )?(404|the (size of the )?(window|field)\b)",
        r"\b(not|never|test\w*|dense\w*)\b|n['’]t\b",
        "the picture keeps its 224 pixels: *Where is the field?* says what stands around it",
    ),
)
