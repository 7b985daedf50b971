"""RepVGG (Ding et al. 2021): three branches for training that fold, exactly, into the one 3x3 layer of VGG.

Without a ReLU inside them the branches are linear, and a sum of linear maps is one linear map.
Taught in notebooks/10_after_vgg.ipynb.
"""

import copy
from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgglib.model import VGG
from vgglib.sizes import torch_seed


class RepVGGBlock(nn.Module):
    """Three branches: relu(norm(3x3 of X) + norm(1x1 of X) + norm(X)), from (N, in, H, W) to (N, out, H, W).

    Each branch has a batch normalisation of its own, which replaces the bias. The third branch is there only where
    as many channels come in as go out.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.three = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.one = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.norm_three, self.norm_one = nn.BatchNorm2d(out_channels), nn.BatchNorm2d(out_channels)
        self.norm_same = nn.BatchNorm2d(out_channels) if in_channels == out_channels else None

    def forward(self, X: Tensor) -> Tensor:
        Y = self.norm_three(self.three(X)) + self.norm_one(self.one(X))
        return F.relu(Y if self.norm_same is None else Y + self.norm_same(X))


def identity_kernel(channels: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return the 3x3 weights (channels, channels, 3, 3) of a padded convolution that gives its input back."""
    kernel = torch.zeros(channels, channels, 3, 3, dtype=dtype)
    for channel in range(channels):
        kernel[channel, channel, 1, 1] = 1
    return kernel


def fold_norm(weight: Tensor, norm: nn.BatchNorm2d, bias: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Return (weight, bias) of the one convolution that does what a convolution and ``norm`` after it do together.

    weight: (out, in, height, width); bias: (out,), or 0. Holds for evaluation, where the normalisation uses its running
    statistics. Raises ValueError if ``norm`` is in training mode (there the batch decides, and no weights can know it),
    and for one without a scale, without running statistics, or for other channels.
    """
    if norm.training:
        raise ValueError("in training mode the batch decides mean and spread; call eval() before folding")
    factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return weight * factor[:, None, None, None], norm.bias + (bias - norm.running_mean) * factor


def _of_whole_norms(function: Callable) -> Callable:
    """Return fold_norm for normalisations that have all that it reads, refusing others."""

    @wraps(function)
    def checked(weight: Tensor, norm: nn.BatchNorm2d, bias: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        if norm.weight is None or norm.running_var is None:
            raise ValueError(f"{norm} has no scale or no running statistics: it cannot be folded")
        if len(weight) != norm.num_features:
            raise ValueError(f"{len(weight)} outputs meet a normalisation of {norm.num_features} channels")
        return function(weight, norm, bias)

    return checked


fold_norm = _of_whole_norms(fold_norm)  # above it stands as chapter 10 shows it


@torch.no_grad()
def fold(block: RepVGGBlock) -> nn.Conv2d:
    """Return the 3x3 convolution that, followed by a ReLU, computes what ``block`` does in evaluation mode.

    Raises ValueError if the block is in training mode.
    """
    kernels = [(block.three.weight, block.norm_three), (F.pad(block.one.weight, (1, 1, 1, 1)), block.norm_one)]
    if block.norm_same is not None:
        kernels.append((identity_kernel(len(block.one.weight)).to(block.one.weight), block.norm_same))
    weights, biases = zip(*(fold_norm(kernel, norm) for kernel, norm in kernels), strict=True)
    out, into = block.three.weight.shape[:2]
    conv = nn.Conv2d(into, out, 3, padding=1).to(block.three.weight)
    conv.weight.copy_(sum(weights))
    conv.bias.copy_(sum(biases))
    return conv


def with_branches(net: VGG, seed: int = 0) -> VGG:
    """Return a copy of ``net`` with a RepVGGBlock in place of each convolution, its normalisation and its ReLU.

    The blocks' weights are drawn from ``seed`` by He's rule. Raises ValueError for kernels other than 3x3, and for a
    network with other weights in its ``features``, such as shortcuts or branches.
    """
    _expect_only((nn.Conv2d, nn.BatchNorm2d), net)
    net, modules = copy.deepcopy(net), []
    generator = torch.Generator().manual_seed(torch_seed(seed))
    for module in net.features:
        if isinstance(module, nn.Conv2d):
            if module.kernel_size != (3, 3):
                raise ValueError(f"only 3x3 layers have such branches, got one of {module.kernel_size}")
            block = RepVGGBlock(module.in_channels, module.out_channels)
            for conv in (block.three, block.one):
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
            modules.append(block.to(module.weight).train(module.training))
        elif not isinstance(module, nn.BatchNorm2d | nn.ReLU):
            modules.append(module)
    net.features = nn.Sequential(*modules)
    net.features.training = net.training
    return net


@torch.no_grad()
def folded(net: VGG) -> VGG:
    """Return a copy of ``net`` in which each RepVGGBlock is one 3x3 convolution and a ReLU: a plain VGG again.

    Normalisations that follow a convolution are folded into it, too: the copy answers as ``net`` does in evaluation
    mode, and its state-dict keys are those of a VGG without batch normalisation. Raises ValueError if the network is in
    training mode, and for one with other weights in its ``features``, such as shortcuts.
    """
    if net.training:
        raise ValueError("in training mode the batch decides mean and spread; call eval() before folding")
    _expect_only((nn.Conv2d, nn.BatchNorm2d, RepVGGBlock), net)
    net, modules = copy.deepcopy(net), []
    for module in net.features:
        if isinstance(module, nn.BatchNorm2d):
            conv = modules[-1]
            conv.weight.data, conv.bias.data = fold_norm(conv.weight, module, conv.bias)
        else:
            modules += [fold(module), nn.ReLU(inplace=True)] if isinstance(module, RepVGGBlock) else [module]
    net.features = nn.Sequential(*modules)
    net.features.training = net.training
    return net


def _expect_only(kinds: tuple[type, ...], net: VGG) -> None:
    """Raise ValueError if a module of the features has weights and is of no such kind: it would be left as it is."""
    for module in net.features:
        if not isinstance(module, kinds) and next(module.parameters(), None) is not None:
            raise ValueError(f"a {type(module).__name__} among the features has weights that would be left as they are")
