"""What the operations of torch's core do with the pixels of a picture, in a few words.

Whatever a network computes comes down to some hundred operations, and those to a few ideas: elements are computed from
those of several tensors (joined), from all along a dimension (united), put elsewhere (moved), chained, or computed from
a few neighbours. vgglib.tracing carries this out on windows of pixels, vgglib.gradients on numbers. What is not listed
is refused.
"""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from vgglib.receptive_field import UnknownReceptiveFieldError
from vgglib.recording import Node, Operation, Recording

IDEAS = {  # elementwise is also all that torch itself calls pointwise
    "elementwise": "_native_batch_norm_legit_no_training _prelu_kernel _to_copy alias detach hardswish hardswish_ "
    "lift_fresh log_sigmoid_forward masked_fill masked_fill_ native_dropout rrelu_with_noise threshold_",
    "convolution": "convolution",
    "pool": "avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices",
    "adaptive_pool": "_adaptive_avg_pool2d adaptive_max_pool2d",
    "upsample": "upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    "pad": "constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
    "reduce": "amax amin linalg_vector_norm logsumexp max mean min norm prod std std_mean sum var var_mean",
    "spread": "_log_softmax _safe_softmax _softmax native_batch_norm native_layer_norm",
    "group_norm": "native_group_norm",
    "gate": "glu",
    "matrix": "addmm baddbmm bmm mm",
    "chain": "cat stack",
    "move": "channel_shuffle expand flip permute pixel_shuffle pixel_unshuffle repeat roll rot90 select slice split "
    "split_with_sizes squeeze t transpose unbind unfold unsafe_split unsqueeze",
    "reshape": "_reshape_alias _unsafe_view view",
    "restride": "as_strided_",
    "nothing": "empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like rand_like "
    "randn_like zeros_like",  # what they make does not depend on the picture
}
IDEA = {name: idea for idea, names in IDEAS.items() for name in names.split()}


def follow(recording: Recording, picture: object, on: SimpleNamespace) -> Iterator[tuple[Operation | Node, list]]:
    """Yield every operation and node that depends on the picture, with what its outputs become.

    picture: a value with a shape; on: how values are joined, united, moved and so on. Raises
    UnknownReceptiveFieldError, with the module's path, for what is not known.
    """
    found = {id(recording.picture): picture}
    for event in recording.events:
        if isinstance(event, Node):
            if found.get(id(event.output)) is not None:
                yield event, [found[id(event.output)]]
            continue
        parts = {id(tensor): found[id(tensor)] for tensor in event.inputs if id(tensor) in found}
        if not parts or IDEA.get(event.name) == "nothing":
            continue
        if None in parts.values() or event.written not in ([], ["self"]):
            raise UnknownReceptiveFieldError(f"{event.where}: {event.name} uses a by-product or an out=, not followed")
        results = _results(event, parts, on)
        if event.written and results[0] is not parts.get(id(event.outputs[0])):
            _refuse_shared_memory(event, recording)
        for n, tensor in enumerate(event.outputs):
            result = results[min(n, len(results) - 1)]
            found[id(tensor)] = result if result.shape == tensor.shape else None  # None: a by-product
        yield event, results


def _results(operation: Operation, parts: dict[int, object], on: SimpleNamespace) -> list:
    """Return what the outputs become, one value where it is the same for all; parts: the inputs' by identity."""
    a, shape = operation.arguments, operation.outputs[0].shape
    idea = "elementwise" if torch.Tag.pointwise in operation.function.tags else IDEA.get(operation.name)
    if idea == "elementwise":
        return [on.joined(list(parts.values()), shape)]
    if idea in ("matrix", "chain"):
        several = _matrix if idea == "matrix" else _chain
        return [several(operation, parts, on)]
    if idea is None or list(parts) != [id(operation.inputs[0])]:
        what = f"{operation.name} with weights made from the picture" if idea else operation.name
        how = " (it changes a tensor in place, as circular padding does)" if operation.written else ""
        raise UnknownReceptiveFieldError(f"{operation.where}: what torch's operation {what} sees is not known{how}")
    (value,) = parts.values()
    match idea:
        case "move":
            return on.moved(value, lambda tensor: _listed(operation.function(**{**a, "self": tensor})))
        case "reshape":
            return on.moved(value, lambda tensor: [tensor.reshape(shape)])
        case "reduce":
            united = on.united(value, _dimensions(operation, len(value.shape)))
            return on.moved(united, lambda tensor: [tensor.reshape(shape)])
        case "spread":
            return [on.joined([value, on.united(value, _dimensions(operation, len(shape)))], shape)]
        case "group_norm":
            (folded,) = on.moved(value, lambda tensor: [tensor.reshape(shape[0], a["group"], -1)])
            united = on.united(folded, [2])
            return [on.joined([value, *on.moved(united, lambda t: [t.expand(folded.shape).reshape(shape)])], shape)]
        case "gate":
            return [on.joined(on.moved(value, lambda tensor: tensor.chunk(2, a["dim"])), shape)]
        case "restride":
            if sum(length > 1 for length in shape) > 1 or [*shape] != a["size"]:
                raise UnknownReceptiveFieldError(f"{operation.where}: as_strided_ moves elements in memory")
            return [value]
    return [getattr(on, idea)(operation, value)]


def _dimensions(operation: Operation, count: int) -> Sequence[int]:
    """Return the dimensions over which an operation unites its input, which has ``count``."""
    a = operation.arguments
    if operation.name == "native_batch_norm":
        return [d for d in range(count) if d != 1] if a["training"] else []  # as instance normalisation does
    if operation.name == "native_layer_norm":
        return range(count - len(a["normalized_shape"]), count)
    if a.get("dim") is None or a["dim"] == []:
        return range(count)
    return [d % count for d in ([a["dim"]] if isinstance(a["dim"], int) else a["dim"])]


def _matrix(operation: Operation, parts: dict[int, object], on: SimpleNamespace) -> object:
    """Return a product of matrices: every element is computed from one row and one column."""
    a = operation.arguments
    factors = [(name, -1) for name in ("mat1", "batch1")] + [(name, -2) for name in ("mat2", "batch2")]
    factors.append(("self", None if {"mat1", "batch1"} & set(a) else -1))
    known = [(parts[id(a[name])], d) for name, d in factors if name in a and id(a[name]) in parts]
    united = [value if d is None else on.united(value, [len(value.shape) + d]) for value, d in known]
    return on.joined(united, operation.outputs[0].shape)


def _chain(operation: Operation, parts: dict[int, object], on: SimpleNamespace) -> object:
    """Return tensors one after the other along a dimension; those that do not depend on the picture see nothing."""
    dimension = operation.arguments["dim"] % operation.outputs[0].dim()
    tensors = [tensor for tensor in operation.arguments["tensors"] if tensor.numel()]
    values = [parts[id(tensor)] if id(tensor) in parts else on.nothing(tensor.shape) for tensor in tensors]
    if operation.name == "stack":
        values = [on.moved(value, lambda tensor: [tensor.unsqueeze(dimension)])[0] for value in values]
    return on.chained(values, dimension)


def _refuse_shared_memory(operation: Operation, recording: Recording) -> None:
    """Raise UnknownReceptiveFieldError where other tensors change with the one that an operation writes over."""
    target = operation.arguments["self"]
    memory = target.untyped_storage()._cdata
    before = recording.events[: recording.events.index(operation)]
    others = (tensor for event in before if isinstance(event, Operation) for tensor in (*event.inputs, *event.outputs))
    if any(other is not target and other.untyped_storage()._cdata == memory for other in others):
        raise UnknownReceptiveFieldError(
            f"{operation.where}: {operation.name} writes into memory that other tensors share, such as a slice, and "
            "what those see cannot be followed: write it without changing a tensor in place"
        )


def _listed(output: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return [output] if isinstance(output, Tensor) else output
