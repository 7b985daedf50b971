"""Memory that ends: parts of a batch with the gradients of the whole, or the largest batch that fits."""

import warnings
import weakref
from dataclasses import replace

import pytest
import torch
from test_training import TINY, patterns, weights

from vgglib.largest_batch import BatchTooLargeError, MicroBatchWarning, largest_that_fits
from vgglib.resuming import Checkpoints, CheckpointWarning
from vgglib.training import NonFiniteLossError, build, estimate, fit, watched_accuracy

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


def out_of_memory_beyond(net, pictures):
    """Make a network run out of memory beyond so many pictures, in training and in testing."""

    def look(_module, inputs):
        if len(inputs[0]) > pictures:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    net.features[3].register_forward_pre_hook(look)
    return net


def test_the_validation_takes_what_fits(train):
    expected = fit(build(FLOAT, train), train, train, FLOAT, device="cpu")
    with pytest.warns(MicroBatchWarning):
        history = fit(out_of_memory_beyond(build(FLOAT, train), 12), train, train, FLOAT, device="cpu")
    assert history.column("validation_accuracy") == expected.column("validation_accuracy")
    with pytest.raises(torch.OutOfMemoryError):
        watched_accuracy(out_of_memory_beyond(build(FLOAT, train), 0), train)


def test_estimate_and_diagnosis_take_parts_too(train):
    small = replace(FLOAT, micro_batch=4)
    assert estimate(out_of_memory_beyond(build(small, train), 4), train, small).pictures == 4
    assert estimate(out_of_memory_beyond(build(FLOAT, train), 3), train, FLOAT).pictures <= 3
    wild = replace(small, learning_rate=1e9)
    with pytest.raises(NonFiniteLossError, match="the first to go non-finite is"):
        fit(out_of_memory_beyond(build(wild, train), 4), train, None, wild, device="cpu")


def test_under_batch_normalisation_no_batch_of_one_is_advised(train):
    normed = replace(FLOAT, batch_norm=True)
    with pytest.raises(BatchTooLargeError, match="nor do two pictures"):
        fit(with_room_for(build(normed, train), 1), train, None, normed, device="cpu")


def test_other_parts_are_taken_on_going_on_and_said(train, tmp_path):
    dropping, sizes = replace(FLOAT, dropout=0.5), []
    whole = replace(dropping, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        fit(build(whole, train), train, None, whole, device="cpu", checkpoint=tmp_path, watch=stop)
    net = build(whole, train)
    net.features[0].register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    with pytest.warns(CheckpointWarning, match="micro_batch is 5, was None"):
        fit(net, train, None, replace(whole, micro_batch=5), device="cpu", checkpoint=tmp_path)
    assert max(sizes) == 5


def stop(history):
    raise KeyboardInterrupt
