"""Interactive views: thin wrappers that put sliders on the pure functions of ``figures``, and a plot that grows."""

from collections.abc import Callable, Iterable

import ipywidgets
from IPython.display import display

from vgglib import figures
from vgglib.configurations import TABLE_1
from vgglib.figures import Picture
from vgglib.training import History


def explore(figure: Callable[..., Picture], start: dict | None = None, **choices: Iterable) -> ipywidgets.VBox:
    """Return a view of ``figure`` with one control per keyword, each with a finite list of values.

    start: the values to begin with, the first of each list where it says nothing. Where the figure refuses a
    combination, the refusal stands in its place.
    """
    controls = {}
    for name, values in choices.items():
        about = dict(options=list(values), description=name, style={"description_width": "initial"})
        texts = any(isinstance(value, str) for value in about["options"])
        control = (
            ipywidgets.Dropdown(**about) if texts else ipywidgets.SelectionSlider(**about, continuous_update=False)
        )
        control.value = (start or {}).get(name, about["options"][0])
        controls[name] = control
    image = ipywidgets.Image(format="png")
    words = ipywidgets.HTML()

    def draw(_change: object = None) -> None:
        try:
            drawn = figure(**{name: control.value for name, control in controls.items()})
        except ValueError as error:
            image.layout.display, words.value = "none", f"<b>Not possible:</b> {_escaped(error)}"
            return
        bundle, about = drawn._repr_mimebundle_()
        image.value, image.width = bundle["image/png"], about["image/png"]["width"]
        image.layout.display, words.value = "", _escaped(drawn.text_alternative)

    for control in controls.values():
        control.observe(draw, names="value")
    draw()
    return View([*controls.values(), image, words])


class View(ipywidgets.VBox):
    """Controls over a figure; its text says how to bring it to life."""

    def __repr__(self) -> str:
        return "Interactive view: run this cell to move the controls."

    def _repr_mimebundle_(self, **options: object) -> dict:
        return {**super()._repr_mimebundle_(**options), "text/plain": repr(self)}


def configuration_view() -> View:
    """Return the view of chapter 04: where parameters, MACs and memory of a configuration sit."""
    return explore(
        figures.configuration_costs,
        start=dict(configuration="D", image_size=224, width=1.0),
        configuration=tuple(TABLE_1),
        image_size=(32, 64, 128, 224, 256, 384),
        width=(0.25, 0.5, 1.0),
    )


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
