"""Figures say the right thing, draw something, and touch no global state."""

import io
import math
import re
import struct
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest
import reference
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.image import imread
from PIL import Image
from torch import nn

from vgglib import figures, protocol, results
from vgglib.augment import view
from vgglib.balance import Trained, trained_networks
from vgglib.configurations import TABLE_1
from vgglib.cost import cost
from vgglib.data import ImageSet
from vgglib.foundations import correlate
from vgglib.memory import PURPOSES, memory
from vgglib.model import VGG
from vgglib.protocol import Rung
from vgglib.receptive_field import effective, receptive_field, trace
from vgglib.training import Epoch, History, Recipe


def images():
    dice = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8, generator=dice)
    return ImageSet(pixels, torch.arange(12) % 3, ("coat", "bag", "shirt"))


def run(validation=(0.7, 0.8, 0.85)):
    epochs = [
        Epoch(n + 1, 1.4 - 0.3 * n, 0.5 + 0.1 * n, watched, 0.05, 2.0, 1234.0) for n, watched in enumerate(validation)
    ]
    return History(Recipe("A", epochs=5), 0, 10, {}, epochs)


TRAINED = [
    Trained("laptop", "A", 3, 0.93, 0.002, 912_042, 9_917_440, 440_000, (0.928, 0.93, 0.932)),
    Trained("depth", "E", 1, 0.85, 0.0, 322_000, 6_300_000, 24_000),
]
FIGURES = {
    "training_scales": lambda: figures.training_scales(images().images[0], (8, 12), crop=6),
    "seen_at_scale": lambda: figures.seen_at_scale(images().images[0], 12, crop=6),
    "doublings": lambda: figures.doublings({"ring": [1, 1.9, 3.5], "star": [1, 1.8, 0.4]}, "speed-up"),
    "speed_ups": figures.speed_ups,
    "table_1": figures.table_1,
    "shapes": figures.shapes,
    "where_it_sits": lambda: figures.where_it_sits(cost(VGG("5 | 7 |", image_size=12, hidden=9), 12), "small"),
    "configuration_costs": figures.configuration_costs,
    "pictures": lambda: figures.pictures(images().images, columns=5),
    "samples": lambda: figures.samples(images(), per_class=4),
    "history": lambda: figures.history(run()),
    "confusion_matrix": lambda: figures.confusion_matrix(torch.tensor([[5, 2], [1, 6]]), ("coat", "bag")),
    "lines": lambda: figures.lines({"he": [3.0, 2.0], "glorot": [2.5, 2.2]}, "layer", "spread"),
    "signal": lambda: figures.signal(std=0.05, channels=8, depth=4),
    "sliding": lambda: figures.sliding(images().images[0, 0]),
    "convolution": figures.convolution,
    "descent": figures.descent,
    "signals": lambda: figures.signals({"he": [1, 0.5], "mine": [1, 0.9], "normal-0.01": [1e-8, 1e-16]}, "two layers"),
    "cone": figures.cone,
    "seen_in_picture": lambda: figures.seen_in_picture(images().images[0, 0], {"unit 0": ((-2, 3), (0, 5))}),
    "windows_on_a_side": lambda: figures.windows_on_a_side([(-2, 3), (2, 7), (6, 11)], 10),
    "effective_fields": lambda: figures.effective_fields({"one layer": effective(nn.Conv2d(1, 1, 3, padding=1), 9)}),
    "of_what": figures.of_what,
    "stack_against_one": figures.stack_against_one,
    "ladder": lambda: figures.ladder(
        [
            Rung("one scale", {0: 9.0, 1: 9.4}, 27.0, None),
            Rung("jitter", {0: 8.5, 1: 8.3}, 25.6, {"n": 2, "mean": 0.8, "standard_error": 0.3}),
            Rung("with E", {}, 23.7, None),
        ]
    ),
    "score_maps": lambda: figures.score_maps(images().images[0, 0], {"bag": torch.eye(3), "coat": torch.rand(3, 3)}),
    "crop_and_posteriors": lambda: figures.crop_and_posteriors(
        images().images[0, 0], (1, 2, 4, 5), torch.tensor([0.2, 0.7, 0.1]), ("coat", "bag", "shirt")
    ),
    "step_memory": figures.step_memory,
    "ring": figures.ring,
    "steps_in_time": figures.steps_in_time,
    "shares": lambda: figures.shares({"conv1_1": (1.0, 3.0), "fc6": (2.0, 1.0)}, ("MACs", "time")),
    "shrinking": lambda: figures.shrinking(
        {"low rank": [(100, 58.0, 2.0), (10, 20.0, 1.0)]}, whole=60.0, chosen={"low rank": 100}
    ),
    "singular_values": lambda: figures.singular_values([2.0, 1.0, 0.5], [5.0, 2.5, 0.4]),
    "curves": lambda: figures.curves({"one": [0, 1, 0], "two": [0, 1, 0, 1, 0]}),
    "four_blocks": figures.four_blocks,
    "two_boxes": lambda: figures.two_boxes(images().images[0, 0], (4, 4, 4, 6), 5, 4, 4, 6),
    "accuracy_against_cost": lambda: figures.accuracy_against_cost(TRAINED),
    "interval": lambda: figures.interval(-0.1, 0.3, "B less A (points)", {"none": 0.0, "much": 0.7}),
    "dots": lambda: figures.dots({"B": [89.1, 89.5], "five 5x5": [89.0, 89.8]}, "test accuracy (%)"),
    "errors_over_scales": lambda: figures.errors_over_scales({"canvases": {"S = 32": [(28, 9.0), (64, 30.0)]}}),
    "agreement": lambda: figures.agreement({"conv1_1": torch.eye(4) > 0}),
    "dots_beside": lambda: figures.dots_beside({"B": {"he": [0.7, 0.8]}, "E": {"he": [0.9, 1.3]}}, "loss"),
    "bars": lambda: figures.bars({"conv": 9.2, "fc": 123.6}, "parameters (millions)"),
    "loss_by_rate": lambda: figures.loss_by_rate({0.001: 2.0, 0.01: 1.6, 0.1: math.nan}, guessing=2.3),
}


def words(figure):
    """Everything that is written in a figure."""
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_public_figure_is_tested():
    made = {name for name, made in vars(figures).items()
            if callable(made) and getattr(made, "__annotations__", {}).get("return") is figures.Picture}  # fmt: skip
    assert made == set(FIGURES)


def test_memory_of_a_step_is_the_sum_of_its_bars():
    figure = figures.step_memory("A", 64, 8)
    with torch.device("meta"):
        held = [memory(VGG("A", image_size=64), 8, purpose) for purpose in PURPOSES]
    bars = [
        [patch.get_width() for patch in figure.axes[0].patches[4 * n : 4 * n + 4 + n // 3]] for n in range(len(held))
    ]
    assert [sum(bar) for bar in bars] == pytest.approx([found.total / 1e9 for found in held])
    assert held[-1].update > held[-1].activations  # a fifth bar, for Adam alone
    assert f"Adam {held[-1].total / 1e9:.2f} GB" in figure.text_alternative
    assert "its update 0.13." in figure.text_alternative
    assert "update" not in figures.step_memory("D", 224, 32).text_alternative
    small = figures.step_memory("D", 32, 1).text_alternative
    assert "activations 1.6 MB" in small
    assert "activations 0.00" not in small


def test_shares_are_of_their_own_sum():
    figure = figures.shares({"conv1_1": (1.0, 3.0), "fc6": (3.0, 1.0)}, ("MACs", "time"))
    assert [patch.get_width() for patch in figure.axes[0].patches] == [25.0, 75.0, 75.0, 25.0]
    assert "largest in time: conv1_1, 75 %" in figure.text_alternative
    assert not figure.axes[0].get_title()


def test_a_marked_share_stands_in_the_title():
    figure = figures.shares({"conv1_1": (1.0, 3.0), "fc6": (3.0, 1.0)}, ("MACs", "time"), mark="fc6")
    (axes,) = figure.axes
    assert axes.get_title() == "fc6: 75.0 % of the MACs, 25.0 % of the time"
    assert axes.get_title() in figure.text_alternative
    assert [label.get_fontweight() for label in axes.get_yticklabels()] == ["normal", "bold"]


@cache
def shown(name):
    """A figure, and what a notebook gets of it."""
    figure = FIGURES[name]()
    return figure, *figure._repr_mimebundle_()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_not_blank_and_say_what_they_show(name):
    figure, bundle, _ = shown(name)
    drawn = np.asarray(Image.open(io.BytesIO(bundle["image/png"])).convert("RGB"))
    assert (drawn != 255).any(axis=2).mean() > 0.01
    assert len(np.unique(drawn.astype(int) @ (65536, 256, 1))) > 10  # colours
    assert figure.text_alternative.endswith(".") or name == "pictures"
    assert repr(figure) == f"Figure: {figure.text_alternative}"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FIGURES)
def test_notebooks_get_a_picture_with_its_alternative_text(name):
    figure, bundle, about = shown(name)
    assert bundle["text/plain"] == repr(figure)
    assert bundle["image/png"].startswith(b"\x89PNG")
    width, height = struct.unpack(">II", bundle["image/png"][16:24])
    as_said = about["image/png"]
    assert as_said["alt"] == figure.text_alternative
    assert (as_said["width"], as_said["height"]) == tuple(round(96 * inches) for inches in figure.get_size_inches())
    assert width / height == pytest.approx(as_said["width"] / as_said["height"], rel=0.02)
    assert width > as_said["width"]  # sharp on fine screens


def test_drawing_twice_gives_the_same_bytes():
    assert figures.shapes()._repr_mimebundle_() == figures.shapes()._repr_mimebundle_()


@pytest.mark.parametrize("name", ["shapes", "pictures", "two_boxes"])  # drawn twice, two of them move
def test_a_notebook_gets_what_savefig_writes(name):
    saved = io.BytesIO()
    FIGURES[name]().savefig(saved, format="png", dpi=150)
    figure = FIGURES[name]()
    assert figure._repr_mimebundle_()[0]["image/png"] == saved.getvalue()
    assert figure.dpi == FIGURES[name]().dpi


def test_nothing_imports_pyplot():
    program = (
        "import sys; from vgglib import figures; figures.table_1()._repr_mimebundle_(); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_table_1_draws_what_the_paper_prints():
    figure = figures.table_1()
    said = words(figure)
    for name in reference.TABLE_1:
        assert f"{name}\n{reference.WEIGHT_LAYERS[name]} layers" in said
    boxes = [word for printed in reference.TABLE_1.values() for word in printed.split() if word != "maxpool"]
    assert sorted(word for word in said if word.startswith(("conv", "LRN"))) == sorted(boxes)
    assert said.count("FC-4096") == 12
    assert said.count("FC-1000") == 6
    assert "A 8, A-LRN 8, B 10, C 13, D 13, E 16" in figure.text_alternative


def test_table_1_outlines_what_the_paper_prints_in_bold():
    found = {}
    for text in figures.table_1().axes[0].texts:
        if text.get_weight() == "bold" and "layers" not in text.get_text():
            column = list(TABLE_1)[int(text.get_position()[0])]
            found[column] = found.get(column, 0) + 1
    assert found == reference.NEW_IN_BOLD


def test_shapes_of_d():
    figure = figures.shapes("D")
    told = "64 x 112 x 112 after 2 conv + pool, 128 x 56 x 56 after 2 conv + pool, 256 x 28 x 28 after 3 conv + pool"
    assert f"an input 224 wide: {told}, 512 x 14 x 14" in figure.text_alternative
    assert {"512\n7 x 7", "2 conv\n+ pool", "3 conv\n+ pool"} <= set(words(figure))
    narrow = figures.shapes("40 | 60/5 72", image_size=30, width=0.5)
    assert "an input 30 wide: 20 x 15 x 15 after 1 conv + pool, 36 x 15 x 15 after 2 conv." in narrow.text_alternative


def test_from_a_to_e_only_the_convolutions_of_a_block_change():
    a, e = (figures.shapes(name) for name in "AE")
    boxes = [[box.get_bbox().bounds for box in figure.axes[0].patches] for figure in (a, e)]
    assert boxes[0] == boxes[1]
    assert set(words(a)) - set(words(e)) == {"1 conv\n+ pool"}
    assert set(words(e)) - set(words(a)) == {"4 conv\n+ pool"}
    assert "1 conv + LRN\n+ pool" in words(figures.shapes("A-LRN"))


def test_where_the_costs_sit():
    figure = figures.configuration_costs("D", 224)
    assert "138,357,544 parameters, 15,470,264,320 MACs, 60,950,432 activation bytes" in figure.text_alternative
    parameters, macs, activations = figure.axes
    labels = [label.get_text() for label in parameters.get_yticklabels()]
    assert labels[:2] == ["input", "conv1_1"]
    assert labels[-3:] == ["fc6", "fc7", "fc8"]
    width = dict(zip(labels, (bar.get_width() for bar in parameters.patches), strict=True))
    assert width["fc6"] == pytest.approx(102.764544)
    assert sum(bar.get_width() for bar in macs.patches) == pytest.approx(15.470, abs=1e-3)
    assert sum(bar.get_width() for bar in activations.patches) == pytest.approx(4e-6 * reference.ACTIVATIONS_OF_D)
    assert [axes.get_title() for axes in figure.axes] == [
        "parameters (millions), 138 in all",
        "MACs (billions), 15.5 in all",
        "activations (MB), 61 in all",
    ]


@pytest.mark.parametrize("name", TABLE_1)
def test_every_configuration_gets_its_own_names(name):
    figure = figures.configuration_costs(name, 64, 0.25)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == len(reference.TABLE_1[name].split()) + 4
    assert ("lrn1_1" in labels) == (name == "A-LRN")


def test_a_history_says_its_last_epoch():
    figure = figures.history(run())
    assert "epoch 3/5: train loss 0.8000" in figure.text_alternative
    assert "validation accuracy 0.8500" in figure.text_alternative
    assert {"guessing: ln(10)", "train", "validation"} <= set(words(figure))
    left, right = figure.axes
    assert left.lines[1].get_ydata()[0] == pytest.approx(math.log(10))
    assert list(right.lines[1].get_ydata()) == [0.7, 0.8, 0.85]
    alone = figures.history(run((None, None)))
    assert "validation" not in alone.text_alternative + " ".join(words(alone))


def test_a_history_has_no_tick_beyond_its_last_epoch():
    for axes in figures.history(run()).axes:
        assert axes.get_xlim()[1] > 5
        assert set(axes.get_xticks()) <= {1, 2, 3, 4, 5}
        assert len(axes.get_xticks()) > 1


def test_framed_pictures_have_their_edges_drawn():
    plain, framed = (figures.pictures(images().images[:3], columns=2, framed=one) for one in (False, True))
    assert [len(axes.patches) for axes in plain.axes] == [0] * 4
    assert [len(axes.patches) for axes in framed.axes] == [1, 1, 1, 0]
    (frame,) = framed.axes[0].patches
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (-0.5, -0.5, 8, 8)


@pytest.mark.parametrize(("scale", "share"), [(8, 38), (12, 12), (24, 3)])
def test_what_the_network_sees_grows_with_the_scale(scale, share):
    tall = torch.arange(128, dtype=torch.uint8).reshape(1, 16, 8)
    crop = 6 if scale > 8 else 7
    figure = figures.seen_at_scale(tall, scale, crop=crop)
    left, right = figure.axes
    assert f"shows {share} % of the area" in str(figure)
    assert [*left.get_images()[0].get_extent()] == [0, scale, 2 * scale, 0]
    seen = right.get_images()[0].get_array()
    assert torch.equal(
        torch.tensor(seen), view(tall[None], crop, scale)[0, 0]
    )  # rescaled, with as many pixels as these
    assert np.diff(right.get_xlim()) == -np.diff(right.get_ylim()) == crop  # and always as many pixels in view
    box = left.patches[-1]
    assert (box.get_x(), box.get_x() + box.get_width()) == pytest.approx(right.get_xlim())
    with pytest.raises(ValueError, match="has no place"):
        figures.seen_at_scale(tall, scale, crop=scale + 1)


@pytest.mark.parametrize("scale", [224, 256, 768])
def test_no_title_of_what_the_network_sees_is_cut_off(scale):
    figure = figures.seen_at_scale(torch.zeros(3, 600, 512, dtype=torch.uint8), scale)
    figure.savefig(io.BytesIO(), format="png")
    for axes in figure.axes:
        assert axes.title.get_window_extent().y1 < figure.bbox.y1
        assert axes.xaxis.label.get_window_extent().y0 > figure.bbox.y0


def test_pictures_have_their_titles_and_stay_in_their_order():
    figure = figures.pictures(images().images[:3], ["coat", "bag", "shirt"], columns=2)
    assert figure.text_alternative == "3 pictures: coat; bag; shirt"
    assert [axes.get_title() for axes in figure.axes] == ["coat", "bag", "shirt", ""]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 0]
    assert np.array_equal(figure.axes[1].images[0].get_array(), images().images[1, 0])
    named = figures.pictures(images().images, columns=6, rows=["first", "second"])
    assert words(named) == ["first", "second"]
    assert [len(axes.texts) for axes in named.axes] == [1, 0, 0, 0, 0, 0] * 2
    assert figures.pictures(images().images, told="Twelve.").text_alternative == "Twelve."


def test_samples_are_of_their_class():
    figure = figures.samples(images(), per_class=2)
    assert figure.text_alternative == "2 pictures of each class: coat, bag, shirt."
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["coat", "bag", "shirt"]
    assert np.array_equal(figure.axes[3].images[0].get_array(), images().images[4, 0])


def test_the_confusion_matrix_names_the_worst_mistake():
    counts = torch.tensor([[50, 3, 0], [9, 40, 1], [0, 0, 30]])
    figure = figures.confusion_matrix(counts, ("coat", "bag", "shirt"))
    assert figure.text_alternative == "Confusion matrix; the most frequent mistake: bag taken for coat, 9 times."
    assert sorted(words(figure)) == sorted(["50", "3", "9", "40", "1", "30"])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("answer of the network", "true class")
    place = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert place["9"] == (0, 1)  # to the right of the class that it is, under the class it was taken for


def test_a_perfect_confusion_matrix_has_no_mistake():
    for classes in (("coat",), ("coat", "bag")):
        figure = figures.confusion_matrix(torch.eye(len(classes), dtype=torch.long), classes)
        assert figure.text_alternative == "Confusion matrix; no mistake."


def test_lines_are_labelled_at_their_end():
    figure = figures.lines({"he": [3.0, 2.0, 1.5], "glorot": [2.5, 2.2]}, "layer", "spread", log=True)
    assert figure.text_alternative == "spread by layer: he, glorot."
    assert words(figure) == [" he", " glorot"]
    assert figure.axes[0].get_yscale() == "log"
    assert len({(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines}) == 2


def test_lines_mark_places():
    figure = figures.lines({"he": [3.0, 2.0, 1.5]}, "epoch", "loss", at=[2, 3])
    dotted = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert dotted == [2, 3]
    assert figure.text_alternative == "loss by epoch: he; dotted at 2, 3."


def test_a_fifth_line_is_refused_rather_than_left_out():
    with pytest.raises(ValueError, match=r"at most four curves .* got 5"):
        figures.lines({str(n): [1.0] for n in range(5)}, "layer", "spread")


def test_bars_carry_their_numbers():
    figure = figures.bars({"conv": 9.25, "fc": 123.6}, "millions", form="{:.1f}")
    assert figure.text_alternative == "millions: conv 9.2, fc 123.6."
    assert words(figure) == [" 9.2", " 123.6"]
    assert figure.axes[0].yaxis_inverted()


def test_impossible_figures_are_refused():
    with pytest.raises(ValueError, match="too small: pool5"):
        figures.shapes("D", 16)
    with pytest.raises(ValueError, match="too small: pool5"):
        figures.configuration_costs("A", 31)


# --- receptive fields -----------------------------------------------------------------------------------------------


def as_modules(stack):
    kinds = {"conv": lambda *numbers: nn.Conv2d(1, 1, *numbers), "pool": nn.MaxPool2d}
    return nn.Sequential(*(kinds[one.kind](one.kernel, one.stride, one.padding, one.dilation) for one in stack))


@pytest.mark.parametrize("stack", figures.STACKS)
def test_cones_end_at_the_pixels_that_a_trace_finds(stack):
    field = list(trace(as_modules(figures.STACKS[stack]), 20).values())[-1]
    for unit in range(field.units.size[0]):
        said = figures.cone(stack, unit, 20).text_alternative
        start, end = map(int, re.search(r"sees pixels (-?\d+) to (\d+)", said).groups())
        assert (max(0, start), min(19, end)) == field.window(unit, 20)
    with pytest.raises(ValueError, match=f"no unit {field.units.size[0]}"):
        figures.cone(stack, field.units.size[0], 20)


def test_cones_by_hand():
    assert "unit 1 sees pixels 1 to 4, 4 in all." in figures.cone("2 then 3", 1, 7).text_alternative
    padded = figures.cone("3 then 3, padded", 0, 9)
    assert "pixels -1 to 2, 4 in all, 1 of them padding." in padded.text_alternative
    assert words(padded).count("-1") == 2  # in the input and in the layer above
    with pytest.raises(ValueError, match="needs more than 3 pixels"):
        figures.cone("3, dilated by 1, 2, 4", 0, 3)
    assert receptive_field(figures.STACKS["3, dilated by 1, 2, 4"]).size == 15


def test_windows_in_a_picture():
    figure = figures.seen_in_picture(images().images[0, 0], {"a": ((-2, 3), (0, 5)), "b": ((4, 9), (1, 2))})
    assert (
        figure.text_alternative
        == "What units see of the picture. a: rows (-2, 3), columns (0, 5); b: rows (4, 9), columns (1, 2)."
    )
    left, right = figure.axes[0].get_xlim()
    bottom, top = figure.axes[0].get_ylim()
    assert (left <= -0.5, right >= 7.5) == (True, True)
    assert (top <= -2.5, bottom >= 9.5) == (True, True)


def test_effective_fields_are_told():
    net = nn.Conv2d(1, 1, 3, padding=1)
    nn.init.constant_(net.weight, 1.0)
    assert (
        "flat: standard deviation 0.8 pixels in a window of 3."
        in figures.effective_fields({"flat": effective(net, 9)}).text_alternative
    )


def test_the_difference_of_weights_is_the_same_for_both():
    figure = figures.of_what(kernel=3, depth=3)
    assert str(figure) == "Figure: Weights: 27 C² in the stack, 49 C² in the single layer, 22 C² between."
    assert words(figure) == ["27 C²", "49 C²", "22 C²: which per cent, of which bar?"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == [27, 49, 22]
    assert words(figures.of_what(kernel=3, depth=2))[:2] == ["18 C²", "25 C²"]


def test_a_stack_against_one_layer():
    figure = figures.stack_against_one(kernel=3, depth=3, channels=64, side=56)
    assert figure.text_alternative == "3 of 3x3 against 1 of 7x7, both with a field of 7: 55 % of the weights."
    stack, single = 27 * 64 * 64, 49 * 64 * 64
    said = words(figure)
    assert f"{stack / 1e3:,.3g}" in said
    assert f"{single / 1e3:,.3g}" in said
    assert f"{stack * 56**2 / 1e6:,.3g}" in said
    assert f"{3 * 64 * 56**2 * 4 / 1e6:,.3g}" in said


def test_the_bars_of_a_stack_say_how_many_times_the_single_layer():
    said = words(figures.stack_against_one(kernel=3, depth=3))
    assert [word for word in said if "×" in word] == ["0.55×", "0.55×", "3×"]


def test_bends_are_marked():
    _, marked = figures.curves({"bent": [0, 1, 2, 1, 0, 0]}).axes[0].lines
    assert list(marked.get_ydata()) == [2, 0]


def test_an_interval_is_told_beside_its_marks():
    figure = FIGURES["interval"]()
    assert str(figure).endswith("B less A (points): from -0.10 to 0.30, beside none at 0.00, much at 0.70.")
    assert [word.strip() for word in words(figure)] == ["none", "much"]


def test_two_boxes_are_judged():
    picture = images().images[0, 0]
    near, far = (figures.two_boxes(picture, (4, 4, 4, 6), x, 4, 4, 6).text_alternative for x in (5, 6))
    assert "union with the true box 0.60, which counts as right" in near
    assert "counts as wrong" in far


def test_a_found_box_of_the_chapter_s_extremes_lies_within_its_figure():
    picture = torch.zeros(48, 48, dtype=torch.uint8)
    for x, y in ((10.5, 8), (42.5, 32)):
        axes = figures.two_boxes(picture, (28.5, 18, 25, 28), x, y, 55, 46).axes[0]
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert left < x - 55 / 2 < x + 55 / 2 < right
        assert top < y - 46 / 2 < y + 46 / 2 < bottom


def test_bars_reach_from_the_lowest_to_the_highest_run():
    figure = figures.accuracy_against_cost(TRAINED)
    low, high = (line.get_ydata()[0] for line in figure.axes[0].containers[0].lines[1])
    assert (low, high) == pytest.approx((6.8, 7.2))


def test_accuracy_against_cost_ranks():
    figure = figures.accuracy_against_cost(TRAINED, by="parameters")
    said = words(figure)
    assert "2 trained networks against parameters: from 85.0 % (E) to 93.0 % (A)" in figure.text_alternative
    assert {"laptop: 440k pictures shown", "depth: 24k pictures shown"} < {*said}
    assert " 1  93.0 ± 0.2  A (3)" in said
    assert " 2  85.0  E (1)" in said  # one seed has no spread
    for bad in (dict(networks=[]), dict(networks=TRAINED, by="FLOPs"), dict(networks=TRAINED, joined=[("A", "E")])):
        with pytest.raises(ValueError, match=r"no network|by is|no record has both 'A' and 'E'"):
            figures.accuracy_against_cost(**bad)


recorded = cache(trained_networks)


@cache
def recorded_networks(by):
    """The figure of the networks in data/results/, drawn; nobody changes it."""
    figure = figures.accuracy_against_cost(recorded(), by=by, joined=[("E", "2E")])
    FigureCanvasAgg(figure).draw()
    return figure


def test_networks_are_listed_by_record_and_joined_where_asked():
    axes, beside = recorded_networks("MACs").axes
    said = [text.get_text() for text in beside.texts]
    names = [text.partition(":")[0] for text in said if "shown" in text]
    assert sorted(names) == sorted({net.record for net in recorded()})
    at = said.index("depth: 24k pictures shown")
    depth = sorted((net for net in recorded() if net.record == "depth"), key=lambda net: -net.mean)
    for text, net in zip(said[at + 1 :], depth, strict=False):
        assert f"  {100 * net.mean:.1f} ± {100 * net.sd:.1f}  {net.label} (5)" in text
    ends = [[net.macs / 1e6, 100 * (1 - net.mean)] for name in ("E", "2E") for net in depth if net.label == name]
    (line,) = [line for line in axes.lines if len(line.get_xdata()) == 50]
    assert line.get_xydata()[[0, -1]] == pytest.approx(np.array(ends))


@pytest.mark.parametrize("by", ["MACs", "parameters"])
def test_the_numbers_of_the_recorded_networks_do_not_overlap(by):
    figure = recorded_networks(by)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == len(recorded())
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("by", ["MACs", "parameters"])
def test_each_number_is_nearest_to_its_own_point(by):
    axes = recorded_networks(by).axes[0]
    points = axes.transData.transform([text.xy for text in axes.texts])
    for text, own in zip(axes.texts, points, strict=True):
        box = text.get_window_extent()
        middle = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        far = np.hypot(*(points - middle).T)
        assert np.hypot(*(own - middle)) == far.min(), text.get_text()


@pytest.mark.parametrize("by", ["MACs", "parameters"])
def test_networks_stand_at_their_cost_and_are_told_apart(by):
    figure = recorded_networks(by)
    by_height = {100 * (1 - net.mean): net for net in recorded()}
    networks = [by_height[bars.lines[0].get_ydata()[0]] for bars in figure.axes[0].containers]
    axes = figure.axes[0]
    costs = [getattr(net, by.lower()) / 1e6 for net in networks]
    assert len({*costs}) < len(axes.containers) == len(networks)
    assert [bars.lines[0].get_xdata()[0] for bars in axes.containers] == pytest.approx(costs, rel=1e-12)
    caps = [bars.lines[1][0].get_markersize() for bars in axes.containers]
    places = axes.transData.transform([bars.lines[0].get_xydata()[0] for bars in axes.containers])
    for n, m in combinations(range(len(networks)), 2):
        if costs[n] == costs[m]:  # one bar may run through the other: their caps say which ends belong together
            assert abs(caps[n] - caps[m]) > 1.5
        assert np.hypot(*(places[n] - places[m])) * 72 / figure.dpi > 1.5
    assert axes.get_ylabel() == "test accuracy (%), logarithmic in the error"


def test_dots_beside_each_other_share_rows_and_scale():
    panels = {"B": {"he": [0.7, 0.8], "paper": [2.3]}, "E": {"he": [0.9, 1.3], "paper": [2.3]}}
    figure = figures.dots_beside(panels, "loss", mark=(2.3, "guessing"))
    left, right = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["B", "E"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["he", "paper"]
    assert left.get_ylim() == right.get_ylim()
    assert left.get_xlim() == right.get_xlim()
    assert "B: he from 0.70 to 0.80; paper from 2.30 to 2.30. E: he from 0.90 to 1.30" in str(figure)
    with pytest.raises(ValueError, match="share their rows"):
        figures.dots_beside({"B": {"he": [0.7]}, "E": {"glorot": [0.7]}}, "loss")
    for values in ([], [0.7, math.nan]):
        with pytest.raises(ValueError, match="the dots of 'he' must be finite numbers, at least one"):
            figures.dots({"he": values}, "loss")


def test_dots_are_told():
    said = figures.dots({"B": [89.1, 89.5]}, "test accuracy (%)").text_alternative
    assert said == "test accuracy (%), one dot a run: B from 89.10 to 89.50."


def test_a_mark_stands_among_dots():
    axes = figures.dots({"B": [1.0, 2.0]}, "loss", mark=(2.3, "guessing")).axes[0]
    assert [text.get_text().strip() for text in axes.texts] == ["guessing"]
    assert any(list(line.get_xdata()) == [2.3, 2.3] for line in axes.lines)
    many = figures.dots({"B": [float(n) for n in range(200)]}, "area").axes[0].lines[0].get_ydata()
    assert -0.5 < min(many) < -0.2 < 0.2 < max(many) < 0.5


def test_a_ladder_shows_both_and_leaves_out_what_was_not_run():
    figure = FIGURES["ladder"]()
    assert {"27.0", "25.6", "23.7", "9.20", "8.40"} == set(words(figure))
    lines = [list(line.get_ydata()) for line in figure.axes[1].lines if line.get_linestyle() == "-"]
    assert lines == [[0, 1]]  # no line to a rung that no step leads to
    assert "The paper: 27.0, 25.6, 23.7. ours: 9.20, 8.40." in str(figure)
    assert [axes.get_title() for axes in figure.axes] == [
        "the paper, ImageNet\nS = Q = 256; jitter: Q = 384", "ours\nS = Q = 32; jitter: Q = 48"
    ]  # fmt: skip


def test_the_number_of_a_rung_stands_at_the_bar_of_its_mean():
    axes = FIGURES["ladder"]().axes[1]
    bars = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "|"]
    assert [(round(x, 6), y) for x, y in bars] == [(9.2, 0), (8.4, 1)]
    assert [number.xy for number in axes.texts] == bars
    assert [number.get_ha() for number in axes.texts] == ["left", "right"]  # the line comes from the right


def test_a_step_of_a_ladder_is_drawn_between_the_seeds_that_both_rungs_have():
    steps = [Rung("a", {0: 9.0, 1: 12.0}, 27.0, None), Rung("b", {0: 8.0}, 25.6, {"n": 1, "mean": 1.0})]
    figure = figures.ladder(steps)
    (line,) = (line for line in figure.axes[1].lines if line.get_linestyle() == "-")
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([9.0, 8.0], [0, 1])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b\n(1 of 2 seeds)"]


def test_errors_over_scales_keep_names_apart():
    curves = {"S = 32": [(28, 9.0), (32, 8.0), (64, 30.0)], "S = 48": [(28, 20.0), (32, 15.0), (64, 30.1)]}
    figure = figures.errors_over_scales({"canvases": curves, "full frames": curves})
    assert [axes.get_title() for axes in figure.axes] == ["canvases", "full frames"]
    for axes in figure.axes:
        assert list(axes.get_xticks()) == [28, 32, 64]
        assert [list(line.get_ydata()) for line in axes.lines] == [[9.0, 8.0, 30.0], [20.0, 15.0, 30.1]]
    figure.draw_without_rendering()
    for axes in figure.axes:
        first, second = (text.get_window_extent() for text in axes.texts)
        assert not first.overlaps(second)
    assert "canvases, S = 48: 20.0 at 28, 15.0 at 32, 30.1 at 64" in str(figure)


def test_agreement_counts_what_is_equal():
    equal = torch.tensor([[True, False, True], [True, True, False]])
    figure = figures.agreement({"conv1_1": equal, "pool1": ~equal})
    assert [axes.get_title() for axes in figure.axes] == ["conv1_1\n4 of 6\nequal", "pool1\n2 of 6\nequal"]
    _, shown = figure.axes[0].images
    assert (~shown.get_array().mask).tolist() == equal.tolist()
    assert "conv1_1 4 of 6, pool1 2 of 6" in str(figure)


def test_training_scales_show_what_the_network_gets():
    picture = torch.arange(12 * 16, dtype=torch.uint8).reshape(1, 12, 16).expand(3, -1, -1)
    first, seen_first, second, seen_second = figures.training_scales(picture, (12, 24), crop=6).axes[0].images
    assert first.get_array().shape[:2] == second.get_array().shape[:2] == (12, 16)
    assert (255 * seen_first.get_array()[..., 0]).round().tolist() == picture[0, 3:9, 5:11].tolist()
    assert torch.equal(torch.tensor(seen_second.get_array()[..., 1]), view(picture[None], 6, 24)[0, 1])
    sizes = [abs(one.get_extent()[1] - one.get_extent()[0]) for one in (seen_first, seen_second)]
    assert sizes == [6, 6]


def test_what_the_network_gets_is_never_brighter_than_white():
    picture = torch.full((3, 30, 40), 255, dtype=torch.uint8)
    for scale in range(20, 64, 3):
        _, seen = figures.training_scales(picture, (scale,), crop=16).axes[0].images
        assert seen.get_array().max() <= 1


def test_the_paper_has_no_point_where_it_tested_nothing():
    steps = [Rung("a", {0: 9.0}, 27.0, None), Rung("b", {0: 8.0}, None, None), Rung("c", {0: 7.0}, 24.6, None)]
    figure = figures.ladder(steps)
    (line,) = figure.axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([27.0, 24.6], [0, 2])
    assert "The paper: 27.0, 24.6. ours: 9.00, 8.00, 7.00." in str(figure)


@pytest.mark.parametrize("name", sorted({*protocol.PROTOCOLS} & {*results.recorded()}))
def test_rungs_are_named_for_both_sides(name):
    """The paper's training scales are other numbers than ours, and one label stands for both."""
    assert not [
        rung.label for rung in protocol.ladder(results.load(name)) if re.search(r"\b(32|48|64|256)\b", rung.label)
    ]


@pytest.mark.parametrize("name", sorted({*protocol.PROTOCOLS} & {*results.recorded()}))
def test_no_line_of_a_ladder_runs_through_a_number(name):
    figure = figures.ladder(protocol.ladder(results.load(name)))
    figure.draw_without_rendering()
    for axes in figure.axes:
        edges = axes.get_window_extent()
        numbers = [text.get_window_extent() for text in axes.texts]
        assert len(numbers) >= 6
        for number in numbers:
            assert edges.x0 <= number.x0
            assert number.x1 <= edges.x1
            for line in (line for line in axes.lines if line.get_linestyle() in ("-", "--")):
                assert not line.get_path().transformed(line.get_transform()).intersects_bbox(number, filled=False)


def test_score_maps_mark_the_best_place():
    values = torch.zeros(4, 5)
    values[2, 3] = 0.9
    figure = figures.score_maps(torch.zeros(20, 24, dtype=torch.uint8), {"bag": values})
    assert "bag at row 2, column 3" in str(figure)
    assert [axes.get_title() for axes in figure.axes] == ["20 x 24 pixels", "bag\nat most 0.90"]


def test_score_maps_lie_at_the_centres_of_their_crops():
    values = torch.zeros(4, 5)
    values[2, 3] = 0.9
    first, bag = figures.score_maps(torch.zeros(20, 24, dtype=torch.uint8), {"bag": values}, crop=8, stride=4).axes
    assert (bag.get_xlim(), bag.get_ylim()) == (first.get_xlim(), first.get_ylim())
    (cross,) = bag.lines
    assert (*cross.get_xdata(), *cross.get_ydata()) == (3 * 4 + 3.5, 2 * 4 + 3.5)  # of pixels 12 to 19, and 8 to 15
    assert bag.images[0].get_extent() == [1.5, 21.5, 17.5, 1.5]
    (key,) = bag.child_axes
    assert key.get_ylabel() == "posterior (×: the largest)"


def test_a_crop_is_told_with_its_answer():
    figure = FIGURES["crop_and_posteriors"]()
    assert "rows 1 to 4, columns 2 to 6 is taken for bag, posterior 0.70" in str(figure)
    (box,) = figure.axes[0].patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (1.5, 0.5, 5, 4)


def test_the_true_class_of_a_crop_is_marked():
    picture, posteriors = images().images[0, 0], torch.tensor([0.2, 0.7, 0.1])
    figure = figures.crop_and_posteriors(picture, (1, 2, 4, 5), posteriors, ("coat", "bag", "shirt"), truth=2)
    assert "taken for bag, posterior 0.70; its true class is shirt." in str(figure)
    right = figure.axes[1]
    assert right.get_title() == "orange: the answer; →: the true class"
    assert [label.get_text() for label in right.get_yticklabels()] == ["coat", "bag", "→ shirt"]
    assert [bar.get_hatch() for bar in right.patches] == [None, "//", None]
    assert figures.ORANGE.lower() == to_hex(right.patches[1].get_facecolor())


def test_the_bars_of_a_crop_stay_in_place_whatever_the_true_class():
    edges = set()
    for truth in range(3):
        picture, posteriors = images().images[0, 0], torch.tensor([0.2, 0.7, 0.1])
        classes = ("coat", "T-shirt/top", "bag")
        figure = figures.crop_and_posteriors(picture, (0, 0, 8, 8), posteriors, classes, truth=truth)
        figure.draw_without_rendering()
        edges.add(round(figure.axes[1].get_window_extent().x0, 3))
        assert not figure.axes[0].patches[0].get_clip_on()
    assert len(edges) == 1


def test_sliding_marks_the_place_and_writes_its_value():
    picture = images().images[0, 0]
    kernel = ((2, -3), (5, 7), (11, -13))
    figure = figures.sliding(picture, kernel, row=1, column=2, stride=3, padding=1)
    padded = np.pad(np.asarray(picture) / 255, 1)
    value = (padded[3:6, 6:8] * np.array(kernel)).sum()
    assert f"gives a map of 3 x 3; at row 1, column 2 it is {value:.2f}." in figure.text_alternative
    answer = correlate(torch.tensor(padded)[None], torch.tensor(kernel)[None, None], 3)
    assert figure.axes[2].get_xlabel() == f"from {answer.min():.2f} to {answer.max():.2f}"
    assert figures.sliding(torch.zeros(4, 4, dtype=torch.uint8)).axes[2].get_xlabel() == "from 0.00 to 0.00"
    assert "over 8 x 8 pixels, padded by 1, gives" in figure.text_alternative
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert sum(patch.get_width() * patch.get_height() for patch in hatched) == 10 * 10 - 8 * 8
    bare = figures.sliding(picture, kernel)
    assert "over 8 x 8 pixels gives" in bare.text_alternative
    assert not [patch for patch in bare.axes[0].patches if patch.get_hatch()]
    for wrong in (dict(row=3), dict(column=-1)):
        with pytest.raises(ValueError, match="3 rows and 3 columns"):
            figures.sliding(picture, kernel, **{"row": 0, "column": 0, "stride": 3, "padding": 1, **wrong})
    with pytest.raises(ValueError, match="does not fit"):
        figures.sliding(picture, ((1,) * 9,) * 9)
    with pytest.raises(ValueError, match="padding at least 0"):
        figures.sliding(picture, kernel, padding=-1)


@pytest.mark.parametrize("kernel", [((2, -3), (5, 7), (11, -13)), ((1, 0), (0, -1))])
def test_each_weight_stands_over_its_pixel(kernel):
    """What is to be multiplied stands together, and the frame round it is the one on the picture."""
    picture = images().images[0, 0]
    figure = figures.sliding(picture, kernel, row=2, column=1, stride=3, padding=2)
    under = (nn.functional.pad(picture, (2,) * 4) / 255)[6 : 6 + len(kernel), 3 : 3 + len(kernel[0])]
    pairs = zip(np.ravel(kernel), under.flatten().tolist(), strict=True)
    assert words(figure) == [f"{weight}\n{pixel:.2f}" for weight, pixel in pairs]
    for axes in figure.axes[:2]:
        frame = axes.patches[0]
        assert (frame.get_width(), frame.get_height()) == (len(kernel[0]), len(kernel))
        assert to_hex(frame.get_edgecolor()) == figures.ORANGE.lower()
    tall = figures.sliding(picture, ((1,) * 5,) * 5)
    tall.draw_without_rendering()
    boxes = [text.get_window_extent() for text in tall.axes[1].texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


PICTURED = {
    "sliding": figures.sliding,
    "seen_in_picture": lambda picture: figures.seen_in_picture(picture, {"unit 0": ((0, 2), (0, 2))}),
    "score_maps": lambda picture: figures.score_maps(picture, {"bag": torch.eye(3)}),
    "two_boxes": lambda picture: figures.two_boxes(picture, (4, 4, 4, 6), 5, 4, 4, 6),
}


@pytest.mark.parametrize("name", PICTURED)
def test_a_picture_from_0_to_1_is_not_drawn_as_one_from_0_to_255(name):
    with pytest.raises(ValueError, match=r"in uint8, from 0 to 255, got torch.float32"):
        PICTURED[name](images().images[0, 0] / 255)


def test_the_places_drawn_are_those_of_torch():
    """A line reads the pixels that change an output of torch's convolution; hatched ones change none."""
    size, kernel = 7, 2
    figure = figures.convolution(size=size, kernel=kernel)
    strips = [axes for axes in figure.subfigs[1].axes]
    for axes, move in zip(strips, figures.MOVES, strict=True):
        K = torch.ones(1, 1, 1, kernel)
        geometry = {name: (0, amount) if name == "padding" else (1, amount) for name, amount in move.items()}
        X = torch.zeros(1, 1, 1, size, requires_grad=True)
        units = torch.nn.functional.conv2d(X, K, **geometry).flatten()
        read = [torch.autograd.grad(unit, X, retain_graph=True)[0].flatten().nonzero().flatten() for unit in units]
        drawn = [[pixel for pixel in line.get_xdata() if 0 <= pixel < size] for line in axes.lines]
        assert drawn == [found.tolist() for found in read]
        assert all(len(line.get_xdata()) == kernel for line in axes.lines)
        hatched = {patch.get_x() + 0.5 for patch in axes.patches if patch.get_hatch()}
        assert hatched == {*range(size)} - {pixel for found in read for pixel in found.tolist()}
        assert f"{len(units)} place" in axes.get_title()
        assert re.findall(r"never read: (\d+)", axes.get_title()) == [f"{pixel:.0f}" for pixel in hatched]
    assert "stride 2: 3 (never read: 6)" in str(figure)


def test_each_kernel_is_drawn_with_a_slice_for_each_channel_in():
    few, more = (figures.convolution(*counts).subfigs[0].axes[0] for counts in ((1, 1), (4, 3)))
    assert [len(axes.patches) for axes in (few, more)] == [2 * 1 + 1 * (1 + 2), 2 * 4 + 3 * (4 + 2)]
    for counts in ((0, 2), (3, 4), (5, 1)):
        with pytest.raises(ValueError, match="1 to 4 channels in and 1 to 3 out"):
            figures.convolution(*counts)
    with pytest.raises(ValueError, match="does not fit"):
        figures.convolution(size=4, kernel=3)  # not at dilation 2


def test_descent_says_whether_it_runs_away():
    assert "it runs away" in figures.descent(rate=0.11).text_alternative
    assert "it runs away" not in figures.descent(rate=0.09).text_alternative
    assert "height 0.4 after 40 steps, from 26" in figures.descent(rate=0.09).text_alternative
    heights = [figures.descent(0.12, momentum).text_alternative for momentum in (0.0, 0.5)]
    assert "runs away" in heights[0]
    assert "runs away" not in heights[1]
    assert "weight decay 0.1" in figures.descent(decay=0.1).text_alternative
    assert "after 5 steps" in figures.descent(steps=5).text_alternative
    for rate, momentum in ((0.1, 0.0), (0.15, 0.5)):  # the limits: across it flips for ever
        assert "neither settles nor runs away" in figures.descent(rate, momentum).text_alternative
    assert "it runs away" in figures.descent(rate=5.0, steps=400).text_alternative  # to infinity, and on to nan
    with pytest.raises(ValueError, match="at least one step, got 0"):
        figures.descent(steps=0)
    for rate, momentum, decay in ((0.01, 0.0, 0.0), (0.01, 0.99, 0.0), (0.05, 0.5, 0.1), (0.15, 0.6, 0.0)):
        assert "after 40 steps" in figures.descent(rate, momentum, decay).text_alternative


@pytest.mark.parametrize(("rate", "momentum", "decay"), [(0.15, 0.5, 0.0005), (0.09, 0.99, 0.05)])
def test_the_longest_title_of_a_descent_is_whole(rate, momentum, decay):
    figure = figures.descent(rate, momentum, decay)
    figure.draw_without_rendering()
    left, right = (axes.title.get_window_extent() for axes in figure.axes)
    assert "decay" in figure.axes[0].get_title()
    assert 0 < left.x0 < left.x1 < right.x0


def test_a_descent_pales_step_by_step():
    path = [
        line for line in figures.descent(rate=0.18, momentum=0.99, steps=10).axes[0].lines if len(line.get_xdata()) == 2
    ]
    shades = [line.get_alpha() for line in path]
    assert shades == sorted(shades, reverse=True)
    assert (len(shades), shades[0]) == (10, 1)
    assert min(shades) > 0.2


def test_a_caption_stands_below_the_image_and_changes_none_of_it():
    png = figures.shapes()._repr_mimebundle_()[0]["image/png"]
    before, after = (imread(io.BytesIO(one)) for one in (png, figures.captioned(png, "Run it.")))
    assert after.shape[1] == before.shape[1]
    assert np.array_equal(after[: len(before), :, :3], before[..., :3])
    assert 0 < (after[len(before) :, :, 0] < 0.9).sum() < 2000  # some words


def test_titles_over_a_sliding_kernel_are_whole():
    figure = figures.sliding(torch.zeros(28, 28, dtype=torch.uint8), padding=2)
    figure.savefig(io.BytesIO(), format="png")
    assert all(axes.title.get_window_extent().y1 < figure.bbox.y1 for axes in figure.axes)
    sides = [axes.title.get_window_extent().intervalx for axes in figure.axes]
    assert all(before[1] < after[0] for before, after in pairwise(sides))
    frame, *hatched = figure.axes[0].patches[:5]
    assert all(frame.get_zorder() > one.get_zorder() for one in hatched)


def test_descent_shows_the_heights_it_is_told_to():
    assert figures.descent(rate=0.09).axes[1].get_ylim() == figures.descent(rate=0.18).axes[1].get_ylim() == (1e-9, 1e6)
    assert figures.descent(shown=(0.1, 100)).axes[1].get_ylim() == (0.1, 100)


def test_a_speed_up_of_a_thousand_is_written_out():
    assert "ring 4 at 4, 64 at 64, 1,024 at 1,024" in str(
        figures.doublings({"ring": [2**n for n in range(11)]}, "speed-up")
    )
    axes = figures.speed_ups(images_per_second=4000).axes[0]
    assert "  one device" in {text.get_text() for text in axes.texts}
    assert min(axes.get_ylim()) < 0.6 * 0.0625, "a label at a curve's end keeps clear of the axis"


def test_a_step_in_time_is_work_and_then_talk():
    figure = figures.steps_in_time((4, 64), 256, parameters=1_000_000, images_per_second=16, gigabytes_per_second=0.5)
    for axes, devices, work in zip(figure.axes, (4, 64), (4.0, 0.25), strict=True):
        talk = 2 * (devices - 1) / devices * 0.004 / 0.5
        bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
        assert bars == [(0, pytest.approx(work))] * devices + [(pytest.approx(work), pytest.approx(talk))] * devices
        assert axes.get_title(loc="left") == f"{devices} devices, {256 // devices} pictures each"
        assert axes.get_xlim()[1] > 4.012
    assert "4 devices, each work 4.00 s, then talk 0.01 s; 64 devices, each work 0.25 s" in figure.text_alternative


EXTREMES = [
    dict(batch=32, images_per_second=4000, gigabytes_per_second=1),
    dict(batch=32, images_per_second=4000, gigabytes_per_second=1, per_device=True, hidden=0.6),
    dict(batch=1024, images_per_second=16.7, gigabytes_per_second=450, per_device=True, hidden=0.6),
    dict(batch=32, images_per_second=16.7, gigabytes_per_second=450, hidden=0.6),
    dict(parameters=13_004_888, batch=64, images_per_second=2000, gigabytes_per_second=13),
    dict(),
]


@pytest.mark.parametrize("settings", EXTREMES, ids=range(len(EXTREMES)))
def test_speed_ups_keep_their_axes_and_their_labels_apart(settings):
    figure = figures.speed_ups(**settings)
    axes = figure.axes[0]
    assert axes.get_ylim() == figures.speed_ups().axes[0].get_ylim()
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.x1 <= figure.bbox.x1 and box.y0 >= axes.bbox.y0 for box in boxes)
    assert f"{settings.get('gigabytes_per_second', 3.25):g} GB/s" in axes.get_title()
    for name in ("ring", "star"):
        assert re.search(rf"{name} \S.* at 4, .* at 64, .* at 1,024", figure.text_alternative)


def test_curves_that_coincide_share_a_label():
    assert "  ideal, ring, star" in words(figures.speed_ups(**EXTREMES[2]))
    said = words(figures.doublings({"ring": [1, 1.9], "star": [1, 1.5]}, "speed-up", mark=(2, 1.9, "measured")))
    assert {"  ring", "  star", "  ideal", "measured"} <= {*said}


def test_what_sticks_out_of_a_side_is_hatched():
    figure = figures.windows_on_a_side([(-3, 2), (-1, 4), (1, 6), (3, 8), (-2, 9)], 8)
    said = "Along a side of 8 pixels of 5 windows 4 stick out, 1 lies inside: "
    assert str(figure) == f"Figure: {said}-3 to 2, -1 to 4, 1 to 6, 3 to 8, -2 to 9."
    band, *bars = figure.axes[0].patches
    assert (band.get_x(), band.get_width()) == (-0.5, 8)
    pixels = [0, 0]  # in the picture, in the padding
    for bar in bars:
        first, last = bar.get_x() + 0.5, bar.get_x() + bar.get_width() - 0.5
        out = bar.get_hatch() is not None
        assert to_hex(bar.get_facecolor()) == (figures.ORANGE if out else figures.BLUE).lower()
        assert last < 0 or first > 7 if out else 0 <= first <= last <= 7
        pixels[out] += round(last - first + 1)
    assert pixels == [3 + 5 + 6 + 5 + 8, 3 + 1 + 1 + 4]
    assert "of 1 windows 0 stick out, 1 lies inside" in str(figures.windows_on_a_side([(1, 2)], 8))
    assert "of 2 windows 1 sticks out" in str(figures.windows_on_a_side([(9, 12), (1, 2)], 8))


def test_a_loss_that_is_not_finite_has_a_cross_of_its_own():
    figure = figures.loss_by_rate({0.1: math.nan, 0.001: 2.0, 0.01: 1.5}, guessing=2.3)
    line, curve, crosses = figure.axes[0].lines
    assert set(line.get_ydata()) == {2.3}
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([0.001, 0.01], [2.0, 1.5])
    assert list(crosses.get_xdata()) == [0.1]
    assert figure.axes[0].get_ylim()[1] > crosses.get_ydata()[0] > 2.3
    assert "guessing costs 2.30: 0.001 gives 2.00, 0.01 gives 1.50, 0.1 gives nan." in str(figure)
    assert len(figures.loss_by_rate({0.1: 5.0}, guessing=2.3).axes[0].lines[2].get_xdata()) == 0
    figure = figures.loss_by_rate({0.1: 2.0, 0.01: 1.5}, guessing=2.3, others=[{0.01: 1.0, 0.1: math.nan}])
    assert list(figure.axes[0].lines[3].get_ydata()) == [1.0]
    assert figure.axes[0].get_ylim()[0] < 1.0
    assert "0.1 gives 2.00; another seed: 1.00." in str(figure)
    assert words(figure) == ["guessing: 2.30", "1.50", "2.00", "seed 0", "seed 1"]
    figure = figures.loss_by_rate({0.1: math.nan, 0.01: 1.5}, guessing=2.3, others=[{0.01: 1.0, 0.1: math.nan}])
    assert "nan, all seeds" in words(figure)
    figure = figures.loss_by_rate({0.1: math.nan, 0.01: 1.5}, guessing=2.3, others=[{0.01: 1.0, 0.1: 1.2}])
    assert "nan" in words(figure)


def test_a_curve_of_one_s_own_lies_hollow_behind_those_of_the_book():
    curves = {line.get_color(): line for line in figures.signals({"he": [1, 0.5], "mine": [1, 0.5]}).axes[0].lines[1:]}
    mine, he = curves["black"], curves[figures.ORANGE]
    assert mine.get_zorder() < he.get_zorder()
    assert mine.get_markerfacecolor() == "none"
    assert mine.get_markersize() > he.get_markersize()


def test_a_bar_without_its_point_in_sight_is_not_drawn():
    points = {"low rank": [(10, 56.0, 3.0), (100, 59.0, 2.0)]}
    every, near = figures.shrinking(points, whole=60.0).axes
    ends = [[bar[:, 1].tolist() for bar in axes.containers[0].lines[2][0].get_segments()] for axes in (every, near)]
    assert ends[0] == [[53.0, 59.0], [57.0, 61.0]]
    assert ends[1] == [[56.0, 56.0], [57.0, 61.0]]
    assert near.get_ylim()[0] == 57.5  # above the first point


def test_three_ways_of_shrinking_are_all_drawn():
    ways = {name: [(10 * n, 59.0, 0.1), (20 * n, 59.5, 0.1)] for n, name in enumerate(("one", "two", "three"), 1)}
    figure = figures.shrinking(ways, whole=60.0, chosen={"one": 20})
    for axes in figure.axes:
        assert [line.get_label() for line in axes.containers] == [*ways]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [*ways]


def test_singular_values_above_all_before_are_counted():
    figure = figures.singular_values([2.0, 1.0, 0.5], torch.tensor([5.0, 2.5, 0.4]))
    assert list(figure.axes[0].lines[-1].get_ydata()) == pytest.approx([5.0, 2.5, 0.4])  # those after lie on top
    assert figure.axes[0].get_title() == "2 of 3 lie above the largest before training"
    assert words(figure) == ["after", "before training"]
    assert figure.text_alternative == (
        "3 singular values: before training from 2.00 down to 0.50, after training from 5.00 down to 0.40, "
        "2 of them above the largest before."
    )


def test_both_sides_of_a_run_count_the_same_epochs():
    made = run()
    long = replace(made, epochs=[replace(made.epochs[0], number=number) for number in range(1, 9)])
    left, right = figures.history(replace(long, recipe=replace(made.recipe, epochs=8))).axes
    assert [*left.get_xticks()] == [*right.get_xticks()] == [2, 4, 6, 8]
