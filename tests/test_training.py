"""Training: torch's own loop as the oracle, runs that repeat bit for bit, and faults named where they happen."""

import io
import json
import math
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace

import pytest
import reference
import torch
from torch import nn
from torch.nn import functional as F

from vgglib import estimates, evaluation, preparing, training
from vgglib.augment import colour_axes, view
from vgglib.checkpoint import load_network, save_network
from vgglib.configurations import TABLE_1, layers
from vgglib.data import ImageSet
from vgglib.evaluation import accuracy_on, expect_classes, prepared
from vgglib.model import VGG, vgg, vgg_block
from vgglib.training import (
    RECIPES,
    Estimate,
    NonFiniteLossError,
    NotLearningWarning,
    Rate,
    Recipe,
    ShortRunWarning,
    batches,
    build,
    estimate,
    fit,
    recipe,
    split,
)

# runs of a few steps end where they may
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::vgglib.training.{kind}") for kind in ("NotLearningWarning", "ShortRunWarning")
]

CLASSES = ("top left", "top right", "bottom left", "bottom right")
TINY = Recipe(
    "8 | 16 |", hidden=16, dropout=0.0, image_size=12, scale=12, normalise="mean and std", epochs=4, batch_size=20,
    learning_rate=0.02, weight_decay=5e-4, validation=40, bf16=False,
)  # fmt: skip


def contiguous(net):
    """The parameters as safetensors takes them, however training has laid them out in memory."""
    return {name: parameter.detach().contiguous() for name, parameter in net.named_parameters()}


def patterns(count=200, seed=0):
    """Grey noise with one bright quarter, which is the class."""
    dice = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 120, (count, 1, 12, 12), dtype=torch.uint8, generator=dice)
    labels = torch.arange(count) % 4
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[0, 6 * row : 6 * row + 6, 6 * column : 6 * column + 6] += 100
    return ImageSet(images, labels, CLASSES)


@pytest.fixture(scope="module")
def train():
    return patterns()


def weights(net):
    return [parameter.detach().clone() for parameter in net.parameters()]


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def run(train, seed=0, validation=None, **changes):
    changed = replace(TINY, **changes)
    net = build(changed, train, seed)
    return net, fit(net, train, validation, changed, seed, device="cpu")


def test_it_learns(train):
    part, held_out = split(TINY, train, train)
    assert (len(part), len(held_out)) == (160, 40)
    _, history = run(part, validation=held_out, epochs=8)
    assert history.epochs[-1].validation_accuracy > 0.9
    assert history.epochs[-1].train_accuracy > 0.9
    assert history.epochs[-1].train_loss < 0.5 * history.epochs[0].train_loss


def test_it_learns_with_everything_on(train):
    everything = dict(
        batch_norm=True, dropout=0.2, scale=(12, 15), normalise="mean", schedule="linear", bf16=True, epochs=6
    )  # fmt: skip
    _, history = run(train, **everything)
    assert history.epochs[-1].train_accuracy > 0.9
    assert history.conditions["bf16"] is True
    assert history.conditions["channels_last"] is True


def test_steps_are_those_of_torchs_own_loop(train):
    changes = dict(batch_size=len(train), epochs=3, momentum=0.8, weight_decay=0.03, learning_rate=0.04)
    net, history = run(train, **changes)
    other = build(replace(TINY, **changes), train)
    optimiser = torch.optim.SGD(other.parameters(), lr=0.04, momentum=0.8, weight_decay=0.03)
    X = train.images.double() / 255
    X = ((X - X.mean()) / X.std(correction=0)).float()
    for epoch in history.epochs:
        scores = other(X)
        loss = F.cross_entropy(scores, train.labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert epoch.train_loss == pytest.approx(loss.item(), rel=1e-4)
        assert epoch.train_accuracy == pytest.approx((scores.argmax(1) == train.labels).double().mean().item())
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_small_batches_are_those_of_torchs_own_loop(train):
    changes = dict(batch_size=64, epochs=1, momentum=0.7, weight_decay=0.02, scale=(12, 16), flip=True)
    net, history = run(train, seed=5, **changes)
    other = build(replace(TINY, **changes), train, seed=5)
    optimiser = torch.optim.SGD(other.parameters(), lr=0.02, momentum=0.7, weight_decay=0.02)
    total = 0.0
    for X, y in batches(other, train, replace(TINY, **changes), seed=5, epoch=1):
        loss = F.cross_entropy(other(X), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(y)
    assert history.epochs[0].train_loss == pytest.approx(total / len(train), rel=1e-5)
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


RANDOM = dict(dropout=0.5, flip=True, scale=(12, 16), epochs=2)


def test_the_same_seed_repeats_bit_for_bit(train):
    one, first = run(train, seed=3, **RANDOM)
    torch.rand(11)
    two, second = run(train, seed=3, **RANDOM)
    assert same(weights(one), weights(two))
    assert first.column("train_loss") == second.column("train_loss")


def test_the_seed_decides_start_order_views_and_dropout(train):
    one, _ = run(train, seed=3, **RANDOM)
    two, _ = run(train, seed=4, **RANDOM)
    assert not same(weights(one), weights(two))
    changed = replace(TINY, dropout=0.5, epochs=1, batch_size=len(train))
    start = build(changed, train, seed=3)
    again = build(changed, train, seed=3)
    fit(start, train, None, changed, seed=3, device="cpu")  # one step over everything: only dropout differs
    fit(again, train, None, changed, seed=4, device="cpu")
    assert (start.features[0].weight - again.features[0].weight).abs().max() > 1e-5


@pytest.mark.parametrize("seed", [-1, -(2**70), 2**63, 2**64 + 5, 10**40])
def test_any_whole_number_is_a_seed(train, seed):
    one, first = run(train, seed=seed, **RANDOM)
    two, second = run(train, seed=seed, **RANDOM)
    assert same(weights(one), weights(two))
    assert first.column("train_loss") == second.column("train_loss")
    assert not same(weights(one), weights(run(train, seed=seed + 1, **RANDOM)[0]))


def test_a_quiet_run_shows_nothing_and_learns_the_same(train, monkeypatch):
    learned = {}
    for quiet in (False, True):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", terminal)
        net = build(TINY, train)
        fit(net, train[:160], train[160:], TINY, device="cpu", quiet=quiet)
        learned[quiet] = weights(net)
        assert ("epoch 4/4: train loss" in terminal.getvalue()) is not quiet
    assert terminal.getvalue() == ""
    assert same(*learned.values())


def test_the_global_dice_are_left_alone(train):
    dice = torch.get_rng_state()
    net, _ = run(train, **RANDOM)
    assert torch.equal(dice, torch.get_rng_state())
    estimate(net, train, replace(TINY, **RANDOM))
    assert torch.equal(dice, torch.get_rng_state())


def test_an_epoch_holds_every_picture_once_in_another_order():
    numbered = ImageSet(torch.arange(50, dtype=torch.uint8).view(50, 1, 1, 1).expand(-1, 1, 12, 12), torch.arange(50),
                        tuple(map(str, range(50))))  # fmt: skip
    small = replace(TINY, batch_size=7, normalise="nothing")
    orders = []
    for seed, epoch in [(0, 1), (0, 2), (1, 1), (0, 1)]:
        found = list(batches(nn.Identity(), numbered, small, seed, epoch))
        assert [len(y) for _, y in found] == [7] * 7 + [1]
        for X, y in found:
            assert torch.equal(X, (y / 255).view(-1, 1, 1, 1).expand(-1, 1, 12, 12))  # the label is its picture's
        orders.append(torch.cat([y for _, y in found]).tolist())
        assert sorted(orders[-1]) == list(range(50))
    assert orders[0] == orders[3]
    assert len({tuple(order) for order in orders}) == 3


def test_a_picture_has_its_view_whatever_the_batch_size(train):
    wide = replace(TINY, scale=(12, 20), flip=True)
    views = []
    for size in (7, 33):
        found = list(batches(nn.Identity(), train, replace(wide, batch_size=size), seed=2, epoch=4))
        views.append(torch.cat([X for X, _ in found]))
    torch.testing.assert_close(views[0], views[1])


@pytest.mark.parametrize(("wanted", "fast", "so"), [(None, True, True), (None, False, False), (False, True, False)])
def test_batches_lie_as_convolutions_are_fastest(train, wanted, fast, so, monkeypatch):
    plain = replace(TINY, channels_last=False)
    net = build(plain, train).double()
    (right, _), *_ = batches(net, train, plain, seed=0, epoch=1)
    monkeypatch.setattr(preparing, "fast_channels_last", lambda device, bf16: fast)
    (X, _), *_ = batches(net, train, replace(TINY, channels_last=wanted), seed=0, epoch=1)
    assert torch.equal(X, right)
    maps = net.features[0](X)
    assert maps.is_contiguous(memory_format=torch.channels_last) == so
    torch.testing.assert_close(maps, net.features[0](right), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bf16", [False, True])
def test_training_lays_its_batches_out_by_its_own_number_format(train, bf16, monkeypatch):
    """As on a GPU, where all channels of a pixel lie side by side for bfloat16 alone."""
    monkeypatch.setattr(preparing, "fast_channels_last", lambda device, bf16: bf16)
    monkeypatch.setattr("vgglib.conditions.fast_in_bf16", lambda device: bf16)
    seen = []
    net = build(TINY, train)
    net.features[0].register_forward_pre_hook(
        lambda conv, given: seen.append(given[0].stride(1) == 1) if conv.training else None
    )
    fit(net, train, None, replace(TINY, bf16=None, epochs=1, channels_last=True), device="cpu")
    assert set(seen) == {bf16}


def test_a_last_batch_of_one_is_left_out_under_batch_normalisation(train):
    part = train[:41]
    normed = replace(TINY, batch_norm=True, epochs=1)
    assert [len(y) for _, y in batches(nn.Identity(), part, normed, 0, 1)] == [20, 20]
    assert [len(y) for _, y in batches(nn.Identity(), part, TINY, 0, 1)] == [20, 20, 1]
    _, history = run(part, batch_norm=True, epochs=1)
    assert 0 <= history.epochs[0].train_accuracy <= 1


def test_estimate_leaves_everything_as_it_was(train):
    net = build(replace(TINY, batch_norm=True, dropout=0.5), train).train()
    net.features[1].eval()
    net(torch.rand(3, 1, 12, 12)).sum().backward()
    state = {name: value.clone() for name, value in [*net.state_dict().items(), *net.named_buffers()]}
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    modes = [module.training for module in net.modules()]
    strides = [parameter.stride() for parameter in net.parameters()]
    found = estimate(net, train, replace(TINY, batch_norm=True, dropout=0.5, epochs=6, channels_last=True))
    assert (found.set_size, found.epochs) == (len(train), 6)
    assert strides == [parameter.stride() for parameter in net.parameters()]
    assert all(torch.equal(state[name], value) for name, value in [*net.state_dict().items(), *net.named_buffers()])
    assert same(gradients, [parameter.grad for parameter in net.parameters()])
    assert modes == [module.training for module in net.modules()]
    assert 0 < found.images_per_second < math.inf
    assert found.seconds == pytest.approx(6 * len(train) / found.images_per_second)


def test_an_estimate_in_words():
    assert str(Estimate(50.0, 65.0, 3, 8, 8000, 3)) == "about 1 min 05 s for 8,000 pictures, 3 times each"
    assert str(Estimate(50.0, 1.23, 3, 8, 64, 1)) == "about 1.2 s for 64 pictures, once each"


def test_estimate_leaves_no_gradients_where_there_were_none(train):
    net = build(TINY, train).eval()
    estimate(net, train[:3], TINY)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize(
    ("second", "steps", "batches"),
    [(4.0, 3, [2, 8, 8, 8]), (4.0, 1, [2, 8]), (0.4, 2, [2, 8, 20, 20, 20]), (0.1, 1, [2, 8, 40, 40])],
)
def test_an_estimate_times_no_more_steps_than_it_needs(train, monkeypatch, second, steps, batches):
    """Eight pictures take ``second``: from over a second on, those are the batch, and their first timed step counts."""
    seen = []

    def timed(_net, few, *_):
        seen.append(len(few))
        return 0.25 * second * len(few) / 8, 0.75 * second * len(few) / 8

    monkeypatch.setattr("vgglib.estimates._timed_step", timed)
    found = estimate(build(TINY, train), train, replace(TINY, batch_size=40), steps)
    assert seen == batches
    assert (found.pictures, found.steps) == (batches[-1], steps)
    assert found.images_per_second == pytest.approx(8 / second)


def test_names_of_classes_are_those_of_the_scores(train, tmp_path):
    """A network of more scores than classes is trained, saved and loaded, without their names."""
    net = VGG(TINY.configuration, 1, 12, image_size=TINY.image_size, width=TINY.width, hidden=TINY.hidden)
    fit(net, train, None, replace(TINY, epochs=1, normalise="nothing"), device="cpu")
    assert net.classes is None
    save_network(net, tmp_path / "net.safetensors")
    assert load_network(tmp_path / "net.safetensors").classes is None
    few = ImageSet(train.images, train.labels, range(10))
    net = build(TINY, few)
    fit(net, few, None, replace(TINY, epochs=1), device="cpu")
    assert net.classes == tuple("0123456789")
    expect_classes(net, few.classes)


@pytest.mark.parametrize("scale", [14, (13, 17)])
def test_validation_is_watched_at_section_4_1s_scale(train, scale):
    part, held_out = train.split(40)
    net, history = run(part, validation=held_out, epochs=1, scale=scale)
    expected = accuracy_on(net, held_out, 14 if scale == 14 else 15)
    assert history.epochs[0].validation_accuracy == expected


@pytest.mark.parametrize("size", [None, 12, (12, 12), (28, 28)])
def test_any_other_network_is_watched_as_it_can_be(train, size):
    """One that does not say how large its pictures are, one that says it by an int, one of larger pictures."""
    part, held_out = train.split(40)
    side = 12 if size is None or size in (12, (12, 12)) else 28
    net = nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(36, 10))
    if size is not None:
        net.image_size = size
    history = fit(net, part, held_out, replace(TINY, epochs=1, normalise="nothing"), device="cpu")
    X = view(held_out.images, side) if size is not None else held_out.images / 255
    expected = (net(X).argmax(dim=1) == held_out.labels).double().mean().item()
    assert history.epochs[0].validation_accuracy == expected


def test_a_network_without_a_size_is_watched_by_the_crop_it_learns_from(train):
    """The article's chain, whose first Linear takes one size only, and one that takes any, which nothing would stop."""
    part, held_out = train.split(40)
    chosen = replace(TINY, epochs=1, image_size=24, scale=30, normalise="nothing")
    blocks = [vgg_block(1, 1, 4), vgg_block(1, 4, 4)]
    chain = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(4 * 6 * 6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4))
    any_size = nn.Sequential(vgg_block(1, 1, 4), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 4))
    for net in (chain, any_size):
        seen = []
        net.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        history = fit(net, part, held_out, chosen, device="cpu")
        X = view(held_out.images, 24, 30)
        assert torch.equal(seen[-1], X)
        expected = (net(X).argmax(dim=1) == held_out.labels).double().mean().item()
        assert history.epochs[0].validation_accuracy == expected


@pytest.mark.parametrize("wrap", [nn.Sequential, nn.DataParallel])
def test_a_wrapped_network_is_watched_at_the_same_scale(train, wrap, monkeypatch):
    part, held_out = train.split(40)
    chosen, asked, there = replace(TINY, epochs=1, scale=20), [], evaluation.single_crop

    def single_crop(net, images, scale, *more, **named):
        asked.append(scale)
        return there(net, images, scale, *more, **named)

    monkeypatch.setattr("vgglib.evaluation.single_crop", single_crop)
    plain = build(chosen, part)
    found = [fit(net, part, held_out, chosen, device="cpu") for net in (plain, wrap(build(chosen, part)))]
    assert asked == [20, 20]
    assert found[0].column("validation_accuracy") == found[1].column("validation_accuracy")


def test_validation_is_watched_with_the_networks_own_preprocessing(train):
    part, held_out = train.split(40)
    net, history = run(part, validation=held_out, epochs=1)
    net.eval()
    X = (held_out.images.float() / 255 - net.mean) / net.std
    expected = (net(X).argmax(dim=1) == held_out.labels).double().mean().item()
    assert history.epochs[0].validation_accuracy == expected


def test_the_history_says_it_all_in_json(train):
    net, history = run(train, validation=train, scale=(12, 14), epochs=2)
    found = json.loads(json.dumps(history.as_dict(), allow_nan=False))
    assert found["recipe"]["configuration"] == "8 | 16 |"
    assert (found["seed"], found["classes"], len(found["epochs"])) == (0, 4, 2)
    assert found["epochs"][1]["train_loss"] == history.column("train_loss")[1]
    switches = {"bf16", "channels_last", "compile", "fused", "keep_memory"}
    assert {"device", "torch", "python", *switches} <= found["conditions"].keys()
    assert found["conditions"]["torch"] == torch.__version__
    for epoch in history.epochs:
        assert 0 < epoch.images_per_second < math.inf
        assert epoch.seconds > 0
        assert epoch.learning_rate == 0.02
    assert history.column("number") == [1, 2]
    assert history.seconds == pytest.approx(sum(history.column("seconds")))
    assert f"epoch 2/2: train loss {history.epochs[1].train_loss:.4f}" in str(history)
    assert "validation accuracy" in str(history)
    assert not net.training  # ready for use: no unit is silenced, no statistics move


def test_without_validation_nothing_is_watched(train):
    _, history = run(train, epochs=1)
    assert history.column("validation_accuracy") == [None]
    assert "validation" not in str(history)


def test_watch_is_called_after_every_epoch(train):
    calls = []
    fit(build(TINY, train), train, None, TINY, device="cpu", watch=lambda history: calls.append(len(history.epochs)))
    assert calls == [1, 2, 3, 4]


def test_what_is_watched_has_its_right_name(train):
    part, watched = split(replace(TINY, watch_test=True), train[:150], train[150:])
    assert (len(part), len(watched)) == (150, 50)
    _, history = run(train, validation=train, watch_test=True, epochs=1)
    assert history.watched == "test"
    assert ", test accuracy" in str(history)
    assert split(replace(TINY, validation=0), train, train) == (train, None)


def rates(changed, accuracies, steps=10):
    """The learning rates of the epochs that a schedule asks for, given the accuracy after each."""
    rate, found = Rate(changed, steps), []
    for number in range(1, changed.epochs + 1):
        found.append([rate(number, step) for step in range(steps)])
        if not rate.goes_on(accuracies[number - 1] if accuracies else None):
            break
    return found


def test_plateau_drops_three_times_and_ends():
    changed = replace(TINY, schedule="plateau", patience=2, epochs=50, learning_rate=0.01)
    found = [epoch[0] for epoch in rates(changed, [0.5] * 50)]
    assert found == pytest.approx([0.01] * 3 + [0.001] * 2 + [0.0001] * 2 + [0.00001] * 2)
    rising = [epoch[0] for epoch in rates(changed, [n / 50 for n in range(50)])]
    assert rising == [0.01] * 50
    improving = [0.5, 0.4, 0.6, 0.6, 0.7, 0.7, 0.7, 0.8, 0.1, 0.8, 0.9, 0.9]
    found = [epoch[0] for epoch in rates(replace(changed, epochs=12), improving)]
    assert found == pytest.approx([0.01] * 7 + [0.001] * 3 + [0.0001] * 2)


def test_plateau_stays_at_the_third_drop_whoever_goes_on():
    rate = Rate(replace(TINY, schedule="plateau", patience=1, learning_rate=0.01), 10)
    answers = [rate.goes_on(accuracy) for accuracy in (0.5, 0.4, 0.4, 0.4, 0.4, 0.4)]
    assert answers == [True, True, True, True, False, False]
    assert rate(7, 0) == pytest.approx(0.00001)


def test_plateau_ends_the_run(train, monkeypatch):
    monkeypatch.setattr("vgglib.watching.accuracy_by_crops", lambda *_, **__: 0.25)
    _, history = run(train, validation=train[:8], schedule="plateau", patience=1, epochs=30)
    assert history.column("learning_rate") == pytest.approx([0.02, 0.02, 0.002, 0.0002, 0.00002])


@pytest.mark.parametrize(("epochs", "steps"), [(10, 13), (1, 5), (3, 1), (1, 1), (40, 100)])
def test_linear_rises_and_falls_to_nothing(epochs, steps):
    changed = replace(TINY, schedule="linear", epochs=epochs, learning_rate=0.3)
    found = [rate for epoch in rates(changed, None, steps) for rate in epoch]
    top = found.index(max(found))
    assert max(found) == pytest.approx(0.3)
    assert top == max(1, epochs * steps // 10) - 1
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert 0 < found[-1] <= 0.3 / max(1, 0.9 * epochs * steps) * 1.001
    if top > 1:
        assert found[1] - found[0] == pytest.approx(found[0])
    if len(found) > top + 2:
        assert found[-2] - found[-1] == pytest.approx(found[-1])


@pytest.mark.parametrize(("share", "top"), [(0.0, 1), (0.04, 1), (0.3, 12), (0.5, 20), (0.99, 39), (1.0, 40)])
def test_the_share_of_warm_up(share, top):
    changed = replace(TINY, schedule="linear", warm_up=share, epochs=4, learning_rate=0.3)
    found = [rate for epoch in rates(changed, None, 10) for rate in epoch]
    assert found[:top] == pytest.approx([0.3 * step / top for step in range(1, top + 1)])
    assert found[top - 1 :] == pytest.approx([0.3 * step / (41 - top) for step in range(41 - top, 0, -1)])
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="warm_up must be from 0 to 1"):
            replace(changed, warm_up=wrong)


def test_the_schedule_reaches_the_optimiser(train, monkeypatch):
    seen = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(
        torch.optim.SGD, "step", lambda self: (seen.append(self.param_groups[0]["lr"]), step(self))
    )  # fmt: skip
    _, history = run(train, schedule="linear", epochs=2, batch_size=50)
    expected = [rate for epoch in rates(replace(TINY, schedule="linear", epochs=2), None, 4) for rate in epoch]
    assert seen == pytest.approx(expected)
    assert history.column("learning_rate") == pytest.approx([expected[3], expected[7]])


def test_nan_in_a_layer_stops_at_the_first_step_and_names_it(train):
    net = build(TINY, train)
    with torch.no_grad():
        net.features[3].weight[2, 1, 0, 2] = torch.nan
    before = weights(net)
    with pytest.raises(NonFiniteLossError) as stopped:
        fit(net, train, None, TINY, device="cpu")
    assert "step 1 of epoch 1, at learning rate 0.02" in str(stopped.value)
    assert "first to go non-finite is features.3 (Conv2d)" in str(stopped.value)
    assert same([w.nan_to_num() for w in before], [w.nan_to_num() for w in weights(net)])
    assert not any(module._forward_hooks for module in net.modules())


def test_a_learning_rate_that_blows_up_is_stopped_at_the_second_step(train):
    with pytest.raises(NonFiniteLossError, match=r"step 2 of epoch 1, at learning rate 1e\+30.*(features|classifier)"):
        run(train, learning_rate=1e30)


def test_pictures_that_are_not_finite_are_named(train):
    net = build(TINY, train)
    net.std.fill_(0.0)
    with pytest.raises(NonFiniteLossError, match="the pictures themselves"):
        fit(net, train, None, TINY, device="cpu")


def test_a_dead_start_is_warned_of(train):
    for batch, epoch in ((10, 1), (25, 3)):  # at least 20 steps
        changed = replace(TINY, learning_rate=1e-6, epochs=epoch + 1, batch_size=batch)
        net = build(changed, train)
        for parameter in net.parameters():
            parameter.data *= 1e-6
        with pytest.warns(NotLearningWarning, match=rf"after epoch {epoch} the loss .* ln\(4\) = 1\.386") as warned:
            fit(net, train, None, changed, device="cpu")
        assert len([one for one in warned if one.category is NotLearningWarning]) == 1
        assert warned[0].filename == __file__


def test_a_run_that_dies_later_is_warned_of_once(train):
    changed = replace(TINY, epochs=5, batch_size=10)
    net = build(changed, train)

    def kill(history):
        if len(history.epochs) == 2:
            for parameter in net.parameters():
                parameter.data.zero_()

    with pytest.warns(NotLearningWarning, match=r"no longer learning: after epoch 3 the loss .* = 1\.386") as warned:
        history = fit(net, train, None, changed, device="cpu", watch=kill)
    assert max(history.column("train_loss")[:2]) < 0.99 * math.log(4) < min(history.column("train_loss")[2:])
    assert len([one for one in warned if one.category is NotLearningWarning]) == 1


def test_a_few_steps_are_not_judged(train):
    changed = replace(TINY, learning_rate=1e-6, epochs=2, batch_size=25)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotLearningWarning)
        fit(build(changed, train), train, None, changed, device="cpu")


def test_a_start_that_learns_is_not_warned_of(train):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotLearningWarning)
        run(train)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"epochs": -2}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": math.nan},
     {"patience": 0}],
)  # fmt: skip
def test_numbers_that_train_nothing_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        recipe("laptop", **wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": "ten"}, {"epochs": 2.5}, {"batch_size": "many"}, {"learning_rate": "fast"}, {"width": None},
     {"scale": 32.5}, {"scale": (32, 40, 48)}, {"scale": "big"}, {"flip": "yes"}, {"bf16": "maybe"},
     {"configuration": 64}, {"hidden": True}],
    ids=str,
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        recipe("laptop", **wrong)


@pytest.mark.parametrize("field", ["schedule", "normalise", "initialisation"])
def test_unknown_choices_are_refused_with_those_there_are(field):
    with pytest.raises(ValueError, match=rf"{field} is 'cosine', allowed are \w+"):
        recipe("laptop", **{field: "cosine"})


def test_other_refusals_of_recipes():
    with pytest.raises(ValueError, match="batch_size 1 with batch normalisation"):
        recipe("gpu", batch_size=1)
    assert recipe("laptop", batch_size=1, batch_norm=False).batch_size == 1
    with pytest.raises(ValueError, match=r"plateau.*validation"):
        recipe("paper", validation=0)
    assert recipe("paper", validation=0, watch_test=True).schedule == "plateau"
    with pytest.raises(ValueError, match="unknown recipe 'alexnet': choose from seed, d2l, paper, laptop, gpu"):
        recipe("alexnet")
    with pytest.raises(ValueError, match="no lr, speed; it has configuration, width"):
        recipe("laptop", speed=3, lr=1)


def test_a_crop_beyond_the_scale_is_refused(train):
    with pytest.raises(ValueError, match="crop <= S_min"):
        run(train, scale=11)


def test_labels_without_a_score_are_refused(train):
    net = VGG("5 | 7 |", in_channels=1, num_classes=3, image_size=12, hidden=9).eval()
    before = weights(net)
    with pytest.raises(ValueError, match="labels run from 0 to 3, but the network has scores for 0 to 2 only"):
        fit(net, train, None, TINY, device="cpu")
    assert same(before, weights(net))
    assert not net.training


def test_too_few_pictures_are_refused(train):
    with pytest.raises(ValueError, match="1 training pictures are too few"):
        run(train[:1], batch_norm=True)
    with pytest.raises(ValueError, match="must not be empty"):
        ImageSet(train.images[:0], train.labels[:0], CLASSES)
    run(train[:1], epochs=1, learning_rate=1e-3)


def test_pictures_of_another_kind_are_refused(train):
    net = VGG("5 | 7 |", in_channels=3, num_classes=4, image_size=12, hidden=9)
    with pytest.raises(ValueError, match="built for 3 channels, the pictures have 1"):
        fit(net, train, None, TINY, device="cpu")


def test_build_draws_the_network_from_the_seed(train):
    one, two, other = build(TINY, train, 3), build(TINY, train, 3), build(TINY, train, 4)
    assert same(weights(one), weights(two))
    assert not torch.equal(one.features[0].weight, other.features[0].weight)
    article = recipe("d2l", configuration="5 | 7 |", image_size=12, scale=12, hidden=9, epochs=1)
    biases = [[p.clone() for name, p in build(article, train, s).named_parameters() if "bias" in name] for s in (3, 4)]
    assert all(bias.any() for bias in biases[0])  # as PyTorch draws them, and from the seed as well
    assert not same(*biases)
    assert same(biases[0], [p for name, p in build(article, train, 3).named_parameters() if "bias" in name])


@pytest.mark.parametrize("normalise", ["nothing", "mean", "mean and std"])
def test_build_sets_what_is_subtracted_and_divided_by(train, normalise):
    net = build(replace(TINY, normalise=normalise), train)
    pixels = train.images.double() / 255
    assert net.mean.item() == pytest.approx(0 if normalise == "nothing" else pixels.mean().item(), rel=1e-5)
    std = pixels.std(correction=0).item()
    assert net.std.item() == pytest.approx(std if normalise == "mean and std" else 1, rel=1e-5)
    assert net.classifier[-1].out_features == 4


def test_the_classic_run_is_the_articles():
    seed = RECIPES["seed"]
    blocks = vgg([(convs, channels // 64) for convs, channels in reference.CONV_ARCH]).configuration
    assert [layer.kind for layer in layers(seed.configuration)] == [layer.kind for layer in layers(blocks)]
    assert layers(seed.configuration) == layers(TABLE_1["A"])
    assert (seed.width, seed.hidden, seed.dropout, seed.batch_norm) == (1.0, 4096, 0.5, False)
    assert (seed.image_size, seed.scale, seed.flip, seed.normalise) == (224, 224, False, "nothing")
    assert (seed.batch_size, seed.learning_rate, seed.schedule, seed.epochs) == (256, 0.01, "constant", 10)
    assert (seed.momentum, seed.weight_decay) == (0.0, 0.0)
    assert (seed.initialisation, seed.zero_biases) == ("glorot", False)
    assert (seed.watch_test, seed.validation) == (True, 0)


def test_the_d2l_recipe_is_the_books():
    assert RECIPES["d2l"] == replace(RECIPES["seed"], width=1 / 4, learning_rate=0.05, batch_size=128)


def test_the_papers_recipe_is_section_3_1():
    paper = RECIPES["paper"]
    assert (paper.batch_size, paper.momentum, paper.weight_decay, paper.dropout) == (256, 0.9, 5e-4, 0.5)
    assert (paper.learning_rate, paper.schedule, paper.epochs) == (0.01, "plateau", 74)
    assert (paper.image_size, paper.scale, paper.flip, paper.normalise) == (224, 256, True, "mean")
    assert paper.rgb_shift == 0.1  # Krizhevsky 2012, whom the paper follows
    assert (paper.initialisation, paper.zero_biases, paper.batch_norm) == ("normal-0.01", True, False)
    assert (paper.width, paper.hidden, Rate.DROPS) == (1.0, 4096, 3)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_a_network(name):
    chosen = RECIPES[name]
    with torch.device("meta"):
        net = VGG(chosen.configuration, 1, 10, chosen.image_size, chosen.width, chosen.hidden, chosen.batch_norm)
        side = chosen.image_size
        assert net.eval()(torch.empty(2, 1, side, side)).shape == (2, 10)


def test_colours_shift_where_the_recipe_says_so():
    dice = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8, generator=dice)
    part = ImageSet(images, torch.arange(40) % 4, tuple("abcd"))
    plain = recipe("laptop", configuration="4 |", width=1.0, hidden=5, image_size=12, scale=12, batch_size=40)
    net = build(plain, part)
    (X, y), (shifted, _) = (
        next(batches(net, part, replace(plain, rgb_shift=shift), seed=1, epoch=1)) for shift in (0.0, 0.1)
    )
    moved = (shifted - X).mean(dim=(2, 3)) * net.std.flatten()
    assert (shifted - X).std(dim=(2, 3)).max() < 1e-5
    spread = 0.1 * colour_axes(images).square().sum(dim=1).sqrt()
    assert (moved.std(dim=0) / spread - 1).abs().max() < 0.5
    grey = ImageSet(images[:, :1], y, part.classes)
    net = build(plain, grey)
    (X, _), (same, _) = (
        next(batches(net, grey, replace(plain, rgb_shift=shift), seed=1, epoch=1)) for shift in (0.0, 0.1)
    )
    assert torch.equal(X, same), "grey pictures have no colours to shift"
    two = ImageSet(images[:, :2], y, part.classes)
    with pytest.raises(ValueError, match="these pictures have 2"):
        next(batches(build(plain, two), two, replace(plain, rgb_shift=0.1), seed=1, epoch=1))


def test_processes_with_too_small_or_no_shards(train, monkeypatch):
    monkeypatch.setattr(training.distributed, "world", lambda: 3)
    normed = replace(TINY, batch_norm=True, batch_size=5)
    with pytest.raises(ValueError, match="batches of 5 are too small for 3 processes"):
        fit(build(normed, train), train, None, normed, device="cpu")
    monkeypatch.setattr(training.distributed, "total", lambda values: values)
    net, found = build(TINY, train), []
    for rank in range(3):
        monkeypatch.setattr(training.distributed, "share", lambda count, rank=rank: slice(rank, count, 3))
        found.append(training.watched_accuracy(net, train[:2]))
    assert found[2] == 0
    monkeypatch.undo()
    assert sum(found) == training.watched_accuracy(net, train[:2])


def test_a_validation_set_of_other_classes_is_refused(train):
    net = build(TINY, train)
    other = ImageSet(train.images, train.labels, CLASSES[::-1])
    with pytest.raises(ValueError, match=r"to train on are top left, .*, those of the validation set bottom r"):
        fit(net, train, other, TINY, device="cpu")


def test_a_network_knows_the_names_of_its_classes(train):
    assert build(TINY, train).classes == CLASSES
    net = VGG(TINY.configuration, 1, 4, 12, hidden=16)
    assert net.classes is None
    fit(net, train, None, replace(TINY, epochs=1, normalise="nothing"), device="cpu")
    assert net.classes == CLASSES


def test_pictures_that_go_in_as_they_are_against_the_recipe_are_said(train):
    raw = VGG(TINY.configuration, 1, 4, 12, hidden=16)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))  # no mean at all
    for net in (raw, plain):
        with pytest.warns(UserWarning, match="normalise='mean and std', but the network takes pictures .* as they are"):
            fit(net, train, None, replace(TINY, epochs=1), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(build(TINY, train), train, None, replace(TINY, epochs=1), device="cpu")
        fit(nn.Sequential(build(TINY, train)), train, None, replace(TINY, epochs=1), device="cpu")
        fit(raw, train, None, replace(TINY, epochs=1, normalise="nothing"), device="cpu")


def test_frozen_parameters_stay_and_the_rest_learns(train):
    net = build(TINY, train)
    net.features.requires_grad_(False)
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    fit(net, train, None, TINY, device="cpu")
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("features"), name


def test_a_frozen_batch_normalisation_keeps_its_averages(train):
    net = build(replace(TINY, batch_norm=True), train)
    net.features[1].requires_grad_(False)
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) > 1
    before = [norm.running_mean.clone() for norm in norms]
    fit(net, train, None, replace(TINY, batch_norm=True), device="cpu")
    same = [torch.equal(norm.running_mean, was) for norm, was in zip(norms, before, strict=True)]
    assert same == [True] + [False] * (len(norms) - 1)


def test_a_network_that_cannot_learn_is_refused(train):
    with pytest.raises(ValueError, match="no parameter of the network learns"):
        fit(build(TINY, train).requires_grad_(False), train, None, TINY, device="cpu")


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_training_without_gradients_is_refused(train, without):
    net = build(TINY, train)
    for call in (lambda: fit(net, train, None, TINY, device="cpu"), lambda: estimate(net, train, TINY, device="cpu")):
        with without(), pytest.raises(ValueError, match=r"training needs gradients: call it outside of torch.no_grad"):
            call()
    with torch.inference_mode():
        made_there = build(TINY, train)
    with pytest.raises(ValueError, match=r"made inside of torch.inference_mode\(\) cannot learn"):
        fit(made_there, train, None, TINY, device="cpu")


def test_a_device_that_is_not_here_is_refused_in_words(train):
    net = build(TINY, train)
    for call in (lambda: fit(net, train, None, TINY, device="gpu"), lambda: estimate(net, train, TINY, device="gpu")):
        with pytest.raises(ValueError, match="unknown device 'gpu': take cpu, cuda"):
            call()


@pytest.mark.parametrize("stop", [1, None])
def test_a_network_is_left_in_evaluation_mode(train, stop):
    def watch(history):
        if len(history.epochs) == stop:
            raise ZeroDivisionError

    net = build(replace(TINY, dropout=0.5), train)
    try:
        fit(net, train, None, replace(TINY, dropout=0.5, epochs=2), device="cpu", watch=watch)
    except ZeroDivisionError:
        assert stop
    assert not any(module.training for module in net.modules())


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("learning_rate", math.inf, "learning_rate must be finite, got inf"),
        ("width", math.inf, "width must be finite"),
        ("weight_decay", math.inf, "weight_decay must be finite"),
        ("momentum", 1.5, "momentum must be from 0 to 1, got 1.5"),
        ("momentum", -0.1, "momentum must be from 0 to 1"),
        ("dropout", 2, "dropout must be from 0 to 1, got 2"),
        ("weight_decay", -1e-4, "weight_decay must be 0 or more, got -0.0001"),
        ("rgb_shift", -0.1, "rgb_shift must be 0 or more"),
        ("validation", -5, "validation must be a number of images, 0 for none, got -5"),
    ],
)
def test_settings_without_meaning_are_refused(field, value, said):
    with pytest.raises(ValueError, match=said):
        replace(TINY, **{field: value})


def test_names_and_tensors_in_place_of_recipes_and_sets_are_refused(train):
    net = build(TINY, train)
    with pytest.raises(ValueError, match=r"expected a Recipe, got 'laptop': write recipe\('laptop'\)"):
        build("laptop", train)
    with pytest.raises(ValueError, match=r"unknown recipe \['laptop'\]"):
        recipe(["laptop"])
    with pytest.raises(ValueError, match="expected a set of labelled pictures, got a Tensor"):
        split(TINY, train.images, train)
    calls = (lambda: fit(net, train, None, "tiny"), lambda: estimate(net, train, "tiny"))
    for call in (*calls, lambda: split("tiny", train, train)):
        with pytest.raises(ValueError, match=r"expected a Recipe, got 'tiny'$"):
            call()
    for some in (train.images, (train.images, train.labels), None):
        with pytest.raises(ValueError, match=r"expected a set of labelled pictures, got a (Tensor|tuple|NoneType)"):
            fit(net, some, None, TINY)
    with pytest.raises(ValueError, match="expected a set of labelled pictures, got a Tensor"):
        fit(net, train, train.images, TINY)
    others = SimpleNamespace(data=train.images.numpy(), labels=train.labels.numpy(), classes=train.classes)
    with pytest.raises(ValueError, match="got a SimpleNamespace"):  # so torchvision's STL10 holds its pictures
        fit(net, others, None, TINY)


@pytest.mark.parametrize("normalise", ["mean and std", "mean"])
def test_a_channel_that_never_changes_stays_at_zero(normalise):
    images = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, 2] = 37
    train = ImageSet(images, torch.arange(12) % 3, ("a", "b", "c"))
    chosen = replace(TINY, image_size=8, scale=8, normalise=normalise)
    monochrome = ImageSet(torch.full_like(images, 37), train.labels, train.classes)
    for pictures in (train, monochrome):
        net = build(chosen, pictures)
        assert net.std.isfinite().all()
        assert (net.std > 0).all()
        assert prepared(net, view(pictures.images, 8)).isfinite().all()
    assert torch.equal(build(chosen, monochrome).std, torch.ones(1, 3, 1, 1))
    net = build(chosen, train)  # each channel has a mean of its own
    assert net.mean.flatten().tolist() == pytest.approx((images.double().mean(dim=(0, 2, 3)) / 255).tolist())
    assert prepared(build(chosen, monochrome), view(monochrome.images, 8)).abs().max() < 1e-5


@pytest.mark.parametrize("what", ["classifier.6.weight", "features.1.running_mean"])
def test_a_last_step_that_breaks_the_network_is_told(train, monkeypatch, what):
    """The loss of every step was finite; what came after the last one was not."""
    changed, step = replace(TINY, batch_norm=True, epochs=1), torch.optim.SGD.step
    net, steps = build(changed, train), []

    def breaking(optimiser, *arguments):
        step(optimiser, *arguments)
        steps.append(1)
        if len(steps) == 10:
            with torch.no_grad():
                net.state_dict()[what][0] = torch.inf

    monkeypatch.setattr(torch.optim.SGD, "step", breaking)
    with pytest.raises(NonFiniteLossError, match=rf"{what} is not finite after step 10 of epoch 1.*learning rate 0.02"):
        fit(net, train, None, changed, device="cpu")


def test_a_run_of_one_step_that_broke_is_no_success(train):
    with pytest.raises(NonFiniteLossError, match=r"after step 1 of epoch 1, the epoch's last, at learning rate 1e\+39"):
        run(train, batch_size=len(train), epochs=1, learning_rate=1e39)


def test_accuracies_are_the_nearest_number(train):
    _, history = run(train[:23], epochs=1)
    right = history.epochs[0].train_accuracy * 23
    assert history.epochs[0].train_accuracy == round(right) / 23


class Scores(nn.Module):
    """A network whose scores come in another form."""

    def __init__(self, form):
        super().__init__()
        self.layer, self.form = nn.Linear(144, 4), form

    def forward(self, X):
        return self.form(self.layer(X.flatten(1)))


@pytest.mark.filterwarnings("ignore:the recipe says normalise")
@pytest.mark.parametrize(
    ("net", "said"),
    [
        (None, "expected a network, a torch.nn.Module, got None"),
        ([nn.Linear(2, 2)], "expected a network"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), r"1\.weight has no shape yet"),
        (Scores(lambda scores: (scores, 1)), r"\(N, classes\), it gives a tuple"),
        (Scores(lambda scores: scores[:, :, None, None]), r"it gives shape \(1, 4, 1, 1\)"),
    ],
)
def test_what_cannot_be_trained_is_refused(train, net, said):
    with pytest.raises(ValueError, match=said):
        fit(net, train, None, TINY, device="cpu")


def test_who_cannot_watch_is_refused_before_training(train):
    with pytest.raises(ValueError, match="watch must be a function of the History, got 5"):
        fit(build(TINY, train), train, None, TINY, device="cpu", watch=5)


@pytest.mark.parametrize("wrong", [dict(start=-1), dict(rank=2, world=2), dict(rank=-1), dict(world=0), dict(rank=0.5)])
def test_parts_of_batches_that_there_are_not_are_refused(train, wrong):
    with pytest.raises(ValueError, match=r"start|rank"):
        next(batches(build(TINY, train), train, TINY, 0, 1, **wrong))


def test_an_estimate_counts_the_optimisers_step_and_the_validation(train, monkeypatch):
    monkeypatch.setattr("vgglib.estimates._timed_step", lambda _net, few, *_: (0.01 * len(few), 0.03 * len(few)))
    monkeypatch.setattr("vgglib.estimates._timed_update", lambda *_: 0.2)
    alone = estimate(build(TINY, train), train, TINY)  # a batch of 20
    assert alone.seconds == pytest.approx(TINY.epochs * (200 * 0.04 + 10 * 0.2))
    watching = estimate(build(TINY, train), train, TINY, validation=train[:50])
    assert watching.seconds - alone.seconds == pytest.approx(TINY.epochs * 50 * (0.01 + 0.01))
    assert watching.images_per_second == alone.images_per_second


def test_the_optimisers_step_is_timed_without_a_change(train):
    net = build(TINY, train)
    before = weights(net)
    assert estimates._timed_update(net, TINY, True, 2) == 0
    net(torch.rand(2, 1, 12, 12)).sum().backward()
    assert estimates._timed_update(net, TINY, True, 2) > 0
    assert same(before, weights(net))


def test_what_is_left_of_a_run_is_foretold(train, monkeypatch):
    monkeypatch.setattr("vgglib.estimates.estimate", lambda *_, **__: Estimate(1.0, 80.0, 3, 8, 200, 4))
    net = build(TINY, train)
    assert training.foretold(net, train, TINY).startswith("about 1 min 20 s on ")
    assert training.foretold(net, train, TINY, None, 0.75).startswith("about 20 s more on ")


class Viewing(nn.Module):
    """A network that views its maps as rows, as many do: torch refuses that of maps with their channels last."""

    def __init__(self):
        super().__init__()
        self.conv, self.scores = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 36, 4)

    def forward(self, X):
        maps = F.max_pool2d(self.conv(X).relu(), 2)
        return self.scores(maps.view(len(maps), -1))


def test_a_network_that_views_its_maps_is_not_laid_out_otherwise(train):
    net, chosen = Viewing(), replace(TINY, normalise="nothing", epochs=1, bf16=None)
    assert estimate(net, train, chosen, device="cpu").images_per_second > 0
    history = fit(net, train, None, chosen, device="cpu")
    assert history.conditions["channels_last"] is False
    assert net(torch.rand(2, 1, 12, 12)).shape == (2, 4)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        fit(net, train, None, replace(chosen, channels_last=True), device="cpu")  # as it was asked for
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 4))
    told = fit(plain, train, None, replace(chosen, channels_last=True), device="cpu")
    assert told.conditions["channels_last"] is True
    assert preparing.takes_any_layout(plain)
    assert preparing.takes_any_layout(build(TINY, train))
    assert not preparing.takes_any_layout(nn.Sequential(Viewing()))
    assert not preparing.takes_any_layout(torch.fx.symbolic_trace(plain))


def normed():
    """A network with batch normalisation, of which the recipe TINY knows nothing."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(10),
        nn.Flatten(),
        nn.BatchNorm1d(4),
        nn.Linear(4, 4),
    )


def test_batch_normalisation_is_looked_for_in_the_network(train):
    chosen = replace(TINY, normalise="nothing", epochs=1)
    history = fit(normed(), train[:161], None, chosen, device="cpu")  # nothing can be learned from a last batch of one
    assert math.isfinite(history.epochs[0].train_loss)
    with pytest.raises(ValueError, match="micro_batch with batch normalisation"):
        fit(normed(), train, None, replace(chosen, micro_batch=5), device="cpu")
    with pytest.raises(ValueError, match="1 training pictures are too few"):
        fit(normed(), train[:1], None, chosen, device="cpu")
    still = normed()
    for module in still:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.requires_grad_(False)
    fit(still, train[:161], None, replace(chosen, micro_batch=5), device="cpu")
    assert still[1].num_batches_tracked == 0


def test_too_few_steps_for_averages_are_told(train):
    chosen = replace(TINY, normalise="nothing", epochs=1, validation=0)
    with pytest.warns(ShortRunWarning, match=r"after 10 steps 35 % of the averages .* more epochs or smaller batches"):
        fit(normed(), train, None, chosen, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ShortRunWarning)
        fit(normed(), train, None, replace(chosen, epochs=3), device="cpu")  # 4 % are left
        fit(build(TINY, train), train, None, chosen, device="cpu")  # has none
        net = normed()
        for norm in (net[1], net[5]):
            norm.momentum = None  # a plain mean forgets the beginning at once
        fit(net, train, None, chosen, device="cpu")


class Auxiliary(nn.Module):
    """Scores from two places in training, from one in evaluation, as GoogLeNet has them."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(144, 4)

    def forward(self, X):
        scores = self.linear(X.flatten(1))
        return (scores, scores) if self.training else scores


class Two(nn.Module):
    """A network that wants a number beside each picture."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(144, 4)

    def forward(self, X, more):
        return self.linear(X.flatten(1)) + more


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_networks_that_want_another_call_are_refused_by_name(train):
    plain = replace(TINY, normalise="nothing")
    with pytest.raises(ValueError, match=r"Two\.forward is called with a batch .* missing .*'more': wrap it"):
        fit(Two(), train, None, plain, device="cpu")
    with pytest.raises(ValueError, match="this network is TorchScript"):
        fit(torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(144, 4))), train, None, plain, device="cpu")


def test_a_loss_of_many_pictures_has_room_in_float16(train):
    """Summed in float16 it would be infinite from 65,504 on, though its mean is small."""
    many = ImageSet(train.images.repeat(12, 1, 1, 1)[:2048], train.labels.repeat(12)[:2048], train.classes)
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 4)).half()
    net[1].bias.data[0] = 60.0
    chosen = replace(TINY, normalise="nothing", batch_size=2048, epochs=1, learning_rate=1e-6)
    (epoch,) = fit(net, many, None, chosen, device="cpu").epochs
    assert 2048 * epoch.train_loss > torch.finfo(torch.float16).max


def test_auxiliary_outputs_are_refused_by_name(train):
    with pytest.raises(ValueError, match=r"in training the network gives a tuple, .*switch its auxiliary outputs off"):
        fit(Auxiliary(), train, None, replace(TINY, normalise="nothing"), device="cpu")


class Recurrent(nn.Module):
    """A layer within gives a tuple."""

    def __init__(self):
        super().__init__()
        self.rows, self.linear = nn.LSTM(12, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, X):
        return self.linear(self.rows(X.flatten(1, 2))[0][:, -1]) * 1e30


def test_what_breaks_behind_a_layer_with_two_outputs_is_named_and_leaves_no_hook(train):
    net = Recurrent()
    with pytest.raises(NonFiniteLossError, match=r"the first to go non-finite is linear \(Linear\)"):
        fit(net, train, None, replace(TINY, normalise="nothing", learning_rate=1e30), device="cpu")
    assert not any(module._forward_hooks for module in net.modules())
