"""Checks of the exercises in notebooks/07_testing.ipynb."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from numbers import Real

import torch

from vgglib.teaching import Verdict, check_answer, check_function, check_words


def check_map_side(answer: object) -> Verdict:
    """Return the verdict on the side of the score map of network D for a picture of 384 pixels."""
    mistakes = {
        12: "that is the map of pool5; fc6 slides over it as a 7x7 convolution without padding",
        5: "that is how many steps of 32 pixels the window takes; the places where it stands are asked",
        24: "that is the map after four poolings; D has five, and fc6 stands on the last map",
        90: "that is for four pixels a step, as in our network; D halves the picture five times",
        36: "that is the number of places on the whole map",
        7: "that is the side of fc6's kernel",
        18: "D has five poolings, four would give that; or fc6 with padding, and it has none",
        1: "that is the map of a picture of 224 pixels",
        2: "that is the map of a picture of 256 pixels",
        10: "that is the map of a picture of 512 pixels",
        11: "a kernel of two would leave that; fc6's has seven",
        (6, 6): "one number is asked, the width",
        (6,): "one number is asked, without brackets",
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
        120: "that is a grid of 4 rows of 5: both sides are shorter",
        150: "that is the paper's grid, 5 rows of 5",
        75: "that is the paper's grid, 5 rows of 5, without the mirror images",
        144: "that is another paper's number, over four scales",
    }
    return check_answer(answer, 96, mistakes)


def check_offsets(attempt: Callable) -> Verdict:
    """Return the verdict on a function that lays out ``grid`` crops of ``crop`` pixels on a side of ``size`` pixels.

    Where the room does not divide, rounding up or down is right; the first and the last crop touch the borders.
    """
    asked = (
        (256, 224, 5),
        (384, 224, 5),
        (64, 28, 5),
        (64, 28, 3),
        (32, 28, 2),
        (47, 28, 5),
        (300, 224, 4),
        (35, 28, 3),
    )
    cases, seen = {sizes: _laid_out(*sizes) for sizes in (*asked, (28, 28, 4))}, []

    def settled(*sizes: int) -> object:
        found = _as_list(attempt(*sizes))
        seen[:] = [_misplaced(found, *sizes)]
        return found if seen[0] else cases[sizes]

    verdict = check_function(settled, cases, "offsets")
    if verdict.status == "failed" and any(seen):
        return Verdict("failed", f"{verdict.text}: {seen[0]}")
    return verdict


def check_average(attempt: Callable) -> Verdict:
    """Return the verdict on a function that turns maps of scores, one for each scale, into one posterior.

    Each map: (flips, classes, rows, columns). As the paper does: scores are averaged over the places of a map,
    posteriors over the flips and the scales.
    """
    row = (((8.0, 0.0),), ((0.0, 1.0),)), (((0.0, 6.0),), ((2.0, 0.0),))
    column = (((6.0,), (0.0,)), ((0.0,), (1.0,))), (((0.0,), (0.0,)), ((5.0,), (9.0,)))
    three = (
        (((1.0, 0.0, 5.0),), ((2.0, 2.0, 2.0),), ((3.0, 0.0, 0.0),)),
        (((0.0, 3.0, 0.0),), ((4.0, 1.0, 1.0),), ((0.0, 0.0, 1.0),)),
    )
    mirrored = (((2.0, 2.0),), ((0.0, 0.0),)), (((-2.0, -2.0),), ((0.0, 0.0),))
    square = (
        (((8.0, 0.0), (0.0, 0.0)), ((0.0, 1.0), (1.0, 1.0))),
        (((0.0, 1.0), (2.0, 0.0)), ((3.0, 1.0), (4.0, 4.0))),
    )
    point = ((((5.0,),), ((1.0,),)), (((4.0,),), ((0.0,),)))  # surer than the others: each mean is another number
    cases = {}
    for given in (
        _Maps("one row of places", (row,)),
        _Maps("a column and one place", (column, point)),
        _Maps("one place and a square", (point, square)),
        _Maps("three scales", (square, mirrored, point)),
        _Maps("three classes", (three, three)),
    ):
        scales = [scores.mean(dim=(2, 3)).softmax(dim=1).mean(dim=0) for scores in given.tensors()]
        cases[(given,)] = sum(scales) / len(scales)

    def one_row(given: _Maps, function: Callable = attempt) -> object:
        found = function(given.tensors())
        return found[0] if getattr(found, "shape", None) == (1, len(given.maps[0][0])) else found  # keepdim=True

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
        "the scales are weighted by their places: a larger map counts for more": (
            lambda maps: sum(x[0, 0].numel() * posteriors(x).mean(dim=0) for x in maps) / places(maps).shape[2]
        ),
        "only the columns are averaged before the soft-max: average over the rows, too": (
            over_scales(lambda x: x.mean(dim=3).softmax(dim=1).mean(dim=(0, 2)))
        ),
        "only the rows are averaged before the soft-max: average over the columns, too": (
            over_scales(lambda x: x.mean(dim=2).softmax(dim=1).mean(dim=(0, 2)))
        ),
        "the largest score of a map is taken: average the scores over its places": (
            over_scales(lambda x: x.amax(dim=(2, 3)).softmax(dim=1).mean(dim=0))
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
        "the sum over the scales is divided by 3, also where there are fewer or more": (
            lambda maps: sum(posteriors(x).mean(dim=0) for x in maps) / 3
        ),
        "the soft-max runs over the columns of a map: it belongs over the classes": (
            over_scales(lambda x: x.softmax(dim=3).mean(dim=(0, 2, 3)))
        ),
        "the soft-max runs over the rows of a map: it belongs over the classes": (
            over_scales(lambda x: x.softmax(dim=2).mean(dim=(0, 2, 3)))
        ),
        "the soft-max runs over the flips: it belongs over the classes": (
            over_scales(lambda x: x.mean(dim=(2, 3)).softmax(dim=0).mean(dim=0))
        ),
        "the flips are not averaged: one posterior is asked, (classes,)": over_scales(posteriors),
        "the scales are not averaged: one posterior is asked, (classes,)": (
            lambda maps: torch.stack([posteriors(x).mean(dim=0) for x in maps])
        ),
        "a list is returned, with one posterior for each scale: average them": (
            lambda maps: [posteriors(x).mean(dim=0) for x in maps]
        ),
        "neither flips nor scales are averaged: one posterior is asked, (classes,)": (
            lambda maps: torch.stack([posteriors(x) for x in maps])
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
        "that is the number of a class: the posteriors of all are asked": (
            lambda maps: over_scales(lambda x: posteriors(x).mean(dim=0))(maps).argmax()
        ),
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
            "(real|true|genuine) (content|image|picture|photo)|further pixel",
            "pixels of the (whole|full|entire|larger?|original)",
            "more of the (picture|image)|(sees|has|have|holds|reads) (the )?(real|true|actual|other|genuine)",
            "((true|actual) )?image content|(picture|image) s content|other inputs|inside the (picture|image|photo)",
            r"pixels? (that |which )?(the |a |each |its )?(cut )?crops? (lacks?|misses|lost|does|do|can|never)",
        ),
        "when the two are equal": (
            r"(without|no|none|remov\w*|dropp?\w*|never|nothing|n t|t) (\w+ ){0,2}pad|not (be )?pad",
            r"unpadded|pad\w* free|free of pad|valid|pad\w*( is| of| was| were)? ?=? ?(0|zero|none|off|gone)",
            r"(net|network|convolution|layer)s? (that |which )?(add|have|ha|use|put)s? no (border|rim|frame|zeros?)\b",
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
_WHOLE = r"\b(dense\w*( evaluation| pass| testing)?|(whole|full|entire) (picture|image))\b"
_FALSE = (
    (
        rf"{_WHOLE}[^,;:]*\b(pads?|(is|are|gets?) (zero[- ])?padded)\b[^,;:]*\b(crops?|place|patch|window)\b"
        rf"|{_WHOLE}[^,;:]*\b(every|each|any) (\w+ )?(place|crop|patch|window) (is|gets?) (zero[- ])?padded\b",
        _NOT + r"|\b(no|only|when|still|without|where|while|whereas)\b",
        "the other way round: the crop that is cut out is padded, the dense pass sees its neighbours",
    ),
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


@dataclass(frozen=True)
class _Maps:
    """The maps of scores of one picture, one for each scale; in a message its name and the maps' shapes."""

    name: str
    maps: tuple

    def tensors(self) -> list[torch.Tensor]:
        return [torch.tensor(scores, dtype=torch.float64) for scores in self.maps]

    def __repr__(self) -> str:
        return f"{self.name}: {' '.join(str(tuple(scores.shape)) for scores in self.tensors())}"


class _Places(list):
    """Places of crops; of many only the first and the last are printed."""

    def __repr__(self) -> str:
        if len(self) <= 10:
            return super().__repr__()
        return f"[{', '.join(map(str, self[:4]))}, ..., {self[-1]}], {len(self)} places"


def _laid_out(size: int, crop: int, grid: int) -> list[int]:
    return [n * (size - crop) // (grid - 1) for n in range(grid)]


def _misplaced(found: object, size: int, crop: int, grid: int) -> str:
    """Return what is wrong with places of crops along a side; nothing if they are right, rounded up or down."""
    room = size - crop
    if not isinstance(found, list) or not all(isinstance(place, Real) for place in found):
        return "a list of whole numbers is asked"
    if len(found) != grid:
        return f"{grid} places are asked, not {len(found)}"
    if found == [place + 1 for place in _laid_out(size, crop, grid)]:
        return "the first pixel has the number 0"
    if found[0] != 0:
        return "the first crop starts at the border, pixel 0"
    if past := found[-1] - room:
        side = "beyond" if past > 0 else "before"
        return f"the last crop ends {abs(past):.4g} pixel{'s' * (abs(past) != 1)} {side} the border"
    if any(place % 1 for place in found):
        return "a crop starts at a whole pixel"
    if any(abs(place - n * room / (grid - 1)) >= 1 for n, place in enumerate(found)):
        return "the crops are not spread evenly"
    return ""


def _as_list(found: object) -> object:
    """Return a tensor, or whatever else can be walked through, as a list; anything else as it is."""
    if hasattr(found, "tolist"):
        found = found.tolist()
    if not isinstance(found, Iterable) or isinstance(found, str):
        return found
    return _Places(one.item() if hasattr(one, "item") else one for one in found)
