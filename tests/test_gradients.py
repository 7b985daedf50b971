"""Fields by gradients: measured ones against the formulas, effective ones against kernels worked out by hand."""

import math

import numpy as np
import pytest
import reference
import torch
from torch import nn

from vgglib.checkpoint import shipped
from vgglib.configurations import layers
from vgglib.model import VGG
from vgglib.receptive_field import UnknownReceptiveFieldError, effective, measured, receptive_field, trace


class TwoPaths(nn.Module):
    def __init__(self, left, right):
        super().__init__()
        self.left, self.right = left, right

    def forward(self, X):
        return self.left(X) + self.right(X)


# Measured


@pytest.mark.parametrize("name", ["A", "D"])
def test_measured_windows_of_vgg_are_those_of_the_formulas(name):
    with torch.device("meta"):
        net = VGG(name).features
    found = measured(net, 224)  # it needs no weights
    field = receptive_field(layers(name))
    last = list(found)[-1]
    assert [found[last].window(unit) for unit in range(7)] == [field.window(unit, 224) for unit in range(7)]
    assert found[last].window((0, 6)) == (field.window(0, 224), field.window(6, 224))


def test_names_and_order_are_those_of_trace():
    net = VGG("A-LRN", in_channels=1, image_size=32, hidden=8)
    assert list(measured(net, 32)) == list(trace(net, 32))
    assert measured(net, 32)["classifier.6"].window(0) == (0, 31)


def test_dilated_maxima_and_borders_that_are_rounded_up():
    pool, size = nn.MaxPool2d((3, 2), (2, 3), (1, 0), (2, 1), ceil_mode=True), (2, 10, 14)
    net = nn.Sequential(pool, nn.Conv2d(2, 2, 2))
    field, found = trace(net, size)["1"], measured(net, size)["1"]
    height, width = field.units.size
    for row in range(height):
        for column in range(width):
            assert found.window((row, column)) == field.window((row, column), size[1:])


def test_the_gradient_of_a_unit_counts_the_ways_to_it():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 3))
    gradient = measured(net, 7)["2"].gradient((1, 2))
    ways = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81
    assert gradient.shape == (7, 7)
    np.testing.assert_allclose(gradient[1:6, 2:7], ways, rtol=1e-12)
    assert gradient.sum() == pytest.approx(1)


def test_unaligned_paths_can_be_measured():
    left = nn.Sequential(nn.ZeroPad2d((2, 1, 2, 1)), nn.Conv2d(1, 1, 5, 2))
    net = TwoPaths(left, nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)))
    found = measured(net, 8)["add"]
    assert [found.window(unit) for unit in range(4)] == reference.MISALIGNED


def test_measured_windows_ask_for_units_that_exist_and_see():
    net = nn.Sequential(nn.Conv2d(2, 2, (1, 3), padding=(2, 0)))
    found = measured(net, (6, 9))["0"]
    assert found.window((2, 4)) == ((0, 0), (4, 6))
    with pytest.raises(ValueError, match=r"no pixel reaches unit \(1, 0\)"):
        found.window((1, 0))
    with pytest.raises(ValueError, match=r"there is no unit \(2, 7\)"):
        found.window((2, 7))
    with pytest.raises(ValueError, match=r"there is no unit \(-1, 0\)"):
        found.window((-1, 0))
    with pytest.raises(ValueError, match=r"rows \(0, 0\) and columns \(2, 4\) differ: ask for the unit \(2, 2\)"):
        found.window(2)


def test_what_is_not_known_is_not_measured_either():
    with pytest.raises(UnknownReceptiveFieldError, match="im2col"):
        measured(nn.Sequential(nn.Conv2d(2, 2, 3), nn.Unfold(2)), 9)


# Effective


def uniform(depth, kernel):
    """Linear layers of one channel whose weights are all the same."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, kernel, bias=False) for _ in range(depth))).double()
    for weight in net.parameters():
        nn.init.constant_(weight, 1 / weight.numel())
    return net


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (3, 3), (2, 5), (6, 2), (4, (3, 5))])
def test_uniform_layers_have_the_gaussian_of_luo(depth, kernel):
    field = effective(uniform(depth, kernel), (25, 33), samples=1)
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    expected = [math.sqrt(depth * (side**2 - 1) / 12) for side in (height, width)]
    assert field.sigma == pytest.approx(expected, rel=1e-9)
    assert field.centre == pytest.approx([sum(window) / 2 for window in field.window], rel=1e-9)
    assert field.map.sum() == pytest.approx(1)


def test_three_uniform_layers_by_hand():
    field = effective(uniform(3, 3), 15, samples=1)
    kernel = np.array(reference.THREE_UNIFORM_LAYERS) / 27
    assert field.unit == (4, 4)
    assert field.window == ((4, 10), (4, 10))
    np.testing.assert_allclose(field.map[4:11, 4:11], np.outer(kernel, kernel), rtol=1e-9)
    assert field.sigma == pytest.approx((math.sqrt(2), math.sqrt(2)))
    counts = sorted(np.outer(reference.THREE_UNIFORM_LAYERS, reference.THREE_UNIFORM_LAYERS).flat, reverse=True)
    needed = next(n for n in range(50) if sum(counts[:n]) >= 0.95 * 27**2)
    assert field.share == needed / 49


def test_the_fitted_gaussian_is_a_density_around_the_centre():
    field = effective(uniform(8, 5), 65, samples=1)
    fitted = field.gaussian()
    assert fitted.shape == field.map.shape
    assert fitted.sum() == pytest.approx(1, abs=1e-3)
    assert np.abs(fitted - field.map).max() < 0.05 * field.map.max()  # the limit theorem, eight layers on


def test_no_gaussian_fits_a_single_pixel():
    with pytest.raises(ValueError, match=r"unit \(2, 2\) of 0 sees one row or one column only"):
        effective(uniform(1, 1), 5, samples=1).gaussian()


def test_the_share_falls_with_depth_as_luo_says():
    share = {depth: effective(uniform(depth, 3), 2 * depth + 5, samples=1).share for depth in (4, 16)}
    assert share[16] / share[4] == pytest.approx(1 / 4, rel=0.25)  # each side as one over the root of the depth


def test_an_untrained_network_sees_less_than_its_field():
    torch.manual_seed(0)
    net = VGG("64 64 | 128 128 | 256", in_channels=1, image_size=64, width=0.125, hidden=4).features
    field = effective(net, 64, samples=4)
    assert field.node == "11"
    assert field.unit == (8, 8)
    assert field.window == (trace(net, 64)["11"].window(8, 64),) * 2
    assert 0.1 < field.share < 0.8
    other = effective(net, 64, samples=4)
    assert np.array_equal(field.map, other.map)
    assert not np.array_equal(field.map, effective(net, 64, samples=4, seed=1).map)


def test_the_trained_network_that_is_shipped():
    net = shipped("laptop")
    field = effective(net, net.image_size, node="features.13", samples=4)
    assert field.window == (trace(net, 32)["features.13"].window(4, 32),) * 2
    assert 0 < field.share < 1
    assert all(0 < sigma < 13 for sigma in field.sigma)
    assert field.map[*(round(centre) for centre in field.centre)] > field.map.mean()


def test_pictures_may_be_given():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3))
    pictures = torch.rand(3, 2, 9, 11)
    field = effective(net, (9, 11), node="2", pictures=pictures)
    by_hand = torch.zeros(9, 11)
    for picture in pictures.split(1):
        X = picture.clone().requires_grad_()
        net(X)[0, :, 2, 3].sum().backward()
        by_hand += X.grad[0].abs().sum(0)
    np.testing.assert_allclose(field.map, (by_hand / by_hand.sum()).numpy(), rtol=1e-5)
    with pytest.raises(ValueError, match=r"expected pictures \(N, 2, 9, 11\), got \(3, 2, 11, 9\)"):
        effective(net, (9, 11), pictures=pictures.mT)


def test_a_functional_node_and_layers_that_write_over_their_input():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True)

        def forward(self, X):
            return self.relu(X + self.conv(X)) * 2

    field = effective(Net(), 7, node="add", samples=2)
    assert field.window == ((2, 4), (2, 4))
    assert np.count_nonzero(field.map) == 9


def test_a_first_layer_that_writes_over_the_picture():
    net, pictures = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 3)), torch.full((1, 1, 7, 7), 0.5)
    assert np.count_nonzero(effective(net, 7, pictures=pictures).map) == 9
    assert torch.equal(pictures, torch.full((1, 1, 7, 7), 0.5))


def test_dead_gradients_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    nn.init.constant_(net[0].bias, -1e9)
    with pytest.raises(ValueError, match=r"unit \(3, 3\) of 1 to the pixels is 0 everywhere: its ReLUs are dead"):
        effective(net, 9)
    nn.init.constant_(net[0].weight, math.nan)
    with pytest.raises(ValueError, match="is not finite"):
        effective(net, 9, node="0")


def test_unknown_nodes_are_refused():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with pytest.raises(ValueError, match=r"no node 'conv'.*choose from \['0', '1'\]"):
        effective(net, 9, node="conv")


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.ReLU()).train(training)
    net[1].eval()
    state, dice = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    modes = [module.training for module in net.modules()]
    effective(net, 9, samples=2)
    measured(net, 9)["3"].window(0)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())
    assert modes == [module.training for module in net.modules()]
    assert torch.equal(dice, torch.get_rng_state())


def test_a_reshape_into_the_batch_loses_no_node():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.c = nn.Conv2d(1, 4, 3)

        def forward(self, X):
            return self.c(X.reshape(3, 1, 8, 8)).transpose(2, 3)

    net = Parts()
    assert list(measured(net, (3, 8, 8))) == list(trace(net, (3, 8, 8)))


class Permuted(nn.Module):
    """ConvNeXt's end: the average of each channel, normalised with its channels last."""

    def __init__(self):
        super().__init__()
        self.conv, self.pool, self.norm = nn.Conv2d(1, 6, 3), nn.AdaptiveAvgPool2d(1), nn.LayerNorm(6)

    def forward(self, X):
        return self.norm(self.pool(self.conv(X)).permute(0, 2, 3, 1)).flatten(1)


def test_channels_that_lie_last_are_no_columns():
    assert effective(Permuted().double(), 12, samples=1).node == "conv"
