"""What pictures must undergo before a network takes them: less its mean, over its spread, laid out as it is fastest."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vgglib.devices import fast_channels_last
from vgglib.model import VGG, FullyConvolutional, unwrapped

_NO_PIXEL = 16  # nothing in 0..1 comes so far, also with shifted colours; pixels in 0..255 go beyond it


def prepared(net: nn.Module, pictures: Tensor) -> Tensor:
    """Return pictures in 0..1 less the network's mean, over its standard deviation (0 and 1 where it has none).

    pictures: floats (N, C, H, W), as vgglib.augment's view and whole give them; what comes back has the number format
    of the network's weights. A VGG inside of another module, such as what DistributedDataParallel, torch.compile or
    nn.Sequential made of it, is found, and so is what torch.jit and torch.export made of one. A network of your own
    that has buffers ``mean`` and ``std`` says by ``takes_prepared`` whether its pictures should come so (True), or it
    takes them off itself (False). Raises ValueError if it does not say, for a torch.fx module without them, for two
    networks with unlike ones in one module, for another number of channels, which the subtraction would otherwise
    spread one over, for whole numbers, and for pixels in 0..255 (on a CPU; a GPU would have to wait for that look).
    """
    weight = next(net.parameters(), None)
    net = _with_statistics(net)
    channels = pictures.shape[1] if net is None else net.mean.shape[1]
    if pictures.shape[1] != channels:
        raise ValueError(f"the network was built for {channels} channels, the pictures have {pictures.shape[1]}")
    if not pictures.is_floating_point():
        raise ValueError(f"expected pictures in 0..1, got {pictures.dtype}: divide by 255")
    if pictures.device.type == "cpu" and pictures.numel() and (most := pictures.detach().amax().item()) > _NO_PIXEL:
        raise ValueError(f"expected pictures in 0..1, got values up to {most:g}: divide by 255")
    found = pictures if net is None else (pictures - net.mean) / net.std
    return found.to(weight.dtype) if weight is not None and weight.is_floating_point() else found


def laid_out(net: nn.Module, X: Tensor, bf16: bool | None = None) -> Tensor:
    """Return prepared pictures (N, C, H, W) with the same values, in memory as the network's convolutions are fastest.

    bf16: whether it computes in bfloat16; by default as torch's autocast is set here.

    That is with all channels of a pixel side by side, where vgglib.devices.fast_channels_last says so; the maps of all
    layers then follow, however the weights lie. Only a VGG of torch's layers and ours gets its pictures so: a layer of
    your own may want to view its maps as rows, which torch then refuses.
    """
    known = type(unwrapped(net)) in (VGG, FullyConvolutional) and takes_any_layout(net)
    faster = known and fast_channels_last(X.device, torch.is_autocast_enabled(X.device.type) if bf16 is None else bf16)
    return X.to(memory_format=torch.channels_last) if faster else X


def takes_any_layout(net: nn.Module) -> bool:
    """Return whether a network computes with channels last, too: all its modules are torch's, written out, or ours.

    A module of your own may want to view its maps as rows, which torch refuses where they lie so.
    """
    traced, modules = (torch.jit.ScriptModule, torch.fx.GraphModule), [*unwrapped(net).modules()]
    ours = all(type(module).__module__.partition(".")[0] in ("torch", "vgglib") for module in modules)
    return ours and not any(isinstance(module, traced) for module in modules)


def _with_statistics(net: nn.Module) -> nn.Module | None:
    """Return the network inside of ``net`` whose mean and standard deviation the pictures want, None for 0 and 1."""
    net, inside = unwrapped(net), list(_that_take_prepared(net))
    has = hasattr(net, "mean") and hasattr(net, "std")
    if net not in inside and not _says(net) and (has or isinstance(net, torch.fx.GraphModule)):
        raise ValueError(
            f"a {type(net).__name__} has a mean and a std: set its takes_prepared to True if its pictures should come "
            "less that mean, over that std, and to False if it does so itself"
            if has
            else "torch.fx leaves a network's mean and std behind: set them, net.mean, net.std = its.mean, its.std, "
            "and net.takes_prepared = True; or net.takes_prepared = False, if it takes pictures in 0..1"
        )
    for other in inside[1:]:
        if not (torch.equal(inside[0].mean, other.mean) and torch.equal(inside[0].std, other.std)):
            raise ValueError(
                f"two networks inside of this {type(net).__name__} want pictures less unlike means: let each prepare "
                "its own in forward, and set takes_prepared = False"
            )
    return inside[0] if inside else None


def _says(module: nn.Module) -> bool:
    return getattr(module, "takes_prepared", None) is not None


def _that_take_prepared(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost modules whose pictures come prepared, none from inside of one that prepares them itself."""
    if _takes_prepared(module):
        yield module
    elif not _says(module):
        for child in module.children():
            yield from _that_take_prepared(child)


def _takes_prepared(module: nn.Module) -> bool:
    """Return whether a module says, or torch.jit or torch.export say for it, that its pictures come prepared."""
    if _says(module):
        return module.takes_prepared is True and hasattr(module, "mean") and hasattr(module, "std")
    if not hasattr(module, "mean") or not hasattr(module, "std"):
        return False
    if isinstance(module, torch.jit.ScriptModule):
        return module.original_name in ("VGG", "FullyConvolutional", "LeNet5")
    if isinstance(module, torch.fx.GraphModule):  # torch.export keeps what forward does not use
        used = {node.target for node in module.graph.nodes if node.op == "get_attr" and node.users}
        return not used & {"mean", "std"}
    return False
