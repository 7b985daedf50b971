"""Networks drawn: Table 1, shapes, blocks, and where parameters, MACs and activations sit in them."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from vgglib.configurations import TABLE_1, Layer, layers, names
from vgglib.cost import CostTable, cost
from vgglib.figures.picture import BLUE, GREEN, GREY, ORANGE, RED, SKY, Picture, bare_axes, plain
from vgglib.model import VGG, map_size


def table_1(configurations: Mapping[str, str] = TABLE_1) -> Picture:
    """Return Table 1 drawn from the data: a column per configuration, input at the top, new layers outlined."""
    columns = {name: layers(text) for name, text in configurations.items()}
    figure = Picture(1.35 * len(columns) + 0.4, 6.2)
    axes = bare_axes(figure)
    rows = _block_rows(columns.values())
    before: list[Layer] = []
    for x, (name, stack) in enumerate(columns.items()):
        weighted = sum(layer.kind == "conv" for layer in stack) + 3
        axes.text(x + 0.5, 1.8, f"{name}\n{weighted} layers", ha="center", va="bottom", fontsize=10, weight="bold")
        places = dict(zip(names(before), before, strict=True))
        for label, layer in zip(names(stack), stack, strict=True):
            new = bool(before) and places.get(label) != layer
            _table_box(axes, x, -rows[label], layer, new)
        before = stack
    depth = max(rows.values()) + 1
    for row, text in enumerate(("FC-4096", "FC-4096", "FC-1000")):
        for x in range(len(columns)):
            axes.add_patch(Rectangle((x + 0.04, -depth - row - 0.4), 0.92, 0.8, facecolor="#EEEEEE", edgecolor="none"))
            axes.text(x + 0.5, -depth - row, text, ha="center", va="center", fontsize=8)
    for y, text in ((1.0, "input: pictures of 224 x 224, RGB"), (-depth - 3, "soft-max")):
        axes.add_patch(
            Rectangle((0.04, y - 0.4), len(columns) - 0.08, 0.8, facecolor="white", edgecolor=GREY, linewidth=0.8)
        )
        axes.text(len(columns) / 2, y, text, ha="center", va="center", fontsize=8)
    axes.set_xlim(0, len(columns))
    axes.set_ylim(-depth - 3.6, 4.4)
    counts = ", ".join(f"{name} {sum(layer.kind == 'conv' for layer in stack)}" for name, stack in columns.items())
    return figure.saying(f"Configurations as columns of layers, input at the top; convolutions: {counts}.")


def _block_rows(stacks: object) -> dict[str, int]:
    """Return a row for every layer name, so that blocks of all columns start at the same height."""
    rows: dict[str, int] = {}
    blocks: dict[int, list[str]] = {}
    for stack in stacks:
        block = 1
        for label, layer in zip(names(stack), stack, strict=True):
            found = blocks.setdefault(block, [])
            if label not in found:
                found.append(label)
            block += layer.kind == "pool"
    row = 0
    for found in blocks.values():
        convolutions = [label for label in found if not label.startswith("pool")]
        second = [label for label in convolutions if label.endswith("_2")]
        for label in convolutions:
            if label.startswith("lrn") and second:  # the normalisation stands where other columns have a second layer
                rows[label] = row + 1
        for n, label in enumerate(label for label in convolutions if label.startswith("conv")):
            rows[label] = row + n
        row += sum(label.startswith("conv") for label in convolutions)
        for label in found:
            rows.setdefault(label, row)
        row += 1
    return rows


def _table_box(axes: Axes, x: int, y: float, layer: Layer, new: bool) -> None:
    if layer.kind == "pool":
        axes.add_patch(Rectangle((x + 0.04, y - 0.36), 0.92, 0.72, facecolor=GREY, edgecolor="none"))
        axes.text(x + 0.5, y, "max-pooling", ha="center", va="center", fontsize=7, color="white")
        return
    colour = {1: "#FBE3B8", 3: "#CFE5F5"}.get(layer.kernel, "#D8EFE4") if layer.kind == "conv" else "#F3DCE9"
    text = f"conv{layer.kernel}-{layer.channels}" if layer.kind == "conv" else "LRN"
    outline = dict(edgecolor="black", linewidth=1.6) if new else dict(edgecolor="none")
    axes.add_patch(Rectangle((x + 0.04, y - 0.4), 0.92, 0.8, facecolor=colour, **outline))
    axes.text(x + 0.5, y, text, ha="center", va="center", fontsize=8, weight="bold" if new else "normal")


def shapes(configuration: str = "A", image_size: int = 224, width: float = 1.0) -> Picture:
    """Return the feature maps that each block hands on: their side in pixels as height, their channels as breadth.

    Below each stands what its block is made of. All heights are to one scale, on which 224 pixels (or a larger
    picture) fill the figure; breadths are to a scale of their own.
    """
    stack = layers(configuration)
    blocks, kinds, channels = [], [], 0
    for n, layer in enumerate(stack):
        kinds.append(layer.kind)
        if layer.kind == "conv":
            channels = max(1, round(layer.channels * width))
        if layer.kind == "pool" or n == len(stack) - 1:
            blocks.append((map_size(stack[: n + 1], (image_size, image_size))[0], channels, kinds))
            kinds = []
    figure = Picture(6.4, 3.0)
    axes = bare_axes(figure)
    x, told = 0.0, []
    for side, depth, made_of in [(image_size, None, []), *blocks]:
        breadth = 0.12 if depth is None else 0.12 + 0.9 * depth / 512
        tall = side / max(224, image_size)
        face = "#DDDDDD" if depth is None else SKY
        axes.add_patch(Rectangle((x, -tall / 2), breadth, tall, facecolor=face, edgecolor="black", linewidth=0.8))
        label = f"input\n{side} x {side}" if depth is None else f"{depth}\n{side} x {side}"
        axes.text(x + breadth / 2, tall / 2 + 0.03, label, ha="center", va="bottom", fontsize=8)
        if made_of:
            below = f"{made_of.count('conv')} conv" + " + LRN" * ("lrn" in made_of) + "\n+ pool" * ("pool" in made_of)
            axes.text(x + breadth / 2, -0.57, below, ha="center", va="bottom", fontsize=8, color=GREY)
            told.append(f"{depth} x {side} x {side} after {' '.join(below.split())}")
        x += breadth + 0.45
    axes.set_xlim(-0.1, x)
    axes.set_ylim(-0.6, 0.8)
    return figure.saying(f"Feature maps of {configuration} for an input {image_size} wide: {', '.join(told)}.")


def where_it_sits(table: CostTable, title: str = "") -> Picture:
    """Return three bar charts over the same layers: parameters, MACs and activation bytes, with unit and total."""
    figure = Picture(7.2, 0.7 + 0.21 * len(table))
    rows = [row for row in table if row.parameters or row.macs or row.activation_bytes]
    panels = (
        ("parameters (millions)", [row.parameters / 1e6 for row in rows], BLUE),
        ("MACs (billions)", [row.macs / 1e9 for row in rows], ORANGE),
        ("activations (MB)", [row.activation_bytes / 1e6 for row in rows], GREEN),
    )
    all_axes = figure.subplots(1, 3, sharey=True)
    for axes, (label, values, colour) in zip(all_axes, panels, strict=True):
        axes.barh(range(len(rows)), values, color=colour)
        for y, value in enumerate(values):
            if value >= 0.02 * max(values):
                axes.text(value, y, f" {value:.3g}", va="center", fontsize=7)
        axes.set_title(f"{label}, {sum(values):.3g} in all", fontsize=9)
        axes.set_xlim(0, 1.25 * max(max(values), 1e-9))
        plain(axes)
    all_axes[0].set_yticks(range(len(rows)), [f"{row.name}" for row in rows], fontsize=7)
    all_axes[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.suptitle(title, fontsize=10)
    return figure.saying(
        f"{title or 'Network'}: {table.parameters:,} parameters, {table.macs:,} MACs, "
        f"{table.activation_bytes:,} activation bytes, layer by layer."
    )


def configuration_costs(
    configuration: str = "D", image_size: int = 224, width: float = 1.0, start: Mapping[str, object] | None = None
) -> Picture:
    """Return where the parameters, MACs and activations of a configuration sit, for RGB pictures and 1000 classes.

    start: another configuration, image_size and width to compare with. Then every layer is a dot on axes that stay the
    same whatever is chosen, logarithmic ones, a ring shows where the layer was at the start, and a number beside
    those that have moved apart how often the dot holds the ring's value.
    """
    table, title = _named_costs(configuration, image_size, width)
    if start is None:
        return where_it_sits(table, title)
    before, before_title = _named_costs(**start)
    figure = Picture()
    _moved(figure, table, before)
    figure.suptitle(f"● {title}    ○ {before_title}", fontsize=9)
    return figure.saying(
        f"{title}: {table.parameters:,} parameters, {table.macs:,} MACs, {table.activation_bytes:,} activation bytes. "
        f"Rings: {before_title}."
    )


@lru_cache(maxsize=256)
def _named_costs(configuration: str, image_size: int, width: float) -> tuple[CostTable, str]:
    """Return the costs of a configuration under the paper's names of its layers, and a title."""
    stack = layers(configuration)
    with torch.device("meta"):  # shapes are enough
        net = VGG(configuration, image_size=image_size, width=width)
    paper = iter([*names(stack), "fc6", "fc7", "fc8"])
    table = cost(net, image_size)
    named = CostTable([type(row)(row.name if row.kind == "input" else next(paper), *_rest(row)) for row in table])
    return named, f"Configuration {configuration} at {image_size} pixels, width {width:g}"


def _moved(figure: Picture, now: CostTable, before: CostTable) -> None:
    """Draw every layer's three costs as dots, joined with rings for those it had before, on axes that stay."""
    there = [name for text in TABLE_1.values() for name in names(layers(text))]
    rows = sorted({*there, *(row.name for row in [*now, *before])}, key=_depth)
    figure.set_size_inches(7.4, 0.9 + 0.19 * len(rows))
    panels = (
        ("parameters", "parameters", (1e2, 3e9), BLUE),
        ("macs", "MACs", (1e5, 1e11), ORANGE),
        ("activation_bytes", "activations (bytes)", (1e2, 1e9), GREEN),
    )
    all_axes = figure.subplots(1, 3, sharey=True)
    for axes, (kind, label, limits, colour) in zip(all_axes, panels, strict=True):
        old, new = ({row.name: getattr(row, kind) for row in table if getattr(row, kind)} for table in (before, now))
        for name in filter(new.get, old):
            axes.plot((old[name], new[name]), [rows.index(name)] * 2, color=colour, linewidth=1.2)
            if new[name] != old[name]:
                beside = dict(xytext=(6, 0), textcoords="offset points", va="center", fontsize=6, in_layout=False)
                right = max(old[name], new[name]), rows.index(name)
                axes.annotate(f"×{new[name] / old[name]:.2g}", right, **beside)
        ring = dict(markerfacecolor="none", markeredgecolor=GREY, markersize=7)
        axes.plot(list(old.values()), [rows.index(name) for name in old], "o", **ring)
        axes.plot(list(new.values()), [rows.index(name) for name in new], "o", color=colour, markersize=4)
        axes.set_xscale("log")
        axes.set_title(f"{label}\n○ {sum(old.values()):,}\n● {sum(new.values()):,}", fontsize=8)
        axes.set_xticks([1e3, 1e6, 1e9][kind == "macs" :], ["thousand", "million", "billion"][kind == "macs" :])
        axes.set_xlim(min(limits[0], *new.values()), max(limits[1], *new.values()))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=7)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
        plain(axes)
    all_axes[0].set_yticks(range(len(rows)), rows, fontsize=7)
    has = {row.name for row in now}
    for text in all_axes[0].get_yticklabels():
        text.set_color("black" if text.get_text() in has else "#BBBBBB")
    all_axes[0].set_ylim(len(rows) - 0.4, -0.6)


def _depth(name: str) -> tuple:
    """Return what sorts the paper's names of layers from the input on: a block's pooling is its last."""
    kind, block, place = re.fullmatch(r"([a-z]+)(\d*)_?(\d*)", name).groups()
    return int(block or 0), kind == "pool", int(place or 0), kind


def _rest(row: object) -> tuple:
    return (row.kind, row.output_shape, row.parameters, row.macs, row.activation_bytes)


def four_blocks() -> Picture:
    """Return two layers as four kinds of networks build them: VGG, residual, RepVGG in training, and RepVGG folded."""
    figure = Picture(7.4, 3.6)
    axes = bare_axes(figure)
    columns = (
        (0.0, "VGG", ("conv 3x3", "ReLU", "conv 3x3", "ReLU")),
        (2.1, "residual", ("conv 3x3, norm", "ReLU", "conv 3x3, norm", "+", "ReLU")),
        (7.0, "RepVGG, folded", ("conv 3x3", "ReLU", "conv 3x3", "ReLU")),
    )
    for x, title, steps in columns:
        heights = [4.1 - 4.1 * n / (len(steps) - 1) for n in range(len(steps))]
        _steps(axes, x, title, steps, heights)
    axes.plot([2.1, 2.95, 2.95, 2.55], [4.85, 4.85, 1.025, 1.025], color=RED, linewidth=1.6)
    axes.annotate("", (2.28, 1.025), (2.6, 1.025), arrowprops=dict(arrowstyle="->", color=RED, linewidth=1.6))
    axes.text(3.08, 2.9, "the shortcut:\nadds what\nwent in", fontsize=8, color=RED, va="center")
    axes.text(5.0, 5.5, "RepVGG, in training", ha="center", fontsize=10, weight="bold")
    for top in (4.1, 1.6):
        for x, label in ((4.3, "3x3, norm"), (5.0, "1x1,\nnorm"), (5.6, "norm")):
            axes.plot(
                [5.0, x, x, 5.0], [top + 0.75, top + 0.6, top - 0.55, top - 0.7], color=GREY, linewidth=1, zorder=0
            )
            _step(axes, x, top, label, 0.8 if "3x3" in label else 0.5)
        _step(axes, 5.0, top - 1.05, "+, ReLU", 0.8)
        axes.plot([5.0, 5.0], [top - 0.7, top - 1.75 if top > 2 else top - 1.6], color=GREY, linewidth=1, zorder=0)
    axes.set_xlim(-0.8, 7.8)
    axes.set_ylim(-0.7, 5.9)
    return figure.saying(
        "Two layers as four networks build them. VGG: convolution and ReLU, twice. Residual: a shortcut adds the input "
        "to the second convolution. RepVGG in training: 3x3, 1x1 and nothing side by side, normalised and summed; "
        "folded: VGG again."
    )


def _steps(axes: Axes, x: float, title: str, steps: Sequence[str], heights: Sequence[float]) -> None:
    axes.plot([x, x], [heights[0] + 0.75, heights[-1] - 0.6], color=GREY, linewidth=1, zorder=0)
    axes.text(x, 5.5, title, ha="center", fontsize=10, weight="bold")
    for text, y in zip(steps, heights, strict=True):
        _step(axes, x, y, text, 0.36 if text == "+" else 1.3)


def _step(axes: Axes, x: float, y: float, text: str, width: float) -> None:
    face = "#CFE5F5" if "3x3" in text else "#FBE3B8" if "1x1" in text else "#EEEEEE"
    axes.add_patch(Rectangle((x - width / 2, y - 0.25), width, 0.5, facecolor=face, edgecolor="black", linewidth=0.8))
    axes.text(x, y, text, ha="center", va="center", fontsize=8)
