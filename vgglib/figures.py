"""Every picture of the book, as pure functions to a matplotlib Figure: no pyplot, no global state.

Each figure carries a sentence that says what it shows: notebooks store it beside the image, tests read it.
Colours are Okabe and Ito's, which colour-blind readers tell apart; no figure relies on colour alone.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.ticker import FixedLocator, NullLocator
from torch import Tensor, nn
from torch.nn import functional

from vgglib.augment import view
from vgglib.balance import Trained
from vgglib.configurations import TABLE_1, Layer, layers, names
from vgglib.cost import CostTable, cost
from vgglib.foundations import correlate, descend, output_size, ravine, ravine_slope
from vgglib.localisation import Box, corners, iou
from vgglib.memory import PURPOSES, Memory, memory
from vgglib.model import INITIALISATIONS, VGG, initialise, map_size
from vgglib.receptive_field import receptive_field
from vgglib.scaling import PATTERNS, ring_steps, speed_up, step_seconds, traffic

BLUE, ORANGE, GREEN, RED, SKY, PINK, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#777777"


class Picture(Figure):
    """A figure that knows what it shows; in a notebook the sentence is its text and the image's alternative text."""

    def __init__(self, width: float = 6.0, height: float = 3.5):
        super().__init__(figsize=(width, height), layout="constrained", facecolor="white")
        self.text_alternative = ""

    def saying(self, sentence: str) -> "Picture":
        """Return the figure with its sentence."""
        self.text_alternative = sentence
        return self

    def __repr__(self) -> str:
        return f"Figure: {self.text_alternative}"

    __str__ = __repr__

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        width, height = (round(96 * inches) for inches in self.get_size_inches())
        about = {"alt": self.text_alternative, "width": width, "height": height}
        return {"text/plain": repr(self), "image/png": self._png()}, {"image/png": about}

    def _png(self) -> bytes:
        image, before = io.BytesIO(), self.dpi
        try:  # the same bytes as savefig's, which draws everything once more to lay it out first
            self.dpi = 150
            FigureCanvasAgg(self).print_png(image)
        finally:
            self.dpi = before
        return image.getvalue()


def captioned(png: bytes, words: str) -> bytes:
    """Return a PNG image, its background white, with a line of words below it."""
    image = imread(io.BytesIO(png))
    height, width, line = *image.shape[:2], 40
    figure = Figure(figsize=(width / 150, (height + line) / 150), dpi=150, facecolor="white")
    figure.figimage(image, 0, line)
    figure.text(12 / width, 0.3 * line / (height + line), words, fontsize=8, color=GREY)
    below = io.BytesIO()
    figure.savefig(below, format="png")
    return below.getvalue()


def table_1(configurations: Mapping[str, str] = TABLE_1) -> Picture:
    """Return Table 1 drawn from the data: a column per configuration, input at the top, new layers outlined."""
    columns = {name: layers(text) for name, text in configurations.items()}
    figure = Picture(1.35 * len(columns) + 0.4, 6.2)
    axes = _bare(figure)
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
    axes = _bare(figure)
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
        _plain(axes)
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
        _plain(axes)
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


def pictures(
    images: object,
    titles: Sequence[str] = (),
    columns: int = 10,
    told: str = "",
    rows: Sequence[str] = (),
    framed: bool = False,
) -> Picture:
    """Return greyscale pictures (N, 1, H, W) on a grid, each with its title above; rows: a name before each row.

    Pixels count from 0 (white) to 255 (black).

    framed: a thin line around each picture, where it matters how far its empty ground reaches.
    """
    count = math.ceil(len(images) / columns)
    figure = Picture(0.78 * columns + 0.7 * bool(rows), (1.0 if titles else 0.78) * count)
    for n, axes in enumerate(figure.subplots(count, columns, squeeze=False).flat):
        axes.axis("off")
        if rows and n % columns == 0:
            axes.text(-0.12, 0.5, rows[n // columns], transform=axes.transAxes, ha="right", va="center", fontsize=9)
        if n < len(images):
            axes.imshow(np.asarray(images[n][0]), cmap="gray_r", vmin=0, vmax=255)
            if framed:
                height, width = images[n][0].shape
                axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=GREY, linewidth=0.8))
            if titles:
                axes.set_title(titles[n], fontsize=7)
    return figure.saying(told or f"{len(images)} pictures" + (f": {'; '.join(titles)}" if titles else ""))


def samples(images: object, per_class: int = 8) -> Picture:
    """Return the first pictures of every class of an ImageSet, a row per class."""
    figure = Picture(0.62 * per_class + 1.3, 0.62 * len(images.classes))
    grid = figure.subplots(len(images.classes), per_class)
    for label, (row, name) in enumerate(zip(grid, images.classes, strict=True)):
        found = images.images[images.labels == label][:per_class]
        for axes, picture in zip(row, found, strict=True):
            axes.imshow(np.asarray(picture[0]), cmap="gray_r", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
            for side in axes.spines.values():
                side.set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure.saying(f"{per_class} pictures of each class: {', '.join(images.classes)}.")


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
    weights, X = torch.tensor(kernel, dtype=torch.float64), _bytes(picture).double() / 255
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


def _bytes(picture: Tensor) -> Tensor:
    """Return a picture that is drawn from 0 (white) to 255 (black); ValueError if it may count to something else."""
    if picture.dtype != torch.uint8:
        raise ValueError(f"expected a picture in uint8, from 0 to 255, got {picture.dtype}")
    return picture


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
    _draw_channels(_bare(above), in_channels, out_channels)
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
    _plain(left)
    _plain(right)
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


def history(run: object) -> Picture:
    """Return the loss and the accuracies of a training run by epoch."""
    figure = Picture(6.4, 3.0)
    left, right = figure.subplots(1, 2)
    epochs = run.column("number")
    style = dict(marker="o", markersize=3)
    left.plot(epochs, run.column("train_loss"), color=BLUE, **style)
    left.axhline(math.log(run.classes), color=GREY, linestyle=":", linewidth=1)
    where = dict(ha="right", va="bottom", transform=left.get_yaxis_transform())
    left.text(0.98, math.log(run.classes), f"guessing: ln({run.classes})", color=GREY, fontsize=8, **where)
    left.set(xlabel="epoch", title="train loss", ylim=(0, None))
    right.plot(epochs, run.column("train_accuracy"), color=BLUE, **style)
    _label_end(right, epochs, run.column("train_accuracy"), "train", BLUE, -1)
    watched = run.column("validation_accuracy")
    if watched and watched[0] is not None:
        right.plot(epochs, watched, color=RED, linestyle="--", marker="s", markersize=3)
        _label_end(right, epochs, watched, run.watched, RED, 1)
    right.set(xlabel="epoch", title="accuracy")
    left.set_xlim(0.5, run.recipe.epochs + 0.5)
    right.set_xlim(0.5, 1.28 * run.recipe.epochs + 0.5)
    left.xaxis.get_major_locator().set_params(integer=True)
    ticks = [tick for tick in left.get_xticks() if 1 <= tick <= run.recipe.epochs]  # not beside the labels
    for axes in (left, right):
        axes.set_xticks(ticks)
        _plain(axes)
    return figure.saying(f"Training run: {run}.")


def _label_end(axes: Axes, x: Sequence[float], y: Sequence[float], text: str, colour: str, side: int) -> None:
    axes.annotate(
        text, (x[-1], y[-1]), (5, 5 * side), textcoords="offset points", color=colour, fontsize=8, va="center"
    )


def confusion_matrix(counts: object, classes: Sequence[str]) -> Picture:
    """Return counts (classes, classes) as a map: a row per true class, a column per answer, wrong answers in red."""
    figure = Picture(6.2, 5.0)
    axes = figure.subplots()
    counts = counts.tolist()
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            share = count / max(1, sum(line))
            colour = BLUE if row == column else RED
            strength = min(1.0, share if row == column else 4 * share)
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, alpha=0.75 * strength))
            if count:
                axes.text(column, row, count, ha="center", va="center", fontsize=8)
    axes.set_xlim(-0.5, len(classes) - 0.5)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    axes.set(xlabel="answer of the network", ylabel="true class")
    wrong = [(n, classes[r], classes[c]) for r, line in enumerate(counts) for c, n in enumerate(line) if r != c]
    n, true, answer = max(wrong, default=(0, "", ""))
    mistake = f"the most frequent mistake: {true} taken for {answer}, {n} times" if n else "no mistake"
    return figure.saying(f"Confusion matrix; {mistake}.")


def lines(
    series: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    log: bool = False,
    told: str = "",
    at: Sequence[int] = (),
) -> Picture:
    """Return up to four labelled curves over 1, 2, 3, ..., on a logarithmic scale if asked; ValueError beyond four.

    at: places on the x axis that get a dotted line.
    """
    if len(series) > 4:
        raise ValueError(f"at most four curves can be told apart by their labels, got {len(series)}")
    figure = Picture(6.0, 3.5)
    axes = figure.subplots()
    look = zip(series.items(), (BLUE, RED, GREEN, ORANGE), ("o-", "s--", "^-.", "v:"), strict=False)
    for (name, values), colour, style in look:
        x = range(1, len(values) + 1)
        axes.plot(x, values, style, color=colour, markersize=4)
        place = dict(xytext=(5, 0), textcoords="offset points")  # beside the last marker, not on it
        axes.annotate(f" {name}", (x[-1], values[-1]), color=colour, fontsize=9, va="center", **place)
    for x in at:
        axes.axvline(x, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    longest = max(map(len, series.values()))
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear", xlim=(0.5, 1.3 * longest + 0.5))
    axes.set_xticks(range(1, longest + 1) if longest <= 20 else [1, *range(5, longest + 1, 5)])
    _plain(axes)
    between = "; " if any("," in name for name in series) else ", "
    dotted = f"; dotted at {', '.join(map(str, at))}" if at else ""
    return figure.saying(told or f"{ylabel} by {xlabel}: {between.join(series)}{dotted}.")


def bars(values: Mapping[str, float], xlabel: str, told: str = "", form: str = "{:,.0f}") -> Picture:
    """Return labelled horizontal bars, the first at the top."""
    figure = Picture(6.0, 0.6 + 0.3 * len(values))
    axes = figure.subplots()
    axes.barh(list(values), list(values.values()), color=BLUE)
    for y, value in enumerate(values.values()):
        axes.text(value, y, " " + form.format(value), va="center", fontsize=8)
    axes.set_xlim(0, 1.2 * max(values.values()))
    axes.invert_yaxis()
    axes.set_xlabel(xlabel)
    _plain(axes)
    spoken = ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
    return figure.saying(told or f"{xlabel}: {spoken}.")


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
    _plain(axes)
    told = ", ".join(f"{name} {values[-1]:.0e}" for name, values in curves.items())
    return figure.saying(f"Standard deviation of the signal after {network or f'{depth} layers'}: {told}.")


def _bare(figure: Figure) -> Axes:
    axes = figure.subplots()
    axes.axis("off")
    return axes


def _plain(axes: Axes) -> None:
    """Take away what carries no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


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
    axes = _bare(figure)
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


def seen_in_picture(picture: Tensor, windows: Mapping[str, tuple], told: str = "") -> Picture:
    """Return a greyscale picture (H, W, uint8) with windows over it: {label: ((top, bottom), (left, right))}, pixels.

    Raises ValueError for a picture of another format.
    """
    figure = Picture(3.8, 4.0)
    axes = _bare(figure)
    axes.imshow(np.asarray(_bytes(picture)), cmap="gray_r", vmin=0, vmax=255)
    height, width = picture.shape
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=GREY, linewidth=0.8))
    look = zip(windows.items(), (BLUE, RED, GREEN, ORANGE), ("-", "--", "-.", ":"), strict=False)
    for (label, ((top, bottom), (left, right))), colour, style in look:
        side = dict(fill=False, edgecolor=colour, linestyle=style, linewidth=2)
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, **side))
        ground = dict(facecolor="white", edgecolor="none", pad=1, alpha=0.85)
        axes.text(left - 0.5, top - 0.9, label, color=colour, fontsize=10, weight="bold", va="bottom", bbox=ground)
    rows, columns = zip(*windows.values(), strict=True)
    axes.set_xlim(min(0, *(first for first, _ in columns)) - 1.5, max(width, *(last for _, last in columns)) + 1)
    axes.set_ylim(max(height, *(last for _, last in rows)) + 1, min(0, *(first for first, _ in rows)) - 3)
    spoken = "; ".join(f"{label}: rows {rows}, columns {columns}" for label, (rows, columns) in windows.items())
    return figure.saying(told or f"What units see of the picture. {spoken}.")


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


# --- testing: the ladder, score maps, crops ------------------------------------------------------------------------


def ladder(rungs: Sequence[object], title: str = "ours") -> Picture:
    """Return the paper's top-1 errors and ours, rung by rung (protocol.ladder): a dot a seed, a bar at the mean.

    Both in per cent, on scales of their own: ImageNet's thousand classes are harder than ten. A rung whose ``paper`` is
    None, which the paper did not test, has no point on its side.
    """
    figure = Picture(7.0, 0.9 + 0.42 * len(rungs))
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(rungs))
    starts = [y for y, rung in enumerate(rungs) if y == 0 or rung.gain is None]
    ours = {y: list(rung.errors.values()) for y, rung in enumerate(rungs) if rung.errors}
    papers = {y: [rung.paper] for y, rung in enumerate(rungs) if rung.paper is not None}
    means = {y: sum(values) / len(values) for y, values in ours.items()}
    left.plot([paper for (paper,) in papers.values()], list(papers), "s--", color=RED, markersize=5)
    for y, (above, rung) in enumerate(pairwise(rungs), start=1):
        both = [seed for seed in rung.errors if seed in above.errors] if rung.gain else []
        if both:  # no line leads to other pictures, and none compares other seeds
            right.plot([sum(one.errors[seed] for seed in both) / len(both) for one in (above, rung)], [y - 1, y], "-",
                       color=BLUE)  # fmt: skip
    _beside(left, papers, (), RED, 1)
    for y, values in ours.items():
        right.plot(values, [y] * len(values), "o", color=BLUE, alpha=0.5, markersize=4)
        right.plot([means[y]], [y], "|", color=BLUE, markersize=11, markeredgewidth=2)
    _beside(right, ours, starts, BLUE, 2)
    most = max(map(len, ours.values()), default=0)
    fewer = {y: f"\n({len(ours[y])} of {most} seeds)" for y in ours if len(ours[y]) < most}
    left.set_yticks(places, [f"{rung.label}{fewer.get(y, '')}" for y, rung in enumerate(rungs)], fontsize=8)
    left.set_ylim(len(rungs) - 0.5, -0.7)
    for axes, name in (
        (left, "the paper, ImageNet\nS = Q = 256; jitter: Q = 384"),
        (right, f"{title}\nS = Q = 32; jitter: Q = 48"),
    ):
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("top-1 error (%)" + "; the bar is the mean" * (axes is right), fontsize=8)
        low, high = axes.get_xlim()
        axes.set_xlim(low - 0.15 * (high - low), high + 0.2 * (high - low))
        _plain(axes)
    told = ", ".join(f"{mean:.2f}" for mean in means.values())
    paper = ", ".join(f"{paper:.1f}" for (paper,) in papers.values())
    return figure.saying(f"Top-1 error in per cent, rung by rung. The paper: {paper}. {title}: {told}.")


def _beside(axes: object, rungs: Mapping[int, list[float]], starts: Sequence[int], color: str, decimals: int) -> None:
    """Write each rung's mean above its mark, away from the line that comes from the rung above, save at ``starts``."""
    above = None
    for y, values in rungs.items():
        mean = sum(values) / len(values)
        left = y not in starts and above is not None and above > mean
        at = {"ha": "right" if left else "left", "va": "bottom", "fontsize": 8, "color": color}
        axes.annotate(f"{mean:.{decimals}f}", (mean, y), (-3 if left else 3, 2), textcoords="offset points", **at)
        above = mean


OUTLINE = 60  # grey value, of 255, at which a line runs around a garment


def score_maps(picture: Tensor, maps: Mapping[str, Tensor], crop: int = 1, stride: int = 1) -> Picture:
    """Return a picture (H, W, uint8) and, beside it, one map of posteriors (h, w), 0 to 1, for each label.

    crop: side of the square that a place of the map answers for; stride: pixels from place to place. The maps lie on
    the picture's axes, each place at the centre of its crop, grey where no crop has its centre; thin lines outline what
    lies in the picture, and a cross marks the largest posterior. Raises ValueError for a picture of another format.
    """
    height, width = picture.shape
    first_centre = (crop - 1) / 2
    figure = Picture(1.9 * (len(maps) + 1), 2.2)
    first, *others = figure.subplots(1, len(maps) + 1)
    first.imshow(np.asarray(_bytes(picture)), cmap="gray_r", vmin=0, vmax=255)
    drawn = None
    first.set_title(f"{picture.shape[0]} x {picture.shape[1]} pixels", fontsize=9)
    told = []
    for axes, (label, values) in zip(others, maps.items(), strict=True):
        bottom, right = (first_centre + stride * (places - 0.5) for places in values.shape)
        corner = first_centre - stride / 2
        drawn = axes.imshow(np.asarray(values), cmap="Blues", vmin=0, vmax=1, extent=(corner, right, bottom, corner))
        best = divmod(int(values.argmax()), values.shape[1])
        axes.plot(*(first_centre + stride * place for place in reversed(best)), "x", color=RED, markersize=8)
        axes.set_facecolor("0.8")  # no crop has its centre here
        if picture.min() < OUTLINE < picture.max():
            axes.contour(np.asarray(picture), levels=[OUTLINE], colors="0.4", linewidths=0.5)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axes.set_title(f"{label}\nat most {float(values.max()):.2f}", fontsize=9)
        told.append(f"{label} at row {best[0]}, column {best[1]}")
    for axes in (first, *others):
        axes.set_xticks([])
        axes.set_yticks([])
    if drawn is not None:
        key = figure.colorbar(drawn, cax=others[-1].inset_axes((1.06, 0, 0.06, 1)))
        key.set_label("posterior (×: the largest)", fontsize=8)
        key.ax.tick_params(labelsize=7)
    return figure.saying(f"Where a network sees what: the largest posterior of {'; of '.join(told)}.")


def crop_and_posteriors(
    picture: Tensor,
    window: tuple[int, int, int, int],
    posteriors: Tensor,
    classes: Sequence[str],
    told: str = "",
    truth: int | None = None,
) -> Picture:
    """Return a picture (H, W) with a crop drawn on it, and the posteriors (classes,) that the crop was given.

    window: top, left, height and width of the crop in pixels. truth: the number of the picture's true class, which is
    then named and marked among the classes. The largest posterior, the answer, is orange and hatched.
    """
    figure = Picture(6.0, 2.8)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    left.imshow(np.asarray(picture), cmap="gray_r")
    top, first, height, width = window
    frame = dict(fill=False, edgecolor=RED, linewidth=2, clip_on=False, zorder=3)  # whole at the border, too
    left.add_patch(Rectangle((first - 0.5, top - 0.5), width, height, **frame))
    left.set_title(f"{picture.shape[0]} x {picture.shape[1]} pixels", fontsize=9)
    left.set_xticks([])
    left.set_yticks([])
    values = [float(value) for value in posteriors]
    best = max(range(len(values)), key=values.__getitem__)
    drawn = right.barh(range(len(values)), values, color=[ORANGE if n == best else BLUE for n in range(len(values))])
    drawn[best].set(hatch="//", edgecolor="white")
    right.set_yticks(range(len(values)), classes, fontsize=8)
    right.set_title(f"answer (orange): {classes[best]}", fontsize=9)
    if truth is not None:
        right.set_yticks(range(len(values)), [f"→ {one}" if n == truth else one for n, one in enumerate(classes)])
        right.get_yticklabels()[truth].set(weight="bold")
        about = dict(xycoords=("axes fraction", "data"), xytext=(-7, 0), textcoords="offset points", alpha=0)
        for n, one in enumerate(classes):  # room for the widest, so that the bars stay where they are
            right.annotate(f"→ {one}", (0, n), ha="right", va="center", fontsize=8, weight="bold", **about)
        right.set_title("orange: the answer; →: the true class", fontsize=9)
    right.set_xlim(0, 1)
    right.set_ylim(len(values) - 0.4, -0.6)
    right.set_xlabel("posterior", fontsize=8)
    _plain(right)
    seen = f"rows {top} to {top + height - 1}, columns {first} to {first + width - 1}"
    given = f"The crop of {seen} is taken for {classes[best]}, posterior {values[best]:.2f}"
    return figure.saying(told or given + ("." if truth is None else f"; its true class is {classes[truth]}."))


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
    _plain(axes)
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
                _three(value), (x, height), (0, 2), textcoords="offset points", bbox=over, ha="center", fontsize=8
            )
        axes.text(0, heights[0] / 2, f"{heights[0]:.2g}×", ha="center", va="center", fontsize=8, color="white")
        axes.set_title(label, fontsize=9)
        axes.set_ylim(0, 1.2 * tallest)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        _plain(axes)
    figure.axes[0].set_ylabel("times the\nsingle layer (1: dashed)", fontsize=8)
    figure.axes[1].set_xlabel(
        f"{channels} channels in and out, maps of {side} x {side}, one picture, float32", fontsize=8
    )
    share = f"{100 * weights[0] / weights[1]:.0f} % of the weights"
    return figure.saying(f"{names_of_both[0]} against {names_of_both[1]}, both with a field of {field}: {share}.")


def training_scales(picture: Tensor, scales: Sequence[int] = (256, 384, 512), crop: int = 224) -> Picture:
    """Return a picture (C, H, W, uint8) rescaled to each S, its middle crop marked, and below it that crop alone."""
    height, width = picture.shape[1:]
    short = min(height, width)
    shown = np.asarray(picture.permute(1, 2, 0))
    sizes = [(height * scale // short, width * scale // short) for scale in scales]
    tall = max(max(high for high, _ in sizes), crop)
    gap = 0.07 * tall
    across = sum(wide for _, wide in sizes) + gap * (len(sizes) - 1)
    below = 1.16 * tall  # where the crops begin
    figure = Picture(6.4, min(7.4, 6.4 * 1.05 * (below + crop + 0.15 * tall) / across))
    axes, left, told = _bare(figure), 0.0, []
    for scale, (high, wide) in zip(scales, sizes, strict=True):
        axes.imshow(shown, cmap="gray_r", extent=(left, left + wide, high, 0), interpolation="antialiased")
        corner = (left + (wide - crop) / 2, (high - crop) / 2)
        axes.add_patch(Rectangle(corner, crop, crop, fill=False, edgecolor="white", linewidth=3.5))
        axes.add_patch(Rectangle(corner, crop, crop, fill=False, edgecolor=RED, linewidth=1.8, linestyle="--"))
        share = 100 * crop**2 / (high * wide)
        axes.text(left + wide / 2, -0.02 * tall, f"S = {scale}\n{high} x {wide}", ha="center", va="bottom", fontsize=9)
        axes.text(
            left + wide / 2, high + 0.02 * tall, f"crop: {share:.0f} % of the area", ha="center", va="top", fontsize=9
        )
        place = (corner[0], corner[0] + crop, below + crop, below)
        axes.imshow(
            _seen(picture, crop, scale), cmap="gray_r", vmin=0, vmax=1, extent=place, interpolation="antialiased"
        )
        told.append(f"{share:.0f} % at S = {scale}")
        left += wide + gap
    axes.text((left - gap) / 2, below + crop + 0.02 * tall, f"what the network gets: always {crop} x {crop} pixels",
              ha="center", va="top", fontsize=9)  # fmt: skip
    axes.set(xlim=(-0.01 * tall, left - gap + 0.01 * tall), ylim=(below + crop + 0.1 * tall, -0.12 * tall))
    axes.set_aspect("equal")
    return figure.saying(f"A crop of {crop} x {crop} pixels shows of the picture {', '.join(told)}.")


def _seen(picture: Tensor, crop: int, scale: int) -> np.ndarray:
    """Return the middle crop of a picture (C, H, W, uint8) rescaled to ``scale``: (crop, crop, C), from 0 to 1."""
    return np.asarray(view(picture[None], crop, scale)[0].permute(1, 2, 0).clamp(0, 1))  # rounding would pass it


def errors_over_scales(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> Picture:
    """Return top-1 errors in per cent over the test scale Q, a curve for each network: {panel: {name: [(Q, error)]}}.

    Up to four networks, with the same names in every panel; the panels have axes of their own.
    """
    figure = Picture(3.7 * len(panels), 3.3)
    told = []
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        look = zip(curves.items(), (BLUE, RED, GREEN, ORANGE), ("o-", "s--", "^-.", "v:"), strict=False)
        ends = sorted((points[-1][1], name) for name, points in curves.items())
        top, apart, heights = max(error for points in curves.values() for _, error in points), 0.0, {}
        for end, name in ends:  # labels that would lie on each other are moved up
            heights[name] = apart = max(end, apart)
            apart += 0.06 * top
        for (name, points), colour, style in look:
            scales, errors = zip(*points, strict=True)
            axes.plot(scales, errors, style, color=colour, markersize=4)
            axes.annotate(f" {name}", (scales[-1], heights[name]), color=colour, fontsize=8, va="center",
                          xytext=(5, 0), textcoords="offset points")  # fmt: skip
            told.append(f"{title}, {name}: {', '.join(f'{error:.1f} at {Q}' for Q, error in points)}")
        axes.set_title(title, fontsize=10)
        axes.set(xlabel="test scale Q (pixels)", ylabel="top-1 error (%)", ylim=(0, 1.08 * top), xticks=scales)
        axes.set_xlim(scales[0] - 2, scales[-1] + 0.42 * (scales[-1] - scales[0]))
        _plain(axes)
    return figure.saying(f"Top-1 error in per cent by test scale. {'; '.join(told)}.")


def seen_at_scale(picture: Tensor, S: int = 256, crop: int = 224) -> Picture:
    """Return a picture (C, H, W, uint8) with its middle crop at training scale S, and that crop as the network sees it.

    The crop is always drawn as large as the picture is high, for the network always sees ``crop`` pixels: what it shows
    grows with S. Raises ValueError where the crop is larger than the rescaled picture.
    """
    height, width = picture.shape[1:]
    high, wide = (side * S // min(height, width) for side in (height, width))
    if crop > S:
        raise ValueError(f"a crop of {crop} pixels has no place in a picture whose smallest side is {S}")
    shown = np.asarray(picture.permute(1, 2, 0))
    figure = Picture(6.4, 4.1)
    axes = figure.subplots(1, 2, width_ratios=(wide / high, 1))
    left, top = (wide - crop) / 2, (high - crop) / 2
    edges = dict(fill=False, edgecolor=RED, linestyle="--", linewidth=1.8)
    axes[0].imshow(shown, cmap="gray_r", extent=(0, wide, high, 0), interpolation="antialiased")
    place = (left, left + crop, top + crop, top)
    axes[1].imshow(_seen(picture, crop, S), cmap="gray_r", vmin=0, vmax=1, extent=place, interpolation="antialiased")
    titles = f"S = {S}: {high} x {wide} pixels", f"what the network sees: {crop} x {crop}"
    for one, title in zip(axes, titles, strict=True):
        one.set_title(title, fontsize=9)
        one.set_xticks([])
        one.set_yticks([])
    axes[0].add_patch(
        Rectangle((left, top), crop, crop, **{**edges, "edgecolor": "white", "linestyle": "-", "linewidth": 3.5})
    )
    axes[0].add_patch(Rectangle((left, top), crop, crop, **edges))
    axes[1].set(xlim=(left, left + crop), ylim=(top + crop, top))
    axes[1].spines[:].set(color=RED, linestyle="--", linewidth=1.8)
    share = f"{100 * crop**2 / (high * wide):.0f} % of the area"
    axes[0].set_xlabel(f"crop: {share}", fontsize=9)
    axes[1].set_xlabel(f"rescaled by {S / min(height, width):.2f}", fontsize=9)
    return figure.saying(f"At S = {S} a crop of {crop} x {crop} pixels shows {share} of the picture.")


def _three(value: float) -> str:
    """Return a number in three digits, but without an exponent: 0.176, 38.3, 1,024."""
    if 0 < value < 0.001:
        return "less than 0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def doublings(
    series: Mapping[str, Sequence[float]],
    ylabel: str,
    told: str = "",
    limits: tuple[float, float] | None = None,
    mark: tuple[float, float, str] | None = None,
) -> Picture:
    """Return up to three labelled curves over 1, 2, 4, ... devices, and the ideal line: n devices, n times.

    Curves that coincide share a label. limits: the lowest and highest value shown; by default what the curves need.
    mark: devices, value and name of a point to show beside them.
    """
    if len(series) > 3:
        raise ValueError(f"at most three curves beside the ideal one, got {len(series)}")
    figure = Picture(6.0, 3.6)
    axes = figure.subplots()
    devices = [2**n for n in range(max(map(len, series.values())))]
    axes.plot(devices, devices, ":", color=GREY, linewidth=1)
    axes.plot(devices, [1] * len(devices), color=GREY, linewidth=0.8)
    low = min(0.6, max(1 / 32, min(map(min, series.values()))))
    low, high = limits or (0.6 * low, 4 * devices[-1])
    colours, styles = dict(zip(series, (BLUE, RED, GREEN), strict=False)), ("o-", "s--", "^-.")
    ends = {"one device": [1.0] * len(devices), "ideal": devices}
    for (name, values), style in zip(series.items(), styles, strict=False):
        colour = colours[name]
        axes.plot(devices[: len(values)], values, style, color=colour, markersize=4)
        if values[-1] >= low:
            ends[name] = values
        else:  # its label stands where it leaves the axes
            last = next(n for n, value in enumerate(values) if value < low) - 1
            share = math.log(values[last] / low) / math.log(values[last] / values[last + 1])
            axes.annotate(
                f"  {name} \u2193", (devices[last] * 2**share, low * 1.1), color=colour, fontsize=9, va="bottom"
            )
    line = (high / low) ** (1 / 19)  # what a line of text takes
    height = low * line**-0.4
    for same in sorted(_coinciding(ends), key=lambda same: ends[same[0]][-1]):
        first = ends[same[0]]
        height = max(line * height, first[-1])
        colour = next((colours[name] for name in same if name in colours), GREY)
        axes.annotate(f"  {', '.join(same)}", (devices[len(first) - 1], height), color=colour, fontsize=9, va="center")
    if mark is not None:
        axes.plot(*mark[:2], "o", markersize=9, markerfacecolor="none", markeredgecolor="black", zorder=4)
        axes.annotate(mark[2], mark[:2], (6, -13), textcoords="offset points", fontsize=9)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(devices, [f"{n:,}" for n in devices])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"1/{1 / value:,.0f}")
    axes.set(xlabel="devices", ylabel=ylabel, xlim=(0.9, devices[-1] * 5), ylim=(low, max(high, line * height)))
    _plain(axes)
    spoken = "; ".join(f"{name} {_at_devices(values)}" for name, values in series.items())
    return figure.saying(told or f"{ylabel} by number of devices: {spoken}.")


def _coinciding(ends: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Return the names of curves in groups: those of a group lie within a twentieth of its first one everywhere."""
    groups: list[list[str]] = []
    for name, values in ends.items():
        for group in groups:
            first = ends[group[0]]
            if len(first) == len(values) and all(
                abs(math.log(a / b)) < 0.05 for a, b in zip(first, values, strict=True)
            ):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


def _at_devices(values: Sequence[float]) -> str:
    """Return the values at 4, 64 and 1,024 devices, as far as there are any, and at the most, in words."""
    most = len(values) - 1
    return ", ".join(f"{_three(values[n])} at {2**n:,}" for n in sorted({2, 6, 10, most}) if n <= most)


def speed_ups(
    parameters: int = 138_357_544,
    batch: int = 256,
    per_device: bool = False,
    images_per_second: float = 16.7,
    gigabytes_per_second: float = 3.25,
    hidden: float = 0.0,
    most: int = 1024,
) -> Picture:
    """Return the speed-up that scaling.step_seconds predicts for 1, 2, 4, ... devices, joined as a ring or a star.

    batch: pictures a step, or with ``per_device`` for each device. hidden: share of the computing time behind which
    sending hides. gigabytes_per_second: of one connection, one way. The axes stay, whatever the settings.
    """
    sizes = [2**n for n in range(most.bit_length())]
    about = dict(parameters=parameters, images_per_second=images_per_second, hidden=hidden)
    about["bytes_per_second"] = 1e9 * gigabytes_per_second
    series = {
        pattern: [speed_up(devices, batch, per_device, pattern=pattern, **about) for devices in sizes]
        for pattern in PATTERNS
    }
    figure = doublings(series, "speed-up", limits=(1 / 256, 4096))
    settings = (
        f"{4 * parameters / 1e6:,.0f} MB; {batch:,} pictures {'for each device' if per_device else 'a step'}; "
        f"{_three(images_per_second)} pictures/s; {gigabytes_per_second:g} GB/s; hidden {hidden:g}"
    )
    figure.axes[0].set_title(settings, fontsize=9)
    return figure.saying(f"{settings}. {figure.text_alternative.capitalize()}")


def steps_in_time(
    devices: Sequence[int] = (4, 64),
    batch: int = 256,
    parameters: int = 138_357_544,
    images_per_second: float = 16.7,
    gigabytes_per_second: float = 3.25,
) -> Picture:
    """Return one step of a ring in time (scaling.step_seconds), for several numbers of devices on one axis of seconds.

    A bar for each device: its work, then, hatched, the talk. gigabytes_per_second: of one connection, one way.
    """
    figure = Picture(6.0, 0.5 + 0.9 * len(devices))
    spoken, longest = [], 0.0
    for axes, n in zip(figure.subplots(len(devices), sharex=True, squeeze=False)[:, 0], devices, strict=True):
        talk = traffic(n, parameters) / (1e9 * gigabytes_per_second)
        seconds = step_seconds(n, batch, parameters, images_per_second, 1e9 * gigabytes_per_second)
        bar = dict(height=0.8 if n < 16 else 1.0, linewidth=0)
        axes.barh(range(n), seconds - talk, color=BLUE, **bar)
        axes.barh(range(n), talk, left=seconds - talk, color=ORANGE, hatch="//", edgecolor="white", **bar)
        told = f"work {seconds - talk:.2f} s, then talk {talk:.2f} s"
        axes.text(seconds, (n - 1) / 2, f"  {told}", va="center", fontsize=9)
        axes.set(ylim=(n - 0.5, -0.5), yticks=[])
        axes.set_title(f"{n} devices, {math.ceil(batch / n)} pictures each", fontsize=9, loc="left")
        _plain(axes)
        spoken.append(f"{n} devices, each {told}")
        longest = max(longest, seconds)
    axes.set(xlabel="seconds", xlim=(0, 1.6 * longest))
    return figure.saying(f"A step of {batch} pictures in a ring: {'; '.join(spoken)}.")


def ring(devices: int = 3) -> Picture:
    """Return what the devices of a ring hold, part by part, at the start and after every pass (scaling.ring_steps).

    A row is a device, a column a part of the gradient; in a field stand the devices whose numbers are added up in it.
    A part that has just come has a thick frame and an arrow; a title names the round and the pass. Drawn for 2 to 5
    devices; ValueError for others.
    """
    if not 2 <= devices <= 5:
        raise ValueError(f"the fields get too small or too few to read: take 2 to 5 devices, got {devices}")
    held, everybody = ring_steps(devices), set(range(1, devices + 1))
    figure = Picture(min(12.0, 1.6 * len(held)), 2.3 if devices < 4 else 2.8)
    done = []
    for step, (axes, rows) in enumerate(zip(figure.subplots(1, len(held)), held, strict=True)):
        axes.set(xlim=(0, devices), ylim=(devices, -0.3), xticks=[], yticks=[], aspect="equal")
        for row, parts in enumerate(rows):
            for column, part in enumerate(parts):
                new, whole = step > 0 and part != held[step - 1][row][column], part == everybody
                look = dict(edgecolor=RED, linewidth=2.5, zorder=3) if new else dict(edgecolor="white", linewidth=1)
                fill = SKY if whole else str(0.97 - 0.14 * (len(part) - 1))
                axes.add_patch(Rectangle((column + 0.05, row + 0.05), 0.9, 0.9, facecolor=fill, **look))
                if new:  # it came from the device above, to the first from the last
                    arrow = dict(arrowstyle="-|>", color=RED, shrinkA=0, shrinkB=0)
                    ends = dict(xy=(column + 0.5, row + 0.26), xytext=(column + 0.5, row - 0.26))
                    axes.annotate("", arrowprops=arrow, zorder=5, **ends)
                told = "all" if whole else "+".join(map(str, sorted(part)))
                axes.text(column + 0.5, row + 0.5, told, ha="center", va="center", fontsize=9 - len(told) / 4, zorder=4)
        if step == 0:
            axes.set_yticks([row + 0.5 for row in range(devices)], [f"device {row + 1}" for row in range(devices)])
            axes.set_xticks([part + 0.5 for part in range(devices)], [f"{part + 1}" for part in range(devices)])
            axes.set_xlabel("part", fontsize=9)
            axes.tick_params(length=0, labelsize=9)
        meant = "reduce-scatter" if step < devices else "all-gather"
        axes.set_title(f"{meant}\npass {step}" if step else "start", fontsize=9)
        axes.spines[:].set_visible(False)
        done.append(sum(part == everybody for parts in rows for part in parts))
    return figure.saying(
        f"A ring of {devices} devices, {devices} parts each. Finished sums at the start and after each pass: "
        f"{', '.join(map(str, done))} of {devices**2}."
    )


def _shown_memory(size: float) -> str:
    """Return bytes as GB without the unit, or in MB where two digits would not show them."""
    return f"{size / 1e9:.2f}" if size >= 1e8 else f"{size / 1e6:.3g} MB"


def step_memory(
    configuration: str = "D", image_size: int = 224, batch: int = 32, start: Mapping[str, object] | None = None
) -> Picture:
    """Return what a step holds, as stacked bars: in use, and in training by SGD, with momentum, and by Adam.

    For RGB pictures, 1000 classes and float32; batch: pictures in a step. 1 GB is a billion bytes. start: another
    configuration, image_size and batch to compare with: its bars stand behind in grey, and the axis holds them; only
    where a bar no longer fits it becomes 5, 25 or 125 times as long. "update" is what Adam needs for its step, as on a
    CPU, beyond the room that the activations have left.
    """
    held = _held(configuration, image_size, batch)
    before = held if start is None else _held(**start)
    figure = Picture(7.4, 2.9 if start is None else 3.3)
    axes, told = figure.subplots(), []
    if start is not None:
        totals = [found.total / 1e9 for found in before.values()]
        axes.barh(range(len(totals)), totals, color="#DDDDDD", edgecolor=GREY, linewidth=0.8, height=0.9)
    widest = 1.16 * max(found.total for found in before.values())
    while widest < 1.16 * max(found.total for found in held.values()):
        widest *= 5
    look = dict(parameters=(BLUE, ""), gradients=(ORANGE, "//"), optimiser=(PINK, ".."), activations=(SKY, "xx"))
    for y, (purpose, found) in enumerate(held.items()):
        left = 0.0
        for part, (colour, hatch) in look.items():
            size = getattr(found, part)
            bar = dict(color=colour, hatch=hatch, edgecolor="white", height=0.62)
            axes.barh(y, size / 1e9, left=left / 1e9, label="" if y else part, **bar)
            if size > 0.085 * widest:
                box = dict(facecolor="white", edgecolor="none", pad=1, alpha=0.85)
                middle = (left + size / 2) / 1e9
                axes.text(middle, y, f"{part}\n{size / 1e9:.2f}", ha="center", va="center", fontsize=7, bbox=box)
            left += size
        if (more := found.total - left) > 0:  # by which the update is larger than the activations, which have gone
            axes.barh(y, more / 1e9, left=left / 1e9, color=GREY, edgecolor="white", height=0.62)
            if more > 0.085 * widest:
                axes.text((left + more / 2) / 1e9, y, "update", ha="center", va="center", fontsize=7, color="white")
        axes.text(found.total / 1e9, y, f" {found.total / 1e9:.2f} GB", va="center", fontsize=8)
        update = f", its update {_shown_memory(found.update)}" if more > 0 else ""
        told.append(
            f"{purpose} {found.total / 1e9:.2f} GB, of which activations {_shown_memory(found.activations)}{update}"
        )
    axes.set_yticks(range(len(held)), list(held))
    axes.set_ylim(len(held) - 0.5, -0.5)
    axes.set(xlabel="memory (GB)", xlim=(0, widest / 1e9))
    title = f"Configuration {configuration}, {image_size} pixels, batch {batch}"
    _plain(axes)
    axes.set_title(title, fontsize=10)
    if start is None:
        return figure.saying(f"{title}: {'; '.join(told)}.")
    grey = Rectangle((0, 0), 1, 1, facecolor="#DDDDDD", edgecolor=GREY, linewidth=0.8)
    grey.set_label("start: {configuration}, {image_size} pixels, batch {batch}".format(**start))
    figure.legend(handles=[*axes.containers[1:5], grey], loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure.saying(f"{title}: {'; '.join(told)}. Grey: {grey.get_label()}.")


@lru_cache(maxsize=256)
def _held(configuration: str, image_size: int, batch: int) -> dict[str, Memory]:
    """Return what a step holds for each purpose."""
    with torch.device("meta"):  # shapes are enough
        net = VGG(configuration, image_size=image_size)
    return {purpose: memory(net, batch, purpose) for purpose in PURPOSES}


def shares(
    pairs: Mapping[str, tuple[float, float]], labels: tuple[str, str], mark: str = "", told: str = ""
) -> Picture:
    """Return two bars for each name, each number as a per cent of its column's sum: {name: (first, second)}.

    mark: a name that is written in bold, and whose two shares stand in the title.
    """
    figure = Picture(6.0, 0.9 + 0.24 * len(pairs))
    axes = figure.subplots()
    sums = [sum(pair[n] for pair in pairs.values()) for n in (0, 1)]
    for n, (colour, hatch) in enumerate(((BLUE, ""), (ORANGE, "//"))):
        values = [100 * pair[n] / sums[n] for pair in pairs.values()]
        places = [y + 0.2 * (2 * n - 1) for y in range(len(pairs))]
        axes.barh(places, values, 0.4, color=colour, hatch=hatch, edgecolor="white", label=labels[n])
    axes.set_yticks(range(len(pairs)), list(pairs))
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.set_xlabel("per cent of the whole network")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    if mark:
        first, second = (100 * pairs[mark][n] / sums[n] for n in (0, 1))
        axes.set_title(f"{mark}: {first:.1f} % of the {labels[0]}, {second:.1f} % of the {labels[1]}", fontsize=10)
        axes.get_yticklabels()[list(pairs).index(mark)].set_fontweight("bold")
    _plain(axes)
    largest = max(pairs, key=lambda name: pairs[name][1] / sums[1])
    spoken = f"largest in {labels[1]}: {largest}, {100 * pairs[largest][1] / sums[1]:.0f} %"
    if mark:
        spoken = f"{axes.get_title()}; {spoken}"
    return figure.saying(told or f"{labels[0]} beside {labels[1]}, by layer; {spoken}.")


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
        _plain(axes)
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


def four_blocks() -> Picture:
    """Return two layers as four kinds of networks build them: VGG, residual, RepVGG in training, and RepVGG folded."""
    figure = Picture(7.4, 3.6)
    axes = _bare(figure)
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


def two_boxes(
    picture: Tensor, truth: Box, x: float = 14, y: float = 14, width: float = 20, height: float = 20
) -> Picture:
    """Return a picture (H, W, uint8) with the true box around its object and another one, and how well the two agree.

    truth: (centre x, centre y, width, height) in pixels, as are the numbers of the other box. Raises ValueError for a
    picture of another format, and for what is no box.
    """
    found = (x, y, width, height)
    agreement = iou(truth, found)
    figure = Picture(4.8, 4.3)
    axes = _bare(figure)
    high, wide = picture.shape
    across, down = wide / 2, high / 3  # room for a box that leaves the picture; a larger one is cut off there
    axes.imshow(
        np.asarray(_bytes(picture)), cmap="gray_r", vmin=0, vmax=255, extent=(0, picture.shape[1], picture.shape[0], 0)
    )
    for box, colour, line, label in ((truth, BLUE, "-", "true box"), (found, RED, "--", "found box")):
        left, top, right, bottom = corners(box)
        look = dict(fill=False, edgecolor=colour, linestyle=line, linewidth=2)
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, **look))
        axes.plot(box[0], box[1], "+", color=colour, markersize=9)
        below = label == "found box"
        side = dict(ha="right", va="top") if below else dict(ha="left", va="bottom")
        at = (min(right, wide + across), min(bottom, high + down - 3) + 0.8) if below else (left, top - 0.8)
        axes.text(*at, label, color=colour, fontsize=8, bbox=dict(facecolor="white", edgecolor="none", pad=0.6), **side)
    axes.set_xlim(-across, wide + across)
    axes.set_ylim(high + down, -down)
    axes.add_patch(Rectangle((0, 0), *picture.shape[::-1], fill=False, edgecolor=GREY, linewidth=0.8))
    verdict = "right" if agreement > 0.5 else "wrong"
    axes.set_title(f"intersection over union {agreement:.2f}: {verdict}", fontsize=10)
    return figure.saying(
        f"Found box of {width} x {height} pixels around ({x}, {y}); intersection over union with the true "
        f"box {agreement:.2f}, which counts as {verdict}."
    )


def accuracy_against_cost(
    networks: Sequence[Trained], by: str = "MACs", joined: Sequence[tuple[str, str]] = ()
) -> Picture:
    """Return test accuracy against cost, one numbered point a network, with names and standard deviations beside it.

    A bar reaches from the lowest to the highest run. by: "MACs" (for one picture) or "parameters". Records differ in
    shape and colour, and stand together in the list; bars of nearly one cost differ in the width of their caps.
    joined: pairs of labels, with a thin line between them where a record has both. Raises ValueError for another
    ``by``, for a pair that no record has, and if there is no network.
    """
    if by not in ("MACs", "parameters"):
        raise ValueError(f"by is 'MACs' or 'parameters', got {by!r}")
    if not networks:
        raise ValueError("there is no network to draw")
    best = sorted(networks, key=lambda net: -net.mean)
    groups = list(dict.fromkeys((net.record, net.shown) for net in best))
    ordered = sorted(best, key=lambda net: groups.index((net.record, net.shown)))
    records = list(dict.fromkeys(net.record for net in networks))
    figure = Picture(9.2, max(3.8, 0.8 + 0.23 * (len(ordered) + len(groups))))
    axes, beside = figure.subplots(1, 2, width_ratios=(1.25, 1))
    beside.axis("off")
    points, bars = {}, []
    costs = [(net.macs if by == "MACs" else net.parameters) / 1e6 for net in ordered]
    caps, places = _caps(costs), {}
    for n, net in enumerate(ordered):
        place = records.index(net.record)
        look = dict(color=_WHEEL[place % len(_WHEEL)], marker=_MARKERS[place % len(_MARKERS)])
        cost_of, error = costs[n], 100 * (1 - net.mean)
        errors = [error, *(100 * (1 - share) for share in net.reached)]
        reach = [[error - min(errors)], [max(errors) - error]]
        dot = dict(markersize=5, markeredgecolor="white", markeredgewidth=0.4, **look)
        axes.errorbar(cost_of, error, reach, capsize=caps[n], capthick=0.8, linewidth=0.8, ecolor=look["color"], **dot)
        points[str(n + 1)] = (cost_of, error)
        bars += [(cost_of, error + share) for share in np.linspace(-reach[0][0], reach[1][0], 25)]
        places[net.record, net.label] = cost_of, error
        group = groups.index((net.record, net.shown))
        row = n + group + 1  # below the names of the groups so far
        if n == 0 or (net.record, net.shown) != (ordered[n - 1].record, ordered[n - 1].shown):
            beside.plot(0.02, row - 0.1, markersize=5, clip_on=False, **look)
            shown = f"{net.record}: {net.shown / 1e3:.0f}k pictures shown"
            beside.text(0.06, row - 0.1, shown, fontsize=8, va="center", fontweight="bold")
        spread = f" ± {100 * net.sd:.1f}" if net.n > 1 else ""
        said = f"{n + 1:>2}  {100 * net.mean:.1f}{spread}  {net.label} ({net.n})"
        beside.text(0.06, row + 0.9, said, fontsize=7.5, va="center")
    for one, other in joined:
        found = [record for record in records if {(record, one), (record, other)} <= {*places}]
        if not found:
            raise ValueError(f"no record has both {one!r} and {other!r}")
        for record in found:
            line = np.geomspace(places[record, one], places[record, other], 50)  # straight on logarithmic axes
            axes.plot(*line.T, color=GREY, linewidth=0.7, zorder=0)
            bars += [*line]
    beside.set(xlim=(0, 1), ylim=(len(ordered) + len(groups) + 0.5, 0.5))
    beside.set_title("test accuracy in %, network (n), by the records", fontsize=8, loc="left")
    axes.set(xscale="log", yscale="log", ylabel="test accuracy (%), logarithmic in the error")
    axes.invert_yaxis()  # the errors of good networks are small and near each other: a logarithm keeps them apart
    axes.yaxis.set_major_locator(FixedLocator([90, 50, 30, 20, 15, 10, 8, 6, 5]))
    axes.yaxis.set_major_formatter(lambda error, _place: f"{100 - error:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.margins(0.08)
    axes.set_xlabel("million MACs for one picture" if by == "MACs" else "million parameters")
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(lambda value, _place: f"{value:g}" if f"{value:e}"[0] in "125" else "")
    _plain(axes)
    axes.tick_params(which="minor", labelsize=8)
    _numbers(figure, axes, points, bars)
    first, last = best[0], best[-1]
    return figure.saying(
        f"Test accuracy of {len(ordered)} trained networks against {by}: from {100 * last.mean:.1f} % ({last.label}) "
        f"to {100 * first.mean:.1f} % ({first.label})."
    )


def _caps(costs: Sequence[float], narrow: float = 2.0, step: float = 1.6) -> list[float]:
    """Return half the width in points of each bar's caps: bars within 2 % of each other's cost get different ones."""
    caps = [narrow] * len(costs)
    ordered = sorted(range(len(costs)), key=lambda n: (costs[n], n))
    for before, n in pairwise(ordered):
        if costs[n] < 1.02 * costs[before]:
            caps[n] = caps[before] + step
    return caps


def _numbers(figure: Picture, axes: Axes, points: Mapping[str, tuple[float, float]], bars: Sequence) -> None:
    """Write a name near each point, nearer than any other point, where other names, points and bars leave most room."""
    figure.draw_without_rendering()  # only a figure that is laid out knows where its points lie
    place = axes.transData.transform
    dots = place(list(points.values())) * 72 / figure.dpi
    taken = [*dots, *place(bars) * 72 / figure.dpi]
    turns = np.arange(16) * np.pi / 8
    around = [np.array([far * np.cos(turn), far * np.sin(turn)]) for far in (8, 10, 12, 15) for turn in turns]
    crowded = np.sort(np.hypot(*(dots[:, None] - dots).T), axis=0)[1:4].sum(axis=0)  # the fuller a place, the sooner
    for name, dot in sorted(zip(points, dots, strict=True), key=lambda one: crowded[[*points].index(one[0])]):
        room = [min(8, *np.hypot(*((dot + offset - taken) * (0.8, 1)).T)) for offset in around]
        others = dots[(dots != dot).any(axis=1)]
        for place_of, offset in enumerate(around):
            nearest = min(np.hypot(*(dot + offset - others).T), default=np.inf)
            room[place_of] += 10 * min(0, nearest - np.hypot(*offset) - 0.5)
        best = around[int(np.argmax(room))]
        taken.append(dot + best)
        axes.annotate(name, points[name], best, textcoords="offset points", fontsize=7, ha="center", va="center")


_WHEEL = (BLUE, RED, GREEN, ORANGE, PINK, SKY, GREY)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def curves(values: Mapping[str, Sequence[float]], told: str = "") -> Picture:
    """Return functions on 0 to 1, sampled at equal steps, each in a panel of its own, with a dot where it bends."""
    figure = Picture(2.2 * len(values), 2.0)
    for axes, (label, samples_of) in zip(
        figure.subplots(1, len(values), squeeze=False)[0], values.items(), strict=True
    ):
        x, y = np.linspace(0, 1, len(samples_of)), np.asarray(samples_of)
        bends = 1 + np.flatnonzero(np.abs(np.diff(y, 2)) > 1e-3 * np.abs(np.diff(y)).max())
        axes.plot(x, y, color=BLUE)
        axes.plot(x[bends], y[bends], "o", color=RED, markersize=4)
        axes.set_title(label, fontsize=9)
        axes.set_xlabel("input", fontsize=8)
        axes.set_xticks([0, 1])
        axes.set_yticks([0, 1])
        _plain(axes)
    figure.axes[0].set_ylabel("output", fontsize=8)
    return figure.saying(told or f"Functions of one number from 0 to 1: {', '.join(values)}.")


def interval(low: float, high: float, xlabel: str, marks: Mapping[str, float]) -> Picture:
    """Return an interval as a line with a dot at its middle, and a dashed line at each value to compare with."""
    figure = Picture(6.0, 1.3)
    axes = figure.subplots()
    axes.plot([low, high], [0, 0], color=BLUE, linewidth=3)
    axes.plot([(low + high) / 2], [0], "o", color=BLUE)
    for name, value in marks.items():
        axes.axvline(value, color=GREY, linestyle="--", linewidth=1)
        axes.text(value, 0.6, f"{name} ", ha="right", fontsize=8, color=GREY)
    axes.margins(x=0.25)
    axes.set_ylim(-1, 1.2)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(xlabel, fontsize=9)
    _plain(axes)
    compared = ", ".join(f"{name} at {value:.2f}" for name, value in marks.items())
    return figure.saying(f"{xlabel}: from {low:.2f} to {high:.2f}, beside {compared}.")


def dots(
    values: Mapping[str, Sequence[float]], xlabel: str, told: str = "", mark: tuple[float, str] | None = None
) -> Picture:
    """Return a row of dots for each label, one per run, with a bar at their mean; many dots are spread over the row.

    mark: a value to compare with, and its name; a dashed line stands there. Raises ValueError for a label without
    values, and for a value that is not finite.
    """
    figure = Picture(6.0, 0.8 + 0.5 * len(values))
    axes = figure.subplots()
    _rows_of_dots(axes, values, mark)
    axes.set_xlabel(f"{xlabel}; the bar is the mean", fontsize=9)
    return figure.saying(told or f"{xlabel}, one dot a run: {_spread(values)}.")


def dots_beside(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    xlabel: str,
    told: str = "",
    mark: tuple[float, str] | None = None,
) -> Picture:
    """Return panels of ``dots`` side by side on one scale, each under its name: {name: {label: one value a run}}.

    Raises ValueError unless all panels have the same labels in the same order, and as dots does.
    """
    rows = [list(values) for values in panels.values()]
    if any(one != rows[0] for one in rows):
        raise ValueError(f"panels side by side share their rows, got {rows}")
    figure = Picture(7.2, 0.9 + 0.36 * len(rows[0]))
    for axes, (name, values) in zip(
        figure.subplots(1, len(panels), sharex=True, squeeze=False)[0], panels.items(), strict=True
    ):
        _rows_of_dots(axes, values, mark)
        axes.set_title(name, fontsize=10)
        if axes is not figure.axes[0]:
            axes.set_yticklabels([])
    figure.supxlabel(f"{xlabel}; the bar is the mean", fontsize=9)
    spoken = ". ".join(f"{name}: {_spread(values)}" for name, values in panels.items())
    return figure.saying(told or f"{xlabel}, one dot a run. {spoken}.")


def _rows_of_dots(axes: Axes, values: Mapping[str, Sequence[float]], mark: tuple[float, str] | None) -> None:
    for y, (label, found) in enumerate(values.items()):
        if len(found) == 0 or not all(map(math.isfinite, found)):
            raise ValueError(f"the dots of {label!r} must be finite numbers, at least one, got {found}")
        many = len(found) > 50
        heights = [y + (0.5 * (n * 0.618 % 1) - 0.25 if many else _aside(found, n)) for n in range(len(found))]
        axes.plot(found, heights, "o", color=BLUE, alpha=0.3 if many else 0.6, markersize=2 if many else 6)
        mean = sum(found) / len(found)
        axes.plot([mean, mean], [y - 0.25, y + 0.25], color=RED, linewidth=2)
    if mark is not None:
        axes.axvline(mark[0], color=GREY, linestyle="--", linewidth=1)
        axes.text(mark[0], -0.55, f"{mark[1]} ", ha="right", va="bottom", fontsize=8, color=GREY)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    _plain(axes)


def _aside(found: Sequence[float], n: int) -> float:
    """Return by how much run n is moved down its row: dots that would hide each other stand beside each other in it."""
    close = [m for m, value in enumerate(found) if abs(value - found[n]) < 1e-9]
    return min(0.16, 0.7 / len(close)) * (close.index(n) - (len(close) - 1) / 2)


def _spread(values: Mapping[str, Sequence[float]]) -> str:
    return "; ".join(f"{label} from {min(found):.2f} to {max(found):.2f}" for label, found in values.items())


def agreement(maps: Mapping[str, Tensor]) -> Picture:
    """Return a square for each named map (rows, columns) of truths: blue where it is true, with the count above it."""
    figure = Picture(1.0 * len(maps), 1.75)
    told = []
    for axes, (name, equal) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
        rows, columns = equal.shape
        axes.imshow(np.ones((rows, columns)), cmap="gray", vmin=0, vmax=1, extent=(0, columns, rows, 0))
        axes.imshow(
            np.ma.masked_equal(np.asarray(equal), False), cmap=ListedColormap([BLUE]), extent=(0, columns, rows, 0)
        )
        axes.set_title(f"{name}\n{int(equal.sum())} of {equal.numel()}\nequal", fontsize=8)
        axes.set(xticks=[], yticks=[])
        told.append(f"{name} {int(equal.sum())} of {equal.numel()}")
    return figure.saying(f"Places that agree, by layer: {', '.join(told)}.")


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
    _plain(axes)
    counts = f"of {len(windows)} windows {out} stick{'s' if out == 1 else ''} out, {len(windows) - out} "
    counts += "lies inside" if len(windows) - out == 1 else "lie inside"
    axes.set_title(counts, fontsize=10)
    spoken = ", ".join(f"{first} to {last}" for first, last in windows)
    return figure.saying(f"Along a side of {size} pixels {counts}: {spoken}.")


def loss_by_rate(
    losses: Mapping[float, float],
    guessing: float,
    others: Sequence[Mapping[float, float]] = (),
    told: str = "",
    ylabel: str = "loss",
) -> Picture:
    """Return the loss reached at each learning rate, on a logarithmic axis; where it is not finite, a cross at the top.

    guessing: the loss of equal scores, drawn as a dashed line. others: the same from seeds 1, 2, ..., as thin curves;
    each curve then has its seed beside its first point.
    """
    figure = Picture(6.0, 3.2)
    axes = figure.subplots()
    reached = {rate: loss for rate, loss in sorted(losses.items()) if math.isfinite(loss)}
    lost = sorted(losses.keys() - reached.keys())
    thin = [{rate: loss for rate, loss in sorted(one.items()) if math.isfinite(loss)} for one in others]
    drawn = [guessing, *(loss for one in (reached, *thin) for loss in one.values())]
    low, high = min(drawn), max(drawn)
    top = high + 0.25 * (high - low or high)
    axes.axhline(guessing, color=GREY, linestyle="--", linewidth=1)
    axes.text(min(losses), guessing, f"guessing: {guessing:.2f}", color=GREY, fontsize=9, va="bottom")
    axes.plot(list(reached), list(reached.values()), "o-", color=BLUE)
    beside = dict(textcoords="offset points", va="center", fontsize=8)
    ground = dict(boxstyle="square,pad=0.1", facecolor="white", edgecolor="none")
    for rate, loss in reached.items():
        axes.annotate(f"{loss:.2f}", (rate, loss), (7, 0), ha="left", bbox=ground, **beside)
    for seed, one in enumerate((reached, *thin) if thin else ()):
        colour = GREY if seed else BLUE
        for start in [*one.items()][:1]:
            axes.annotate(f"seed {seed}", start, (-7, 0), ha="right", color=colour, **beside)
    axes.plot(lost, [top] * len(lost), "x", color=RED, markersize=9, markeredgewidth=2)
    for one in thin:
        axes.plot(list(one), list(one.values()), ".-", color=SKY, linewidth=0.8, zorder=1)
    for rate in lost:
        name = "nan, all seeds" if thin and not any(rate in one for one in thin) else "nan"
        axes.annotate(name, (rate, top), (0, -14), textcoords="offset points", ha="center", color=RED, fontsize=9)
    limits = (low - 0.2 * (top - low), top + 0.1 * (top - low))
    axes.set(xscale="log", xlabel="learning rate", ylabel=ylabel, ylim=limits)
    axes.margins(x=0.15)
    axes.set_xticks(list(losses), [f"{rate:g}" for rate in losses])
    axes.xaxis.set_minor_locator(NullLocator())
    _plain(axes)
    spoken = [f"{rate:g} gives {loss:.2f}" for rate, loss in reached.items()] + [f"{rate:g} gives nan" for rate in lost]
    more = [f"; another seed: {', '.join(f'{loss:.2f}' for loss in one.values())}" for one in thin]
    said = f"Loss by learning rate; guessing costs {guessing:.2f}: {', '.join(spoken)}{''.join(more)}."
    return figure.saying(told or said)


def singular_values(before: Sequence[float], after: Sequence[float]) -> Picture:
    """Return a matrix's singular values before and after training, largest first, on a logarithmic axis of places.

    A dotted line marks the largest before; those after that lie above it are counted.
    """
    figure = Picture(6.0, 2.8)
    axes = figure.subplots()
    before, after = ([float(value) for value in values] for values in (before, after))
    largest, above = max(before), sum(value > max(before) for value in after)
    axes.axhline(largest, color=GREY, linestyle=":", linewidth=1)
    for values, colour, style in ((before, BLUE, "s--"), (after, RED, "o-")):
        axes.plot(range(1, len(values) + 1), values, style, color=colour, markersize=3, linewidth=1.2)
    axes.annotate("after", (1, after[0]), (8, 0), textcoords="offset points", color=RED, fontsize=9, va="center")
    axes.annotate("before training", (1, largest), (0, -13), textcoords="offset points", color=BLUE, fontsize=9)
    axes.set(
        xscale="log",
        xlabel="place, the largest first",
        ylabel="singular value",
        ylim=(0, 1.08 * max(after[0], largest)),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title(f"{above} of {len(after)} lie above the largest before training", fontsize=10)
    _plain(axes)
    return figure.saying(
        f"{len(after)} singular values: before training from {largest:.2f} down to {min(before):.2f}, after training "
        f"from {max(after):.2f} down to {min(after):.2f}, {above} of them above the largest before."
    )
