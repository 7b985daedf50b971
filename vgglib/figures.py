"""Every picture of the book, as pure functions to a matplotlib Figure: no pyplot, no global state.

Each figure carries a sentence that says what it shows: notebooks store it beside the image, tests read it.
Colours are Okabe and Ito's, which colour-blind readers tell apart; no figure relies on colour alone.
"""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from torch import Tensor, nn

from vgglib.configurations import TABLE_1, Layer, layers, names
from vgglib.cost import CostTable, cost
from vgglib.model import INITIALISATIONS, VGG, initialise, map_size
from vgglib.receptive_field import receptive_field

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
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=150)
        width, height = (round(96 * inches) for inches in self.get_size_inches())
        about = {"alt": self.text_alternative, "width": width, "height": height}
        return {"text/plain": repr(self), "image/png": image.getvalue()}, {"image/png": about}


def table_1(configurations: Mapping[str, str] = TABLE_1) -> Picture:
    """Return Table 1 drawn from the data: a column per configuration, input at the top, new layers outlined."""
    columns = {name: layers(text) for name, text in configurations.items()}
    figure = Picture(1.35 * len(columns) + 0.4, 6.2)
    axes = _bare(figure)
    rows = _block_rows(columns.values())
    before: list[Layer] = []
    for x, (name, stack) in enumerate(columns.items()):
        weighted = sum(layer.kind == "conv" for layer in stack) + 3
        axes.text(x + 0.5, 0.9, f"{name}\n{weighted} layers", ha="center", va="bottom", fontsize=10, weight="bold")
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
    axes.set_xlim(0, len(columns))
    axes.set_ylim(-depth - 2.6, 3.2)
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
        axes.plot([x + 0.04, x + 0.96], [y, y], color=GREY, linewidth=3, solid_capstyle="butt")
        return
    colour = {1: "#FBE3B8", 3: "#CFE5F5"}.get(layer.kernel, "#D8EFE4") if layer.kind == "conv" else "#F3DCE9"
    text = f"conv{layer.kernel}-{layer.channels}" if layer.kind == "conv" else "LRN"
    outline = dict(edgecolor="black", linewidth=1.6) if new else dict(edgecolor="none")
    axes.add_patch(Rectangle((x + 0.04, y - 0.4), 0.92, 0.8, facecolor=colour, **outline))
    axes.text(x + 0.5, y, text, ha="center", va="center", fontsize=8, weight="bold" if new else "normal")


def shapes(configuration: str = "A", image_size: int = 224, width: float = 1.0) -> Picture:
    """Return the feature maps after each block: their side in pixels as height, their channels as breadth."""
    stack = layers(configuration)
    sizes, channels = [(image_size, None)], []
    for n, layer in enumerate(stack):
        if layer.kind == "conv":
            channels.append(max(1, round(layer.channels * width)))
        if layer.kind == "pool" or n == len(stack) - 1:
            sizes.append((map_size(stack[: n + 1], (image_size, image_size))[0], channels[-1]))
    figure = Picture(6.4, 3.0)
    axes = _bare(figure)
    x, told = 0.0, []
    for side, depth in sizes:
        breadth = 0.12 if depth is None else 0.12 + 0.9 * depth / 512
        tall = side / image_size
        face = "#DDDDDD" if depth is None else SKY
        axes.add_patch(Rectangle((x, -tall / 2), breadth, tall, facecolor=face, edgecolor="black", linewidth=0.8))
        label = f"{side}" if depth is None else f"{depth}\n{side} x {side}"
        axes.text(x + breadth / 2, tall / 2 + 0.03, label, ha="center", va="bottom", fontsize=8)
        told.append(f"{side}" if depth is None else f"{depth} x {side} x {side}")
        x += breadth + 0.45
    axes.set_xlim(-0.1, x)
    axes.set_ylim(-0.6, 0.8)
    return figure.saying(f"Feature maps of {configuration}: {', '.join(told[1:])} after an input {image_size} wide.")


def where_it_sits(table: CostTable, title: str = "") -> Picture:
    """Return three bar charts over the same layers: parameters, MACs and activation bytes, each with its unit."""
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
            if value >= 0.2 * max(values):
                axes.text(value, y, f" {value:.3g}", va="center", fontsize=7)
        axes.set_title(label, fontsize=9)
        axes.set_xlim(0, 1.25 * max(max(values), 1e-9))
        _plain(axes)
    all_axes[0].set_yticks(range(len(rows)), [f"{row.name}" for row in rows], fontsize=7)
    all_axes[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.suptitle(title, fontsize=10)
    return figure.saying(
        f"{title or 'Network'}: {table.parameters:,} parameters, {table.macs:,} MACs, "
        f"{table.activation_bytes:,} activation bytes, layer by layer."
    )


def configuration_costs(configuration: str = "D", image_size: int = 224, width: float = 1.0) -> Picture:
    """Return where the parameters, MACs and activations of a configuration sit, for RGB pictures and 1000 classes."""
    stack = layers(configuration)
    with torch.device("meta"):  # shapes are enough
        net = VGG(configuration, image_size=image_size, width=width)
    table = cost(net, image_size)
    paper = iter([name for name, layer in zip(names(stack), stack, strict=True)] + ["fc6", "fc7", "fc8"])
    named = CostTable(
        [type(row)(row.name if row.kind == "input" else next(paper), *_rest(row)) for row in table],
    )
    return where_it_sits(named, f"Configuration {configuration} at {image_size} pixels, width {width:g}")


def _rest(row: object) -> tuple:
    return (row.kind, row.output_shape, row.parameters, row.macs, row.activation_bytes)


def pictures(images: object, titles: Sequence[str] = (), columns: int = 10, told: str = "") -> Picture:
    """Return greyscale pictures (N, 1, H, W) on a grid, each with its title above."""
    rows = math.ceil(len(images) / columns)
    figure = Picture(0.78 * columns, (1.0 if titles else 0.78) * rows)
    for n, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if n < len(images):
            axes.imshow(np.asarray(images[n][0]), cmap="gray_r", vmin=0, vmax=255)
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
    for axes in (left, right):
        axes.set_xlim(0.5, run.recipe.epochs + 0.5 + 0.28 * run.recipe.epochs * (axes is right))
        axes.xaxis.get_major_locator().set_params(integer=True)
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
    series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, log: bool = False, told: str = ""
) -> Picture:
    """Return up to four labelled curves over 1, 2, 3, ..., on a logarithmic scale if asked; ValueError beyond four."""
    if len(series) > 4:
        raise ValueError(f"at most four curves can be told apart by their labels, got {len(series)}")
    figure = Picture(6.0, 3.5)
    axes = figure.subplots()
    look = zip(series.items(), (BLUE, RED, GREEN, ORANGE), ("o-", "s--", "^-.", "v:"), strict=False)
    for (name, values), colour, style in look:
        x = range(1, len(values) + 1)
        axes.plot(x, values, style, color=colour, markersize=4)
        axes.annotate(f" {name}", (x[-1], values[-1]), color=colour, fontsize=9, va="center")
    longest = max(map(len, series.values()))
    axes.set(xlabel=xlabel, ylabel=ylabel, yscale="log" if log else "linear", xlim=(0.5, 1.3 * longest + 0.5))
    axes.set_xticks(range(1, longest + 1))
    _plain(axes)
    return figure.saying(told or f"{ylabel} by {xlabel}: {', '.join(series)}.")


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

    curves: what signal_by_layer gave, by initialisation; one that the book does not know is drawn dashed. network:
    words for the alternative text.
    """
    known = dict(zip(INITIALISATIONS, ((BLUE, "o-"), (RED, "s-"), (GREEN, "^-"), (ORANGE, "v-")), strict=True))
    depth, low, high = max(map(len, curves.values())), -9, 4  # powers of ten
    figure = Picture(6.0, 3.5)
    axes = figure.subplots()
    axes.plot([0.5, 1.02 * depth], [1, 1], color=GREY, linestyle=":", linewidth=1)
    place = low - 0.5
    for name, values in sorted(curves.items(), key=lambda curve: curve[1][-1]):
        colour, style = known.get(name, ("black", "D--"))
        axes.plot(range(1, depth + 1), values, style, color=colour, markersize=4, linewidth=1.2)
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


def cone(stack: str = "2 then 3", unit: int = 0, input_size: int = 7) -> Picture:
    """Return the units of every layer along one side, input at the bottom, and all that one unit of the top row sees.

    stack: a key of STACKS; unit: counted from 0; input_size: pixels. Units stand above the middle of what they see;
    those that are seen are filled and numbered, padding is dashed. Raises ValueError for a picture that is too small
    for the stack, and for a unit that does not exist.
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
    _draw_cone(axes, stack_layers, counts, seen)
    pixels = sorted(seen[0])
    outside = sum(not 0 <= pixel < input_size for pixel in pixels)
    told = f"unit {unit} sees pixels {pixels[0]} to {pixels[-1]}, {len(pixels)} in all"
    told += f", {outside} of them padding" if outside else ""
    axes.set_title(told, fontsize=10)
    return figure.saying(f"{stack}, {input_size} pixels: of the last layer, {told}.")


def _draw_cone(axes: Axes, stack: list[Layer], counts: list[int], seen: list[set[int]]) -> None:
    fields = [receptive_field(stack[:n]) for n in range(len(counts))]
    for row, (count, lit, field) in enumerate(zip(counts, seen, fields, strict=True)):
        for index in sorted({*range(count), *lit}):
            x, inside = index * field.stride - field.padding + (field.size - 1) / 2, 0 <= index < count
            look = dict(facecolor=ORANGE if index in lit else "#EEEEEE", edgecolor="black")
            look |= dict(linewidth=1.8 if index in lit else 0.6, linestyle="-" if inside else "--")
            axes.add_patch(Rectangle((x - 0.4, row - 0.22), 0.8, 0.44, **look))
            if index in lit:
                axes.text(x, row, str(index), ha="center", va="center", fontsize=8)
        if row:
            layer, before = stack[row - 1], fields[row - 1]
            for index in sorted(lit):
                x = index * field.stride - field.padding + (field.size - 1) / 2
                for step in range(layer.kernel) if 0 <= index < count else ():
                    below = index * layer.stride - layer.padding + step * layer.dilation
                    if below in seen[row - 1]:
                        end = below * before.stride - before.padding + (before.size - 1) / 2
                        axes.plot([x, end], [row - 0.22, row - 0.78], color=GREY, linewidth=0.7)
        kind = "input" if not row else f"{stack[row - 1].kind} {stack[row - 1].kernel}"
        axes.text(-3.2, row, f"{kind}\n{count} units", ha="right", va="center", fontsize=8)
    axes.set_xlim(-6.5, counts[0] + 2.5)
    axes.set_ylim(-0.6, len(counts) - 0.4)


def seen_in_picture(picture: Tensor, windows: Mapping[str, tuple], told: str = "") -> Picture:
    """Return a greyscale picture (H, W) with windows drawn over it: {label: ((top, bottom), (left, right))}, pixels."""
    figure = Picture(3.8, 4.0)
    axes = _bare(figure)
    axes.imshow(np.asarray(picture), cmap="gray_r", vmin=0, vmax=255)
    height, width = picture.shape
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=GREY, linewidth=0.8))
    look = zip(windows.items(), (BLUE, RED, GREEN, ORANGE), ("-", "--", "-.", ":"), strict=False)
    for (label, ((top, bottom), (left, right))), colour, style in look:
        side = dict(fill=False, edgecolor=colour, linestyle=style, linewidth=2)
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, **side))
        axes.text(left - 0.5, top - 0.8, label, color=colour, fontsize=8, va="bottom")
    rows, columns = zip(*windows.values(), strict=True)
    axes.set_xlim(min(0, *(first for first, _ in columns)) - 1.5, max(width, *(last for _, last in columns)) + 1)
    axes.set_ylim(max(height, *(last for _, last in rows)) + 1, min(0, *(first for first, _ in rows)) - 3)
    spoken = "; ".join(f"{label}: rows {rows}, columns {columns}" for label, (rows, columns) in windows.items())
    return figure.saying(told or f"What units see of the picture. {spoken}.")


def effective_fields(fields: Mapping[str, object]) -> Picture:
    """Return gradient maps side by side, each with its theoretical window and a circle of two standard deviations."""
    figure = Picture(2.6 * len(fields), 2.9)
    told = []
    for axes, (label, found) in zip(figure.subplots(1, len(fields), squeeze=False)[0], fields.items(), strict=True):
        (top, bottom), (left, right) = found.window
        axes.imshow(found.map, cmap="Greys", vmin=0)
        box = dict(fill=False, edgecolor=BLUE, linewidth=1.5)
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, **box))
        spread = dict(width=4 * found.sigma[1], height=4 * found.sigma[0])
        axes.add_patch(Ellipse(found.centre[::-1], **spread, fill=False, edgecolor=RED, linestyle="--", linewidth=1.5))
        axes.set_title(label, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        told.append(f"{label}: standard deviation {found.sigma[0]:.1f} pixels in a window of {bottom - top + 1}")
    return figure.saying(f"Effective receptive fields. {'; '.join(told)}.")


def stack_against_one(kernel: int = 3, depth: int = 3, channels: int = 64, side: int = 56) -> Picture:
    """Return weights, MACs and kept outputs of a stack of layers beside the one layer with the same receptive field.

    kernel, depth: of the stack, all layers with ``channels`` in and out, stride 1, on maps ``side`` pixels wide, padded
    so that they keep their size; no biases. Outputs are float32, what training keeps of one picture.
    """
    field = receptive_field([Layer("conv", kernel)] * depth).size
    names_of_both = (f"{depth} of {kernel}x{kernel}", f"1 of {field}x{field}")
    weights = [depth * kernel**2 * channels**2, field**2 * channels**2]
    panels = (
        ("weights (thousands)", [value / 1e3 for value in weights]),
        ("MACs (millions)", [value * side**2 / 1e6 for value in weights]),
        ("outputs kept (MB)", [count * channels * side**2 * 4 / 1e6 for count in (depth, 1)]),
    )
    figure = Picture(6.6, 2.2)
    for axes, (label, values) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.bar(names_of_both, values, color=(BLUE, ORANGE), hatch=("", "//"), edgecolor="white")
        for x, value in enumerate(values):
            axes.text(x, value, f"{value:,.3g}", ha="center", va="bottom", fontsize=8)
        axes.set_title(label, fontsize=9)
        axes.set_ylim(0, 1.2 * max(values))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        _plain(axes)
    share = f"{100 * weights[0] / weights[1]:.0f} % of the weights"
    return figure.saying(f"{names_of_both[0]} against {names_of_both[1]}, both with a field of {field}: {share}.")


def curves(values: Mapping[str, Sequence[float]], told: str = "") -> Picture:
    """Return functions on 0 to 1, sampled at equal steps, each in a panel of its own under its label."""
    figure = Picture(2.2 * len(values), 2.0)
    for axes, (label, samples_of) in zip(
        figure.subplots(1, len(values), squeeze=False)[0], values.items(), strict=True
    ):
        axes.plot(np.linspace(0, 1, len(samples_of)), np.asarray(samples_of), color=BLUE)
        axes.set_title(label, fontsize=9)
        axes.set_xticks([0, 1])
        axes.set_yticks([0, 1])
        _plain(axes)
    return figure.saying(told or f"Functions of one number from 0 to 1: {', '.join(values)}.")


def dots(values: Mapping[str, Sequence[float]], xlabel: str, told: str = "") -> Picture:
    """Return a row of dots for each label, one per run, with a bar at their mean."""
    figure = Picture(6.0, 0.8 + 0.5 * len(values))
    axes = figure.subplots()
    for y, found in enumerate(values.values()):
        axes.plot(found, [y] * len(found), "o", color=BLUE, alpha=0.6)
        mean = sum(found) / len(found)
        axes.plot([mean, mean], [y - 0.25, y + 0.25], color=RED, linewidth=2)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    _plain(axes)
    spoken = "; ".join(f"{label} from {min(found):.2f} to {max(found):.2f}" for label, found in values.items())
    return figure.saying(told or f"{xlabel}, one dot a run: {spoken}.")
