"""Bytes that a network holds while it is used or trained: predicted from its layers, and counted by torch.

Counted are tensors: not what libraries need beside them, such as the workspace of a convolution. Taught in chapter 08.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vgglib.cost import cost
from vgglib.model import VGG
from vgglib.recording import bare
from vgglib.sizes import whole

PURPOSES: dict[str, tuple[int, int]] = {  # numbers kept for each parameter, besides itself: gradients, optimiser
    "inference": (0, 0),
    "SGD": (1, 0),
    "SGD with momentum": (1, 1),
    "Adam": (1, 2),
}


@dataclass(frozen=True)
class Memory:
    """What a step on one batch holds, in bytes."""

    parameters: int
    gradients: int
    optimiser: int  # momentum, or Adam's two averages
    activations: int  # training: all that waits for the backward pass; inference: the most at one time
    update: int = 0  # what the optimiser works out on the way, when the activations are gone

    @property
    def total(self) -> int:
        """The sum of the first three, and the larger of the other two, which take turns."""
        return self.parameters + self.gradients + self.optimiser + max(self.activations, self.update)


def memory(net: VGG, batch: int = 1, purpose: str = "SGD with momentum") -> Memory:
    """Return what a step of ``net`` on ``batch`` pictures in its number format holds, predicted from its layers.

    purpose: a key of PURPOSES. Adam's update is that of torch's default on a CPU, two copies of the largest parameter
    at a time; on a GPU the default takes one copy of all. Nothing is computed: the network may be on torch's "meta"
    device. The first layers may be frozen (requires_grad False): nothing of them waits for the backward pass. Raises
    ValueError for an unknown purpose, a batch that is no whole number from 1 on, a network that is no VGG or in
    anything but float32 or float64, frozen layers behind trained ones, and a network with local response normalisation,
    of which torch keeps several intermediate results not counted here.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"unknown purpose {purpose!r}: choose from {', '.join(PURPOSES)}")
    if (batch := whole(batch, "batch")) < 1:
        raise ValueError(f"a batch has at least one picture, got {batch}")
    if not isinstance(net := bare(net), VGG):
        kind = f"{type(net).__name__} of {type(net).__module__.partition('.')[0]}"
        raise ValueError(f"memory is predicted for a vgglib.model.VGG, got a {kind}: cost counts others")
    if any(isinstance(layer, nn.LocalResponseNorm) for layer in net.modules()):
        raise ValueError("local response normalisation keeps more than its output: its memory is not predicted here")
    known = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Linear, nn.Dropout)
    for layer in [*net.features, *net.classifier]:
        if not isinstance(layer, known) or getattr(layer, "output_size", 1) not in (1, (1, 1)):
            raise ValueError(f"what a {type(layer).__name__} keeps is not predicted here: only a VGG's layers' is")
    formats = {parameter.dtype for parameter in net.parameters()}
    if formats not in ({torch.float32}, {torch.float64}):
        found = ", ".join(sorted(str(one).removeprefix("torch.") for one in formats)) or "no parameters"
        raise ValueError(f"memory is predicted for networks in float32 or float64, got {found}")
    size = formats.pop().itemsize
    held = size * sum(parameter.numel() for parameter in net.parameters())
    counts = [parameter.numel() for parameter in net.parameters() if parameter.requires_grad]
    gradients, optimiser = PURPOSES[purpose]
    activations = _at_once(net, batch, size) if purpose == "inference" else _kept(net, batch, size)
    update = 2 * size * max(counts) if purpose == "Adam" else 0
    return Memory(held, gradients * size * sum(counts), optimiser * size * sum(counts), activations, update)


def _kept(net: VGG, batch: int, size: int) -> int:
    """Return the bytes that the backward pass waits for: outputs, where each maximum was, dropout, the loss."""
    table = cost(net, (net.in_channels, *net.image_size), size)
    rows, per_picture, once = iter(table[1:]), 8, size  # the label is 8 bytes wide; the loss was divided by a number
    values, before, waits = table[0].activation_bytes, None, False
    for layer in [*net.features, *net.classifier]:
        if _is_trained(layer, waits) and not waits:
            waits, per_picture = True, per_picture + values  # the way back ends here, with what this layer read
        if waits and isinstance(layer, nn.AdaptiveAvgPool2d) and isinstance(before, nn.MaxPool2d):
            per_picture -= values  # a mean over the map needs its size alone on the way back, and so do the maxima
        before = layer
        if isinstance(layer, nn.Dropout):
            per_picture += values if waits and layer.p else 0  # its output
            per_picture += values if waits and 0 < layer.p < 1 else 0  # and what it multiplied by:
            once += size if waits and layer.p == 1 else 0  # a single zero, if all is dropped
        elif not isinstance(layer, nn.ReLU):  # which needs its output alone, as the next layer does
            values = next(rows).activation_bytes
            if waits:
                per_picture += values
                per_picture += 8 * values // size if isinstance(layer, nn.MaxPool2d) else 0  # each maximum's position
                once += 2 * size * layer.num_features if isinstance(layer, nn.BatchNorm2d) else 0  # mean and spread
    if not waits:
        raise ValueError("nothing of this network is trained: all its parameters are frozen")
    return batch * per_picture + once


def _is_trained(layer: nn.Module, waits: bool) -> bool:
    """Return whether a layer has parameters that are trained; ValueError for frozen ones among or behind such."""
    trained = {parameter.requires_grad for parameter in layer.parameters()}
    if len(trained) == 2 or (waits and trained == {False}):
        raise ValueError(f"memory is predicted where only the first layers are frozen: not so for this {layer}")
    return trained == {True}


def _at_once(net: VGG, batch: int, size: int) -> int:
    """Return the bytes of the picture, and of the input and the output of the layer where they are most together."""
    table = cost(net, (net.in_channels, *net.image_size), size)
    before, most = 0, 0  # the first layer's input is the picture
    for row in table[1:]:
        positions = 8 * row.activation_bytes // size if row.kind == "MaxPool2d" else 0  # found even if nobody asks
        most = max(most, before + row.activation_bytes + positions)
        before = row.activation_bytes
    return batch * (table[0].activation_bytes + most)


def kept_for_backward(net: nn.Module, X: Tensor, y: Tensor) -> int:
    """Return the bytes that torch keeps for the backward pass of the cross-entropy, parameters and buffers left out.

    Torch itself hands over each tensor that it saves; tensors that share their memory count once.
    """
    own = {tensor.untyped_storage()._cdata for tensor in [*net.parameters(), *net.buffers()]}
    saved = {}

    def see(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = storage  # held, so that its address is not given away again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor):
        F.cross_entropy(net(X), y)
    return sum(storage.nbytes() for storage in saved.values())


def peak(work: Callable[[], object], there: Iterable[Tensor] = ()) -> int:
    """Return the most bytes of tensors alive at one time while ``work()`` runs, those that are ``there`` included.

    Every tensor that an operation of torch's core returns is counted until its memory is given back. Works on the
    "meta" device, where it needs no memory itself.
    """
    with _Live() as live:
        for tensor in there:
            live.meet(tensor)
        work()
    return live.peak


class _Live(TorchDispatchMode):
    """Follows the memory of tensors from their birth to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakValueDictionary = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.meet(tensor)
        return out

    def meet(self, tensor: Tensor) -> None:
        """Count a tensor's memory, if it is new, until it is given back."""
        storage = tensor.untyped_storage()
        if self._known.get(storage._cdata) is storage:
            return
        self._known[storage._cdata] = storage
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self.now -= size
