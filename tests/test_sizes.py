"""Numbers as users give them: numpy's and torch's count, fractions and truth values are refused in words."""

import numpy as np
import pytest
import torch

from vgglib.augment import Augment, crop_offsets, view, whole
from vgglib.configurations import layers
from vgglib.cost import cost
from vgglib.data import ImageSet
from vgglib.evaluation import accuracy, confusion, dense, ensemble, multi_crop, over_scales, score_map, single_crop
from vgglib.model import VGG, fully_convolutional, initialise, vgg
from vgglib.receptive_field import receptive_field, table, trace
from vgglib.sizes import height_and_width
from vgglib.sizes import whole as whole_number
from vgglib.training import build, estimate, fit, recipe

IMAGES = torch.randint(0, 256, (3, 1, 12, 14), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TRAIN = ImageSet(IMAGES.repeat(4, 1, 1, 1), torch.arange(12) % 2, ("a", "b"))
CHOSEN = dict(configuration="4 |", width=1, hidden=5, image_size=10, scale=12, epochs=1, batch_size=6, validation=4)


def small(**changes):
    return recipe("laptop", **(CHOSEN | changes))


@pytest.fixture
def net():
    return initialise(VGG("4 |", 1, 2, image_size=10, hidden=5), "he").eval()


@pytest.mark.parametrize("seven", [7, np.int64(7), np.uint8(7), torch.tensor(7), np.array(7)])
def test_whole_numbers_of_every_kind(seven):
    assert whole_number(seven, "it") == 7
    assert type(whole_number(seven, "it")) is int
    assert height_and_width(seven, "it") == height_and_width([seven, 7], "it") == (7, 7)


@pytest.mark.parametrize("wrong", [7.0, "7", None, True, np.True_, np.float32(7), torch.tensor(7.0), [7]])
def test_what_is_no_whole_number_is_said(wrong):
    with pytest.raises(ValueError, match=r"it must be a whole number, got"):
        whole_number(wrong, "it")
    with pytest.raises(ValueError, match=r"it must be a side in pixels or \(height, width\), got"):
        height_and_width(wrong, "it")


@pytest.mark.parametrize("method", [single_crop, dense, multi_crop, score_map])
def test_scales_may_be_numpys(net, method):
    assert torch.equal(method(net, IMAGES, np.int64(12)), method(net, IMAGES, 12))
    assert torch.equal(method(net, IMAGES, 12, batch_size=np.int32(2)), method(net, IMAGES, 12, batch_size=2))
    for wrong in (12.5, True, "12"):
        with pytest.raises(ValueError, match=r"must be a whole number"):
            method(net, IMAGES, wrong)
    with pytest.raises(ValueError, match=r"batch_size must be a whole number, got 1.5"):
        method(net, IMAGES, 12, batch_size=1.5)


def test_several_scales_may_be_an_array(net):
    wanted = over_scales(dense, net, IMAGES, [11, 13])
    assert torch.equal(over_scales(dense, net, IMAGES, np.array([11, 13])), wanted)
    assert torch.equal(over_scales(dense, net, IMAGES, torch.tensor([11, 13])), wanted)
    with pytest.raises(ValueError, match=r"a scale must be a whole number, got 11.5"):
        over_scales(dense, net, IMAGES, [11.5])
    with pytest.raises(ValueError, match=r"grid must be a whole number, got 2.5"):
        multi_crop(net, IMAGES, 12, grid=2.5)


def test_views_may_be_numpys():
    assert torch.equal(view(IMAGES, np.int64(10), np.int64(12)), view(IMAGES, 10, 12))
    assert torch.equal(whole(IMAGES, np.int64(12)), whole(IMAGES, 12))
    assert crop_offsets(np.int64(16), np.int64(10), np.int64(3)) == crop_offsets(16, 10, 3)
    assert Augment(np.int64(10), np.int64(12)) == Augment(10, 12)
    assert Augment(10, [np.int64(12), 14]) == Augment(10, (12, 14))
    assert hash(Augment(10, [12, 14])) == hash(Augment(10, (12, 14)))


@pytest.mark.parametrize(
    ("crop", "scale", "said"),
    [
        (28, 28.0, "scale must be a whole number, got 28.0"),
        (28.5, 30, "crop must be a whole number, got 28.5"),
        (True, 28, "crop must be a whole number, got True"),
        ((28, 28), 28, r"crop must be a whole number, got \(28, 28\)"),
        (28, (28,), r"scale must be a whole number or \(S_min, S_max\), got \(28,\)"),
        (28, (28, 32, 36), r"or \(S_min, S_max\), got"),
        (28, (28.0, 32.5), "each of two scales must be a whole number, got 28.0"),
    ],
)
def test_views_of_the_wrong_kind_are_refused(crop, scale, said):
    with pytest.raises(ValueError, match=said):
        Augment(crop, scale)


def test_seeds_and_recipes_may_be_numpys():
    r = small(epochs=np.int64(1), learning_rate=np.float64(0.1), scale=[np.int64(11), 12])
    assert r == small(epochs=1, learning_rate=0.1, scale=(11, 12))
    assert hash(r) == hash(small(epochs=1, learning_rate=0.1, scale=(11, 12)))
    assert (type(r.epochs), type(r.scale[0])) == (int, int)
    one, other = build(r, TRAIN, np.int64(3)), build(r, TRAIN, 3)
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))
    for mine, theirs in zip(TRAIN.split(np.int64(4), np.int64(1)), TRAIN.split(4, 1), strict=True):
        assert torch.equal(mine.images, theirs.images)
    fit(one, TRAIN, None, r, seed=np.int64(3), device="cpu")
    fit(other, TRAIN, None, r, seed=3, device="cpu")
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))


def test_seeds_steps_and_counts_of_the_wrong_kind_are_refused(tmp_path):
    r, net = small(), build(small(), TRAIN)
    with pytest.raises(ValueError, match=r"seed must be a whole number, got 1.5"):
        fit(net, TRAIN, None, r, seed=1.5)
    with pytest.raises(ValueError, match=r"seed must be a whole number, got None"):
        build(r, TRAIN, None)
    with pytest.raises(ValueError, match=r"validation must be a number of images from 1 to 11, got 0.1"):
        TRAIN.split(0.1)
    with pytest.raises(ValueError, match=r"every, a number of steps, must be a whole number, got 1.5"):
        fit(net, TRAIN, None, r, device="cpu", checkpoint=tmp_path, every=1.5)
    with pytest.raises(ValueError, match=r"steps must be 1 or more, got 0"):
        estimate(net, TRAIN, r, steps=0)


def test_a_unit_is_a_whole_number():
    field = receptive_field(layers("D"))
    assert field.window(np.int64(3), np.int64(224)) == field.window(3, 224)
    assert field.window((3, np.int64(0)), (224, 320)) == ((6, 217), (0, 121))
    for wrong in (0.5, 1.0, True, "3", None, (0, 0, 0), (1.5, 0)):
        with pytest.raises(ValueError, match=r"a unit is a whole number or \(row, column\), got"):
            field.window(wrong)
    for wrong in (224.5, (3, 224, 224), "224", (224,)):
        with pytest.raises(ValueError, match=r"input_size must be a side in pixels or \(height, width\), got"):
            field.window(0, wrong)
    with pytest.raises(ValueError, match=r"write layers\('D'\)"):
        table("D")


def test_pictures_sizes_may_be_numpys(net):
    assert cost(net, np.int64(10)).macs == cost(net, 10).macs
    assert trace(net, np.int64(10)) == trace(net, 10)
    for ask in (cost, trace):
        for wrong in (10.0, "10", None, (10, 10.5)):
            with pytest.raises(ValueError, match=r"a side of input_size must be a whole number"):
                ask(net, wrong)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ("A", "a block is a pair"),
        (((1, 4, 3),), "a block is a pair"),
        ((1, 2), "a block is a pair"),
        (((-1, 4), (1, 4)), "1 convolution and 1 channel or more, got"),
        (((1, 0),), "1 convolution and 1 channel or more, got"),
        (((1.0, 4),), "num_convs must be a whole number, got 1.0"),
    ],
)
def test_blocks_that_are_none_are_refused(blocks, said):
    with pytest.raises(ValueError, match=said):
        vgg(blocks)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(width=float("inf")), "width must be positive and finite, got inf"),
        (dict(width=float("nan")), "width must be positive, got nan"),
        (dict(dropout=None), "dropout must be a probability, from 0 to 1, got None"),
        (dict(dropout=1.5), "dropout must be a probability, from 0 to 1, got 1.5"),
        (dict(num_classes=True), "num_classes must be a whole number, got True"),
    ],
)
def test_networks_of_the_wrong_kind_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        VGG("4 |", image_size=8, **changed)


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (torch.rand(1, 12, 12), r"expected a batch \(N, 1, H, W\), got shape \(1, 12, 12\)"),
        (torch.rand(2, 3, 12, 12), r"expected a batch \(N, 1, H, W\), got shape \(2, 3, 12, 12\)"),
        (torch.ones(2, 1, 12, 12, dtype=torch.uint8), "expected floating-point pictures, got torch.uint8"),
    ],
)
def test_a_converted_network_refuses_as_the_network_does(net, X, said):
    with pytest.raises(ValueError, match=said):
        fully_convolutional(net)(X)


@pytest.mark.parametrize("measure", [accuracy, confusion])
def test_labels_of_the_wrong_kind_are_refused(measure):
    posteriors = torch.eye(4)[:3]
    for labels in (torch.tensor([0.4, 1.2, 2.6]), torch.tensor([True, False, True])):
        with pytest.raises(ValueError, match=r"labels must be whole numbers"):
            measure(posteriors, labels)
    for pair in ((posteriors, [0, 1, 2]), (posteriors.numpy(), torch.arange(3))):
        with pytest.raises(ValueError, match=r"must be a tensor, got a (list|ndarray)"):
            measure(*pair)
    assert measure(posteriors, torch.arange(3, dtype=torch.uint8)) is not None


def test_an_ensemble_is_of_tensors():
    with pytest.raises(ValueError, match=r"got a ndarray: torch.as_tensor"):
        ensemble([torch.eye(3), np.eye(3)])


def test_a_network_without_weights_has_nothing_to_draw():
    relu = torch.nn.ReLU()
    assert initialise(relu, "he") is relu
