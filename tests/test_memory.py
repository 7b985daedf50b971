"""Memory: predictions against what torch itself saves and holds, and by hand."""

import pytest
import reference
import torch
from torch import nn
from torch.nn import functional as F

from vgglib.memory import PURPOSES, kept_for_backward, memory, peak
from vgglib.model import VGG

NETS = {
    "two blocks": dict(configuration="5 | 7 8 |", image_size=(16, 24), hidden=9),
    "batch normalisation": dict(configuration="5 6 | 7 |", image_size=16, hidden=9, batch_norm=True),
    "no dropout": dict(configuration="5 | 7/5 |", image_size=16, hidden=9, dropout=0.0),
    "no pooling at the end": dict(configuration="5 | 7 8/1", image_size=16, hidden=9),
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


@pytest.mark.parametrize("count", [1, 32])
def test_the_sum_is_near_the_peak_of_a_step(count):
    """Gradients arrive while activations leave, so the two need not meet: within three per cent for D."""
    with torch.device("meta"):
        net, X = VGG("D"), torch.empty(count, 3, 224, 224)
        y = torch.zeros(count, dtype=torch.long)
    optimiser = torch.optim.SGD(net.parameters(), 0.1, 0.9)

    def step():
        optimiser.zero_grad()
        F.cross_entropy(net(X), y).backward()
        optimiser.step()

    step()  # from the second step on the momentum is there
    moments = [value for state in optimiser.state.values() for value in state.values()]
    optimiser.zero_grad()
    found = peak(step, [*net.parameters(), *moments, X, y])
    assert found == pytest.approx(memory(net, count).total, rel=0.03)


def test_optimisers_by_hand():
    net = VGG("5 |", in_channels=1, num_classes=3, image_size=4, hidden=6)
    parameters = 4 * ((9 + 1) * 5 + (5 * 4 + 1) * 6 + (6 + 1) * 6 + (6 + 1) * 3)
    held = {name: memory(net, 1, name) for name in PURPOSES}
    assert [found.parameters for found in held.values()] == [parameters] * 4
    assert [found.gradients for found in held.values()] == [0, parameters, parameters, parameters]
    assert [found.optimiser for found in held.values()] == [0, 0, parameters, 2 * parameters]
    assert held["Adam"].total == 4 * parameters + held["SGD"].activations


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
    ],
)
def test_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        memory(VGG("5 |", image_size=4, hidden=6), **arguments)


def test_a_network_that_keeps_more_is_refused():
    with pytest.raises(ValueError, match="local response normalisation keeps more"):
        memory(VGG("5 lrn |", image_size=4, hidden=6))


"""Memory that ends: parts of a batch with the gradients of the whole, or the largest batch that fits."""

import warnings
import weakref
from dataclasses import replace

import pytest
import torch
from test_training import TINY, patterns, weights

from vgglib.memory import BatchTooLargeError, MicroBatchWarning, largest_that_fits
from vgglib.resuming import Checkpoints
from vgglib.training import build, estimate, fit

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")
FLOAT = replace(TINY, epochs=2)


def with_room_for(net, pictures, in_backward=False):
    """Make a network run out of memory beyond so many pictures, in its forward or in its backward pass."""

    def look(batch):
        if len(batch) > pictures and net.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def hook(_module, inputs, output):
        if in_backward and output.requires_grad:
            output.register_hook(look)
        elif not in_backward:
            look(inputs[0])

    net.features[3].register_forward_hook(hook)
    return net


@pytest.fixture(scope="module")
def train():
    return patterns(90)


def test_largest_that_fits():
    tried = []

    def fits(size):
        tried.append(size)
        return size <= 5

    assert largest_that_fits(fits, 48) == 3
    assert tried == [24, 12, 6, 3]
    assert largest_that_fits(lambda size: False, 48) == 0
    assert largest_that_fits(fits, 1) == 0


@pytest.mark.parametrize("in_backward", [False, True])
def test_parts_have_the_same_result(train, in_backward):
    whole, parts = (build(FLOAT, train).double() for _ in range(2))
    expected = fit(whole, train, None, FLOAT, device="cpu")
    with pytest.warns(MicroBatchWarning, match=r"a batch of 20 does not fit .*added up from parts of 5") as warned:
        history = fit(with_room_for(parts, 7, in_backward), train, None, FLOAT, device="cpu")
    assert len([one for one in warned if one.category is MicroBatchWarning]) == 1
    for mine, theirs in zip(weights(parts), weights(whole), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    assert history.column("train_loss") == pytest.approx(expected.column("train_loss"), rel=1e-6)
    assert history.column("train_accuracy") == expected.column("train_accuracy")


def test_parts_by_the_recipe_need_no_warning(train):
    whole, parts = (build(FLOAT, train).double() for _ in range(2))
    fit(whole, train, None, FLOAT, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error", MicroBatchWarning)
        fit(with_room_for(parts, 7), train, None, replace(FLOAT, micro_batch=7), device="cpu")
    for mine, theirs in zip(weights(parts), weights(whole), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_batch_normalisation_allows_no_parts(train):
    normed = replace(FLOAT, batch_norm=True)
    net = build(normed, train)
    before = [value.clone() for value in net.state_dict().values()]
    with pytest.raises(BatchTooLargeError, match=r"a batch of 20 does not fit .*; 5 pictures fit. Take batch_size=5"):
        fit(with_room_for(net, 7), train, None, normed, device="cpu")
    counted = zip(before, net.state_dict().items(), strict=True)
    assert all(torch.equal(old, new) for old, (name, new) in counted if "features.1" not in name)
    assert all(parameter.grad is None for parameter in net.parameters())
    with pytest.raises(ValueError, match="each part would be normalised by itself"):
        replace(normed, micro_batch=5)
    with pytest.raises(ValueError, match="micro_batch must be positive"):
        replace(FLOAT, micro_batch=0)


def test_where_no_picture_fits_it_says_so(train):
    with pytest.raises(BatchTooLargeError, match="nor does a single picture: take a narrower network"):
        fit(with_room_for(build(FLOAT, train), 0), train, None, FLOAT, device="cpu")


def test_the_size_of_the_parts_is_remembered(train, tmp_path):
    with pytest.warns(MicroBatchWarning):
        fit(with_room_for(build(FLOAT, train), 7), train, None, FLOAT, device="cpu", checkpoint=tmp_path)
    assert Checkpoints(tmp_path).newest()[1]["position"]["micro_batch"] == 5


def test_nothing_holds_on_to_the_memory(train):
    """What a failed step computed is gone when the message comes, traceback and all."""
    alive = []

    net = build(replace(FLOAT, batch_norm=True), train)
    net.features[0].register_forward_hook(lambda _m, _i, out: alive.append(weakref.ref(out)))
    with pytest.raises(BatchTooLargeError) as stopped:
        fit(with_room_for(net, 7), train, None, replace(FLOAT, batch_norm=True), device="cpu")
    assert stopped.value.__context__ is None
    assert len(alive) >= 2
    assert not any(ref() is not None for ref in alive)


def test_an_estimate_survives_it_too(train):
    found = estimate(with_room_for(build(FLOAT, train), 11), train, FLOAT)
    assert found.images_per_second > 0
    assert found.pictures == 10
    assert estimate(build(FLOAT, train), train, replace(FLOAT, micro_batch=9)).pictures == 9
