"""What the elements of a tensor see of the picture, as arrays of windows, and what becomes of them in an operation.

Everything is followed twice: by the formulas of Araujo, Norris & Sim (Distill 2019), padding included, and exactly, as
the first and the last pixel, with the borders as they are. The arrays broadcast to the tensor's shape: in a plain
network a feature map needs one window for each row and one for each column.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from vgglib.recording import Operation

NONE = 1 << 40  # both ends of a window without a pixel


@dataclass(frozen=True)
class Side:
    """What the elements of a tensor see along one side of the picture.

    A window is its first pixel and its last one negated: of two ends the smaller is the wider, so that ``minimum``
    unites windows. Windows are arrays (2, ...), the rest of which broadcasts to the tensor's shape, as ``units`` does.
    """

    units: np.ndarray  # which unit of its map, counted along this side, an element belongs to
    seen: np.ndarray  # the window that an element really sees; NONE where it sees only padding
    origin: np.ndarray | None = None  # the window of unit 0 by the formula; None where no single size fits
    stride: int = 0  # pixels from one unit's window to the next one's, by the formula
    conflict: str = ""  # why the paths that met here are not aligned

    def dimension(self) -> int | None:
        """The dimension of the tensor that counts the units, if there is one."""
        long = [d for d, length in enumerate(self.units.shape) if length > 1]
        return long[0] if len(long) == 1 and np.unique(self.units).size == self.units.size else None

    def recounted(self) -> "Side":
        """The same with units 0, 1, 2, ... where a slice has left others or a flip has turned them."""
        dimension, units = self.dimension(), self.units
        if dimension is None and units.size > 1:
            return self
        counted = np.arange(units.size).reshape(units.shape)
        start, *more = units.ravel()[:2].tolist()
        step = more[0] - start if more else 1
        if step < 1 or (units != start + step * counted).any():
            return Side(counted, self.seen).settled()
        origin = None if self.origin is None else _shifted(self.origin, start * self.stride, start * self.stride)
        return replace(self, units=counted, origin=origin, stride=self.stride * step)

    def settled(self) -> "Side":
        """The same; where no single size was known but all units see the same, it is that, with stride 0."""
        if self.origin is not None:
            return self
        seen = _compressed(self.seen)
        same = all(1 in lengths for lengths in zip(seen.shape[1:], self.units.shape, strict=True))
        return replace(self, seen=seen, origin=seen if same else None, stride=0)


@dataclass(frozen=True)
class View:
    """What a tensor sees of the picture: along its rows and along its columns."""

    shape: tuple[int, ...]
    sides: tuple[Side, Side]

    def each(self, change: Callable[[Side], Side], shape: Sequence[int] | None = None) -> "View":
        """The same with every side changed, and another shape where one is given."""
        return View(tuple(shape or self.shape), tuple(change(side) for side in self.sides))


def picture(shape: Sequence[int]) -> View:
    """Return the view of the picture itself, (1, channels, height, width): every pixel sees itself."""

    def side(dimension: int) -> Side:
        pixels = _counted(shape, dimension)
        return Side(pixels, np.stack([pixels, -pixels]), np.zeros((2, 1, 1, 1, 1), dtype=int), 1)

    return View(tuple(shape), (side(2), side(3)))


def laid_out(view: View) -> tuple[View, tuple[int | None, int | None]]:
    """Return the view with units counted from 0, and the dimensions that count their rows and their columns.

    A map made from a vector, or one unit wide, has them in dimensions 2 and 3; None where a tensor is one unit.
    """
    sides = [side.recounted() for side in view.sides]
    places = [side.dimension() for side in sides]
    if places[0] == places[1]:
        places = [None, None]
    free = [d for d in (2, 3) if d not in places] if len(view.shape) == 4 else []
    for n, side in enumerate(sides):
        if places[n] is None and free:
            places[n] = free.pop(0)
            if side.units.size > 1 or view.shape[places[n]] > 1:
                sides[n] = Side(_counted(view.shape, places[n]), side.seen).settled()
    return View(view.shape, tuple(sides)), tuple(places)


def _slide(view: View, steps: Iterable[tuple[int, np.ndarray, tuple[int, int, int] | None]]) -> View:
    """Return what units see that each look at a few elements along some dimensions.

    steps: (dimension, elements, formula). elements: an array (units, elements that each unit looks at), where the
    dimension's length stands for padding; formula: (reach, stride, padding), None where the units differ.
    """
    view, places = laid_out(view)
    for dimension, elements, formula in steps:
        length, shape = view.shape[dimension], [*view.shape]
        shape[dimension] = len(elements)
        blind = (elements == length).all(axis=1).any()
        sides = []
        for side, place in zip(view.sides, places, strict=True):
            units, seen, origin, stride = side.units, side.seen, side.origin, side.stride
            if seen.shape[dimension + 1] > 1 or blind:
                seen = _gathered(seen, dimension, elements, length)
            if place == dimension:
                units = _counted(shape, dimension)
                if origin is not None and formula is not None:
                    reach, step, padding = formula
                    origin = _shifted(origin, -padding * stride, (reach - 1 - padding) * stride)
                    stride *= step
                else:
                    origin = None
            elif units.shape[dimension] > 1:
                units, origin = _one(shape), None
            elif origin is not None and origin.shape[dimension + 1] > 1:
                origin = _gathered(origin, dimension, elements, length)
            sides.append(Side(units, seen, origin, stride).settled())
        view = View(tuple(shape), tuple(sides))
    return view


def _united(view: View, dimensions: Iterable[int]) -> View:
    """Return what all elements along ``dimensions`` see together; these dimensions keep the length 1."""
    dimensions = [d % len(view.shape) for d in dimensions]
    axes = tuple(d + 1 for d in dimensions)

    def change(side: Side) -> Side:
        seen = side.seen.min(axis=axes, keepdims=True)
        if any(side.units.shape[d] > 1 for d in dimensions):
            return Side(_one(view.shape), seen).settled()
        origin = None if side.origin is None else side.origin.min(axis=axes, keepdims=True)
        return Side(side.units, seen, origin, side.stride).settled()

    return view.each(change, [1 if d in dimensions else length for d, length in enumerate(view.shape)])


def _moved(view: View, move: Callable[[Tensor], Sequence[Tensor]]) -> list[View]:
    """Return the views of the tensors that ``move`` makes by putting elements elsewhere."""

    def through(array: np.ndarray) -> list[np.ndarray]:
        if array.size == 1:
            return [array.reshape([1] * len(shape)) for shape in shapes]
        return [_compressed(out.numpy()[None])[0] for out in move(torch.from_numpy(array.copy()).expand(view.shape))]

    def window(ends: np.ndarray | None) -> list[np.ndarray | None]:
        if ends is None:
            return [None] * len(shapes)
        return [np.stack(np.broadcast_arrays(*both)) for both in zip(*map(through, ends), strict=True)]

    shapes = [tuple(output.shape) for output in move(torch.empty(view.shape, device="meta"))]
    sides = []
    for side in view.sides:
        parts = zip(through(side.units), window(side.seen), window(side.origin), strict=True)
        moved = []
        for shape, (units, seen, origin) in zip(shapes, parts, strict=True):
            vector = len(shape) < 4 and units.size == 1  # one unit for all, which has no stride
            moved.append(Side(units, seen, None if vector else origin, side.stride).settled())
        sides.append(moved)
    return [View(shape, both) for shape, both in zip(shapes, zip(*sides, strict=True), strict=True)]


def _joined(views: Sequence[View], shape: Sequence[int]) -> View:
    """Return what elements see that are computed from those of several tensors, which broadcast to ``shape``."""
    if len(views) == 1 and views[0].shape == tuple(shape):
        return views[0]
    several = [(view if len(view.shape) == len(shape) else _widened(view, len(shape))).sides for view in views]
    return View(tuple(shape), tuple(_meet(sides, _minimum) for sides in zip(*several, strict=True)))


def _widened(view: View, count: int) -> View:
    """Return the view with leading dimensions of length 1, as broadcasting adds them, ``count`` in all."""
    return _moved(view, lambda tensor: [tensor[(None,) * (count - tensor.dim())]])[0]


def _chained(views: Sequence[View], dimension: int) -> View:
    """Return what the elements of several tensors see, one tensor after the other along ``dimension``."""
    lengths = [view.shape[dimension] for view in views]
    shape = [*views[0].shape]
    shape[dimension] = sum(lengths)

    def chain(arrays: list[np.ndarray]) -> np.ndarray:
        axis = arrays[0].ndim - len(shape) + dimension
        before = np.broadcast_shapes(*(array.shape[:axis] for array in arrays))
        after = np.broadcast_shapes(*(array.shape[axis + 1 :] for array in arrays))
        full = [np.broadcast_to(array, (*before, n, *after)) for array, n in zip(arrays, lengths, strict=True)]
        return np.concatenate(full, axis)

    sides = []
    for n in (0, 1):
        several = [view.sides[n] for view in views]
        if all(side.units.shape[dimension] == 1 for side in several):
            sides.append(_meet(several, chain))
        else:  # a larger map, not more channels
            known = {side.dimension() for side in several} <= {dimension, None}
            units = _counted(shape, dimension) if known else _one(shape)
            sides.append(Side(units, chain([side.seen for side in several])).settled())
    return View(tuple(shape), tuple(sides))


def _meet(sides: Sequence[Side], unite: Callable[[list[np.ndarray]], np.ndarray]) -> Side:
    """Return what is seen where paths meet: aligned if their strides and the centres of their windows agree."""
    sides = [side.recounted() for side in sides]
    units = max((side.units for side in sides), key=lambda units: units.size)
    together = Side(units, unite([side.seen for side in sides]))
    seeing = [side for side in sides if side.seen.min() < NONE]
    if not all(side.origin is not None and np.array_equal(side.units, units) for side in seeing):
        return together.settled()
    strides = {side.stride for side in seeing}
    paths = dict.fromkeys((side.stride, centre) for side in seeing if side.stride for centre in _centres(side.origin))
    if len(paths) > 1:
        texts = (f"stride {stride} and first centre {centre:g}" for stride, centre in paths)
        return replace(together, conflict=" meets ".join(texts)).settled()
    if len(strides) != 1:  # some see the same everywhere, some do not; or nobody sees anything
        return together.settled()
    nothing = np.full([2] + [1] * units.ndim, NONE)
    origin = unite([nothing if side.origin is None else side.origin for side in sides])
    return replace(together, origin=origin, stride=strides.pop())


# Operations that look at neighbours


def _convolution(operation: Operation, view: View) -> View:
    a, (pictures, channels, *sides) = operation.arguments, operation.outputs[0].shape
    groups, shape = a["groups"], (pictures, channels, *view.shape[2:])
    arrays = [array for side in view.sides for array in (side.seen, side.origin) if array is not None]
    if groups == 1 or all(array.shape[2] == 1 for array in arrays):
        mixed = replace(_united(view, [1]), shape=shape)  # every output channel sees all of the input's
    else:
        (apart,) = _moved(view, lambda tensor: [tensor.reshape(pictures, groups, -1, *view.shape[2:])])
        group = [-1, -1, channels // groups, *[-1] * len(sides)]
        (mixed,) = _moved(_united(apart, [2]), lambda tensor: [tensor.expand(group).reshape(shape)])
    return _slide(mixed, _windows(mixed, operation, a["weight"].shape[2:]))


def _pool(operation: Operation, view: View) -> View:
    return _slide(view, _windows(view, operation, operation.arguments["kernel_size"]))


def _windows(view: View, operation: Operation, kernel: Sequence[int]) -> Iterator[tuple]:
    """Yield the steps of _slide for a convolution or a pooling over the last dimensions."""
    a, shape, n = operation.arguments, operation.outputs[0].shape, len(kernel)
    given = (kernel, a["stride"] or kernel, a["padding"], a.get("dilation", [1]))
    sizes = zip(*(values if len(values) == n else [*values] * n for values in given), strict=True)  # one number for all
    for dimension, (size, stride, padding, dilation) in enumerate(sizes, len(shape) - n):
        length, reach = view.shape[dimension], dilation * (size - 1) + 1
        unit, tap = np.arange(shape[dimension])[:, None], dilation * np.arange(size)
        formula = (reach, stride, padding)
        if a.get("transposed"):
            elements = np.where((unit + padding - tap) % stride == 0, (unit + padding - tap) // stride, length)
            formula = (reach, 1, reach - 1 - padding) if stride == 1 else None
        else:
            elements = unit * stride - padding + tap
        yield dimension, np.where((elements >= 0) & (elements < length), elements, length), formula


def _adaptive_pool(operation: Operation, view: View) -> View:
    steps, shape = [], operation.outputs[0].shape
    for dimension in range(len(shape) - len(operation.arguments["output_size"]), len(shape)):
        length, unit = view.shape[dimension], np.arange(shape[dimension])
        first, end = unit * length // len(unit), -(-(unit + 1) * length // len(unit))
        elements = first[:, None] + np.arange((end - first).max())
        elements = np.where(elements < end[:, None], elements, length)
        steps.append((dimension, elements, _regular(elements, length)))
    return _slide(view, steps)


def _upsample(operation: Operation, view: View) -> View:
    """Ask torch itself which elements it weighs, by a picture of each single element."""
    a, steps = operation.arguments, []
    for dimension, other_scale in ((2, "scales_w"), (3, "scales_h")):
        length, units = view.shape[dimension], operation.outputs[0].shape[dimension]
        before, after = [1, length, 2, 2], [2, 2]  # not 1: torch's antialias gives pictures one column wide one value
        before[dimension], after[dimension - 2] = length, units
        alone = [length if d in (1, dimension) else 1 for d in range(4)]
        double = a["self"].dtype == torch.float64  # torch computes positions in single precision for all else
        pictures = torch.eye(length, dtype=torch.float64 if double else torch.float32)
        pictures = pictures.reshape(alone).expand(before).contiguous()
        weights = operation.function(**{**a, "self": pictures, "output_size": after, other_scale: None})
        weighed = weights[0].select(4 - dimension, 0).T.abs().numpy() > 1e-6  # what is less comes from rounding
        elements = np.sort(np.where(weighed, np.arange(length), length))[:, : weighed.sum(axis=1).max()]
        steps.append((dimension, elements, _regular(elements, length)))
    return _slide(view, steps)


def _pad(operation: Operation, view: View) -> View:
    sizes = operation.arguments.get("pad") or operation.arguments["padding"]
    steps = []
    for n, (before, after) in enumerate(zip(sizes[::2], sizes[1::2], strict=True), 1):
        length = view.shape[-n]
        elements = np.arange(-before, length + after)
        if operation.name.startswith("reflection"):
            elements = length - 1 - abs(length - 1 - abs(elements))
        elif operation.name.startswith("replication"):
            elements = elements.clip(0, length - 1)
        elements = np.where((elements >= 0) & (elements < length), elements, length)
        steps.append((len(view.shape) - n, elements[:, None], (1, 1, before)))
    return _slide(view, steps)


# Arrays of windows and of units


def _shifted(windows: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return windows whose first pixel lies ``first`` pixels further on, and whose last one ``last``."""
    return windows + np.array([first, -last]).reshape(2, *[1] * (windows.ndim - 1))


def _gathered(windows: np.ndarray, dimension: int, elements: np.ndarray, length: int) -> np.ndarray:
    """Return the windows of units that see ``elements`` (units, up to so many) of the ``length`` along a dimension."""
    axis = dimension + 1
    windows = np.broadcast_to(windows, (*windows.shape[:axis], length, *windows.shape[axis + 1 :]))
    nothing = np.full((*windows.shape[:axis], 1, *windows.shape[axis + 1 :]), NONE)
    return np.concatenate([windows, nothing], axis).take(elements, axis).min(axis + 1)


def _regular(elements: np.ndarray, length: int) -> tuple[int, int, int] | None:
    """Return (reach, stride, padding) if every unit looks at equally many elements in equal steps."""
    first, reach = elements[:, 0], elements.shape[1]
    if len(elements) == 1:
        return None  # one unit has no stride
    step = int(first[1] - first[0])
    regular = (elements == first[0] + step * np.arange(len(first))[:, None] + np.arange(reach)).all()
    return (reach, step, int(-first[0])) if regular and step > 0 and elements.max() < length else None


def _compressed(windows: np.ndarray) -> np.ndarray:
    """Return the same, with length 1 along every dimension in which nothing changes."""
    for axis in range(1, windows.ndim):
        first = windows.take([0], axis)
        if windows.shape[axis] > 1 and (windows == first).all():
            windows = first
    return windows


def _minimum(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.minimum.reduce(np.broadcast_arrays(*arrays))


def _centres(origin: np.ndarray) -> list[float]:
    """Return the centres of unit 0's windows in all channels; one, unless paths are not aligned."""
    return np.unique((origin[0] - origin[1])[origin[0] < NONE // 2] / 2).tolist()


def _counted(shape: Sequence[int], dimension: int) -> np.ndarray:
    """Return units 0, 1, 2, ... along one dimension of a tensor."""
    return np.arange(shape[dimension]).reshape([-1 if d == dimension else 1 for d in range(len(shape))])


def _one(shape: Sequence[int]) -> np.ndarray:
    """Return unit 0 for all elements of a tensor."""
    return np.zeros([1] * len(shape), dtype=int)


def _blind(shape: Sequence[int]) -> View:
    """Return the view of a tensor that does not depend on the picture."""
    nothing = Side(_one(shape), np.full([2] + [1] * len(shape), NONE))
    return View(tuple(shape), (nothing, nothing))


ON_VIEWS = SimpleNamespace(
    joined=_joined,
    united=_united,
    moved=_moved,
    chained=_chained,
    nothing=_blind,
    convolution=_convolution,
    pool=_pool,
    adaptive_pool=_adaptive_pool,
    upsample=_upsample,
    pad=_pad,
)
