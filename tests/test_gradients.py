"""Receptive fields by experiment: stand-ins that hide nothing, and Luo et al.'s law on stacks with a known answer."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vgglib.checkpoint import shipped
from vgglib.gradients import EffectiveField
from vgglib.receptive_field import UnknownReceptiveFieldError, effective, measured, trace


def uniform(depth, kernel=3, bias=False):
    """A stack of convolutions whose weights are all the same."""
    net = nn.Sequential(*(nn.Conv2d(1, 1, kernel, padding=kernel // 2, bias=bias) for _ in range(depth)))
    for layer in net:
        nn.init.constant_(layer.weight, 1 / kernel**2)
    return net


@pytest.mark.parametrize(("depth", "kernel"), [(1, 3), (3, 3), (2, 5), (7, 3), (12, 3), (4, 7)])
def test_spread_of_uniform_stacks(depth, kernel):
    found = effective(uniform(depth, kernel), 2 * depth * (kernel - 1) + 5, samples=1)
    assert found.sigma == pytest.approx([math.sqrt(depth * (kernel**2 - 1) / 12)] * 2)
    assert found.weights.sum().item() == pytest.approx(1)
    (first, last), _ = found.window
    assert last - first == depth * (kernel - 1)


def test_three_layers_by_hand():
    found = effective(uniform(3), 11, samples=2)
    profile = found.weights.sum(dim=0)[2:9] * 27
    assert profile.tolist() == pytest.approx([1, 3, 6, 7, 6, 3, 1])
    assert found.sigma[0] ** 2 == pytest.approx(2)
    inner = (3 + 6 + 7 + 6 + 3) / 27
    assert inner**2 < 0.95 <= 1
    assert (found.side_95, found.share_95) == (7, 1.0)


def test_share_shrinks_with_depth():
    shares = [effective(uniform(depth), 4 * depth + 9, samples=1).share_95 for depth in (4, 8, 16, 32)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.4


def test_the_gaussian_fits_a_deep_stack_and_not_a_shallow_one():
    def distance(found):
        return (found.gaussian() - found.weights).abs().sum().item()

    deep, shallow = (effective(uniform(depth), 4 * depth + 9, samples=1) for depth in (16, 1))
    assert distance(deep) < 0.05 < 0.2 < distance(shallow)
    assert deep.gaussian().sum().item() == pytest.approx(1)


def test_a_kernel_that_looks_to_one_side():
    net = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.constant_(net.weight, 0.0)
    with torch.no_grad():
        net.weight[0, 0, 1, 2] = 1.0
    found = effective(net, 9, samples=1)
    assert found.weights[4, 5].item() == pytest.approx(1)
    assert found.sigma == pytest.approx((0, 0), abs=1e-6)
    assert found.side_95 == 3


def test_chosen_node_and_pictures_and_repeatability():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
    pictures = torch.rand(5, 1, 16, 16)
    first, again = (effective(net, 16, "0", pictures=pictures) for _ in range(2))
    assert torch.equal(first.weights, again.weights)
    (top, bottom), _ = first.window
    assert bottom - top == 2
    assert isinstance(effective(net, 16), EffectiveField)
    (top, bottom), _ = effective(net, 16).window
    assert bottom - top + 1 == trace(net, 16)["3"].size
    assert not torch.equal(effective(net, 16, seed=1).weights, effective(net, 16, seed=2).weights)


def test_refusals():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 36, 3))
    with pytest.raises(ValueError, match="'3' is no map of this network: choose from 0, 1"):
        effective(net, 8, "3")
    dead = uniform(2)
    nn.init.constant_(dead[1].weight, 0.0)
    with pytest.raises(ValueError, match="no gradient comes from 1 to the picture"):
        effective(dead, 9)
    broken = uniform(2)
    nn.init.constant_(broken[1].weight, math.nan)
    with pytest.raises(ValueError, match="not finite"):
        effective(broken, 9)
    with pytest.raises(UnknownReceptiveFieldError):
        measured(nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2)), 9)


def test_the_network_is_left_as_it_is():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    effective(net, 9)
    measured(net, 9)
    assert all(part.training for part in net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.dtype == torch.float32 for parameter in net.parameters())


def test_measured_sees_what_relu_and_maximum_hide():
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3))
    nn.init.constant_(net[0].bias, -100.0)  # every ReLU is off
    nn.init.constant_(net[3].weight, -1.0)
    assert measured(net, 12)["3"].window(0) == trace(net, 12)["3"].window(0) == (0, 7)


def test_measured_linearises_functions_too():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, X):
            X = F.max_pool2d(F.relu(self.conv(X)), 3, stride=2, ceil_mode=True)
            return torch.cat([X, F.dropout(X, training=self.training)], dim=1) * 0.0 - X.repeat(1, 1, 1, 1)[:, :1]

    class Difference(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, X):
            X = self.conv(X)
            return F.max_pool2d(F.relu(X), 3, stride=2, ceil_mode=True) - F.max_pool2d(X, 3, 2, ceil_mode=True)

    with pytest.raises(UnknownReceptiveFieldError, match="repeat"):
        trace(Functional(), 12)
    by_gradients = list(measured(Difference(), 12).values())[-1]  # the difference of equals would be blind
    by_arithmetic = list(trace(Difference(), 12).values())[-1]
    for unit in [(0, 0), (2, 3), (5, 5)]:
        assert by_gradients.window(unit) == by_arithmetic.window(unit, 12)


def test_measured_units():
    found = measured(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 49, 3)), (9, 9))
    assert found["0"].units == (7, 7)
    assert found["2"].units == (1, 1)
    assert found["2"].window(0) == (0, 8)
    blind = measured(nn.Conv2d(1, 1, 1, padding=2), 5)["0"]
    with pytest.raises(ValueError, match="depends on no pixel"):
        blind.window(0)
    wide = measured(nn.Conv2d(1, 1, (3, 5)), 9)["0"]
    assert wide.window(2) == ((2, 4), (2, 6))


def test_the_trained_network_that_is_shipped():
    net = shipped("laptop")
    found = effective(net, 32, "features.12", samples=4)
    assert found.window == ((5, 30), (5, 30))
    assert 4 < found.sigma[0] < 8
