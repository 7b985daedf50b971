"""Chapter 07's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import re

import pytest
import torch

from vgglib.augment import crop_offsets
from vgglib.exercises import chapter_07 as check


def offsets(size, crop, grid):
    """The solution."""
    return [n * (size - crop) // (grid - 1) for n in range(grid)]


WRONG_OFFSETS = {
    "tiles side by side": lambda size, crop, grid: [n * crop for n in range(grid)],
    "the picture cut into five": lambda size, crop, grid: [n * (size // grid) for n in range(grid)],
    "never reaches the corner": lambda size, crop, grid: [n * (size - crop) // grid for n in range(grid)],
    "steps of the stride": lambda size, crop, grid: list(range(0, size - crop + 1, 32)),
    "one too many": lambda size, crop, grid: [n * (size - crop) // (grid - 1) for n in range(grid + 1)],
    "only right for five": lambda size, crop, grid: [n * (size - crop) // 4 for n in range(grid)],
    "centres, not corners": lambda size, crop, grid: [crop // 2 + o for o in offsets(size, crop, grid)],
    "ends of the crops": lambda size, crop, grid: [crop + o for o in offsets(size, crop, grid)],
    "the crop forgotten": lambda size, crop, grid: [n * size // (grid - 1) for n in range(grid)],
    "counted from 1": lambda size, crop, grid: [1 + o for o in offsets(size, crop, grid)],
    "backwards": lambda size, crop, grid: offsets(size, crop, grid)[::-1],
    "only right for 224": lambda size, crop, grid: offsets(size, 224, grid),
    "a whole step": lambda size, crop, grid: [n * ((size - crop) // (grid - 1)) for n in range(grid)],
    "parts of a pixel": lambda size, crop, grid: [n * (size - crop) / (grid - 1) for n in range(grid)],
    "crowded at the start": lambda size, crop, grid: (
        [0] * (grid - 1) + [size - crop] if size == 47 else offsets(size, crop, grid)
    ),
}


def averaged(maps):
    """The solution."""
    return torch.stack([scores.mean(dim=(2, 3)).softmax(dim=1).mean(dim=0) for scores in maps]).mean(dim=0)


def over_scales(one_scale):
    """Do so with the map of each scale, and average."""
    return lambda maps: sum(one_scale(scores) for scores in maps) / len(maps)


def places(maps):
    """The places of all scales side by side."""
    return torch.cat([scores.flatten(2) for scores in maps], dim=2)


WRONG_AVERAGES = {
    "of the scores": over_scales(lambda scores: scores.mean(dim=(0, 2, 3)).softmax(dim=0)),
    "of the posteriors at each place": over_scales(lambda scores: scores.softmax(dim=1).mean(dim=(0, 2, 3))),
    "of the posteriors at each place of all scales": lambda maps: places(maps).softmax(dim=1).mean(dim=(0, 2)),
    "of the scores at each place of all scales": lambda maps: places(maps).mean(dim=2).softmax(dim=1).mean(dim=0),
    "of the scales' scores": lambda maps: over_scales(lambda x: x.mean(dim=(2, 3)))(maps).softmax(dim=1).mean(dim=0),
    "of all scores": lambda maps: over_scales(lambda x: x.mean(dim=(0, 2, 3)))(maps).softmax(dim=0),
    "a sum": over_scales(lambda scores: scores.mean(dim=(2, 3)).softmax(dim=1).sum(dim=0)),
    "a sum over the scales": lambda maps: len(maps) * averaged(maps),
    "a sum over the places": over_scales(lambda scores: scores.sum(dim=(2, 3)).softmax(dim=1).mean(dim=0)),
    "over the flips": over_scales(lambda scores: scores.mean(dim=(2, 3)).softmax(dim=0).mean(dim=0)),
    "of the classes": over_scales(lambda scores: scores.mean(dim=(2, 3)).softmax(dim=1).mean(dim=1)),
    "without the soft-max": over_scales(lambda scores: scores.mean(dim=(0, 2, 3))),
    "the largest": over_scales(lambda scores: scores.mean(dim=(2, 3)).softmax(dim=1).max(dim=0).values),
    "the largest place": over_scales(lambda scores: scores.amax(dim=(2, 3)).softmax(dim=1).mean(dim=0)),
    "the first flip": over_scales(lambda scores: scores[0].mean(dim=(1, 2)).softmax(dim=0)),
    "the first scale": lambda maps: averaged(maps[:1]),
    "the last scale": lambda maps: averaged(maps[-1:]),
    "scales not averaged": lambda maps: torch.stack([averaged([scores]) for scores in maps]),
    "the soft-max twice": over_scales(lambda x: x.mean(dim=(2, 3)).softmax(dim=1).mean(dim=0).softmax(dim=0)),
    "a vote": over_scales(
        lambda scores: (
            torch.nn.functional.one_hot(scores.mean(dim=(2, 3)).argmax(dim=1), scores.shape[1]).double().mean(dim=0)
        )
    ),
    "of the logarithms": over_scales(lambda x: x.mean(dim=(2, 3)).log_softmax(dim=1).mean(dim=0).exp()),
    "of the scales' logarithms": lambda maps: over_scales(lambda x: averaged([x]).log())(maps).softmax(dim=0),
    "weighted by the places": lambda maps: (
        sum(x[0, 0].numel() * averaged([x]) for x in maps) / sum(x[0, 0].numel() for x in maps)
    ),
    "of everything": over_scales(lambda scores: scores.softmax(dim=1).mean()),
    "flips not averaged": over_scales(lambda scores: scores.mean(dim=(2, 3)).softmax(dim=1)),
    "only over the rows": over_scales(lambda scores: scores.mean(dim=2).softmax(dim=1).mean(dim=(0, 2))),
}


def test_solutions_pass():
    assert check.check_offsets(offsets).status == "passed"
    assert check.check_offsets(crop_offsets).status == "passed"
    assert check.check_offsets(lambda *sizes: tuple(offsets(*sizes))).status == "passed"
    assert check.check_offsets(lambda *sizes: (place for place in offsets(*sizes))).status == "passed"
    assert check.check_offsets(lambda s, c, g: [round(n * (s - c) / (g - 1)) for n in range(g)]).status == "passed"
    assert check.check_offsets(lambda s, c, g: torch.linspace(0, s - c, g).round().int()).status == "passed"
    assert check.check_average(averaged).status == "passed"
    assert check.check_average(lambda maps: sum(averaged([one]) for one in maps) / len(maps)).status == "passed"
    assert check.check_average(lambda maps: averaged(maps)[None]).status == "passed"  # keepdim=True
    by_flip = lambda maps: torch.cat([s.flatten(2).mean(2).softmax(-1) for s in maps]).mean(0)  # noqa: E731
    assert check.check_average(by_flip).status == "passed"
    assert check.check_map_side(384 // 32 - 6).status == "passed"
    assert check.check_crops(3 * 4 * 4 * 2).status == "passed"


@pytest.mark.parametrize("checked", [check.check_offsets, check.check_average])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("checked", [check.check_map_side, check.check_crops, check.check_explanation])
def test_answers_wait(checked):
    assert checked(...).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_OFFSETS)
def test_offsets_rejects(mistake):
    verdict = check.check_offsets(WRONG_OFFSETS[mistake])
    assert verdict.status == "failed"
    assert "offsets(" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_AVERAGES)
def test_average_rejects(mistake):
    verdict = check.check_average(WRONG_AVERAGES[mistake])
    assert verdict.status == "failed"
    assert "average(" in verdict.text


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        ("of the posteriors at each place", "the places' posteriors are averaged"),
        ("of the posteriors at each place of all scales", "of all scales together: a larger map counts for more"),
        ("of the scores at each place of all scales", "places of all scales are averaged together"),
        ("of the scales' scores", "the scales' scores are averaged"),
        ("of all scores", "of all scales and flips"),
        ("of the scores", "the flips' scores are averaged"),
        ("a sum over the scales", "scales are summed"),
        ("scales not averaged", "the scales are not averaged"),
        ("the first scale", "only the first scale"),
        ("the last scale", "only the last scale"),
        ("a sum over the places", "places are summed"),
        ("a sum", "flips are summed"),
        ("over the flips", "the soft-max runs over the flips"),
        ("flips not averaged", "the flips are not averaged"),
        ("of everything", "one number is left"),
        ("the first flip", "only one of the flips"),
        ("without the soft-max", "no soft-max"),
        ("of the classes", "the classes are averaged"),
        ("the soft-max twice", "taken twice"),
    ],
)
def test_mistakes_of_average_are_named(mistake, why):
    assert why in check.check_average(WRONG_AVERAGES[mistake]).text


@pytest.mark.parametrize("mistake", WRONG_AVERAGES)
def test_the_numbers_of_a_wrong_average_are_seen_to_differ(mistake):
    right, wrong = re.search(
        r"(?s)should be (.*), yours gave (.*?)(?:: |$)", check.check_average(WRONG_AVERAGES[mistake]).text
    ).groups()
    assert right != wrong


def test_average_shows_a_short_counterexample():
    found = check.check_average(WRONG_AVERAGES["of the posteriors at each place"]).text
    assert found.startswith("average((((((8.0, 0.0),), ((0.0, 1.0),)),),)) should be ")


MISTAKES = [
    (check.check_map_side, 384 // 32, "map of pool5"),
    (check.check_map_side, (384 - 224) // 32, "one more place"),
    (check.check_map_side, 36, "number of places"),
    (check.check_map_side, 7, "fc6's kernel"),
    (check.check_map_side, "6", "not it"),
    (check.check_map_side, (6, 6), "not it: one number is asked, the width"),
    (check.check_map_side, [6, 6], "not it: one number is asked, the width"),
    (check.check_map_side, 2, "256 pixels"),
    (check.check_map_side, 10, "512 pixels"),
    (check.check_map_side, 11, "fc6's has seven"),
    (check.check_crops, 3 * 4 * 4, "mirrored"),
    (check.check_crops, 4 * 4 * 2, "one scale"),
    (check.check_crops, 4 * 4, "without the mirror"),
    (check.check_crops, 3 * 4 * 2, "4 rows of 4"),
    (check.check_crops, 150, "the paper's grid"),
    (check.check_crops, 75, "the paper's grid"),
    (check.check_crops, 144, "another paper"),
    (check.check_crops, 95, "not it"),
]


@pytest.mark.parametrize(("checked", "wrong", "why"), MISTAKES)
def test_numbers_reject_with_the_reason(checked, wrong, why):
    verdict = checked(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text


def test_offsets_counted_from_1_are_told_so():
    assert check.check_offsets(WRONG_OFFSETS["counted from 1"]).text.endswith("the first pixel has the number 0")
    assert "number 0" not in check.check_offsets(WRONG_OFFSETS["ends of the crops"]).text


def test_explanation():
    good = (
        "A crop is padded with zeros at its border, while densely the neighbours of the crop stand there; without "
        "padding both would be equal."
    )
    for right in (
        good,
        good.replace(" ", "\n    "),
        "VGG fills the rim of a crop with zero-padding; sliding, the surrounding pixels are there. A net that doesn't "
        "pad would give the same twice.",
        "Because of the zeros at the border, where the full image has real pixels. With valid convolutions: equal.",
        "A crop's border sees zeros, the picture's own pixels are seen densely. They agree once padding=0.",
        "Zero padding at a crop's edge replaces true image content. Without padding, the two are the same.",
        "The crop gets zeros, the dense pass has image content there; with no padding they would be equal.",
        "With zero padding edge pixels have other inputs than inside the picture; if nothing is padded both are equal.",
        "They are not the same: zeros stand around the crop only. They are never equal unless padding is removed.",
        "Dense evaluation sees pixels the crop lacks, since VGG zero-pads at every layer; padding-free nets would "
        "agree.",
        "In the dense pass no zeros stand there but neighbours, and a crop has zeros for context. Unpadded: equal.",
        "It has nothing to do with batch normalisation but with the zeros beside a crop, where the picture has its "
        "neighbours; without padding no difference remains.",
        "The dense pass has neighbours where the crop has zeros, and so the crop sees less context. Without padding "
        "they are equal.",
        "Densely, zeros are replaced by neighbours, and the crop lacks its context; with valid convolutions: equal.",
    ):
        assert check.check_explanation(right).status == "passed"
    for wrong in (
        "They are the same because a convolution does the same thing at every place of the picture, always.",
        "Padding with zeros makes them different at the border, but in the middle they are the same.",  # no condition
        "The neighbours are seen by one and not by the other, so they give different answers at the border.",
        "The two are the same, zeros stand around the crop in both, no padding matters.",
        "A crop is padded with zeros and dense has neighbours, no padding is ever removed; they are never equal.",
        "In the dense pass the crop's border is padded with zeros, whereas the cut crop sees its neighbours. Without "
        "padding they would be equal.",
        "The crop sees neighbours, dense is padded with zeros. Without padding they are equal.",
        "The cut crop sees its neighbours, while the dense pass has zeros there. Without padding they would be equal.",
        "The difference comes from batch normalisation; padding has nothing to do with it, neighbours neither. Without "
        "padding it stays.",
        "It comes from batch normalisation. The neighbours of the crop count too. Unpadded nets differ as well.",
        "Neighbours stand beside the crop, zeros do not matter. Without padding the difference still remains.",
        "no",
        6,
    ):
        assert check.check_explanation(wrong).status == "failed"
