"""A network as the list of elementary operations that it performs on one picture, without performing them.

torch.fx follows the network's code, torch's "meta" device, which knows only shapes, runs it, and a dispatch mode
writes down what arrives at torch's core ("aten"): a convolution is the same operation there, whether a module, a
function or a method asked for it. vgglib.tracing and vgglib.gradients read the list.
"""

import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vgglib.model import VGG, FullyConvolutional, unwrapped
from vgglib.modes import evaluation
from vgglib.receptive_field import UnknownReceptiveFieldError
from vgglib.sizes import whole


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of torch's core: its tensors hold shapes only and are told apart by identity."""

    function: torch._ops.OpOverload
    arguments: dict[str, object]  # by the names of torch's own schema, defaults included
    outputs: list[Tensor]
    where: str

    @cached_property
    def name(self) -> str:
        """Torch's name, such as "convolution" or "add_"."""
        return self.function.overloadpacket.__name__

    @cached_property
    def inputs(self) -> list[Tensor]:
        """Every tensor among the arguments, in their order."""
        return [value for value in tree_leaves(list(self.arguments.values())) if isinstance(value, Tensor)]

    @cached_property
    def written(self) -> list[str]:
        """The names of the arguments that the operation writes over."""
        schema = self.function._schema.arguments
        return [argument.name for argument in schema if argument.alias_info and argument.alias_info.is_write]


@dataclass(frozen=True, eq=False)
class Node:
    """One node of the network, done after the operations before it: the module's path or torch.fx's name."""

    name: str
    output: Tensor
    place: fx.Node


@dataclass(frozen=True)
class Recording:
    """What a network does with one picture: operations and nodes in the order of execution."""

    module: nn.Module
    picture: Tensor  # (1, channels, height, width), shape only
    events: list[Operation | Node]
    graph: fx.Graph
    constants: dict[str, Tensor]  # tensors that the code makes up, by the names that torch.fx gave them


def record(module: nn.Module, input_size: int | tuple[int, ...]) -> Recording:
    """Return what ``module`` does with one picture in evaluation mode. Nothing in it changes, no hook runs.

    input_size: a side in pixels, (height, width) or (channels, height, width); channels are read off the first
    convolution where they are not given. Raises UnknownReceptiveFieldError, with the path of the module, where
    torch.fx cannot follow the code, where the code asks for values, and where it cannot work on such a picture;
    ValueError, as the network itself, for pictures that a vgglib.model.VGG was not built for.
    """
    module = bare(module)
    shape = picture_shape(module, input_size)
    if isinstance(module, VGG | FullyConvolutional):  # torch.fx passes its check by
        module._check(torch.empty(1, *shape, device="meta"))
    if fx.Tracer().is_leaf_module(module, ""):
        module = nn.Sequential(module)  # torch.fx looks into networks, not into torch's own layers
    dtype = next((tensor.dtype for tensor in module.parameters() if tensor.is_floating_point()), torch.float32)
    with evaluation(module), as_it_was(module):
        graph, constants = _graph(module)
        with _on_meta(module), torch.device("meta"), torch.no_grad(), _Scribe() as scribe:
            recording = Recording(module, torch.empty(1, *shape, dtype=dtype), scribe.events, graph, constants)
            steps, uses = run(recording, recording.picture), Counter()
            for place in graph.nodes:
                scribe.where = _where(place, module)
                try:
                    _, output = next(steps)
                except Exception as error:
                    message = f"{scribe.where}, given a picture {shape}: {first_line(error)}"
                    raise UnknownReceptiveFieldError(message) from error
                if isinstance(output, Tensor) and place.op.startswith("call"):
                    scribe.events.append(Node(_name(place, uses), output, place))
    return recording


def run(recording: Recording, picture: Tensor) -> Iterator[tuple[fx.Node, object]]:
    """Yield each node of a recorded module with what it computes from ``picture``, (N, channels, height, width)."""
    interpreter = _Interpreter(recording.module, graph=recording.graph)
    interpreter.args_iter = iter([picture])
    for place in recording.graph.nodes:
        if place.op == "get_attr" and place.target in recording.constants:
            value = recording.constants[place.target].to(picture.device)
        else:
            value = interpreter.run_node(place)
        interpreter.env[place] = value
        yield place, value


@contextmanager
def as_it_was(module: nn.Module) -> Iterator[None]:
    """Put back what the network's code writes down while it is followed: attributes, lists and numbers in buffers."""
    kept = [(part, dict(vars(part)), dict(part._buffers)) for part in module.modules()]
    lists = [(value, [*value]) for _, attributes, _ in kept for value in attributes.values() if type(value) is list]
    for part, _, buffers in kept:
        for name, buffer in buffers.items():
            part._buffers[name] = None if buffer is None else buffer.clone()
    try:
        yield
    finally:
        for part, attributes, buffers in kept:
            part._buffers.update(buffers)
            for name in set(vars(part)) - set(attributes):
                del vars(part)[name]
            vars(part).update(attributes)
        for value, held in lists:
            value[:] = held


@contextmanager
def _on_meta(module: nn.Module) -> Iterator[None]:
    """Replace parameters and buffers by tensors that know only their shape, and put them back afterwards."""
    stores = [store for part in module.modules() for store in (part._parameters, part._buffers)]
    kept = [dict(store) for store in stores]
    try:
        for store in stores:
            for name, tensor in store.items():
                if tensor is not None:
                    store[name] = torch.empty_like(tensor, device="meta")
        yield
    finally:
        for store, tensors in zip(stores, kept, strict=True):
            store.update(tensors)


class _Interpreter(fx.Interpreter):
    """torch.fx's interpreter, but no hook runs: hooks expect real activations."""

    def call_module(self, target: str, args: tuple, kwargs: dict) -> object:
        return self.fetch_attr(target).forward(*args, **kwargs)


class _Scribe(TorchDispatchMode):
    """Writes down the operations that arrive at torch's core."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Operation | Node] = []
        self.where = ""

    def __torch_dispatch__(self, function: object, types: object, args: tuple = (), kwargs: dict | None = None):
        output = function(*args, **(kwargs or {}))
        schema = function._schema.arguments
        arguments = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
        arguments |= dict(zip((argument.name for argument in schema), args, strict=False)) | (kwargs or {})
        outputs = [value for value in tree_leaves(output) if isinstance(value, Tensor)]
        self.events.append(Operation(function, arguments, outputs, self.where))
        return output


class _Tracer(fx.Tracer):
    """torch.fx's tracer; after an error, the end of ``path`` is the module in which it happened."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.path = [type(module).__name__]

    def call_module(self, module: nn.Module, forward: object, args: tuple, kwargs: dict) -> object:
        self.path.append(f"{self.path_of_module(module)} ({type(module).__name__})")
        output = super().call_module(module, module.forward, args, kwargs)  # not by way of hooks
        self.path.pop()
        return output


def picture_shape(module: nn.Module, input_size: int | tuple[int, ...]) -> tuple[int, ...]:
    """Return (channels, height, width); ValueError for a size that is none."""
    sides = tuple(input_size) if isinstance(input_size, tuple | list) else (input_size, input_size)
    shape = tuple(whole(side, "a side of input_size") for side in sides)
    if len(shape) == 2:
        layers = (layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))
        channels = next((layer.in_channels for layer in layers), None)
        if channels is None:
            raise ValueError("give input_size as (channels, height, width): there is no convolution to read them off")
        shape = (channels, *shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_size is a side, (height, width) or (channels, height, width), got {input_size}")
    return shape


def bare(module: nn.Module) -> nn.Module:
    """Return the network that torch.compile, DataParallel or the like wraps; an nn.Sequential stays, for its names.

    Raises ValueError for what is no network.
    """
    if not isinstance(module, nn.Module):
        hint = f": write VGG({module!r})" if isinstance(module, str) else ""
        raise ValueError(f"expected a network, a torch.nn.Module, got {module!r}{hint}")
    return module if type(module) is nn.Sequential else unwrapped(module)


def _graph(module: nn.Module) -> tuple[fx.Graph, dict[str, Tensor]]:
    """Return the graph of the module's forward, optional arguments at their defaults, and its made-up tensors."""
    tracer, before = _Tracer(module), set(vars(module))
    try:
        _, *more = inspect.signature(module.forward).parameters.values()
        defaults = {at.name: at.default for at in more if at.kind not in (at.VAR_POSITIONAL, at.VAR_KEYWORD)}
        if missing := [name for name, default in defaults.items() if default is inspect.Parameter.empty]:
            raise TypeError(f"it needs {missing[0]!r} beside the picture: wrap it in a module that gives it")
        graph = tracer.trace(module, concrete_args=defaults or None)
    except Exception as error:
        message = f"{tracer.path[-1]}: torch.fx cannot follow its code: {first_line(error)}"
        raise UnknownReceptiveFieldError(message) from error
    finally:
        constants = {name: vars(module).pop(name) for name in set(vars(module)) - before}
    return graph, constants


def _where(place: fx.Node, module: nn.Module) -> str:
    """Return where a node stands, for messages: "layer1.0.conv1 (Conv2d)" or "add in layer1.0 (BasicBlock)"."""
    if place.op == "call_module":
        return f"{place.target} ({type(module.get_submodule(place.target)).__name__})"
    owners = place.meta.get("nn_module_stack") or {"": ("", type(module))}
    path, kind = list(owners.values())[-1]
    owner = f"{path} ({kind.__name__})" if path else kind.__name__
    return f"{place.name} in {owner}"


def _name(place: fx.Node, uses: Counter[str]) -> str:
    """Return the module's path, or torch.fx's name where there is none; a module's second use is "path (2)"."""
    name = str(place.target) if place.op == "call_module" else place.name
    uses[name] += 1
    return name if uses[name] == 1 else f"{name} ({uses[name]})"


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]
