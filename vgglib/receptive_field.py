"""What one unit sees: receptive fields by plain integer arithmetic.

Formulas: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
All sizes are input pixels along one side; pixel 0 is the first pixel of the picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vgglib.configurations import Layer, names
from vgglib.tables import as_html, as_text


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of one layer see of the input, along one side.

    size: pixels that one unit depends on; stride: pixels between the windows of neighbouring units;
    padding: pixels by which the first unit's window sticks out of the picture.
    """

    size: int = 1
    stride: int = 1
    padding: int = 0

    def window(self, index: int, input_size: int | None = None) -> tuple[int, int]:
        """Return the first and the last input pixel that unit ``index`` sees, both inclusive.

        Without ``input_size`` the window may start below 0 and end beyond the picture: that part is padding.
        With it the window is clipped to the picture. Raises ValueError for a negative index, and for a unit
        that sees nothing but padding.
        """
        if index < 0:
            raise ValueError(f"units are counted from 0, got index {index}")
        first = index * self.stride - self.padding
        last = first + self.size - 1
        if input_size is None:
            return first, last
        if last < 0 or first >= input_size:
            raise ValueError(f"unit {index} sees pixels {first} to {last}, none of them in a picture of {input_size}")
        return max(first, 0), min(last, input_size - 1)

    def centre(self, index: int) -> float:
        """Return the middle of unit ``index``'s window in input pixels; it falls between two for an even size."""
        first, last = self.window(index)
        return (first + last) / 2


class FieldTable(dict[str, ReceptiveField]):
    """Receptive fields by layer name, printed as a table."""

    def _rows(self) -> list[tuple[str, ...]]:
        fields = [(name, str(field.size), str(field.stride), str(field.padding)) for name, field in self.items()]
        return [("layer", "size", "stride", "padding"), *fields]

    def __str__(self) -> str:
        return as_text(self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self._rows())


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
