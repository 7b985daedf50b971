"""Table 1 of the VGG paper as data, in the notation of this book.

Input side first: a number is a convolution with that many output channels (3x3 unless ``/k`` says
otherwise), ``lrn`` the local response normalisation of A-LRN, ``|`` a 2x2 max-pooling with stride 2.
Networks, costs and receptive fields are all computed from these strings.
Taught in notebooks/04_blocks_and_configurations.ipynb.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vgglib.sizes import whole

TABLE_1: dict[str, str] = {
    "A":     "64 | 128 | 256 256 | 512 512 | 512 512 |",
    "A-LRN": "64 lrn | 128 | 256 256 | 512 512 | 512 512 |",
    "B":     "64 64 | 128 128 | 256 256 | 512 512 | 512 512 |",
    "C":     "64 64 | 128 128 | 256 256 256/1 | 512 512 512/1 | 512 512 512/1 |",
    "D":     "64 64 | 128 128 | 256 256 256 | 512 512 512 | 512 512 512 |",
    "E":     "64 64 | 128 128 | 256 256 256 256 | 512 512 512 512 | 512 512 512 512 |",
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One layer of a configuration: a convolution ("conv"), a max-pooling ("pool") or a normalisation ("lrn")."""

    kind: str
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    channels: int | None = None  # output channels; None keeps the input's


def layers(name_or_notation: str) -> list[Layer]:
    """Return the layers of a configuration, input side first, ending at its last pooling (pool5 for Table 1).

    ``name_or_notation`` is a name of Table 1 or any string in its notation, such as ``"16 16/1 | 32/5"``.
    A convolution has stride 1 and keeps the resolution (section 2.1). Raises ValueError, naming the
    offending word, for anything else.
    """
    if not isinstance(name_or_notation, str):
        raise ValueError(f"a configuration is a name ({', '.join(TABLE_1)}) or a string, got {name_or_notation!r}")
    notation = TABLE_1.get(name_or_notation, name_or_notation)
    stack = [_layer(token, notation) for token in notation.replace("|", " | ").split()]
    if not any(layer.kind == "conv" for layer in stack):
        raise ValueError(f"configuration {name_or_notation!r} holds no convolution")
    return stack


def _layer(token: str, notation: str) -> Layer:
    """Return the layer that one word of the notation stands for."""
    if token == "|":
        return Layer("pool", kernel=2, stride=2)
    if token == "lrn":
        return Layer("lrn")
    channels, slash, kernel = token.partition("/")
    kernel = kernel if slash else "3"
    digits = token.isascii() and channels.isdecimal() and kernel.isdecimal()
    if not (digits and int(channels) > 0 and int(kernel) % 2 == 1):
        raise ValueError(
            f"{token!r} in {notation!r} is neither a configuration ({', '.join(TABLE_1)}) nor a layer: write a number "
            'of channels ("64"), with another odd kernel ("64/1", "64/5"), "lrn" or "|"'
        )
    return Layer("conv", kernel=int(kernel), padding=int(kernel) // 2, channels=int(channels))


def names(stack: Iterable[Layer]) -> list[str]:
    """Return the paper's name of each layer: conv1_1, pool1, conv2_1 and so on, by block and place in the block."""
    if isinstance(stack, str):
        raise ValueError(f"expected layers, got {stack!r}: write layers({stack!r})")
    found, block, place = [], 1, 0
    for layer in stack:
        if layer.kind == "pool":
            found.append(f"pool{block}")
            block, place = block + 1, 0
        elif layer.kind == "conv":
            place += 1
            found.append(f"conv{block}_{place}")
        else:
            found.append(f"{layer.kind}{block}_{place}")
    return found


def notation(conv_arch: Iterable[tuple[int, int]]) -> str:
    """Return the notation of blocks given as ``((num_convs, channels), ...)``, each ending in a pooling.

    Raises ValueError for what is no such list, and for a block without a convolution or channels.
    """
    if not isinstance(conv_arch, Iterable):
        raise ValueError(f"expected blocks ((num_convs, channels), ...), got {conv_arch!r}")
    blocks = []
    for block in conv_arch:
        if not isinstance(block, tuple | list | np.ndarray) or len(block) != 2:
            raise ValueError(
                f"a block is a pair (num_convs, channels), got {block!r}; notation such as '64 | 128 |' needs no pairs"
            )
        num_convs, channels = whole(block[0], "num_convs"), whole(block[1], "channels")
        if num_convs < 1 or channels < 1:
            raise ValueError(f"a block has 1 convolution and 1 channel or more, got {block!r}")
        blocks.append(f"{' '.join([str(channels)] * num_convs)} |")
    return " ".join(blocks)
