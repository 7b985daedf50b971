"""Boxes around objects and how well two of them agree (appendix A). Taught in notebooks/10_after_vgg.ipynb."""

import math

from torch import Tensor

Box = tuple[float, float, float, float]  # centre x, centre y, width, height, in pixels: the paper's four numbers


def corners(box: Box) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of a box given by its centre and its size, all in pixels.

    Raises ValueError for a box without area, or whose numbers are not finite.
    """
    x, y, width, height = map(float, box)
    if not (width > 0 and 0 < width * height < math.inf and math.isfinite(x + y)):
        raise ValueError(f"a box has a positive width and height and a centre, got {width} x {height} at ({x}, {y})")
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def iou(one: Box, other: Box) -> float:
    """Return the area that two boxes share over the area that they cover together, from 0 to 1.

    Appendix A counts a box as right above 0.5. Raises ValueError as corners does.
    """
    one, other = tuple(map(float, one)), tuple(map(float, other))
    (left, top, right, bottom), (left2, top2, right2, bottom2) = corners(one), corners(other)
    wide, high = min(right, right2) - max(left, left2), min(bottom, bottom2) - max(top, top2)
    shared = max(0, wide) * max(0, high)
    return min(1.0, shared / (one[2] * one[3] + other[2] * other[3] - shared))  # rounding would pass it


def box_of(picture: Tensor, above: float = 0) -> Box:
    """Return the smallest box around the pixels of ``picture`` (H, W) that are above ``above``; ValueError if none."""
    if picture.dim() != 2:
        raise ValueError(f"expected a picture (H, W), got {tuple(picture.shape)}")
    rows, columns = ((picture.double() > above).any(dim=side).nonzero().flatten() for side in (1, 0))
    if not len(rows):
        raise ValueError(f"no pixel is above {above:g}: there is nothing to put a box around")
    (top, bottom), (left, right) = ((line[0].item(), line[-1].item() + 1) for line in (rows, columns))
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
