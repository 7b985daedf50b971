"""The receptive field of every node of any network that torch.fx can follow."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import nn

from vgglib.operations import follow
from vgglib.receptive_field import FieldTable, ReceptiveField, UnalignedError, Units, single
from vgglib.recording import Node, Recording, record
from vgglib.windows import NONE, ON_VIEWS, Side, View, laid_out, picture


def trace(module: nn.Module, input_size: int | tuple[int, ...]) -> FieldTable:
    """Return the receptive field after every node of ``module``, in the order of execution: {name: ReceptiveField}.

    input_size: a side in pixels, (height, width) or (channels, height, width); channels are read off the first
    convolution where they are not given. Names are the modules' paths, and torch.fx's where a function did the work;
    a module's second use is "path (2)". The network is looked at in evaluation mode and left as it is. A unit is
    all channels at one place; a tensor without rows and columns, as after flattening, is one unit. Units that all
    see the same have stride 0. Nodes that do not depend on the picture are left out. Hooks do not run.
    Raises UnalignedError where paths meet with different strides or centres (Distill, "alignment"), and
    UnknownReceptiveFieldError for what cannot be known, both with the module's path; ValueError for a size that a VGG
    in it refuses.
    """
    recording = record(module, input_size)
    return FieldTable((node.name, field_of(view, recording)) for node, view in views(recording))


def views(recording: Recording, strict: bool = True) -> Iterator[tuple[Node, View]]:
    """Yield every node that depends on the picture, with its view; unless strict, also behind unaligned paths."""
    names: dict[int, str] = {}
    for event, found in follow(recording, picture(recording.picture.shape), ON_VIEWS):
        if isinstance(event, Node):
            names[id(event.output)] = event.name
            yield event, found[0]
        elif strict and (conflicts := [side.conflict for view in found for side in view.sides if side.conflict]):
            paths = " and ".join(names[id(tensor)] for tensor in event.inputs if id(tensor) in names)
            raise UnalignedError(f"{event.where}: its paths {paths} are not aligned, {conflicts[0]}")


def field_of(view: View, recording: Recording) -> ReceptiveField:
    """Return a view as a receptive field: what all channels at one place see together."""
    view, places = laid_out(view)
    size = tuple(1 if place is None else view.shape[place] for place in places)
    windows = [_hull(side.seen, places) for side in view.sides]
    formulas = [_formula(axis, view.sides[axis], windows[axis], size[axis]) for axis in (0, 1)]
    rows, columns = (np.broadcast_to(np.stack([ends[0], -ends[1]]), (2, *size)) for ends in windows)
    units = Units(tuple(recording.picture.shape[2:]), rows, columns)
    return ReceptiveField(*(single(values) for values in zip(*formulas, strict=True)), units)


def _hull(windows: np.ndarray, places: Sequence[int | None]) -> np.ndarray:
    """Return the windows (2, rows, columns) of units: of all elements at one place."""
    known = [place for place in places if place is not None]
    others = [d for d in range(windows.ndim - 1) if d not in known]
    lengths = [1 if place is None else windows.shape[place + 1] for place in places]
    ordered = windows.transpose(0, *(d + 1 for d in (*known, *others)))
    return ordered.reshape(2, *lengths, -1).min(axis=3)


def _formula(axis: int, side: Side, windows: np.ndarray, length: int) -> tuple[int | None, int | None, int | None]:
    """Return (size, stride, padding) of units with these windows (2, rows, columns), counted along ``axis``."""
    known = side.origin is not None and (length > 1 or side.units.size == 1)
    origin = side.origin.reshape(2, -1).min(axis=1) if known else windows[:, 0, 0]
    stride = side.stride if known else 0
    unit = np.arange(length).reshape((-1, 1) if axis == 0 else (1, -1))
    formula = origin.reshape(2, 1, 1) + stride * np.stack([unit, -unit])
    fits = (windows >= formula) & ((stride > 0) | (windows == formula) | (windows == NONE))
    if origin.max() >= NONE or not fits.all():
        return None, None, None
    first, last = int(origin[0]), -int(origin[1])
    return last - first + 1, stride, -first
