"""Images and FLOPs a second, against the device's own matrix product."""

import pytest
import torch
from test_training import TINY, patterns, run
from torch.utils.flop_counter import FlopCounterMode

from vgglib.cost import cost
from vgglib.model import VGG
from vgglib.throughput import Throughput, peak, throughput, training_flops
from vgglib.training import History


def test_training_costs_three_times_forward_without_the_gradient_of_the_picture():
    net = VGG("8 | 16 |", in_channels=1, num_classes=4, image_size=12, hidden=16)
    first = 12 * 12 * 9 * 8
    others = 6 * 6 * 9 * 8 * 16 + 16 * 9 * 16 + 16 * 16 + 16 * 4
    assert cost(net, 12).macs == first + others
    assert training_flops(net, 12) == 2 * (2 * first + 3 * others)


def test_vgg_16_costs_what_the_field_says():
    """About 92.6 GFLOP for each training picture of 224 pixels."""
    with torch.device("meta"):  # shapes are enough
        net = VGG("D")
    assert training_flops(net, 224) == pytest.approx(92.6e9, rel=0.005)


@pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")
def test_of_a_run():
    net, history = run(patterns(), epochs=3)
    found = throughput(net, history)
    assert found.images_per_second == sorted(history.column("images_per_second"))[1]
    assert found.flops_per_second == found.images_per_second * training_flops(net, 12)
    assert found.peak == peak("cpu", bf16=False)  # measured once
    assert 0 < found.share < 1
    with pytest.raises(ValueError, match="no epoch was trained"):
        throughput(net, History(TINY, 0, 4, {}))


def test_in_words():
    said = str(Throughput(1812.4, 1.25e12, 5e12, True))
    assert said == (
        "1,812 images/s (the epochs' median, with data loading),"
        " 1.25 TFLOP/s: 25 % of the 5.00 TFLOP/s of a large matrix product here "
        "in bfloat16"
    )
    assert "0.50 GFLOP/s: 5 % of the 10.00 GFLOP/s of a large matrix product here in float32" in str(
        Throughput(3, 0.5e9, 1e10, False)
    )


def flops_by_torch(net, side):
    """What torch counts over a forward and a backward pass."""
    X = torch.zeros(1, net.in_channels, side, side)
    with FlopCounterMode(display=False) as found:
        net(X).sum().backward()
    return found.get_total_flops()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    "learning", ["", "classifier.6", "classifier", "features.4.bias", "features.5", "features.0.bias", "features.1"]
)
def test_frozen_layers_cost_less(learning, batch_norm):
    net = VGG("8 | 16 |", in_channels=1, num_classes=4, image_size=12, hidden=16, batch_norm=batch_norm).eval()
    for name, parameter in net.named_parameters():
        parameter.requires_grad = name.startswith(learning)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        assert training_flops(net, 12) == 2 * cost(net, 12).macs
    else:
        assert training_flops(net, 12) == flops_by_torch(net, 12)


@pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")
def test_the_median_of_two_epochs_is_between_them():
    net, history = run(patterns(), epochs=2)
    first, second = history.column("images_per_second")
    assert throughput(net, history).images_per_second == pytest.approx((first + second) / 2)
