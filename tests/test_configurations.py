"""Table 1 as data: what the paper prints comes out of the notation, and nothing else gets in."""

import numpy as np
import pytest
import reference

from vgglib.configurations import TABLE_1, Layer, layers, names, notation


def printed(layer):
    """The layer as Table 1 prints it."""
    return {"conv": f"conv{layer.kernel}-{layer.channels}", "pool": "maxpool", "lrn": "LRN"}[layer.kind]


@pytest.mark.parametrize("name", reference.TABLE_1)
def test_the_layers_are_those_that_the_paper_prints(name):
    stack = layers(name)
    assert [printed(layer) for layer in stack] == reference.TABLE_1[name].split()
    assert sum(layer.kind == "conv" for layer in stack) + 3 == reference.WEIGHT_LAYERS[name]


def test_the_six_columns_stand_in_the_papers_order():
    assert list(TABLE_1) == list(reference.TABLE_1)


@pytest.mark.parametrize("name", TABLE_1)
def test_convolutions_keep_the_resolution_and_pools_halve_it(name):
    for layer in layers(name):
        if layer.kind == "conv":  # section 2.1: stride 1, padding 1 for 3x3, none for 1x1
            assert (layer.stride, layer.padding, layer.dilation) == (1, {3: 1, 1: 0}[layer.kernel], 1)
        elif layer.kind == "pool":
            assert (layer.kernel, layer.stride, layer.padding) == (2, 2, 0)
        else:
            assert (layer.kernel, layer.stride, layer.padding) == (1, 1, 0)


def test_any_string_in_the_notation_is_a_configuration():
    assert layers("7 11/1 | 13/5 lrn|17/7") == [
        Layer("conv", 3, 1, 1, 1, 7),
        Layer("conv", 1, 1, 0, 1, 11),
        Layer("pool", 2, 2),
        Layer("conv", 5, 1, 2, 1, 13),
        Layer("lrn"),
        Layer("pool", 2, 2),
        Layer("conv", 7, 1, 3, 1, 17),
    ]


@pytest.mark.parametrize("word", ["F", "64/2", "64/0", "0", "-3", "64/", "64/-3", "64.5", "a/3", "/3", "64/3/3", "LRN"])
def test_a_wrong_word_is_named(word):
    with pytest.raises(ValueError, match="A, A-LRN, B, C, D, E") as refused:
        layers(f"32 | {word} 128 |")
    assert repr(word) in str(refused.value)


@pytest.mark.parametrize("word", ["６４", "٣", "64/３"])
def test_digits_are_the_papers(word):
    with pytest.raises(ValueError, match="is neither a configuration"):
        layers(f"{word} |")


@pytest.mark.parametrize("empty", ["", " ", "|", "lrn |"])
def test_a_configuration_without_a_convolution_is_refused(empty):
    with pytest.raises(ValueError, match="holds no convolution"):
        layers(empty)


@pytest.mark.parametrize("other", [16, None, ["64", "|"], ((1, 64),)])
def test_what_is_no_string_is_refused(other):
    with pytest.raises(ValueError, match="A, A-LRN, B, C, D, E"):
        layers(other)


def test_names_are_the_papers():
    assert names(layers("A-LRN")) == (
        [
            "conv1_1",
            "lrn1_1",
            "pool1",
            "conv2_1",
            "pool2",
            "conv3_1",
            "conv3_2",
            "pool3",
            "conv4_1",
            "conv4_2",
            "pool4",
            "conv5_1",
            "conv5_2",
            "pool5",
        ]
    )
    assert names(layers("8 9 | 10 11 12")) == ["conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "conv2_3"]


@pytest.mark.parametrize("name", "ABCDE")
def test_names_are_those_of_the_receptive_field_table(name):
    assert names(layers(name)) == list(reference.receptive_fields(name))[:-1]


def test_notation_of_blocks():
    assert layers(notation(reference.CONV_ARCH)) == layers("A")
    assert layers(notation([(3, 5), (2, 7)])) == layers("5 5 5 | 7 7 |")
    assert notation(np.array(reference.CONV_ARCH)) == notation(reference.CONV_ARCH)
    for wrong in (None, 5):
        with pytest.raises(ValueError, match=rf"expected blocks .* got {wrong}"):
            notation(wrong)
