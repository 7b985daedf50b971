"""Trained networks on disk: safetensors with their description inside. Nothing is ever unpickled."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from vgglib.clone import IN_CLONE, LEFT_OUT, ROOT
from vgglib.durable import write_durably
from vgglib.model import VGG, unwrapped

FORMAT = "vgglib network 1"
NETWORKS = ROOT / "data" / "networks"


class CheckpointError(RuntimeError):
    """A file of weights that cannot be used; the message says what is wrong with it."""


def save_network(net: VGG, path: str | os.PathLike, about: dict | None = None) -> str:
    """Write the network with what is needed to build it again, and return the SHA-256 of the file.

    about: whatever should be known of it (recipe, seed, accuracy), as plain JSON values; the names of its classes,
    ``net.classes``, are added where there is one for each score. The file appears whole or not at all. What
    torch.compile gave is saved as the network in it. Raises OSError if the folder cannot be written; ValueError for any
    other kind of network, for a VGG whose layers were exchanged, since load_network would build it without that, for
    weights that are not finite, and for classes that are no such names.
    """
    net = unwrapped(net)
    if not isinstance(net, VGG):
        raise ValueError(
            f"expected a vgglib.model.VGG, got a {type(net).__name__}: for others, torch.save(net.state_dict(), path)"
        )
    path, build = Path(path), _build(net)
    named = net.classes and len(net.classes) == build["num_classes"]  # else they are those of a layer that it had
    about = ({"classes": list(net.classes)} if named else {}) | (about or {})
    _classes(about.get("classes"), build["num_classes"])
    described = {
        "format": FORMAT,
        "build": json.dumps(build),
        "mean": json.dumps(net.mean.flatten().tolist()),
        "std": json.dumps(net.std.flatten().tolist()),
        "about": json.dumps(about),
    }
    _statistics(net)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    if broken := not_finite(tensors):
        raise ValueError(f"{broken} holds numbers that are not finite: load_network would refuse {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, _in_order(save(tensors, metadata=described)))
    return digest(path)


def _build(net: VGG) -> dict:
    """Return the arguments that build ``net``; ValueError, naming the first that differs, if they build another one."""
    remedy = "load_network would build another network; torch.save(net.state_dict(), path) keeps the weights alone"
    try:
        build = {
            "configuration": net.configuration,
            "in_channels": net.in_channels,
            "num_classes": net.classifier[-1].out_features,
            "image_size": list(net.image_size),
            "width": net.width,
            "hidden": net.classifier[0].out_features,
            "batch_norm": any(isinstance(module, nn.BatchNorm2d) for module in net.features),
            "dropout": net.classifier[2].p,
        }
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"the classifier is not that of a VGG: {remedy}") from error
    with torch.device("meta"):
        built = VGG(**{**build, "image_size": tuple(build["image_size"])})
    plain = {"": VGG, "features": nn.Sequential, "classifier": nn.Sequential}
    for name, module in net.named_modules():
        kind = plain.get(name, type(module))
        if type(module).forward is not kind.forward or "forward" in vars(module):
            raise ValueError(f"{name or type(net).__name__} has a forward of its own: {remedy}")
    theirs, ours = _described(net), _described(built)
    for name in [*ours, *theirs]:
        if theirs.get(name) != ours.get(name):
            there, here = (side.get(name, "nothing") for side in (theirs, ours))
            raise ValueError(f"{name} is {there}, where configuration {net.configuration} has {here}: {remedy}")
    return build


_COMPUTES = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode", "ceil_mode")
_COMPUTES += ("eps", "momentum", "p", "size", "alpha", "beta", "k")


def _described(net: nn.Module) -> dict[str, str]:
    """Return, by name, what each layer computes, and the shapes of its parameters and buffers."""
    found = {}
    for name, module in net.named_modules():
        if not any(module.children()):
            settings = [(what, getattr(module, what, None)) for what in _COMPUTES]
            said = [f"{what}={_pair(value)}" for what, value in settings if value is not None]
            said += [f"{what} {tuple(tensor.shape)}" for what, tensor in module.state_dict().items()]
            found[name] = f"{type(module).__name__}({', '.join(said)})"
    return found


def _statistics(net: VGG) -> None:
    """Raise ValueError for a mean that is not finite, and a standard deviation that is not above 0."""
    for name, buffer, right in (("mean", net.mean, net.mean.isfinite()), ("std", net.std, net.std > 0)):
        if not (right & buffer.isfinite()).all():
            raise ValueError(
                f"the network's {name} is {buffer.flatten().tolist()}: no picture could be prepared with it"
            )


def _pair(value: object) -> object:
    """Return 3 for (3, 3), which torch takes to be the same."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its description in order; safetensors draws one, and the digest would differ."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    ordered += b" " * (-len(ordered) % 8)
    return len(ordered).to_bytes(8, "little") + ordered + content[end:]


def load_network(path: str | os.PathLike, sha256: str | None = None) -> VGG:
    """Return the network that save_network wrote, in evaluation mode, its description as ``net.about``.

    The names of its classes are in ``net.classes``, None where the file has none. Weights stored in half precision
    come as float32, those in float64 as they are.

    sha256: the digest that the file must have. Raises CheckpointError, naming the file, if it is missing, damaged,
    of another kind, or holds weights that are not finite.
    """
    path = _file(path, "network.safetensors")
    if sha256 is not None and digest(path) != sha256:
        raise CheckpointError(f"{path.name} is damaged (sha256 {digest(path)[:12]}..., expected {sha256[:12]}...)")
    try:
        with safe_open(path, framework="pt") as file:
            described = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError) as error:
        other = "; vgglib.checkpoint.load_pt reads weights of others" if path.suffix in (".pt", ".pth") else ""
        raise CheckpointError(f"{path.name} is damaged or no safetensors file: {error}{other}") from error
    kind = described.get("format")
    if str(kind).startswith("vgglib run "):
        raise CheckpointError(
            f"{path.name} is the saved state of a run, not a network: fit(..., checkpoint={str(path.parent)!r}) goes "
            "on from it, and so does python -m vgglib resume"
        )
    if kind != FORMAT:
        raise CheckpointError(f"{path.name} was not written by vgglib (format {kind!r})")
    if broken := not_finite(tensors):
        raise CheckpointError(f"{path.name}: {broken} holds numbers that are not finite")
    try:
        build = json.loads(described["build"])
        with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are replaced at once
            net = VGG(**{**build, "image_size": tuple(build["image_size"])})
        if any(tensor.dtype == torch.float64 for tensor in tensors.values()):
            net.double()
        net.load_state_dict(tensors)
        for buffer, values in ((net.mean, described["mean"]), (net.std, described["std"])):
            buffer.copy_(buffer.new_tensor(json.loads(values)).view_as(buffer))
        _statistics(net)
        net.about = {**json.loads(described["about"])}
        net.classes = _classes(net.about.get("classes"), net.classifier[-1].out_features)
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} is damaged: weights and description do not fit: {error}") from error
    return net.eval()


def _file(path: str | os.PathLike, inside: str = "") -> Path:
    """Return the path of a file that is there; CheckpointError, which names the file ``inside`` a folder, if not."""
    path = Path(path)
    if path.is_dir():
        there = f", such as {path / inside}" if inside and (path / inside).is_file() else ""
        raise CheckpointError(f"{path} is a folder: give a file in it{there}")
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    return path


def _classes(names: object, count: int) -> tuple[str, ...] | None:
    """Return the names of a network's classes, None where it has none; ValueError for what are no ``count`` names."""
    if not names:
        return None
    if not isinstance(names, list | tuple) or len(names) != count or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{names!r} are no names of {count} classes, a string each")
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(f"classes name {twice[0]!r} twice")
    return tuple(names)


def load_pt(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """Return the tensors by name in a ``.pt`` or ``.pth`` file of others, on the CPU: net.load_state_dict takes them.

    Such files are pickles, which can run anything when they are opened; this one is read as tensors and plain values
    only. A dictionary with the weights under "state_dict", "model" or "model_state_dict" is understood as well, and
    the prefix "module." that several GPUs leave is taken off. Raises CheckpointError, naming the file, for whole
    modules, for other objects, for tensors that are no plain numbers, and for damage: every byte is checked where torch
    wrote a zip file, as it has since 1.6 (one that was told to leave the checksums out counts as damaged); files that
    are older have none, and bits that flipped in their numbers show only where one is not finite. ``load_network`` is
    for our own files.
    """
    path = _file(path)
    _expect_whole(path)
    refused = None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        refused = f"{path.name} is damaged, or no file of weights: {(str(error) or 'it is empty').splitlines()[0]}"
    except Exception:  # torch's own words would advise to run what is in the file: ours stand alone
        refused = (
            f"{path.name} holds more than weights (a whole network, or other objects), or is no file of weights at "
            "all; opening it could run code, and nothing was run. Ask its author for torch.save(net.state_dict(), ...)"
        )
    if refused:
        raise CheckpointError(refused)
    for name in ("state_dict", "model", "model_state_dict"):
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found or not all(map(_is_weight, found, found.values())):
        raise CheckpointError(f"{path.name} holds no weights by name: {_kinds(found)}")
    plain = {name.removeprefix("module."): tensor for name, tensor in found.items()}
    if twice := [name for name in plain if name in found and f"module.{name}" in found]:
        raise CheckpointError(f"{path.name} holds {twice[0]!r} and 'module.{twice[0]}': one of them would be lost")
    if broken := not_finite(plain):
        raise CheckpointError(f"{path.name}: {broken} holds numbers that are not finite")
    return plain


def not_finite(tensors: dict[str, torch.Tensor]) -> str | None:
    """Return the name of the first tensor with a number that is not finite."""
    return next((name for name, tensor in tensors.items() if not _is_finite(tensor)), None)


def _is_finite(tensor: torch.Tensor) -> bool:
    """Return whether all numbers are finite: without copies of the tensor, which isfinite makes, where that can be."""
    if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64) and tensor.numel():
        return all(end.isfinite().item() for end in tensor.aminmax())  # nan is both ends
    return bool(tensor.isfinite().all())


def _expect_whole(path: Path) -> None:
    """Raise CheckpointError for a zip file that its own checksums contradict; torch does not look at them."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
    except Exception as error:  # whatever a parser meets in damaged bytes
        broken = str(error)
    if broken is not None:
        raise CheckpointError(f"{path.name} is damaged ({broken}): get it again from where it came")


def _is_weight(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, torch.Tensor) and not _unusual(value)


def _unusual(tensor: torch.Tensor) -> str:
    """Return what makes a tensor none of plain numbers, "" if nothing does."""
    if tensor.layout is not torch.strided:
        return f", layout {tensor.layout}"
    if tensor.is_meta:
        return ", on the device meta, without numbers"
    narrow = tensor.is_floating_point() and tensor.dtype.itemsize == 1  # float8, which torch cannot compute with
    return f", {tensor.dtype}" if narrow or tensor.is_quantized else ""


def _kinds(found: object) -> str:
    """Return in words what a file holds in place of weights by name: the kind, and of a dictionary the first oddity."""
    if not isinstance(found, dict) or not found:
        return f"a {type(found).__name__}" if not isinstance(found, dict) else "an empty dictionary"
    name, value = next((name, value) for name, value in found.items() if not _is_weight(name, value))
    if not isinstance(name, str):
        return f"its key {name!r} is no name"
    unusual = _unusual(value) if isinstance(value, torch.Tensor) else ""
    return f"{name!r} is of type {type(value).__name__}{unusual}"


def digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped(name: str) -> VGG:
    """Return a trained network that comes with the book, verified: ``shipped("laptop")``.

    Its recipe, seed and measured accuracy are in ``net.about``; its classes are Fashion-MNIST's. Raises CheckpointError
    listing what there is, and where the book's networks are not installed.
    """
    from vgglib.data import CLASSES

    if not IN_CLONE:
        raise CheckpointError(f"{name!r} is no file here, and the book's networks are {LEFT_OUT}")
    listed = json.loads((NETWORKS / "networks.json").read_text(encoding="utf-8"))
    if name not in listed:
        raise CheckpointError(f"no network called {name!r} is shipped: choose from {', '.join(listed)}")
    net = load_network(NETWORKS / f"{name}.safetensors", listed[name]["sha256"])
    net.classes = net.classes or CLASSES  # the older files name none
    return net
