"""Fully connected layers made smaller after training, and networks built without them. Taught in chapter 08."""

import copy

import torch
from torch import Tensor, nn

from vgglib.model import VGG
from vgglib.sizes import torch_seed


def low_rank(layer: nn.Linear, rank: int) -> nn.Sequential:
    """Return two linear layers, in to ``rank`` to out, that come as near to ``layer`` as two such layers can.

    The product of their weights is the best approximation of that rank in the sum of squares (Eckart & Young 1936);
    the bias stays. Weights of 16 bits are worked out in float32. Raises ValueError for a rank below 1 or above the
    smaller side of the weight.
    """
    outputs, inputs = layer.weight.shape
    if not 1 <= rank <= min(inputs, outputs):
        raise ValueError(f"the rank of a {outputs} x {inputs} weight is 1 to {min(inputs, outputs)}, got {rank}")
    exact = torch.promote_types(layer.weight.dtype, torch.float32)
    U, S, V = torch.linalg.svd(layer.weight.detach().to(exact), full_matrices=False)
    like = dict(device=layer.weight.device, dtype=layer.weight.dtype)
    first = nn.Linear(inputs, rank, bias=False, **like)
    second = nn.Linear(rank, outputs, bias=layer.bias is not None, **like)
    with torch.no_grad():
        first.weight.copy_(V[:rank])
        second.weight.copy_(U[:, :rank] * S[:rank])
        if layer.bias is not None:
            second.bias.copy_(layer.bias)
    return nn.Sequential(first, second)


def pruned(layer: nn.Linear | nn.Conv2d, keep: float) -> nn.Linear | nn.Conv2d:
    """Return a copy of ``layer`` in which only the share ``keep`` of the weights, the largest in size, is not zero.

    layer: fully connected or a convolution. At least one weight stays, and every bias. The copy is as large and as
    slow as the layer: zeros are stored and multiplied like any number. Raises ValueError for a share that is not above
    0 and up to 1.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep is a share of the weights, above 0 and up to 1, got {keep}")
    copied = copy.deepcopy(layer)
    count = max(1, round(keep * layer.weight.numel()))
    weights = layer.weight.detach().flatten()
    largest = weights.abs().topk(count).indices
    kept = torch.zeros_like(weights).index_copy(0, largest, weights[largest])
    with torch.no_grad():
        copied.weight.copy_(kept.view(layer.weight.shape))
    return copied


def replace_fc6(net: VGG, layer: nn.Module) -> VGG:
    """Return a copy of ``net`` with ``layer`` in the place of its first fully connected layer.

    layer: a linear layer or several in a row. Raises ValueError if they do not take and give as many numbers as the
    layer that they replace, and for a network that is no VGG.
    """
    fc6, linear = _fc6(net), [part for part in layer.modules() if isinstance(part, nn.Linear)]
    wanted, found = (
        [fc6.in_features, fc6.out_features],
        [linear[0].in_features, linear[-1].out_features] if linear else [],
    )
    if found != wanted:
        raise ValueError(f"fc6 takes and gives {wanted} numbers, the layer in its place {found or 'has no weights'}")
    changed = copy.deepcopy(net)
    changed.classifier[0] = layer
    return changed


def _fc6(net: VGG) -> nn.Linear:
    """Return the first fully connected layer; ValueError for a network that has none."""
    if not isinstance(net, VGG) or not isinstance(net.classifier[0], nn.Linear):
        raise ValueError(f"expected a VGG with its fully connected layers, got a {type(net).__name__}")
    return net.classifier[0]


def lighter_head(net: VGG, head: str, seed: int = 0) -> VGG:
    """Return a copy of ``net`` that has one new fully connected layer in the place of three.

    head: "linear", on all positions of the last maps; or "average", on each map's mean over its positions (global
    average pooling, Lin et al. 2013). The weights are drawn from ``seed``, with a variance of one over the number of
    inputs; biases are 0. The mean over the positions is the last of ``features``: where a pooling stands before it,
    ``blocks`` has one part more. Raises ValueError for another head, and for a network that is no VGG.
    """
    if head not in ("linear", "average"):
        raise ValueError(f"head must be 'linear' or 'average', got {head!r}")
    inputs, channels = _fc6(net).in_features, _channels(net)
    lighter, last = copy.deepcopy(net), net.classifier[-1]
    if head == "average":
        lighter.features.append(nn.AdaptiveAvgPool2d(1))
        inputs = channels
    like = dict(device=last.weight.device, dtype=last.weight.dtype)
    layer = nn.utils.skip_init(nn.Linear, inputs, last.out_features, **like)
    drawn = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(torch_seed(seed))) / inputs**0.5
    with torch.no_grad():
        layer.weight.copy_(drawn)
        layer.bias.zero_()
    lighter.classifier = nn.Sequential(layer)
    return lighter


def nonzero(weight: Tensor) -> int:
    """Return how many entries of a tensor are not zero."""
    return int(weight.count_nonzero())


def _channels(net: VGG) -> int:
    """Return the channels of the last feature maps."""
    return [layer.out_channels for layer in net.features.modules() if isinstance(layer, nn.Conv2d)][-1]
