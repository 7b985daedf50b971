"""The modes of a network, training or evaluation, as they were, after somebody has looked at it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from torch import nn


@contextmanager
def kept_modes(net: nn.Module) -> Iterator[None]:
    """Put the mode of every module back at the end, also after an error."""
    found = [module for module in net.modules() if hasattr(module, "training")]  # one that torch.jit froze has none
    modes = {module: module.training for module in found}
    try:
        yield
    finally:
        for module, mode in modes.items():
            if module.training != mode:
                module.training = mode


@contextmanager
def evaluation(net: nn.Module) -> Iterator[None]:
    """Leave the network in evaluation mode while in this context."""
    with kept_modes(net):
        with suppress(NotImplementedError):  # what torch.export made has one mode only, and refuses to be asked
            net.eval()
        yield
