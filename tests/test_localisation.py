"""Boxes: by hand, against counted pixels, and what is refused."""

import math

import numpy as np
import pytest
import torch

from vgglib.localisation import box_of, corners, iou

BOXES = [(4, 3, 4, 2), (5, 3, 2, 6), (4.5, 4.5, 3, 3), (10, 9, 2, 2), (6, 5, 8, 8), (6, 3, 2, 2)]


def counted(one, other, fine=2):
    """Intersection over union by counting cells of half a pixel."""
    masks = []
    for box in (one, other):
        left, top, right, bottom = (round(fine * side) for side in corners(box))
        mask = torch.zeros(16 * fine, 16 * fine, dtype=torch.bool)
        mask[top:bottom, left:right] = True
        masks.append(mask)
    return ((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()).item()


def test_by_hand():
    assert iou((5, 5, 10, 10), (10, 5, 10, 10)) == pytest.approx(1 / 3)
    assert iou((5, 5, 10, 10), (5, 5, 10, 10)) == 1
    assert iou((5, 5, 10, 10), (15, 5, 10, 10)) == 0  # they touch
    assert iou((5, 5, 10, 10), (40, 50, 10, 10)) == 0  # far apart along both sides
    assert corners((5, 4, 10, 2)) == (0, 3, 10, 5)


@pytest.mark.parametrize("one", BOXES)
@pytest.mark.parametrize("other", BOXES)
def test_counting_pixels_gives_the_same(one, other):
    assert iou(one, other) == pytest.approx(counted(one, other))
    assert iou(one, other) == iou(other, one)


def test_the_box_around_an_object():
    picture = torch.zeros(9, 12)
    picture[2:5, 7] = 3
    picture[4, 8:10] = 1
    assert box_of(picture) == (8.5, 3.5, 3, 3)
    assert box_of(picture, above=1) == (7.5, 3.5, 1, 3)


def test_what_is_no_box_is_refused():
    with pytest.raises(ValueError, match="nothing to put a box around"):
        box_of(torch.zeros(3, 3))
    for bad in (
        *((5, 5, 0, 4), (5, 5, 4, -1), (5, 5, -2, -2), (math.nan, 5, 4, 4), (5, 5, math.nan, 4), (5, 5, 4, math.inf)),
        *((math.inf, -math.inf, 4, 4), (5, 5, 1e-200, 1e-200)),
    ):
        with pytest.raises(ValueError, match="positive width and height"):
            iou((5, 5, 2, 2), bad)


def test_a_box_is_put_around_a_picture_of_rows_and_columns():
    picture = torch.zeros(28, 28)
    picture[5:9, 10:20] = 1
    assert box_of(picture) == (15, 7, 10, 4)
    with pytest.raises(ValueError, match=r"expected a picture \(H, W\), got \(1, 28, 28\)"):
        box_of(picture[None])


def test_numbers_of_few_bits_do_not_overflow():
    box = np.array([20, 20, 20, 20], dtype=np.uint8)
    assert iou(box, box) == iou(torch.tensor(box), (20, 20, 20, 20)) == 1
    assert iou(box, np.array([2, 20, 16, 20], dtype=np.uint8)) == 0
    with pytest.raises(ValueError, match="no pixel is above 300"):
        box_of(torch.full((3, 3), 200, dtype=torch.uint8), above=300)


def test_no_box_agrees_with_itself_by_more_than_all():
    boxes = (torch.rand(500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.01).tolist()
    assert max(iou(box, box) for box in boxes) == 1
