"""Networks: torchvision's weights and outputs, Krizhevsky's normalisation, sizes, refusals and initialisations."""

import math

import numpy as np
import pytest
import reference
import torch
import torchvision
from torch import nn

from vgglib import peers
from vgglib.checkpoint import save_network
from vgglib.compress import low_rank, replace_fc6
from vgglib.configurations import TABLE_1, layers
from vgglib.evaluation import prepared
from vgglib.lighter import lighter_head
from vgglib.model import (
    INITIALISATIONS,
    VGG,
    fully_convolutional,
    initialise,
    local_response_norm,
    map_size,
    start_from,
    unwrapped,
    vgg,
    vgg_block,
    warm_start,
)

D_AT_28 = "64 64 | 128 128 | 256 256 256 512 512 512 512 512 512"


def on_paper(*arguments, **options):
    """A network with shapes and no numbers."""
    with torch.device("meta"):
        return VGG(*arguments, **options)


def shapes_of(net):
    return [(name, tuple(value.shape), value.dtype) for name, value in net.state_dict().items()]


@pytest.mark.parametrize("name", reference.TORCHVISION)
def test_state_dicts_have_torchvisions_keys_and_shapes(name):
    configuration, batch_norm, _ = reference.TORCHVISION[name]
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)()
    assert shapes_of(on_paper(configuration, batch_norm=batch_norm)) == shapes_of(theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn", "vgg16"])
@torch.no_grad()
def test_torchvisions_weights_give_torchvisions_scores_and_ours_ours(name):
    configuration, batch_norm, _ = reference.TORCHVISION[name]
    with torch.device("meta"):
        theirs, again = getattr(torchvision.models, name)(), getattr(torchvision.models, name)()
        ours = VGG(configuration, batch_norm=batch_norm)
    dice = torch.Generator().manual_seed(7)
    theirs = theirs.double().to_empty(device="cpu").eval()
    for key, value in theirs.state_dict().items():
        if not value.is_floating_point():
            value.fill_(3)
        elif value.dim() > 1:
            bound = math.sqrt(6 / value[0].numel())
            value.uniform_(-bound, bound, generator=dice)
        else:  # biases, and the statistics of batch normalisation, which must not be 0 and 1
            value.uniform_(*((0.5, 1.5) if "var" in key or "weight" in key else (-0.3, 0.3)), generator=dice)
    X = torch.rand(2, 3, 224, 224, dtype=torch.float64, generator=dice)
    expected = theirs(X)
    assert expected.std(dim=1).min() > 0.01
    ours.load_state_dict(theirs.state_dict(), assign=True)  # one copy of the weights: D's take over a gigabyte
    torch.testing.assert_close(ours.eval()(X), expected, rtol=1e-12, atol=1e-12)
    again.load_state_dict(ours.state_dict(), assign=True)
    torch.testing.assert_close(again.eval()(X[1:]), expected[1:], rtol=1e-12, atol=1e-12)


def test_from_torchvision_copies_the_weights():
    theirs = peers.torchvision_vgg("A", num_classes=7, seed=3)
    ours = peers.from_torchvision(theirs, "A")
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
    with pytest.raises(RuntimeError, match="features"):
        peers.from_torchvision(theirs, "B")
    assert ours.training
    theirs.features.requires_grad_(False)
    theirs.classifier[2].p = 0.1
    ours = peers.from_torchvision(theirs.eval().bfloat16(), "A")
    assert [value.requires_grad for value in ours.parameters()] == [
        value.requires_grad for value in theirs.parameters()
    ]
    assert (ours.classifier[2].p, ours.classifier[5].p) == (0.1, 0.5)
    assert not ours.training
    assert {value.dtype for value in ours.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match="one of torchvision's VGG networks, got a Linear"):
        peers.from_torchvision(torch.nn.Linear(2, 2), "A")


def test_from_torchvision_sees_batch_normalisation():
    theirs = torchvision.models.vgg11_bn(num_classes=3, init_weights=False).eval()
    ours = peers.from_torchvision(theirs, "A")
    assert isinstance(ours.features[1], torch.nn.BatchNorm2d)
    X = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(ours(X), theirs(X))
    with pytest.raises(RuntimeError, match="running_mean"):
        peers.from_torchvision(theirs, "A", batch_norm=False)


@pytest.mark.filterwarnings("ignore:`torch.jit")  # torch is leaving it; what others still run, runs
@pytest.mark.parametrize("configuration", TABLE_1)
def test_networks_can_be_scripted(configuration):
    net = VGG(configuration, 1, 7, 32, width=1 / 32, hidden=8).eval()
    X = torch.rand(2, 1, 32, 32)
    assert torch.equal(torch.jit.script(net)(X), net(X))
    maps, X = fully_convolutional(net), torch.rand(2, 1, 35, 64)
    assert torch.equal(torch.jit.script(maps)(X), maps(X))


def test_a_text_is_no_truth_value():
    with pytest.raises(ValueError, match="batch_norm must be True or False, got 'no'"):
        VGG("4 |", batch_norm="no")


def krizhevsky(maps, n, k, alpha, beta):
    """Section 3.3 of Krizhevsky et al. 2012 as a plain loop over channels."""
    channels, found = maps.shape[1], torch.empty_like(maps)
    for i in range(channels):
        total = torch.zeros_like(maps[:, i])
        for j in range(max(0, i - n // 2), min(channels - 1, i + n // 2) + 1):
            total = total + maps[:, j] ** 2
        found[:, i] = maps[:, i] / (k + alpha * total) ** beta
    return found


@pytest.mark.parametrize(("n", "k", "alpha", "beta"), [(5, 2.0, 0.3, 0.75), (3, 1.5, 0.7, 0.6)])
def test_normalisation_is_krizhevskys(n, k, alpha, beta):
    maps = torch.randn(2, 11, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 5
    expected = krizhevsky(maps, n, k, alpha, beta)
    torch.testing.assert_close(local_response_norm(n, k, alpha, beta)(maps), expected, rtol=1e-12, atol=0)


def test_a_lrn_normalises_once_after_the_first_relu_with_krizhevskys_numbers():
    net = on_paper("A-LRN")
    assert [type(module) for module in net.features[:4]] == [nn.Conv2d, nn.ReLU, nn.LocalResponseNorm, nn.MaxPool2d]
    assert sum(isinstance(module, nn.LocalResponseNorm) for module in net.modules()) == 1
    maps = torch.full((1, 13, 1, 2), 30.0, dtype=torch.float64)  # 5 * 1e-4 * 900 = 0.45, next to k = 2
    expected = krizhevsky(maps, n=5, k=2, alpha=1e-4, beta=0.75)
    torch.testing.assert_close(net.features[2](maps), expected, rtol=1e-12, atol=0)


def test_a_relu_follows_every_convolution_and_every_hidden_layer():
    for name in TABLE_1:
        net = on_paper(name, batch_norm=name == "C")
        features = [type(module) for module in net.features]
        for n, kind in enumerate(features):
            if kind is nn.Conv2d:
                assert features[n + 1 : n + 3][-1 if name == "C" else 0] is nn.ReLU
                assert (features[n + 1] is nn.BatchNorm2d) == (name == "C")
        head = [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
        assert [type(module) for module in net.classifier] == head
        assert [module.p for module in net.classifier if isinstance(module, nn.Dropout)] == [0.5, 0.5]


def test_one_by_one_convolutions_of_c_have_no_padding():
    convolutions = [module for module in on_paper("C").features if isinstance(module, nn.Conv2d)]
    assert {(module.kernel_size, module.padding) for module in convolutions} == {((3, 3), (1, 1)), ((1, 1), (0, 0))}
    assert [module.kernel_size[0] for module in convolutions] == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]


@pytest.mark.parametrize("name", TABLE_1)
def test_blocks_of_table_1_halve_the_side(name):
    net, X = on_paper(name), torch.empty(2, 3, 224, 224, device="meta")
    for block, side, channels in zip(net.blocks, (112, 56, 28, 14, 7), (64, 128, 256, 512, 512), strict=True):
        X = block(X)
        assert X.shape == (2, channels, side, side)
    assert net(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)


def test_the_network_as_a_chain_prints_the_articles_shapes():
    with torch.device("meta"):
        net, X = vgg(reference.CONV_ARCH), torch.empty(1, 1, 224, 224)
    found, kinds = [], []
    for part in net:
        X = part(X)
        found.append(tuple(X.shape))
        kinds.append(type(part).__name__)
    assert tuple(found) == reference.D2L_SHAPES
    assert kinds == ["Sequential"] * 5 + [
        "Flatten",
        *["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"],
    ]


def test_the_chain_and_the_blocks_are_the_network_itself():
    net = VGG("6 lrn | 7 7/1 | 5", in_channels=2, num_classes=3, image_size=(12, 20), hidden=11).eval()
    X = torch.rand(2, 2, 12, 20)
    through = X
    for part in net:
        through = part(through)
    assert torch.equal(through, net(X))
    assert [len(block) for block in net.blocks] == [4, 5, 2]
    mine = {id(parameter) for block in net.blocks for parameter in block.parameters()}
    assert mine == {id(parameter) for parameter in net.features.parameters()}


def test_vgg_is_the_articles_network():
    with torch.device("meta"):
        net, article = vgg(reference.CONV_ARCH), peers.d2l_network()
    assert [tuple(p.shape) for p in net.parameters()] == [tuple(p.shape) for p in article.parameters()]
    assert net.configuration == TABLE_1["A"]
    small, theirs = vgg([(1, 3), (2, 5)], image_size=28), peers.d2l_network(ratio=16)
    assert small(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    assert sum(p.numel() for p in theirs.parameters()) == sum(
        p.numel() for p in vgg([(n, c // 16) for n, c in reference.CONV_ARCH]).parameters()
    )


def test_the_articles_network_computes_the_same():
    torch.manual_seed(5)
    theirs, ours = peers.d2l_network(ratio=32).eval(), vgg([(n, c // 32) for n, c in reference.CONV_ARCH]).eval()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        mine.data.copy_(other)
    X = torch.rand(2, 1, 224, 224)
    torch.testing.assert_close(ours(X), theirs(X))


def test_vgg_block():
    block = vgg_block(3, 5, 7)
    assert [type(module) for module in block] == [nn.Conv2d, nn.ReLU] * 3 + [nn.MaxPool2d]
    assert [module.in_channels for module in block if isinstance(module, nn.Conv2d)] == [5, 7, 7]
    X = torch.rand(2, 5, 12, 20)
    expected = X
    for n in (0, 2, 4):
        expected = torch.nn.functional.conv2d(expected, block[n].weight, block[n].bias, padding=1).clamp(min=0)
    expected = expected.view(2, 7, 6, 2, 10, 2).amax(dim=(3, 5))
    torch.testing.assert_close(block(X), expected)


@pytest.mark.parametrize(
    "wrong", [(0, 3, 8), (-2, 3, 8), (1, 0, 8), (1, -3, 8), (1, 3, 0), (1.5, 3, 8), ("2", 3, 8), (True, 3, 8)]
)
def test_a_block_of_no_convolutions_or_channels_is_refused(wrong):
    with pytest.raises(
        ValueError, match=r"(num_convs|in_channels|out_channels) must be (positive|a whole number), got"
    ):
        vgg_block(*wrong)


def test_two_pools_at_28_pixels_keep_the_papers_seven():
    net = on_paper(D_AT_28, in_channels=1, num_classes=10, image_size=28)
    assert net.features(torch.empty(2, 1, 28, 28, device="meta")).shape == (2, 512, 7, 7)
    assert net.classifier[0].weight.shape == (4096, 512 * 7 * 7)
    assert len(net.blocks) == 3
    assert sum(p.numel() for p in net.classifier[0].parameters()) == reference.FULLY_CONNECTED["fc6"]


def test_width_hidden_and_channels():
    net = on_paper("10 | 20 30 |", in_channels=2, num_classes=7, image_size=12, width=0.35, hidden=13)
    convolutions = [module for module in net.features if isinstance(module, nn.Conv2d)]
    assert [(module.in_channels, module.out_channels) for module in convolutions] == [(2, 4), (4, 7), (7, 10)]
    linear = [module for module in net.classifier if isinstance(module, nn.Linear)]
    assert [(module.in_features, module.out_features) for module in linear] == [(90, 13), (13, 13), (13, 7)]
    assert on_paper("3 |", width=0.01, image_size=12).features[0].out_channels == 1


def test_pictures_may_be_rectangles():
    net = VGG("5 | 7 |", in_channels=2, num_classes=3, image_size=(12, 21), hidden=11)
    assert net.classifier[0].in_features == 7 * 3 * 5
    assert net(torch.rand(2, 2, 12, 21)).shape == (2, 3)
    with pytest.raises(ValueError, match="built for 12 x 21 pictures, got 21 x 12"):
        net(torch.rand(2, 2, 21, 12))
    with pytest.raises(ValueError, match="built for 12 x 21 pictures, got 12 x 20"):
        net(torch.rand(2, 2, 12, 20))
    assert map_size(layers("5 | 7 |"), (12, 21)) == (3, 5)


@pytest.mark.parametrize("side", [223, 225, 256])
def test_another_picture_size_is_refused_with_both_sizes(side):
    with pytest.raises(ValueError, match=rf"224 x 224 pictures, got {side} x {side}.*image_size=\({side}, {side}\)"):
        on_paper("A")(torch.empty(2, 3, side, side, device="meta"))


@pytest.mark.parametrize(("side", "layer"), [(1, "pool1"), (16, "pool5"), (31, "pool5"), ((224, 8), "pool4")])
def test_a_size_that_a_pooling_reduces_to_nothing_is_refused_by_the_pools_name(side, layer):
    with pytest.raises(ValueError, match=rf"too small: {layer} would reduce .* at least 32 pixels"):
        on_paper("D", image_size=side)
    assert on_paper("D", image_size=32).classifier[0].in_features == 512


def test_wrong_pictures_are_refused():
    net = VGG("5 |", in_channels=3, num_classes=3, image_size=8, hidden=7)
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), got shape \(2, 1, 8, 8\)"):
        net(torch.rand(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), got shape \(3, 8, 8\)"):
        net(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match=r"torch\.uint8: divide by 255"):
        net(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    for X in (np.zeros((2, 3, 8, 8)), None):
        with pytest.raises(ValueError, match=r"expected a tensor \(N, 3, H, W\), got a (ndarray|NoneType)"):
            net(X)


@pytest.mark.parametrize(
    "wrong", [{"in_channels": 0}, {"num_classes": -1}, {"width": 0.0}, {"hidden": 0}, {"width": math.nan}]
)
def test_sizes_that_make_no_network_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        VGG("5 |", **{"image_size": 8, **wrong})


def test_an_unknown_configuration_is_refused():
    with pytest.raises(ValueError, match=r"VGG16.*A, A-LRN, B, C, D, E"):
        VGG("VGG16")


def gain(how, fan_in, fan_out):
    """The standard deviation that an initialisation promises."""
    return {
        "normal-0.01": 0.01,
        "normal-0.1": 0.1,
        "glorot": math.sqrt(2 / (fan_in + fan_out)),
        "he": math.sqrt(2 / fan_in),
    }[how]


@pytest.mark.parametrize("how", INITIALISATIONS)
def test_initialisations_have_their_standard_deviation(how):
    net = initialise(VGG("40 60 | 80 |", image_size=12, hidden=300, num_classes=200), how, seed=4)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            area = module.weight[0, 0].numel()
            fan_out, fan_in = module.weight.shape[0] * area, module.weight[0].numel()
            expected = gain(how, fan_in, fan_out)
            assert module.weight.std().item() == pytest.approx(expected, rel=0.08 if fan_in < 100 else 0.03)
            assert abs(module.weight.mean().item()) < 4 * expected / math.sqrt(module.weight.numel())
            if how == "glorot":  # uniform, not normal
                assert module.weight.abs().max() <= math.sqrt(3) * expected
            else:
                assert module.weight.abs().max() > 2.5 * expected
            assert not module.bias.any()


def test_initialisation_depends_on_the_seed_alone_and_leaves_the_dice():
    one, two = (VGG("5 | 7 |", image_size=12, hidden=11) for _ in range(2))
    dice = torch.get_rng_state()
    initialise(one, "he", seed=3)
    torch.rand(17)
    initialise(two, "he", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    torch.set_rng_state(dice)
    initialise(two, "he", seed=4)
    assert torch.equal(dice, torch.get_rng_state())
    assert not torch.equal(one.features[0].weight, two.features[0].weight)


def test_initialisation_can_leave_the_biases():
    net = VGG("5 |", image_size=8, hidden=11)
    before = [module.bias.clone() for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    initialise(net, "glorot", biases=False)
    after = [module.bias for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert all(torch.equal(a, b) and a.any() for a, b in zip(before, after, strict=True))


def test_initialisation_works_without_biases_and_refuses_unknown_names():
    initialise(nn.Sequential(nn.Conv2d(3, 5, 3, bias=False)), "he")
    with pytest.raises(ValueError, match=r"unknown initialisation 'xavier': choose from normal-0\.01, "):
        initialise(nn.Linear(2, 3), "xavier")
    with pytest.raises(ValueError, match=r"unknown initialisation \['he'\]"):
        initialise(nn.Linear(2, 3), ["he"])


def test_torch_fx_can_trace_it():
    net = VGG("5 lrn | 7 7/1 |", image_size=12, hidden=11, num_classes=4, batch_norm=True).eval()
    X = torch.rand(2, 3, 12, 12)
    assert torch.equal(torch.fx.symbolic_trace(net)(X), net(X))


def test_mean_and_std_are_no_weights():
    net = VGG("5 |", image_size=8, hidden=7)
    assert net.mean.shape == net.std.shape == (1, 3, 1, 1)
    assert not {"mean", "std"} & net.state_dict().keys()
    assert "configuration='5 |', image_size=(8, 8)" in repr(net)


# --- fully convolutional, warm start -----------------------------------------------------------------------------


@torch.no_grad()
def test_the_fully_connected_layers_become_convolutions_of_the_same_weights():
    net = VGG("4 | 6 |", in_channels=2, num_classes=3, image_size=(20, 28), hidden=5)
    full = fully_convolutional(net)
    kernels = [module.kernel_size for module in full.classifier if isinstance(module, nn.Conv2d)]
    assert kernels == [(5, 7), (1, 1), (1, 1)]
    assert full.classifier[0].weight.data_ptr() == net.classifier[0].weight.data_ptr()
    assert full.features is net.features
    assert sum(parameter.numel() for parameter in full.parameters()) == sum(p.numel() for p in net.parameters())
    X = torch.rand(3, 2, 20, 28)
    torch.testing.assert_close(full.eval()(X)[:, :, 0, 0], net.eval()(X))
    assert full(torch.rand(1, 2, 33, 28)).shape == (1, 3, 4, 1)


def test_what_cannot_be_converted_is_refused():
    net = VGG("4 |", num_classes=3, image_size=8, hidden=5)
    with pytest.raises(ValueError, match="fully convolutional already"):
        fully_convolutional(fully_convolutional(net))
    with pytest.raises(ValueError, match="got a Linear"):
        fully_convolutional(nn.Linear(3, 4))
    for size in ((7, 12), (12, 7)):
        with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}, smaller than the crop 8 x 8"):
            fully_convolutional(net)(torch.rand(1, 3, *size))


def test_a_conversion_keeps_the_mode():
    net = VGG("4 |", num_classes=3, image_size=8, hidden=5).train()
    net.features[1].eval()
    full = fully_convolutional(net)
    assert full.training
    assert [module.training for module in net.features] == [True, False, True]
    assert not fully_convolutional(net.eval()).training


@pytest.mark.parametrize("deep", ["B", "C", "D", "E"])
def test_warm_start_copies_by_the_papers_names(deep):
    small = dict(in_channels=1, num_classes=4, image_size=32, width=1 / 32, hidden=5)
    a, net = VGG("A", **small), VGG(deep, **small)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert warm_start(net, a) == ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]
    convs = [module for module in net.features if isinstance(module, nn.Conv2d)]
    theirs = [module for module in a.features if isinstance(module, nn.Conv2d)]
    for ours, other in ((0, 0), (2, 1), (4, 2), (5, 3)):  # conv1_1, conv2_1, conv3_1, conv3_2
        assert torch.equal(convs[ours].weight, theirs[other].weight)
        assert torch.equal(convs[ours].bias, theirs[other].bias)
        assert convs[ours].weight.data_ptr() != theirs[other].weight.data_ptr()
    for one, other in zip(net.classifier, a.classifier, strict=True):
        if isinstance(one, nn.Linear):
            assert torch.equal(one.weight, other.weight)
    changed = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
    assert len(changed) == 2 * 7
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_warm_start_at_28_pixels_and_with_batch_normalisation():
    small = dict(in_channels=1, num_classes=4, image_size=28, width=1 / 32, hidden=5, batch_norm=True)
    a = VGG("64 | 128 | 256 256 512 512 512 512", **small)
    d = VGG("64 64 | 128 128 | 256 256 256 512 512 512 512 512 512", **small)
    a.features[1].running_mean.fill_(0.3)
    a.features[1].weight.data.fill_(1.7)
    assert warm_start(d, a)[:4] == ["conv1_1", "conv2_1", "conv3_1", "conv3_2"]
    assert torch.equal(d.features[1].running_mean, a.features[1].running_mean)
    assert torch.equal(d.features[1].weight, a.features[1].weight)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            dict(width=1 / 16),
            "conv1_1 has 4 channels here, 2 in the trained network: take its width 0.03125, perhaps conf",
        ),
        (
            dict(hidden=6),
            "fc6 has 6 units here, 5 in the trained network: take its hidden 5, perhaps configuration 'A'$",
        ),
        (dict(num_classes=5), "fc8 has 5 units here, 4 in the trained network: take its num_classes 4"),
        (dict(batch_norm=True), "conv1_1 has not the parameters here .*: take its batch_norm False"),
        (
            dict(configuration="8 64 | 128 128 | 256 256 |", image_size=8),
            "conv1_1 has 1 channels.* image_size 32, perhaps",
        ),
        (dict(configuration="64 64 | 128 128 |"), "no conv3_1"),
    ],
)
def test_a_warm_start_that_does_not_fit_copies_nothing(changed, said):
    small = dict(in_channels=1, num_classes=4, image_size=32, width=1 / 32, hidden=5)
    net = VGG(**{"configuration": "D", **small, **changed})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=said):
        warm_start(net, VGG("A", **small))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_map_is_trained_by_its_own_parameters():
    """They lie in the network's own memory, but have gradients of their own, as its docstring says."""
    torch.manual_seed(0)
    net = VGG("4 | 6 |", 1, 3, image_size=8, hidden=5, dropout=0.0)
    dense, before = fully_convolutional(net), net.classifier[0].weight.clone()
    dense(torch.rand(2, 1, 12, 12)).mean(dim=(2, 3)).square().sum().backward()
    assert net.classifier[0].weight.grad is None
    torch.optim.SGD(dense.parameters(), lr=1.0).step()
    moved = before - dense.classifier[0].weight.grad.view_as(before)
    assert torch.allclose(net.classifier[0].weight, moved)
    assert not torch.equal(net.classifier[0].weight, before)


TRAINED = dict(in_channels=1, num_classes=4, image_size=32, width=1 / 32, hidden=5, batch_norm=True)


def test_the_same_configuration_starts_from_every_layer():
    old, new = VGG("A", **TRAINED), VGG("64 | 128 | 256 256 | 512 512 | 512 512 |", **TRAINED)
    for module in old.features:
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
    old.mean.fill_(0.28)
    old.std.fill_(0.35)
    assert start_from(new, old)[-4:] == ["conv5_2", "fc6", "fc7", "fc8"]
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in new.state_dict().items())
    X = torch.rand(3, 1, 32, 32)
    assert torch.equal(new.eval()(prepared(new, X)), old.eval()(prepared(old, X)))
    new.features[0].weight.data.zero_()
    assert old.features[0].weight.data.any()  # a copy


@pytest.mark.parametrize("known", [True, False])
def test_other_classes_get_a_new_last_layer(known):
    old, new = VGG("A", **TRAINED), VGG("A", **{**TRAINED, "num_classes": 4 if known else 7})
    if known:  # as many, but others
        old.classes, new.classes = tuple("abcd"), tuple("abce")
    last = new.classifier[-1].weight.clone()
    assert start_from(new, old)[-2:] == ["fc6", "fc7"]
    assert torch.equal(new.classifier[-1].weight, last)
    assert torch.equal(new.classifier[0].weight, old.classifier[0].weight)


def test_another_configuration_starts_warm():
    a, d, once_more = (VGG(name, **TRAINED) for name in "ADD")
    once_more.load_state_dict(d.state_dict())
    assert start_from(d, a) == warm_start(once_more, a)
    assert all(torch.equal(value, once_more.state_dict()[name]) for name, value in d.state_dict().items())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(image_size=64), "fc6 has 64 inputs here, 16 in the trained network: take its image_size 32$"),
        (dict(image_size=(64, 32)), "fc6 has 32 inputs here, 16 in the trained network: take its image_size 32$"),
        (dict(width=1 / 16), "conv1_1 has 4 channels here, 2 in the trained network: take its width 0.03125$"),
        (dict(batch_norm=False), "conv1_1 has not the parameters here .*: take its batch_norm True$"),
        (dict(in_channels=3), "conv1_1 has 3 input channels here, 1 in the trained network: take its in_channels 1$"),
    ],
)
def test_a_start_that_does_not_fit_copies_nothing(changed, said):
    net = VGG("A", **{**TRAINED, **changed})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=said):
        start_from(net, VGG("A", **TRAINED))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_network_whose_first_layer_sees_no_map_is_not_converted():
    net = VGG("64 |", 3, 10, 8, hidden=8)
    with pytest.raises(ValueError, match="there is no map to give"):
        fully_convolutional(lighter_head(net, "average"))
    with pytest.raises(ValueError, match="the classifier begins with a Sequential, not with the one"):
        fully_convolutional(replace_fc6(net, low_rank(net.classifier[0], 2)))
    net.features[-1] = nn.Sequential(net.features[-1], nn.AdaptiveAvgPool2d(4))
    with pytest.raises(ValueError, match="there is no map to give"):
        fully_convolutional(net)


def test_a_network_whose_features_were_changed_is_not_converted():
    net = VGG("8 | 8", 1, 3, 8, hidden=8)
    net.features.append(nn.MaxPool2d(2))
    net.classifier[0] = nn.Linear(8 * 2 * 2, 8)
    with pytest.raises(ValueError, match=r"leaves 8 maps of 4 x 4, and .* has 32 inputs: the features were changed"):
        fully_convolutional(net)
    net = VGG("8 |", 1, 3, 8, hidden=8)
    net.classifier = nn.Sequential(nn.Dropout(), nn.Linear(128, 3))
    with pytest.raises(ValueError, match=r"the classifier begins with a Dropout, not with the one nn.Linear"):
        fully_convolutional(net)


def test_frozen_weights_stay_frozen_when_converted():
    net = VGG("8 |", 3, 10, 8, hidden=8).requires_grad_(False)
    assert not any(parameter.requires_grad for parameter in fully_convolutional(net).parameters())


def test_a_warm_start_takes_the_pictures_as_the_shallow_network_did():
    small = dict(in_channels=1, num_classes=4, image_size=32, width=1 / 32, hidden=5)
    a, d = VGG("A", **small), VGG("D", **small)
    a.mean.fill_(0.28)
    a.std.fill_(0.35)
    warm_start(d, a)
    assert (d.mean.item(), d.std.item()) == (a.mean.item(), a.std.item())
    a.mean.fill_(0.5)
    assert d.mean.item() == pytest.approx(0.28)  # a copy


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(image_size="224"), r"image_size must be a side in pixels or \(height, width\), got '224'"),
        (dict(image_size=224.0), "got 224.0"),
        (dict(image_size=(224, 224, 3)), r"got \(224, 224, 3\)"),
        (dict(image_size=None), "got None"),
        (dict(in_channels="3"), "in_channels must be a whole number, got '3'"),
        (dict(num_classes=10.0), "num_classes must be a whole number, got 10.0"),
        (dict(hidden=0), "hidden must be positive, got 0"),
        (dict(width="1/4"), "width must be a number, got '1/4'"),
        (dict(dropout=True), "dropout must be a probability, from 0 to 1, got True"),
        (dict(batch_norm=2), "batch_norm must be True or False, got 2"),
        (dict(width=-1), "width must be positive, got -1"),
        (dict(width=1e30), r"about 10\^67 weights, 10\^38 of them fully connected: take a smaller width"),
        (dict(image_size=10**9), r"would have about 10\^21 weights"),
        (dict(hidden=10**400), r"about 10\^800 weights, 10\^800 of them fully connected"),
        (dict(width=1e200), r"10\^\d+ weights"),
        (dict(width=1e307), r"10\^\d+ weights"),
    ],
)
def test_sizes_of_the_wrong_kind_are_refused_in_words(changed, said):
    with pytest.raises(ValueError, match=said):
        VGG("A", **changed)


def test_numpys_numbers_are_numbers():
    sizes = dict(in_channels=np.int64(1), num_classes=np.int32(4), image_size=np.int64(32), hidden=np.int64(5))
    net = VGG("A", width=np.float32(1 / 32), **sizes)
    assert net(torch.rand(2, 1, 32, 32)).shape == (2, 4)
    assert net.image_size == (32, 32)
    assert {type(value) for value in (*net.image_size, net.in_channels, net.classifier[-1].out_features)} == {int}


def test_only_our_networks_start_warm():
    net = VGG("A", width=1 / 64, hidden=4, image_size=32)
    for pair in ((net, nn.Linear(2, 2)), (nn.Linear(2, 2), net)):
        with pytest.raises(ValueError, match=r"expected two networks of .*VGG, got a Linear"):
            warm_start(*pair)
        with pytest.raises(ValueError, match=r"expected two networks of .*VGG, got a Linear"):
            start_from(*pair)


class Sharper(VGG):
    """Has the weights of a VGG and computes something else."""

    def forward(self, X):
        return 3 * super().forward(X)


class Adapted(nn.Linear):
    """A fully connected layer and something beside it."""

    def forward(self, X):
        return super().forward(X) + 1


def tiny(kind=VGG):
    return kind("4 | 8 |", 1, 3, 8, width=1.0, hidden=4)


def adapted(place):
    net = tiny()
    linear = net.classifier[place]
    net.classifier[place] = Adapted(linear.in_features, linear.out_features)
    return net


def hooked(part):
    net = tiny()
    part(net).register_forward_hook(lambda module, given, found: found / 2)
    return net


class Softened(nn.Sequential):
    """A temperature over all."""

    def forward(self, X):
        return super().forward(X) / 5


def containing(kind):
    net = tiny()
    net.classifier = kind(*net.classifier)
    return net


def patched(part):
    net = tiny()
    plain = part(net).forward
    part(net).forward = lambda X: plain(X) * 3
    return net


def ending(layer):
    net = tiny()
    net.classifier.append(layer)
    return net


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tiny(Sharper), "Sharper computes its scores by a forward of its own"),
        (lambda: adapted(0), "classifier.0 is a Adapted with a forward of its own"),
        (lambda: adapted(-1), "classifier.6 is a Adapted"),
        (lambda: hooked(lambda net: net.classifier[-1]), "classifier.6 has a hook"),
        (lambda: hooked(lambda net: net.classifier), "classifier has a hook"),
        (lambda: hooked(lambda net: net), "the network has a hook"),
        (lambda: containing(Softened), "its classifier, a Softened, computes its scores by a forward of its own"),
        (lambda: patched(lambda net: net), "VGG computes its scores by a forward of its own"),
        (lambda: patched(lambda net: net.classifier), "its classifier, a Sequential, computes its scores by"),
        (lambda: patched(lambda net: net.classifier[0]), r"classifier\.0 is a Linear with a forward of its own"),
        (lambda: ending(nn.LogSoftmax(dim=-1)), r"classifier\.7 is a LogSoftmax, which may do another thing"),
        (lambda: ending(nn.LayerNorm(3)), r"classifier\.7 is a LayerNorm"),
    ],
)
def test_what_computes_more_than_its_weights_say_is_not_converted(make, said):
    with pytest.raises(ValueError, match=said):
        fully_convolutional(make())


def test_spectral_norm_in_a_hook_is_refused_and_what_only_fills_in_weights_is_not():
    net = tiny()
    nn.utils.spectral_norm(net.classifier[0])
    with pytest.raises(ValueError, match=r"classifier\.0 has a hook"):
        fully_convolutional(net)
    X = torch.rand(2, 1, 8, 8)
    for prepare in (
        lambda linear: nn.utils.parametrizations.weight_norm(linear),
        lambda linear: nn.utils.prune.l1_unstructured(linear, "weight", 0.5),
        lambda linear: None,
    ):
        net = tiny().eval()
        prepare(net.classifier[0])
        torch.testing.assert_close(fully_convolutional(net)(X)[:, :, 0, 0], net(X))
    net = hooked(lambda net: net.features).eval()  # the features run as they are
    torch.testing.assert_close(fully_convolutional(net)(X)[:, :, 0, 0], net(X))


def test_a_pruning_gives_the_weights_that_are_left_now():
    net, X = tiny().eval(), torch.rand(2, 1, 8, 8)
    nn.utils.prune.l1_unstructured(net.classifier[0], "weight", 0.5)
    drawn = {name: torch.randn_like(value) for name, value in net.state_dict().items() if name.endswith("_orig")}
    net.load_state_dict(net.state_dict() | drawn)
    found = fully_convolutional(net)(X)[:, :, 0, 0]  # before any forward pass
    torch.testing.assert_close(found, net(X))


def test_what_is_done_to_a_conversion_does_not_reach_half_of_the_network():
    net, X = tiny().eval(), torch.rand(2, 1, 8, 8)
    full = fully_convolutional(net)
    for change in (full.half, full.double, lambda: full.to("meta")):
        with pytest.raises(ValueError, match="shares its layers with a VGG: cast or move that, then convert it"):
            change()
    full.to("cpu").float().to(memory_format=torch.channels_last)
    torch.testing.assert_close(full(X)[:, :, 0, 0], net(X))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.optim.swa_utils.AveragedModel, nn.Sequential, torch.compile])
def test_wrappers_are_taken_off(wrap, tmp_path):
    net = tiny()
    for wrapped in (wrap(net), nn.Sequential(wrap(net))):
        assert type(unwrapped(wrapped)) is VGG  # AveragedModel holds a copy
    assert save_network(wrap(net), tmp_path / "wrapped") == save_network(net, tmp_path / "plain")
    for more in (nn.Sequential(net, nn.Linear(3, 2)), nn.ModuleDict({"module": net, "other": net})):
        assert unwrapped(more) is more


def test_one_step_tells_the_two_readings_of_the_papers_variance_apart():
    """At the paper's learning rate A, as wide as there, is lost after one step from 0.1, and learns from 0.01."""
    pictures = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    pictures = 255 * (pictures - 0.5)
    for way, lost in (("normal-0.1", True), ("normal-0.01", False)):
        net, losses = initialise(VGG("A", num_classes=10, hidden=64), way, seed=0), []
        optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        for _ in range(2):
            losses.append(torch.nn.functional.cross_entropy(net(pictures), torch.tensor([0])))
            optimiser.zero_grad()
            losses[-1].backward()
            optimiser.step()
        first, second = (loss.item() for loss in losses)
        assert (first > 1e6 and not math.isfinite(second)) if lost else (first > second > 2), (way, first, second)
