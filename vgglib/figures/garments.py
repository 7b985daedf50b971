"""Pictures of pictures: garments, crops at a scale, score maps, boxes, what a unit sees."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.patches import Rectangle
from torch import Tensor

from vgglib.augment import view
from vgglib.figures.picture import BLUE, GREEN, GREY, ORANGE, RED, Picture, bare_axes, grey_bytes, plain
from vgglib.localisation import Box, corners, iou


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


def seen_in_picture(picture: Tensor, windows: Mapping[str, tuple], told: str = "") -> Picture:
    """Return a greyscale picture (H, W, uint8) with windows over it: {label: ((top, bottom), (left, right))}, pixels.

    Raises ValueError for a picture of another format.
    """
    figure = Picture(3.8, 4.0)
    axes = bare_axes(figure)
    axes.imshow(np.asarray(grey_bytes(picture)), cmap="gray_r", vmin=0, vmax=255)
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
    first.imshow(np.asarray(grey_bytes(picture)), cmap="gray_r", vmin=0, vmax=255)
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
    plain(right)
    seen = f"rows {top} to {top + height - 1}, columns {first} to {first + width - 1}"
    given = f"The crop of {seen} is taken for {classes[best]}, posterior {values[best]:.2f}"
    return figure.saying(told or given + ("." if truth is None else f"; its true class is {classes[truth]}."))


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
    axes, left, told = bare_axes(figure), 0.0, []
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
    axes = bare_axes(figure)
    high, wide = picture.shape
    across, down = wide / 2, high / 3  # room for a box that leaves the picture; a larger one is cut off there
    axes.imshow(
        np.asarray(grey_bytes(picture)),
        cmap="gray_r",
        vmin=0,
        vmax=255,
        extent=(0, picture.shape[1], picture.shape[0], 0),
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
