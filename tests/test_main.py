"""The command line: files written, JSON and nothing else where it is asked for, one sentence for every error."""

import errno
import io
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import warnings
from dataclasses import fields
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from vgglib import __main__, data, distributed, doctor, durable, folders, protocol, results, training
from vgglib import run as running
from vgglib.__main__ import main
from vgglib.augment import view
from vgglib.checkpoint import digest, load_network, save_network
from vgglib.commands import evaluate, files, one_run
from vgglib.data import CLASSES, DataError, ImageSet, ReaderDied
from vgglib.evaluation import accuracy_on, dense, ensemble, multi_crop, over_scales, single_crop, top1_error, top5_error
from vgglib.model import VGG
from vgglib.recipes import ALLOWED
from vgglib.resuming import CheckpointWarning

pytestmark = pytest.mark.filterwarnings("ignore::vgglib.training.NotLearningWarning")  # a few steps teach nothing

SMALL = [
    *("train", "--recipe", "laptop", "--configuration", "4 | 6 |", "--image-size", "12", "--scale", "12"),
    *("--bf16", "false", "--width", "1", "--hidden", "9", "--epochs", "2", "--batch-size", "16", "--validation", "20"),
]


@pytest.fixture
def sets(monkeypatch):
    """A Fashion-MNIST of a hundred noisy pictures, one bright row per class."""
    dice = torch.Generator().manual_seed(0)

    def draw(count):
        images = torch.randint(0, 60, (count, 1, 28, 28), dtype=torch.uint8, generator=dice)
        labels = torch.arange(count) % 10
        for image, label in zip(images, labels.tolist(), strict=True):
            image[0, 2 * label : 2 * label + 6] += 150
        return ImageSet(images, labels, CLASSES)

    train, test = draw(100), draw(40)
    asked = []
    monkeypatch.setattr(data, "fashion_mnist", lambda root=None, device="cpu": (asked.append(root), (train, test))[1])
    return train, test, asked


@pytest.fixture
def small(sets, tmp_path):
    return [*SMALL, "--device", "cpu", "--out", str(tmp_path / "runs")]


def test_train_writes_the_network_and_its_history(small, sets, tmp_path, capsys):
    assert main([*small, "--root", "elsewhere", "--seed", "3"]) == 0
    folder = tmp_path / "runs" / "laptop-seed3"
    assert sorted(path.name for path in folder.iterdir()) == ["history.json", "metrics.jsonl", "network.safetensors"]
    said = capsys.readouterr().out
    history = json.loads((folder / "history.json").read_text())
    net = load_network(folder / "network.safetensors")
    assert sets[2] == [str(Path("elsewhere").resolve())]  # a run may be resumed from another folder
    assert history["test_accuracy"] == accuracy_on(net, sets[1]) == net.about["test_accuracy"]
    assert (history["seed"], len(history["epochs"]), history["recipe"]["hidden"]) == (3, 2, 9)
    assert "recipe laptop, seed 3: 80 training images" in said
    assert re.search(r"\nabout [\d.]+ s on .*\nepoch 1/2", said)  # how long it will take, before it starts
    assert "epoch 1/2: train loss" in said
    assert f"test accuracy {100 * history['test_accuracy']:.2f} %" in said
    assert digest(folder / "network.safetensors")[:12] in said


def test_json_is_the_only_thing_on_stdout(small, tmp_path, capsys):
    result = tmp_path / "new folder" / "result.json"
    assert main([*small, "--json", "--seeds", "5", "4", "--result", str(result)]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert out.count("\n") == 1
    assert "epoch 1/2" in err
    assert found == json.loads(result.read_text())
    assert found["recipe_name"] == "laptop"
    assert found["changes"]["configuration"] == "4 | 6 |"
    assert [run["seed"] for run in found["runs"]] == [5, 4]
    accuracies = [run["test_accuracy"] for run in found["runs"]]
    assert found["test_accuracy"]["n"] == 2
    assert found["test_accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)
    assert found["seconds"]["mean"] > 0
    for run in found["runs"]:
        assert {"device", "torch", "python"} <= run["conditions"].keys()


def test_several_seeds_are_summarised(small, capsys):
    assert main([*small, "--seeds", "0", "1", "2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("test accuracy ")
    assert last.endswith(" % (n=3 seeds), mean and standard deviation")


def test_an_estimate_trains_nothing(small, tmp_path, capsys, monkeypatch):
    assert main([*small, "--estimate", "--json", "--result", str(tmp_path / "estimate.json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "estimate.json").read_text())
    assert found["seconds_extrapolated"] > 2 * 80 / found["images_per_second"]  # and 20 that are watched
    assert main([*small, "--validation", "0", "--estimate", "--json"]) == 0
    unwatched = json.loads(capsys.readouterr().out)
    assert unwatched["seconds_extrapolated"] == pytest.approx(2 * 100 / unwatched["images_per_second"])
    assert {"device", "torch", "python"} <= found["conditions"].keys()
    assert not (tmp_path / "runs").exists()
    assert main([*small, "--estimate"]) == 0
    assert "recipe laptop: " in capsys.readouterr().out
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert main([*small, "--estimate"]) == 1
    assert "leave torchrun out" in capsys.readouterr().err


def test_the_same_command_gives_the_same_network(small, tmp_path):
    network = tmp_path / "runs" / "laptop-seed0" / "network.safetensors"
    contents = []
    for _ in range(2):
        assert main([*small, "--overwrite"]) == 0
        contents.append(network.read_bytes())
    assert contents[0] == contents[1]


def test_a_finished_run_is_not_trained_again(small, tmp_path, capsys, monkeypatch):
    assert main(small) == 0
    folder = tmp_path / "runs" / "laptop-seed0"
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    capsys.readouterr()
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trains again"))
    assert main([*small, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["test_accuracy"]["mean"] == json.loads(before["history.json"][1])["test_accuracy"]
    assert main([*small, "--learning-rate", "0.01"]) == 1
    assert "recipe.learning_rate is 0.01, was 0.1. Take another --out, or --overwrite" in capsys.readouterr().err
    assert before == {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


@pytest.mark.parametrize("how", ["resume", "the same command", "the same command without the option"])
def test_a_run_that_takes_the_place_of_a_finished_one_goes_on(small, tmp_path, capsys, monkeypatch, how):
    assert main(small) == 0
    folder = tmp_path / "runs" / "laptop-seed0"
    anew = [*small, "--learning-rate", "0.05", "--overwrite"]
    with monkeypatch.context() as patch:
        stopping(patch, 6)
        assert main(anew) == 130
    again = {"resume": ["resume", str(folder), "--device", "cpu"], "the same command": anew}.get(how, anew[:-1])
    assert main(again) == 0
    assert "is finished" not in capsys.readouterr().out
    assert json.loads((folder / "history.json").read_text())["recipe"]["learning_rate"] == 0.05


def test_an_overwriting_command_that_was_stopped_trains_no_seed_twice(small, tmp_path, capsys, monkeypatch):
    """The second of two seeds is stopped: the first is through, and the same command goes on with the second."""
    both, out = [*small, "--seeds", "0", "1"], tmp_path / "runs"
    assert main(both) == 0
    with monkeypatch.context() as patch:
        stopping(patch, 16)  # ten steps a seed
        assert main([*both, "--overwrite"]) == 130
    first = digest(out / "laptop-seed0" / "network.safetensors"), (out / "laptop-seed0" / "history.json").read_bytes()
    assert (out / "laptop-seed1" / "checkpoints" / "run.json").is_file()
    capsys.readouterr()
    assert main([*both, "--overwrite"]) == 0
    said = capsys.readouterr().out
    assert "seed 0 is finished" in said
    assert "seed 1 is finished" not in said
    again = digest(out / "laptop-seed0" / "network.safetensors"), (out / "laptop-seed0" / "history.json").read_bytes()
    assert first == again
    assert sorted(path.name for path in out.iterdir()) == ["laptop-seed0", "laptop-seed1"]  # no note is left
    assert main([*both, "--overwrite"]) == 0  # a new command begins anew
    assert "is finished" not in capsys.readouterr().out


def test_a_note_of_another_overwriting_command_is_not_taken_for_this_one(small, tmp_path, capsys, monkeypatch):
    both, out = [*small, "--seeds", "0", "1"], tmp_path / "runs"
    with monkeypatch.context() as patch:
        stopping(patch, 16)
        assert main([*both, "--overwrite"]) == 130
    assert main(["resume", str(out / "laptop-seed1"), "--device", "cpu"]) == 0  # the last one: the note goes
    assert not (out / ".overwriting.json").exists()
    for note in ('{"wanted": {"runs": ["laptop-seed0"]}, "done": ["laptop-seed0"]}', "[]", "{"):
        (out / ".overwriting.json").write_text(note)
        capsys.readouterr()
        assert main([*small, "--overwrite"]) == 0
        assert "is finished" not in capsys.readouterr().out
        assert not (out / ".overwriting.json").exists()


def test_a_finished_run_whose_network_is_damaged_is_not_finished(small, tmp_path, capsys):
    assert main(small) == 0
    network = tmp_path / "runs" / "laptop-seed0" / "network.safetensors"
    network.write_bytes(network.read_bytes()[:1000])
    assert main(small) == 1
    assert (
        "is not the file that its run wrote: put that back, or train anew with --overwrite" in capsys.readouterr().err
    )
    assert main([*small, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("theirs", "differing", "said"),
    [
        ({}, 0, None),
        ({}, 2, "process 1 does not train and test what process 0 does: see its own message"),
        (
            {"data": {"tested": {"pictures": 5}}},
            0,
            r"process 0 .*: data.tested.pictures is 7, was 5. Give all the same",
        ),
        ({"data": {"tested": None}}, 0, r"process 0 .*: data.tested"),
        ({"seeds": [0, 1]}, 0, r"process 0 .*: seeds is \[0\], was \[0, 1\]"),
    ],
)
def test_processes_agree_on_the_test_pictures_and_the_seeds_before_they_train(monkeypatch, theirs, differing, said):
    wanted = {"seed": 0, "data": {"tested": {"pictures": 7}}, "seeds": [0]}
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "from_all", lambda mine: [mine, torch.tensor(differing)])
    monkeypatch.setattr(distributed, "from_first", lambda _: json.dumps({**wanted, **theirs}).encode())
    if said is None:
        one_run.expect_agreement(wanted)
    else:
        with pytest.raises(ValueError, match=said):
            one_run.expect_agreement(wanted)


def test_a_finished_run_of_other_pictures_is_not_taken_for_this_one(small, sets, capsys, monkeypatch):
    assert main(small) == 0
    fewer = sets[0][:80], sets[1]
    monkeypatch.setattr(data, "fashion_mnist", lambda root=None, device="cpu": fewer)
    assert main(small) == 1
    assert "data.pictures is 60, was 80" in capsys.readouterr().err
    others = ImageSet(sets[0].images.flip(3), sets[0].labels, sets[0].classes), sets[1]  # as many, with the same labels
    monkeypatch.setattr(data, "fashion_mnist", lambda root=None, device="cpu": others)
    assert main(small) == 1
    assert "data.contents is" in capsys.readouterr().err


def test_a_run_does_not_go_on_with_other_pictures(small, sets, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, 6)
        assert main(small) == 130
    others = ImageSet(sets[0].images.flip(3), sets[0].labels, sets[0].classes), sets[1]
    with monkeypatch.context() as patch:
        patch.setattr(data, "fashion_mnist", lambda root=None, device="cpu": others)
        capsys.readouterr()
        assert main(["resume", str(tmp_path / "runs" / "laptop-seed0"), "--device", "cpu"]) == 1
        assert "holds checkpoints of another run: data.contents is" in capsys.readouterr().err
    assert main(["resume", str(tmp_path / "runs" / "laptop-seed0"), "--device", "cpu"]) == 0


@pytest.fixture
def begun(small, tmp_path, capsys):
    """The command that starts from a trained network, and that network's folder."""
    assert main([*small[:-1], str(tmp_path / "before")]) == 0
    capsys.readouterr()
    before = tmp_path / "before" / "laptop-seed0"
    return [*small, "--start-from", str(before)], before


def test_a_run_starts_from_a_trained_network(begun, small, tmp_path, capsys, monkeypatch):
    command, before = begun
    assert (
        main([*command, "--learning-rate", "1e-9", "--weight-decay", "0", "--seed", "5"]) == 0
    )  # stays where it began
    assert f"begins with conv1_1, conv2_1, fc6, fc7, fc8 of {before}" in capsys.readouterr().out
    old = load_network(before / "network.safetensors")
    new = load_network(tmp_path / "runs" / "laptop-seed5" / "network.safetensors")
    for name, parameter in new.named_parameters():
        assert torch.allclose(parameter, old.state_dict()[name], atol=1e-5)
    assert new.about["start"] == digest(before / "network.safetensors")
    monkeypatch.setattr(training, "fit", None)
    assert main([*command, "--learning-rate", "1e-9", "--weight-decay", "0", "--seed", "5"]) == 0  # finished
    assert "seed 5 is finished" in capsys.readouterr().out
    rest = ["--learning-rate", "1e-9", "--weight-decay", "0", "--seed", "5"]
    assert main([*small, *rest]) == 1
    said = capsys.readouterr().err
    assert "holds a finished run with other settings: data.start" in said


def test_a_run_with_another_start_is_not_gone_on_with(begun, small, tmp_path, capsys, monkeypatch):
    command, before = begun
    with monkeypatch.context() as patch:
        stopping(patch, 6)
        assert main(command) == 130
    folder = tmp_path / "runs" / "laptop-seed0"
    assert main(small) == 1
    said = capsys.readouterr().err
    assert f"began from the network {digest(before / 'network.safetensors')[:12]}..., this one from no other" in said
    network = (before / "network.safetensors").rename(
        tmp_path / "moved.safetensors"
    )  # its weights are no longer needed
    assert main(["resume", str(folder), "--device", "cpu"]) == 0
    resumed = load_network(folder / "network.safetensors")
    assert main([*small[:-1], str(tmp_path / "whole"), "--start-from", str(network)]) == 0
    whole = load_network(tmp_path / "whole" / "laptop-seed0" / "network.safetensors")
    assert resumed.about["start"] == whole.about["start"]
    assert all(torch.equal(*pair) for pair in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_run_that_was_stopped_before_its_first_checkpoint_starts_there_again(begun, small, tmp_path, capsys):
    command, before = begun
    settings = tmp_path / "runs" / "laptop-seed0" / "checkpoints" / "run.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command) == 130
    assert json.loads(settings.read_text())["start_from"] == str(before / "network.safetensors")
    capsys.readouterr()
    assert main(["resume", str(settings.parent.parent), "--device", "cpu"]) == 0
    assert f"begins with conv1_1, conv2_1, fc6, fc7, fc8 of {before}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("nothing", "no network called 'nothing' is shipped"),
        (__file__, "test_main.py is damaged or no safetensors file"),
        (
            "laptop",
            "conv1_1 has 4 channels here, 16 in the trained network: take its width 0.25, image_size 32, hidden 512, p",
        ),
    ],
)
def test_a_start_that_cannot_be_is_one_line(small, capsys, monkeypatch, start, said):
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trains"))
    assert main([*small, "--start-from", start]) == 1
    assert said in capsys.readouterr().err


def test_runs_that_knew_less_of_their_pictures_go_on(small, tmp_path, monkeypatch):
    whole = running.run_identity

    def less(*asked):
        found = whole(*asked)
        del found["data"]["contents"]
        return found

    with monkeypatch.context() as patch:
        patch.setattr(running, "run_identity", less)
        stopping(patch, 6)
        assert main(small) == 130
    assert main(small) == 0


def test_where_nothing_can_be_written_it_is_said_before_training(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trains"))
    (tmp_path / "file").write_text("")
    assert main([*small, "--result", str(tmp_path / "file" / "result.json")]) == 1
    assert "file is a file; name a file in a folder" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK or Path(path) != tmp_path)  # root may write
        assert main(small) == 1
    assert f"nothing can be written into {tmp_path}; name another folder" in capsys.readouterr().err

    def full(dir):
        raise FileNotFoundError(2, "No such file or directory", str(dir))  # what /proc says

    monkeypatch.setattr(files.tempfile, "TemporaryFile", full)
    assert main(small) == 1
    assert f"nothing can be written into {tmp_path}; name another folder" in capsys.readouterr().err


def test_of_several_seeds_those_that_are_finished_stay(small, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, 13)  # ten steps of seed 3, then the third of seed 4
        assert main([*small, "--seeds", "3", "4", "5"]) == 130
    first = tmp_path / "runs" / "laptop-seed3" / "network.safetensors"
    before = first.stat().st_mtime_ns
    capsys.readouterr()
    assert main([*small, "--seeds", "3", "4", "5", "--json"]) == 0
    assert [run["seed"] for run in json.loads(capsys.readouterr().out)["runs"]] == [3, 4, 5]
    assert first.stat().st_mtime_ns == before
    assert main([*small, "--seeds", "3", "3"]) == 1
    assert "a seed is given twice" in capsys.readouterr().err


def test_the_test_computes_in_the_format_of_the_recipe(small, monkeypatch):
    there, asked = training.watched_accuracy, []

    def watched(net, pictures, bf16, scale, *crop):
        asked.append((bf16, scale))
        return there(net, pictures, bf16, scale, *crop)

    monkeypatch.setattr(training, "watched_accuracy", watched)
    assert main(small) == 0
    assert asked == 3 * [(False, 12)]


def test_a_stop_in_the_last_validation_is_not_forgotten(small, tmp_path, capsys, monkeypatch):
    there, seen = training.watched_accuracy, []

    def watched(*arguments):
        seen.append(1)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return there(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "watched_accuracy", watched)
        assert main([*small, "--seeds", "0", "1"]) == 143
    assert "stopped after the last epoch; " in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["laptop-seed0"]
    monkeypatch.setattr(training, "batches", lambda *_: pytest.fail("trains again"))
    assert main(["resume", str(tmp_path / "runs" / "laptop-seed0"), "--device", "cpu"]) == 0


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"options": {}, "recipe": {"lr": 1}, "seed": 0}'])
def test_settings_that_train_did_not_write_are_refused(content, tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "run.json").write_text(content)
    assert main(["resume", str(tmp_path), "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert "run.json is not what train wrote" in said
    assert "give the run's own train command again" in said
    assert "Error(" not in said


def test_a_value_that_python_cannot_read_is_text(small, capsys):
    assert main([*small, "--scale", "{[]:1}"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_where_nothing_was_saved_nothing_is_said_to_go_on(small, tmp_path, capsys, monkeypatch):
    (tmp_path / "runs" / "laptop-seed0").mkdir(parents=True)
    (tmp_path / "runs" / "laptop-seed0" / "checkpoints").write_text("in the way")
    stopping(monkeypatch, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(small) == 130
    assert "go on with" not in capsys.readouterr().err


def test_fields_of_the_recipe_reach_it(monkeypatch, sets):
    seen = []
    monkeypatch.setattr(training, "build", lambda chosen, *_: (seen.append(chosen), 1 / 0))
    changes = "--scale (228,232) --flip false --bf16 none --learning-rate 1e-3 --schedule plateau --validation 20"
    assert main(["train", "--recipe", "paper", *changes.split(), "--configuration", "8 8 | 16"]) == 1
    changed = dict(scale=(228, 232), flip=False, bf16=None, learning_rate=1e-3, schedule="plateau", validation=20)
    assert seen == [training.recipe("paper", configuration="8 8 | 16", **changed)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --recipe alexnet", "unknown recipe 'alexnet': choose from seed, d2l"),
        ("train --epochs 0", "epochs must be positive"),
        ("train --epochs ten", "epochs must be a whole number, got 'ten'"),
        ("train --validation none", "validation must be a whole number, got None; 0 holds none out"),
        ("train --batch-norm yes", "batch_norm must be true or false, got 'yes'"),
        ("train --scale 32.5", "scale must be"),
        ("train --scale 20", "expected crop <= S_min <= S_max, got crop 32 and scale 20"),
        ("train --keep 0", "--keep must be 1 or more, got 0"),
        ("train --checkpoint-every 0", "--checkpoint-every must be 1 or more, got 0"),
        ("train --learning-rate nan", "learning_rate must be positive, got nan"),
        ("train --weight-decay inf", "weight_decay must be finite, got inf"),
        ("train --image-size -3", "expected crop <="),
        ("train --patience 3", "--patience is for --schedule plateau: this recipe's is linear"),
        ("train --recipe paper --warm-up 0.5", "--warm-up is for --schedule linear: this recipe's is plateau"),
        ("train --workers 2", "--workers is for a folder of pictures"),
        ("train --root x --data y", "--root is where Fashion-MNIST lies: --data y is a folder of its own"),
        ("evaluate laptop --workers 2", "--workers is for a folder of pictures"),
        ("evaluate laptop --root x --data y", "--root is where Fashion-MNIST lies"),
        ("evaluate laptop laptop", "laptop is given twice: it would count twice"),
        ("evaluate laptop --scales 32 36 32", "the scale 32 is given twice: it would count twice"),
        ("cost D --image-size -3", "image_size must be positive, got -3"),
        ("train --schedule cosine", "allowed are constant, plateau, linear"),
        ("train --validation 60000", "validation must be a number of images"),
        ("train --device warp", "unknown device 'warp': take cpu, cuda, cuda:1 (the second GPU) or mps"),
        ("evaluate laptop --device meta", "unknown device 'meta'"),
        ("evaluate laptop --device cuda:99", "torch finds no cuda:99 here"),
        ("measure-cost --device cuda:99", "torch finds no cuda:99 here"),
        ("train --configuration F --validation 20", "'F' in 'F' is neither a configuration"),
        ("cost VGG", "'VGG' in 'VGG' is neither a configuration"),
        ("cost D --image-size 16", "pool5 would reduce 1 x 1 to nothing"),
        ("cost D --width 0", "width must be positive"),
        ("receptive-field 64/2", "'64/2' in '64/2' is neither a configuration"),
    ],
)
def test_errors_are_one_line(sets, capsys, arguments, said):
    assert main(arguments.split()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("vgglib: ")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        DataError("labels are damaged"),
        AssertionError("Torch not compiled with CUDA enabled"),
        RuntimeError("first line\nsecond line"),
        training.NonFiniteLossError("the loss is nan"),
        PermissionError(13, "Permission denied"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_fails_below_is_one_line_too(monkeypatch, sets, capsys, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(data, "fashion_mnist", fail)
    assert main(["train"]) == 1
    err = capsys.readouterr().err
    assert err == f"vgglib: {str(error).splitlines()[0]}\n"


def test_whoever_stops_reading_gets_no_error(tmp_path):
    (reading, writing), code = os.pipe(), "import time; time.sleep(2); from vgglib.__main__ import main; "
    code += "import sys; sys.exit(main(['receptive-field', 'D']))"
    command = subprocess.Popen([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    os.close(reading)  # before the first line
    assert command.communicate(timeout=120)[1] == ""
    assert command.returncode == 1


TRAINING_ALONE = """
import sys, torch
from vgglib import data
from vgglib.__main__ import main
from vgglib.data import CLASSES, ImageSet
images = torch.randint(0, 256, (140, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
every = ImageSet(images, torch.arange(140) % 10)
data.fashion_mnist = lambda root=None: (every[:100], every[100:])
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone after a line", "closed from the start"])
def test_training_needs_nobody_who_reads(tmp_path, how):
    """``train | head -1`` and ``train >&-`` train to the end."""
    command = [sys.executable, "-c", TRAINING_ALONE, *SMALL, "--device", "cpu", "--out", str(tmp_path / "runs")]
    if how == "closed from the start":
        close = [sys.executable, "-c", "import os, sys; os.close(1); os.execv(sys.argv[1], sys.argv[1:])"]
        process = subprocess.Popen([*close, *command], stderr=subprocess.PIPE, text=True)
    else:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout.readline().startswith("recipe laptop, seed 0")
        process.stdout.close()
    said = process.stderr.read()
    assert process.wait(timeout=120) == 0, said
    assert "Traceback" not in said
    assert "Broken pipe" not in said
    assert load_network(tmp_path / "runs" / "laptop-seed0" / "network.safetensors")


def test_a_broken_picture_in_the_test_set_costs_no_training(tmp_path, capsys, monkeypatch):
    for part, count in (("train", 24), ("val", 3)):
        for name in ("ant", "bee"):
            (tmp_path / "pictures" / part / name).mkdir(parents=True)
            for n in range(count):
                Image.new("L", (14, 14), 9 * n).save(tmp_path / "pictures" / part / name / f"{n}.png")
    broken = tmp_path / "pictures" / "val" / "bee" / "1.png"
    good = broken.read_bytes()
    there = training.fit

    def fit(*arguments):
        history = there(*arguments)
        broken.write_bytes(b"hello")
        return history

    monkeypatch.setattr(training, "fit", fit)
    words = [*SMALL, "--data", str(tmp_path / "pictures"), "--device", "cpu", "--out", str(tmp_path / "runs")]
    assert main(words) == 1
    folder = tmp_path / "runs" / "laptop-seed0"
    said = capsys.readouterr().err
    assert f"{broken} is no picture" in said
    assert f"python -m vgglib resume {folder}" in said
    assert load_network(folder / "network.safetensors").about["test_accuracy"] is None
    monkeypatch.setattr(training, "fit", there)
    broken.write_bytes(good)
    assert main(["resume", str(folder), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "epoch 1/2" not in said  # nothing is trained again
    assert load_network(folder / "network.safetensors").about["test_accuracy"] is not None


@pytest.mark.parametrize("normalise", ["mean", "nothing"])
@pytest.mark.parametrize("part", ["train", "held out", "val"])
def test_a_broken_picture_is_named_before_the_first_step(tmp_path, capsys, monkeypatch, part, normalise):
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("trains"))
    for folder in ("train", "val"):
        for name in ("ant", "bee"):
            (tmp_path / folder / name).mkdir(parents=True)
            for n in range(24):
                Image.new("L", (14, 14), 9 * n).save(tmp_path / folder / name / f"{n}.png")
    train, test = folders.train_and_validation(tmp_path)
    some = {"train": train.split(20)[0], "held out": train.split(20)[1], "val": test}[part]
    for n in (0, 3):
        some.path(n).write_bytes(b"hello")
    words = ["--data", str(tmp_path), "--device", "cpu", "--normalise", normalise, "--out", str(tmp_path / "runs")]
    assert main([*SMALL, *words]) == 1
    said = capsys.readouterr().err
    assert f"2 of {len(some)} files cannot be used: {some.path(0)} is no picture" in said
    assert str(some.path(3)) in said
    assert not list((tmp_path / "runs").rglob("*.*"))


@pytest.mark.parametrize(("module", "name"), [("checkpoint", "write_durably"), ("results", "os.replace")])
def test_a_disk_that_is_full_at_the_end_costs_no_training(small, tmp_path, capsys, monkeypatch, module, name):
    folder = tmp_path / "runs" / "laptop-seed0"
    last = folder / ("network.safetensors" if module == "checkpoint" else "history.json")
    whole = {"checkpoint": durable.write_durably, "results": os.replace}[module]

    def full(*arguments):
        if last in arguments:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(f"vgglib.{module}.{name}", full)
        assert main(small) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"vgglib: {last} could not be written (No space left on device); all that was trained is in")
    assert said.rstrip().endswith(f"then: python -m vgglib resume {folder}")
    assert main(["resume", str(folder), "--device", "cpu"]) == 0
    assert "epoch 1/2" not in capsys.readouterr().out  # nothing is trained again
    assert load_network(folder / "network.safetensors").about["test_accuracy"] is not None
    assert (folder / "history.json").exists()


def test_a_disk_that_is_full_for_long_costs_what_was_trained_since(small, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "runs" / "laptop-seed0"

    def full(path, content):
        if path.name == "network.safetensors" or "epoch-0003" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(path, content)

    whole = durable.write_durably
    with monkeypatch.context() as patch:
        for module in ("checkpoint", "resuming"):
            patch.setattr(f"vgglib.{module}.write_durably", full)
        with pytest.warns(CheckpointWarning, match="epoch-0003.* could not be written"):
            assert main(small) == 1
    newest = folder / "checkpoints" / "epoch-0002-step-0000000.safetensors"
    assert f"; the newest state that is kept is {newest}: make room, then: " in capsys.readouterr().err
    assert main(["resume", str(folder), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "epoch 2/2" in said
    assert "epoch 1/2" not in said


def test_readers_that_die_break_no_picture(small, tmp_path, capsys, monkeypatch):
    def dies(*_):
        raise ReaderDied("a process that reads pictures has died")

    monkeypatch.setattr(training, "fit", dies)
    assert main(small) == 1
    folder = tmp_path / "runs" / "laptop-seed0"
    said = capsys.readouterr().err
    assert said.startswith("vgglib: a process that reads pictures has died; go on with: python -m vgglib resume ")
    assert said.endswith(f"{folder} --workers 0\n")
    asked, train = [], "vgglib.commands.train"
    monkeypatch.setattr(f"{train}.one_run", lambda options, *_: asked.append(options.workers) or {"seed": 0})
    monkeypatch.setattr(f"{train}._summarise", lambda *_: 0)
    assert main(["resume", str(folder)]) == main(["resume", str(folder), "--workers", "3"]) == 0
    assert asked == [0, 3]


@pytest.mark.parametrize("why", ["a folder that takes no files", "another process"])
def test_no_more_is_promised_than_there_is(small, tmp_path, capsys, monkeypatch, why):
    """What cannot be resumed is not said to be; a network that another process would have written lies nowhere."""

    def broken(*_):
        raise DataError("x.png is no picture")

    if why == "another process":
        monkeypatch.setattr(distributed, "rank", lambda: 1)
        monkeypatch.setattr(training, "watched_accuracy", broken)
        there = training.batches
        monkeypatch.setattr(training, "batches", lambda *arguments: there(*arguments[:6]))  # it is alone all the same
        small = [*small, "--validation", "0"]
    else:
        there = results.write
        stop = OSError(errno.EROFS, "Read-only file system")
        refused = lambda path, what: there(path, what) if path.name != "run.json" else (_ for _ in ()).throw(stop)  # noqa: E731
        monkeypatch.setattr(results, "write", refused)
        monkeypatch.setattr(training, "fit", broken)
    assert main(small) == 1
    said = capsys.readouterr().err
    assert "x.png is no picture" in said
    assert "lies in" not in said
    assert ("resume" in said) == (why == "another process")
    assert not (tmp_path / "runs" / "laptop-seed0" / "network.safetensors").exists()


def test_the_test_scale_is_section_4_1s(small, sets, tmp_path, capsys):
    assert main([*small[:7], "--scale", "13,16", *small[9:]]) == 0
    folder = tmp_path / "runs" / "laptop-seed0"
    net, history = load_network(folder / "network.safetensors"), json.loads((folder / "history.json").read_text())
    assert net.about["test_scale"] == 14
    assert history["test_accuracy"] == accuracy_on(net, sets[1], 14)
    _, watched = sets[0].split(20)
    assert history["epochs"][-1]["validation_accuracy"] == accuracy_on(net, watched, 14)
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--method", "single-crop", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scales"] == [14]
    assert found["top1_error"] == pytest.approx(1 - history["test_accuracy"])


def test_an_overwriting_run_that_got_nowhere_leaves_the_finished_one_guarded(small, tmp_path, capsys, monkeypatch):
    assert main(small) == 0
    folder = tmp_path / "runs" / "laptop-seed0"
    before = digest(folder / "network.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(training, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([*small, "--overwrite", "--learning-rate", "0.07"]) == 130
    assert (folder / "checkpoints" / "run.json").exists()
    capsys.readouterr()
    assert main([*small, "--learning-rate", "0.07"]) == 1
    assert "holds a finished run with other settings: recipe.learning_rate is 0.07" in capsys.readouterr().err
    assert main(small) == 0
    assert "is finished" in capsys.readouterr().out
    assert digest(folder / "network.safetensors") == before
    assert main(["resume", str(folder), "--device", "cpu"]) == 0  # who asks for that run gets it
    assert json.loads((folder / "history.json").read_text())["recipe"]["learning_rate"] == 0.07
    assert digest(folder / "network.safetensors") != before
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("held_out", [4, 46], ids=["to train on", "to watch"])
def test_a_picture_that_is_replaced_costs_no_step(tmp_path, capsys, monkeypatch, held_out):
    """The run goes on where it was; the pictures are others, so only where that is asked for."""
    there, folder = training.batches, tmp_path / "runs" / "laptop-seed0"
    for name in ("ant", "bee"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for n in range(24):
            Image.new("L", (14, 14), 9 * n).save(tmp_path / "pictures" / name / f"{n}.png")
    broken = tmp_path / "pictures" / "bee" / "1.png"  # it is in the larger part, whichever that is

    def batches(*arguments, **named):
        for number, batch in enumerate(there(*arguments, **named)):
            yield batch
            if number == 0 and not named:  # not in the estimate
                broken.write_bytes(b"hello")

    words = ["--data", str(tmp_path / "pictures"), "--workers", "0", "--batch-size", "1", "--batch-norm", "false"]
    words += ["--validation", str(held_out), "--device", "cpu", "--out", str(tmp_path / "runs")]
    with monkeypatch.context() as patch:
        patch.setattr(training, "batches", batches)
        assert main([*SMALL, *words]) == 1
    said = capsys.readouterr().err
    assert f"{broken} is no picture" in said
    assert "delete it" not in said  # the run would not go on without it
    assert said.rstrip().endswith(f"then: python -m vgglib resume {folder} --changed-pictures")
    (saved,) = (folder / "checkpoints").glob("epoch-0001-*.safetensors")
    assert not saved.stem.endswith("-0000000")
    Image.new("L", (30, 14), 99).save(broken)
    again = ["resume", str(folder), "--device", "cpu"]
    assert main(again) == 1
    assert (
        "if pictures were only mended or replaced, under their names, resume --changed-pictures goes on"
        in capsys.readouterr().err
    )
    other = broken.rename(broken.with_name("99.png"))  # who is held out would be another
    assert main([*again, "--changed-pictures"]) == 1
    assert "names is" in capsys.readouterr().err
    other.rename(broken)
    with pytest.warns(CheckpointWarning, match=r"from epoch 1, step [1-9]\d*, but not bit for bit .*contents is"):
        assert main([*again, "--changed-pictures"]) == 0
    assert len(json.loads((folder / "history.json").read_text())["epochs"]) == 2


def test_a_run_whose_pictures_have_moved_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    folder, pictures = tmp_path / "runs" / "laptop-seed0", tmp_path / "pictures"
    for name in ("ant", "bee"):
        (pictures / name).mkdir(parents=True)
        for n in range(12):
            Image.new("L", (14, 14), 9 * n).save(pictures / name / f"{n}.png")
    words = [*SMALL, "--workers", "0", "--batch-size", "4", "--validation", "0", "--device", "cpu"]
    words += ["--out", str(tmp_path / "runs")]
    with monkeypatch.context() as patch:
        stopping(patch, 8)  # in the second epoch of six steps
        assert main([*words, "--data", str(pictures)]) == 130
    moved = pictures.rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["resume", str(folder), "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert f"{pictures}, with the pictures of this run, is not there" in said
    assert "with the new --data goes on from the same checkpoints" in said
    assert main([*words, "--data", str(moved)]) == 0
    said = capsys.readouterr().out
    assert "epoch 2/2" in said
    assert "epoch 1/2" not in said


def test_other_labels_are_no_replaced_pictures(small, sets, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, 6)
        assert main(small) == 130
    turned = ImageSet(sets[0].images.flip(3), sets[0].labels.flip(0), sets[0].classes), sets[1]
    monkeypatch.setattr(data, "fashion_mnist", lambda root=None, device="cpu": turned)
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "runs" / "laptop-seed0"), "--device", "cpu", "--changed-pictures"]) == 1
    assert "data.labels is" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("vgglib.commands.train.one_run", interrupt)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


# --- stopping and going on -----------------------------------------------------------------------------------------


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def stopping(monkeypatch, after, number=signal.SIGINT):
    """Send a signal to this process while it waits for its batch after so many."""
    there, seen = training.batches, []

    def batches(*arguments):
        for batch in there(*arguments):
            seen.append(1)
            if len(seen) == after + 1:
                os.kill(os.getpid(), number)
            yield batch

    monkeypatch.setattr(training, "batches", batches)
    monkeypatch.setattr(training, "foretold", lambda *_: "")  # takes no batch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_stopped_is_resumed(small, sets, tmp_path, capsys, monkeypatch, number):
    small = [*small, "--dropout", "0.3"]
    assert main([*small, "--out", str(tmp_path / "whole")]) == 0
    folder = tmp_path / "runs" / "laptop-seed0"
    with monkeypatch.context() as patch:
        stopping(patch, 6, number)
        assert main(small) == 128 + number
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("interrupted: stopped in epoch 2, after 2 steps; ")
    assert f"python -m vgglib resume {folder}" in err
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoints", "metrics.jsonl"]
    assert main(["resume", str(folder), "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    whole = json.loads((tmp_path / "whole" / "laptop-seed0" / "history.json").read_text())
    assert found["resumed"] == str(folder)
    assert found["test_accuracy"]["mean"] == whole["test_accuracy"]
    resumed, peaceful = (
        load_network(one / "network.safetensors").state_dict() for one in (folder, tmp_path / "whole" / "laptop-seed0")
    )
    assert all(torch.equal(resumed[name], peaceful[name]) for name in peaceful)
    assert sorted(path.name for path in folder.iterdir()) == ["history.json", "metrics.jsonl", "network.safetensors"]
    assert [line["train_loss"] for line in lines(folder / "metrics.jsonl")] == [
        epoch["train_loss"] for epoch in whole["epochs"]
    ]
    assert main(["resume", str(folder)]) == 1
    assert "is finished: its network is" in capsys.readouterr().err
    assert main(["resume", str(tmp_path)]) == 1
    assert "holds no run to go on with" in capsys.readouterr().err


def test_the_same_command_goes_on_and_another_recipe_is_refused(small, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "runs" / "laptop-seed0" / "checkpoints"
    with monkeypatch.context() as patch:
        stopping(patch, 3)
        assert main([*small, "--checkpoint-every", "2", "--keep", "5"]) == 130
    steps = sorted(path.name for path in folder.glob("epoch*"))
    assert steps == [f"epoch-0001-step-000000{step}.safetensors" for step in (2, 4)]
    assert main([*small, "--learning-rate", "0.01"]) == 1
    assert "recipe.learning_rate is 0.01, was 0.1" in capsys.readouterr().err
    assert sorted(path.name for path in folder.glob("epoch*")) == steps
    assert main(small) == 0
    assert not folder.exists()


def test_the_speed_is_told_with_the_share_of_the_peak(small, tmp_path, capsys):
    assert main(small) == 0
    said = capsys.readouterr().out
    assert "with data loading" in said
    assert "of a large matrix product here in float32" in said
    told = json.loads((tmp_path / "runs" / "laptop-seed0" / "history.json").read_text())["throughput"]
    assert told["share"] == pytest.approx(told["flops_per_second"] / told["peak"])
    assert told["bf16"] is False


def test_tensorboard_gets_its_events(small, tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorboard")
    assert main([*small, "--tensorboard"]) == 0
    assert list((tmp_path / "runs" / "laptop-seed0" / "tensorboard").glob("events*"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    capsys.readouterr()
    assert main([*small, "--tensorboard", "--overwrite"]) == 1
    out, err = capsys.readouterr()
    assert "TensorBoard is not installed" in err
    assert out == ""  # before anything is read


class Folder:
    """Pictures as vgglib.folders has them: read while training, of several sizes."""

    def __init__(self, images):
        self.images, self.labels, self.classes, self.channels = images.images, images.labels, images.classes, 1
        self.contents = images.contents

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return Folder(ImageSet(self.images[index], self.labels[index], self.classes))

    def split(self, validation):
        return tuple(map(Folder, ImageSet(self.images, self.labels, self.classes).split(validation)))

    def mean_and_std(self):
        return torch.tensor([0.3]), torch.tensor([0.2])

    def batches(self, recipe, seed, epoch, start=0, rank=0, world=1):
        inner = ImageSet(self.images, self.labels, self.classes)
        yield from training.batches(torch.nn.Identity(), inner, recipe, seed, epoch, start, rank, world)

    def pictures(self):
        for number, (image, label) in enumerate(zip(self.images, self.labels.tolist(), strict=True)):
            yield image[:, number % 3 :], label

    def centre_crops(self, crop, scale, batch_size):
        for image, _ in self.pictures():
            yield view(image[None], crop, scale)


@pytest.mark.parametrize("tested", [True, False])
def test_a_folder_of_pictures(small, sets, tmp_path, capsys, monkeypatch, tested):
    asked = []

    def train_and_validation(root, channels, workers):
        asked.append((root, channels, workers))
        return Folder(sets[0]), Folder(sets[1]) if tested else None

    monkeypatch.setitem(sys.modules, "vgglib.folders", SimpleNamespace(train_and_validation=train_and_validation))
    assert main([*small, "--data", "photos", "--workers", "4"]) == 0
    assert asked == [(str(Path("photos").resolve()), 3, 4)]  # so that it can be resumed from another folder
    run = json.loads((tmp_path / "runs" / "laptop-seed0" / "history.json").read_text())
    assert (run["test_accuracy"] is None) != tested
    assert ("test accuracy" in capsys.readouterr().out.splitlines()[-3]) == tested
    if not tested:
        return
    assert main([*small, "--data", "photos", "--watch-test", "true", "--estimate"]) == 0
    alike = [*small, "--out", str(tmp_path / "in memory")]
    net = load_network(tmp_path / "runs" / "laptop-seed0" / "network.safetensors")
    assert (net.mean.item(), net.std.item()) == pytest.approx((0.3, 0.2))
    assert main(alike) == 0
    other = json.loads((tmp_path / "in memory" / "laptop-seed0" / "history.json").read_text())
    assert len(other["epochs"]) == len(run["epochs"]) == 2


def test_resume_starts_from_the_network_that_the_run_began_with(begun, tmp_path, capsys, monkeypatch):
    """A run that was stopped before its first checkpoint reads that network once more."""
    command, before = begun
    with monkeypatch.context() as patched:
        patched.setattr(training, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command) not in (0, 1)
    assert not list((tmp_path / "runs" / "laptop-seed0" / "checkpoints").glob("*.safetensors"))
    file, content = before / "network.safetensors", (before / "network.safetensors").read_bytes()
    net = load_network(file)
    with torch.no_grad():
        net.classifier[-1].bias.add_(1)
    save_network(net, file, net.about)
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "runs" / "laptop-seed0"), "--device", "cpu"]) == 1
    assert "has changed since the run began" in capsys.readouterr().err
    file.write_bytes(content)
    assert main(["resume", str(tmp_path / "runs" / "laptop-seed0"), "--device", "cpu"]) == 0
    assert load_network(tmp_path / "runs" / "laptop-seed0" / "network.safetensors").about["start"] == digest(file)


def test_a_folder_of_other_classes_starts_from_a_grey_network(begun, tmp_path, capsys):
    command, before = begun
    for number in range(12):
        folder = tmp_path / "shades" / ["dark", "bright", "striped"][number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (14 + number, 20), (80 * (number % 3), 9, 200)).save(folder / f"{number}.png")
    command = [*command, "--data", str(tmp_path / "shades"), "--validation", "0"]
    assert main(command) == 0
    assert f"begins with conv1_1, conv2_1, fc6, fc7 of {before}" in capsys.readouterr().out  # the classes are others
    net = load_network(tmp_path / "runs" / "laptop-seed0" / "network.safetensors")
    assert (net.in_channels, net.classes) == (1, ("bright", "dark", "striped"))
    assert net.mean.item() == load_network(before / "network.safetensors").mean.item()
    assert main(command) == 0
    assert "seed 0 is finished" in capsys.readouterr().out
    assert main([*command, "--channels", "3", "--out", str(tmp_path / "colour")]) == 1
    said = "conv1_1 has 3 input channels here, 1 in the trained network: take its in_channels 1"
    assert said in capsys.readouterr().err
    at = command.index("--start-from")
    alone = [*command[:at], *command[at + 2 :], "--out", str(tmp_path / "alone")]
    assert main([*alone, "--channels", "1"]) == 0
    assert main(alone) == 1  # coloured, which is another run
    assert "holds a finished run with other settings: data.channels" in capsys.readouterr().err


def test_fashion_mnist_has_no_colours_to_choose(small, capsys):
    assert main([*small, "--channels", "1"]) == 1
    assert "--channels is for a folder of pictures" in capsys.readouterr().err


@pytest.mark.parametrize("in_the_way", ["runs", "runs/laptop-seed0", "summary"])
def test_what_cannot_be_written_is_said_before_training(small, tmp_path, capsys, monkeypatch, in_the_way):
    monkeypatch.setattr(training, "fit", lambda *_: pytest.fail("it trains"))
    arguments = small
    if in_the_way == "summary":
        (tmp_path / "summary").mkdir()
        arguments = [*small, "--result", str(tmp_path / "summary")]
    else:
        (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
        (tmp_path / in_the_way).write_text("a file")
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / in_the_way) in said
    assert "name a f" in said


@pytest.mark.parametrize(
    ("pictures", "classes", "said"),
    [
        (100, ("flowers",), "holds one class, flowers: there is nothing to tell apart"),
        (100, ("cats", "dogs"), "holds out 5,000 pictures to watch, and"),
        (24_000, ("cats", "dogs"), "say how many with --validation, such as 2400, or 0"),
    ],
)
def test_a_folder_that_cannot_be_meant(small, sets, capsys, monkeypatch, pictures, classes, said):
    train = sets[0].subset(torch.arange(pictures) % len(sets[0]))
    train = ImageSet(train.images, train.labels % len(classes), classes)
    folders = SimpleNamespace(train_and_validation=lambda root, channels, workers: (Folder(train), None))
    monkeypatch.setitem(sys.modules, "vgglib.folders", folders)
    alike = small[: small.index("--validation")] + small[small.index("--validation") + 2 :]
    assert main([*alike, "--data", "photos"]) == 1
    assert said in capsys.readouterr().err


def test_what_is_held_out_is_counted_as_it_is(small, sets, capsys, monkeypatch):
    folders = SimpleNamespace(train_and_validation=lambda root, channels, workers: (Folder(sets[0]), Folder(sets[1])))
    monkeypatch.setitem(sys.modules, "vgglib.folders", folders)
    at = small.index("--validation")
    alike = [*small[:at], *small[at + 2 :], "--data", "photos"]
    assert main([*alike, "--watch-test", "true"]) == 0  # nothing is held out, however many the recipe names
    assert f"{len(sets[0])} training images, {len(sets[1])} to test;" in capsys.readouterr().out
    assert main([*small, "--data", "photos", "--overwrite"]) == 0
    assert f"{len(sets[0]) - 20} training images, 20 held out, {len(sets[1])} to test;" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    ["", "fly", "cost", "cost D --image-size big", "train --colour red", "train --epo 1", "cost D --batch-norm maybe"],
)
def test_wrong_questions_leave_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments.split())
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("vgglib: ")
    assert said.count("\n") == 1
    command = " train" if "train" in arguments else " cost" if "cost" in arguments else ""
    assert said.endswith(f"; see python -m vgglib{command} --help\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--help", "train cost receptive-field doctor"),
        ("train --help", "seed, d2l, paper, laptop, gpu --epochs --flip"),
    ],
)
def test_help_names_commands_recipes_and_fields(capsys, arguments, words):
    with pytest.raises(SystemExit) as left:
        main(arguments.split())
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words.split())


def test_help_explains_every_field(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for field in fields(training.Recipe):
        value = "[VALUE]" if field.type in (bool, bool | None) else "VALUE"
        start = said.index(f" --{field.name.replace('_', '-')} {value} ")
        told = said[start:].partition(f" {value} ")[2].partition(" --")[0]
        assert f"(laptop: {getattr(training.RECIPES['laptop'], field.name)})" in told
        assert len(told.split()) > 4, field.name
        assert all(word in told for word in ALLOWED.get(field.name, ())), field.name
    assert "normal-0.01" in said


# --- evaluate -----------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(small, tmp_path, capsys):
    """A trained network's file."""
    main(small)
    capsys.readouterr()
    return str(tmp_path / "runs" / "laptop-seed0" / "network.safetensors")


def test_evaluate_by_every_method(trained, sets, capsys):
    images, labels = sets[1].images, sets[1].labels
    net = load_network(trained)
    by_hand = {
        "single-crop": over_scales(single_crop, net, images, [12, 15]),
        "dense": over_scales(dense, net, images, [12, 15]),
        "multi-crop": over_scales(multi_crop, net, images, [12, 15], grid=3),
    }
    by_hand["both"] = ensemble([by_hand["dense"], by_hand["multi-crop"]])
    for method, posteriors in by_hand.items():
        asked = ["evaluate", trained, "--method", method, "--scales", "12", "15", "--device", "cpu", "--json"]
        assert main([*asked, *(["--grid", "3"] if method in ("multi-crop", "both") else [])]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["top1_error"] == pytest.approx(top1_error(posteriors, labels))
        assert (found["method"], found["scales"], found["pictures"]) == (method, [12, 15], 40)
    assert main(["evaluate", trained, "--device", "cpu"]) == 0
    same = capsys.readouterr().out
    assert main(["evaluate", str(Path(trained).parent), "--device", "cpu"]) == 0  # a run's folder holds its network
    assert capsys.readouterr().out == same
    assert main(["evaluate", trained, "--device", "cpu"]) == 0
    error = 100 * top1_error(dense(net, images, 12), labels)
    assert capsys.readouterr().out == (
        f"dense at 12: top-1 error {error:.2f} %, top-5 error "
        f"{100 * top5_error(dense(net, images, 12), labels):.2f} % of 40 test pictures of Fashion-MNIST\n"
    )


def test_evaluate_on_canvases_and_folders(trained, sets, capsys, monkeypatch):
    canvases = data.on_canvas(sets[1], 1)
    net = load_network(trained)
    assert main(["evaluate", trained, "--data", "canvas", "--scales", "13", "--device", "cpu", "--json"]) == 0
    error = top1_error(dense(net, canvases.images, 13), canvases.labels)
    assert json.loads(capsys.readouterr().out)["top1_error"] == pytest.approx(error)
    asked = []

    class Folder:
        classes = CLASSES

        def pictures(self):
            for n, (picture, label) in enumerate(zip(sets[1].images, sets[1].labels, strict=True)):
                yield picture[:, n % 2 :], int(label)

    def image_folder(path, classes, channels, workers):
        asked.append((path, channels, workers))
        return Folder()

    monkeypatch.setattr(data, "image_folder", image_folder, raising=False)
    words = ["evaluate", trained, "--data", "photos", "--scales", "13", "--workers", "2", "--device", "cpu", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    right = sum(int(dense(net, picture[None], 13).argmax()) == label for picture, label in Folder().pictures())
    assert found["top1_error"] == pytest.approx(1 - right / 40)
    assert asked == [("photos", 1, 2)]
    monkeypatch.setattr(Folder, "classes", ("a", "b"))
    assert main(["evaluate", trained, "--data", "photos", "--device", "cpu"]) == 1
    assert "knows 10 classes, the pictures have 2" in capsys.readouterr().err


def test_evaluate_says_what_it_tested_on_and_a_study_s_network_has_its_own_scale(sets, tmp_path, capsys):
    net = VGG("4 | 6 |", 1, 10, image_size=12, width=1.0, hidden=9)
    path = str(tmp_path / "a.safetensors")
    save_network(net, path, {"result": "protocol-canvas", "scale": 16})
    assert main(["evaluate", path, "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("dense at 16: ")
    assert out.endswith(" % of 40 test pictures of Fashion-MNIST\n")
    assert err == f"vgglib: {path} was trained on canvases, such as --data canvas has\n"
    assert main(["evaluate", path, "--data", "canvas", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith(" % of 40 test pictures of Fashion-MNIST on canvases\n")
    assert not err
    one, _ = two_classes(tmp_path)
    assert main(["evaluate", one, "--data", str(tmp_path / "set"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.endswith(f" % of 8 pictures in {tmp_path / 'set'}\n")


def test_several_networks_are_tested_together(trained, small, sets, tmp_path, capsys):
    main([*small, "--seed", "1", "--image-size", "14", "--scale", "14"])
    capsys.readouterr()
    other = str(tmp_path / "runs" / "laptop-seed1")
    assert main(["evaluate", trained, other, "--scales", "14", "16", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    nets = [load_network(trained), load_network(f"{other}/network.safetensors")]
    images, labels = sets[1].images, sets[1].labels
    posteriors = ensemble([over_scales(dense, net, images, [14, 16]) for net in nets])
    assert found["top1_error"] == pytest.approx(top1_error(posteriors, labels))
    assert found["top5_error"] == pytest.approx(top5_error(posteriors, labels))
    assert found["networks"] == [trained, other]
    assert main(["evaluate", trained, other, "--device", "cpu"]) == 0  # each at its own crop
    posteriors = ensemble([dense(net, images, net.image_size[0]) for net in nets])
    said = capsys.readouterr().out
    assert said.startswith("2 networks together, dense each at its own scale (12, 14): top-1 error ")
    assert f"{100 * top1_error(posteriors, labels):.2f} %" in said
    strangers = VGG("4 | 6 |", 1, 10, image_size=12, width=1.0, hidden=9)
    strangers.classes = tuple("abcdefghij")
    save_network(strangers, tmp_path / "strangers.safetensors")
    assert main(["evaluate", trained, str(tmp_path / "strangers.safetensors"), "--device", "cpu"]) == 1
    assert "class 0 is 'a' to the network, 'T-shirt/top' to the pictures" in capsys.readouterr().err


def two_classes(folder, counts=(5, 3)):
    """A folder of cats and dogs, and two networks that agree on every picture and list their classes in two orders."""
    for name, count in zip(("cat", "dog"), counts, strict=True):
        (folder / "set" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (12, 12), 60 * (name == "dog") + 5 * number).save(folder / "set" / name / f"{number}.png")
    torch.manual_seed(0)
    for label in ("one", "swapped"):
        torch.manual_seed(0)
        net = VGG("4 | 6 |", 1, 2, image_size=12, width=1.0, hidden=9)
        net.classes = ("cat", "dog")
        if label == "swapped":
            net.classes = ("dog", "cat")
            with torch.no_grad():
                net.classifier[-1].weight.copy_(net.classifier[-1].weight.flip(0))
                net.classifier[-1].bias.copy_(net.classifier[-1].bias.flip(0))
        save_network(net, folder / f"{label}.safetensors")
    return [str(folder / f"{label}.safetensors") for label in ("one", "swapped")]


def test_networks_of_two_orders_of_classes_are_not_averaged(tmp_path, capsys):
    one, swapped = two_classes(tmp_path)
    data = ["--data", str(tmp_path / "set"), "--device", "cpu", "--json"]
    errors = []
    copy = shutil.copy(one, tmp_path / "copy.safetensors")
    for asked in ([one], [swapped], [one, str(copy)]):
        assert main(["evaluate", *asked, *data]) == 0
        errors.append(json.loads(capsys.readouterr().out)["top1_error"])
    assert len(set(errors)) == 1
    assert main(["evaluate", one, swapped, *data]) == 1
    said = capsys.readouterr().err
    assert "swapped.safetensors are dog, cat" in said
    assert "in another order, so their posteriors cannot be averaged" in said


def test_a_nameless_network_takes_the_order_of_the_one_that_names_its_classes(tmp_path, capsys):
    _, swapped = two_classes(tmp_path)
    net = load_network(swapped)
    net.classes = None
    save_network(net, tmp_path / "nameless.safetensors")
    data = ["--data", str(tmp_path / "set"), "--device", "cpu", "--json"]
    assert main(["evaluate", swapped, *data]) == 0
    alone = json.loads(capsys.readouterr().out)["top1_error"]
    for asked in ([swapped, "nameless"], ["nameless", swapped]):
        networks = [str(tmp_path / "nameless.safetensors") if name == "nameless" else name for name in asked]
        assert main(["evaluate", *networks, *data]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["top1_error"] == alone
        assert f"the folders are taken in the order of {swapped}" in err
    assert main(["evaluate", str(tmp_path / "nameless.safetensors"), *data]) == 0
    assert "taken in alphabetical order" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_costs_no_other(trained, sets, tmp_path, capsys):
    good, bad, again = (str(tmp_path / f"{name}.png") for name in ("good", "bad", "again"))
    for number, path in enumerate((good, again)):
        Image.fromarray(sets[1].images[number, 0].numpy()).save(path)
    Path(bad).write_text("no picture")
    assert main(["predict", trained, good, bad, again, "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.out.splitlines()] == [good, again]
    assert "bad.png" in said.err
    assert main(["predict", trained, good, bad, "--device", "cpu", "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)["pictures"]
    assert set(first) == {"picture", "posteriors"}
    assert "bad.png" in second["error"]


def test_a_network_is_found_by_its_path_whatever_lies_beside_it(trained, sets, tmp_path, capsys, monkeypatch):
    picture = str(tmp_path / "picture.png")
    Image.fromarray(sets[1].images[0, 0].numpy()).save(picture)
    run = tmp_path / "run"
    shutil.copytree(Path(trained).parent, run)
    (tmp_path / "run.safetensors").write_text("something else")
    assert main(["predict", str(run), picture, "--device", "cpu"]) == 0
    monkeypatch.chdir(tmp_path)
    run.rename("laptop")
    assert main(["predict", "laptop", picture, "--device", "cpu"]) == 1
    assert "for the latter write ./laptop" in capsys.readouterr().err
    assert main(["predict", "./laptop", picture, "--device", "cpu"]) == 0


@pytest.mark.parametrize("path", ["runs/laptop-sed0", "./laptop", "runs/laptop-sed0/", "nothing.safetensors"])
@pytest.mark.parametrize("command", ["evaluate", "predict", "train --start-from"])
def test_what_is_written_as_a_path_is_one(command, path, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), path, *(["x.png"] if command == "predict" else [])]) == 1
    assert capsys.readouterr().err.endswith(f"{Path(path).name} does not exist\n")


def test_the_folder_of_a_run_that_was_stopped_has_no_network(small, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "runs" / "laptop-seed0"
    stopping(monkeypatch, 6)
    assert main(small) == 130
    capsys.readouterr()
    for command in (["evaluate"], ["predict"], ["train", "--start-from"]):
        assert main([*command, str(folder), *(["x.png"] if command == ["predict"] else [])]) == 1
        said = (
            f"the run in {folder} is not finished, it has no network yet; go on with: python -m vgglib resume {folder}"
        )
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["study", "lenet", "--seeds", "0", "--longer", "0.1"], "study lenet has no --longer and no --seeds"),
        (["study", "test-scales", "--networks", "1"], "study test-scales has no --networks"),
        (["evaluate", "laptop", "--method", "dense", "--grid", "3"], "--grid is for --method multi-crop and both"),
    ],
)
def test_what_has_no_effect_is_refused(asked, said, capsys):
    assert main(asked) == 1
    assert said in capsys.readouterr().err


def test_predict_names_two_classes_where_there_are_two(tmp_path, capsys):
    one, _ = two_classes(tmp_path)
    assert main(["predict", one, str(tmp_path / "set" / "cat" / "0.png"), "--device", "cpu", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["pictures"]
    assert set(found["posteriors"]) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--networks 0", "--networks must be 1 or more, got 0"),
        ("--networks -1", "--networks must be 1 or more, got -1"),
        ("--pictures -5", "--pictures must be from 5001 to 60000, got -5"),
        ("--pictures 0", "--pictures must be from 5001 to 60000, got 0"),
        ("--pictures 5000", "got 5000: 5,000 are held out to watch"),
        ("--pictures 60001", "--pictures must be from 5001 to 60000"),
        ("--width 0", "--width must be a number from 1/512 on, got 0.0"),
        ("--width nan", "--width must be a number from 1/512 on, got nan"),
        ("--width inf", "--width must be a number from 1/512 on, got inf"),
        ("--longer nan", "--longer must be a number from 0.25 on, got nan"),
        ("--longer 0.2", "--longer must be a number from 0.25 on, got 0.2"),
    ],
)
def test_a_protocol_that_could_train_nothing_is_refused(asked, said, capsys, monkeypatch):
    monkeypatch.setattr(protocol, "run_protocol", lambda *_, **__: pytest.fail("trains"))
    assert main(["study", "protocol", *asked.split()]) == 1
    assert said in capsys.readouterr().err


def test_a_protocol_asks_where_its_networks_go_before_it_trains(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(protocol, "run_protocol", lambda *_, **__: pytest.fail("trains"))
    (tmp_path / "file").write_text("x")
    assert main(["study", "protocol", "--out", str(tmp_path / "file" / "runs")]) == 1
    assert f"nothing can be written into {tmp_path / 'file'}; name another folder" in capsys.readouterr().err
    assert main(["study", "lenet", "--out", str(tmp_path)]) == 1
    assert "study lenet has no --out" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["lenet", "protocol"])
def test_a_study_asks_where_its_record_goes_before_it_trains(name, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for place, said in ((tmp_path, "is a folder"), (tmp_path / "file" / "x.json", "is a file")):
        for command in (["study", name], ["measure-cost"]):
            assert main([*command, "--result", str(place)]) == 1
            assert said in capsys.readouterr().err


def test_predict_names_the_likeliest_classes(trained, sets, tmp_path, capsys):
    net, files = load_network(trained), []
    for number, size in enumerate([(28, 28), (28, 28), (31, 40)]):
        files.append(str(tmp_path / f"a picture {number}.png"))
        Image.fromarray(sets[1].images[number, 0].numpy()).resize(size).save(files[-1])
    assert main(["predict", trained, *files, "--top", "2", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for path, line in zip(files, lines, strict=True):
        shares, places = dense(net, folders.read_picture(path, 1)[None], 12)[0].topk(2)
        told = ", ".join(f"{CLASSES[n]} {100 * share:.1f} %" for n, share in zip(places, shares, strict=True))
        assert line == f"{path}: {told}"
    asked = ["predict", str(Path(trained).parent), files[2], "--method", "multi-crop", "--scales", "13", "15"]
    assert main([*asked, "--top", "10", "--json", "--device", "cpu"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["pictures"]
    by_hand = over_scales(multi_crop, net, folders.read_picture(files[2], 1)[None], [13, 15])[0]
    assert found["posteriors"] == pytest.approx(dict(zip(CLASSES, by_hand.tolist(), strict=True)))
    assert list(found["posteriors"].values()) == sorted(found["posteriors"].values(), reverse=True)
    net.classes = None
    save_network(net, tmp_path / "nameless.safetensors")
    assert main(["predict", str(tmp_path / "nameless.safetensors"), files[0], "--device", "cpu"]) == 0
    assert ": class " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["nothing.png"], "nothing.png is missing\n"),
        ([str(Path(__file__).parent)], "is a folder or a device, not a file\n"),
        ([""], "the name of a picture is empty"),
        ([__file__], "test_main.py is no picture of a kind that is read here (JPEG, PNG, PPM, BMP, TIFF, WEBP)\n"),
        ([__file__, "--top", "0"], "--top must be from 1 to 10"),
        ([__file__, "--top", "11"], "--top must be from 1 to 10"),
    ],
)
def test_what_predict_cannot_look_at_is_one_line(trained, capsys, asked, said):
    assert main(["predict", trained, *asked, "--device", "cpu"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--scales", "11"], "at scale 11 the pictures are 11 x 11, smaller than the network's crop of 12 x 12"),
        (["--method", "multi-crop", "--grid", "0"], "grid of 1 or more"),
        (["--batch-size", "0"], "batch_size must be 1 or more"),
    ],
)
def test_impossible_tests_are_one_line(trained, capsys, asked, said):
    assert main(["evaluate", trained, "--device", "cpu", *asked]) == 1
    assert said in capsys.readouterr().err
    assert main(["evaluate", "nonsense"]) == 1
    assert "no network called 'nonsense'" in capsys.readouterr().err
    assert main(["evaluate", __file__]) == 1
    assert "test_main.py is damaged or no safetensors file" in capsys.readouterr().err


def test_cost(capsys):
    assert main(["cost", "D"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1].split() == ["total", "138,357,544", "15,470,264,320", "60,950,432"]
    assert main(["cost", "A", "--image-size", "32", "--in-channels", "1", "--classes", "10", "--width", "0.25"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:7] == ["input", "input", "1", "x", "32", "x", "32"]
    assert rows[2][2:7] == ["16", "x", "32", "x", "32"]
    assert rows[-2][2] == "10"
    assert main(["cost", "A", "--batch-norm", "--hidden", "512", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    net = VGG("A", 3, 1000, 224, hidden=512, batch_norm=True)
    assert found["parameters"] == sum(parameter.numel() for parameter in net.parameters())
    assert found["parameters"] == sum(row["parameters"] for row in found["layers"])
    assert found["layers"][1]["output_shape"] == [64, 224, 224]
    assert {row["kind"] for row in found["layers"]} >= {"Conv2d", "BatchNorm2d", "Linear"}


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train", "--out"),
        ("train", "--data"),
        ("train", "--root"),
        ("train", "--result"),
        ("evaluate laptop", "--data"),
    ],
)
def test_an_empty_name_is_refused(command, option, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), option, ""]) == 1
    assert f"{option} is empty: name a f" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "norm"), [("D --batch-norm", True), ("--batch-norm D", True),
    ("D --batch-norm true", True), ("D --batch-norm false", False), ("D", False)])  # fmt: skip
def test_batch_norm_is_an_option_with_and_without_a_value(words, norm, capsys, monkeypatch):
    assert main(["cost", *words.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert ("BatchNorm2d" in {row["kind"] for row in found["layers"]}) == norm
    if not words.startswith("-"):
        asked = []
        monkeypatch.setattr(training, "recipe", lambda name, **changes: asked.append(changes) or 1 / 0)
        main(["train", *words.split()[1:]])
        assert asked == [{"batch_norm": norm} if words != "D" else {}]


def test_the_error_of_each_class(trained, sets, capsys):
    assert main(["evaluate", trained, "--device", "cpu", "--per-class", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    given = dense(load_network(trained), sets[1].images, 12).argmax(dim=1)
    for place, one in enumerate(found["classes"]):
        mine = given[sets[1].labels == place]
        wrong = [CLASSES[other] for other in mine.tolist() if other != place]
        assert (one["class"], one["pictures"]) == (CLASSES[place], len(mine))
        assert one["error"] == len(wrong) / len(mine)
        assert (
            one["most_often"] is None if not wrong else wrong.count(one["most_often"]) == max(map(wrong.count, wrong))
        )
    assert main(["evaluate", trained, "--device", "cpu", "--per-class"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(CLASSES)
    first = found["classes"][0]
    assert lines[1].startswith(f"{CLASSES[0]}: error {100 * first['error']:.2f} % of 4")
    assert evaluate.by_class(torch.tensor([[0, 0], [3, 1]]), ("ant", "bee")) == [
        {"class": "ant", "pictures": 0, "error": None, "most_often": None},
        {"class": "bee", "pictures": 4, "error": 0.75, "most_often": "ant"},
    ]


def test_receptive_field(capsys):
    assert main(["receptive-field", "D", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["layers"]
    assert found[-1] == {"name": "pool5", "size": 212, "stride": 32, "padding": 90}
    assert len(found) == 18
    assert main(["receptive-field", "D"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["pool5", "212", "32", "90"]
    assert len(lines) == 1 + 18
    assert main(["receptive-field", "64/5 | 128/5 |"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["pool2", "16", "4", "6"]


INSTALLED = """
import sys
from vgglib import data, doctor, results
from vgglib.__main__ import main
data.MIRRORS.clear()
for words in (["predict", "laptop", "x.png"], ["evaluate", "nosuch"], ["train", "--start-from", "laptop"],
              ["train"], ["study", "lenet"]):
    print(main(words))
try:
    results.load("lenet")
except FileNotFoundError as error:
    print(error, file=sys.stderr)
print(doctor.vgglib().text, doctor.remedy(), file=sys.stderr)
"""


@pytest.mark.slow
def test_what_pip_installs_says_what_it_lacks(tmp_path):
    """The module without the clone around it: what it cannot find is named, with the way to it."""
    shutil.copytree(Path(__main__.__file__).parent, tmp_path / "site" / "vgglib", ignore=lambda *_: ["__pycache__"])
    where = {name: value for name, value in os.environ.items() if name != "VGGLIB_DATA"}
    done = subprocess.run([sys.executable, "-c", INSTALLED], cwd=tmp_path, capture_output=True, text=True,
                          env=where | {"PYTHONPATH": str(tmp_path / "site")})  # fmt: skip
    assert done.stdout == 5 * "1\n", done.stderr
    lines = done.stderr.splitlines()
    left_out = "not in the installed package: work in a clone of the repository, or install from it by pip install -e ."
    for line, name in zip(lines, ("laptop", "nosuch", "laptop"), strict=False):
        assert line == f"vgglib: '{name}' is no file here, and the book's networks are {left_out}"
    assert "is missing; put the file there by hand, or set VGGLIB_DATA to the data/ of a clone" in lines[3]
    assert "make data" not in done.stderr
    assert "make setup" not in done.stderr
    assert all(left_out in line for line in lines[4:])
    data_too = "from vgglib.data import fashion_mnist; print(len(fashion_mnist()[0]))"
    where["VGGLIB_DATA"] = str(results.FOLDER.parent)
    done = subprocess.run([sys.executable, "-c", data_too], cwd=tmp_path, capture_output=True, text=True,
                          env=where | {"PYTHONPATH": str(tmp_path / "site")})  # fmt: skip
    assert done.stdout == "60000\n", done.stderr


def test_the_doctor_gets_its_own_arguments(monkeypatch):
    asked = []
    monkeypatch.setattr(doctor, "main", lambda arguments: asked.append(arguments) or 7)
    assert main(["doctor", "--json"]) == 7
    assert asked == [["--json"]]


def test_as_a_process():
    command = [sys.executable, "-m", "vgglib"]
    done = subprocess.run([*command, "receptive-field", "A"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].split() == ["pool5", "150", "32", "59"]
    failed = subprocess.run([*command, "receptive-field", "F"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "Traceback" not in failed.stderr


def test_a_warning_is_one_sentence(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back at the end
    monkeypatch.setattr(sys, "argv", ["vgglib", "receptive-field", "A"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(__main__.__file__, run_name="__main__")
    assert not left.value.code
    said = warnings.formatwarning(UserWarning("not learning: the loss is that of guessing"), UserWarning, "fit.py", 3)
    assert said == "warning: not learning: the loss is that of guessing\n"


def test_evaluate_knows_classes_by_their_names(tmp_path, capsys):
    net = VGG("4 |", 3, 3, image_size=12, hidden=4)
    save_network(net, tmp_path / "net.safetensors", {"classes": ["bag", "coat", "shirt"]})
    for name in ("coat", "shirt"):  # without the first: positions would shift
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.new("RGB", (12, 12), (len(name), 0, 0)).save(tmp_path / "val" / name / "1.png")
    asked = [
        "evaluate",
        str(tmp_path / "net.safetensors"),
        "--data",
        str(tmp_path / "val"),
        "--device",
        "cpu",
        "--json",
    ]
    assert main(asked) == 0
    scores = [dense(net.eval(), torch.tensor([[len(name)], [0], [0]]).byte().expand(3, 12 * 12).reshape(1, 3, 12, 12))
              for name in ("coat", "shirt")]  # fmt: skip
    right = [int(score.argmax()) == label for score, label in zip(scores, (1, 2), strict=True)]
    assert json.loads(capsys.readouterr().out)["top1_error"] == 1 - sum(right) / 2
    (tmp_path / "val" / "coat").rename(tmp_path / "val" / "jacket")
    assert main(asked) == 1
    assert "jacket is none of the 3 classes, bag, coat, shirt" in capsys.readouterr().err


def test_a_finished_run_that_was_tested_on_other_pictures_is_not_taken_for_this_one(small, sets, capsys, monkeypatch):
    assert main(small) == 0
    others = sets[0], ImageSet(sets[1].images.flip(3), sets[1].labels, sets[1].classes)
    monkeypatch.setattr(data, "fashion_mnist", lambda root=None, device="cpu": others)
    assert main(small) == 1
    assert "data.tested.contents is" in capsys.readouterr().err


def test_two_processes_do_not_train_into_one_folder(small, tmp_path, capsys):
    folder = tmp_path / "runs" / "laptop-seed0" / "checkpoints"
    folder.mkdir(parents=True)
    program = (
        "import sys, pathlib; from vgglib.durable import alone_in\n"
        "with alone_in(pathlib.Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "in\n"
        assert main(small) == 1
        assert f"another process is at work in {folder}" in capsys.readouterr().err
    finally:
        other.kill()  # however it ends, the folder is free
        other.communicate()
    assert main(small) == 0
    assert not folder.exists()


def test_a_network_without_names_is_said(trained, tmp_path, capsys):
    net = load_network(trained)
    net.classes = None
    save_network(net, tmp_path / "nameless.safetensors")
    for n in range(10):
        (tmp_path / "set" / str(n)).mkdir(parents=True)
        Image.new("L", (28, 28), 20 * n).save(tmp_path / "set" / str(n) / "0.png")
    ask = ["evaluate", str(tmp_path / "nameless.safetensors"), "--data", str(tmp_path / "set"), "--device", "cpu"]
    assert main(ask) == 0
    assert "does not name its classes; the folders are taken in alphabetical order" in capsys.readouterr().err
    assert main([*ask[:1], trained, *ask[2:]]) == 1
    assert "is none of the 10 classes" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate x.png", "predict x.png x.png"])
def test_a_picture_in_place_of_a_network_is_told(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (9, 9)).save("x.png")
    assert main(command.split()) == 1
    said = capsys.readouterr().err
    assert "x.png is a picture by its name, where a network is expected" in said
    assert "damaged" not in said


def test_a_lost_process_is_told_without_torchs_paths(monkeypatch, capsys):
    gloo = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:32108"

    def losing(options):
        raise RuntimeError(gloo)

    monkeypatch.setattr(__main__, "cost_command", losing)
    assert main(["cost", "A"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("vgglib: another process was lost")
    assert "/pytorch" not in said


def test_a_run_without_its_settings_goes_on_by_the_train_command(small, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, 6)
        assert main(small) == 130
    (tmp_path / "runs" / "laptop-seed0" / "checkpoints" / "run.json").write_text("{")
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "runs" / "laptop-seed0"), "--device", "cpu"]) == 1
    assert "which goes on from the same checkpoints" in capsys.readouterr().err
    steps, there = [], training.batches
    monkeypatch.setattr(training, "batches", lambda *of: (steps.append(of[5]), there(*of))[1])
    assert main(small) == 0
    assert max(steps) > 0


# --- other systems -------------------------------------------------------------------------------------------------


def test_a_path_with_letters_that_cannot_be_printed_ends_no_run(sets, tmp_path, monkeypatch):
    """What Windows gives to a pipe: an encoding that lacks most letters, and is strict."""
    out, stream = tmp_path / "写真", io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main([*SMALL, "--device", "cpu", "--seeds", "0", "1", "--epochs", "1", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["laptop-seed0", "laptop-seed1"]
    assert b"\\u5199\\u771f" in stream.buffer.getvalue()


def test_a_command_can_be_typed_on_windows_too():
    assert files.quoted(PureWindowsPath(r"runs\laptop-seed0"), windows=True) == r"runs\laptop-seed0"
    assert files.quoted(PureWindowsPath(r"my runs\a"), windows=True) == r'"my runs\a"'
    assert files.quoted(Path("my runs/a"), windows=False) == "'my runs/a'"
