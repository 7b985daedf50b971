"""Three branches and one 3x3 layer are the same function, to rounding in float64; what cannot be folded is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vgglib.cost import cost
from vgglib.model import VGG
from vgglib.repvgg import RepVGGBlock, fold, fold_norm, folded, identity_kernel, with_branches
from vgglib.residual import with_shortcuts


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def lived_in(module, seed=0):
    """The module in float64 with normalisations as training leaves them: nothing at its default."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low in ((norm.weight, -2.0), (norm.bias, -1.0), (norm.running_mean, -1.0)):
                tensor.data.uniform_(low, 2.0, generator=dice(seed := seed + 1))
            norm.running_var.uniform_(0.1, 3.0, generator=dice(seed := seed + 1))
    return module.double().eval()


@pytest.mark.parametrize(("into", "out"), [(3, 3), (3, 5), (1, 1), (5, 2)])
def test_a_block_is_one_convolution(into, out):
    block = lived_in(RepVGGBlock(into, out))
    X = torch.randn(2, into, 7, 5, generator=dice(), dtype=torch.float64)
    conv = fold(block)
    assert conv.weight.shape == (out, into, 3, 3)
    assert (F.relu(conv(X)) - block(X)).abs().max() < 1e-12


def test_the_sum_by_hand():
    """One channel, normalisations that do nothing: 3x3 + 1x1 + identity, tap by tap."""
    block = RepVGGBlock(1, 1).double().eval()
    for norm in (block.norm_three, block.norm_one, block.norm_same):
        norm.eps = 0.0
    block.three.weight.data = torch.arange(1.0, 10, dtype=torch.float64).view(1, 1, 3, 3)
    block.one.weight.data.fill_(10)
    assert fold(block).weight.flatten().tolist() == [1, 2, 3, 4, 5 + 10 + 1, 6, 7, 8, 9]
    assert fold(block).bias.item() == 0


def test_identity_kernel_gives_back_what_it_got():
    X = torch.randn(2, 4, 5, 6, generator=dice())
    assert torch.equal(F.conv2d(X, identity_kernel(4), padding=1), X)


@pytest.mark.parametrize("bias", [True, False])
def test_fold_norm_is_convolution_and_norm(bias):
    conv, norm = nn.Conv2d(2, 3, 3, padding=1, bias=bias).double(), lived_in(nn.BatchNorm2d(3))
    X = torch.randn(2, 2, 6, 6, generator=dice(), dtype=torch.float64)
    weight, shift = fold_norm(conv.weight, norm, conv.bias if bias else 0.0)
    assert (F.conv2d(X, weight, shift, padding=1) - norm(conv(X))).abs().max() < 1e-12


def test_in_training_mode_nothing_folds():
    block = RepVGGBlock(2, 2)
    for attempt in (
        lambda: fold(block),
        lambda: fold_norm(block.three.weight, block.norm_three),
        lambda: folded(with_branches(VGG("2 2 |", 1, 2, image_size=4, hidden=3))),
        lambda: folded(VGG("2 2 |", 1, 2, image_size=4, hidden=3)),
    ):
        with pytest.raises(ValueError, match="in training mode the batch decides"):
            attempt()


def test_a_whole_network_folds_into_a_vgg():
    plain = VGG("4 4 | 6 6 |", 1, 3, image_size=8, hidden=5, batch_norm=True)
    net = lived_in(with_branches(plain, seed=3))
    once = folded(net)
    X = torch.randn(3, 1, 8, 8, generator=dice(), dtype=torch.float64)
    assert (once(X) - net(X)).abs().max() < 1e-12
    vgg = VGG("4 4 | 6 6 |", 1, 3, image_size=8, hidden=5).double().eval()
    vgg.load_state_dict(once.state_dict())
    assert torch.equal(vgg(X), once(X))
    assert any(isinstance(module, RepVGGBlock) for module in net.features)  # the original stays


def test_plain_normalisations_fold_too():
    net = lived_in(VGG("4 4 | 6 |", 1, 3, image_size=8, hidden=5, batch_norm=True))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    once, vgg = folded(net), VGG("4 4 | 6 |", 1, 3, image_size=8, hidden=5).double().eval()
    vgg.load_state_dict(once.state_dict())
    X = torch.randn(3, 1, 8, 8, generator=dice(), dtype=torch.float64)
    assert (vgg(X) - net(X)).abs().max() < 1e-12
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_other_weights_are_refused_and_not_left_out():
    net = VGG("4 4 |", 4, 2, image_size=4, hidden=3, batch_norm=True).eval()
    for attempt in (with_branches, folded):
        with pytest.raises(ValueError, match="a Shortcut among the features has weights"):
            attempt(with_shortcuts(net))
    with pytest.raises(ValueError, match="a RepVGGBlock among the features"):
        with_branches(with_branches(net))


def test_branches_cost_a_ninth_more_macs():
    plain = VGG("4 4 |", 1, 3, image_size=8, hidden=5)
    branched, single = (cost(net.features, (1, 8, 8)).macs for net in (with_branches(plain), plain))
    assert branched * 9 == single * 10


def test_the_same_seed_draws_the_same_weights():
    plain = VGG("4 |", 1, 2, image_size=4, hidden=3)
    one, two, other = (with_branches(plain, seed).features[0].three.weight for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_other_kernels_are_refused():
    with pytest.raises(ValueError, match="only 3x3"):
        with_branches(VGG("4/5 |", 1, 2, image_size=4, hidden=3))


@pytest.mark.parametrize("mode", [True, False])
def test_branches_are_in_the_mode_of_the_network(mode):
    net = with_branches(VGG("8 8 |", 3, 10, 8, hidden=8, batch_norm=True).train(mode))
    assert {part.training for part in net.modules()} == {mode}


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (torch.nn.BatchNorm2d(3, affine=False), "no scale"),
        (torch.nn.BatchNorm2d(3, track_running_stats=False), "no running statistics"),
        (torch.nn.BatchNorm2d(1), "3 outputs meet a normalisation of 1 channels"),
    ],
    ids=["no scale", "no statistics", "other channels"],
)
def test_norms_that_cannot_be_folded_are_refused(norm, said):
    with pytest.raises(ValueError, match=said):
        fold_norm(torch.ones(3, 2, 3, 3), norm.eval())
