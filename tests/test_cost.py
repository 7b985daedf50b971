"""Costs: the paper's and torchvision's figures, sums by hand, torch's own counter, and refusals by name."""

import pytest
import reference
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from vgglib.configurations import TABLE_1
from vgglib.cost import CostTable, LayerCost, UnknownCostError, cost
from vgglib.model import VGG, vgg
from vgglib.tracing import trace


def on_paper(*arguments, **options):
    """A network with shapes and no numbers."""
    with torch.device("meta"):
        return VGG(*arguments, **options)


def counted_by_torch(module, *shape):
    """MACs for one picture as torch counts them."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("name", TABLE_1)
def test_parameters_of_table_2(name):
    found = cost(on_paper(name), 224)
    assert found.parameters == reference.PARAMETERS[name]
    assert round(found.parameters / 1e6) == reference.MILLIONS[name]
    assert sum(row.parameters for row in found if row.name.startswith("features")) == reference.CONVOLUTIONAL[name]
    linear = [row.parameters for row in found if row.kind == "Linear"]
    assert linear == list(reference.FULLY_CONNECTED.values())


@pytest.mark.parametrize("name", reference.GIGA_MACS)
def test_macs(name):
    net = on_paper(name)
    found = cost(net, 224)
    assert round(found.macs / 1e9, 3) == reference.GIGA_MACS[name]
    assert found.macs == counted_by_torch(net, 3, 224, 224)


def test_parameters_of_d_block_by_block():
    net = on_paper("D")
    assert tuple(sum(p.numel() for p in block.parameters()) for block in net.blocks) == reference.BLOCKS_OF_D


@pytest.mark.parametrize("name", reference.TORCHVISION)
def test_torchvisions_own_count(name):
    configuration, batch_norm, count = reference.TORCHVISION[name]
    weights = torchvision.models.get_model_weights(name).DEFAULT
    found = cost(on_paper(configuration, batch_norm=batch_norm), 224)
    assert found.parameters == weights.meta["num_params"] == count
    assert round(found.macs / 1e9, 3) == weights.meta["_ops"]


def test_activations_of_d():
    found = cost(on_paper("D"), 224)
    assert found.activation_bytes == 4 * reference.ACTIVATIONS_OF_D
    assert cost(on_paper("D"), 224, bytes_per_value=2).activation_bytes == 2 * reference.ACTIVATIONS_OF_D


def test_the_network_that_d2l_trains():
    with torch.device("meta"):
        net = vgg([(convs, channels // 4) for convs, channels in reference.CONV_ARCH])
        whole = vgg(reference.CONV_ARCH)
    found = cost(net, 224)
    assert (found.parameters, found.macs) == (reference.D2L_SMALL_PARAMETERS, reference.D2L_SMALL_MACS)
    assert cost(whole, 224).parameters == reference.D2L_PARAMETERS
    linear = sum(row.parameters for row in found if row.kind == "Linear")
    assert round(100 * linear / found.parameters, 2) == 98.66


def test_the_shallow_network_of_section_4_1():
    found = cost(on_paper(reference.SHALLOW), 224)
    convolutions = sum(row.parameters for row in found if row.kind == "Conv2d")
    assert convolutions == reference.SHALLOW_CONVOLUTIONAL
    assert found.parameters == reference.SHALLOW_PARAMETERS
    assert round(found.macs / 1e9, 3) == reference.SHALLOW_GIGA_MACS


def test_by_hand_with_all_sizes_different():
    net = nn.Sequential(
        nn.Conv2d(5, 7, (3, 2), stride=(2, 1), padding=(1, 0)),
        nn.BatchNorm2d(7),
        nn.ReLU(),
        nn.MaxPool2d(2, 3),
        nn.Flatten(),
        nn.Linear(56, 17, bias=False),
    )
    assert cost(net, (5, 11, 13)) == [
        LayerCost("input", "input", (5, 11, 13), 0, 0, 4 * 5 * 11 * 13),
        LayerCost("0", "Conv2d", (7, 6, 12), 7 * 5 * 6 + 7, 504 * 5 * 6, 4 * 504),
        LayerCost("1", "BatchNorm2d", (7, 6, 12), 14, 0, 4 * 504),
        LayerCost("3", "MaxPool2d", (7, 2, 4), 0, 0, 4 * 56),
        LayerCost("5", "Linear", (17,), 56 * 17, 56 * 17, 4 * 17),
    ]
    assert cost(net, (11, 13)) == cost(net, (5, 11, 13))  # the channels are read off the convolution


def test_groups_divide_the_work():
    net = nn.Conv2d(6, 9, 5, groups=3)
    (_, row) = cost(net, (11, 13))
    assert (row.parameters, row.macs) == (9 * 2 * 25 + 9, 9 * 7 * 9 * 2 * 25)
    assert row.output_shape == (9, 7, 9)


def test_linear_layers_work_on_every_position():
    net = nn.Linear(13, 4)
    assert cost(net, (5, 11, 13)).macs == 5 * 11 * 13 * 4


def test_a_layer_used_twice_works_twice_and_is_stored_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(5, 5, 3, padding=1)

        def forward(self, X):
            return self.conv(self.conv(X))

    found = cost(Twice(), (11, 13))
    assert found.macs == 2 * 5 * 11 * 13 * 5 * 9
    assert found.parameters == 5 * 5 * 9 + 5
    assert [row.name for row in found] == ["input", "conv", "conv"]


def test_weights_shared_by_two_layers_are_stored_once():
    net = nn.Sequential(nn.Linear(13, 13), nn.Linear(13, 13))
    net[1].weight = net[0].weight
    found = cost(net, (5, 11, 13))
    assert found.parameters == 13 * 13 + 2 * 13
    assert found.macs == 2 * 5 * 11 * 13 * 13


@pytest.mark.parametrize("name", reference.OTHER_NETWORKS)
def test_other_networks_against_torch_and_torchvision(name):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        net = getattr(torchvision.models, name)(**options)
    parameters, giga_macs = reference.OTHER_NETWORKS[name]
    found = cost(net, 224)
    assert found.parameters == sum(p.numel() for p in net.parameters()) == parameters
    assert round(found.macs / 1e9, 3) == giga_macs
    odd = cost(net, (3, 97, 131))
    assert odd.macs == counted_by_torch(net, 3, 97, 131)


class Functional(nn.Module):
    """A convolution and something that a subclass computes without a layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(5, 7, 3)
        self.extra = nn.Parameter(torch.ones(11, 5, 3, 3))


class FunctionalConvolution(Functional):
    def forward(self, X):
        return F.conv2d(X, self.extra)[:, :7] + self.conv(X)


class FunctionalProduct(Functional):
    def forward(self, X):
        Y = self.conv(X)
        return Y @ Y.transpose(2, 3)


class Unused(Functional):
    def forward(self, X):
        return self.conv(X)


class Elementwise(Functional):
    def forward(self, X):
        return self.conv(X * self.extra.mean())


@pytest.mark.parametrize("kind", [FunctionalConvolution, FunctionalProduct])
def test_multiplying_outside_of_layers_is_refused(kind):
    with pytest.raises(UnknownCostError, match=rf"{kind.__name__} account for [\d,]+ of [\d,]+ MACs"):
        cost(kind(), (11, 13))


@pytest.mark.parametrize("kind", [Unused, Elementwise])
def test_parameters_outside_of_layers_have_a_row_without_macs(kind):
    *_, conv, extra = cost(kind(), (11, 13))
    assert (extra.name, extra.kind) == ("", f"{kind.__name__}, outside of layers")
    assert (extra.parameters, extra.macs, extra.activation_bytes) == (11 * 5 * 3 * 3, 0, 0)
    assert conv.macs == 7 * 9 * 11 * 5 * 9


@pytest.mark.parametrize(("name", "side"), [("googlenet", 224), ("inception_v3", 299), ("convnext_tiny", 224)])
def test_networks_with_parameters_that_testing_does_not_use_as_layers(name, side):
    options = {} if name == "convnext_tiny" else {"init_weights": False}
    with torch.device("meta"):
        net = getattr(torchvision.models, name)(**options)
    found = cost(net, side)
    assert found.parameters == sum(p.numel() for p in net.parameters())
    assert found.macs == counted_by_torch(net.eval(), 3, side, side)
    rest = [row for row in found if row.kind.endswith((", unused", ", outside of layers"))]
    first = {"googlenet": "aux1.conv.conv", "inception_v3": "AuxLogits.conv0.conv", "convnext_tiny": "features.1.0"}
    assert rest[0].name == first[name]
    assert sum(row.macs for row in rest) == 0


@pytest.mark.parametrize("options", [{}, dict(stride=2, padding=1, output_padding=1), dict(groups=2, dilation=2)])
def test_transposed_convolutions_against_torch(options):
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ConvTranspose2d(6, 8, (3, 5), **options))
    found = cost(net, (11, 13))
    assert found[2].output_shape == tuple(net(torch.zeros(1, 3, 11, 13)).shape[1:])
    assert found.macs == counted_by_torch(net, 3, 11, 13)


@pytest.mark.parametrize("look", [cost, trace])
@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel], ids=["compile", "DataParallel"])
def test_a_wrapper_is_looked_into(look, wrap):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    assert str(look(wrap(net), 9)) == str(look(net, 9))


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (
            lambda conv: torch.jit.script(nn.Sequential(conv)),
            "this network is TorchScript.*give the one it was made of",
        ),
        (lambda conv: nn.Sequential(conv, nn.LazyConv2d(2, 3)), r"1 \(LazyConv2d\) has no shape yet: send one batch"),
        (
            lambda conv: nn.Sequential(nn.utils.parametrizations.weight_norm(conv)),
            r"0 \(\w+Conv2d\) computes its weights anew.*remove_parametrizations",
        ),
    ],
    ids=["TorchScript", "lazy", "weight_norm"],
)
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_networks_that_cannot_be_counted_say_what_to_do(net, said):
    with pytest.raises(UnknownCostError, match=said):
        cost(net(nn.Conv2d(3, 4, 3)), 9)


class Particular(nn.Conv2d):
    """A layer that asserts the size it was made for, as vision transformers do."""

    def forward(self, X):
        assert X.shape[-1] == 9, "9 pixels or nothing"
        return super().forward(X)


def test_what_a_network_raises_is_told_as_an_unknown_cost():
    assert cost(nn.Sequential(Particular(3, 4, 3)), 9).parameters == 112
    with pytest.raises(UnknownCostError, match=r"given a picture \(3, 8, 8\).*: 9 pixels or nothing"):
        cost(nn.Sequential(Particular(3, 4, 3)), 8)


@pytest.mark.parametrize(
    "layer",
    [nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(5, 7, 3)), nn.Sequential(nn.Flatten(2), nn.Conv1d(5, 7, 3))],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_are_not_known_are_refused(layer):
    with pytest.raises(UnknownCostError, match=r"account for 0 of [\d,]+ MACs: .*\(Conv.*\) is no layer that cost\(\)"):
        cost(layer, (5, 11, 13))
    known = nn.Sequential(nn.Conv2d(2, 5, 3), layer)
    with pytest.raises(UnknownCostError, match=r": 1(\.1)? \(Conv.*\) is no layer that cost\(\) knows"):
        cost(known, (2, 13, 15))


@pytest.mark.parametrize("size", [0, (4, -1), (1, 3, 32, 32), (7,)])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValueError, match=r"input_size is a side, \(height, width\) or \(channels, height, width\)"):
        cost(on_paper("A", image_size=32), size)


@pytest.mark.parametrize("wrong", [-4, 0, 1.5, "4", None, True])
def test_values_have_a_whole_number_of_bytes(wrong):
    with pytest.raises(ValueError, match=r"bytes_per_value must be (a whole number|1 or more), got"):
        cost(on_paper("A", image_size=32), 32, wrong)


@pytest.mark.parametrize("look", [cost, trace])
def test_a_name_is_no_network(look):
    with pytest.raises(ValueError, match=r"expected a network, a torch\.nn\.Module, got 'D': write VGG\('D'\)"):
        look("D", 224)


def test_layers_that_return_several_tensors_are_refused():
    with pytest.raises(UnknownCostError, match=r"1\.recurrent \(LSTM\) returns a tuple"):
        cost(nn.Sequential(nn.Flatten(2), Recurrent()), (5, 11, 13))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.LSTM(143, 4, batch_first=True)

    def forward(self, X):
        return self.recurrent(X)[0]


def test_channels_are_asked_for_where_there_is_no_convolution():
    with pytest.raises(ValueError, match=r"\(channels, height, width\)"):
        cost(nn.Linear(13, 4), 13)


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match="built for 32 x 32 pictures, got 64 x 64"):
        cost(on_paper("A", image_size=32), 64)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training):
    net = VGG("4 | 6 |", image_size=12, hidden=9, num_classes=5, batch_norm=True).train(training)
    net.features[1].eval()
    net(torch.rand(2, 3, 12, 12)).sum().backward()
    heard = []
    handle = net.features[0].register_forward_hook(lambda *_: heard.append("conv"))
    state = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = {name: value.grad.clone() for name, value in net.named_parameters()}
    modes = [module.training for module in net.modules()]
    dice = torch.get_rng_state()
    cost(net, 12)
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())
    assert all(torch.equal(gradients[name], value.grad) for name, value in net.named_parameters())
    assert all(value.device.type == "cpu" for value in [*net.parameters(), *net.buffers()])
    assert modes == [module.training for module in net.modules()]
    assert torch.equal(dice, torch.get_rng_state())
    assert sum(len(module._forward_hooks) for module in net.modules()) == 1
    handle.remove()


def test_a_network_in_training_mode_is_counted_like_any_other():
    net = on_paper("4 | 6", image_size=2, hidden=9, num_classes=5, batch_norm=True)
    training = cost(net.train(), 2)  # batch normalisation of one unit cannot run in training mode
    assert training == cost(net.eval(), 2)


def test_the_network_is_left_as_it_was_after_a_refusal():
    net = FunctionalProduct().train()
    with pytest.raises(UnknownCostError):
        cost(net, (11, 13))
    with pytest.raises(UnknownCostError, match=r"given a picture \(4, 11, 13\)"):
        cost(net, (4, 11, 13))
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_the_table_prints_totals():
    found = cost(on_paper("D"), 224)
    assert isinstance(found, CostTable)
    assert str(found).splitlines()[-1].split() == ["total", "138,357,544", "15,470,264,320", "60,950,432"]
    assert repr(found) == str(found)
    assert "512 x 7 x 7" in str(found)
    assert "<td" in found._repr_html_()


def test_one_layer_in_two_places_is_counted_twice_and_kept():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    net = nn.Sequential(conv, nn.BatchNorm2d(3), nn.ReLU(), conv)
    X = torch.rand(1, 3, 8, 8)
    before, weight = net.eval()(X), conv.weight
    table = cost(net, 8)
    assert (table.parameters, table.macs) == (3 * 3 * 9 + 3 + 6, 2 * 3 * 3 * 9 * 64)
    assert conv.weight is weight
    assert torch.equal(net(X), before)


def test_every_value_counts_where_positions_are_put_into_the_batch():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.LayerNorm(4)

        def forward(self, X):
            return self.norm(self.conv(X).permute(0, 2, 3, 1).reshape(-1, 4))

    assert [row.activation_bytes for row in cost(Mixed(), 8)] == [4 * 3 * 64, 4 * 4 * 64, 4 * 4 * 64]


def test_a_network_under_pruning_is_left_as_it_was():
    net = VGG("4 | 8 |", 3, 10, 16, hidden=16).eval()
    torch.nn.utils.prune.l1_unstructured(net.classifier[0], "weight", 0.3)
    kept = net.classifier[0].weight
    assert cost(net, 16).parameters == sum(p.numel() for p in net.parameters())
    assert net.classifier[0].weight is kept
    assert not kept.is_meta


def test_what_the_code_writes_down_and_makes_up_does_not_matter():
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last, self.shift = nn.Conv2d(3, 4, 3, padding=1), None, torch.ones(1, 4, 1, 1)

        def forward(self, X):
            self.last = self.conv(X) + torch.zeros(1, 4, 1, 1)
            return self.last

    net = Writing()
    assert cost(net, 8).macs == 4 * 3 * 9 * 64
    assert net.last is None


def test_what_torch_does_not_count_is_refused():
    class Offsets(nn.Module):
        def __init__(self):
            super().__init__()
            self.offsets = nn.Conv2d(3, 18, 3, padding=1)
            self.conv = torchvision.ops.DeformConv2d(3, 8, 3, padding=1)

        def forward(self, X):
            return self.conv(X, self.offsets(X))

    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.pairs = nn.Bilinear(8, 8, 5)

        def forward(self, X):
            return self.pairs(X, X)

    class Vector(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("vector", torch.ones(8))

        def forward(self, X):
            return torch.mv(X.flatten(0, 2), self.vector)

    for net in (Offsets(), Pairs(), Vector()):
        with pytest.raises(UnknownCostError, match=r"multiplies by .*, whose MACs torch does not count"):
            cost(net, (3, 8, 8))


def test_what_hands_on_its_input_takes_no_memory():
    class Shortcut(nn.Module):
        """As CIFAR's ResNets write the way around."""

        def __init__(self):
            super().__init__()
            self.conv, self.shortcut = nn.Conv2d(3, 3, 3, padding=1), nn.Sequential()
            self.after = nn.Sequential(
                nn.ReLU6(inplace=True), nn.Dropout2d(), torchvision.ops.StochasticDepth(0.1, "row")
            )

        def forward(self, X):
            return self.after(self.shortcut(X) + self.conv(X))

    assert [row.name for row in cost(Shortcut(), 8)] == ["input", "conv"]
    kept = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU6())
    assert [row.name for row in cost(kept, 8)] == ["input", "0", "1"]
