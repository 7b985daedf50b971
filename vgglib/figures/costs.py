"""What networks cost: memory of a step, time beside MACs, accuracy beside cost."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from vgglib.balance import Trained
from vgglib.figures.picture import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, Picture, plain
from vgglib.memory import PURPOSES, Memory, memory
from vgglib.model import VGG


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
    plain(axes)
    axes.set_title(title, fontsize=10)
    if start is None:
        return figure.saying(f"{title}: {'; '.join(told)}.")
    grey = Rectangle((0, 0), 1, 1, facecolor="#DDDDDD", edgecolor=GREY, linewidth=0.8)
    grey.set_label("start: {configuration}, {image_size} pixels, batch {batch}".format(**start))
    update = Rectangle((0, 0), 1, 1, facecolor=GREY, edgecolor="white", label="Adam's update")
    handles = [*axes.containers[1:5], update, grey]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=6,
        fontsize=8,
        frameon=False,
        handlelength=1.3,
        columnspacing=1,
    )
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
    plain(axes)
    largest = max(pairs, key=lambda name: pairs[name][1] / sums[1])
    spoken = f"largest in {labels[1]}: {largest}, {100 * pairs[largest][1] / sums[1]:.0f} %"
    if mark:
        spoken = f"{axes.get_title()}; {spoken}"
    return figure.saying(told or f"{labels[0]} beside {labels[1]}, by layer; {spoken}.")


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
    plain(axes)
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
    plain(axes)
    return figure.saying(
        f"{len(after)} singular values: before training from {largest:.2f} down to {min(before):.2f}, after training "
        f"from {max(after):.2f} down to {min(after):.2f}, {above} of them above the largest before."
    )
