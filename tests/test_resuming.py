"""Runs that stop and go on: bit for bit; damage named and passed over; a full disk that stops nothing."""

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load, save
from test_training import TINY, patterns, same, weights
from torch import nn

from vgglib import estimates, resuming, run, training
from vgglib.checkpoint import CheckpointError
from vgglib.data import DataError, ImageSet
from vgglib.guard import Guard
from vgglib.interrupts import Interrupted, Interrupts
from vgglib.resuming import Checkpoints, CheckpointWarning, differences, packed, read
from vgglib.run import Run, completed
from vgglib.training import Recipe, build, fit

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")

RANDOM = replace(TINY, dropout=0.5, flip=True, scale=(12, 16), schedule="linear", epochs=3)
NORMED = replace(RANDOM, batch_norm=True, dropout=0.2, bf16=True, momentum=0.8)
PLATEAU = replace(TINY, schedule="plateau", patience=1, momentum=0.0, epochs=5, dropout=0.3)


class Stopping(Checkpoints):
    """Ends the process, as it seems to fit, right after so many saves."""

    def __init__(self, folder, saves, keep=2):
        super().__init__(folder, keep)
        self.left = saves

    def save(self, *state):
        path = super().save(*state)
        self.left -= 1
        if self.left == 0:
            raise SystemExit
        return path


@pytest.fixture(scope="module")
def train():
    return patterns(70)


def start(recipe, train, seed=2, **options):
    net = build(recipe, train, seed)
    return net, fit(net, train, train[:30], recipe, seed, "cpu", **options)


def losses(history):
    return [history.column(name) for name in ("train_loss", "train_accuracy", "validation_accuracy", "learning_rate")]


@pytest.mark.parametrize("recipe", [RANDOM, NORMED, PLATEAU], ids=["dropout", "batch norm", "plateau"])
@pytest.mark.parametrize("saves", [1, 2, 5, 6, 9])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(train, tmp_path, recipe, saves):
    whole, expected = start(recipe, train)
    with pytest.raises(SystemExit):
        start(recipe, train, checkpoint=Stopping(tmp_path, saves), every=1)
    torch.rand(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckpointWarning)
        net, history = start(recipe, train, checkpoint=tmp_path, every=3)
    assert same([*whole.parameters(), *whole.buffers()], [*net.parameters(), *net.buffers()])
    assert losses(history) == losses(expected)
    assert history.epochs[-1].images_per_second > 0


def test_every_stop_of_one_run(train, tmp_path):
    whole, expected = start(RANDOM, train)
    for _ in range(20):
        try:
            net, history = start(RANDOM, train, checkpoint=Stopping(tmp_path, 1), every=1)
            break
        except SystemExit:
            continue
    assert same(weights(whole), weights(net))
    assert losses(history) == losses(expected)


def test_other_pictures_to_watch_drop_the_same_units(train, tmp_path):
    """What is trained on stayed the same, so the end is the same bit for bit, dropout included."""
    whole, _ = start(RANDOM, train)
    with pytest.raises(SystemExit):
        start(RANDOM, train, checkpoint=Stopping(tmp_path, 2), every=1)
    others = ImageSet(train.images[:30].flip(3), train.labels[:30], train.classes)
    net, checkpoints = build(RANDOM, train, 2), Checkpoints(tmp_path, changed_pictures=True)
    with pytest.warns(CheckpointWarning, match="watched.contents is"):
        fit(net, train, others, RANDOM, 2, "cpu", checkpoint=checkpoints)
    assert same(weights(whole), weights(net))


@pytest.mark.filterwarnings("error::vgglib.resuming.CheckpointWarning")
def test_a_step_that_broke_is_told_before_it_is_saved(train, tmp_path, monkeypatch):
    """A device that is looked at one step later, as a GPU is, must not hand its broken sums to a checkpoint."""
    monkeypatch.setattr(training, "Guard", lambda optimiser, device, wait: Guard(optimiser, device, wait=False))
    wild = replace(RANDOM, learning_rate=1e30, schedule="constant")
    with pytest.raises(training.NonFiniteLossError, match="at step"):
        start(wild, train, checkpoint=tmp_path, every=1)


def test_a_stop_in_the_last_step_of_an_epoch_does_not_wait_for_the_validation(train, tmp_path, monkeypatch):
    """Also where a device is looked at one step later, as a GPU is."""
    whole, _ = start(RANDOM, train)
    monkeypatch.setattr(training, "Guard", lambda optimiser, device, wait: Guard(optimiser, device, wait=False))
    steps, there = -(-len(train) // RANDOM.batch_size), training.batches

    def stopping(*where):
        for number, batch in enumerate(there(*where), start=1):
            if number == steps:
                signal.raise_signal(signal.SIGINT)
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(training, "batches", stopping)
        patch.setattr(training, "watched_accuracy", lambda *_: pytest.fail("it is validated"))
        with pytest.raises(Interrupted):
            start(RANDOM, train, checkpoint=tmp_path)
    assert Checkpoints(tmp_path).farthest() == (1, steps)
    net, history = start(RANDOM, train, checkpoint=tmp_path)
    assert same(weights(whole), weights(net))
    assert len(history.epochs) == RANDOM.epochs


def test_what_an_older_run_did_not_say_is_as_it_is_now():
    now = {"pictures": 3, "names": "a", "watched": {"pictures": 1, "names": "b"}, "tested": None}
    assert completed({"pictures": 4, "watched": {"pictures": 2}}, now) == {
        **now, "pictures": 4, "watched": {"pictures": 2, "names": "b"},
    }  # fmt: skip
    assert completed({"watched": None, "more": 1}, now) == {**now, "watched": None, "more": 1}


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((0, 1, 2, 1, 0), None),
        ((0, 0, 0, 1, 0), None),
        ((0, 1, 3, 1, 0), r"process 1 has a newer checkpoint in .* \(epoch 1, step 3\) than process 0"),
        ((2, 0, 0, 1, 0), "process 1 does not train what process 0 trains"),
        ((0, 0, 0, 0, 0), "process 1 does not save when process 0 saves"),
        ((0, 1, 2, 1, 5), "process 1 does not save when process 0 saves"),
    ],
)
def test_processes_agree_before_they_train(two, train, monkeypatch, others, said):
    """The folder holds epoch 1, step 2; others: settings that differ, newest epoch and step, saving, and how often."""
    differing, *state = others
    assert two.farthest() == (1, 3)
    two.paths()[0].unlink()
    net = build(RANDOM, train, 2)
    one = Run(net, None, None, SimpleNamespace(recipe=RANDOM, seed=2), (train, None), two)
    monkeypatch.setattr(run.distributed, "world", lambda: 2)
    monkeypatch.setattr(
        run.distributed, "from_all", lambda told: [told, torch.tensor(state if told.ndim else differing)]
    )
    monkeypatch.setattr(run.distributed, "from_first", lambda content: content)
    if said is None:
        one._expect_agreement()
    else:
        with pytest.raises(CheckpointError, match=said):
            one._expect_agreement()
    other = json.dumps({**one._identity, "seed": 3}).encode()
    monkeypatch.setattr(run.distributed, "from_first", lambda _: other)
    with pytest.raises(CheckpointError, match=r"process 0 does not train what process 0 trains: seed is 2, was 3"):
        one._expect_agreement()


def test_a_run_that_was_watched_at_another_scale_says_so(train, tmp_path):
    """Older runs were watched at the side of the crop, and their checkpoints do not say it."""
    settings = replace(RANDOM, scale=16, dropout=0.0)
    with pytest.raises(SystemExit):
        start(settings, train, checkpoint=Stopping(tmp_path, 1))
    (path,) = Checkpoints(tmp_path).paths()
    tensors, about = read(path)
    assert about.pop("test_scale") == 16
    path.write_bytes(packed(tensors, about))
    with pytest.warns(CheckpointWarning, match="test_scale is 16, was 12"):
        start(settings, train, checkpoint=tmp_path)


def test_saving_changes_nothing(train, tmp_path):
    whole, expected = start(RANDOM, train)
    net, history = start(RANDOM, train, checkpoint=tmp_path, every=1)
    assert same(weights(whole), weights(net))
    assert losses(history) == losses(expected)


def test_a_finished_run_comes_back_as_it_was(train, tmp_path):
    net, history = start(TINY, train, checkpoint=tmp_path)
    calls = []
    again, found = start(TINY, train, checkpoint=tmp_path, watch=calls.append)
    assert same(weights(net), weights(again))
    assert found.epochs == history.epochs
    assert not calls


def test_the_last_ones_are_kept(train, tmp_path):
    start(TINY, train, checkpoint=Checkpoints(tmp_path, keep=3), every=1)
    names = sorted(os.listdir(tmp_path))
    assert names == [f"epoch-000{e}-step-000000{s}.safetensors" for e, s in [(4, 2), (4, 3), (5, 0)]] or names == [
        f"epoch-000{e}-step-000000{s}.safetensors" for e, s in [(4, 3), (4, 4), (5, 0)]
    ]
    with pytest.raises(ValueError, match="keep must be 1 or more"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(ValueError, match="every must be a number of steps"):
        start(TINY, train, checkpoint=tmp_path, every=0)


@pytest.fixture(scope="module")
def saved(train, tmp_path_factory):
    """The bytes of the two last checkpoints of a run that was stopped, and its folder."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.raises(SystemExit):
        start(RANDOM, train, checkpoint=Stopping(folder, 3), every=1)
    return folder, [path.read_bytes() for path in Checkpoints(folder).paths()]


@pytest.fixture
def two(saved, tmp_path):
    """A folder of its own with these checkpoints."""
    for path, content in zip(Checkpoints(saved[0]).paths(), saved[1], strict=True):
        (tmp_path / path.name).write_bytes(content)
    return Checkpoints(tmp_path)


def test_a_damaged_one_is_named_and_the_one_before_is_used(two, train):
    newest, before = two.paths()
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(CheckpointWarning, match=rf"{newest.name} is damaged .*; going on from {before.name}"):
        net, _ = start(RANDOM, train, checkpoint=two, every=1)
    assert same(weights(net), weights(start(RANDOM, train)[0]))
    assert len(two.paths()) == 2


def test_where_all_are_damaged_nothing_is_trained_over_them(two, train):
    for path in two.paths():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no complete checkpoint in .*epoch-0001.*epoch-0001"):
        start(RANDOM, train, checkpoint=two)
    assert len(two.paths()) == 2


def damaged(content, dice):
    """One truncation and one flipped bit."""
    yield content[: dice.randrange(len(content))]
    flipped = bytearray(content)
    flipped[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    yield bytes(flipped)


def test_every_damage_is_seen(saved, tmp_path):
    path, dice = tmp_path / "damaged.safetensors", random.Random(3)
    content = saved[1][0]
    tries = [*range(16), *range(len(content) - 16, len(content))]
    for cut in tries:
        path.write_bytes(content[:cut])
        with pytest.raises(CheckpointError, match="damaged"):
            read(path)
    for _ in range(40):
        for broken in damaged(content, dice):
            path.write_bytes(broken)
            with pytest.raises(CheckpointError, match="damaged"):
                read(path)
    path.write_bytes(content)
    read(path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "epoch-0001-step-0000001.safetensors"
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read(path)
    path.write_bytes(save({"weight": torch.ones(2)}))
    with pytest.raises(CheckpointError, match="it has no digest"):
        read(path)
    path.write_bytes(packed({"weight": torch.tensor([1.0, torch.nan])}, {}))
    with pytest.raises(CheckpointError, match="weight holds numbers that are not finite"):
        read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(path)


def test_numbers_that_are_not_finite_are_not_saved(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.save(1, 1, {"net.w": torch.ones(2)}, {"about": 1})
    with pytest.warns(CheckpointWarning, match=r"net\.w holds numbers that are not finite.*stays epoch-0001"):
        assert kept.save(1, 2, {"net.w": torch.tensor([torch.inf])}, {}) is None
    assert kept.newest()[1] == {"about": 1}


def test_the_digest_is_that_of_the_file_without_it(tmp_path):
    content = packed({"w": torch.arange(3.0)}, {"digest": '"digest":"' + 64 * "0" + '"'})
    (tmp_path / "c").write_bytes(content)
    tensors, about = read(tmp_path / "c")
    assert torch.equal(tensors["w"], torch.arange(3.0))
    assert about["digest"].startswith('"digest"')
    assert torch.equal(load(bytes(content))["w"], tensors["w"])  # any reader of safetensors opens it


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 0.5}, r"recipe\.width is 0\.5, was 1\.0"),
        ({"epochs": 9, "learning_rate": 0.5}, r"recipe\.epochs is 9, was 3; recipe\.learning_rate is 0\.5"),
        ({"configuration": "8 | 16 16"}, r"recipe\.configuration is '8 \| 16 16', was '8 \| 16 \|'"),
    ],
    ids=str,
)
def test_another_recipe_is_refused_by_what_differs(two, train, change, said):
    before = [path.read_bytes() for path in two.paths()]
    with pytest.raises(CheckpointError, match=rf"checkpoints of another run: {said}.*Take another folder"):
        start(replace(RANDOM, **change), train, checkpoint=two)
    assert [path.read_bytes() for path in two.paths()] == before


def test_another_seed_other_pictures_and_another_network_are_refused(two, train):
    with pytest.raises(CheckpointError, match="seed is 5, was 2"):
        start(RANDOM, train, seed=5, checkpoint=two)
    with pytest.raises(CheckpointError, match=r"data\.pictures is 60, was 70"):
        start(RANDOM, train[:60], checkpoint=two)
    net = build(replace(RANDOM, hidden=7), train)
    with pytest.raises(
        CheckpointError, match=r"of another network: classifier\.0\.weight is 'torch.float32 \(7, 144\)'"
    ):
        fit(net, train, train[:30], RANDOM, 2, "cpu", checkpoint=two)


def test_what_differs_is_said_where_it_cannot_be_bit_exact(two, train, monkeypatch):
    there = training.conditions
    monkeypatch.setattr(training, "conditions", lambda *of: {**there(*of), "torch": "9.9"})
    with pytest.warns(CheckpointWarning, match=r"not bit for bit.*torch is '9\.9', was '") as warned:
        start(RANDOM, train, checkpoint=two)
    assert "epoch 1, step 3" in str(warned[0].message)


def test_differences():
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}) == []
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}, "d": 4}) == [
        "b.c is 2, was 3",
        "d is 'nothing', was 4",
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_stops_nothing(two, train, monkeypatch, number):
    before = {path.name: path.read_bytes() for path in two.paths()}

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(resuming, "write_durably", full)
    with pytest.warns(CheckpointWarning) as warned:
        net, _ = start(RANDOM, train, checkpoint=two, every=1)
    (said,) = [str(one.message) for one in warned if one.category is CheckpointWarning]
    assert os.strerror(number) in said
    assert "bytes needed" in said
    assert "free); training goes on, the newest checkpoint stays epoch-0001-step-0000003.safetensors" in said
    assert {path.name: path.read_bytes() for path in two.paths()} == before
    assert same(weights(net), weights(start(RANDOM, train)[0]))
    monkeypatch.undo()
    assert two.save(9, 9, {}, {}) is not None
    monkeypatch.setattr(resuming, "write_durably", full)
    with pytest.warns(CheckpointWarning):  # once more, after one that went well
        two.save(9, 10, {}, {})


def test_a_folder_that_cannot_be_made_stops_nothing(train, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = r"\(file is a file, checkpoints need a folder\); training goes on, there is no checkpoint yet"
    with pytest.warns(CheckpointWarning, match=said):
        net, _ = start(TINY, train, checkpoint=tmp_path / "file")
    assert same(weights(net), weights(start(TINY, train)[0]))


def test_leftovers_of_a_killed_process_go(two):
    leftover = two.folder / ".epoch-0001-step-0000003.safetensors.999999"
    leftover.write_bytes(b"half")
    two.save(1, 4, {"w": torch.ones(1)}, {})
    assert not leftover.exists()


def interrupting(monkeypatch, step, times=1):
    """Make fit meet SIGINT while it waits for its ``step``-th batch (from 1)."""
    there, seen = training.batches, []

    def batches(*arguments):
        for batch in there(*arguments):
            seen.append(1)
            if len(seen) == step:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
            yield batch

    monkeypatch.setattr(training, "batches", batches)


@pytest.mark.parametrize(("step", "times"), [(1, 1), (4, 1), (5, 2), (8, 1)])
def test_an_interrupt_finishes_the_step_and_keeps_everything(train, tmp_path, monkeypatch, step, times):
    handler = signal.getsignal(signal.SIGINT)
    whole, expected = start(RANDOM, train)
    interrupting(monkeypatch, step, times)
    net = build(RANDOM, train, 2)
    with pytest.raises(Interrupted, match=r"stopped in epoch \d, after \d steps; .*safetensors keeps it") as stopped:
        fit(net, train, train[:30], RANDOM, 2, "cpu", checkpoint=tmp_path)
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert len(stopped.value.history.epochs) == (step - 1) // 4
    assert stopped.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.isfinite(net.eval()(torch.rand(2, 1, 12, 12))).all()
    monkeypatch.undo()
    net, history = start(RANDOM, train, checkpoint=tmp_path)
    assert same(weights(whole), weights(net))
    assert losses(history) == losses(expected)


def test_the_third_interrupt_stops_at_once(train, tmp_path, monkeypatch):
    interrupting(monkeypatch, step=3, times=3)
    with pytest.raises(KeyboardInterrupt) as stopped:
        start(RANDOM, train, checkpoint=tmp_path, every=1)
    assert not isinstance(stopped.value, Interrupted)
    assert Checkpoints(tmp_path).paths()[0].name == "epoch-0001-step-0000002.safetensors"


def test_an_interrupt_during_a_save_waits_for_it(train, tmp_path, monkeypatch):
    there = resuming.write_durably

    def pressed(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        there(*arguments)

    monkeypatch.setattr(resuming, "write_durably", pressed)
    with pytest.raises(Interrupted):
        start(RANDOM, train, checkpoint=tmp_path, every=2)
    monkeypatch.undo()
    assert all(read(path) for path in Checkpoints(tmp_path).paths())


def test_a_stop_without_a_folder_keeps_the_network(train, monkeypatch):
    interrupting(monkeypatch, step=6)
    with pytest.raises(Interrupted, match=r"stopped in epoch 2, after 2 steps$"):
        start(RANDOM, train)


def test_other_threads_and_other_handlers_are_left_alone():
    said = []
    thread = threading.Thread(target=lambda: said.append(Interrupts().__enter__().asked))
    thread.start()
    thread.join()
    assert said == [None]
    mine = signal.signal(signal.SIGINT, lambda *_: said.append("mine"))
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, mine)
    assert (said, interrupts.asked) == ([None, "mine"], None)


def test_a_new_field_of_recipes_does_not_break_old_checkpoints(two):
    about = two.newest()[1]
    assert set(about["run"]["recipe"]) == set(Recipe.__dataclass_fields__) - {"micro_batch", "keep_memory", "warm_up"}
    assert json.loads(json.dumps(about, allow_nan=False)) == about


def test_a_stop_whose_state_could_not_be_saved_says_which_one_there_is(train, tmp_path, monkeypatch):
    there = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, epoch, step, *rest: None if step else there(self, epoch, step, *rest)
    )
    interrupting(monkeypatch, 6, 1)
    with pytest.raises(
        Interrupted, match=r"after 2 steps; the newest checkpoint is .*epoch-0002-step-0000000\.safetensors$"
    ):
        fit(build(RANDOM, train, 2), train, train[:30], RANDOM, 2, "cpu", checkpoint=tmp_path)


def stopped(folder, train, recipe=RANDOM, prepare=lambda net: None, watched=slice(30), **options):
    net = build(recipe, train, 2)
    prepare(net)
    return net, fit(net, train, train[watched], recipe, 2, "cpu", **options)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (dict(watched=slice(10, 40)), "data.watched.labels is|data.watched.contents is"),
        (dict(watched=slice(20)), "data.watched.pictures is 20, was 30"),
        (
            dict(prepare=lambda net: net.features.requires_grad_(False)),
            r"network.features.0 is 'Conv2d .* weight frozen bias frozen', was 'Conv2d [^']*dilation=\(1, 1\)'",
        ),
        (
            dict(prepare=lambda net: setattr(net.classifier[2], "p", 0.1)),
            "network.classifier.2 is 'Dropout p=0.1', was",
        ),
    ],
)
def test_a_run_does_not_go_on_as_another(train, tmp_path, changed, said):
    with pytest.raises(SystemExit):
        stopped(tmp_path, train, checkpoint=Stopping(tmp_path, 3), every=1)
    with pytest.raises(CheckpointError, match=said):
        stopped(tmp_path, train, checkpoint=tmp_path, **changed)
    stopped(tmp_path, train, checkpoint=tmp_path)


def test_checkpoints_that_say_nothing_of_the_network_still_go_on(train, tmp_path, monkeypatch):
    whole, _ = start(RANDOM, train)
    with monkeypatch.context() as patch:
        identity = run.run_identity

        def older(chosen, seed, some, watched=None):
            found = identity(chosen, seed, some)
            return found | {"data": {name: found["data"][name] for name in ("pictures", "labels")}}

        patch.setattr(run, "run_identity", older)
        patch.setattr(run, "_described", lambda net: {})
        with pytest.raises(SystemExit):
            start(RANDOM, train, checkpoint=Stopping(tmp_path, 3), every=1)
    tensors, about = read(Checkpoints(tmp_path).paths()[0])
    del about["run"]["network"]
    Checkpoints(tmp_path).save(about["position"]["epoch"], about["position"]["step"], tensors, about)
    net, _ = start(RANDOM, train, checkpoint=tmp_path)
    assert same(weights(whole), weights(net))


def test_a_run_from_before_warm_up_could_be_chosen_is_the_same_run(train, tmp_path):
    before = json.loads(json.dumps(asdict(RANDOM)))
    del before["warm_up"]
    assert run.run_identity(RANDOM, 2, train)["recipe"].items() <= before.items()
    stopped(tmp_path, train, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"another run: recipe\.warm_up is 0\.3"):
        stopped(tmp_path, train, replace(RANDOM, warm_up=0.3), checkpoint=tmp_path)


def test_two_tensors_in_one_memory_are_a_warning_like_other_faults(tmp_path):
    whole = torch.zeros(4)
    with pytest.warns(CheckpointWarning, match="could not be written"):
        assert Checkpoints(tmp_path).save(1, 1, {"net.a": whole, "net.b": whole}, {}) is None
    for keep in (1.5, "2"):
        with pytest.raises(ValueError, match="keep"):
            Checkpoints(tmp_path, keep)


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_an_epoch_is_not_lost_where_a_picture_to_watch_cannot_be_read(tmp_path, monkeypatch, schedule):
    settings, watched = replace(TINY, epochs=2, schedule=schedule), patterns(20, seed=1)
    undisturbed = build(settings, patterns(40), 0)
    wanted = fit(undisturbed, patterns(40), watched, settings, device="cpu")

    def broken(*_, **__):
        raise DataError("a picture is empty")

    net = build(settings, patterns(40), 0)
    with monkeypatch.context() as patched:
        patched.setattr("vgglib.watching.accuracy_by_crops", broken)
        with pytest.raises(DataError, match="empty"):
            fit(net, patterns(40), watched, settings, device="cpu", checkpoint=tmp_path)
    assert len(Checkpoints(tmp_path).paths()) == 1
    trained = []
    one_by_one = training._gradients
    monkeypatch.setattr(training, "_gradients", lambda *all: trained.append(1) or one_by_one(*all))
    net = build(settings, patterns(40), 0)
    history = fit(net, patterns(40), watched, settings, device="cpu", checkpoint=tmp_path)
    steps = -(-40 // settings.batch_size)
    assert len(trained) == steps, "the first epoch was not trained again"
    for name in ("train_loss", "train_accuracy", "validation_accuracy", "learning_rate"):
        assert history.column(name) == wanted.column(name)
    assert same(weights(net), weights(undisturbed))


def test_pictures_to_watch_have_the_channels_of_those_to_train_on():
    colour = patterns(20, seed=1)
    colour = ImageSet(colour.images.expand(-1, 3, -1, -1).contiguous(), colour.labels, colour.classes)
    net = build(TINY, patterns(40), 0)
    with pytest.raises(ValueError, match="the pictures to train on have 1 channels, those to watch 3"):
        fit(net, patterns(40), colour, TINY)


def test_a_stop_during_the_estimate_leaves_a_network_to_use(monkeypatch):
    """The first steps measure how long the run will take; they leave nothing behind."""
    settings = replace(TINY, batch_norm=True)
    net = build(settings, patterns(40), 0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    monkeypatch.setattr(training.Progress, "visible", True)
    timed, calls = estimates._timed_step, []

    def stopped(*about):
        calls.append(timed(*about))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr("vgglib.estimates._timed_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(net, patterns(40), None, settings, device="cpu")
    assert not net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.LeakyReLU(0.01), nn.LeakyReLU(0.9)),
        (nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
        (nn.GELU(), nn.GELU(approximate="tanh")),
        (nn.MaxPool2d(2), nn.MaxPool2d(2, ceil_mode=True)),
    ],
)
def test_layers_of_the_same_shapes_that_compute_something_else_are_told_apart(one, other):
    assert run._described(nn.Sequential(one)) != run._described(nn.Sequential(other))
    assert not re.search("padding_mode|groups|ceil|slope|approximate", str(run._described(nn.Sequential(one))))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dict(checkpoint=""), "checkpoint must be a folder, or Checkpoints\\(folder\\), got ''"),
        (dict(checkpoint=5), "checkpoint must be a folder, .* got 5"),
        (dict(every=3), "every=3 saves nothing without a folder"),
    ],
)
def test_a_place_to_save_that_is_none_is_refused(train, wrong, said):
    with pytest.raises(ValueError, match=said):
        start(RANDOM, train, **wrong)


def test_other_instructions_of_the_processor_are_told(train, tmp_path, monkeypatch):
    with pytest.raises(SystemExit):
        start(RANDOM, train, checkpoint=Stopping(tmp_path, 1), every=1)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NO AVX")
    with pytest.warns(CheckpointWarning, match="not bit for bit .*instructions is 'NO AVX', was "):
        start(RANDOM, train, checkpoint=tmp_path)


@pytest.mark.filterwarnings("error::vgglib.resuming.CheckpointWarning")
def test_a_checkpoint_of_before_goes_on_without_a_word(train, tmp_path):
    """It says nothing of the processor's instructions, and its sums are in float32."""
    whole, expected = start(RANDOM, train)
    with pytest.raises(SystemExit):
        start(RANDOM, train, checkpoint=Stopping(tmp_path, 2), every=1)
    path = Checkpoints(tmp_path).paths()[0]
    tensors, about = read(path)
    assert tensors["totals"].dtype == torch.float64
    tensors["totals"] = tensors["totals"].float()
    del about["conditions"]["instructions"]
    path.write_bytes(packed(tensors, about))
    net, history = start(RANDOM, train, checkpoint=tmp_path)
    assert same(weights(whole), weights(net))
    assert history.column("train_loss") == pytest.approx(expected.column("train_loss"))
    assert losses(history)[2:] == losses(expected)[2:]


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (nn.GroupNorm(1, 4), nn.GroupNorm(4, 4), "num_groups=4"),
        (nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(2), "output_size=2"),
        (nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=3), "scale_factor=3"),
        (nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"), "mode=bilinear"),
        (nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding="valid"), "padding=valid"),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_a_layer_with_the_same_weights_that_computes_something_else_is_another_network(one, other, told):
    assert run._described(one) != run._described(other)
    assert told in run._described(other)[""]


def test_without_checkpoints_no_picture_is_opened_for_its_digest(train, monkeypatch):
    monkeypatch.setattr(run, "run_identity", lambda *_: pytest.fail("it is not asked for"))
    start(RANDOM, train)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux counts the highest memory of a process")
def test_reading_takes_little_more_memory_than_the_file(tmp_path):
    """Measured in a process of its own: the state is 80 MB, which copies of the file would double and more."""
    Checkpoints(tmp_path).save(1, 0, {"net.w": torch.rand(20, 1000, 1000)}, {})
    program = (
        "import sys; from pathlib import Path; import torch, vgglib.resuming as resuming\n"
        "path, = Path(sys.argv[1]).glob('*.safetensors')\n"
        "tensors = resuming.read(path) if sys.argv[2] == 'read' else None\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    seen = [
        int(subprocess.run([sys.executable, "-c", program, tmp_path, how], capture_output=True, check=True).stdout)
        for how in ("not", "read")
    ]
    assert (seen[1] - seen[0]) * 1024 < 3 * 80e6
