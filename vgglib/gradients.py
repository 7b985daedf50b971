"""Receptive fields by experiment: where a change of the picture would change a unit, and by how much.

``measured`` asks a linear stand-in of the network, whose weights are all positive, so that nothing cancels and nothing
is switched off; ``effective`` asks the network itself (Luo, Li, Urtasun, Zemel, NeurIPS 2016).
"""

import copy
import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from vgglib.receptive_field import Both, UnknownReceptiveFieldError, both, one
from vgglib.tracing import graph_of, input_shape, names_of, symbolic, trace

_KEPT = (nn.Conv2d, nn.ConvTranspose2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Linear, nn.Flatten, nn.Upsample)
_KEPT += (nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, nn.ZeroPad2d, nn.Identity)
_PASSED = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.LocalResponseNorm,
    nn.Dropout,
    nn.Dropout2d,
    nn.Softmax,
    nn.ReLU,
    nn.ReLU6,
)
_POOLING = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_SUMMED = {operator.add, operator.iadd, operator.mul, operator.imul, operator.sub, operator.isub, operator.truediv}
_SUMMED |= {torch.add, torch.mul, torch.sub, torch.div, "add", "add_", "mul", "mul_", "sub", "sub_", "div", "div_"}


_FUNCTIONS = "conv2d conv_transpose2d linear avg_pool2d adaptive_avg_pool2d interpolate pad cat concat flatten reshape"
_FUNCTIONS = set((_FUNCTIONS + " getitem getattr mean sum chunk split").split())


@dataclass(frozen=True)
class MeasuredField:
    """What the units of one map see by their gradients; each question costs a backward pass."""

    values: Tensor
    picture: Tensor

    @property
    def units(self) -> tuple[int, int]:
        """The height and width of the map; 1 x 1 after a fully connected layer."""
        return tuple(self.values.shape[2:]) if self.values.dim() == 4 else (1, 1)

    def window(self, index: Both) -> tuple:
        """Return the first and the last pixel, inclusive, that unit ``index`` depends on.

        index: a number, or (row, column), which gives the pair of windows (rows, columns). Raises ValueError for a
        unit that depends on no pixel.
        """
        row, column = both(index)
        unit = self.values[0, :, row, column] if self.values.dim() == 4 else self.values[0]
        (gradient,) = torch.autograd.grad(unit.sum(), self.picture, retain_graph=True)
        seen = gradient[0].sum(dim=0) != 0
        if not seen.any():
            raise ValueError(f"unit {index} depends on no pixel")
        pair = tuple(_ends(seen.any(dim=1 - side)) for side in (0, 1))
        return pair if isinstance(index, tuple) else one(pair)


def _ends(seen: Tensor) -> tuple[int, int]:
    places = seen.nonzero().flatten()
    return int(places[0]), int(places[-1])


def measured(module: nn.Module, input_size: int | tuple[int, ...]) -> dict[str, MeasuredField]:
    """Return what the units of every node depend on, by gradients, under the names that ``trace`` gives.

    input_size: as for ``trace``. The network is made linear and positive in a copy: constant weights, no biases, sums
    in place of products and differences, means in place of maxima, no activations and no normalisation; float64.
    Costs a forward pass, and a backward pass for each window asked. Raises UnknownReceptiveFieldError for a module that
    cannot be copied or followed, or for an operation without a linear stand-in.
    """
    channels, *size = input_shape(module, input_size)
    picture = torch.ones((1, channels, *size), dtype=torch.float64, requires_grad=True)
    line = _Linear(symbolic(module))
    line.run(picture)
    names = names_of(line.module.graph)
    return {
        names[node]: MeasuredField(value, picture)
        for node, value in line.found.items()
        if isinstance(value, Tensor) and value.requires_grad and node.op not in ("placeholder", "output")
    }


class _Linear(fx.Interpreter):
    """Runs the graph with every operation in its linear, positive stand-in."""

    def __init__(self, graph: fx.GraphModule):
        super().__init__(graph)
        self.extra_traceback = False
        self.found: dict[fx.Node, Any] = {}
        for part in graph.modules():
            for name, value in part.named_parameters(recurse=False):
                setattr(part, name, nn.Parameter(_constant(value, part), requires_grad=False))
            for name, value in part.named_buffers(recurse=False):
                part._buffers[name] = torch.ones(value.shape, dtype=torch.float64)

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.found[n] = value
        return value

    def call_module(self, target: str, args: tuple, kwargs: dict) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, nn.MaxPool2d):
            return _averaged(args[0], *(getattr(module, name) for name in _POOLING))
        if isinstance(module, nn.AdaptiveMaxPool2d):
            return F.adaptive_avg_pool2d(args[0], module.output_size)
        if isinstance(module, _KEPT):
            return module(*args, **kwargs)
        before = args[0]
        if isinstance(module, _PASSED) or type(module).__module__ == "torch.nn.modules.activation":
            return before * 1.0
        raise UnknownReceptiveFieldError(f"{target}: {type(module).__name__} has no linear stand-in")

    def call_function(self, target: Any, args: tuple, kwargs: dict) -> Any:
        name = getattr(target, "__name__", str(target))
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if not any(value.requires_grad for value in tensors) and name not in ("cat", "concat", "getitem"):
            return super().call_function(target, args, kwargs)
        if target in _SUMMED:
            return sum(value for value in tensors if value.requires_grad) * 1.0
        if "max_pool2d" in name and "adaptive" not in name:
            given = dict(zip(("input", *_POOLING), args, strict=False)) | kwargs
            defaults = dict(stride=None, padding=0, dilation=1, ceil_mode=False)
            return _averaged(given["input"], *({**defaults, **given}[name] for name in _POOLING))
        if name == "adaptive_max_pool2d":
            return F.adaptive_avg_pool2d(*args[:2])
        if name in ("amax", "max"):
            return torch.mean(*args, **kwargs)
        kept = (
            "conv2d conv_transpose2d linear avg_pool2d adaptive_avg_pool2d cat concat flatten reshape getitem getattr"
        )
        if name in (kept + " mean sum chunk split interpolate pad").split():
            return super().call_function(target, args, kwargs)
        return args[0] * 1.0  # element by element: trace has let nothing else through

    def call_method(self, target: str, args: tuple, kwargs: dict) -> Any:
        if target in _SUMMED:
            return sum(value for value in args if isinstance(value, Tensor) and value.requires_grad) * 1.0
        if target in ["view", "reshape", "flatten", "mean", "sum", "size", "dim", "chunk", "split", "contiguous"]:
            return super().call_method(target, args, kwargs)
        return args[0] * 1.0


def _constant(value: Tensor, part: nn.Module) -> Tensor:
    """Weights whose sum over a kernel is 1, so that nothing grows or vanishes; biases of 0."""
    if value.dim() < 2:
        return torch.zeros(value.shape, dtype=torch.float64)
    return torch.full(value.shape, 1 / math.prod(value.shape[1:]), dtype=torch.float64)


def _averaged(X: Tensor, kernel: Both, stride: Both | None, padding: Both, dilation: Both, ceil: bool) -> Tensor:
    """Return the mean over each window of a max-pooling: a convolution of each channel by itself, dilation and all."""
    kernel, padding, dilation = both(kernel), both(padding), both(dilation)
    stride = both(stride or kernel)
    shape = F.max_pool2d(X[:, :1].detach(), kernel, stride, padding, dilation, ceil).shape[2:]
    missing = [
        max(0, (shape[n] - 1) * stride[n] + dilation[n] * (kernel[n] - 1) + 1 - X.shape[2 + n] - 2 * padding[n])
        for n in (0, 1)
    ]
    X = F.pad(X, (padding[1], padding[1] + missing[1], padding[0], padding[0] + missing[0]))
    weights = X.new_full((X.shape[1], 1, *kernel), 1 / math.prod(kernel))
    return F.conv2d(X, weights, None, stride, 0, dilation, X.shape[1])[:, :, : shape[0], : shape[1]]


@dataclass(frozen=True)
class EffectiveField:
    """How much each pixel moves one unit (Luo et al. 2016).

    weights: the mean magnitude of the gradient at each pixel, (H, W), sum 1; sigma: standard deviation of the map's
    profile, pixels, (height, width); window: the theoretical window (rows, columns), both ends inclusive; side_95:
    side, in pixels, of the smallest square around the unit's centre that holds 95 % of the weight; share_95: side_95
    over the side of the theoretical field as it lies in the picture, at most 1.
    """

    weights: Tensor
    sigma: tuple[float, float]
    window: tuple[tuple[int, int], tuple[int, int]]
    side_95: int
    share_95: float

    def gaussian(self) -> Tensor:
        """Return the Gaussian with the map's own mean and spread, (H, W), sum 1."""
        profiles = []
        for side in (0, 1):
            mean, spread = _moments(self.weights.sum(dim=1 - side))
            places = torch.arange(self.weights.shape[side], dtype=torch.float64)
            profile = torch.exp(-0.5 * ((places - mean) / max(spread, 1e-9)) ** 2)
            profiles.append(profile / profile.sum())
        return torch.outer(*profiles)


def effective(
    module: nn.Module,
    input_size: int | tuple[int, ...],
    node: str | None = None,
    pictures: Tensor | None = None,
    samples: int = 16,
    seed: int = 0,
) -> EffectiveField:
    """Return how much each pixel moves the middle unit of a node, through the network as it is.

    input_size: as for ``trace``. node: a name that ``trace`` gives, by default the last map. pictures: (N, C, H, W)
    to average over; without them ``samples`` pictures of Gaussian noise from ``seed``. The unit is the sum over the
    channels at the middle of the map, each channel with a random sign for each picture, so that channels do not cancel
    always in the same way. The network is copied, in evaluation mode and float64. Raises ValueError for a node that is
    no map, and where no gradient comes through (a dead network).
    """
    channels, *size = input_shape(module, input_size)
    fields = trace(module, input_size)
    generator = torch.Generator().manual_seed(seed)
    if pictures is None:
        pictures = torch.randn((samples, channels, *size), generator=generator, dtype=torch.float64)
    pictures = pictures.detach().cpu().double().requires_grad_()
    net = copy.deepcopy(module).cpu().double().eval()
    runner = _Recorder(graph_of(net))
    with torch.enable_grad():
        runner.run(pictures)
        maps = {name: value for name, value in runner.values().items() if name in fields and value.dim() == 4}
        if node is None:
            node = list(maps)[-1]
        if node not in maps:
            raise ValueError(f"{node!r} is no map of this network: choose from {', '.join(maps)}")
        values = maps[node]
        row, column = values.shape[2] // 2, values.shape[3] // 2
        signs = torch.randint(0, 2, values.shape[:2], generator=generator).double() * 2 - 1
        (gradient,) = torch.autograd.grad((values[:, :, row, column] * signs).sum(), pictures)
    weights = gradient.abs().sum(dim=1).mean(dim=0)
    if not weights.sum() > 0 or not weights.isfinite().all():
        raise ValueError(f"no gradient comes from {node} to the picture: the network is dead there, or not finite")
    weights = weights / weights.sum()
    field = fields[node]
    window = field.window((row, column), tuple(size))
    centres = [sum(field.window((row, column))[side]) / 2 for side in (0, 1)]
    theory = max(last - first + 1 for first, last in window)
    side = _side_holding(weights, centres, 0.95)
    sigma = tuple(_moments(weights.sum(dim=1 - side))[1] for side in (0, 1))
    return EffectiveField(weights, sigma, window, side, min(1.0, side / theory))


class _Recorder(fx.Interpreter):
    """Runs the graph as it is and keeps what each node gave."""

    def __init__(self, graph: fx.GraphModule):
        super().__init__(graph)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.found[n] = super().run_node(n)
        return self.found[n]

    def values(self) -> dict[str, Tensor]:
        names = names_of(self.module.graph)
        return {
            names[node]: value
            for node, value in self.found.items()
            if isinstance(value, Tensor) and node.op != "placeholder"
        }


def _moments(profile: Tensor) -> tuple[float, float]:
    """Return mean and standard deviation, in pixels, of weights along a line."""
    places = torch.arange(len(profile), dtype=torch.float64)
    share = profile / profile.sum()
    mean = (share * places).sum()
    return mean.item(), math.sqrt(max(0.0, (share * (places - mean) ** 2).sum().item()))


def _side_holding(weights: Tensor, centres: list[float], share: float) -> int:
    """Return the side of the smallest square around a centre that holds a share of the weights."""
    away = [np.abs(np.arange(count) - centre) for count, centre in zip(weights.shape, centres, strict=True)]
    distance = torch.from_numpy(np.maximum(away[0][:, None], away[1][None, :]))
    order = distance.flatten().argsort()
    held = weights.flatten()[order].cumsum(0)
    reached = int((held >= share * (1 - 1e-12)).nonzero()[0])
    return int(2 * distance.flatten()[order][reached] + 1)
