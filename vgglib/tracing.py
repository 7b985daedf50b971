"""Receptive fields of any module: torch.fx says what is computed from what, plain integers say what is seen.

For each node and each side two things go along: the arithmetic of vgglib/receptive_field.py, and the pixels that each
unit really sees, so that borders, unused pixels and irregular steps come out right. Whoever cannot be followed is
refused by name. Formulas and the meaning of "aligned": Araujo, Norris, Sim, Distill 2019.
"""

import copy
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from vgglib.receptive_field import (
    FieldTable,
    ReceptiveField,
    UnalignedError,
    UnknownReceptiveFieldError,
    both,
    one,
)

NOTHING = np.iinfo(np.int64).max  # the first pixel of a unit that sees none


@dataclass(frozen=True)
class Side:
    """What the units of one map see along one side; size, stride and padding are None where no single ones fit."""

    size: int | None
    stride: int | None
    padding: int | None
    first: np.ndarray  # the first pixel that each unit sees
    last: np.ndarray  # the last one; -1 where a unit sees only padding
    pixels: int  # of the picture

    @property
    def count(self) -> int:
        """How many units there are."""
        return len(self.first)

    def window(self, index: int) -> tuple[int, int]:
        """Return the pixels that a unit sees of the picture. Raises ValueError if there are none."""
        if self.last[index] < 0:
            raise ValueError(f"unit {index} sees nothing but padding")
        return int(self.first[index]), int(self.last[index])

    def check(self, index: int, pixels: int | None) -> None:
        """Raise ValueError for a unit that does not exist, or a picture that was not traced."""
        if index >= self.count:
            raise ValueError(f"there are units 0 to {self.count - 1}, got index {index}")
        if pixels not in (None, self.pixels):
            raise ValueError(f"traced for {self.pixels} pixels, asked for {pixels}: trace it again at that size")

    def taps(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what units see that gather from several: index (units, taps), out of range where there is none."""
        there = (index >= 0) & (index < self.count)
        index = np.where(there, index, 0)
        first = np.where(there, self.first[index], NOTHING).min(axis=1)
        last = np.where(there, self.last[index], -1).max(axis=1)
        return first, last

    def slide(self, kernel: int, stride: int, padding: int, dilation: int, count: int) -> "Side":
        """Return what a sliding window sees: a convolution or a pooling with ``count`` units."""
        start = np.arange(count)[:, None] * stride - padding
        first, last = self.taps(start + dilation * np.arange(kernel))
        if self.size is None:
            return replace(self, first=first, last=last)
        return Side(
            self.size + dilation * (kernel - 1) * self.stride,
            self.stride * stride,
            self.padding + padding * self.stride,
            first,
            last,
            self.pixels,
        )

    def irregular(self, index: np.ndarray) -> "Side":
        """Return what units see that gather from ``index`` (units, taps), with no single size."""
        first, last = self.taps(index)
        return Side(None, None, None, first, last, self.pixels)


@dataclass(frozen=True)
class Sight:
    """What the units of one node see: rows, columns, and whether all channels see the same."""

    sides: tuple[Side, Side]
    uniform: bool = True

    def field(self) -> ReceptiveField:
        """Return what is shown of it: the arithmetic, with what is really seen behind it."""
        numbers = (tuple(getattr(side, name) for side in self.sides) for name in ("size", "stride", "padding"))
        size, stride, padding = (None if None in pair else one(pair) for pair in numbers)
        return ReceptiveField(size, stride, padding, self.sides)

    def each(self, change: Callable[[Side, int], Side], uniform: bool | None = None) -> "Sight":
        """Return the sight with both sides changed by ``change(side, 0 or 1)``."""
        sides = tuple(change(side, n) for n, side in enumerate(self.sides))
        return Sight(sides, self.uniform if uniform is None else uniform)


def trace(module: nn.Module, input_size: int | tuple[int, ...]) -> FieldTable:
    """Return the receptive field of every node of a network, by name, in the order in which they are computed.

    input_size: side of the picture in pixels, or (height, width), or (channels, height, width); without channels
    those that the first convolution wants. Names are the modules' paths; functions, and a module's second use, have
    torch.fx's names. The module is looked at in evaluation mode and left as it is. After a flattening, units keep
    their row and column; a fully connected layer sees all that its map saw, as a convolution over the whole map does.
    Where channels of a map see different windows the field is that of the widest.

    Raises UnalignedError where paths meet whose strides or centres differ, UnknownReceptiveFieldError where the
    structure does not tell (control flow that depends on the data, an unknown operation), both with the module's path;
    ValueError for an input size that is none.
    """
    channels, *size = input_shape(module, input_size)
    graph = symbolic(module)
    follower = _Follower(graph, (2, channels, *size))  # two pictures: one alone hides what reshapes do
    return FieldTable({name: sight.field() for name, sight in follower.follow().items()})


def input_shape(module: nn.Module, input_size: int | tuple[int, ...]) -> tuple[int, int, int]:
    """Return the channels, height and width that an input size stands for. Raises ValueError for one that is none."""
    size = tuple(input_size) if isinstance(input_size, tuple | list) else (input_size, input_size)
    if len(size) not in (2, 3) or not all(isinstance(side, int) and side > 0 for side in size):
        raise ValueError(f"input_size must be a side, (height, width) or (channels, height, width), got {input_size!r}")
    if len(size) == 3:
        return size
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)), None)
    return (first.in_channels if first else 3, *size)


def symbolic(module: nn.Module) -> fx.GraphModule:
    """Return the module as a graph over a copy without values, in evaluation mode.

    Raises UnknownReceptiveFieldError naming the module in which torch.fx could not go on.
    """
    tensors = [*module.parameters(), *module.buffers()]
    try:
        hollow = copy.deepcopy(module, {id(value): _hollow(value) for value in tensors}).eval()
    except Exception as error:
        raise UnknownReceptiveFieldError(f"{type(module).__name__} cannot be copied: {error}") from error
    return graph_of(hollow)


def graph_of(module: nn.Module) -> fx.GraphModule:
    """Return the module as a graph, itself and not a copy. Raises UnknownReceptiveFieldError as ``symbolic`` does."""
    tracer = _Tracer()
    if tracer.is_leaf_module(module, ""):  # a single layer, whose inside is torch's own
        module = nn.Sequential(module)
    try:
        graph = tracer.trace(module)
    except Exception as error:
        where = tracer.path or "the network itself"
        raise UnknownReceptiveFieldError(
            f"{where}: what it computes depends on the data or cannot be followed ({str(error).splitlines()[0]})"
        ) from error
    return fx.GraphModule(module, graph)


def _hollow(value: Tensor) -> Tensor:
    empty = value.detach().to("meta")
    return nn.Parameter(empty, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else empty


class _Tracer(fx.Tracer):
    """torch.fx's tracer, which remembers where it was when it failed."""

    path = ""

    def call_module(self, m: nn.Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        before, self.path = self.path, self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        self.path = before
        return result


def names_of(graph: fx.Graph) -> dict[fx.Node, str]:
    """Return a name for each node: its module's path, or torch.fx's name for functions and later uses."""
    found: dict[fx.Node, str] = {}
    for node in graph.nodes:
        path = node.target if node.op == "call_module" else None
        found[node] = path if path and path not in found.values() else node.name
    return found


def where_is(node: fx.Node) -> str:
    """Return the path of the module in which a node is computed, with the function's name for a function."""
    if node.op == "call_module":
        return str(node.target)
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack and stack[-1][0] else ""
    function = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{path}.{function}" if path else function


class _Follower(fx.Interpreter):
    """Runs a graph on shapes alone, and works out the sight of each node from those that it is computed from."""

    def __init__(self, graph: fx.GraphModule, shape: tuple[int, int, int, int]):
        super().__init__(graph)
        self.extra_traceback = False  # it would be added to our messages
        self.names = names_of(graph.graph)
        self.shape = shape
        self.sights: dict[fx.Node, Any] = {}
        self.shapes: dict[fx.Node, Any] = {}

    def follow(self) -> dict[str, Sight]:
        with torch.no_grad():
            self.run(torch.empty(self.shape, device="meta"))
        found = {}
        for node, sight in self.sights.items():
            if node.op not in ("placeholder", "output") and isinstance(sight, Sight):
                found[self.names[node]] = sight
        return found

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "placeholder" and self.sights:
            raise UnknownReceptiveFieldError(f"{n.name}: a second input, and only one picture is traced")
        try:
            result = super().run_node(n)
        except Exception as error:
            message = f"{where_is(n)}: cannot be run on shapes alone ({str(error).splitlines()[0]})"
            raise UnknownReceptiveFieldError(message) from error
        self.shapes[n] = result
        seeing = [source for source in n.all_input_nodes if self.sights.get(source) is not None]
        if n.op == "placeholder":
            pixels = self.shape[2:]
            self.sights[n] = Sight(tuple(Side(1, 1, 0, np.arange(side), np.arange(side), side) for side in pixels))
        elif seeing and n.op != "output" and isinstance(result, Tensor | tuple | list):
            self.sights[n] = None if isinstance(result, torch.Size) else self._sight(n, result)
        return result

    def _sight(self, node: fx.Node, result: Any) -> Any:
        """Return what a node's units see, by the rule for its operation."""
        module = self.module.get_submodule(node.target) if node.op == "call_module" else None
        called = type(module) if module is not None else node.target
        rule = next((rule for keys, rule in RULES if called in keys), None)
        if rule is None and getattr(called, "__name__", "") == "stochastic_depth":  # torchvision's; rests in evaluation
            rule = _same
        if rule is None:
            name = called if isinstance(called, str) else getattr(called, "__name__", str(called))
            raise UnknownReceptiveFieldError(f"{where_is(node)}: nothing is known about {name}")
        return rule(_Call(self, node, module, result))


class _Call:
    """One node, with its arguments by name, whether it calls a module or a function."""

    def __init__(self, follower: _Follower, node: fx.Node, module: nn.Module | None, result: Any):
        self.follower, self.node, self.module, self.result = follower, node, module, result

    def get(self, name: str, place: int, default: Any = None) -> Any:
        """Return an argument: the module's attribute, or the function's by name or place."""
        if self.module is not None:
            return getattr(self.module, name, default)
        value = self.node.kwargs.get(name, self.node.args[place] if place < len(self.node.args) else default)
        return self.follower.shapes[value] if isinstance(value, fx.Node) else value

    @property
    def source(self) -> fx.Node:
        """The node that the first argument comes from."""
        return self.node.args[0] if self.node.args else next(iter(self.node.kwargs.values()))

    @property
    def sight(self) -> Sight:
        found = self.follower.sights.get(self.source)
        if not isinstance(found, Sight):
            raise self.unknown("is not applied to a map of the picture")
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that goes in."""
        return tuple(self.follower.shapes[self.source].shape)

    def unknown(self, why: str) -> UnknownReceptiveFieldError:
        return UnknownReceptiveFieldError(f"{where_is(self.node)}: {why}")

    def map_only(self) -> None:
        """Refuse what is not a map of shape (N, C, H, W), in or out."""
        if len(self.shape) != 4 or not isinstance(self.result, Tensor) or self.result.dim() != 4:
            raise self.unknown(f"is followed on maps (N, C, H, W) only, and got {self.shape}")


def _same(call: _Call) -> Sight:
    """Element by element, or over the channels of one place."""
    if not isinstance(call.result, Tensor) or tuple(call.result.shape) != call.shape:
        raise call.unknown("changes the shape")
    return call.sight


def _normalised(call: _Call) -> Sight:
    """Batch normalisation, which in evaluation mode scales each value by itself."""
    if call.get("running_mean", 1) is None:
        raise call.unknown("takes its statistics from the map, also in evaluation mode: every unit sees everything")
    if call.module is None and call.get("training", 5, False):
        raise call.unknown("takes its statistics from the batch")
    return _same(call)


def _resting(call: _Call) -> Sight:
    """Dropout as a function, which trains unless it is told not to."""
    if call.get("training", 2, True):
        raise call.unknown("is in training mode always: pass training=self.training")
    return _same(call)


def _over_channels(call: _Call) -> Sight:
    """Soft-max over channels mixes them at one place."""
    dim = call.get("dim", 1)
    if dim is None or dim % len(call.shape) != 1:
        raise call.unknown("works along another dimension than the channels")
    return replace(_same(call), uniform=True)


def _over_some_channels(call: _Call) -> Sight:
    """Local response normalisation: neighbouring channels of one place, so the widest channel stays the widest."""
    return _same(call)


def _convolution(call: _Call) -> Sight:
    """Conv2d, as a module or a function."""
    call.map_only()
    if call.get("padding_mode", 99, "zeros") != "zeros":
        raise call.unknown(f"pads by {call.get('padding_mode', 99)!r}: pixels are seen through their copies")
    kernel = tuple(call.get("weight", 1).shape[2:])
    stride, dilation, padding = (
        both(call.get("stride", 3, 1)),
        both(call.get("dilation", 5, 1)),
        call.get("padding", 4, 0),
    )
    if padding == "valid":
        padding = 0
    elif padding == "same":  # torch puts the odd pixel behind
        padding = tuple(step * (side - 1) // 2 for step, side in zip(dilation, kernel, strict=True))
    padding = both(padding)

    def slide(side: Side, n: int) -> Side:
        return side.slide(kernel[n], stride[n], padding[n], dilation[n], call.result.shape[2 + n])

    return call.sight.each(slide, uniform=call.sight.uniform or call.get("groups", 6, 1) == 1)


def _pooling(call: _Call) -> Sight:
    """Average, maximum and L_p pooling."""
    call.map_only()
    average = "avg" in _name(call)
    kernel = both(call.get("kernel_size", 1))
    stride = both(call.get("stride", 2) or kernel)
    padding = both(call.get("padding", 3, 0)) if "lp" not in _name(call) else (0, 0)
    dilation = (1, 1) if average or "lp" in _name(call) else both(call.get("dilation", 4, 1))

    def slide(side: Side, n: int) -> Side:
        return side.slide(kernel[n], stride[n], padding[n], dilation[n], call.result.shape[2 + n])

    return call.sight.each(slide)


def _name(call: _Call) -> str:
    called = type(call.module) if call.module is not None else call.node.target
    return called.__name__.lower()


def _adaptive(call: _Call) -> Sight:
    """Adaptive pooling: unit j of o sees units floor(j n / o) to ceil((j + 1) n / o) - 1 of n."""
    call.map_only()

    def gather(side: Side, n: int) -> Side:
        count, units = call.result.shape[2 + n], side.count
        if units % count == 0:
            return side.slide(units // count, units // count, 0, 1, count)
        starts = np.arange(count) * units // count
        ends = -(-(np.arange(1, count + 1) * units) // count)
        index = starts[:, None] + np.arange((ends - starts).max())
        return side.irregular(np.where(index < ends[:, None], index, -1))

    return call.sight.each(gather)


def _transposed(call: _Call) -> Sight:
    """Transposed convolution: unit j gathers from units i with j = i stride - padding + tap dilation."""
    call.map_only()
    weight = call.get("weight", 1)
    strides, paddings = both(call.get("stride", 3, 1)), both(call.get("padding", 4, 0))
    dilations = both(call.get("dilation", 7, 1))

    def gather(side: Side, n: int) -> Side:
        kernel, stride, padding, dilation = weight.shape[2 + n], strides[n], paddings[n], dilations[n]
        count = call.result.shape[2 + n]
        if stride == 1:
            return side.slide(kernel, 1, dilation * (kernel - 1) - padding, dilation, count)
        places = np.arange(count)[:, None] + padding - dilation * np.arange(kernel)
        return side.irregular(np.where(places % stride == 0, places // stride, -1))

    return call.sight.each(gather, uniform=call.sight.uniform or call.get("groups", 6, 1) == 1)


def _enlarged(call: _Call) -> Sight:
    """Upsampling by whole factors, to the nearest or bilinearly."""
    call.map_only()
    mode = call.get("mode", 3, "nearest")
    if mode not in ("nearest", "nearest-exact", "bilinear") or call.get("align_corners", 4):
        raise call.unknown(f"enlarges by {mode!r}: only nearest and bilinear are followed, with align_corners=False")

    def gather(side: Side, n: int) -> Side:
        count, units = call.result.shape[2 + n], side.count
        if count == units:
            return side
        if count % units:
            raise call.unknown(f"goes from {units} to {count} units: only whole factors are followed")
        factor = count // units
        place = np.arange(count)
        if mode != "bilinear":
            return side.irregular(place[:, None] // factor)
        twice = np.clip(2 * place + 1 - factor, 0, None)  # 2 factor times the place between the units
        low, between = twice // (2 * factor), twice % (2 * factor) > 0
        return side.irregular(np.stack([low, np.where(between & (low + 1 < units), low + 1, low)], axis=1))

    return call.sight.each(gather)


def _padded(call: _Call) -> Sight:
    """Zeros around the map: units there see nothing."""
    call.map_only()
    if call.module is None and call.get("mode", 2, "constant") != "constant":
        raise call.unknown(f"pads by {call.get('mode', 2)!r}: pixels are seen through their copies")
    widths = call.get("padding", 99) if call.module is not None else call.get("pad", 1)
    if len(widths) > 4:
        raise call.unknown("pads other dimensions than height and width")
    before = (widths[2] if len(widths) == 4 else 0, widths[0])  # widths are left, right, top, bottom
    return call.sight.each(lambda side, n: side.slide(1, 1, before[n], 1, call.result.shape[2 + n]))


def _whole(call: _Call) -> Sight:
    """All places of a map at once: means and maxima over height and width."""
    dims = call.get("dim", 1)
    dims = sorted(
        dim % len(call.shape) for dim in (dims if isinstance(dims, tuple | list) else (dims,)) if dim is not None
    )
    if len(call.shape) == 4 and dims == [1]:
        return replace(call.sight, uniform=True)
    if len(call.shape) != 4 or dims != [2, 3]:
        raise call.unknown("is followed over height and width together, or over the channels, not otherwise")
    return call.sight.each(lambda side, _: side.slide(side.count, side.count, 0, 1, 1))


def _flattened(call: _Call) -> Sight:
    """From (N, C, H, W) to (N, C H W), or a shape that stays as it is."""
    shape, result = call.shape, tuple(call.result.shape)
    rest = math.prod(shape[1:])
    if result != shape and result != (shape[0], rest):
        raise call.unknown(f"turns {shape} into {result}: only flattening all but the batch is followed")
    return call.sight


def _linear(call: _Call) -> Sight:
    """A fully connected layer sees what all units see; it is the convolution whose kernel is the whole map."""
    if len(call.shape) != 2:
        raise call.unknown(f"is followed on vectors (N, features) only, and got {call.shape}")
    return call.sight.each(lambda side, _: side.slide(side.count, 1, 0, 1, 1), uniform=True)


def _sliced(call: _Call) -> Any:
    """tensor[...]: a range of channels; or one part of a tuple."""
    found, index = call.follower.sights.get(call.source), call.node.args[1]
    if isinstance(found, tuple | list):
        return found[index]
    index = index if isinstance(index, tuple) else (index,)
    plain = all(part == slice(None) for n, part in enumerate(index) if n != 1) and len(index) <= len(call.shape)
    if not plain or not all(isinstance(part, slice) for part in index):
        raise call.unknown("takes a part of height, width or batch, which is not followed")
    return _some_channels(call)


def _some_channels(call: _Call) -> Any:
    """Some channels of a map, all of which must see the same; for a split, once for each part."""
    if not call.sight.uniform:
        raise call.unknown("takes some channels of a map whose channels see different windows")
    parts = call.result if isinstance(call.result, tuple | list) else [call.result]
    if any(part.dim() != len(call.shape) or part.shape[2:] != call.shape[2:] for part in parts):
        raise call.unknown("splits along another dimension than the channels")
    return call.sight if isinstance(call.result, Tensor) else [call.sight] * len(parts)


def _joined(call: _Call) -> Sight:
    """Sum, product or comparison of maps, element by element; numbers and weights see nothing."""
    return _join(call, [node for node in call.node.all_input_nodes if call.follower.sights.get(node) is not None])


def _concatenated(call: _Call) -> Sight:
    """Maps one after another along the channels."""
    dim = call.get("dim", 1, call.node.kwargs.get("axis", 0))
    if dim % call.result.dim() != 1:
        raise call.unknown("joins maps along another dimension than the channels")
    sources = call.node.args[0] if call.node.args else call.node.kwargs["tensors"]
    sight = _join(call, [node for node in sources if call.follower.sights.get(node) is not None])
    joined = [call.follower.sights[node] for node in sources]
    same = all(_alike(one.sides[n], joined[0].sides[n]) for one in joined for n in (0, 1))
    return replace(sight, uniform=same and all(one.uniform for one in joined))


def _alike(a: Side, b: Side) -> bool:
    return np.array_equal(a.first, b.first) and np.array_equal(a.last, b.last) and a.size == b.size


def _join(call: _Call, nodes: list[fx.Node]) -> Sight:
    """Return what units see that are computed from units of several maps at the same place."""
    sights = [call.follower.sights[node] for node in nodes]
    if any(not isinstance(sight, Sight) for sight in sights):
        raise call.unknown("joins something that is no map")
    if any(call.follower.shapes[node].dim() != call.result.dim() for node in nodes):
        raise call.unknown("joins maps of different dimensions")
    for n in (0, 1):
        counts = {sight.sides[n].count for sight in sights}
        if len(counts - {1}) > 1 or (len(counts) > 1 and call.result.dim() != 4):
            raise call.unknown("joins what was computed from maps of different sizes")
    if len({tuple((side.last < 0).tobytes() for side in sight.sides if (side.last < 0).any()) for sight in sights}) > 1:
        raise call.unknown("joins maps of which some see only padding at the border: rows there see other columns")
    sides = tuple(_join_side(call, [sight.sides[n] for sight in sights], nodes, n) for n in (0, 1))
    return Sight(sides, all(sight.uniform for sight in sights))


def _join_side(call: _Call, sides: list[Side], nodes: list[fx.Node], n: int) -> Side:
    count = max(side.count for side in sides)
    first = np.min([np.broadcast_to(side.first, count) for side in sides], axis=0)
    last = np.max([np.broadcast_to(side.last, count) for side in sides], axis=0)
    pixels = sides[0].pixels
    if any(side.size is None for side in sides):
        return Side(None, None, None, first, last, pixels)
    # one unit, spread over the map: if it sees all that the others see, so does every unit of the sum
    wide = [replace(side, stride=0) if side.count < count else side for side in sides]
    still = [side for side in wide if side.stride == 0]
    if still and len(still) < len(wide):
        widest = max(still, key=lambda side: side.size)
        if (first == widest.first.min()).all() and (last == widest.last.max()).all():
            return Side(widest.size, 0, widest.padding, first, last, pixels)
        return Side(None, None, None, first, last, pixels)
    if len({(side.stride, side.size - 2 * side.padding) for side in wide}) > 1:
        paths = ", ".join(
            f"{call.follower.names[node]} (size {side.size}, stride {side.stride}, first centre {_centre(side):g})"
            for node, side in zip(nodes, wide, strict=True)
        )
        raise UnalignedError(
            f"{where_is(call.node)}: along the {('height', 'width')[n]}, paths are not aligned: {paths}"
        )
    widest = max(wide, key=lambda side: side.size)
    return Side(widest.size, widest.stride, widest.padding, first, last, pixels)


def _centre(side: Side) -> float:
    return (side.size - 1) / 2 - side.padding


_ACTIVATIONS = (
    "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish PReLU ReLU ReLU6 RReLU SELU "
    "SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink Threshold Identity Dropout Dropout2d AlphaDropout"
)
_ELEMENTWISE = (
    "celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish prelu relu relu_ relu6 selu "
    "silu sigmoid sigmoid_ softplus softshrink softsign tanh tanh_ tanhshrink threshold clamp clamp_ abs neg exp log "
    "sqrt square contiguous clone detach float double to"
)
_OPERATIONS = "add sub mul truediv iadd isub imul itruediv"
_JOINING = "add add_ sub sub_ mul mul_ div div_ maximum minimum"


def _named(where: Any, names: str) -> set:
    return {getattr(where, name) for name in names.split() if hasattr(where, name)}


RULES: tuple[tuple[set, Callable[[_Call], Any]], ...] = (
    ({nn.Conv2d, F.conv2d, torch.conv2d}, _convolution),
    ({nn.ConvTranspose2d, F.conv_transpose2d, torch.conv_transpose2d}, _transposed),
    ({nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, F.max_pool2d, F.avg_pool2d, torch.max_pool2d}, _pooling),
    ({nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, F.adaptive_avg_pool2d, F.adaptive_max_pool2d}, _adaptive),
    ({nn.Linear, F.linear}, _linear),
    ({nn.Flatten, torch.flatten, torch.reshape, "flatten", "view", "reshape"}, _flattened),
    ({nn.BatchNorm2d, nn.BatchNorm1d, nn.SyncBatchNorm, F.batch_norm}, _normalised),
    ({nn.LocalResponseNorm, F.local_response_norm}, _over_some_channels),
    ({nn.Softmax, nn.LogSoftmax, F.softmax, F.log_softmax, torch.softmax, "softmax", "log_softmax"}, _over_channels),
    ({F.dropout, F.dropout2d, torch.dropout}, _resting),
    ({nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, F.interpolate, F.upsample}, _enlarged),
    ({nn.ZeroPad2d, nn.ConstantPad2d, F.pad}, _padded),
    ({torch.mean, torch.sum, torch.amax, "mean", "sum", "amax"}, _whole),
    ({torch.cat, torch.concat}, _concatenated),
    ({torch.chunk, torch.split, "chunk", "split"}, _some_channels),
    ({operator.getitem}, _sliced),
    (_named(operator, _OPERATIONS) | _named(torch, _JOINING) | set(_JOINING.split()), _joined),
    (_named(nn, _ACTIVATIONS), _same),
    (_named(F, _ELEMENTWISE) | _named(torch, _ELEMENTWISE) | set(_ELEMENTWISE.split()), _same),
)  # fmt: skip
