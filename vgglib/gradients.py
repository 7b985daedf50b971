"""Receptive fields by gradients: which pixels can reach a unit, and how much each of them counts.

``measured`` asks autograd and no formula: in a network of equal positive weights, with averages for maxima and nothing
nonlinear, no gradient can vanish, so that a unit sees exactly the pixels that have one. ``effective`` takes the network
as it is, with its weights and its ReLUs (Luo, Li, Urtasun, Zemel: "Understanding the Effective Receptive Field in Deep
Convolutional Neural Networks", 2016).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgglib.modes import evaluation
from vgglib.operations import follow
from vgglib.receptive_field import Pair, pair
from vgglib.recording import Node, Operation, record, run
from vgglib.sizes import torch_seed
from vgglib.tracing import field_of, views
from vgglib.windows import laid_out

HELD = 0.95  # the share of the gradient that Luo's effective field is asked to hold


@dataclass(frozen=True)
class Measured:
    """The units of one node, in a network made linear; each is asked by one backward pass."""

    output: Tensor
    picture: Tensor  # (1, 1, height, width)
    places: tuple[int | None, int | None]  # the dimensions of ``output`` that count rows and columns of units

    def gradient(self, index: int | Pair) -> np.ndarray:
        """Return the gradient (height, width) of unit ``index``, all channels together, with respect to the pixels.

        index: a number, or (row, column). Raises ValueError for a unit beyond the map.
        """
        unit = _at(self.output, self.places, pair(index))
        (gradient,) = torch.autograd.grad(unit.mean(), self.picture, retain_graph=True)
        return gradient[0, 0].numpy()

    def window(self, index: int | Pair) -> Pair | tuple[Pair, Pair]:
        """Return the first and the last pixel that reach unit ``index``, within the picture, both inclusive.

        index: a number where rows and columns agree, or (row, column); a pair is answered by a pair of windows, as by
        ReceptiveField.window. Raises ValueError for a unit that no pixel reaches and for one beyond the map.
        """
        reached = self.gradient(index) != 0
        if not reached.any():
            raise ValueError(f"no pixel reaches unit {index}: it sees nothing but padding")
        lines = [np.flatnonzero(reached.any(axis=axis)) for axis in (1, 0)]
        rows, columns = ((int(line[0]), int(line[-1])) for line in lines)
        if isinstance(index, tuple | list):
            return rows, columns
        if rows != columns:
            raise ValueError(f"rows {rows} and columns {columns} differ: ask for the unit ({index}, {index})")
        return rows


def measured(module: nn.Module, input_size: int | tuple[int, ...]) -> dict[str, Measured]:
    """Return every node of ``module`` under the names of ``trace``, its units ready to be asked for their pixels.

    input_size: as for ``trace``. The network is recomputed once in float64 from what it does, with averages in the
    place of its weights, maxima and norms; the module itself is left as it is. It also answers for paths that are not
    aligned. Raises UnknownReceptiveFieldError for operations that are not known, ValueError for a size that a VGG in
    the module refuses.
    """
    recording = record(module, input_size)
    places = {node.name: laid_out(view)[1] for node, view in views(recording, strict=False)}
    picture = torch.zeros(1, 1, *recording.picture.shape[2:], dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        start = picture.expand(recording.picture.shape)
        events = [(event, found) for event, found in follow(recording, start, ON_NUMBERS) if isinstance(event, Node)]
    return {node.name: Measured(output, picture, places[node.name]) for node, (output,) in events}


@dataclass(frozen=True)
class EffectiveField:
    """How much the pixels count for the centre unit of a node (Luo et al. 2016).

    share is the smallest share of the pixels in ``window`` that holds 95 % of the gradient, counted largest first: an
    area, of the theoretical field as far as it lies inside the picture. sigma and centre are those of the Gaussian
    with the map's mean and standard deviation, in pixels along (height, width).
    """

    node: str
    unit: Pair  # (row, column)
    map: np.ndarray  # (height, width): mean absolute gradient, summed over input channels, scaled to a sum of 1
    window: tuple[Pair, Pair]  # of the theoretical field: rows and columns, both ends inclusive
    centre: tuple[float, float]
    sigma: tuple[float, float]
    share: float

    def gaussian(self) -> np.ndarray:
        """Return the fitted Gaussian (height, width) at the pixels' middles, as a density per pixel.

        Raises ValueError for a field one pixel wide, which no Gaussian fits.
        """
        if 0 in self.sigma:
            raise ValueError(f"unit {self.unit} of {self.node} sees one row or one column only: no Gaussian fits it")
        sides = []
        for length, centre, sigma in zip(self.map.shape, self.centre, self.sigma, strict=True):
            away = (np.arange(length) - centre) / sigma
            sides.append(np.exp(-(away**2) / 2) / (sigma * math.sqrt(2 * math.pi)))
        return np.outer(*sides)


def effective(
    module: nn.Module,
    input_size: int | tuple[int, ...],
    node: str | None = None,
    pictures: Tensor | None = None,
    samples: int = 20,
    seed: int = 0,
) -> EffectiveField:
    """Return how much each pixel counts for the centre unit of ``node``, in the network as it is.

    node: a name of ``trace``; by default the last with more than one unit. pictures: (N, channels, height, width),
    prepared as the network expects; by default ``samples`` pictures of standard normal noise, drawn with ``seed``.
    The gradient is that of the unit's channels together. Raises ValueError for an unknown node, for
    pictures of another size, and where no gradient arrives or it is not finite.
    """
    recording = record(module, input_size)
    maps = {
        found.name: (found.place, view, field_of(view, recording)) for found, view in views(recording, strict=False)
    }
    if node is None:
        # not those that only look like maps: a vector's elements may stand where a map has its columns
        with_places = (
            name for name, (_, view, _) in maps.items() if any(s.dimension() is not None for s in view.sides)
        )
        node = next(reversed([*with_places]), None)
    if node not in maps:
        raise ValueError(f"{type(module).__name__} has no node {node!r} with more than one unit: choose from {[*maps]}")
    place, view, field = maps[node]
    unit = tuple(length // 2 for length in field.units.size)
    rows, columns = field.units.window(unit)
    weight = next(module.parameters(), torch.empty(0))
    if pictures is None:
        dice = torch.Generator().manual_seed(torch_seed(seed))
        pictures = torch.randn(samples, *recording.picture.shape[1:], generator=dice)
    if pictures.shape[1:] != recording.picture.shape[1:] or len(pictures) == 0:
        expected, got = tuple(recording.picture.shape[1:]), tuple(pictures.shape)
        raise ValueError(f"expected pictures (N, {', '.join(map(str, expected))}), got {got}")
    total = torch.zeros(pictures.shape[2:], dtype=torch.float64)
    with evaluation(module), torch.enable_grad():
        for picture in pictures.to(weight.device, weight.dtype).split(1):
            X = picture.detach().clone().requires_grad_()
            output = next(value for reached, value in run(recording, X.clone()) if reached is place)
            (gradient,) = torch.autograd.grad(_at(output, laid_out(view)[1], unit).sum(), X)
            total += gradient[0].abs().sum(dim=0).cpu().double()
    if not (total.isfinite().all() and total.sum() > 0):
        what = "is not finite" if not total.isfinite().all() else "is 0 everywhere: its ReLUs are dead"
        raise ValueError(f"the gradient from unit {unit} of {node} to the pixels {what}, so there is no field to see")
    weights = (total / total.sum()).numpy()
    centre, sigma = zip(*(_moments(weights.sum(axis=axis)) for axis in (1, 0)), strict=True)
    held = np.sort(weights, axis=None)[::-1].cumsum()
    pixels = (rows[1] - rows[0] + 1) * (columns[1] - columns[0] + 1)
    share = (int((held < HELD - 1e-9).sum()) + 1) / pixels
    return EffectiveField(node, unit, weights, (rows, columns), centre, sigma, share)


def _moments(weights: np.ndarray) -> tuple[float, float]:
    """Return the mean and the standard deviation of a position with these weights."""
    position = np.arange(len(weights))
    mean = float(weights @ position)
    return mean, math.sqrt(max(0.0, float(weights @ (position - mean) ** 2)))


def _at(output: Tensor, places: Sequence[int | None], unit: Pair) -> Tensor:
    """Return all elements of one unit (row, column); ValueError for a unit beyond the map."""
    where = [slice(None)] * output.dim()
    for place, at in zip(places, unit, strict=True):
        length = 1 if place is None else output.shape[place]
        if not 0 <= at < length:
            raise ValueError(f"there is no unit {unit} in this map: row or column {at} of {length}")
        if place is not None:
            where[place] = at
    return output[tuple(where)]


# The ideas of vgglib.operations, carried out on numbers: means, which give every pixel its part


def _joined(values: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    if len(values) == 1 and values[0].shape == shape:
        return values[0]
    return sum(value.expand(shape) for value in values) / len(values)


def _united(value: Tensor, dimensions: Sequence[int]) -> Tensor:
    return value.mean(list(dimensions), keepdim=True) if len(dimensions) else value


def _convolution(operation: Operation, value: Tensor) -> Tensor:
    a, channels = operation.arguments, operation.outputs[0].shape[1]
    groups, kernel = a["groups"], a["weight"].shape[2:]
    value = value.reshape(len(value), groups, -1, *value.shape[2:]).mean(2)  # a group's channels have equal weights
    weight = torch.full((groups, 1, *kernel), 1 / kernel.numel(), dtype=value.dtype)
    value = operation.function(**{**a, "input": value, "weight": weight, "bias": None})
    return value.unsqueeze(2).expand(-1, -1, channels // groups, *value.shape[2:]).flatten(1, 2)


def _pool(operation: Operation, value: Tensor) -> Tensor:
    a, shape = operation.arguments, operation.outputs[0].shape
    kernel, stride, padding = a["kernel_size"], a["stride"] or a["kernel_size"], a["padding"]
    dilation = a.get("dilation", [1] * len(kernel))
    if max(dilation) == 1:
        pool = F.avg_pool2d if len(kernel) == 2 else F.avg_pool3d
        return pool(value, kernel, stride, padding, a["ceil_mode"])
    # there is no average pooling with dilation: convolve each channel by itself, with a border as ceil_mode has it
    size = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(shape[2:], stride, dilation, kernel, strict=True)]
    beyond = [max(0, want - length - 2 * p) for want, length, p in zip(size, value.shape[2:], padding, strict=True)]
    weight = torch.full((1, 1, *kernel), 1 / math.prod(kernel), dtype=value.dtype)
    apart = F.pad(value.flatten(0, 1).unsqueeze(1), [0, beyond[1], 0, beyond[0]])
    return F.conv2d(apart, weight, None, stride, padding, dilation).reshape(shape)


def _same(operation: Operation, value: Tensor) -> Tensor:
    return operation.function(**{**operation.arguments, "self": value})


ON_NUMBERS = SimpleNamespace(
    joined=_joined,
    united=_united,
    moved=lambda value, move: move(value),
    chained=torch.cat,
    nothing=lambda shape: torch.zeros(shape, dtype=torch.float64),
    convolution=_convolution,
    pool=_pool,
    adaptive_pool=lambda operation, value: F.adaptive_avg_pool2d(value, operation.arguments["output_size"]),
    upsample=_same,
    pad=_same,
)
