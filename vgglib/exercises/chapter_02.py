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


def _pairs(stack: list[Layer]) -> tuple[tuple[int, int], ...]:
    return tuple((layer.kernel, layer.stride) for layer in stack)


def check_free_units(answer: object) -> Verdict:
    """Return the verdict on how many of the 7 units of D's pool5, along one side of 224 pixels, see no padding."""
    mistakes = {
        0: "look at the unit in the middle",
        2: "try the first and the last pixel of unit 2",
        3: "the window of unit 4 ends beyond pixel 223, and that of unit 2 starts below 0",
        4: "4 windows end inside the picture, but 3 of these start before pixel 0: look at both ends",
        5: "the first and the last unit are not the only ones that stick out: a window is 212 wide",
        6: "all but one? Write the seven windows down",
        7: "the padding of the 13 convolutions adds up to 90 pixels on each side",
    }
    return check_answer(answer, 1, mistakes)


def check_centre(answer: object) -> Verdict:
    """Return the verdict on the centre of the first unit of pool2 in D, in pixels."""
    mistakes = {
        1: "a window of an even number of pixels has its middle between two of them",
        2: "a window of an even number of pixels has its middle between two of them",
        7.5: "that is the middle of the window if it started at pixel 0; padding moves it",
        8: "that is half the size; the window starts at -6, not at 0",
        -6: "that is the first pixel of the window",
        9: "that is the last pixel of the window",
        0.5: "that is pool1; pool2 comes one block later",
        3.5: "that is pool3",
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
    return check_answer(answer, 1.5, mistakes)


def _about_the_size(size: int) -> str:
    if size < 10:
        return "the step is right; layers add to the size"
    return "the step is right; the size is too large: a layer after fewer poolings adds less"


def check_built(built: list[Layer]) -> Verdict:
    """Return the verdict on a stack with kernels of 2 and 3 whose units see 10 pixels and stand 4 apart."""
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
        told = f"your last units see {field.size} pixels and stand {field.stride} apart"
        hint = _about_the_size(field.size) if field.stride == 4 else "strides multiply: two of 2 make 4"
        return Verdict("failed", f"{told}, and should see 10 and stand 4 apart ({hint})")
    return Verdict("passed", f"{len(built)} layers see 10 pixels and stand 4 apart")


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
            r"100 ?(%|per ?cent)|each|224 ?x|edge to edge|no(thing| pixel).{0,30}(miss|left out)",
            "whole|all|entire|every|complete|full|total|224 of|everything|224 pixels|0 to 223|first to (the )?last",
            "(inside|within) (the|its) window",
        ),
        "larger pictures": (
            r"4[1-9]\d\b|[5-9]\d\d\b|tall|wider|gr[eo]w",
            "(genuine|real|true|actual) (neighbou?r|pixel|context)",
            "larg|big|dense|410|384|512|high(er)? resolution|more pixels|greater|context|upscale|rescale",
            "enlarge",
        ),
    }
    return check_words(answer, ideas, against=_FALSE)


_NOT = r"\b(not|no longer|never|neither|nor|instead of|rather than|without)\b|n['’]t\b"
_LARGER = r"(larger|bigger|greater) (test(ing)? )?(pictures?|images?|inputs?|ones)"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"\bpadding (\w+ )?(enlarge|increase|widen|extend|grow)s? (\w+ ){0,3}fields?\b",
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
        r"\b(reflect|mirror|replicat)\w*",
        _NOT + r"|\b(no|unlike)\b",
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
        rf"\b{_LARGER},? (\w+ )?the (receptive )?field (\w+ )?"
        r"((gets|becomes|is) (larger|bigger|wider|greater)\b(?! than)|grows|increases|expands)\b"
        rf"|\b{_LARGER} ((enlarge|increase|widen|extend)s? the (receptive )?field\b"
        r"|makes? the (receptive )?field (larger|bigger|wider|greater|grow)\b(?! than))",
        _NOT,
        "a field's size comes from the layers alone: larger pictures change what lies in the window",
    ),
    (
        r"(\b(not|never|cannot)|n['’]t) see (the )?(whole|entire|full|complete|all of the) (picture|image|input)\b"
        r"|\bsees?\b.*, (and )?not (the )?(whole|entire|full|complete) (picture|image|input)\b",
        r"larg|big|test|dense|longer|any ?more|\b(41\d|4[2-9]\d|[5-9]\d\d)\b|\b(conv|pool)\d",
        "where does the unit's window start and end? Look for a pixel of the picture that lies outside",
    ),
    (
        rf"\b{_LARGER} (are|is) (not (possible|allowed|accepted)|impossible|forbidden)\b",
        r"\b(but|unless|until|fully|linear|flatten\w*|without)\b",
        "the paper tests on larger pictures: a 7x7 convolution in place of fc6 reads any",
    ),
    (
        r"\b(stretch|rescal|resiz|upscal|enlarg)\w* to ((fit|fill) )?(404|the (size of the )?(window|field)\b)",
        r"\b(not|never|test\w*|dense\w*)\b|n['’]t\b",
        "the picture keeps its 224 pixels: *Where is the field?* says what stands around it",
    ),
)
