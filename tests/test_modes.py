"""Modes come back as they were, each module's own, also after an error."""

import pytest
import torch
from torch import nn

from vgglib.data import ImageSet
from vgglib.modes import evaluation, kept_modes
from vgglib.training import RECIPES, fit


@pytest.fixture
def net():
    """Training, but for one layer."""
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.Dropout(), nn.ReLU()))
    net[1][0].eval()
    return net


def modes(net):
    return [module.training for module in net.modules()]


@pytest.mark.parametrize("context", [evaluation, kept_modes])
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_modes_come_back(net, context, error):
    before = modes(net)
    assert before == [True, True, True, False, True]

    def look():
        with context(net):
            assert modes(net) == (5 * [False] if context is evaluation else before)
            net.train()
            if error is not None:
                raise error

    if error is None:
        look()
    else:
        with pytest.raises(error):
            look()
    assert modes(net) == before


def test_a_network_that_refuses_the_pictures_keeps_its_modes(net):
    pictures = ImageSet(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.arange(4), tuple("abcd"))
    before = modes(net)
    with pytest.raises(RuntimeError, match=r"running_mean|2 channels|expected input"):
        fit(net, pictures, None, RECIPES["laptop"], device="cpu")
    assert modes(net) == before
