"""Chapter 02's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import numpy as np
import pytest
import torch

from vgglib.configurations import Layer, layers
from vgglib.exercises import chapter_02 as check
from vgglib.model import VGG, initialise
from vgglib.receptive_field import measured, receptive_field, table


def field_size(stack, first=1, early=False, backwards=False, taps=1, strides=True):
    """The solution, from the bottom up; its options make it wrong."""
    size, step = first, 1
    for kernel, stride in reversed(stack) if backwards else stack:
        step *= stride if early else 1
        size += (kernel - taps) * step
        step *= stride if strides and not early else 1
    return size


def upside_down(stack):
    """The formula from the top, walked from the input."""
    size = 1
    for kernel, stride in stack:
        size = size * stride + kernel - stride
    return size


WRONG_STACKED = {
    "multiplies": lambda count, kernel: count * kernel,
    "adds the kernel, not kernel - 1": lambda count, kernel: 1 + count * kernel,
    "only right for 3x3": lambda count, kernel: 2 * count + 1,
    "only right for two layers": lambda count, kernel: 2 * kernel - 1,
    "still the kernel": lambda count, kernel: kernel,
    "to the power": lambda count, kernel: kernel**count,
    "forgets the pixel to start from": lambda count, kernel: count * (kernel - 1),
    "as an area": lambda count, kernel: (1 + count * (kernel - 1)) ** 2,
    "as text": lambda count, kernel: str(1 + count * (kernel - 1)),
    "fails on no layers": lambda count, kernel: (1 + count * (kernel - 1)) // min(count, 1),
}
WRONG_FIELDS = {
    "the stride after the layer": lambda stack: field_size(stack, early=True),
    "the wrong way round": lambda stack: field_size(stack, backwards=True),
    "the formula from the top, from the input": upside_down,
    "adds the kernel, not kernel - 1": lambda stack: field_size(stack, taps=0),
    "no strides": lambda stack: field_size(stack, strides=False),
    "starts at 0": lambda stack: field_size(stack, first=0),
    "starts with the first kernel twice": lambda stack: field_size(stack, first=stack[0][0] if stack else 1),
    "the last kernel": lambda stack: stack[-1][0] if stack else 1,
    "doubles at each pooling": lambda stack: 2 ** sum(s == 2 for _, s in stack) * field_size(stack, strides=False),
    "fails without layers": lambda stack: stack[0] and field_size(stack),
}


def test_stacked_field_passes():
    assert check.check_stacked_field(lambda count, kernel: 1 + count * (kernel - 1)).status == "passed"


def test_field_size_passes_both_ways_to_walk():
    assert check.check_field_size(field_size).status == "passed"
    assert check.check_field_size(lambda stack: upside_down(stack[::-1])).status == "passed"


def test_field_size_agrees_with_vgglib():
    for name in "ABCDE":
        stack = layers(name)
        assert field_size([(layer.kernel, layer.stride) for layer in stack]) == receptive_field(stack).size


@pytest.mark.parametrize("checked", [check.check_stacked_field, check.check_field_size])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_STACKED)
def test_stacked_field_rejects(mistake):
    verdict = check.check_stacked_field(WRONG_STACKED[mistake])
    assert verdict.status == "failed"
    assert "should be" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_FIELDS)
def test_field_size_rejects(mistake):
    verdict = check.check_field_size(WRONG_FIELDS[mistake])
    assert verdict.status == "failed"
    assert "should be" in verdict.text


def test_the_faulty_rule_of_the_chapter_is_rejected_with_its_known_number():
    stack = [(layer.kernel, layer.stride) for layer in layers("D")]
    assert upside_down(stack) == 308  # what a library once printed for VGG-16


def test_places_pass_and_wait():
    fields = [receptive_field(layers("D")).window(unit) for unit in range(7)]
    free = sum(first >= 0 and last <= 223 for first, last in fields)
    assert check.check_free_units(free).status == "passed"
    pool3 = table(layers("D"))["pool3"]
    assert check.check_first(pool3.window(5)[0]).status == "passed"
    assert check.check_centre(pool3.centre(5)).status == "passed"
    waiting = (check.check_free_units, check.check_first, check.check_centre, check.check_counterexample)
    for checked in (*waiting, check.check_explanation):
        assert checked(...).status == "todo"


@pytest.mark.parametrize("wrong", [0, 2, 3, 4, 5, 6, 7, True, "1", 1.5])
def test_free_units_rejects(wrong):
    assert check.check_free_units(wrong).status == "failed"


WRONG_FIRST = [40, 58, -18, 14, 30, 2, 62, 0, 43.5, 65, 29, 26, 18, True, "22", (22,), (22, 65)]
WRONG_CENTRES = [43, 44, 61.5, 79.5, 21.5, 22, 3.5, 35.5, 51.5, 23.5, 65, 10.5, 87.5, 175.5, "43.5", (43.5,), True]


@pytest.mark.parametrize("wrong", WRONG_FIRST)
def test_first_rejects(wrong):
    assert check.check_first(wrong).status == "failed"


@pytest.mark.parametrize("wrong", WRONG_CENTRES)
def test_centre_rejects(wrong):
    assert check.check_centre(wrong).status == "failed"


def test_the_first_pixel_is_that_of_d_alone():
    assert [table(layers(name))["pool3"].window(5)[0] for name in "ABCDE"] == [29, 26, 26, 22, 18]


def test_units_and_layers_that_are_mistaken_for_the_right_one_are_named():
    fields = table(layers("D"))
    pool3 = fields["pool3"]
    assert "unit 4" in check.check_first(pool3.window(4)[0]).text
    assert "unit 6" in check.check_first(pool3.window(6)[0]).text
    assert "unit 0 starts" in check.check_first(pool3.window(0)[0]).text
    assert "padding moves all" in check.check_first(5 * pool3.stride).text
    assert "to the left" in check.check_first(5 * pool3.stride + pool3.padding).text
    assert "twice as far" in check.check_first(5 * fields["conv3_3"].stride - pool3.padding).text
    assert "half as far" in check.check_first(5 * fields["pool4"].stride - pool3.padding).text
    assert "last pixel" in check.check_first(pool3.window(5)[1]).text
    for name in "ABE":
        assert f"pool3 of {name}" in check.check_first(table(layers(name))["pool3"].window(5)[0]).text
    for unit in (0, 4, 6):
        assert f"unit {unit}" in check.check_centre(pool3.centre(unit)).text
    for name in ("pool1", "pool4", "pool5"):
        assert name in check.check_centre(fields[name].centre(5)).text
    assert "from the first pixel to the centre" in check.check_centre((pool3.size - 1) / 2).text
    assert "padding moves all" in check.check_centre(pool3.centre(5) + pool3.padding).text
    assert "to the left" in check.check_centre(pool3.centre(5) + 2 * pool3.padding).text


def test_no_message_gives_the_answer():
    for checked, wrongs, right in ((check.check_first, WRONG_FIRST, "22"), (check.check_centre, WRONG_CENTRES, "43.5")):
        for wrong in wrongs:
            reason = checked(wrong).text.partition("is not it")[2]
            assert right not in reason, reason


def test_a_decimal_comma_is_named():
    for wrong, said in (((43, 5), "write 43.5"), ((-6, 25), "write -6.25")):
        verdict = check.check_centre(wrong)
        assert verdict.status == "failed"
        assert "reads a comma as two numbers" in verdict.text
        assert said in verdict.text


def test_a_pair_of_pixels_is_not_a_decimal_comma():
    for wrong in ((43, 44), [43, 44]):
        assert "two pixels, 43 and 44: the centre is one number" in check.check_centre(wrong).text
    for wrong in ([1, 5], [43.5], [1, 2, 3]):
        verdict = check.check_centre(wrong)
        assert verdict.status == "failed"
        assert "without brackets" in verdict.text


def test_every_named_mistake_is_named():
    padding = sum(layer.padding > 0 for layer in layers("D"))
    assert f"the {padding} convolutions" in check.check_free_units(7).text
    windows = {name: [receptive_field(layers(name)).window(unit) for unit in range(7)] for name in "AD"}
    assert sum(first >= 0 and last <= 223 for first, last in windows["A"]) == 3
    assert "A has as many" in check.check_free_units(3).text
    assert sum(last <= 223 for _, last in windows["D"]) == sum(first >= 0 for first, _ in windows["D"]) == 4
    assert "both ends" in check.check_free_units(4).text
    assert "middle between" in check.check_centre(43).text
    assert "not the only ones" in check.check_free_units(5).text


@pytest.mark.parametrize("stack", [[(3, 1), (2, 2)], ((2, 2), (3, 1)), [(1, 4), (3, 1)], [[3, 2], [3, 1]]])
def test_counterexample_passes(stack):
    assert check.check_counterexample(stack).status == "passed"


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        ([], "the faulty rule is right: it gives 1"),
        ([(3, 2)], "faulty rule is right: it gives 3"),
        ([(3, 1), (3, 1)], "faulty rule is right: it gives 5"),
        ([(2, 2), (2, 2)], "faulty rule is right: it gives 4"),
        ([(3, 1), (3, 1), (2, 2)], "a shorter stack"),
        ((2, 2), "write [(kernel, stride), ...]"),
        ("D", "write [(kernel, stride), ...]"),
        (8, "write [(kernel, stride), ...]"),
        ([(3, 0), (3, 1)], "whole numbers from 1 on"),
        ([(3.5, 1), (2, 2)], "whole numbers from 1 on"),
        ([("3", 1), (2, 2)], "whole numbers from 1 on"),
    ],
)
def test_counterexample_rejects(stack, said):
    verdict = check.check_counterexample(stack)
    assert verdict.status == "failed"
    assert said in verdict.text


def test_explanation():
    good = "Outside lies zero padding, so the unit sees the whole picture; a larger test picture fills the window."
    assert check.check_explanation(good).status == "passed"
    for wrong in (
        "The unit sees the whole picture and a larger one in testing, that is all there is.",  # no padding
        "The rest is padding with zeros, and in testing the pictures are larger than in training.",  # not what is seen
        "The rest of the window is zero padding and so the unit sees the whole picture there.",  # no larger pictures
        "zeros",
        404,
    ):
        assert check.check_explanation(wrong).status == "failed"


SEEN = "The unit sees the whole picture. In testing larger pictures put pixels there."


@pytest.mark.parametrize(
    "good",
    [
        "The rest is nothing but 0. The unit sees the picture in full. In testing the window has genuine neighbours.",
        "The rest is padding; the window covers 100 % of the picture. At Q = 600 it lies inside.",
        "Zeros. The unit sees pixels 0 to 223. At 512 pixels real neighbours stand there.",
        "Zeros; the picture lies inside the window. Larger pictures replace the zeros by pixels.",
        f"Padding does not enlarge the field, it fills it with zeros. {SEEN}",
        f"Zeros, no reflections of the picture. {SEEN}",
        "Zero padding. The unit sees every pixel. At 808 pixels, in testing, it sees half of the picture.",
        f"Zero padding. {SEEN} Larger pictures make no difference to the size of the field.",
        f"Zero padding. {SEEN} On larger pictures the receptive field does not grow.",
        f"Zero padding. {SEEN} On larger pictures nothing changes in the size of the window.",
        f"Zero padding. {SEEN} Larger pictures make the field lie inside the picture.",
        f"Zero padding. {SEEN} Larger pictures make the field hold more pixels of the picture.",
        f"Zero padding. {SEEN} On a picture of 800 pixels it does not see the entire picture any more.",
        f"Zero padding. {SEEN} It sees the whole picture, not half of it.",
        f"Zero padding. {SEEN} A unit of pool5 does not see the whole picture.",
        f"Zero padding; the picture is not stretched to 404 pixels. {SEEN}",
        f"Zero padding. {SEEN} Without a convolution for fc6 larger pictures are not possible.",
        "It is zeros that fill it, mirrored copies would be another way of padding. The unit sees the full picture. "
        "A bigger picture replaces the zeros.",
        "Zeros lie around it. The picture is wholly seen. Tested at Q = 384 fewer of them are left in the window.",
        "Zeros fill the margin. The unit has the picture from corner to corner in view. In testing larger pictures "
        "put real pixels there.",
        "Padding, so zeros. The unit has the picture in its entirety. At test time Q exceeds 224 and pixels take over.",
        f"Zero padding. {SEEN} Larger pictures make the field smaller than the picture.",
        f"Zero padding. {SEEN} On larger pictures no more padding lies in the middle windows.",
        f"Zero padding. {SEEN} On a picture of 600 pixels it sees only the middle of the picture.",
        f"Zero padding. {SEEN} Larger pictures increase the receptive field in this sense: it holds more pixels.",
        f"Zero padding. {SEEN} Dense evaluation increases the receptive field, the paper says, which means context.",
        f"Zero padding. {SEEN} With fc6 as a convolution larger pictures cannot be too large.",
        "The window goes outside the picture, there are padding zeros. It sees all 224. In testing the field stays 404 "
        "but there is more picture.",
        f"Zero padding. {SEEN} In testing fewer zeros are in the window, because there is more image.",
    ],
)
def test_explanation_in_other_words(good):
    assert check.check_explanation(good).status == "passed"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (f"Padding enlarges the field. Zeros stand there. {SEEN}", "enlarges no field"),
        ("Padding with zeros. The unit sees half of the whole picture. Larger ones fill it.", "lies outside"),
        (f"The rest is reflection padding. {SEEN}", "pad in another way"),
        (
            "It is zero padding, and the unit sees the whole picture. Larger pictures make no difference.",
            "stands where",
        ),
        (f"Zero padding. {SEEN} On larger pictures the receptive field gets larger.", "from the layers alone"),
        (f"Zero padding. {SEEN} Larger pictures enlarge the field.", "from the layers alone"),
        (f"Zero padding. {SEEN} Larger pictures make the field bigger.", "from the layers alone"),
        (f"Zero padding. {SEEN} On larger pictures nothing changes, the padding stays.", "stands where"),
        (
            f"Zero padding. It only sees the 224 pixels in the middle, not the entire picture. {SEEN}",
            "lies outside",
        ),
        (f"Zero padding. The unit does not see the whole picture. {SEEN}", "lies outside"),
        (f"Zero padding. {SEEN} Bigger pictures are not possible.", "tests on larger pictures"),
        (f"The picture is stretched to 404 pixels, so there is no padding. {SEEN}", "keeps its 224 pixels"),
        (
            "Zero padding makes the receptive field bigger, so the unit sees all of it. With larger pictures there is "
            "even more padding.",
            "enlarges no field",
        ),
        (f"Zero padding. {SEEN} With larger pictures there is even more padding.", "stands where"),
        (
            "Zeros fill it. The unit sees only the middle of the picture, not all of it. Larger pictures make the "
            "receptive field smaller.",
            "lies outside",
        ),
        (f"Zeros fill it. {SEEN} Larger pictures make the receptive field smaller.", "from the layers alone"),
        (
            "The zeros fill it. It sees only the central 44 pixels. Dense evaluation makes it see all of them.",
            "lies outside",
        ),
        (f"Zeros fill it. It only sees the middle of the picture. {SEEN}", "lies outside"),
        (
            "Zeros fill the rest; the unit sees the entire picture; larger pictures cannot be used because fc6 needs "
            "7x7.",
            "tests on larger pictures",
        ),
        (
            f"Zero padding. {SEEN} With larger pictures the receptive field grows, as the paper says.",
            "from the layers alone",
        ),
        (f"Zero padding. {SEEN} Larger pictures substantially increase the receptive field.", "from the layers alone"),
        (
            f"Zero padding. {SEEN} Dense evaluation substantially increases the overall network receptive field.",
            "from the layers alone",
        ),
        (f"Zero padding. {SEEN} Larger pictures give a larger receptive field.", "from the layers alone"),
        (f"Zero padding. {SEEN} When pictures in testing are larger, the field grows too.", "from the layers alone"),
        ("The window of 404 is filled with zeros, and the unit sees the whole of the picture.", "does not speak of"),
    ],
)
def test_explanation_rejects_false_claims(wrong, said):
    verdict = check.check_explanation(wrong)
    assert verdict.status == "failed"
    assert said in verdict.text


CONV, POOL = Layer("conv", kernel=3), Layer("pool", kernel=2, stride=2)


def test_built_stack_passes_and_waits():
    assert check.check_built([CONV, POOL, CONV, POOL]).status == "passed"
    assert check.check_built([Layer("conv", 3, padding=1), POOL, Layer("conv", 3, padding=1), POOL]).status == "passed"
    assert check.check_built([Layer("conv", 2), Layer("conv", 3)]).status == "todo"


@pytest.mark.parametrize(
    ("built", "said"),
    [
        ([Layer("conv", 10, stride=4)], "kernels of 2 and 3 only: conv 1 has another"),
        ([CONV, POOL, CONV], "the field of your last units is 8, and they stand 2 apart; it should be 10, and they 4"),
        ([POOL, POOL, CONV], "units is 12, and they stand 4 apart"),
        ([CONV, POOL, POOL], "the step is right"),
        ([CONV] * 4, "two of 2 make 4"),
        ([], "units is 1, and they stand 1 apart"),
        ([Layer("conv", 2, stride=4), Layer("conv", 3)], "read only 6 pixels of a window of 10, with gaps"),
        ([Layer("conv", 2, stride=4, dilation=9)], "read only 2 pixels of a window of 10, with gaps"),
    ],
)
def test_built_stack_rejects(built, said):
    verdict = check.check_built(built)
    assert verdict.status == "failed"
    assert said in verdict.text


# What the chapter's text says and no cell prints


@pytest.mark.parametrize("seed", range(5))
def test_at_full_width_no_pixel_of_the_field_is_without_a_gradient(seed):
    net = VGG("A", hidden=32)
    initialise(net, "he", seed=seed)
    X = torch.arange(3.0 * 64 * 64).view(1, 3, 64, 64).sin().requires_grad_()
    (gradient,) = torch.autograd.grad(net.features[:9](X)[0, 0, 8, 8], X)
    assert (gradient[0].abs().sum(dim=0) > 0).sum() == table(layers("A"))["conv3_2"].size ** 2


def test_with_equal_weights_a_third_of_the_pixels_holds_most_of_the_gradient():
    gradient = measured(VGG("D", width=1 / 16, hidden=32), 224)["features.30"].gradient((3, 3))
    held = np.sort(gradient / gradient.sum(), axis=None)[::-1].cumsum()
    assert round(100 * np.searchsorted(held, 0.95) / receptive_field(layers("D")).size ** 2) == 31
