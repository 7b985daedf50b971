"""Receptive fields: published tables, the formulas' own example, and where the gradient really is."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import torch
from torch import nn

from vgglib import gradients, tracing
from vgglib import receptive_field as module
from vgglib.configurations import Layer, layers
from vgglib.receptive_field import ReceptiveField, receptive_field, table

FC6 = Layer("conv", kernel=7)  # the first fully connected layer as a convolution (section 3.2)


@pytest.mark.parametrize("name", "ABCDE")
def test_every_layer_of_every_configuration(name):
    published = reference.receptive_fields(name)
    found = table(layers(name))
    found["fc6"] = receptive_field([*layers(name), FC6])
    assert {layer: (field.size, field.stride, field.padding) for layer, field in found.items()} == published
    assert list(found) == list(published)


@pytest.mark.parametrize("name", reference.DISTILL)
def test_the_published_end_points(name):
    assert receptive_field(layers(name)) == ReceptiveField(*reference.DISTILL[name])


def test_the_example_of_the_distill_article():
    field = receptive_field([Layer("conv", 3, stride=3, padding=1), Layer("conv", 2)])
    assert field.window(0) == (-1, 4)
    assert field.window(2) == (5, 10)


def test_normalisation_sees_no_further():
    assert receptive_field(layers("A-LRN")) == receptive_field(layers("A"))


def test_one_by_one_convolutions_see_no_further():
    assert receptive_field(layers("C")) == receptive_field(layers("B"))


def test_the_shallow_network_sees_what_b_sees():
    assert receptive_field(layers(reference.SHALLOW)) == receptive_field(layers("B")) == ReceptiveField(156, 32, 62)


def test_an_empty_stack_sees_one_pixel():
    assert receptive_field([]) == ReceptiveField(1, 1, 0)
    assert receptive_field([]).window(5) == (5, 5)


def test_layers_may_come_from_a_generator():
    assert receptive_field(layer for layer in layers("D")) == receptive_field(layers("D"))
    assert table(layer for layer in layers("B")) == table(layers("B"))


def test_dilation_spreads_the_kernel():
    field = receptive_field([Layer("conv", 5, stride=2, padding=3, dilation=4), Layer("conv", 4, dilation=3)])
    assert field == ReceptiveField(size=17 + 2 * 9, stride=2, padding=3)


def test_centres_of_d_lie_between_pixels():
    field = receptive_field(layers("D"))
    assert [field.centre(unit) for unit in (0, 1, 6)] == [15.5, 47.5, 207.5]
    assert receptive_field([*layers("D"), FC6]).centre(0) == 111.5


def test_windows_are_clipped_only_where_a_size_is_given():
    field = ReceptiveField(size=10, stride=4, padding=3)
    assert field.window(0) == (-3, 6)
    assert field.window(0, 23) == (0, 6)
    assert field.window(2, 23) == (5, 14)
    assert field.window(5, 23) == (17, 22)
    assert field.window(5) == (17, 26)


def test_units_that_see_no_pixel_are_refused():
    field = ReceptiveField(size=3, stride=5, padding=4)
    with pytest.raises(ValueError, match="unit 0 sees pixels -4 to -2, none of them in a picture of 23"):
        field.window(0, 23)
    assert field.window(5, 23) == (21, 22)
    with pytest.raises(ValueError, match="unit 6 sees pixels 26 to 28"):
        field.window(6, 23)
    with pytest.raises(ValueError, match="unit 5 sees pixels 21 to 23"):
        field.window(5, 21)  # it begins just behind the last pixel
    with pytest.raises(ValueError, match="unit 0 sees pixels -3 to -1"):
        ReceptiveField(size=3, stride=5, padding=3).window(0, 23)  # it ends just before the first


@pytest.mark.parametrize(
    ("layers_of", "said"),
    [
        ("D", r"got 'D': write layers\('D'\)"),
        (["64", "|"], r"got '64': write layers\('64'\)"),
        (nn.Conv2d(1, 1, 3), "for a module there is trace"),
        (nn.Sequential(nn.Conv2d(1, 1, 3)), "for a module there is trace"),
        ([3, 1, 1], r"expected configurations\.Layer, got 3"),
        (None, "got None"),
        ([Layer("conv", 3), Layer("conv", 0)], "a layer's kernel must be 1 or more, got Layer"),
        ([Layer("pool", 2, stride=0)], "a layer's stride must be 1 or more"),
        ([Layer("conv", 3, padding=-1)], "a layer's padding must be 0 or more"),
        ([Layer("conv", 3, dilation=0)], "a layer's dilation must be 1 or more"),
        ([Layer("conv", 3.0)], r"a layer's kernel must be a whole number, got 3\.0"),
    ],
)
def test_what_are_no_layers_is_refused_in_words(layers_of, said):
    for ask in (receptive_field, table):
        with pytest.raises(ValueError, match=said):
            ask(layers_of)


def test_negative_units_are_refused():
    for ask in (ReceptiveField(3, 2, 1).window, ReceptiveField(3, 2, 1).centre):
        with pytest.raises(ValueError, match="index -1"):
            ask(-1)


@pytest.mark.parametrize("size", [0, -5, (0, 9), (9, -1)])
def test_a_picture_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="input_size must be positive, got"):
        ReceptiveField(3, 2, 1).window(0, size)


def random_stack(dice, dilated):
    """Two to five layers with kernels 1 to 5, strides 1 to 3, and padding below the kernel."""
    stack = []
    for _ in range(dice.randint(2, 5)):
        kernel, pool = dice.randint(1, 5), dice.random() < 0.3
        padding = dice.randint(0, kernel // 2 if pool else kernel - 1)
        dilation = dice.randint(1, 3) if dilated and not pool else 1
        stack.append(Layer("pool" if pool else "conv", kernel, dice.randint(1, 3), padding, dilation))
    return stack


def fitting_input(stack, units):
    """The input width from which the stack makes ``units`` units with no pixel left over, or None."""
    for layer in reversed(stack):
        units = (units - 1) * layer.stride + layer.dilation * (layer.kernel - 1) + 1 - 2 * layer.padding
        if units < 1:
            return None
    return units


def linear_network(stack):
    """The stack as a linear network of one line, all of whose weights are positive."""
    modules = []
    for layer in stack:
        if layer.kind == "pool":
            modules.append(nn.AvgPool1d(layer.kernel, layer.stride, layer.padding))
        else:
            modules.append(nn.Conv1d(1, 1, layer.kernel, layer.stride, layer.padding, layer.dilation))
            nn.init.constant_(modules[-1].weight, 0.7)
    return nn.Sequential(*modules).double()


def seen(network, width, unit):
    """The first and the last pixel with a gradient; nothing else decides what a unit depends on."""
    line = torch.ones(1, 1, width, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(network(line)[0, 0, unit], line)
    touched = gradient.flatten().nonzero().flatten().tolist()
    return touched[0], touched[-1]


@pytest.mark.parametrize("dilated", [False, True])
def test_the_gradient_reaches_as_far_as_the_arithmetic_says(dilated):
    dice, stacks, compared = random.Random(2014), 0, 0
    while stacks < 40:
        stack = random_stack(dice, dilated)
        units = dice.randint(3, 8)
        width = fitting_input(stack, units)
        if width is None or width > 3000:
            continue
        stacks += 1
        field, network = receptive_field(stack), linear_network(stack)
        assert network(torch.zeros(1, 1, width, dtype=torch.float64)).shape[2] == units
        for unit in sorted({0, 1, units // 2, units - 1}):
            first, last = field.window(unit)
            inside = first >= 0 and last < width
            if dilated and not inside:
                continue  # a dilated kernel can step over the first pixel of the picture
            if last < 0 or first >= width:
                continue
            assert seen(network, width, unit) == field.window(unit, width), (stack, unit, width)
            compared += 1
    assert compared > 50


def test_the_table_prints_and_escapes():
    found = table(layers("D"))
    assert str(found).splitlines()[0].split() == ["layer", "size", "stride", "padding"]
    assert str(found).splitlines()[-1].split() == ["pool5", "212", "32", "90"]
    assert repr(found) == str(found)
    assert found._repr_html_().startswith("<table>")
    assert found["conv5_3"] == ReceptiveField(196, 16, 90)


def test_height_and_width_may_differ():
    field = ReceptiveField(size=(3, 5), stride=2, padding=(1, 0))
    assert field.window((1, 2)) == ((1, 3), (4, 8))
    assert field.window((0, 2), (9, 7)) == ((0, 1), (4, 6))
    assert field.window((0, 2), 7) == ((0, 1), (4, 6))
    assert field.centre((1, 2)) == (2, 6)
    with pytest.raises(ValueError, match=r"rows \(1, 3\) and columns \(2, 6\) differ: ask for the unit \(1, 1\)"):
        field.window(1)
    with pytest.raises(ValueError, match="unit 4 sees pixels 8 to 12, none of them in a picture of 7"):
        field.window((1, 4), (9, 7))
    with pytest.raises(ValueError, match=r"index \(0, -1\)"):
        field.window((0, -1))


def test_where_both_sides_agree_a_pair_is_answered_by_a_pair():
    field = receptive_field(layers("D"))
    assert field.window((0, 6)) == (field.window(0), field.window(6))
    assert field.window((0, 6), 224) == field.window((0, 6), (224, 224)) == (field.window(0, 224), field.window(6, 224))
    assert field.centre((0, 6)) == (15.5, 207.5)


def test_the_arithmetic_needs_no_torch():
    code = "import sys, vgglib.receptive_field; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parent.parent).returncode == 0


def test_what_needs_torch_is_found_by_name():
    assert {module.trace, module.measured, module.effective} == {tracing.trace, gradients.measured, gradients.effective}
    with pytest.raises(AttributeError, match="no attribute 'traced'"):
        _ = module.traced
