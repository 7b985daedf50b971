"""What all figures share: the figure that says what it shows, the colours, plain axes."""

import io

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch import Tensor

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
        width, height = (round(96 * inches) for inches in self.get_size_inches())
        about = {"alt": self.text_alternative, "width": width, "height": height}
        return {"text/plain": repr(self), "image/png": self._png()}, {"image/png": about}

    def _png(self) -> bytes:
        image, before = io.BytesIO(), self.dpi
        try:  # the same bytes as savefig's, which draws everything once more to lay it out first
            self.dpi = 150
            FigureCanvasAgg(self).print_png(image)
        finally:
            self.dpi = before
        return image.getvalue()


def captioned(png: bytes, words: str) -> bytes:
    """Return a PNG image, its background white, with a line of words below it."""
    image = imread(io.BytesIO(png))
    height, width, line = *image.shape[:2], 40
    figure = Figure(figsize=(width / 150, (height + line) / 150), dpi=150, facecolor="white")
    figure.figimage(image, 0, line)
    figure.text(12 / width, 0.3 * line / (height + line), words, fontsize=8, color=GREY)
    below = io.BytesIO()
    figure.savefig(below, format="png")
    return below.getvalue()


def grey_bytes(picture: Tensor) -> Tensor:
    """Return a picture that is drawn from 0 (white) to 255 (black); ValueError if it may count to something else."""
    if picture.dtype != torch.uint8:
        raise ValueError(f"expected a picture in uint8, from 0 to 255, got {picture.dtype}")
    return picture


def bare_axes(figure: Figure) -> Axes:
    """Return axes without ticks or frame that fill a figure."""
    axes = figure.subplots()
    axes.axis("off")
    return axes


def plain(axes: Axes) -> None:
    """Take away what carries no information: the frame above and on the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def three_digits(value: float) -> str:
    """Return a number in three digits, but without an exponent: 0.176, 38.3, 1,024."""
    if 0 < value < 0.001:
        return "less than 0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
