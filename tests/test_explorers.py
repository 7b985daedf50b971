"""Interactive views: every corner of their controls draws, refusals stand in the figure's place."""

import itertools
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import ipywidgets
import nbformat
import pytest
import torch

from vgglib import explorers, figures
from vgglib.configurations import TABLE_1
from vgglib.explorers import KERNELS, LivePlot, configuration_view, explore, kernel_view
from vgglib.figures import Picture
from vgglib.training import Epoch, History, Recipe


def parts(view):
    """The controls by name, the image and the words of a view."""
    *controls, drawing, image, words = view.children
    assert drawing.value == "drawing ..."
    return {control.description: control for control in controls}, image, words


def drawn(kernel, name="x"):
    if kernel == 4:
        raise ValueError("an even kernel & <b>no</b> centre")
    figure = Picture(3, 2)
    figure.subplots().plot([0, kernel])
    return figure.saying(f"{name} has kernel {kernel} < 9 & more.")


@pytest.fixture
def view():
    return explore(drawn, kernel=(3, 4, 5), name=("a", "b"))


def test_numbers_get_a_slider_and_words_a_list(view):
    controls, image, words = parts(view)
    assert type(controls["kernel"]) is ipywidgets.SelectionSlider
    assert type(controls["name"]) is ipywidgets.Dropdown
    assert list(controls["kernel"].options) == [3, 4, 5]
    assert bytes(image.value).startswith(b"\x89PNG")
    assert image.width == "288"
    assert words.value == "a has kernel 3 &lt; 9 &amp; more."


def test_a_control_redraws(view):
    controls, image, words = parts(view)
    before = bytes(image.value)
    controls["kernel"].value = 5
    assert bytes(image.value) != before
    assert words.value.startswith("a has kernel 5")
    controls["name"].value = "b"
    assert words.value.startswith("b has kernel 5")


def test_true_and_false_get_a_box_to_tick():
    chosen = []

    def figure(per_device, single):
        chosen.append((per_device, single))
        return drawn(3)

    controls, _, _ = parts(explore(figure, start=dict(per_device=True), per_device=(False, True), single=(False,)))
    assert list(controls) == ["per device", "single"]  # a name of the program is words to the reader
    assert type(controls["per device"]) is ipywidgets.Checkbox
    assert type(controls["single"]) is ipywidgets.SelectionSlider  # no choice that was not offered
    controls["per device"].value = False
    assert chosen == [(True, False), (False, False)]


@pytest.mark.parametrize("names", [("S", "image_size"), ("gigabytes_per_second", "S"), ("rate", "decay")])
def test_sliders_are_of_one_length_and_their_names_have_room(names):
    controls, _, _ = parts(explore(lambda **_: drawn(3), **{name: (1, 2) for name in names}))
    (width,) = {control.style.description_width for control in controls.values()}
    assert width.endswith("ch")
    assert int(width.removesuffix("ch")) > max(len(name) for name in names)
    assert {control.layout.width for control in controls.values()} == {f"calc({width} + 260px)"}  # also to move in


@pytest.mark.parametrize(("kernel", "error"), [(5, None), (4, None), (7, KeyError)])
def test_a_line_says_so_while_the_figure_is_drawn(kernel, error):
    seen = []

    def watched(kernel):
        seen.extend(one.layout.visibility for one in hints)
        if kernel == 7:
            raise KeyError(kernel)
        return drawn(kernel)

    hints = []
    view = explore(watched, kernel=(3, 4, 5, 7))
    hint = view.children[-3]
    hints.append(hint)
    slots = len(view.children), hint.layout.height
    with pytest.raises(error) if error else nullcontext():
        view.children[0].value = kernel
    assert seen == ["visible"]
    assert hint.layout.visibility == "hidden"  # not display: its place stays, and nothing jumps
    assert (len(view.children), hint.layout.height) == slots


def test_a_refusal_stands_in_the_figures_place_and_goes_again(view):
    controls, image, words = parts(view)
    controls["kernel"].value = 4
    assert image.layout.display == "none"
    assert words.value == "<b>Not possible:</b> an even kernel &amp; &lt;b>no&lt;/b> centre"
    assert "image/png" not in view._repr_mimebundle_()[0]  # not that of the kernel before
    controls["kernel"].value = 5
    assert image.layout.display == ""
    assert words.value.startswith("a has kernel 5")


def test_a_refusal_may_come_first():
    _, image, words = parts(explore(drawn, kernel=[4, 3]))
    assert image.layout.display == "none"
    assert "Not possible" in words.value


def test_choices_may_come_from_a_generator():
    controls, _, _ = parts(explore(drawn, kernel=(2 * n + 1 for n in range(1, 4))))
    assert list(controls["kernel"].options) == [3, 5, 7]


def test_other_errors_are_not_hidden():
    def broken(kernel):
        raise KeyError(kernel)

    with pytest.raises(KeyError):
        explore(broken, kernel=(3, 5))


def test_a_view_says_what_it_is_without_a_kernel(view):
    sentence = "Interactive view: run this cell to move the controls."
    assert repr(view) == sentence
    bundle, about = view._repr_mimebundle_()
    assert bundle["text/plain"] == sentence
    assert "application/vnd.jupyter.widget-view+json" in bundle
    figure, said = drawn(3, "a")._repr_mimebundle_()  # as it is now, for pages where nothing runs
    assert bundle["image/png"] == figures.captioned(figure["image/png"], sentence)
    assert about["image/png"] == {key: said["image/png"][key] for key in ("alt", "width")}


def test_the_configuration_view_at_all_corners(monkeypatch):
    asked = []

    def quick(start, **choices):
        assert start == dict(configuration="D", image_size=224, width=1.0)
        asked.append(choices)
        return drawn(3)

    monkeypatch.setattr(figures, "configuration_costs", quick)
    controls, _, _ = parts(configuration_view())
    assert asked == [dict(configuration="D", image_size=384, width=1.0)]  # not that of the rings: dots have moved
    options = {name: [control.options[0], control.options[-1]] for name, control in controls.items()}
    assert list(options) == ["configuration", "image size", "width"]
    for corner in itertools.product(*options.values()):
        for control, value in zip(controls.values(), corner, strict=True):
            control.value = value
        assert asked[-1] == dict(zip(["configuration", "image_size", "width"], corner, strict=True))


@pytest.mark.parametrize("configuration", ["A", "E"])
@pytest.mark.parametrize("image_size", [32, 384])
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_the_figure_itself_at_all_corners(configuration, image_size, width):
    figure = figures.configuration_costs(configuration, image_size, width)
    assert f"Configuration {configuration} at {image_size} pixels, width {width:g}" in figure.text_alternative


def choices_of(chapter, figure):
    """The values that the explorer of a chapter offers, as its cell writes them: every call's keywords."""
    (path,) = (Path(__file__).resolve().parent.parent / "notebooks").glob(f"{chapter}_*.ipynb")
    (source,) = [
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and "explorers.explore(" in cell.source and figure in cell.source
    ]
    found = {}
    catching = type("", (), {"explore": lambda one, start=None, **choices: found.update(choices, start=start)})
    about = dict(explorers=catching, figures=figures, TABLE_1=TABLE_1)
    exec(re.sub(r"(?m)^(from|import) .*", "", source), about)
    return found.pop("start"), found


def limits(figure):
    return [(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes]


def test_the_axes_of_the_explorer_of_00_stay():
    _, choices = choices_of("00", "figures.shapes")
    drawn = [figures.shapes(*chosen) for chosen in itertools.product(*choices.values())]
    assert len({axes.get_ylim() for figure in drawn for axes in figure.axes}) == 1
    tallest = {size: max(box.get_height() for box in figures.shapes("A", size).axes[0].patches) for size in (32, 224)}
    assert tallest[224] / tallest[32] == pytest.approx(224 / 32)


def test_the_axes_of_the_explorer_of_03_stay():
    _, choices = choices_of("03", "figures.stack_against_one")
    drawn = {
        chosen: figures.stack_against_one(*chosen)
        for chosen in itertools.product(*(choices[name] for name in ("kernel", "depth", "channels", "side")))
    }
    assert len({str(limits(figure)) for figure in drawn.values()}) == 1
    for (kernel, depth, channels, _side), figure in drawn.items():
        weights, macs, outputs = ([bar.get_height() for bar in axes.patches] for axes in figure.axes)
        as_at_first = [bar.get_height() for bar in drawn[kernel, depth, 64, 56].axes[0].patches]
        assert weights == pytest.approx(as_at_first)  # channels and side move no bar
        assert macs == pytest.approx(weights)
        assert outputs == pytest.approx([depth, 1])  # the price that a stack always pays
        assert weights[0] < weights[1] == 1
        said = [text.get_text() for text in figure.axes[0].texts]
        assert said[0].replace(",", "") == f"{depth * kernel**2 * channels**2 / 1e3:.3g}" or channels == 256
    shares = [drawn[3, depth, 64, 56].axes[0].patches[0].get_height() for depth in choices["depth"]]
    assert sorted(shares, reverse=True) == shares  # the deeper, the smaller
    assert not [
        one for figure in drawn.values() for axes in figure.axes for one in axes.texts if "e+" in one.get_text()
    ]


START = dict(configuration="D", image_size=224, width=1.0)


@pytest.mark.parametrize("width", [0.25, 1.0])
def test_the_axes_of_the_explorer_of_04_stay(width):
    drawn = [
        figures.configuration_costs(name, size, width, start=START) for name in ("A-LRN", "E") for size in (32, 384)
    ]
    assert len({str(limits(figure)) for figure in drawn}) == 1
    assert len({tuple(figure.get_size_inches()) for figure in drawn}) == 1
    assert len({str([one.get_text() for one in figure.axes[0].get_yticklabels()]) for figure in drawn}) == 1
    for figure in drawn:
        for axes in figure.axes:
            low, high = axes.get_xlim()
            for line in axes.lines:
                assert low < min(line.get_xdata()) <= max(line.get_xdata()) < high


def places(figure, panel):
    """Where the rings and the dots of a panel stand: {layer: value}, twice."""
    rows = [one.get_text() for one in figure.axes[0].get_yticklabels()]
    marks = [line for line in figure.axes[panel].lines if line.get_marker() == "o"]
    return [{rows[y]: x for x, y in zip(*line.get_data(), strict=True)} for line in marks]


def test_dots_move_from_their_rings_as_chapter_04_says():
    rings, dots = places(figures.configuration_costs("D", 224, 0.5, start=START), 0)
    assert rings["conv3_2"] == 4 * dots["conv3_2"] - 2 * 128 * 1  # a quarter of the weights, half of the biases
    assert rings["fc6"] == pytest.approx(2 * dots["fc6"], rel=1e-3)
    assert rings["fc7"] == dots["fc7"]
    for panel, moves in enumerate((["fc6"], None, None)):
        rings, dots = places(figures.configuration_costs("D", 128, start=START), panel)
        moved = [name for name in rings if rings[name] != dots[name]]
        assert moved == (
            moves or [name for name in rings if not name.startswith("fc") or (name == "fc6" and panel == 1)]
        )
    rings, dots = places(figures.configuration_costs("A", 224, start=START), 0)
    assert {*rings} > {*dots}
    assert "conv1_2" in rings


def test_what_has_moved_from_its_ring_says_how_often_it_holds_its_value():
    def told(figure, panel):
        rows = [one.get_text() for one in figure.axes[0].get_yticklabels()]
        return {rows[round(text.xy[1])]: text.get_text() for text in figure.axes[panel].texts}

    assert not told(figures.configuration_costs("D", start=START), 0)
    half = told(figures.configuration_costs("D", 224, 0.5, start=START), 0)
    assert {"conv1_1": "×0.5", "conv3_2": "×0.25", "fc6": "×0.5"}.items() <= half.items()
    assert "fc7" not in half
    assert set(told(figures.configuration_costs("D", 384, start=START), 1).values()) == {"×2.9"}


def test_the_bars_of_08_stand_before_those_of_the_start():
    opens, choices = choices_of("08", "figures.step_memory")
    assert opens["batch"] in choices["batch"]
    start, lengths = dict(opens, batch=32), {}  # the figure above the view; the view opens elsewhere
    for batch in choices["batch"]:
        figure = figures.step_memory("D", 224, batch, start=start)
        (axes,) = figure.axes
        grey, bars = axes.patches[:4], axes.patches[4:]
        assert [bar.get_width() for bar in grey] == pytest.approx([1.39, 3.45, 4.00, 4.56], abs=0.01)
        assert max(bar.get_x() + bar.get_width() for bar in bars) < axes.get_xlim()[1]
        lengths[batch] = axes.get_xlim()[1]
        (legend,) = figure.legends
        *parts, update, behind = [text.get_text() for text in legend.get_texts()]
        assert parts == ["parameters", "gradients", "optimiser", "activations"]
        assert (update, behind) == ("Adam's update", "start: D, 224 pixels, batch 32")
        *colours, of_update, of_start = [handle.get_facecolor() for handle in legend.legend_handles]
        assert (colours, of_start) == ([bars[n].get_facecolor() for n in range(4)], grey[0].get_facecolor())
        assert len(bars) == 16 or bars[16].get_facecolor() == of_update
        figure.draw_without_rendering()
        box = legend.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert lengths[1] == lengths[8] == lengths[32]
    assert lengths[128] == lengths[256] == pytest.approx(5 * lengths[32])
    widest = figures.step_memory("E", max(choices["image_size"]), 256, start=start).axes[0].get_xlim()[1]
    assert widest == pytest.approx(25 * lengths[32])


def history(count):
    epochs = [Epoch(n + 1, 1.0 / (n + 1), 0.5, 0.6, 0.01, 1.0, 100.0) for n in range(count)]
    return History(Recipe("A"), 0, 10, {}, epochs)


def test_a_live_plot_updates_one_figure(monkeypatch):
    shown = []

    class Handle:
        def update(self, figure):
            shown.append(("update", figure.text_alternative))

    def display(figure, display_id):
        shown.append(("display", figure.text_alternative))
        return Handle()

    monkeypatch.setattr(explorers, "display", display)
    plot = LivePlot()
    for count in (1, 2, 3):
        plot(history(count))
    assert [how for how, _ in shown] == ["display", "update", "update"]
    assert "epoch 3/10" in shown[-1][1]


def test_a_live_plot_without_a_notebook_prints_its_sentence():
    program = (
        "from vgglib.explorers import LivePlot; from vgglib.training import Epoch, History, Recipe; plot = LivePlot(); "
        "run = History(Recipe('A'), 0, 10, {}, [Epoch(1, 1.0, 0.5, 0.6, 0.01, 1.0, 100.0)]); plot(run); plot(run)"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "Figure: Training run: epoch 1/10" in said


@pytest.fixture
def kernels(monkeypatch):
    """The view of chapter 01 over two small pictures, and every kernel that it has drawn."""
    asked, real = [], figures.sliding

    def spy(picture, kernel, *place):
        asked.append((kernel, place))
        return real(picture, kernel, *place)

    monkeypatch.setattr(figures, "sliding", spy)
    return kernel_view(torch.arange(2 * 81, dtype=torch.uint8).reshape(2, 1, 9, 9)), asked


def test_a_kernel_needs_a_picture():
    with pytest.raises(ValueError, match="no picture for the kernel"):
        kernel_view(torch.zeros(0, 1, 9, 9, dtype=torch.uint8))


def test_a_kernel_is_drawn_by_clicking(kernels):
    view, asked = kernels
    (grid, settings), image, words = view.children[0].children, *view.children[1:]
    cells = [cell for line in grid.children for cell in line.children]
    assert len(cells) == 25
    first = settings.children[0]
    assert [value for _, value in first.options] == [*KERNELS, None]
    assert asked[-1][0] == [list(line) for line in KERNELS["upright edges"]]
    first.value = "nothing yet"
    for control in settings.children[2:4]:
        control.value = 1
    assert [cell.description for cell in cells] == ["0"] * 25
    before = bytes(image.value)
    for said, weight in (("+1", 1), ("−1", -1), ("0", 0), ("+1", 1)):
        cells[7].click()
        assert cells[7].description == said
        assert asked[-1][0][1][2] == weight
        assert sum(abs(one) for line in asked[-1][0] for one in line) == abs(weight)
    assert bytes(image.value) != before
    assert "kernel over 9 x 9 pixels" in words.value


def test_the_marked_place_of_the_kernel_view_stays_on_the_map(kernels):
    view, asked = kernels
    *settings, _ = view.children[0].children[1].children
    controls = {control.description: control for control in settings}
    image, words = view.children[1:]

    def place():
        return [(controls[name].value, controls[name].max) for name in ("row", "column")]

    assert place() == [(4, 4), (4, 4)]  # not row 8 and column 11: a kernel of 5 has 5 places on 9 pixels
    for name, value, expected in (
        ("padding", 2, [(6, 8), (6, 8)]),  # two more before it: the same pixels
        ("row", 8, [(8, 8), (6, 8)]),
        ("column", 0, [(8, 8), (0, 8)]),
        ("stride", 3, [(2, 2), (0, 2)]),  # row 8 lies past the last step
        ("padding", 0, [(1, 1), (0, 1)]),
        ("row", 0, [(0, 1), (0, 1)]),
        ("column", 1, [(0, 1), (1, 1)]),
        ("stride", 1, [(0, 4), (3, 4)]),  # the second step of 3
    ):
        before = len(asked)
        controls[name].value = value
        assert place() == expected
        (row, _), (column, _) = expected
        assert len(asked) == before + 1  # drawn once, and where the sliders say
        assert asked[-1][1] == (row, column, controls["stride"].value, controls["padding"].value)
        assert f"at row {row}, column {column} it is" in words.value
        assert image.layout.display == ""


def test_a_picture_smaller_than_the_kernel_is_refused():
    view = kernel_view(torch.zeros(1, 1, 4, 9, dtype=torch.uint8))
    assert "Not possible:</b> a kernel that spans 5 pixels does not fit into 4" in view.children[2].value


def test_a_kernel_can_be_loaded_anew_after_an_edit(kernels):
    view, asked = kernels
    grid, settings = view.children[0].children
    cells = [cell for line in grid.children for cell in line.children]
    start = settings.children[0]
    assert start.value == "upright edges"
    cells[0].click()
    assert start.value is None  # so that the same name is news
    assert asked[-1][0][0][0] == 1
    drawn_so_far = len(asked)
    start.value = "upright edges"
    assert asked[-1][0] == [list(line) for line in KERNELS["upright edges"]]
    assert cells[0].description == "0"
    for _ in range(3):
        cells[0].click()
    assert start.value == "upright edges"  # drawn by hand, it has its name again
    assert len(asked) == drawn_so_far + 4  # each change is drawn once


def test_a_range_keeps_its_steps():
    view = explore(
        lambda width, back: figures.bars({str(width): back}, ""), width=range(10, 56, 5), back=range(9, 0, -3)
    )
    width, back = view.children[:2]
    assert (width.min, width.max, width.step, width.value) == (10, 55, 5, 10)
    assert list(back.options) == [9, 6, 3]
