"""The batch normalisations of a network: which of them learn from the batches, and how long they take to."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def frozen(norm: _BatchNorm) -> bool:
    """Return whether a batch normalisation has parameters, and none of them learns: its averages then stay, too."""
    learn = [parameter.requires_grad for parameter in norm.parameters(recurse=False)]
    return bool(learn) and not any(learn)


def normalising(net: nn.Module) -> Iterator[_BatchNorm]:
    """Yield the batch normalisations that in training divide by the spread of each batch."""
    yield from (module for module in net.modules() if isinstance(module, _BatchNorm) and not frozen(module))


def share_left(net: nn.Module, steps: int) -> float:
    """Return how much of the averages that a network began with is left in them after so many batches, 0 to 1."""
    rates = [norm.momentum for norm in normalising(net) if norm.track_running_stats and norm.momentum is not None]
    return max(((1 - rate) ** steps for rate in rates), default=0.0)
