"""Interactive views: every corner of their controls draws, refusals stand in the figure's place."""

import itertools
import subprocess
import sys

import ipywidgets
import pytest
import torch

from vgglib import explorers, figures
from vgglib.explorers import KERNELS, LivePlot, configuration_view, explore, kernel_view
from vgglib.figures import Picture
from vgglib.training import Epoch, History, Recipe


def parts(view):
    """The controls by name, the image and the words of a view."""
    *controls, image, words = view.children
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


def test_a_refusal_stands_in_the_figures_place_and_goes_again(view):
    controls, image, words = parts(view)
    controls["kernel"].value = 4
    assert image.layout.display == "none"
    assert words.value == "<b>Not possible:</b> an even kernel &amp; &lt;b>no&lt;/b> centre"
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
    assert view._repr_mimebundle_()["text/plain"] == sentence
    assert "application/vnd.jupyter.widget-view+json" in view._repr_mimebundle_()


def test_the_configuration_view_at_all_corners(monkeypatch):
    asked = []

    def quick(**choices):
        asked.append(choices)
        return drawn(3)

    monkeypatch.setattr(figures, "configuration_costs", quick)
    controls, _, _ = parts(configuration_view())
    options = {name: [control.options[0], control.options[-1]] for name, control in controls.items()}
    assert list(options) == ["configuration", "image_size", "width"]
    for corner in itertools.product(*options.values()):
        for control, value in zip(controls.values(), corner, strict=True):
            control.value = value
        assert asked[-1] == dict(zip(options, corner, strict=True))


@pytest.mark.parametrize("configuration", ["A", "E"])
@pytest.mark.parametrize("image_size", [32, 384])
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_the_figure_itself_at_all_corners(configuration, image_size, width):
    figure = figures.configuration_costs(configuration, image_size, width)
    assert f"Configuration {configuration} at {image_size} pixels, width {width:g}" in figure.text_alternative


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


def test_a_kernel_is_drawn_by_clicking(kernels):
    view, asked = kernels
    (grid, settings), image, words = view.children[0].children, *view.children[1:]
    cells = [cell for line in grid.children for cell in line.children]
    assert len(cells) == 25
    first = settings.children[0]
    assert first.options == tuple(KERNELS)
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


def test_the_kernel_view_refuses_a_place_that_the_map_lacks(kernels):
    view, asked = kernels
    rows = {control.description: control for control in view.children[0].children[1].children}
    words = view.children[2]
    assert "Not possible" in words.value  # the map of 5 x 5 has no row 8
    rows["row"].value = rows["column"].value = 3
    assert "at row 3, column 3" in words.value
    rows["padding"].value = 2
    assert asked[-1][1] == (3, 3, 1, 2)
    assert "map of 9 x 9" in words.value
