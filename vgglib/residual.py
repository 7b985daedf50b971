"""Residual connections (He et al. 2016) for the networks of Table 1: two convolutions add to what went in.

The shortcuts hold no parameters: a network with them has exactly the parameters and the multiply-accumulates of the
one without. Taught in notebooks/10_after_vgg.ipynb.
"""

import copy

from torch import Tensor, nn
from torch.nn import functional as F

from vgglib.configurations import TABLE_1
from vgglib.model import VGG


class Shortcut(nn.Module):
    """A branch with a way around it: relu(branch(X) + X), from (N, C, H, W) to the same shape."""

    def __init__(self, branch: nn.Sequential):
        super().__init__()
        self.branch = branch

    def forward(self, X: Tensor) -> Tensor:
        return F.relu(self.branch(X) + X)


def with_shortcuts(net: VGG, from_zero: bool = True) -> VGG:
    """Return a copy of ``net`` with a shortcut around every two neighbouring convolutions that keep the channels.

    Convolutions pair up from the start of each block; a pair that changes the number of channels, and a convolution
    that is left over, stay as they are. Each branch starts by adding nothing: the scale and shift of its last
    batch normalisation are set to 0 (Goyal et al. 2017 set the scale), or the weights and biases of its last
    convolution where there is none. All else keeps its values, and so do these with from_zero=False, as in He et al.
    2016. Raises ValueError if no pair keeps its channels.
    """
    net, modules, found = copy.deepcopy(net), [], 0
    for block in net.blocks:
        layers = _by_layer(block)
        while layers:
            pair = layers[:2]
            convs = [layer[0] for layer in pair if isinstance(layer[0], nn.Conv2d)]
            if len(convs) == 2 and convs[0].in_channels == convs[1].out_channels:
                branch = nn.Sequential(*pair[0], *pair[1][:-1])  # the last ReLU comes after the addition
                for parameter in branch[-1].parameters() if from_zero else ():
                    nn.init.zeros_(parameter)
                pair, found = [[Shortcut(branch)]], found + 1
            modules += [module for layer in pair for module in layer]
            layers = layers[2:]
    if not found:
        raise ValueError(
            f"no two convolutions of {net.configuration!r} keep the channels: there is nothing to go around"
        )
    net.features = nn.Sequential(*modules)
    return net


def _by_layer(block: nn.Sequential) -> list[list[nn.Module]]:
    """Return the modules of a block, each convolution together with what follows it up to its ReLU."""
    layers: list[list[nn.Module]] = []
    for module in block:
        if isinstance(module, nn.BatchNorm2d | nn.ReLU):
            layers[-1].append(module)
        else:
            layers.append([module])
    return layers


def twice(name_or_notation: str) -> str:
    """Return the notation of a configuration with every convolution written twice, and the same poolings."""
    notation = TABLE_1.get(name_or_notation, name_or_notation)
    return " ".join(word if word in ("|", "lrn") else f"{word} {word}" for word in notation.replace("|", " | ").split())
