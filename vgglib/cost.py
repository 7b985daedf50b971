"""What a network costs: parameters, multiply-accumulates (MACs) and activation bytes, layer by layer.

A MAC is one multiplication and one addition; FLOPs, where others print them, are usually twice as many.
Counted are convolutions, transposed ones, too, and linear layers, as the field does; pooling, normalisation, ReLU,
biases and parameters outside of layers cost no MACs. Nothing is computed: the network runs on torch's "meta" device,
which knows only shapes.
"""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from vgglib.modes import evaluation
from vgglib.recording import as_it_was, bare, first_line, picture_shape
from vgglib.sizes import whole
from vgglib.tables import as_html, as_text

BLIND = {"mv", "addmv", "dot", "vdot", "_trilinear", "deform_conv2d", "_cdist_forward", "_euclidean_dist"}
IN_PLACE = (nn.ReLU, nn.Dropout, nn.Flatten, nn.Identity)  # no row: they write over their input, or hand it on


class UnknownCostError(ValueError):
    """A network that computes in a place where its layers cannot be counted."""


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer for one picture."""

    name: str
    kind: str
    output_shape: tuple[int, ...]  # without the batch
    parameters: int
    macs: int
    activation_bytes: int  # of the output, four bytes a value unless said otherwise


class CostTable(list[LayerCost]):
    """The costs of a network's layers, input side first, with totals; prints as a table."""

    @property
    def parameters(self) -> int:
        """Parameters of all layers."""
        return sum(row.parameters for row in self)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one picture."""
        return sum(row.macs for row in self)

    @property
    def activation_bytes(self) -> int:
        """Bytes of the input and of every layer's output for one picture."""
        return sum(row.activation_bytes for row in self)

    def _rows(self) -> list[tuple[str, ...]]:
        rows = [("layer", "kind", "output", "parameters", "MACs", "activation bytes")]
        for row in self:
            counts = (f"{count:,}" for count in (row.parameters, row.macs, row.activation_bytes))
            rows.append((row.name, row.kind, " x ".join(map(str, row.output_shape)), *counts))
        return [*rows, ("total", "", "", f"{self.parameters:,}", f"{self.macs:,}", f"{self.activation_bytes:,}")]

    def __str__(self) -> str:
        return as_text(self._rows())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self._rows())


def cost(
    module: nn.Module, input_size: int | tuple[int, int] | tuple[int, int, int], bytes_per_value: int = 4
) -> CostTable:
    """Return the cost of each layer of ``module`` for one picture, the picture itself first.

    input_size: a side in pixels, (height, width) or (channels, height, width); channels are read off the first
    convolution where they are not given. A layer used twice costs its MACs twice and its parameters once. Activation
    bytes are of outputs that a forward pass makes, not of what is kept for the backward pass. Every ReLU is taken to
    write over its input, as in a VGG: a plain nn.ReLU(), which does not, makes one output more. Parameters
    of unused layers, such as a classifier for training only, and outside of layers have rows at the end, with 0 MACs.
    Counted are nn.Conv2d, nn.ConvTranspose2d, nn.Linear and layers that do not multiply; what torch.compile or
    DataParallel wraps is looked into. Raises UnknownCostError, naming what is missing, if the network multiplies
    elsewhere, and for layers without shapes (Lazy), with weights computed anew (weight_norm), or in TorchScript;
    ValueError unless bytes_per_value is a whole number from 1 on.
    """
    if (bytes_per_value := whole(bytes_per_value, "bytes_per_value")) < 1:
        raise ValueError(f"bytes_per_value must be 1 or more, got {bytes_per_value}")
    module = bare(module)
    _expect_countable(module)
    shape = picture_shape(module, input_size)
    rows = CostTable([LayerCost("input", "input", shape, 0, 0, _values(shape) * bytes_per_value)])
    seen: set[int] = set()

    def record(name: str):
        def hook(layer: nn.Module, inputs: object, output: object) -> None:
            if not isinstance(output, torch.Tensor):
                raise UnknownCostError(f"{name} ({type(layer).__name__}) returns a {type(output).__name__}, no tensor")
            if name and not originals[name] and _shared(output, inputs):
                return  # what comes out is what went in: Dropout2d, StochasticDepth, an empty nn.Sequential
            new = [parameter for parameter in originals[name] if id(parameter) not in seen]
            seen.update(map(id, new))
            out = tuple(output.shape[1:])
            count, size = sum(parameter.numel() for parameter in new), output.numel() * bytes_per_value
            macs = _macs(layer, tuple(inputs[0].shape[1:]), out)
            rows.append(LayerCost(name, type(layer).__name__, out, count, macs, size))

        return hook

    leaves = {name: leaf for name, leaf in module.named_modules() if not any(leaf.children())}
    originals = {name: list(leaf.parameters()) for name, leaf in leaves.items()}
    counted = {name: leaf for name, leaf in leaves.items() if not isinstance(leaf, IN_PLACE)}
    hooks = [leaf.register_forward_hook(record(name)) for name, leaf in counted.items()]
    tensors = {  # each place once, however many names lead to it: torch would put the second name's stand-in back
        f"{path}.{name}" if path else name: torch.empty_like(tensor, device="meta")
        for path, part in module.named_modules()
        for kind in (part.named_parameters, part.named_buffers)
        for name, tensor in kind(recurse=False, remove_duplicate=False)
    }
    dtype = next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), torch.float32)
    picture, watch = torch.empty(1, *shape, device="meta", dtype=dtype), _Watch()
    try:
        with evaluation(module), as_it_was(module), torch.no_grad(), torch.device("meta"):
            with FlopCounterMode(display=False) as flops, watch:
                torch.func.functional_call(module, tensors, (picture,), tie_weights=False)
    except UnknownCostError:
        raise
    except Exception as error:  # whatever the network raises
        hint = "" if isinstance(input_size, tuple | list) and len(input_size) == 3 else ", channels guessed"
        message = f"{type(module).__name__}, given a picture {shape}{hint}: {first_line(error)}"
        raise UnknownCostError(message) from error
    finally:
        for hook in hooks:
            hook.remove()
    if blind := sorted(watch.seen & BLIND):
        raise UnknownCostError(f"{type(module).__name__} multiplies by {blind[0]}, whose MACs torch does not count")
    if flops.get_total_flops() != 2 * rows.macs:
        raise UnknownCostError(
            f"the layers of {type(module).__name__} account for {rows.macs:,} of {flops.get_total_flops() // 2:,} "
            f"MACs: {_unknown(module, leaves, rows, flops)}"
        )
    for path, part in module.named_modules():
        if left := [parameter for parameter in part.parameters(recurse=False) if id(parameter) not in seen]:
            seen.update(map(id, left))
            kind = f"{type(part).__name__}, {'unused' if path in leaves else 'outside of layers'}"
            rows.append(LayerCost(path, kind, (), sum(parameter.numel() for parameter in left), 0, 0))
    return rows


def _expect_countable(module: nn.Module) -> None:
    """Raise UnknownCostError for a network of which no layer could be counted, whatever it computes."""
    if isinstance(module, torch.jit.ScriptModule):
        raise UnknownCostError("this network is TorchScript, which hides its layers: give the one it was made of")
    for name, part in module.named_modules():
        where = f"{name or 'it'} ({type(part).__name__})"
        if isinstance(part, nn.modules.lazy.LazyModuleMixin) and part.has_uninitialized_params():
            raise UnknownCostError(f"{where} has no shape yet: send one batch through the network first")
        if nn.utils.parametrize.is_parametrized(part):
            raise UnknownCostError(
                f"{where} computes its weights anew at each use (weight_norm or the like): take that off first, by "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )


class _Watch(TorchDispatchMode):
    """Notes which operations arrive at torch's core."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, function: object, types: object, args: tuple = (), kwargs: dict | None = None):
        self.seen.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


def _shared(output: torch.Tensor, inputs: tuple) -> bool:
    """Return whether an output lies in the memory of an input."""
    tensors = [one for one in inputs if isinstance(one, torch.Tensor)]
    return any(output.untyped_storage()._cdata == one.untyped_storage()._cdata for one in tensors)


def _unknown(module: nn.Module, leaves: dict[str, nn.Module], rows: CostTable, flops: FlopCounterMode) -> str:
    """Return the end of the sentence on a network that multiplies where cost() cannot count: the first such layer."""
    counted, top = Counter[str](), type(module).__name__
    for row in rows:
        counted[row.name] += 2 * row.macs
    for name, leaf in leaves.items():
        found = flops.get_flop_counts().get(f"{top}.{name}" if name else top, {})
        if sum(found.values()) != counted[name]:
            return f"{name or 'it'} ({type(leaf).__name__}) is no layer that cost() knows"
    return "it multiplies outside of convolutions and linear layers"


def _macs(layer: nn.Module, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of one layer for one picture."""
    if isinstance(layer, nn.ConvTranspose2d):  # each value of its input goes to a whole kernel of the output
        kernel = layer.kernel_size[0] * layer.kernel_size[1]
        return _values(input_shape) * kernel * layer.out_channels // layer.groups
    if isinstance(layer, nn.Conv2d):
        kernel = layer.kernel_size[0] * layer.kernel_size[1]
        return _values(output_shape) * kernel * layer.in_channels // layer.groups
    if isinstance(layer, nn.Linear):
        return _values(output_shape) * layer.in_features
    return 0


def _values(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()
