"""Memory: predictions against what torch itself saves and holds, and by hand."""

import pytest
import reference
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from vgglib.compress import low_rank, replace_fc6
from vgglib.lighter import lighter_head
from vgglib.memory import PURPOSES, kept_for_backward, memory, peak
from vgglib.model import VGG
from vgglib.repvgg import with_branches
from vgglib.residual import with_shortcuts

NETS = {
    "two blocks": dict(configuration="5 | 7 8 |", image_size=(16, 24), hidden=9),
    "batch normalisation": dict(configuration="5 6 | 7 |", image_size=16, hidden=9, batch_norm=True),
    "no dropout": dict(configuration="5 | 7/5 |", image_size=16, hidden=9, dropout=0.0),
    "no pooling at the end": dict(configuration="5 | 7 8/1", image_size=16, hidden=9),
    "poolings first": dict(configuration="| | 5 | 7 |", in_channels=2, image_size=32, hidden=9),
    "all dropped": dict(configuration="5 |", image_size=16, hidden=9, dropout=1.0),
    "one channel": dict(configuration="5 |", in_channels=1, image_size=16, hidden=9),
}


def batch_for(net, count):
    return torch.rand(count, net.in_channels, *net.image_size), torch.zeros(count, dtype=torch.long)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", NETS)
def test_kept_is_what_torch_saves(name, count, device):
    net = VGG(num_classes=11, **NETS[name]).to(device)
    X, y = (tensor.to(device) for tensor in batch_for(net, count))
    assert memory(net, count).activations == kept_for_backward(net, X, y)


@pytest.mark.parametrize("name", NETS)
def test_a_relu_that_is_not_in_place_keeps_no_more(name):
    """Its way back needs its output alone, which the next layer keeps anyway: chapter 08 says so."""
    net = VGG(num_classes=11, **NETS[name])
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):
            assert layer.inplace
            layer.inplace = False
    assert kept_for_backward(net, *batch_for(net, 3)) == memory(net, 3).activations


@pytest.mark.parametrize("frozen", [1, 2, 3, 4, 5, 7, 9, 11])
def test_first_layers_that_are_frozen_keep_nothing(frozen):
    net = VGG(num_classes=11, **NETS["batch normalisation"])
    layers = [*net.features, *net.classifier]
    nn.Sequential(*layers[:frozen]).requires_grad_(False)
    assert memory(net, 3).activations == kept_for_backward(net, *batch_for(net, 3))
    trained = sum(4 * parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    whole = sum(4 * parameter.numel() for parameter in net.parameters())
    found = memory(net, 3, "Adam")
    assert (found.parameters, found.gradients, found.optimiser) == (whole, trained, 2 * trained)


@pytest.mark.parametrize("name", NETS)
def test_float64_keeps_what_torch_saves(name):
    net = VGG(num_classes=11, **NETS[name]).double()
    X, y = batch_for(net, 3)
    assert memory(net, 3).activations == kept_for_backward(net, X.double(), y)
    assert memory(net, 3).parameters == sum(8 * parameter.numel() for parameter in net.parameters())


def test_what_is_not_predicted_is_refused():
    net = VGG(num_classes=11, **NETS["two blocks"])
    with pytest.raises(ValueError, match="float32 or float64, got bfloat16"):
        memory(net.to(torch.bfloat16))
    net.classifier.float()
    with pytest.raises(ValueError, match="got bfloat16, float32"):
        memory(net)
    net = VGG(num_classes=11, **NETS["two blocks"])
    net.classifier.requires_grad_(False)
    with pytest.raises(ValueError, match=r"only the first layers are frozen: not so for this Linear"):
        memory(net)
    net.requires_grad_(False)
    assert memory(net, 1, "inference").activations > 0
    with pytest.raises(ValueError, match="nothing of this network is trained"):
        memory(net)
    net.requires_grad_(True).features[0].bias.requires_grad_(False)
    with pytest.raises(ValueError, match="not so for this Conv2d"):
        memory(net)


def test_d_at_full_size_by_hand():
    """61 MB of outputs, 12 MB of positions, and what the two dropouts keep."""
    with torch.device("meta"):
        net, X = VGG("D"), torch.empty(2, 3, 224, 224)
    pooled = 64 * 112**2 + 128 * 56**2 + 256 * 28**2 + 512 * 14**2 + 512 * 7**2
    by_hand = 4 * reference.ACTIVATIONS_OF_D + 8 * pooled + 2 * 2 * 4 * 4096 + 8
    assert memory(net, 2).activations == 2 * by_hand + 4
    assert kept_for_backward(net, X, torch.zeros(2, dtype=torch.long, device="meta")) == 2 * by_hand + 4


@pytest.mark.parametrize("name", NETS)
def test_inference_peaks_where_input_and_output_are_largest(name):
    net = VGG(num_classes=11, **NETS[name]).eval()
    X = batch_for(net, 3)[0]
    there = [*net.parameters(), *net.buffers(), X]
    with torch.no_grad():
        found = peak(lambda: net(X), there)
    held = sum(4 * parameter.numel() for parameter in net.parameters())
    buffers = sum(buffer.untyped_storage().nbytes() for buffer in net.buffers())
    assert found - held - buffers == memory(net, 3, "inference").activations


def test_d_in_use_by_hand():
    """conv1_2 is the worst place: 64 maps of 224 x 224 in, as many out, and the picture, which the caller holds."""
    with torch.device("meta"):
        net = VGG("D")
    assert memory(net, 5, "inference").activations == 5 * 4 * (3 + 64 + 64) * 224 * 224


@pytest.mark.parametrize("purpose", ["SGD", "SGD with momentum", "Adam"])
@pytest.mark.parametrize("count", [1, 8, 32])
def test_the_sum_is_near_the_peak_of_a_step(count, purpose):
    """Gradients arrive while activations leave, so the two need not meet: within three per cent for D."""
    with torch.device("meta"):
        net, X = VGG("D"), torch.empty(count, 3, 224, 224)
        y = torch.zeros(count, dtype=torch.long)
    optimiser = (
        torch.optim.Adam(net.parameters(), 0.1)  # one parameter at a time, as on a CPU
        if purpose == "Adam"
        else torch.optim.SGD(net.parameters(), 0.1, 0.9 if "momentum" in purpose else 0)
    )

    def step():
        optimiser.zero_grad()
        F.cross_entropy(net(X), y).backward()
        optimiser.step()

    step()  # from the second step on the momentum is there
    moments = [value for state in optimiser.state.values() for value in state.values() if value is not None]
    optimiser.zero_grad()
    found = peak(step, [*net.parameters(), *moments, X, y])
    assert found == pytest.approx(memory(net, count, purpose).total, rel=0.03)


def test_optimisers_by_hand():
    net = VGG("5 |", in_channels=1, num_classes=3, image_size=4, hidden=6)
    parameters = 4 * ((9 + 1) * 5 + (5 * 4 + 1) * 6 + (6 + 1) * 6 + (6 + 1) * 3)
    held = {name: memory(net, 1, name) for name in PURPOSES}
    assert [found.parameters for found in held.values()] == [parameters] * 4
    assert [found.gradients for found in held.values()] == [0, parameters, parameters, parameters]
    assert [found.optimiser for found in held.values()] == [0, 0, parameters, 2 * parameters]
    assert [found.update for found in held.values()] == [0, 0, 0, 2 * 4 * 5 * 4 * 6]  # twice the weights of fc6
    assert held["Adam"].total == 4 * parameters + max(held["SGD"].activations, held["Adam"].update)
    assert held["Adam"].activations < held["Adam"].update


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.Adam])
def test_optimisers_hold_what_is_said(optimiser):
    net = VGG("5 |", in_channels=1, num_classes=3, image_size=4, hidden=6)
    name = "Adam" if optimiser is torch.optim.Adam else "SGD with momentum"
    steps = optimiser(net.parameters(), 0.1) if name == "Adam" else optimiser(net.parameters(), 0.1, 0.9)
    F.cross_entropy(net(torch.rand(2, 1, 4, 4)), torch.tensor([0, 1])).backward()
    steps.step()
    held = [value for state in steps.state.values() for value in state.values() if value.dim() > 0]
    assert sum(4 * value.numel() for value in held) == memory(net, 2, name).optimiser


def test_memory_is_given_back():
    X = torch.zeros(1000)
    assert peak(lambda: [X + 1 for _ in range(3)], [X]) == 4 * 4000
    assert peak(lambda: [(X + 1).sum().item() for _ in range(3)], [X]) == 2 * 4000 + 4
    assert peak(lambda: X.add_(1).view(10, 100).t(), [X]) == 4000


def test_sharing_counts_once():
    shared = nn.Sequential(nn.Linear(4, 4), nn.Flatten(), nn.ReLU(inplace=True))
    X, y = torch.rand(3, 4), torch.zeros(3, dtype=torch.long)
    values = X.numel() + 3 * 4 + 3 * 4  # the input, the output, its log-probabilities
    assert kept_for_backward(shared, X, y) == 4 * values + 8 * 3 + 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(purpose="RMSprop"), "unknown purpose 'RMSprop': choose from inference"),
        (dict(batch=0), "at least one picture, got 0"),
        (dict(batch=2.5), "batch must be a whole number, got 2.5"),
        (dict(batch=True), "batch must be a whole number, got True"),
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        memory(VGG("5 |", image_size=4, hidden=6), **arguments)


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_a_network_of_another_kind_is_refused(name):
    with torch.device("meta"):
        net = getattr(torchvision.models, name)(weights=None)
    with pytest.raises(ValueError, match=r"predicted for a vgglib.model.VGG, got a (ResNet|VGG of torchvision)"):
        memory(net, 4)


def test_a_network_that_keeps_more_is_refused():
    with pytest.raises(ValueError, match="local response normalisation keeps more"):
        memory(VGG("5 lrn |", image_size=4, hidden=6))


@pytest.mark.parametrize(
    "change",
    [
        with_branches,
        lambda net: with_shortcuts(VGG("8 8 |", 8, 10, 8, hidden=8)),
        lambda net: replace_fc6(net, low_rank(net.classifier[0], 2)),
    ],
)
def test_what_is_no_plain_vgg_is_refused(change):
    with pytest.raises(ValueError, match="is not predicted here: only a VGG"):
        memory(change(VGG("8 8 |", 3, 10, 8, hidden=8)), 4, "SGD")


@pytest.mark.parametrize("configuration", ["8 8 |", "8 | 8"])
def test_a_mean_over_the_map_keeps_nothing(configuration):
    net = lighter_head(VGG(configuration, 3, 10, 8, hidden=8), "average")
    X, y = torch.rand(4, 3, 8, 8), torch.arange(4)
    assert memory(net, 4, "SGD").activations == kept_for_backward(net, X, y)
