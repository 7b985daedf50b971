"""What one unit sees: receptive fields by plain integer arithmetic, and of any network by ``trace``.

Formulas: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
All sizes are input pixels along one side; pixel 0 is the first pixel of the picture. Where height and width differ,
a number becomes a pair (height, width). ``trace``, ``measured`` and ``effective`` come from vgglib.tracing and
vgglib.gradients, which need torch; the arithmetic here does not.
"""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps

import numpy as np

from vgglib.configurations import Layer, names
from vgglib.sizes import height_and_width, whole
from vgglib.tables import as_html, as_text

Pair = tuple[int, int]


class UnalignedError(ValueError):
    """Paths of a network that meet with different strides or centres: no single window describes their units."""


class UnknownReceptiveFieldError(ValueError):
    """A network, or a part of one, whose receptive field cannot be known."""


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of one layer see of the input, along one side or, as pairs, along (height, width).

    size: pixels that one unit depends on; stride: pixels between the windows of neighbouring units;
    padding: pixels by which the first unit's window sticks out of the picture (negative where it starts inside).
    All three are None along a side on which no single size fits all units, as after a transposed convolution with
    a stride. ``units`` is there where ``trace`` found the field: what each unit of that map really sees.
    """

    size: int | tuple[int | None, int | None] | None = 1
    stride: int | tuple[int | None, int | None] | None = 1
    padding: int | tuple[int | None, int | None] | None = 0
    units: "Units | None" = dataclasses.field(default=None, compare=False, repr=False)

    def window(self, index: int | Pair, input_size: int | Pair | None = None) -> Pair | tuple[Pair, Pair]:
        """Return the first and the last input pixel that unit ``index`` sees, both inclusive.

        index: a number where height and width agree, or (row, column); a pair is answered by a pair of windows.
        Without ``input_size`` the window may start below 0 and end beyond the picture: that part is padding.
        With it the window is clipped to the picture; of a traced field it then holds what that unit really sees,
        pixels that a layer left over taken out. Raises ValueError for a negative index, for a unit that sees
        nothing but padding, for a number where the sides differ, for a unit beyond a traced map, for pictures of
        another size than were traced or of none, and for what is no whole number; UnknownReceptiveFieldError for an
        unclipped window where no single size fits.
        """
        try:
            row, column = unit = height_and_width(index, "index")
        except ValueError:
            raise ValueError(f"a unit is a whole number or (row, column), got {index!r}") from None
        if input_size is not None:
            input_size = height_and_width(input_size, "input_size")
            if min(input_size) < 1:
                raise ValueError(f"input_size must be positive, got {input_size[0]} x {input_size[1]}")
        if min(unit) < 0:
            raise ValueError(f"units are counted from 0, got index {index}")
        if self.units is not None:
            self.units.check(unit, input_size)
        if self.units is not None and input_size is not None:
            windows = self.units.window(unit)
        else:
            windows = tuple(self._along(side, at, pair(input_size)[side]) for side, at in enumerate((row, column)))
        if isinstance(index, tuple | list):
            return windows
        if windows[0] != windows[1]:
            rows, columns = windows
            raise ValueError(f"rows {rows} and columns {columns} differ: ask for the unit ({index}, {index})")
        return windows[0]

    def centre(self, index: int | Pair) -> float | tuple[float, float]:
        """Return the middle of unit ``index``'s window in input pixels; it falls between two for an even size."""
        window = self.window(index)
        if isinstance(index, tuple | list):
            return tuple((first + last) / 2 for first, last in window)
        return sum(window) / 2

    def _along(self, side: int, index: int, length: int | None) -> Pair:
        """Return the window along one side, by the formula."""
        size, stride, padding = (pair(value)[side] for value in (self.size, self.stride, self.padding))
        if size is None:
            raise UnknownReceptiveFieldError("no single size fits these units: give input_size to ask for one")
        first = index * stride - padding
        last = first + size - 1
        if length is None:
            return first, last
        if last < 0 or first >= length:
            raise ValueError(f"unit {index} sees pixels {first} to {last}, none of them in a picture of {length}")
        return max(first, 0), min(last, length - 1)


@dataclass(frozen=True)
class Units:
    """What each unit of a traced map sees of a picture of one size.

    picture: its (height, width); rows and columns: arrays (2, map height, map width) of the first and the last pixel
    that each unit sees along that side; where the last comes before the first, it sees none.
    """

    picture: Pair
    rows: np.ndarray
    columns: np.ndarray

    @property
    def size(self) -> Pair:
        """The map's (height, width) in units."""
        return self.rows.shape[1:]

    def check(self, unit: Pair, input_size: int | Pair | None) -> None:
        """Raise ValueError for a unit beyond the map and for a picture of another size than was traced."""
        if any(at >= end for at, end in zip(unit, self.size, strict=True)):
            raise ValueError(f"there is no unit {unit} in a map of {_times(self.size)}")
        if input_size is not None and pair(input_size) != self.picture:
            asked, traced = _times(pair(input_size)), _times(self.picture)
            raise ValueError(f"traced with pictures of {traced}, asked about {asked}: trace it with that input_size")

    def window(self, unit: Pair) -> tuple[Pair, Pair]:
        """Return the rows and the columns that a unit (row, column) sees; ValueError where it sees none."""
        rows, columns = (tuple(ends[:, *unit].tolist()) for ends in (self.rows, self.columns))
        if rows[0] > rows[1] or columns[0] > columns[1]:
            raise ValueError(f"unit {unit} sees nothing but padding of a picture of {_times(self.picture)}")
        return rows, columns


class FieldTable(dict[str, ReceptiveField]):
    """Receptive fields by layer name, printed as a table; traced ones with first centre and size of the map."""

    def _rows(self) -> list[tuple[str, ...]]:
        rows = [(name, _cell(found.size), _cell(found.stride), _cell(found.padding)) for name, found in self.items()]
        header = ("layer", "size", "stride", "padding")
        if not any(found.units for found in self.values()):
            return [header, *rows]
        more = [(_first_centre(found), _times(found.units.size) if found.units else "") for found in self.values()]
        return [(*header, "centre", "map"), *(row + cells for row, cells in zip(rows, more, strict=True))]

    def __str__(self) -> str:
        return as_text(self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self._rows())


def receptive_field(layers: Iterable[Layer]) -> ReceptiveField:
    """Return what one unit after ``layers`` (input side first) sees of the input; an empty stack sees one pixel.

    Raises ValueError for what is no layer, and for a layer that cannot be: kernel, stride and dilation are whole
    numbers from 1 on, padding from 0 on. Of a module ask ``trace``.
    """
    field = ReceptiveField()
    for layer in layers:
        field = ReceptiveField(
            size=field.size + layer.dilation * (layer.kernel - 1) * field.stride,
            stride=field.stride * layer.stride,
            padding=field.padding + layer.padding * field.stride,
        )
    return field


def _of_layers(function: Callable[[list[Layer]], ReceptiveField]) -> Callable[[Iterable[Layer]], ReceptiveField]:
    """Return the function for layers that were looked at first."""

    @wraps(function)
    def checked(layers: Iterable[Layer]) -> ReceptiveField:
        return function(_stack(layers))

    return checked


receptive_field = _of_layers(receptive_field)  # above it stands as chapter 02 shows it


def table(layers: Iterable[Layer]) -> FieldTable:
    """Return the receptive field after each layer, by the paper's names: conv1_1, ..., pool5."""
    stack = _stack(layers)
    return FieldTable((name, receptive_field(stack[: n + 1])) for n, name in enumerate(names(stack)))


def _stack(layers: Iterable[Layer]) -> list[Layer]:
    """Return the layers as a list; ValueError for anything else."""
    alone = isinstance(layers, str | Layer) or not isinstance(layers, Iterable)
    return [_possible(layer) for layer in ([layers] if alone else layers)]


def _possible(layer: Layer) -> Layer:
    """Return a layer; ValueError, saying what is wrong, for anything else."""
    for what, lowest in {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}.items():
        try:
            value = getattr(layer, what)
        except AttributeError:
            hint = (
                f"layers({layer!r})" if isinstance(layer, str) else "[Layer(...), ...]; for a module there is trace()"
            )
            raise ValueError(f"expected configurations.Layer, got {layer!r}: write {hint}") from None
        if whole(value, f"a layer's {what}") < lowest:
            raise ValueError(f"a layer's {what} must be {lowest} or more, got {layer}")
    return layer


def pair(value: object) -> tuple:
    """Return ``value`` as (height, width): itself if it is a pair, twice the same if it is one value."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def single(values: tuple) -> object:
    """Return a pair (height, width) as one value where both are the same."""
    return values[0] if values[0] == values[1] else tuple(values)


def __getattr__(name: str) -> object:
    if name == "trace":
        from vgglib.tracing import trace as found
    elif name in ("measured", "effective"):
        from vgglib import gradients

        found = getattr(gradients, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def _times(values: Iterable) -> str:
    return " x ".join(map(str, values))


def _cell(value: object, form: str = "") -> str:
    """Return a number, or a pair of them, as the text of a table's cell."""
    if isinstance(value, tuple):
        return " x ".join(_cell(one, form) for one in value)
    return "varies" if value is None else format(value, form)


def _first_centre(found: ReceptiveField) -> str:
    ends = zip(*(pair(value) for value in (found.size, found.padding)), strict=True)
    return _cell(single(tuple(None if size is None else (size - 1) / 2 - padding for size, padding in ends)), "g")
