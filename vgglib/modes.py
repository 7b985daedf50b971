"""The modes of a network, training or evaluation, as they were, after somebody has looked at it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def kept_modes(net: nn.Module) -> Iterator[None]:
    """Put the mode of every module back at the end, also after an error."""
    modes = {module: module.training for module in net.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def evaluation(net: nn.Module) -> Iterator[None]:
    """Leave the network in evaluation mode while in this context."""
    with kept_modes(net):
        net.eval()
        yield
