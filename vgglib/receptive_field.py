"""What one unit sees: receptive fields by plain integer arithmetic, and the same for any network.

Formulas: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
All sizes are input pixels along one side; pixel 0 is the first pixel of the picture. ``trace`` follows any module
(vgglib/tracing.py), ``measured`` and ``effective`` ask its gradients (vgglib/gradients.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vgglib.configurations import Layer, names
from vgglib.tables import as_html, as_text

Both = int | tuple[int, int]  # one number for height and width, or (height, width) where they differ
Window = tuple[int, int]  # first and last pixel


class UnalignedError(ValueError):
    """Paths that meet see windows with other strides or centres, so that no one size describes them."""


class UnknownReceptiveFieldError(ValueError):
    """What a module sees cannot be known from its structure; the message names the module."""


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of one layer see of the input, along each side.

    size: pixels that one unit depends on; stride: pixels between the windows of neighbouring units (0: all units see
    the same window); padding: pixels by which the first unit's window sticks out of the picture. Each is a number, or
    (height, width) where the sides differ; all three are None where windows differ from unit to unit. A field that
    comes from ``trace`` also holds in ``seen``, for rows and for columns, what each unit really sees of the picture.
    """

    size: Both | None = 1
    stride: Both | None = 1
    padding: Both | None = 0
    seen: Any = field(default=None, compare=False, repr=False)

    def window(self, index: Both, input_size: Both | None = None) -> Window | tuple[Window, Window]:
        """Return the first and the last input pixel that unit ``index`` sees, both inclusive.

        index: a number, or (row, column), which gives the pair of windows (rows, columns); a number will do where both
        sides give the same. Without ``input_size`` the window may start below 0 and end beyond the picture: that part
        is padding. With it the window is what the unit sees of the picture. Raises ValueError for an index that is no
        unit's, for a unit that sees nothing but padding, and where ``input_size`` is not the one that was traced.
        """
        return self._of_sides(index, lambda side, n: self._window(side, n, input_size))

    def centre(self, index: Both) -> float | tuple[float, float]:
        """Return the middle of unit ``index``'s window in input pixels; it falls between two for an even size."""
        return self._of_sides(index, lambda side, n: sum(self._window(side, n, None)) / 2)

    @property
    def units(self) -> tuple[int, int] | None:
        """The height and width of the map whose field this is; None where it was not traced."""
        return self.seen and tuple(side.count for side in self.seen)

    def _of_sides(self, index: Both, found: Any) -> Any:
        if isinstance(index, tuple):
            return tuple(found(side, n) for side, n in enumerate(index))
        rows, columns = found(0, index), found(1, index)
        if rows != columns:
            raise ValueError(f"height and width differ here: give (row, column) in place of {index}")
        return rows

    def _window(self, side: int, index: int, input_size: Both | None) -> Window:
        if index < 0:
            raise ValueError(f"units are counted from 0, got index {index}")
        if self.seen:
            self.seen[side].check(index, input_size and both(input_size)[side])
            if self.size is None or input_size is not None:
                return self.seen[side].window(index)
        size, stride, padding = (both(number)[side] for number in (self.size, self.stride, self.padding))
        first = index * stride - padding
        last = first + size - 1
        if input_size is None:
            return first, last
        end = both(input_size)[side]
        if last < 0 or first >= end:
            raise ValueError(f"unit {index} sees pixels {first} to {last}, none of them in a picture of {end}")
        return max(first, 0), min(last, end - 1)


def both(number: Both) -> tuple[int, int]:
    """Return (height, width) for a number that holds for both, or for the pair itself."""
    return tuple(number) if isinstance(number, tuple | list) else (number, number)


def one(pair: tuple) -> Any:
    """Return the number that holds for height and width, or the pair where they differ."""
    return pair[0] if pair[0] == pair[1] else tuple(pair)


class FieldTable(dict[str, ReceptiveField]):
    """Receptive fields by layer name, printed as a table."""

    def _rows(self) -> list[tuple[str, ...]]:
        traced = any(found.seen for found in self.values())
        rows = [("layer", "size", "stride", "padding", *(["first centre", "units"] if traced else []))]
        for name, found in self.items():
            numbers = [_shown(number) for number in (found.size, found.stride, found.padding)]
            if traced:
                numbers += [_shown(found.centre((0, 0))) if found.size is not None else "-", _shown(found.units)]
            rows.append((name, *numbers))
        return rows

    def __str__(self) -> str:
        return as_text(self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self._rows())


def _shown(number: Any) -> str:
    """Return a number, or a pair as height x width where the two differ."""
    if isinstance(number, tuple):
        number = one(number)
    if number is None:
        return "varies"
    return " x ".join(f"{part:g}" for part in number) if isinstance(number, tuple) else f"{number:g}"


def receptive_field(layers: Iterable[Layer]) -> ReceptiveField:
    """Return what one unit after ``layers`` (input side first) sees of the input; an empty stack sees one pixel."""
    field = ReceptiveField()
    for layer in layers:
        field = ReceptiveField(
            size=field.size + layer.dilation * (layer.kernel - 1) * field.stride,
            stride=field.stride * layer.stride,
            padding=field.padding + layer.padding * field.stride,
        )
    return field


def table(layers: Iterable[Layer]) -> FieldTable:
    """Return the receptive field after each layer, by the paper's names: conv1_1, ..., pool5."""
    stack = list(layers)
    return FieldTable((name, receptive_field(stack[: n + 1])) for n, name in enumerate(names(stack)))


def __getattr__(name: str) -> Any:
    """Find what follows modules in the files beside this one, which import this one."""
    if name == "trace":
        from vgglib.tracing import trace

        return trace
    if name in ("measured", "effective"):
        from vgglib import gradients

        return getattr(gradients, name)
    raise AttributeError(f"module 'vgglib.receptive_field' has no attribute {name!r}")
