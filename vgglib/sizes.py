"""Numbers as they are given: numpy's and torch's whole numbers count as such, fractions and truth values do not."""

import operator

import numpy as np


def whole(value: object, what: str) -> int:
    """Return a whole number as an int; ValueError, saying what it should have been, for anything else."""
    try:
        if not isinstance(value, bool | np.bool_):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{what} must be a whole number, got {value!r}")


def torch_seed(seed: object) -> int:
    """Return any whole number as a seed that torch takes; ValueError for anything else."""
    return whole(seed, "seed") % 2**64


def height_and_width(value: object, what: str) -> tuple[int, int]:
    """Return (height, width) of a side in pixels, or of a pair of them; ValueError for anything else."""
    sides = value if isinstance(value, tuple | list) else (value, value)
    try:
        height, width = (whole(side, what) for side in sides)
    except ValueError:
        raise ValueError(f"{what} must be a side in pixels or (height, width), got {value!r}") from None
    return height, width
