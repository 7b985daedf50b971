"""Many devices: speed-ups, a step in time, the ring."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.patches import Rectangle

from vgglib.figures.picture import BLUE, GREEN, GREY, ORANGE, RED, SKY, Picture, plain, three_digits
from vgglib.scaling import PATTERNS, ring_steps, speed_up, step_seconds, traffic


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
    plain(axes)
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
    return ", ".join(f"{three_digits(values[n])} at {2**n:,}" for n in sorted({2, 6, 10, most}) if n <= most)


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
        f"{three_digits(images_per_second)} pictures/s; {gigabytes_per_second:g} GB/s; hidden {hidden:g}"
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
        plain(axes)
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
