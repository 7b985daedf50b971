"""How large the signal is behind every layer, by how its weights began."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vgglib.figures.picture import BLUE, GREEN, GREY, ORANGE, RED, Picture, plain
from vgglib.model import INITIALISATIONS, VGG, initialise


@torch.no_grad()
def signal_by_layer(net: VGG, X: Tensor) -> list[float]:
    """Return the standard deviation of the signal after every ReLU of ``net.features``, for a batch X (N, C, H, W)."""
    spread = []
    for layer in net.features:
        X = layer(X)
        if isinstance(layer, nn.ReLU):
            spread.append(X.std().item())
    return spread


def signal(std: float | None = None, channels: int = 64, depth: int = 16) -> Picture:
    """Return the signal layer by layer through ``depth`` 3x3 convolutions, under each initialisation of the book.

    std: one more curve, for normal weights of that standard deviation. No pooling, no biases; the input is noise of
    standard deviation 1 on 16 x 16 pixels, the same in every call.
    """
    X = torch.randn(4, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        net = VGG(f"{channels} " * depth, channels, 1, image_size=16, hidden=1)
    curves = {how: signal_by_layer(initialise(net, how), X) for how in INITIALISATIONS}
    if std is not None:
        generator = torch.Generator().manual_seed(1)
        for name, parameter in net.features.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=std, generator=generator)
        curves[f"std {std:g}"] = signal_by_layer(net, X)
    return signals(curves, f"{depth} layers of {channels} channels")


def signals(curves: Mapping[str, Sequence[float]], network: str = "") -> Picture:
    """Return the signal after every convolution, a curve for each start; ten to the power of -9 and less is cut off.

    curves: what signal_by_layer gave, by initialisation; one that the book does not know is drawn dashed, with large
    hollow marks behind the others. network: words for the alternative text.
    """
    known = dict(zip(INITIALISATIONS, ((BLUE, "o-"), (RED, "s-"), (GREEN, "^-"), (ORANGE, "v-")), strict=True))
    depth, low, high = max(map(len, curves.values())), -9, 4  # powers of ten
    figure = Picture(6.0, 3.5)
    axes = figure.subplots()
    axes.plot([0.5, 1.02 * depth], [1, 1], color=GREY, linestyle=":", linewidth=1)
    place = low - 0.5
    for name, values in sorted(curves.items(), key=lambda curve: curve[1][-1]):
        colour, style = known.get(name, ("black", "D--"))
        behind = {} if name in known else dict(markersize=8, markerfacecolor="none", zorder=1.5)
        axes.plot(range(1, depth + 1), values, style, color=colour, **{"markersize": 4, "linewidth": 1.2, **behind})
        end = math.log10(max(values[-1], 1e-300))
        arrow = " ↓" if end < low else " ↑" if end > high else ""
        place = max(place + 0.9, min(end, high - 0.3))  # labels keep a distance
        axes.text(1.03 * depth + 0.2, 10**place, name + arrow, color=colour, fontsize=9, va="center")
    axes.set(xlabel="convolution", ylabel="standard deviation of the signal", yscale="log", ylim=(10**low, 10**high))
    axes.set_xlim(0.5, 1.3 * depth + 0.5)
    axes.set_xticks(range(1, depth + 1))
    plain(axes)
    told = ", ".join(f"{name} {values[-1]:.0e}" for name, values in curves.items())
    return figure.saying(f"Standard deviation of the signal after {network or f'{depth} layers'}: {told}.")
