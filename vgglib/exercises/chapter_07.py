"""Checks of the exercises in notebooks/07_testing.ipynb."""

from collections.abc import Callable, Iterable
from functools import partial

import torch

from vgglib.teaching import Verdict, check_answer, check_function, check_words


def check_map_side(answer: object) -> Verdict:
    """Return the verdict on the side of the score map of network D for a picture of 384 pixels."""
    mistakes = {
        12: "that is the map of pool5; fc6 slides over it as a 7x7 convolution without padding",
        5: "the window can move 5 steps of 32 pixels, so it has one more place to stand",
        36: "that is the number of places on the whole map",
        7: "that is the side of fc6's kernel",
        18: "padding would be needed for that; fc6 has none",
        1: "that is the map of a picture of 224 pixels",
        2: "that is the map of a picture of 256 pixels",
        10: "that is the map of a picture of 512 pixels",
        11: "a kernel of two would leave that; fc6's has seven",
        (6, 6): "one number is asked, the width",
    }
    return check_answer(answer, 6, mistakes)


def check_crops(answer: object) -> Verdict:
    """Return the verdict on the crops of a picture in a grid of 4 x 4 at three scales, with their mirror images."""
    mistakes = {
        48: "each crop is also mirrored",
        32: "that is one scale, and there are three",
        16: "that is one scale, without the mirror images",
        24: "the grid has 4 rows of 4",
        8: "the grid has 4 rows of 4, at each of three scales",
        150: "that is the paper's grid, 5 rows of 5",
        75: "that is the paper's grid, 5 rows of 5, without the mirror images",
        144: "that is another paper's number, over four scales",
    }
    return check_answer(answer, 96, mistakes)


def check_offsets(attempt: Callable) -> Verdict:
    """Return the verdict on a function that lays out ``grid`` crops of ``crop`` pixels on a side of ``size`` pixels.

    Where the room does not divide, rounding up or down is right; the first and the last crop touch the borders.
    """
    even = {
        (256, 224, 5): [0, 8, 16, 24, 32],
        (384, 224, 5): [0, 40, 80, 120, 160],
        (64, 28, 5): [0, 9, 18, 27, 36],
        (64, 28, 3): [0, 18, 36],
        (32, 28, 2): [0, 4],
        (28, 28, 4): [0, 0, 0, 0],
    }
    verdict = check_function(lambda *sizes: _as_list(attempt(*sizes)), even, "offsets")
    if verdict.status == "failed" and f"yours gave {[place + 1 for place in even[256, 224, 5]]}" in verdict.text:
        return Verdict("failed", f"{verdict.text}: the first pixel has the number 0")
    if verdict.status != "passed":
        return verdict
    for size, crop, grid in ((47, 28, 5), (300, 224, 4), (35, 28, 3)):
        call, found = f"offsets({size}, {crop}, {grid})", _as_list(attempt(size, crop, grid))
        if not isinstance(found, list) or len(found) != grid:
            return Verdict("failed", f"{call} should have {grid} places, yours gave {found!r}")
        if any(place != int(place) for place in found):
            return Verdict("failed", f"{call} gave {found}: a crop starts at a whole pixel")
        if found[0] != 0 or found[-1] != size - crop:
            return Verdict(
                "failed", f"{call} should start at 0 and end at {size - crop}, the border; yours gave {found}"
            )
        if any(abs(place - n * (size - crop) / (grid - 1)) >= 1 for n, place in enumerate(found)):
            return Verdict("failed", f"{call} should be spread evenly, yours gave {found}")
    return Verdict("passed", "offsets: 9 cases agree")


def check_average(attempt: Callable) -> Verdict:
    """Return the verdict on a function that turns maps of scores, one for each scale, into one posterior.

    Each map: (flips, classes, rows, columns). As the paper does: scores are averaged over the places of a map,
    posteriors over the flips and the scales.
    """
    column = (((6.0,), (0.0,)), ((0.0,), (1.0,))), (((0.0,), (0.0,)), ((5.0,), (9.0,)))
    three = ((((1.0, 0.0, 5.0),), ((2.0, 2.0, 2.0),), ((3.0, 0.0, 0.0),)),)
    narrow = ((((8.0, 0.0),), ((0.0, 1.0),)),)
    mirrored = (((2.0, 2.0),), ((0.0, 0.0),)), (((-2.0, -2.0),), ((0.0, 0.0),))
    square = (
        (((8.0, 0.0), (0.0, 0.0)), ((0.0, 1.0), (1.0, 1.0))),
        (((0.0, 1.0), (2.0, 0.0)), ((3.0, 1.0), (4.0, 4.0))),
    )
    point = ((((5.0,),), ((1.0,),)), (((4.0,),), ((0.0,),)))  # surer than the others: each mean is another number
    cases = {}
    for maps in ((narrow,), (column, point), (point, square), (square, mirrored, point), (three, three)):
        scales = [
            torch.tensor(scores, dtype=torch.float64).mean(dim=(2, 3)).softmax(dim=1).mean(dim=0) for scores in maps
        ]
        cases[(maps,)] = sum(scales) / len(scales)

    def one_row(maps: tuple, function: Callable = attempt) -> object:
        found = function([torch.tensor(scores, dtype=torch.float64) for scores in maps])
        return found[0] if getattr(found, "shape", None) == (1, len(maps[0][0])) else found  # keepdim=True

    def over_scales(one_scale: Callable, combine: Callable = torch.mean) -> Callable:
        return lambda maps: combine(torch.stack([one_scale(scores) for scores in maps]), dim=0)

    def posteriors(scores: torch.Tensor) -> torch.Tensor:
        return scores.mean(dim=(2, 3)).softmax(dim=1)

    def places(maps: list) -> torch.Tensor:
        return torch.cat([scores.flatten(2) for scores in maps], dim=2)

    mistakes = {
        "the places' posteriors are averaged: average the scores of a map first, then take the soft-max": (
            over_scales(lambda x: x.softmax(dim=1).mean(dim=(0, 2, 3)))
        ),
        "the places' posteriors are averaged, and those of all scales together: a larger map counts for more": (
            lambda maps: places(maps).softmax(dim=1).mean(dim=(0, 2))
        ),
        "the places of all scales are averaged together: a larger map counts for more": (
            lambda maps: places(maps).mean(dim=2).softmax(dim=1).mean(dim=0)
        ),
        "the scales' scores are averaged: take the soft-max at each scale first, then average": (
            lambda maps: over_scales(lambda x: x.mean(dim=(2, 3)))(maps).softmax(dim=1).mean(dim=0)
        ),
        "the scores of all scales and flips are averaged: take the soft-max of each first, then average": (
            lambda maps: over_scales(lambda x: x.mean(dim=(0, 2, 3)))(maps).softmax(dim=0)
        ),
        "the flips' scores are averaged: take the soft-max of each flip first, then average": (
            over_scales(lambda x: x.mean(dim=(0, 2, 3)).softmax(dim=0))
        ),
        "places are summed: average them, or the posterior depends on how many there are": (
            over_scales(lambda x: x.sum(dim=(2, 3)).softmax(dim=1).mean(dim=0))
        ),
        "flips are summed: average them, so that the posteriors sum to 1": (
            over_scales(lambda x: posteriors(x).sum(dim=0))
        ),
        "scales are summed: average them, so that the posteriors sum to 1": (
            over_scales(lambda x: posteriors(x).mean(dim=0), torch.sum)
        ),
        "the soft-max runs over the flips: it belongs over the classes": (
            over_scales(lambda x: x.mean(dim=(2, 3)).softmax(dim=0).mean(dim=0))
        ),
        "the flips are not averaged: one posterior is asked, (classes,)": over_scales(posteriors),
        "the scales are not averaged: one posterior is asked, (classes,)": (
            lambda maps: torch.stack([posteriors(x).mean(dim=0) for x in maps])
        ),
        "only the first scale is used: average the posteriors of all": lambda maps: posteriors(maps[0]).mean(dim=0),
        "only the last scale is used: average the posteriors of all": lambda maps: posteriors(maps[-1]).mean(dim=0),
        "only one of the flips is used: average the posteriors of all": over_scales(lambda x: posteriors(x)[0]),
        "no soft-max is taken: those are scores": over_scales(lambda x: x.mean(dim=(0, 2, 3))),
        "the classes are averaged: one posterior for each class is asked": (
            over_scales(lambda x: posteriors(x).mean(dim=1))
        ),
        "the soft-max is taken twice": over_scales(lambda x: posteriors(x).mean(dim=0).softmax(dim=0)),
        "everything is averaged, classes, too: one number is left, not one for each class": (
            over_scales(lambda x: x.softmax(dim=1).mean())
        ),
        "everything is averaged, classes, too, and without a soft-max": over_scales(torch.mean),
    }
    return check_function(
        one_row, cases, "average", {why: partial(one_row, function=wrong) for why, wrong in mistakes.items()}
    )


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why dense evaluation is not the same as crops taken at the stride, and when it would be."""
    ideas = {
        "padding": (r"pad|unpad|zeros?\b|zeroes",),
        "what stands beside a crop in the picture": (
            "neighbou?r|context|around|beside|outside|surround|adjoin|adjacent|next to|beyond|real pixel",
            "actual pixel|true pixel|picture s (own )?pixel|rest of the (picture|image)",
            "real (content|image|picture)|pixels of the (whole|full|entire|larger?|original)|further pixel",
            "more of the (picture|image)|(sees|has|holds) (the )?(real|true|actual|other)",
            "((true|actual) )?image content|(picture|image) s content|other inputs|inside the (picture|image)",
            r"pixels? (that |which )?(the |a |each |its )?(cut )?crops? (lacks?|misses|lost|does|do|can|never)",
        ),
        "when the two are equal": (
            r"(without|no|none|remov\w*|dropp?\w*|never|nothing|n t|t) (\w+ ){0,2}pad|not (be )?pad",
            r"unpadded|pad\w* free|free of pad|valid|pad\w*( is| of| was| were)? ?=? ?(0|zero|none|off|gone)",
            r"pad\w* (is|are|were|was) (removed|absent|dropped|left out|taken away|switched off|missing)",
        ),
    }
    return check_words(answer, ideas, against=_FALSE)


_SAME = r"\b(two|both|they|these|dense\w*|crops?|results?|answers?) (are|is|give) (\w+ )?(same|equal|identical)\b"
_CONDITION = (
    r"\b(without|with no|if|when|where|once|only|unless|until|would|not|but|valid|unpadded|then)\b|n['’]t\b|middle"
)
_NEVER = r"\b(never|cannot be|can never be) (\w+ )?(equal|same|identical|agree|alike)\b"
_EXCEPTION = r"\b(unless|except|if|when|while|as long as|save|with|but)\b"
_BORDER = "(padding|zeros?|borders?|neighbou?rs?)"
_NOT = r"\b(not|never|nor|neither|instead of|rather than)\b|n['’]t\b"
_ZEROS = r"\bdense\w*\b(?:(?!\bwhere (the|a|each) (\w+ )?crops?\b)[^,;:])*\b(padded|zeros?)\b"  # in one clause
_REAL = r"\bcrops?\b[^,;:]*\b(sees?|has|have|keeps?|gets?)\b[^,;:]*\b(neighbou?rs?|surround\w*|context)\b"
_FALSE = (
    (_SAME, _CONDITION, "where layers pad, the two are not the same: say what differs"),
    (_NEVER, _EXCEPTION, "there is a network for which the two are equal: say which"),
    (
        rf"\b{_BORDER} (\w+ )?ha(s|ve) nothing to do with (it|this|that)\b"
        rf"|\bnothing to do with (the |any )?(zero[- ])?{_BORDER}\b",
        _NOT,
        "it has all to do with padding: say what stands beside a crop, and what in the whole picture",
    ),
    (
        r"\b(comes? from|due to|caused? by|because of|lies? in) (the )?batch[- ]?norm",
        _NOT,
        "in testing, batch normalisation does the same at every place: look at the border of the crop",
    ),
    (
        r"\b(without|no) padding\b.{0,25}\b(stays?|remains?|persists?)\b",
        _NOT + r"|\bno (difference|gap|trace)|\b(nothing|same|equal|identical)\b",
        "without padding no difference stays: the cell above shows it",
    ),
    (
        rf"{_ZEROS}.*(\b(whereas|while|but|and)\b|,).*{_REAL}|{_REAL}.*(\b(whereas|while|but|and)\b|,).*{_ZEROS}",
        _NOT + r"|\b(no|none|gone|replaced?s?|lacks?|miss\w*|in place of|without|only)\b",
        "the other way round: the crop that is cut out is padded, the dense pass sees its neighbours",
    ),
)


def _as_list(found: object) -> object:
    """Return a tensor, or whatever else can be walked through, as a list; anything else as it is."""
    if hasattr(found, "tolist"):
        return found.tolist()
    return [one.item() if hasattr(one, "item") else one for one in found] if isinstance(found, Iterable) else found
