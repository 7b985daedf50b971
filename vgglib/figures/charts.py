"""Charts of what was measured: curves, bars, dots, histories, matrices, rungs of a ladder."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from torch import Tensor

from vgglib.figures.picture import BLUE, GREEN, GREY, ORANGE, RED, SKY, Picture, plain


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
        plain(axes)
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
    plain(axes)
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
    plain(axes)
    spoken = ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
    return figure.saying(told or f"{xlabel}: {spoken}.")


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
        plain(axes)
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
        plain(axes)
    return figure.saying(f"Top-1 error in per cent by test scale. {'; '.join(told)}.")


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
        plain(axes)
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
    plain(axes)
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
    plain(axes)


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
    plain(axes)
    spoken = [f"{rate:g} gives {loss:.2f}" for rate, loss in reached.items()] + [f"{rate:g} gives nan" for rate in lost]
    more = [f"; another seed: {', '.join(f'{loss:.2f}' for loss in one.values())}" for one in thin]
    said = f"Loss by learning rate; guessing costs {guessing:.2f}: {', '.join(spoken)}{''.join(more)}."
    return figure.saying(told or said)
