"""The receptive field explorer: a stack of layers to edit, and all that each unit sees and influences.

cone.js draws it and does its arithmetic, here as a widget that Python can read, and by ``page`` as one HTML file that
needs neither a kernel nor a network. ``python -m vgglib.cone`` writes that file again.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import anywidget
import traitlets

from vgglib.configurations import Layer
from vgglib.receptive_field import ReceptiveField, receptive_field

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "notebooks" / "pages" / "receptive_fields.html"
ARTICLE = (Layer("conv", kernel=2), Layer("conv", kernel=3))  # 7 pixels, 6 units, 4 units
PICTURES = {"ankle boot": 0, "bag": 23, "coat": 19, "dress": 3, "sandal": 9, "trouser": 16}  # training images
MOST_PIXELS, MOST_LAYERS, MOST_UNITS = 32, 12, 64


@dataclass(frozen=True)
class Selection:
    """The unit that was chosen in an explorer.

    layer: 0 for the input, n for the map after layer n; unit: its index along one side, or (row, column) in a picture;
    field: the receptive field of that layer's units; window: the first and the last pixel of this unit's, padding
    included, or a pair of them.
    """

    layer: int
    unit: int | tuple[int, int]
    field: ReceptiveField
    window: tuple


class ConeExplorer(anywidget.AnyWidget):
    """A stack of layers over a picture. ``layers`` can be read and set, ``selection`` is the unit that was chosen."""

    _esm = HERE / "cone.js"
    _css = HERE / "cone.css"
    stack = traitlets.List().tag(sync=True)
    size = traitlets.Int(7).tag(sync=True)
    selected = traitlets.List([0, 0, 0]).tag(sync=True)
    view = traitlets.Unicode("line").tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    pictures = traitlets.List().tag(sync=True)

    @property
    def layers(self) -> list[Layer]:
        """The layers as they stand in the explorer, input side first; those set are checked as those typed."""
        return [Layer(**layer) for layer in self.stack]

    @layers.setter
    def layers(self, layers: Iterable[Layer]) -> None:
        """Put other layers in their place and choose the middle unit of the last; ValueError if they are refused."""
        stack = list(layers)
        top = counts(stack, self.size)[-1]
        with self.hold_sync():
            self.stack = [_plain(layer) for layer in stack]
            self.selected = [len(stack), (top - 1) // 2, (top - 1) // 2]

    @property
    def selection(self) -> Selection:
        """The unit that was chosen last, by a click or a key."""
        layer, row, column = self.selected
        unit = (row, column) if self.view == "picture" else column
        field = receptive_field(self.layers[:layer])
        return Selection(layer, unit, field, field.window(unit))

    def __repr__(self) -> str:
        return "Receptive field explorer: run this cell to move it."

    def _repr_mimebundle_(self, **options: object) -> dict:
        found = super()._repr_mimebundle_(**options)
        bundle = found[0] if isinstance(found, tuple) else found
        return {**bundle, "text/plain": repr(self)}


_made: dict[tuple, ConeExplorer] = {}


def explorer(layers: Sequence[Layer] = ARTICLE, input_size: int = 7) -> ConeExplorer:
    """Return the explorer that starts with these layers over ``input_size`` pixels a side.

    Asked again with the same arguments it is the same explorer, as you left it: so a cell can be run twice.
    Raises ValueError for what cannot be drawn, with the layer's name and the reason.
    """
    asked = (tuple(layers), input_size)
    if asked not in _made:
        top = counts(asked[0], input_size)[-1]
        _made[asked] = ConeExplorer(
            stack=[_plain(layer) for layer in asked[0]],
            size=input_size,
            selected=[len(asked[0]), (top - 1) // 2, (top - 1) // 2],
            pictures=_pictures(),
        )
    return _made[asked]


def counts(layers: Sequence[Layer], input_size: int) -> list[int]:
    """Return the units in each row, the input first; ValueError, as the explorer refuses it, for other stacks."""
    if not isinstance(input_size, int) or not 1 <= input_size <= MOST_PIXELS:
        raise ValueError(f"input: it has 1 to {MOST_PIXELS} pixels here, not {input_size}")
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"there is room for {MOST_LAYERS} layers, not for {len(layers)}")
    found = [input_size]
    for number, layer in enumerate(layers, start=1):
        span, padded = layer.dilation * (layer.kernel - 1) + 1, found[-1] + 2 * layer.padding
        wrong = {
            "the explorer knows conv and pool": layer.kind not in ("conv", "pool"),
            "kernel, stride and dilation are 1 or more": min(layer.kernel, layer.stride, layer.dilation) < 1,
            "a padding is 0 or more": layer.padding < 0,
            f"its kernel spans {span} units, and the padded map below holds {padded}": span > padded,
            "torch refuses a pooling with more padding than half its kernel": (
                layer.kind == "pool" and layer.padding > layer.kernel // 2
            ),
            "its first unit would see nothing but padding": layer.padding >= span,
            f"there is room for {MOST_UNITS} units in a row, padding included": padded > MOST_UNITS,
        }
        for reason, holds in wrong.items():
            if holds:
                raise ValueError(f"{layer.kind} {number}: {reason}")
        found.append((padded - span) // layer.stride + 1)
    return found


def page() -> str:
    """Return the explorer as one HTML page: style, program and pictures inside, nothing to load."""
    start = dict(layers=[_plain(layer) for layer in ARTICLE], size=7, selected=[2, 1, 1], view="line", picture=0)
    given = json.dumps(dict(start=start, pictures=_pictures()), separators=(",", ":"))
    program, style = ((HERE / f"cone.{end}").read_text(encoding="utf-8") for end in ("js", "css"))
    return _HTML.replace("/*STYLE*/", style).replace("/*PROGRAM*/", program).replace("/*GIVEN*/", given)


def _plain(layer: Layer) -> dict:
    return {name: value for name, value in asdict(layer).items() if name != "channels"}


def _pictures() -> list[dict[str, str]]:
    from vgglib.data import fashion_mnist

    images = fashion_mnist()[0].images
    encoded = {name: base64.b64encode(images[index, 0].numpy().tobytes()) for name, index in PICTURES.items()}
    return [dict(name=name, pixels=text.decode("ascii")) for name, text in encoded.items()]


_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Receptive fields: what one unit sees</title>
<style>
body { margin: 0 auto; max-width: 1180px; padding: 16px; font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 22px; }
main > p { max-width: 75ch; }
/*STYLE*/
</style>
</head>
<body>
<main>
<h1>What does one unit see?</h1>
<p>A stack of layers over a picture, the input at the bottom. Change a layer, and see which pixels each unit depends
on. The page works offline; its address keeps what you made, so that a bookmark or a link brings it back. It belongs to
chapter 02 of <em>The VGG paper, executable</em>. The pictures are from Fashion-MNIST (MIT licence, © 2017 Zalando
SE).</p>
<div id="explorer"></div>
<noscript>This page is a program: allow scripts to see it (in JupyterLab: press Trust HTML).</noscript>
</main>
<script type="module">
/*PROGRAM*/
page(document.getElementById("explorer"), /*GIVEN*/);
</script>
</body>
</html>
"""


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
