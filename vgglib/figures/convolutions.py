"""Convolution and descent: a kernel that slides, its geometry, a way down a ravine."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional

from vgglib.figures.picture import BLUE, GREY, ORANGE, RED, Picture, bare_axes, grey_bytes, plain
from vgglib.foundations import correlate, descend, output_size, ravine, ravine_slope


def sliding(
    picture: Tensor,
    kernel: Sequence[Sequence[float]] = ((-1, 0, 1),) * 3,
    row: int = 0,
    column: int = 0,
    stride: int = 1,
    padding: int = 0,
) -> Picture:
    """Return a kernel over a greyscale picture (H, W, uint8) at one place of its map, its numbers, and the whole map.

    Below each weight stands the pixel that it lies on. Pixels count from 0 (white in the figure) to 1 (black), zeros
    of the padding are hatched. In the map blue is negative, white zero, red positive, as strong for small values as
    for large ones: the least, the greatest and that of the marked place are written out. Raises ValueError for a
    picture of another format, a kernel that does not fit, a negative padding, and a place that the map does not have.
    """
    weights, X = torch.tensor(kernel, dtype=torch.float64), grey_bytes(picture).double() / 255
    answer = correlate(X[None], weights[None, None], stride, padding)[0]
    X = functional.pad(X, (padding,) * 4)
    if not (0 <= row < answer.shape[0] and 0 <= column < answer.shape[1]):
        raise ValueError(f"the map has {answer.shape[0]} rows and {answer.shape[1]} columns, counted from 0")
    figure = Picture(7.2, 3.0)
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 2, 3))
    edges = dict(fill=False, edgecolor=ORANGE, linewidth=2, zorder=3)  # above the hatching
    left.imshow(np.asarray(X), cmap="gray_r", vmin=0, vmax=1)
    corner = (column * stride - 0.5, row * stride - 0.5)
    left.add_patch(Rectangle(corner, weights.shape[1], weights.shape[0], **edges))
    pixels = f"{picture.shape[0]} x {picture.shape[1]} pixels" + f", padded by {padding}" * bool(padding)
    left.set_title(pixels, fontsize=9)
    if padding:
        _padding(left, picture.shape, padding)
    _signed(middle, weights, paler=2.5)
    for i, line in enumerate(weights.tolist()):
        for j, weight in enumerate(line):
            pixel = X[row * stride + i, column * stride + j].item()
            size = 9 if len(weights) < 4 else 7
            middle.text(j, i, f"{weight:g}\n{pixel:.2f}", ha="center", va="center", fontsize=size)
    middle.set_title("kernel over its pixels", fontsize=9)
    middle.add_patch(Rectangle((-0.5, -0.5), weights.shape[1], weights.shape[0], clip_on=False, **edges))
    _signed(right, answer)
    right.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **edges))
    value = round(answer[row, column].item(), 2) + 0.0  # no -0.00
    low, high = (round(one.item(), 2) + 0.0 for one in answer.aminmax())
    right.set_title(f"map {answer.shape[0]} x {answer.shape[1]}; here {value:.2f}", fontsize=9)
    right.set_xlabel(f"from {low:.2f} to {high:.2f}", fontsize=9)
    for axes in (left, middle, right):
        axes.set_xticks([])
        axes.set_yticks([])
    return figure.saying(
        f"A {weights.shape[0]}x{weights.shape[1]} kernel over {pixels}{',' * bool(padding)} gives a map of "
        f"{answer.shape[0]} x {answer.shape[1]}; at row {row}, column {column} it is {value:.2f}."
    )


MOVES = (dict(), dict(padding=1), dict(stride=2), dict(dilation=2))


def convolution(in_channels: int = 3, out_channels: int = 2, size: int = 6, kernel: int = 3) -> Picture:
    """Return how the kernels of a layer reach through the channels, and where one kernel finds places along a side.

    Above, one kernel of each output channel, with a slice for each input channel. Below, for each of MOVES, ``size``
    pixels (padding dashed) and a line for each place of the kernel, with a dot on every pixel that it reads; pixels
    that no place reads are hatched. Raises ValueError for more channels than can be told apart, and a kernel that does
    not fit.
    """
    if not (1 <= in_channels <= 4 and 1 <= out_channels <= 3):
        raise ValueError(f"drawn for 1 to 4 channels in and 1 to 3 out, got {in_channels} and {out_channels}")
    read = [_read(size, kernel, **move) for move in MOVES]
    figure = Picture(6.6, 4.2)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1))
    _draw_channels(bare_axes(above), in_channels, out_channels)
    told = []
    for axes, places, move in zip(below.subplots(1, len(MOVES)), read, MOVES, strict=True):
        moved = " ".join(f"{name} {amount}" for name, amount in move.items()) or "as it is"
        _draw_places(axes, size, places, move.get("padding", 0))
        unread = ", ".join(map(str, sorted({*range(size)} - {pixel for place in places for pixel in place})))
        counted = f"{len(places)} place{'s' * (len(places) > 1)}" + f", never read: {unread}" * bool(unread)
        axes.set_title(f"{moved}:\n{counted}", fontsize=9)
        told.append(f"{moved}: {len(places)}" + f" (never read: {unread})" * bool(unread))
    return figure.saying(
        f"{in_channels} channels in, {out_channels} out: {out_channels} kernels of {in_channels} slices, "
        f"whose products are added up. Places of a kernel of {kernel} along {size} pixels: {'; '.join(told)}."
    )


def _read(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> list[range]:
    """Return, for each place of a kernel along one side, the pixels that it reads; padding lies outside 0..size-1."""
    starts = [stride * place - padding for place in range(output_size(size, kernel, stride, padding, dilation))]
    return [range(start, start + dilation * (kernel - 1) + 1, dilation) for start in starts]


def _draw_places(axes: Axes, size: int, places: Sequence[range], padding: int) -> None:
    unread = {*range(size)} - {pixel for place in places for pixel in place}
    for pixel in range(-padding, size + padding):
        inside = 0 <= pixel < size
        look = dict(facecolor="#EEEEEE" if inside else "white", edgecolor="black" if inside else GREY, linewidth=0.8)
        axes.add_patch(Rectangle((pixel - 0.5, 0.1), 1, 0.9, linestyle="-" if inside else "--", **look))
        if pixel in unread:  # pale, so that its number can be read
            pale = dict(fill=False, edgecolor="#BBBBBB", hatch="////", linewidth=0)
            axes.add_patch(Rectangle((pixel - 0.5, 0.1), 1, 0.9, **pale))
        axes.text(pixel, 0.52, str(pixel) if inside else "", ha="center", va="center", fontsize=8)
    for row, place in enumerate(places):
        axes.plot([*place], [-0.6 * (row + 1)] * len(place), "o-", color=BLUE, markersize=4, linewidth=1)
    axes.set(xlim=(-2, size + 1), ylim=(-0.6 * (size + 1), 1.2))
    axes.axis("off")


def _draw_channels(axes: Axes, in_channels: int, out_channels: int) -> None:
    """Draw maps in, a kernel for each map out, and the maps out."""
    side, slice_side, shift, gap = 2.0, 0.75, 0.28, 1.7
    middle = gap * (out_channels - 1) / 2

    def stack(x: float, y: float, side: float, colours: Sequence[str], mark: float = 0) -> None:
        for n, colour in reversed([*enumerate(colours)]):
            corner = (x + shift * n, y - side / 2 + shift * (n - (len(colours) - 1) / 2))
            axes.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor="black", linewidth=0.8))
            if mark:
                inner = (corner[0] + 0.25, corner[1] + side - mark - 0.3)
                axes.add_patch(Rectangle(inner, mark, mark, facecolor="none", edgecolor="black", linewidth=1.8))

    shades = ["#F6D9A8", "#CFE3F1", "#CDEBDF", "#E9D5E1"][:in_channels]
    stack(0, middle, side, shades, mark=slice_side)
    for n in range(out_channels):
        y = gap * (out_channels - 1 - n)
        stack(5.2, y, slice_side, shades)
        stack(9.6, y, 1.2, ["#DDDDDD"])
        unit = (9.6 + 0.3, y + 0.15)
        axes.add_patch(Rectangle(unit, 0.25, 0.25, facecolor="black"))
        arrow = dict(arrowstyle="-|>", color=GREY, shrinkA=0, shrinkB=2)
        axes.annotate("", xy=(5.1, y), xytext=(side + shift * in_channels + 0.2, middle), arrowprops=arrow)
        axes.annotate("", xy=(9.5, y), xytext=(7.0, y), arrowprops=arrow)
        axes.text(8.2, y + 0.12, "sum", ha="center", va="bottom", fontsize=9)
    top = middle + max(side, gap * (out_channels - 1) + 1.2) / 2 + 0.75
    for x, text in (
        (1.3, f"{in_channels} channels in"),
        (5.8, "a kernel for each channel out,\na slice for each channel in"),
        (10.2, f"{out_channels} channels out"),
    ):
        axes.text(x, top, text, ha="center", va="center", fontsize=9)
    axes.set(xlim=(-0.3, 12), ylim=(middle - (top - middle) + 0.3, top + 0.5), aspect="equal")


def _padding(axes: Axes, shape: Sequence[int], padding: int) -> None:
    """Hatch what is padding around a picture (height, width), and draw the picture's edge."""
    height, width = shape
    look = dict(facecolor="#EEEEEE", edgecolor=GREY, hatch="////", linewidth=0)
    for far in (0, height + padding):
        axes.add_patch(Rectangle((-0.5, far - 0.5), width + 2 * padding, padding, **look))
    for far in (0, width + padding):
        axes.add_patch(Rectangle((far - 0.5, padding - 0.5), padding, height, **look))
    edge = (padding - 0.5, padding - 0.5)
    axes.add_patch(Rectangle(edge, width, height, fill=False, edgecolor=GREY, linewidth=1))


def _signed(axes: Axes, values: Tensor, paler: float = 1.3) -> None:
    """Draw numbers as colours: blue negative, white zero, red positive."""
    limit = paler * max(values.abs().max().item(), 1e-9)
    axes.imshow(np.asarray(values), cmap="RdBu_r", vmin=-limit, vmax=limit)


def descent(
    rate: float = 0.09,
    momentum: float = 0.0,
    decay: float = 0.0,
    steps: int = 40,
    shown: tuple[float, float] = (1e-9, 1e6),
) -> Picture:
    """Return the path of gradient descent through the ravine, seen from above, and its height step by step.

    It starts at (-8, 1) and pales step by step. Where it leaves the picture the path is cut off, and the figure
    says that it runs away.
    shown: the lowest and the highest height of the axis, wide enough for all that the controls can do. Raises
    ValueError for less than one step.
    """
    if steps < 1:
        raise ValueError(f"a descent has at least one step, got {steps}")
    path = descend(ravine_slope, torch.tensor([-8.0, 1.0], dtype=torch.float64), [rate] * steps, momentum, decay)
    heights = ravine(path)
    figure = Picture(7.2, 2.9)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    x, y = torch.linspace(-9, 9, 121), torch.linspace(-2, 2, 81)
    ground = ravine(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1))
    left.contour(
        np.asarray(x),
        np.asarray(y),
        np.asarray(ground),
        levels=[0.25, 1, 3, 7, 13, 21, 31],
        colors=GREY,
        linewidths=0.6,
    )
    for step in range(steps):  # paler and paler, so that a path that circles can be followed
        look = dict(color=BLUE, alpha=1 - 0.8 * step / steps, markersize=3, linewidth=1)
        left.plot(*np.asarray(path[step : step + 2]).T, "-", *np.asarray(path[step]), "o", **look)
    left.annotate("start", path[0].tolist(), (0, 6), textcoords="offset points", fontsize=8, ha="center")
    left.plot(0, 0, "*", color=RED, markersize=11)
    left.set(xlim=(-9, 9), ylim=(-2, 2), xlabel="along", ylabel="across (enlarged)")
    right.set(xlabel="step", title="height", yscale="log", ylim=shown)  # first: a path may run beyond all numbers
    right.plot(range(steps + 1), np.asarray(heights), "o-", color=BLUE, markersize=2.5, linewidth=1)
    right.title.set_fontsize(9)
    plain(left)
    plain(right)
    told = f"rate {rate:g}, momentum {momentum:g}" + (f", weight decay {decay:g}" if decay else "")
    low, lengths = heights[-1].item(), path.diff(dim=0).norm(dim=1)
    late, before = lengths[-10:].max(), lengths[-20:-10].max() if steps >= 20 else math.inf
    if late > 0.01 and abs(late / before - 1) < 3e-3:  # still moving, and no less than before
        end = short = "neither settles nor runs away"
    elif not heights[-1] <= heights[0]:  # higher, or so high that it is not a number
        end, short = "it runs away", "runs away"
    else:
        end, short = f"height {low:.2g} after {steps} steps, from {heights[0].item():.3g}", f"height {low:.2g}"
    left.set_title(f"{told.replace('weight ', '')}: {short}", fontsize=9)
    return figure.saying(f"Descent through the ravine at {told}: {end}.")
