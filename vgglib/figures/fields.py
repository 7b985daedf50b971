"""Receptive fields: cones, stacks against one large kernel, windows on a side, fields as the gradient has them."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, Rectangle

from vgglib.configurations import Layer
from vgglib.figures.picture import BLUE, GREY, ORANGE, RED, Picture, bare_axes, plain, three_digits
from vgglib.receptive_field import receptive_field


def _conv(kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Layer:
    return Layer("conv", kernel, stride, padding, dilation, 1)


STACKS: dict[str, list[Layer]] = {
    "2 then 3": [_conv(2), _conv(3)],
    "3 then 3": [_conv(3), _conv(3)],
    "3 then 3 then 3": [_conv(3)] * 3,
    "7": [_conv(7)],
    "3 then pool then 3": [_conv(3), Layer("pool", 2, 2, 0, 1, None), _conv(3)],
    "3 then 3 with stride 2 then 3": [_conv(3), _conv(3, stride=2), _conv(3)],
    "3 then 3, padded": [_conv(3, padding=1)] * 2,
    "3, dilated by 1, 2, 4": [_conv(3), _conv(3, dilation=2), _conv(3, dilation=4)],
}


def cone(stack: str = "2 then 3", unit: int = 0, input_size: int = 7, hidden: bool = False) -> Picture:
    """Return the units of every layer along one side, input at the bottom, and all that one unit of the top row sees.

    stack: a key of STACKS; unit: counted from 0; input_size: pixels. Units stand above the middle of what they see;
    those that are seen are filled and numbered, padding is dashed. hidden: only the unit itself is filled, and every
    unit is joined with what it reads, so that the reader can follow the lines. Raises ValueError for a picture that is
    too small for the stack, and for a unit that does not exist.
    """
    stack_layers, counts = STACKS[stack], [input_size]
    for layer in stack_layers:
        reach = counts[-1] + 2 * layer.padding - layer.dilation * (layer.kernel - 1) - 1
        if reach < 0:
            raise ValueError(f"{stack} needs more than {input_size} pixels")
        counts.append(reach // layer.stride + 1)
    if not 0 <= unit < counts[-1]:
        raise ValueError(f"the last layer has units 0 to {counts[-1] - 1}, there is no unit {unit}")
    seen = [{unit}]
    for layer, count in zip(reversed(stack_layers), reversed(counts[1:]), strict=True):
        steps = [layer.dilation * step - layer.padding for step in range(layer.kernel)]
        real = [index for index in seen[0] if 0 <= index < count]  # padding sees nothing
        seen.insert(0, {index * layer.stride + step for index in real for step in steps})
    figure = Picture(6.4, 0.8 + 0.75 * len(counts))
    axes = bare_axes(figure)
    _draw_cone(
        axes, stack_layers, counts, [{*range(count)} for count in counts[:-1]] + [{unit}] if hidden else seen, hidden
    )
    if hidden:
        asked = f"which pixels does unit {unit} of the last layer see?"
        axes.set_title(asked, fontsize=10)
        return figure.saying(f"{stack}, {input_size} pixels, each unit joined with what it reads: {asked}")
    pixels = sorted(seen[0])
    outside = sum(not 0 <= pixel < input_size for pixel in pixels)
    told = f"unit {unit} sees pixels {pixels[0]} to {pixels[-1]}, {len(pixels)} in all"
    told += f", {outside} of them padding" if outside else ""
    axes.set_title(told, fontsize=10)
    return figure.saying(f"{stack}, {input_size} pixels: of the last layer, {told}.")


def _draw_cone(axes: Axes, stack: list[Layer], counts: list[int], seen: list[set[int]], hidden: bool = False) -> None:
    fields = [receptive_field(stack[:n]) for n in range(len(counts))]
    for row, (count, lit, field) in enumerate(zip(counts, seen, fields, strict=True)):
        for index in sorted({*range(count), *lit}):
            x, inside = index * field.stride - field.padding + (field.size - 1) / 2, 0 <= index < count
            chosen = index in lit and (not hidden or row == len(stack))
            colour = RED if row == len(stack) else BLUE  # as in the explorer: the unit, and what it sees
            look = dict(facecolor=colour if chosen and inside else "#EEEEEE" if inside else "white", edgecolor="black")
            look |= dict(linewidth=1.8 if chosen else 0.6, linestyle="-" if inside else "--")
            axes.add_patch(Rectangle((x - 0.4, row - 0.22), 0.8, 0.44, **look))
            if index in lit:
                ink = "white" if chosen and inside else "black"
                axes.text(x, row, str(index), ha="center", va="center", fontsize=8, color=ink)
        if row:
            layer, before = stack[row - 1], fields[row - 1]
            for index in sorted(lit):
                x = index * field.stride - field.padding + (field.size - 1) / 2
                for step in range(layer.kernel) if 0 <= index < count else ():
                    below = index * layer.stride - layer.padding + step * layer.dilation
                    if below in seen[row - 1]:
                        end = below * before.stride - before.padding + (before.size - 1) / 2
                        axes.plot([x, end], [row - 0.22, row - 0.78], color=GREY, linewidth=0.7)
        kind = f"{stack[row - 1].kind} {stack[row - 1].kernel}x{stack[row - 1].kernel}" if row else "input"
        axes.text(-3.2, row, f"{kind}\n{count} {'units' if row else 'pixels'}", ha="right", va="center", fontsize=8)
    axes.set_xlim(-6.5, counts[0] + 2.5)
    axes.set_ylim(-0.6, len(counts) - 0.4)


def effective_fields(fields: Mapping[str, object]) -> Picture:
    """Return gradient maps side by side, each with its theoretical window and a circle of two standard deviations.

    Each panel is as wide as its own window, so that all windows look alike and the share that counts can be compared.
    """
    figure, told = Picture(2.6 * len(fields), 2.9), []
    for axes, (label, found) in zip(figure.subplots(1, len(fields), squeeze=False)[0], fields.items(), strict=True):
        (top, bottom), (left, right) = found.window
        half = 0.56 * (right - left + 1)
        axes.imshow(found.map, cmap="Greys", vmin=0)
        box = dict(fill=False, edgecolor=BLUE, linewidth=1.5)
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, **box))
        spread = dict(width=4 * found.sigma[1], height=4 * found.sigma[0])
        axes.add_patch(Ellipse(found.centre[::-1], **spread, fill=False, edgecolor=RED, linestyle="--", linewidth=1.5))
        axes.set_xlim((left + right) / 2 - half, (left + right) / 2 + half)
        axes.set_ylim((top + bottom) / 2 + half, (top + bottom) / 2 - half)
        axes.set_title(f"{label}: field {bottom - top + 1}, sd {found.sigma[0]:.1f} pixels", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        told.append(f"{label}: standard deviation {found.sigma[0]:.1f} pixels in a window of {bottom - top + 1}")
    return figure.saying(f"Effective receptive fields. {'; '.join(told)}.")


def of_what(kernel: int = 3, depth: int = 3) -> Picture:
    """Return the weights of a stack and of the one layer with the same receptive field as bars, and what lies between.

    kernel, depth: of the stack, all layers with C channels in and out, stride 1, no biases.
    """
    field = receptive_field([Layer("conv", kernel)] * depth).size
    stack, single = depth * kernel**2, field**2
    figure = Picture(6.6, 1.5)
    axes = figure.subplots()
    axes.barh((1, 0), (stack, single), color=(BLUE, ORANGE), hatch=("", "//"), edgecolor="white")
    axes.barh(1, single - stack, left=stack, color="none", edgecolor=GREY, linestyle="--")
    over = dict(facecolor="white", edgecolor="none", pad=1)
    for x, y, weights in ((stack / 2, 1, stack), (single / 2, 0, single)):
        axes.text(x, y, f"{weights} C²", ha="center", va="center", fontsize=9, bbox=over)
    asked = f"{single - stack} C²: which per cent, of which bar?"
    axes.text((stack + single) / 2, 1, asked, ha="center", va="center", fontsize=8)
    axes.set_yticks((1, 0), (f"{depth} of {kernel}x{kernel}", f"1 of {field}x{field}"))
    axes.set_xticks([])
    axes.set_xlabel("weights, with C channels in and out", fontsize=8)
    plain(axes)
    return figure.saying(
        f"Weights: {stack} C² in the stack, {single} C² in the single layer, {single - stack} C² between."
    )


def stack_against_one(kernel: int = 3, depth: int = 3, channels: int = 64, side: int = 56) -> Picture:
    """Return weights, MACs and kept outputs of a stack of layers beside the one layer with the same receptive field.

    kernel, depth: of the stack, all layers with ``channels`` in and out, stride 1, on maps ``side`` pixels wide, padded
    so that they keep their size; no biases. Outputs are float32, what training keeps of one picture. The bars are in
    units of the single layer, all on one scale, so that stacks of any size can be compared; the numbers above them are
    what they cost, those on the stack's bars their ratio to the single layer's.
    """
    field = receptive_field([Layer("conv", kernel)] * depth).size
    names_of_both = (f"{depth} of {kernel}x{kernel}", f"1 of {field}x{field}")
    weights = [depth * kernel**2 * channels**2, field**2 * channels**2]
    panels = (
        ("weights (thousands)", [value / 1e3 for value in weights]),
        ("MACs (millions)", [value * side**2 / 1e6 for value in weights]),
        ("outputs kept (MB)", [count * channels * side**2 * 4 / 1e6 for count in (depth, 1)]),
    )
    figure = Picture(6.6, 2.4)
    tallest = max(4, *(values[0] / values[1] for _, values in panels))
    for axes, (label, values) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
        heights = [value / values[1] for value in values]
        axes.axhline(1, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
        axes.bar((0, 1), heights, color=(BLUE, ORANGE), hatch=("", "//"), edgecolor="white")
        axes.set_xticks((0, 1), names_of_both)
        for x, (height, value) in enumerate(zip(heights, values, strict=True)):
            over = dict(facecolor="white", edgecolor="none", pad=0.6)  # the dashed line passes behind
            axes.annotate(
                three_digits(value), (x, height), (0, 2), textcoords="offset points", bbox=over, ha="center", fontsize=8
            )
        axes.text(0, heights[0] / 2, f"{heights[0]:.2g}×", ha="center", va="center", fontsize=8, color="white")
        axes.set_title(label, fontsize=9)
        axes.set_ylim(0, 1.2 * tallest)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        plain(axes)
    figure.axes[0].set_ylabel("times the\nsingle layer (1: dashed)", fontsize=8)
    figure.axes[1].set_xlabel(
        f"{channels} channels in and out, maps of {side} x {side}, one picture, float32", fontsize=8
    )
    share = f"{100 * weights[0] / weights[1]:.0f} % of the weights"
    return figure.saying(f"{names_of_both[0]} against {names_of_both[1]}, both with a field of {field}: {share}.")


def shrinking(
    ways: Mapping[str, Sequence[tuple[float, float, float]]],
    whole: float,
    chosen: Mapping[str, float] | None = None,
    told: str = "",
) -> Picture:
    """Return accuracy over the weights, or bytes, that are left, a curve a way: {way: [(weights, mean, spread)]}.

    At most three ways. Weights and accuracies are in per cent. Two panels: all points, and those near ``whole``, the
    accuracy before, which is drawn as a dotted line. Bars show the spread of the points in sight.
    chosen: the weights of one point of each way, which gets a ring.
    """
    figure = Picture(7.4, 3.4)
    every, near = figure.subplots(1, 2)
    for axes, lowest in ((every, -math.inf), (near, whole - 2.5)):
        axes.axhline(whole, color=GREY, linestyle=":", linewidth=1)
        for (way, points), colour, style in zip(ways.items(), (BLUE, RED, GREY), ("o-", "s--", "^:"), strict=False):
            weights, means, spreads = zip(*sorted(points), strict=True)
            bars = [spread if mean >= lowest else 0.0 for mean, spread in zip(means, spreads, strict=True)]
            axes.errorbar(weights, means, bars, fmt=style, color=colour, markersize=4, capsize=2, linewidth=1.2,
                          label=way)  # fmt: skip
            ringed = [(x, mean) for x, mean in zip(weights, means, strict=True) if x == (chosen or {}).get(way)]
            if ringed:
                axes.plot(*zip(*ringed, strict=True), "o", color=colour, fillstyle="none", markersize=12)
        axes.set(xscale="log", xlabel="weights of fc6, or bytes, that are left (%)", ylabel="accuracy (%)")
        axes.xaxis.set_major_formatter("{x:g}")
        plain(axes)
    top = max(mean + spread for points in ways.values() for _, mean, spread in points)
    near.set(ylim=(whole - 2.5, max(top, whole) + 0.3), ylabel="")
    near.set_title("the last 2.5 points", fontsize=10)
    every.set_title("all", fontsize=10)
    near.text(0.01, whole, "nothing taken away", color=GREY, fontsize=8, va="bottom",
              transform=near.get_yaxis_transform())  # fmt: skip
    every.legend(frameon=False, fontsize=9, loc="lower right")
    ends = "; ".join(f"{way} from {min(p[1] for p in points):.1f} to {max(p[1] for p in points):.1f} %"
                     for way, points in ways.items())  # fmt: skip
    ring = "".join(f"; ringed: {way} at {weights:.1f} %" for way, weights in (chosen or {}).items())
    return figure.saying(told or f"Accuracy over weights left: {ends}{ring}; nothing taken away {whole:.1f} %.")


def windows_on_a_side(windows: Sequence[tuple[int, int]], size: int) -> Picture:
    """Return a bar for each unit's window, (first, last) pixel, over the grey band of the ``size`` pixels of a side.

    What lies in the picture is blue; what sticks out of it, and is padding, is orange and hatched. The windows are
    unclipped. Units are counted from 0, the first at the top.
    """
    figure = Picture(6.4, 0.9 + 0.32 * len(windows))
    axes = figure.subplots()
    axes.axvspan(-0.5, size - 0.5, color="#DDDDDD", linewidth=0)
    for unit, (first, last) in enumerate(windows):
        inside = max(first, 0), min(last, size - 1)
        for start, end, colour in ((first, min(last, -1), ORANGE), (*inside, BLUE), (max(first, size), last, ORANGE)):
            if start <= end:
                look = dict(facecolor=colour, hatch=None if colour == BLUE else "////", edgecolor="white", linewidth=0)
                axes.add_patch(Rectangle((start - 0.5, unit - 0.33), end - start + 1, 0.66, **look))
        middle = sum(inside) / 2 if inside[0] <= inside[1] else (first + last) / 2
        colour = "white" if inside[0] <= inside[1] else "black"
        axes.text(middle, unit, f"{first} to {last}", ha="center", va="center", fontsize=8, color=colour)
    out = sum(first < 0 or last >= size for first, last in windows)
    axes.set_xlim(min(0, *(first for first, _ in windows)) - 8, max(size, *(last for _, last in windows)) + 8)
    axes.set_ylim(len(windows) - 0.5, -0.5)
    axes.set_yticks(range(len(windows)), [f"unit {unit}" for unit in range(len(windows))])
    axes.set_xticks([0, size - 1])
    axes.set_xlabel(f"grey: the pixels of the picture, 0 to {size - 1}; hatched: padding", fontsize=9)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    plain(axes)
    counts = f"of {len(windows)} windows {out} stick{'s' if out == 1 else ''} out, {len(windows) - out} "
    counts += "lies inside" if len(windows) - out == 1 else "lie inside"
    axes.set_title(counts, fontsize=10)
    spoken = ", ".join(f"{first} to {last}" for first, last in windows)
    return figure.saying(f"Along a side of {size} pixels {counts}: {spoken}.")
