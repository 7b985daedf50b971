"""Shortcuts: where they go, that they cost nothing and start as nothing, and what is refused."""

import pytest
import torch
from torch import nn

from vgglib.configurations import layers
from vgglib.cost import cost
from vgglib.model import VGG, initialise
from vgglib.receptive_field import receptive_field, trace
from vgglib.residual import Shortcut, twice, with_shortcuts


def small(configuration="4 4 | 8 8 8 8 | 8 8 8", batch_norm=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = VGG(configuration, 1, 3, image_size=12, hidden=6, batch_norm=batch_norm)
    return initialise(net, "he", seed=1)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def shortcuts_of(net):
    return [module for module in net.features if isinstance(module, Shortcut)]


def test_a_shortcut_adds_what_went_in():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    X = noise(3, 2, 5, 5)
    torch.testing.assert_close(Shortcut(nn.Sequential(conv))(X), torch.relu(conv(X) + X))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_only_pairs_that_keep_their_channels_get_one(batch_norm):
    net = with_shortcuts(small(batch_norm=batch_norm))
    assert len(shortcuts_of(net)) == 2  # the second pair of block 2, the only pair of block 3; pair 1 -> 4 has none
    kinds = [type(module).__name__ for module in net.features]
    assert kinds.count("MaxPool2d") == 2
    assert [type(module).__name__ for module in shortcuts_of(net)[0].branch].count("ReLU") == 1
    assert isinstance(net.features[-1], nn.ReLU)  # the convolution that is left over keeps its own


@pytest.mark.parametrize("batch_norm", [True, False])
def test_they_cost_nothing(batch_norm):
    plain = small(batch_norm=batch_norm)
    net = with_shortcuts(plain)
    assert (cost(net, 12).parameters, cost(net, 12).macs) == (cost(plain, 12).parameters, cost(plain, 12).macs)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_branches_start_as_nothing_and_learn(batch_norm):
    plain = small("4 4 4 4", batch_norm=batch_norm)
    net = with_shortcuts(plain)
    short = nn.Sequential(*(module for module in net.features if not isinstance(module, Shortcut)))
    X = noise(2, 1, 12, 12)
    torch.testing.assert_close(net.features(X), short(X))
    net(X).sum().backward()
    (shortcut,) = shortcuts_of(net)
    assert shortcut.branch[-1].weight.grad.abs().max() > 0


def test_the_plain_network_is_left_alone():
    plain = small()
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    with_shortcuts(plain)
    assert not shortcuts_of(plain)
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.state_dict().items())


def test_other_weights_are_those_of_the_plain_network():
    plain, net = small(), with_shortcuts(small())
    assert torch.equal(plain.features[0].weight, net.features[0].weight)
    (first, _) = shortcuts_of(net)
    convs = [module for module in plain.features if isinstance(module, nn.Conv2d)]
    assert torch.equal(first.branch[0].weight, convs[4].weight)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_branches_need_not_begin_at_zero(batch_norm):
    plain = small(batch_norm=batch_norm)
    net = with_shortcuts(plain, from_zero=False)
    assert len(shortcuts_of(net)) == len(shortcuts_of(with_shortcuts(plain)))
    assert all(map(torch.equal, net.parameters(), plain.parameters()))


def test_the_receptive_field_is_that_of_the_plain_stack():
    net = with_shortcuts(small())
    *_, last = trace(net.features, 12).values()
    assert last.size == receptive_field(layers("4 4 | 8 8 8 8 | 8 8 8")).size


@pytest.mark.parametrize("configuration", ["4 | 8 | 8", "4 8 | 16 32 |"])
def test_nothing_to_go_around_is_refused(configuration):
    with pytest.raises(ValueError, match="nothing to go around"):
        with_shortcuts(VGG(configuration, 1, 2, image_size=8, hidden=4))


def test_twice():
    assert twice("4 8/1 | 16 lrn |") == "4 4 8/1 8/1 | 16 16 lrn |"
    assert len([layer for layer in layers(twice("E")) if layer.kind == "conv"]) == 32
    assert len([layer for layer in layers(twice("E")) if layer.kind == "pool"]) == 5


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_branch_begins_with_nothing_whatever_its_biases(batch_norm):
    net = small(batch_norm=batch_norm)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    found = [part for part in with_shortcuts(net).eval().modules() if isinstance(part, Shortcut)]
    assert found
    for part in found:
        X = torch.rand(2, part.branch[0].in_channels, 6, 6)
        assert torch.equal(part(X), X)
