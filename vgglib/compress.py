"""Fully connected layers made smaller after training, and networks built without them. Taught in chapter 08."""

import copy

import torch
from torch import Tensor, nn

from vgglib.model import VGG
from vgglib.sizes import torch_seed


def low_rank(layer: nn.Linear, rank: int) -> nn.Sequential:
    """Return two linear layers, in to ``rank`` to out, that come as near to ``layer`` as two such layers can.

    The product of their weights is the best approximation of that rank in the sum of squares (Eckart & Young 1936);
    the bias stays. Raises ValueError for a rank below 1 or above the smaller side of the weight.
    """
    outputs, inputs = layer.weight.shape
    if not 1 <= rank <= min(inputs, outputs):
        raise ValueError(f"the rank of a {outputs} x {inputs} weight is 1 to {min(inputs, outputs)}, got {rank}")
    U, S, V = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    like = dict(device=layer.weight.device, dtype=layer.weight.dtype)
    first = nn.Linear(inputs, rank, bias=False, **like)
    second = nn.Linear(rank, outputs, bias=layer.bias is not None, **like)
    with torch.no_grad():
        first.weight.copy_(V[:rank])
        second.weight.copy_(U[:, :rank] * S[:rank])
        if layer.bias is not None:
            second.bias.copy_(layer.bias)
    return nn.Sequential(first, second)


def pruned(layer: nn.Linear, keep: float) -> nn.Linear:
    """Return a copy of ``layer`` in which only the share ``keep`` of the weights, the largest in size, is not zero.

    At least one weight stays, and every bias. The copy is as large and as slow as the layer: zeros are stored and
    multiplied like any number. Raises ValueError for a share that is not above 0 and up to 1.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep is a share of the weights, above 0 and up to 1, got {keep}")
    copied = copy.deepcopy(layer)
    count = max(1, round(keep * layer.weight.numel()))
    with torch.no_grad():
        copied.weight.zero_()
        largest = layer.weight.detach().abs().flatten().topk(count).indices
        copied.weight.view(-1)[largest] = layer.weight.detach().flatten()[largest]
    return copied


def replace_fc6(net: VGG, layer: nn.Module) -> VGG:
    """Return a copy of ``net`` with ``layer`` in the place of its first fully connected layer."""
    changed = copy.copy(net)
    changed._modules = dict(net._modules)  # the copy shares all that it does not replace
    changed.classifier = nn.Sequential(layer, *list(net.classifier)[1:])
    return changed


def lighter_head(net: VGG, head: str, seed: int = 0) -> VGG:
    """Return a copy of ``net`` that has one new fully connected layer in the place of three.

    head: "linear", on all positions of the last maps; or "average", on each map's mean over its positions (global
    average pooling, Lin et al. 2013). The weights are drawn from ``seed``, with a variance of one over the number of
    inputs; biases are 0. Raises ValueError for another head.
    """
    if head not in ("linear", "average"):
        raise ValueError(f"head must be 'linear' or 'average', got {head!r}")
    lighter, last = copy.deepcopy(net), net.classifier[-1]
    inputs, channels = net.classifier[0].in_features, _channels(net)
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
    return [layer.out_channels for layer in net.features if isinstance(layer, nn.Conv2d)][-1]
