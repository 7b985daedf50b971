"""Chapter 02's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import pytest

from vgglib.configurations import Layer, layers
from vgglib.exercises import chapter_02 as check
from vgglib.receptive_field import receptive_field


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
    pool2 = receptive_field(layers("64 64 | 128 128 |"))
    assert check.check_centre(pool2.centre(0)).status == "passed"
    for checked in (check.check_free_units, check.check_centre, check.check_explanation):
        assert checked(...).status == "todo"


@pytest.mark.parametrize("wrong", [0, 2, 3, 4, 5, 6, 7, True, "1", 1.5])
def test_free_units_rejects(wrong):
    assert check.check_free_units(wrong).status == "failed"


@pytest.mark.parametrize("wrong", [1, 2, 7.5, 8, -6, 9, 0.5, 3.5, "1.5", (1.5,)])
def test_centre_rejects(wrong):
    assert check.check_centre(wrong).status == "failed"


def test_a_decimal_comma_is_named():
    for wrong, said in (((1, 5), "write 1.5"), ((-6, 25), "write -6.25")):
        verdict = check.check_centre(wrong)
        assert verdict.status == "failed"
        assert "reads a comma as two numbers" in verdict.text
        assert said in verdict.text


def test_a_pair_of_pixels_is_not_a_decimal_comma():
    for wrong in ((1, 2), [1, 2]):
        assert "two pixels, 1 and 2: the centre is one number" in check.check_centre(wrong).text
    for wrong in ([1, 5], [1.5], [1, 2, 3]):
        verdict = check.check_centre(wrong)
        assert verdict.status == "failed"
        assert "without brackets" in verdict.text


def test_every_named_mistake_is_named():
    padding = sum(layer.padding > 0 for layer in layers("D"))
    assert f"the {padding} convolutions" in check.check_free_units(7).text
    windows = [receptive_field(layers("D")).window(unit) for unit in range(7)]
    inside = [first for first, last in windows if last <= 223]
    assert f"{len(inside)} windows end inside" in check.check_free_units(4).text
    assert f"{sum(first < 0 for first in inside)} of these start before" in check.check_free_units(4).text
    assert "middle between" in check.check_centre(1).text
    assert "padding moves" in check.check_centre(7.5).text
    assert "not the only ones" in check.check_free_units(5).text


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
        ([CONV, POOL, CONV], "see 8 pixels and stand 2 apart, and should see 10 and stand 4 apart"),
        ([POOL, POOL, CONV], "see 12 pixels and stand 4 apart"),
        ([CONV, POOL, POOL], "the step is right"),
        ([CONV] * 4, "two of 2 make 4"),
        ([], "see 1 pixels and stand 1 apart"),
        ([Layer("conv", 2, stride=4), Layer("conv", 3)], "read only 6 pixels of a window of 10, with gaps"),
        ([Layer("conv", 2, stride=4, dilation=9)], "read only 2 pixels of a window of 10, with gaps"),
    ],
)
def test_built_stack_rejects(built, said):
    verdict = check.check_built(built)
    assert verdict.status == "failed"
    assert said in verdict.text
