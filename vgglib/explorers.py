"""Interactive views: thin wrappers that put sliders on the pure functions of ``figures``, and a plot that grows."""

from collections.abc import Callable, Iterable, Sequence
from html import unescape
from pathlib import Path

import anywidget
import ipywidgets
import traitlets
from IPython.display import display
from torch import Tensor

from vgglib import figures
from vgglib.configurations import TABLE_1
from vgglib.figures import Picture
from vgglib.foundations import output_size
from vgglib.training import History

HERE = Path(__file__).parent


def explore(
    figure: Callable[..., Picture],
    start: dict | None = None,
    settle: Callable[[dict], None] | None = None,
    **choices: Iterable,
) -> ipywidgets.VBox:
    """Return a view of ``figure`` with one control per keyword, each with a finite list of values.

    Numbers get a slider, texts a list, True and False a box to tick. start: the values to begin with, the first of each
    list where it says nothing. settle: called with the controls by name before each drawing, to move what no longer
    fits; the slider of a ``range`` has a ``max`` for that. Where the figure refuses a combination, the refusal stands
    in its place; while it is being drawn a line above it says so.
    """
    name_width = f"{max([10, *(len(name) + 1 for name in choices)])}ch"
    look = dict(style={"description_width": name_width}, layout={"width": f"calc({name_width} + 260px)"})  # one length
    controls = {}
    for name, values in choices.items():
        options = values if isinstance(values, range) and values.step > 0 else list(values)
        controls[name] = _control(options, description=name.replace("_", " "), **look)
        controls[name].value = (start or {}).get(name, options[0])
    drawing = Drawing(layout={"height": "22px", "visibility": "hidden"})
    image = ipywidgets.Image(format="png")
    words = ipywidgets.HTML()

    def draw(_change: object = None) -> None:
        if drawing.layout.visibility == "visible":
            return  # settle has moved a control: what is about to be drawn knows
        drawing.layout.visibility = "visible"  # it keeps its place when hidden, so that nothing jumps
        try:
            if settle:
                settle(controls)
            drawn = figure(**{name: control.value for name, control in controls.items()})
        except ValueError as error:
            image.layout.display, words.value = "none", f"<b>Not possible:</b> {_escaped(error)}"
        else:
            bundle, about = drawn._repr_mimebundle_()
            image.value, image.width = bundle["image/png"], about["image/png"]["width"]
            image.layout.display, words.value = "", _escaped(drawn.text_alternative)
        finally:
            drawing.layout.visibility = "hidden"

    for control in controls.values():
        control.observe(draw, names="value")
    draw()
    view = View([*controls.values(), drawing, image, words])
    view.redraw = draw
    return view


def _control(options: Sequence, **about: object) -> ipywidgets.ValueWidget:
    """Return the control that suits the values to choose from."""
    if all(isinstance(value, bool) for value in options) and {*options} == {True, False}:
        return ipywidgets.Checkbox(**about)
    if any(isinstance(value, str) for value in options):
        return ipywidgets.Dropdown(options=options, **about)
    if isinstance(options, range):
        ends = dict(min=options[0], max=options[-1], step=options.step)
        return ipywidgets.IntSlider(continuous_update=False, **ends, **about)
    return ipywidgets.SelectionSlider(options=options, continuous_update=False, **about)


class Drawing(anywidget.AnyWidget):
    """The line that stands while a figure is drawn; shown or hidden, it looks after the keys and names of its View."""

    _esm = HERE / "view.js"
    _css = HERE / "view.css"
    value = traitlets.Unicode("drawing ...").tag(sync=True)


class View(ipywidgets.VBox):
    """Controls over a figure, the last two children its image and its words; redraw() draws it anew.

    Its text says how to bring it to life.
    """

    def __init__(self, children: Sequence[ipywidgets.Widget] = (), **options: object):
        super().__init__(children, **options)
        self.add_class("vgglib-view")

    def __repr__(self) -> str:
        return "Interactive view: run this cell to move the controls."

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict]:
        """Return the view, and its figure as it is now, for pages where nothing runs."""
        bundle = {**super()._repr_mimebundle_(**options), "text/plain": repr(self)}
        *_, image, words = self.children
        if not image.value or image.layout.display == "none":  # what was chosen is not possible
            return bundle, {}
        about = {"alt": unescape(words.value), "width": int(image.width)}
        return {**bundle, "image/png": figures.captioned(bytes(image.value), repr(self))}, {"image/png": about}


def configuration_view() -> View:
    """Return the view of chapter 04: where parameters, MACs and memory of a configuration sit.

    The rings are D at 224 pixels. It opens at 384, so that a page where nothing runs shows which dots have moved.
    """
    before = dict(configuration="D", image_size=224, width=1.0)
    return explore(
        lambda **chosen: figures.configuration_costs(**chosen, start=before),
        start=before | dict(image_size=384),
        configuration=tuple(TABLE_1),
        image_size=(32, 64, 128, 224, 256, 384),
        width=(0.25, 0.5, 1.0),
    )


KERNELS = {  # to start from: every one 5x5, the small ones framed by zeros
    "upright edges": [(0, 0, 0, 0, 0), *[(0, -1, 0, 1, 0)] * 3, (0, 0, 0, 0, 0)],
    "level edges": [(0, 0, 0, 0, 0), (0, -1, -1, -1, 0), (0, 0, 0, 0, 0), (0, 1, 1, 1, 0), (0, 0, 0, 0, 0)],
    "sum of 25": [(1, 1, 1, 1, 1)] * 5,
    "shift": [(0, 0, 0, 0, 0)] * 4 + [(0, 0, 0, 0, 1)],
    "nothing yet": [(0, 0, 0, 0, 0)] * 5,
}


def kernel_view(pictures: Tensor) -> View:
    """Return the view of chapter 01: a 5x5 kernel, drawn by clicking, slides over one of the pictures (N, 1, H, W).

    The marked place stays on the same pixels when stride or padding change, as nearly as the new map allows. Raises
    ValueError if there is no picture.
    """
    if len(pictures) == 0:
        raise ValueError("there is no picture for the kernel to slide over")
    sides = dict(row=pictures.shape[2], column=pictures.shape[3])
    cells = [ipywidgets.Button(layout={"width": "40px", "height": "36px"}) for _ in range(25)]
    weights = {cell: 0 for cell in cells}

    before = dict(stride=1, padding=0)

    def bound(controls: dict) -> None:
        stride, padding = (controls[name].value for name in before)
        for name, side in sides.items():
            control, last = controls[name], output_size(side, 5, stride, padding) - 1
            pixel = control.value * before["stride"] - before["padding"]
            control.max = last
            control.value = min(last, max(0, round((pixel + padding) / stride)))
        before.update(stride=stride, padding=padding)

    rest = explore(
        lambda picture, row, column, stride, padding: figures.sliding(
            pictures[picture, 0], _rows(list(weights.values())), row, column, stride, padding
        ),
        start=dict(row=8, column=11),
        settle=bound,
        picture=range(len(pictures)), row=range(sides["row"]), column=range(sides["column"]),
        stride=(1, 2, 3), padding=(0, 1, 2),
    )  # fmt: skip
    first = rest.children[0]
    look = dict(style={"description_width": first.style.description_width}, layout={"width": first.layout.width})
    named = [(name, name) for name in KERNELS] + [("your own", None)]
    kernels = ipywidgets.Dropdown(options=named, value=named[0][1], description="start from", **look)

    def show(cell: ipywidgets.Button) -> None:
        cell.description = {-1: "−1", 0: "0", 1: "+1"}[weights[cell]]
        cell.style.button_color = {-1: "#92C5DE", 0: "#F7F7F7", 1: "#F4A582"}[weights[cell]]
        cell.style.text_color = "black"

    def click(cell: ipywidgets.Button) -> None:
        weights[cell] = {0: 1, 1: -1, -1: 0}[weights[cell]]
        show(cell)
        kernels.value = next((name for name in KERNELS if flat(name) == [*weights.values()]), None)
        rest.redraw()

    def flat(name: str) -> list[int]:
        return [weight for line in KERNELS[name] for weight in line]

    def load(_change: object = None) -> None:
        if kernels.value is None or flat(kernels.value) == [*weights.values()]:
            return  # the list only follows what was drawn, so that any kernel can be chosen anew
        weights.update(zip(cells, flat(kernels.value), strict=True))
        for cell in cells:
            show(cell)
        rest.redraw()

    for place, cell in enumerate(cells):
        cell.tooltip = f"row {place // 5}, column {place % 5}: click for +1, again for -1, again for 0"
        cell.on_click(click)
    kernels.observe(load, names="value")
    load()
    grid = ipywidgets.VBox([ipywidgets.HBox(line) for line in _rows(cells)], layout={"flex": "0 0 auto"})
    beside = ipywidgets.VBox([kernels, *rest.children[:-2]])
    return View([ipywidgets.HBox([grid, beside], layout={"flex_flow": "row wrap"}), *rest.children[-2:]])


def _rows(values: list) -> list:
    """Return 25 values as five rows of five."""
    return [values[start : start + 5] for start in range(0, 25, 5)]


class LivePlot:
    """The curves of a training run, drawn anew after every epoch: ``fit(..., watch=LivePlot())``."""

    def __init__(self) -> None:
        self._handle = None

    def __call__(self, history: History) -> None:
        drawn = figures.history(history)
        if self._handle is None:
            self._handle = display(drawn, display_id=True)
        else:
            self._handle.update(drawn)


def _escaped(text: object) -> str:
    return str(text).replace("&", "&amp;").replace("<", "&lt;")
