"""``python -m vgglib train | resume | evaluate | predict | study | cost | receptive-field | doctor``."""

import argparse
import ast
import contextlib
import inspect
import io
import json
import math
import os
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

GRID = 5  # crops along each side, as in the paper


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what it does not understand, and takes options by their whole names alone."""

    def __init__(self, *arguments: object, **settings: object):
        super().__init__(*arguments, allow_abbrev=False, **settings)  # a new option changes no script

    def parse_known_args(self, *arguments: object) -> tuple[argparse.Namespace, list[str]]:
        options, unknown = super().parse_known_args(*arguments)
        if unknown:
            self.error(f"unknown: {' '.join(unknown)}")
        return options, unknown

    def error(self, message: str) -> None:
        self.exit(2, f"vgglib: {message}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 done, 1 failed or refused with one sentence, 2 an unknown option, 130 interrupted (Ctrl-C), 143 asked to leave
    (SIGTERM).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["cost"]:  # whose configuration may come after --batch-norm
        after = zip(arguments, [*arguments[1:], ""], strict=True)
        flag = [word == "--batch-norm" and value not in ("true", "false") for word, value in after]
        arguments = [f"{word}=true" if alone else word for word, alone in zip(arguments, flag, strict=True)]
    if arguments[:1] == ["doctor"]:  # before anything is imported that might be missing
        from vgglib import doctor

        return doctor.main(arguments[1:])
    try:
        options = _parser().parse_args(arguments)
        options.command = shlex.join(["python", "-m", "vgglib", *arguments])
        for name, kind in _NAMED.items():
            if getattr(options, name, None) == "":
                raise ValueError(f"--{name} is empty: name {kind}")
        if getattr(options, "device", None):
            from vgglib.devices import known_device

            known_device(options.device)
        status = options.run(options)
        if sys.stdout is not None:  # closed from the start
            sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read, such as head, has seen enough
        _drop_the_rest(sys.stdout)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"interrupted: {interrupt}" if str(interrupt) else "interrupted", file=sys.stderr)
        return 128 + getattr(interrupt, "signal", 2)
    except (ValueError, RuntimeError, OSError, ArithmeticError, AssertionError) as error:  # torch asserts its CUDA
        from vgglib.distributed import lost

        said = lost(error) or (str(error) or repr(error)).splitlines()[0]
        print(f"vgglib: {said}", file=sys.stderr)
        return 1


_NAMED = {"data": "a folder, or fashion-mnist", "out": "a folder", "root": "a folder", "result": "a file"}
_EXIT = (
    "Exit status: 0 done, 1 failed or refused with one sentence, 2 an unknown option, 130 interrupted by Ctrl-C, 143 "
    "by SIGTERM; after the last two the state is saved. torchrun itself ends with 1 in all cases but the first."
)


def _parser() -> argparse.ArgumentParser:
    from vgglib.configurations import TABLE_1
    from vgglib.studies import STUDIES
    from vgglib.training import RECIPES, Recipe

    parser = _Parser(
        "python -m vgglib",
        description="The VGG paper from the command line: train a network, or ask what one costs and sees.",
        epilog="python -m vgglib train --recipe laptop   trains on Fashion-MNIST in minutes on two CPU cores",
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    train = commands.add_parser(
        "train",
        help="train a network by a recipe, test it once at the end",
        description="Train by a recipe and test once, at the end. Any field of the recipe can be replaced: --epochs 2 "
        "--learning-rate 0.02. The test set is used once; recipes seed and d2l follow their originals and show it "
        "after every epoch. The state is saved after every epoch: the same command, or `resume`, goes on after a stop.",
        epilog="Several processes, each with its share of every batch: torchrun --nproc-per-node 2 -m vgglib train "
        "--recipe laptop. With --max-restarts 3 torchrun starts them again after one is lost, and they go on from the "
        "last checkpoint. " + _EXIT,
    )
    train.set_defaults(run=_train, changed_pictures=False, resumed=False)
    train.add_argument("--recipe", default="laptop", help=f"one of {', '.join(RECIPES)} (default: laptop)")
    train.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0], help="one run per seed (default: 0)")
    train.add_argument(
        "--data",
        default="fashion-mnist",
        help="fashion-mnist, or a folder with one folder for each class, or with train/ and val/ of such: then val/ is "
        "tested on at the end, and what is watched is held out of train/, see --validation (default: fashion-mnist)",
    )
    train.add_argument("--root", help="folder that holds FashionMNIST/ (default: the book's data/)")
    train.add_argument(
        "--channels",
        type=int,
        help="of a folder's pictures: 3 for colour, 1 for grey (default: 3, or those of --start-from)",
    )
    train.add_argument("--workers", type=int, default=0, help="processes that read pictures of a folder (default: 0)")
    train.add_argument(
        "--start-from",
        metavar="NETWORK",
        help="begin with a trained network's weights, as section 3.1 does: with all of them where the configuration is "
        "the same (the last layer is new where the classes are others), else with its first four convolutions and its "
        "fully connected layers. A file, a run's folder, or a name in data/networks",
    )
    train.add_argument("--out", default="runs", help="folder for networks and histories (default: runs)")
    train.add_argument("--overwrite", action="store_true",
                       help="train anew where a finished run lies; stopped, the same command goes on")  # fmt: skip
    train.add_argument("--estimate", action="store_true", help="measure a few steps, say how long it would take, stop")
    train.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="save the state also within epochs")
    train.add_argument("--keep", type=int, default=2, help="how many states to keep (default: 2)")

    resume = commands.add_parser(
        "resume",
        help="go on with a run that was stopped",
        description="Go on with a run that was stopped, from its newest complete checkpoint, with the recipe, seed and "
        "data it had: python -m vgglib resume runs/laptop-seed0. On the same machine, thread count and versions it "
        "ends as it would have without a stop, bit for bit on a CPU; else it says what differs.",
        epilog=_EXIT,
    )
    resume.set_defaults(run=_resume, resumed=True)
    resume.add_argument("folder", help="the run's folder, such as runs/laptop-seed0")
    resume.add_argument(
        "--changed-pictures",
        action="store_true",
        help="go on although some pictures are others than before, as after a damaged file was replaced; the files' "
        "names must be the same, since they decide which pictures are held out",
    )
    resume.add_argument("--workers", type=int, help="processes that read pictures of a folder (default: as before)")
    for command in (train, resume):
        command.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
        command.add_argument("--result", help="also write the summary to this JSON file")
        command.add_argument("--json", action="store_true", help="print the summary as JSON and nothing else")
        command.add_argument("--tensorboard", action="store_true", help="also write events for TensorBoard")
    group = train.add_argument_group(
        "fields of the recipe",
        "each replaces the recipe's own; true, false and none are written so, a range of scales as 256,512; "
        "--batch-norm alone is --batch-norm true",
    )
    truths = {field.name for field in fields(Recipe) if field.type in (bool, bool | None)}
    for name, meaning in _meanings().items():
        option = f"--{name.replace('_', '-')}"
        group.add_argument(
            option, dest=f"field_{name}", metavar="VALUE", help=meaning.replace("%", "%%"),
            **(dict(nargs="?", const="true") if name in truths else {}),
        )  # fmt: skip

    evaluate = commands.add_parser(
        "evaluate",
        help="test a saved network: one crop, densely, or many crops, at one scale or several",
        description="Test a network that train saved, or one that comes with the book, as sections 3.2 and 4 do: "
        "python -m vgglib evaluate runs/laptop-seed0/network.safetensors --method dense --scales 32 36 40",
    )
    evaluate.set_defaults(run=_evaluate)
    a_network = "a .safetensors file, a run's folder, or the name of a network in data/networks"
    evaluate.add_argument("networks", nargs="+", metavar="network", help=f"{a_network}; of several, the mean posterior")
    predict = commands.add_parser(
        "predict",
        help="say what is on pictures of your own",
        description="Say what a network takes pictures for, the likeliest classes with their posteriors: python -m "
        "vgglib predict runs/laptop-seed0 photo.jpg",
    )
    predict.set_defaults(run=_predict)
    predict.add_argument("network", help=a_network)
    predict.add_argument("pictures", nargs="+", metavar="picture", help="picture files")
    predict.add_argument("--top", type=int, help="classes to name (default: 3, or all where there are fewer)")
    methods = ["single-crop", "dense", "multi-crop", "both"]
    own = "(default: that of train's own test, S or the middle of S_min and S_max; else the network's crop)"
    for command in (evaluate, predict):
        command.add_argument(
            "--method", choices=methods, default="dense", help="train has single-crop (default: dense)"
        )
        command.add_argument("--scales", type=int, nargs="+", help=f"test scales Q in pixels {own}")
        command.add_argument("--grid", type=int, default=GRID, help="multi-crop: crops along each side (default: 5)")
        command.add_argument("--batch-size", type=int, default=500, help="crops in memory at once (default: 500)")
        command.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
        command.add_argument("--json", action="store_true", help="print the result as JSON and nothing else")
    evaluate.add_argument(
        "--workers", type=int, default=0, help="processes that read pictures of a folder (default: 0)"
    )
    evaluate.add_argument(
        "--data", default="fashion-mnist", help="fashion-mnist, canvas, or a folder with one folder for each class"
    )
    evaluate.add_argument(
        "--per-class", action="store_true", help="also the error of each class, and what it is most often taken for"
    )
    evaluate.add_argument("--root", help="folder that holds FashionMNIST/ (default: the book's data/)")

    cost = commands.add_parser("cost", help="parameters, multiply-accumulates and memory of a configuration")
    cost.set_defaults(run=_cost)
    sees = commands.add_parser("receptive-field", help="what one unit sees of the picture, layer by layer")
    sees.set_defaults(run=_receptive_field)
    for command in (cost, sees):
        command.add_argument("configuration", help=f"{', '.join(TABLE_1)}, or notation such as '64 64 | 128 128 |'")
    cost.add_argument("--image-size", type=int, default=224, help="side of the picture in pixels (default: 224)")
    cost.add_argument("--in-channels", type=int, default=3, help="channels of the picture (default: 3)")
    cost.add_argument("--classes", type=int, default=1000, help="number of classes (default: 1000)")
    cost.add_argument("--width", type=float, default=1.0, help="factor on the channels (default: 1)")
    cost.add_argument("--hidden", type=int, default=4096, help="units in fc6 and fc7 each (default: 4096)")
    cost.add_argument("--batch-norm", nargs="?", const="true", default="false", choices=("true", "false"),
                      help="normalise after each convolution; alone it is --batch-norm true")  # fmt: skip
    for command in (cost, sees):
        command.add_argument("--json", action="store_true", help="print the table as JSON and nothing else")
    study = commands.add_parser("study", help="run one of the book's experiments, or go on with it")
    study.set_defaults(run=_study)
    names = [*STUDIES, "warm-start", "batch-norm-start", "lighter", "depth", "depth-controls"]
    names += ["repvgg", "digits", "test-scales"]
    names += ["protocol", "protocol-canvas", "protocol-224 (for a GPU)"]
    study.add_argument("name", help=", ".join(names))
    study.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    study.add_argument("--root", help="folder that holds FashionMNIST/ (default: the book's data/)")
    study.add_argument("--result", type=Path, help="where to record it (default: data/results/<name>.json)")
    study.add_argument("--networks", type=int, help="protocol: stop after so many networks, to go on later")
    study.add_argument("--width", type=float, help="protocol: factor on the channels (default: 1/8, 1 for -224)")
    study.add_argument("--pictures", type=int, default=30_000, help="protocol: training pictures (default: 30000)")
    study.add_argument("--longer", type=float, default=1, help="protocol: factor on the epochs (default: 1)")
    study.add_argument("--seeds", type=int, nargs="+", help="protocol: only networks of these seeds (default: all)")
    study.add_argument("--out", type=Path, default=Path("runs"), help="protocol: folder for networks (default: runs)")
    measured = commands.add_parser("measure-cost", help="time and memory of A to E on this device, in use and training")
    measured.set_defaults(run=_measure_cost)
    measured.add_argument("--device", help="cpu, cuda or mps (default: the fastest there is)")
    measured.add_argument("--image-size", type=int, default=224, help="side of the picture in pixels (default: 224)")
    measured.add_argument("--batch", type=int, default=2, help="pictures in a step (default: 2)")
    measured.add_argument("--steps", type=int, default=2, help="timed steps of each network in a round (default: 2)")
    measured.add_argument("--rounds", type=int, default=3, help="rounds over all networks (default: 3)")
    measured.add_argument("--bf16", action="store_true", help="multiply in bfloat16, channels last")
    measured.add_argument("--note", default="", help="what must be said beside the numbers")
    measured.add_argument("--result", type=Path, help="default: runs/measured-cost-<device>.json")
    commands.add_parser("doctor", help="check this machine: Python, packages, data, device, memory, kernel")
    return parser


def _train(options: argparse.Namespace) -> int:
    from vgglib.distributed import in_torchrun
    from vgglib.training import Recipe, recipe

    said = {name.removeprefix("field_"): text for name, text in vars(options).items() if name.startswith("field_")}
    texts = {field.name for field in fields(Recipe) if field.type in (str, "str")}
    changes = {name: text if name in texts else _value(text) for name, text in said.items() if text is not None}
    if _twice(options.seeds) is not None:
        raise ValueError("a seed is given twice: it would give the same network again")
    chosen = recipe(options.recipe, **changes)
    for name, schedule in (("patience", "plateau"), ("warm_up", "linear")):
        if name in changes and chosen.schedule != schedule:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for --schedule {schedule}: this recipe's is {chosen.schedule}")
    _expect_pictures_of(options, options.data == "fashion-mnist")
    _expect_possible(options, chosen)
    if options.data != "fashion-mnist":
        options.data = str(Path(options.data).resolve())  # a run may be resumed from another folder
    elif options.channels is not None:
        raise ValueError("--channels is for a folder of pictures: Fashion-MNIST is grey")
    options.root = str(Path(options.root).resolve()) if options.root else options.root
    _can_be_written(options)
    if options.start_from is not None and _file_of(options.start_from):
        options.start_from = str(_file_of(options.start_from).resolve())
    if options.estimate and in_torchrun():
        raise ValueError("--estimate measures one process: leave torchrun out")
    if options.estimate:
        _begin(options)
        return _estimate(options, chosen)
    with _as_asked(options) as device:
        _begin(options)
        _begin_overwriting(options, chosen)
        runs = [
            _one_run(options, chosen, seed, Path(options.out) / f"{options.recipe}-seed{seed}", device)
            for seed in options.seeds
        ]
    return _summarise(options, {"recipe_name": options.recipe, "changes": changes}, runs)


def _expect_pictures_of(options: argparse.Namespace, fashion_mnist: bool) -> None:
    """Raise ValueError for an option that has no effect on the pictures that are asked for."""
    if options.root is not None and not fashion_mnist:
        raise ValueError(f"--root is where Fashion-MNIST lies: --data {options.data} is a folder of its own")
    if options.workers and fashion_mnist:
        raise ValueError("--workers is for a folder of pictures: Fashion-MNIST is held in memory")


def _expect_possible(options: argparse.Namespace, chosen: object) -> None:
    """Raise ValueError, before any picture is read, for what could not be trained with whatever pictures."""
    import torch

    from vgglib.augment import Augment
    from vgglib.model import VGG
    from vgglib.monitor import summary_writer

    for name in ("keep", "checkpoint_every"):
        if (number := getattr(options, name)) is not None and number < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be 1 or more, got {number}")
    Augment(chosen.image_size, chosen.scale)
    with torch.device("meta"):
        VGG(chosen.configuration, 1, 2, chosen.image_size, chosen.width, chosen.hidden)
    if options.tensorboard and os.environ.get("RANK", "0") == "0":  # under torchrun process 0 alone writes
        summary_writer()


def _begin(options: argparse.Namespace) -> None:
    """Find out what process 0, the only one that must see it, knows of the network to start from."""
    from vgglib import distributed

    content = b""
    if options.start_from is not None and distributed.rank() == 0:
        channels = _network(options.start_from).in_channels
        content = json.dumps([_digest_of(options.start_from), channels]).encode()
    content = distributed.from_first(content)
    options.start, channels = json.loads(content) if content else (None, 3)
    if options.data != "fashion-mnist" and options.channels is None:
        options.channels = channels


_OVERWRITING = ".overwriting.json"  # under --out, while a command with --overwrite is not through


def _begin_overwriting(options: argparse.Namespace, chosen: object) -> None:
    """Find out which runs the same command has trained anew already, before it was stopped: they are finished now."""
    from dataclasses import asdict

    from vgglib import distributed, results

    options.anew = []
    if not options.overwrite:
        return
    runs = [f"{options.recipe}-seed{seed}" for seed in options.seeds]
    wanted = {"runs": runs, "recipe": asdict(chosen), "data": options.data, "start": options.start}
    wanted = json.loads(json.dumps(wanted))
    path, note = Path(options.out) / _OVERWRITING, {}
    if distributed.rank() == 0:
        with contextlib.suppress(OSError, ValueError):
            note = results.read(path)
        if not isinstance(note, dict) or note.get("wanted") != wanted:
            note = {"wanted": wanted, "done": []}
            with contextlib.suppress(OSError):  # training says so where nothing can be written
                results.write(path, note)
    options.anew = json.loads(distributed.from_first(json.dumps(note).encode()))["done"]


def _was_overwritten(folder: Path) -> None:
    """Note that a run is whole, for the command that overwrites it and others; the note goes with its last run."""
    from vgglib import results

    path = folder.parent / _OVERWRITING
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        note = results.read(path)
        note["done"] = sorted({*note["done"], folder.name} & {*note["wanted"]["runs"]})
        if len(note["done"]) < len(note["wanted"]["runs"]):
            results.write(path, note)
        else:
            path.unlink()


def _digest_of(network: str) -> str:
    """The SHA-256 of the file in which a network lies, also one that comes with vgglib."""
    from vgglib.checkpoint import NETWORKS, digest

    return digest(_file_of(network) or NETWORKS / f"{network}.safetensors")


def _file_of(network: str) -> Path | None:
    """Return the file of a network named by its file or its run's folder; None for the name of one of the book's.

    Raises ValueError for a run that has no network yet, and for a name that could be either.
    """
    from vgglib.checkpoint import NETWORKS

    path = Path(network)
    if path.name == network and (NETWORKS / f"{network}.safetensors").is_file():
        if path.exists():
            raise ValueError(
                f"{network} is a network of the book and a name in this folder: for the latter write ./{network}"
            )
        return None
    if path.is_dir():  # a run's folder holds its network
        file = path / "network.safetensors"
        if not file.exists() and (path / "checkpoints" / "run.json").is_file():
            again = f"python -m vgglib resume {shlex.quote(str(path))}"
            raise ValueError(f"the run in {path} is not finished, it has no network yet; go on with: {again}")
        return file
    named = path.name == network and path.suffix != ".safetensors"  # without a folder, as the book's are
    return None if named and not path.is_file() else path


def _network(network: str) -> object:
    """Return a trained network by its file, its run's folder, or its name in data/networks."""
    from vgglib.checkpoint import load_network, shipped

    path = _file_of(network)
    if path and path.suffix.lower() in (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp", ".gif"):
        raise ValueError(
            f"{path} is a picture by its name, where a network is expected: a .safetensors file, a run's folder, or a "
            "name in data/networks comes first"
        )
    return load_network(path) if path else shipped(network)


def _can_be_written(options: argparse.Namespace) -> None:
    """Raise ValueError, before anything is trained, if the results could not be put where they are asked for."""
    out = Path(options.out)
    runs = [out / f"{options.recipe}-seed{seed}" for seed in options.seeds]
    for path in (*out.parents, out, *runs):
        if path.exists() and not path.is_dir():
            raise ValueError(f"--out {options.out}: {path} is a file; name a folder")
    for run in runs if os.environ.get("RANK", "0") == "0" else ():  # under torchrun process 0 alone writes
        if not (run / "history.json").exists():  # a finished run is only read
            _can_take_files(run, f"--out {options.out}")
    _can_hold_a_record(options.result)


def _can_hold_a_record(result: str | Path | None) -> None:
    """Raise ValueError if no record could be written to this file; None is the usual place."""
    if result and Path(result).is_dir():
        raise ValueError(f"--result {result} is a folder; name a file in it")
    for path in Path(result).parents if result else ():
        if path.exists() and not path.is_dir():
            raise ValueError(f"--result {result}: {path} is a file; name a file in a folder")
    if result and os.environ.get("RANK", "0") == "0":  # under torchrun process 0 alone writes
        _can_take_files(Path(result).parent, f"--result {result}")


def _can_take_files(folder: Path, option: str) -> None:
    """Raise ValueError, naming the option, if nothing can be written into a folder, or into where it would be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not _takes_files(there):
        raise ValueError(f"{option}: nothing can be written into {there}; name another folder")


def _takes_files(folder: Path) -> bool:
    """Return whether a file can be made in a folder; what the system says of permissions is not always true."""
    if not os.access(folder, os.W_OK):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _resume(options: argparse.Namespace) -> int:
    from vgglib import distributed
    from vgglib.training import Recipe

    folder, options.overwrite = Path(options.folder), False
    settings = folder / "checkpoints" / "run.json"
    with _as_asked(options) as device:
        content = b""
        if distributed.rank() == 0:  # the others need not see its disk
            if not settings.is_file() and (folder / "network.safetensors").is_file():
                raise ValueError(f"the run in {folder} is finished: its network is {folder / 'network.safetensors'}")
            if not settings.is_file():
                raise ValueError(f"{folder} holds no run to go on with: there is no {settings}")
            content = settings.read_bytes()
        try:
            told = json.loads(distributed.from_first(content))
            options.other_workers = options.workers is not None
            for name in _KEPT:
                if getattr(options, name, None) is None:  # only workers can be asked for anew
                    setattr(options, name, told["options"][name])
            options.start_from, options.start = (told.get(name) for name in ("start_from", "start"))  # if there is one
            options.channels = told.get("channels", None if options.data == "fashion-mnist" else 3)
            values = {n: tuple(value) if isinstance(value, list) else value for n, value in told["recipe"].items()}
            chosen, seed = Recipe(**values), told["seed"]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{settings} is not what train wrote ({type(error).__name__}): give the run's own train command again, "
                "which goes on from the same checkpoints"
            ) from error
        run = _one_run(options, chosen, seed, folder, device)
    return _summarise(options, {"recipe_name": options.recipe, "resumed": str(folder)}, [run])


_KEPT = ("recipe", "data", "root", "workers", "checkpoint_every", "keep")


class _Heard:
    """A stream that may lose its reader, such as head: what nobody hears is dropped, and training goes on."""

    def __init__(self, stream: io.TextIOBase):
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._alone():
            self._stream.write(text)
            self._stream.flush()  # now, not when training is over
        return len(text)

    def flush(self) -> None:
        with self._alone():
            self._stream.flush()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            _drop_the_rest(self._stream)


def _drop_the_rest(stream: io.TextIOBase) -> None:
    """Let what is still printed go nowhere: whoever read it has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def _as_asked(options: argparse.Namespace) -> Iterator[object]:
    """Give the device to train on; in a group of processes, and silent, where that is asked for."""
    from vgglib.distributed import rank, together

    with together(options.device) as device, contextlib.ExitStack() as stack:
        if rank() > 0:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # one process speaks for all
            options.result = options.json = options.tensorboard = None
        elif options.json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        elif sys.stdout is not None:
            stack.enter_context(contextlib.redirect_stdout(_Heard(sys.stdout)))
        yield device
        options.silent = rank() > 0


def _summarise(options: argparse.Namespace, about: dict, runs: list[dict]) -> int:
    """Write and print what several runs gave together."""
    from vgglib import results

    if options.silent:
        return 0
    accuracies = [run["test_accuracy"] for run in runs if run["test_accuracy"] is not None]
    result = {
        "command": options.command,
        **about,
        "test_accuracy": results.summary(accuracies) if accuracies else None,
        "seconds": results.summary([run["seconds"] for run in runs]),
        "runs": runs,
    }
    if options.result:
        results.write(options.result, result)
    if options.json:
        print(json.dumps(result))
    elif len(accuracies) > 1:
        print(f"test accuracy {results.percent(result['test_accuracy'])}, mean and standard deviation")
    return 0


def _estimate(options: argparse.Namespace, chosen: object) -> int:
    """Print how long the run would take on this device, and write it where asked."""
    from vgglib import results
    from vgglib.devices import best_device
    from vgglib.progress import duration
    from vgglib.training import build, conditions, estimate

    train, watched, _ = _sets(options, chosen)
    device = options.device or best_device()
    measured = estimate(build(chosen, train, options.seeds[0]), train, chosen, device=device, validation=watched)
    where = conditions(chosen, device)
    result = {
        "command": options.command,
        "recipe_name": options.recipe,
        "images_per_second": measured.images_per_second,
        "seconds_extrapolated": measured.seconds,
        "steps_measured": measured.steps,
        "pictures_per_step": measured.pictures,
        "conditions": where,
    }
    if options.result:
        results.write(options.result, result)
    if options.json:
        print(json.dumps(result))
    else:
        whole, basis = duration(measured.seconds), f"{measured.steps} steps of {measured.pictures} pictures measured"
        print(f"recipe {options.recipe}: {measured.images_per_second:,.1f} images/s on {where['device']}")
        print(f"{chosen.epochs} epochs: about {whole} ({basis})")
    return 0


def _sets(options: argparse.Namespace, chosen: object) -> tuple:
    """Return what to train on, what to watch, and what to test on at the end; the last two may be None."""
    from vgglib.training import split

    if options.data == "fashion-mnist":
        from vgglib.data import fashion_mnist

        train, test = fashion_mnist(options.root)
    else:
        from vgglib.folders import train_and_validation

        train, test = train_and_validation(options.data, options.channels, options.workers)
        if test is None and chosen.watch_test:
            raise ValueError(f"{options.data} has no val/, and the recipe watches a test set: --watch-test false")
        if len(train.classes) < 2:
            raise ValueError(
                f"{options.data} holds one class, {train.classes[0]}: there is nothing to tell apart. Is it one folder "
                "too high?"
            )
        default = getattr(options, "field_validation", "resumed") is None and not chosen.watch_test
        if default and 5 * chosen.validation > len(train):
            raise ValueError(
                f"the recipe holds out {chosen.validation:,} pictures to watch, and {options.data} has {len(train):,} "
                f"to train on: say how many with --validation, such as {max(1, len(train) // 10)}, or 0"
            )
    return *split(chosen, train, test), test


def _finished(options: argparse.Namespace, wanted: dict, folder: Path) -> dict | None:
    """Return what a finished run in the folder gave, if it is the one asked for; ValueError if it is another.

    wanted: its identity, as _identity gives it.
    """
    from vgglib import distributed
    from vgglib.resuming import Checkpoints, differences
    from vgglib.run import completed

    history, network, content = folder / "history.json", folder / "network.safetensors", b""
    anew = options.overwrite and folder.name not in options.anew
    going_on = anew or options.resumed or bool(Checkpoints(folder / "checkpoints").paths())
    if distributed.rank() == 0 and not going_on and history.is_file() and network.is_file():
        content = history.read_bytes()
    if not (content := distributed.from_first(content)):
        return None
    try:
        run = json.loads(content)
        there = {name: run[name] for name in ("recipe", "seed")} | {"data": run.get("data")}
        there["recipe"] = {name: there["recipe"].get(name, value) for name, value in wanted["recipe"].items()}
        # older runs say less, or nothing; they began from no other network, and took all folders for coloured
        before = {"start": None, "channels": None if wanted["data"]["channels"] is None else 3}
        before["test_scale"] = wanted["recipe"]["image_size"]
        there["data"] = completed(there["data"] or {}, wanted["data"] | before)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{history} is not what train wrote: {error!r}. Take another --out") from error
    if differing := differences(wanted, there):
        raise ValueError(
            f"{folder} holds a finished run with other settings: {'; '.join(differing[:3])}. Take another --out, or "
            "--overwrite"
        )
    _expect_whole(network, run.get("sha256"))
    print(f"seed {wanted['seed']} is finished: {network}; --overwrite trains it anew")
    return run


def _expect_whole(network: Path, sha256: str | None) -> None:
    """Raise ValueError if a finished run's network is not what was written; older histories know no digest."""
    from vgglib import distributed
    from vgglib.checkpoint import digest

    damaged = distributed.rank() == 0 and sha256 is not None and digest(network) != sha256
    if distributed.from_first(b"damaged" if damaged else b""):
        raise ValueError(f"{network} is not the file that its run wrote: put that back, or train anew with --overwrite")


def _identity(chosen: object, seed: int, train: object, watched: object, test: object) -> dict:
    """Return what must be the same for a finished run to be the one asked for: run_identity, and the test set."""
    from vgglib.run import run_identity, told

    found = run_identity(chosen, seed, train, watched)
    return found | {"data": found["data"] | {"tested": None if test is None else told(test)}}


def _expect_agreement(wanted: dict) -> None:
    """Raise ValueError in each process of a group, unless all would train and test the same as process 0."""
    from vgglib import distributed
    from vgglib.run import unlike_first

    if distributed.world() == 1:
        return
    differing, strangers = unlike_first(wanted)
    if differing:
        raise ValueError(
            f"process {distributed.rank()} does not train and test what process 0 does: {'; '.join(differing[:3])}. "
            "Give all the same options and pictures"
        )
    if strangers:
        raise ValueError(f"process {strangers[0]} does not train and test what process 0 does: see its own message")


def _one_run(options: argparse.Namespace, chosen: object, seed: int, folder: Path, device: object) -> dict:
    """Train and test one network, or go on with it, write it and its history, and return what was measured."""
    from vgglib import distributed
    from vgglib.durable import alone_in

    sets = _sets(options, chosen)
    identity = _identity(chosen, seed, *sets)
    identity["data"] |= {"start": options.start, "channels": options.channels, "test_scale": chosen.test_scale}
    _expect_agreement(identity | {"seeds": getattr(options, "seeds", [seed])})
    if (finished := _finished(options, identity, folder)) is not None:
        return finished
    with alone_in(folder / "checkpoints") if distributed.rank() == 0 else contextlib.nullcontext():
        return _trained(options, chosen, seed, folder, device, sets, identity["data"])


def _trained(
    options: argparse.Namespace, chosen: object, seed: int, folder: Path, device: object, sets: tuple, data: dict
) -> dict:
    """Do what _one_run says, where no finished run lies and no other process is at work."""
    import shutil
    from dataclasses import asdict

    from vgglib import distributed, results
    from vgglib.checkpoint import save_network
    from vgglib.data import DataError, ReaderDied
    from vgglib.devices import best_device
    from vgglib.interrupts import Interrupted
    from vgglib.model import start_from
    from vgglib.monitor import Monitor
    from vgglib.progress import Progress, duration
    from vgglib.resuming import Checkpoints
    from vgglib.throughput import throughput
    from vgglib.training import build, fit, foretold, watched_accuracy

    part, watched, test = sets
    checkpoints = Checkpoints(folder / "checkpoints", options.keep, options.changed_pictures)
    alone = distributed.rank() == 0
    net = build(chosen, part, seed)
    if alone and not checkpoints.paths():
        # build has opened what it trains on, for their mean; what else is broken should not cost an epoch either
        for some in {watched, test} | ({part} if chosen.normalise == "nothing" else set()):
            if hasattr(some, "expect_pictures"):
                some.expect_pictures()
    counts = [f"{len(part):,} training images"]
    counts += [f"{len(watched):,} held out"] if watched is not None and not chosen.watch_test else []
    counts += [f"{len(test):,} to test"] if test is not None else []
    print(f"recipe {options.recipe}, seed {seed}: {', '.join(counts)}; {_count(net):,} parameters")
    if distributed.world() > 1 and chosen.batch_norm:
        share = chosen.batch_size / distributed.world()
        print(
            f"batch normalisation: each of {distributed.world()} processes takes the statistics of its own {share:g} "
            "pictures a step, so the figures are not those of one process"
        )
    if alone and checkpoints.paths():
        _expect_start(checkpoints.folder, options.start)
    elif alone:
        if options.start_from:  # the other processes take over the weights of this one
            if (now := _digest_of(options.start_from)) != options.start:
                raise ValueError(
                    f"{options.start_from} has changed since the run began (sha256 {now[:12]}..., then "
                    f"{options.start[:12]}...): put it back, or begin anew with train"
                )
            copied = start_from(net, _network(options.start_from))
            print(f"begins with {', '.join(copied)} of {options.start_from}")
        settings = {
            "options": {name: getattr(options, name) for name in _KEPT},
            "recipe": asdict(chosen),
            "seed": seed,
            "start_from": options.start_from,
            "start": options.start,
            "channels": options.channels,
        }
        with contextlib.suppress(OSError):  # fit warns where the folder takes no files
            results.write(checkpoints.folder / "run.json", settings)
    if alone and not checkpoints.paths() and not Progress().visible:  # else fit's own line says it
        print(foretold(net.to(device or best_device()), part, chosen, watched))
    start = "torchrun, as before, with -m" if distributed.world() > 1 else "python -m"
    first = f"{start} vgglib resume {shlex.quote(str(folder))}"
    again = f"{first} --workers {options.workers}" if options.resumed and options.other_workers else first
    with Monitor(folder if alone else None, options.tensorboard, print) as monitor:
        try:
            history = fit(net, part, watched, chosen, seed, device, monitor, checkpoints, options.checkpoint_every)
        except Interrupted as interrupt:
            if checkpoints.paths() or not alone:
                interrupt.args = (f"{interrupt}; go on with: {again}",)
            raise
        except DataError as error:
            if alone and not (checkpoints.folder / "run.json").is_file():
                raise  # there is nothing to go on with
            if isinstance(error, ReaderDied):
                raise DataError(f"{error}; go on with: {first} --workers 0") from error
            fault = str(error).rpartition("; ")[0] or error  # without the advice, which may be to delete it
            raise DataError(
                f"{fault}. This run goes on with the same files alone: put a good one there, then: {again} "
                "--changed-pictures"
            ) from error
    about = {"recipe": options.recipe, "seed": seed, "test_accuracy": None, "conditions": history.conditions}
    about["classes"] = list(part.classes)
    about["test_scale"] = chosen.test_scale
    about |= {"start": options.start} if options.start else {}
    try:
        accuracy = None
        if test is not None:
            accuracy = watched_accuracy(net, test, history.conditions["bf16"], chosen.test_scale)
    except DataError as error:
        lies = ""
        if alone:
            with _or_kept(folder / "network.safetensors", checkpoints, again):
                save_network(net, folder / "network.safetensors", about)
            lies = f" and lies in {folder / 'network.safetensors'}"
        remedy = ""
        if not alone or (checkpoints.folder / "run.json").is_file():
            mended = f"{first} --workers 0" if isinstance(error, ReaderDied) else f"mend the picture, then: {again}"
            remedy = f"; to test it, {mended}"
        raise DataError(f"{error}. The network is trained{lies}{remedy}") from error
    tested = "" if accuracy is None else f"test accuracy {100 * accuracy:.2f} % "
    print(f"{tested}after {duration(history.seconds)} on {history.conditions['device']}")
    if alone:
        about["test_accuracy"] = accuracy
        with _or_kept(folder / "network.safetensors", checkpoints, again):  # before anything else can go wrong
            digest = save_network(net, folder / "network.safetensors", about)
    speed = throughput(net, history)
    run = {"seed": seed, "test_accuracy": accuracy, "seconds": history.seconds, **history.as_dict()}
    run["throughput"] = {**asdict(speed), "share": speed.share}
    run["data"] = data
    run["sha256"] = digest if alone else None
    if not alone:
        return run
    with _or_kept(folder / "history.json", checkpoints, again):
        results.write(folder / "history.json", run)
    with contextlib.suppress(OSError):  # first: while it lies there, resume goes on
        (checkpoints.folder / "run.json").unlink()
    shutil.rmtree(checkpoints.folder, ignore_errors=True)  # the run is whole
    _was_overwritten(folder)
    print(speed)
    print(f"wrote {folder / 'network.safetensors'} (sha256 {digest[:12]}...) and {folder / 'history.json'}")
    return run


@contextlib.contextmanager
def _or_kept(path: Path, checkpoints: object, again: str) -> Iterator[None]:
    """Say, where a file cannot be written at the end of a run, which state is kept, and how to go on."""
    try:
        yield
    except OSError as error:
        kept = ""
        if states := checkpoints.paths():
            newest = "the newest state that is kept is" if checkpoints.failing else "all that was trained is in"
            kept = f"; {newest} {states[0]}: make room, then: {again}"
        raise OSError(f"{path} could not be written ({error.strerror or error}){kept}") from error


def _expect_start(checkpoints: Path, start: str | None) -> None:
    """Raise CheckpointError if the run in a folder began from another network than the one asked for."""
    from vgglib.checkpoint import CheckpointError

    try:
        there = json.loads((checkpoints / "run.json").read_text(encoding="utf-8")).get("start")
    except (OSError, ValueError, AttributeError):  # its checkpoints tell the rest
        return
    if there != start:
        named = [f"the network {one[:12]}..." if one else "no other network" for one in (there, start)]
        raise CheckpointError(
            f"{checkpoints} holds checkpoints of another run: it began from {named[0]}, this one from {named[1]}. Take "
            "another folder, or the same settings"
        )


def _tester(options: argparse.Namespace) -> object:
    """Return a function that gives a network's posteriors and labels on a set or a folder, tested as asked for."""
    from vgglib.evaluation import dense, ensemble, expect_classes, multi_crop, of_pictures, over_scales, single_crop

    def both(*arguments: object, **others: object) -> object:
        return ensemble([dense(*arguments, **others), multi_crop(*arguments, grid=options.grid, **others)])

    if (twice := _twice(options.scales or [])) is not None:
        raise ValueError(f"the scale {twice} is given twice: it would count twice in the mean posterior")
    method = {"single-crop": single_crop, "dense": dense, "multi-crop": multi_crop, "both": both}[options.method]
    if options.grid != GRID and options.method not in ("multi-crop", "both"):
        raise ValueError(f"--grid is for --method multi-crop and both, not for {options.method}")
    how = {"batch_size": options.batch_size} | ({"grid": options.grid} if options.method == "multi-crop" else {})

    def tested(net: object, pictures: object) -> tuple:
        scales = options.scales or [_own_scale(net)]
        if hasattr(pictures, "images"):
            expect_classes(net, pictures.classes)
            return over_scales(method, net, pictures.images, scales, **how), pictures.labels
        return of_pictures(method, net, pictures, scales, **how)

    return tested


def _twice(given: list) -> object:
    """Return the first that is given a second time, None if there is none."""
    return next((one for place, one in enumerate(given) if one in given[:place]), None)


def _own_scale(net: object) -> int:
    """Return the scale at which train, or a study, tested a network, where it says so; else the side of its crop."""
    about = getattr(net, "about", {})
    return about.get("test_scale") or about.get("scale") or min(net.image_size)


def _evaluate(options: argparse.Namespace) -> int:
    """Test one network, or several together, on the test set or on a folder, and print the errors."""
    from vgglib import data
    from vgglib.devices import best_device
    from vgglib.evaluation import confusion, ensemble, top1_error, top5_error

    if twice := _twice([str((_file_of(name) or Path(name)).resolve()) for name in options.networks]):
        raise ValueError(f"the network {twice} is given twice: it would count twice in the mean posterior")
    nets = [_network(name) for name in options.networks]
    sets = {"fashion-mnist": data.fashion_mnist, "canvas": data.fashion_mnist_on_canvas}
    _expect_pictures_of(options, options.data in sets)
    test = sets[options.data](options.root)[1] if options.data in sets else None
    tested, found = _tester(options), []
    known, first = _common_classes(options.networks, nets) if test is None else (None, None)
    for name, net in zip(options.networks, nets, strict=True):
        pictures = test
        if test is None:
            pictures = data.image_folder(options.data, known, net.in_channels, options.workers)
            if net.classes is None:
                order = f"the order of {first}" if first else "alphabetical order"
                print(
                    f"vgglib: the file of {name} does not name its classes; the folders are taken in {order}",
                    file=sys.stderr,
                )
        posteriors, labels = tested(net.to(options.device or best_device()), pictures)
        found.append(posteriors.cpu())
        if options.data == "fashion-mnist" and getattr(net, "about", {}).get("result") == "protocol-canvas":
            print(f"vgglib: {name} was trained on canvases, such as --data canvas has", file=sys.stderr)
    shown = {
        "fashion-mnist": "test pictures of Fashion-MNIST",
        "canvas": "test pictures of Fashion-MNIST on canvases",
    }.get(options.data, f"pictures in {options.data}")
    posteriors = ensemble(found)
    own = [_own_scale(net) for net in nets]
    scales = options.scales or sorted({*own})
    result = {
        "command": options.command,
        "networks": options.networks,
        "data": options.data,
        "method": options.method,
        "scales": scales,
        **({} if options.scales else {"scale_of_each": own}),
        "pictures": len(labels),
        "top1_error": top1_error(posteriors, labels),
    }
    said = f"top-1 error {100 * result['top1_error']:.2f} %"
    if posteriors.shape[1] > 5:
        result["top5_error"] = top5_error(posteriors, labels)
        said += f", top-5 error {100 * result['top5_error']:.2f} %"
    if options.per_class:
        result["classes"] = _by_class(confusion(posteriors, labels), pictures.classes)
    if options.json:
        print(json.dumps(result))
    else:
        who = f"{len(nets)} networks together, " if len(nets) > 1 else ""
        where = ", ".join(map(str, scales))
        where = f"at {where}" if options.scales or len(scales) == 1 else f"each at its own scale ({where})"
        print(f"{who}{options.method} {where}: {said} of {len(labels):,} {shown}")
        for one in result.get("classes", []):
            mostly = f", most often taken for {one['most_often']}" if one["most_often"] else ""
            error = "no pictures" if not one["pictures"] else f"error {100 * one['error']:.2f} % of {one['pictures']:,}"
            print(f"{one['class']}: {error}{mostly}")
    return 0


def _by_class(counts: object, names: tuple[str, ...]) -> list[dict]:
    """Return, for each class, its pictures, the share that is wrong, and the class most often given in its place."""
    found = []
    for place, (name, row) in enumerate(zip(names, counts.tolist(), strict=True)):
        wrong = [0 if other == place else count for other, count in enumerate(row)]
        most = names[wrong.index(max(wrong))] if any(wrong) else None
        error = sum(wrong) / sum(row) if any(row) else None
        found.append({"class": name, "pictures": sum(row), "error": error, "most_often": most})
    return found


def _common_classes(names: list[str], nets: list) -> tuple[tuple[str, ...] | None, str | None]:
    """The classes that all networks which name them name alike, and the first that does; ValueError for others.

    A row of posteriors is a class: those of another order, averaged, would be an answer about nothing.
    """
    naming = [(name, tuple(net.classes)) for name, net in zip(names, nets, strict=True) if net.classes is not None]
    for name, classes in naming:
        if classes != naming[0][1]:
            other = "in another order" if sorted(classes) == sorted(naming[0][1]) else "other ones"
            raise ValueError(
                f"the classes of {name} are {', '.join(classes)}, those of {naming[0][0]} are "
                f"{', '.join(naming[0][1])}: {other}, so their posteriors cannot be averaged"
            )
    return (naming[0][1], naming[0][0]) if naming else (None, None)


def _predict(options: argparse.Namespace) -> int:
    """Print the likeliest classes of picture files; 1 if one of them could not be read, which costs no other."""
    from vgglib.data import DataError
    from vgglib.devices import best_device
    from vgglib.folders import read_picture, without_advice

    if "" in options.pictures:
        raise ValueError("the name of a picture is empty")
    net = _network(options.network).to(options.device or best_device())
    classes = net.classes or [f"class {number}" for number in range(net.classifier[-1].out_features)]
    top = min(3, len(classes)) if options.top is None else options.top
    if not 1 <= top <= len(classes):
        raise ValueError(f"--top must be from 1 to {len(classes)}, the number of classes, got {top}")
    broken: dict[int, DataError] = {}

    def read() -> Iterator[tuple]:
        for place, path in enumerate(options.pictures):
            try:
                yield read_picture(path, net.in_channels), place
            except DataError as error:
                broken[place] = DataError(without_advice(error))
        if len(broken) == len(options.pictures):
            raise broken[0]

    posteriors, read_ones = _tester(options)(net, read())
    if not posteriors.isfinite().all():
        raise ValueError(f"{options.network} gives posteriors that are not finite")
    found, result = dict(zip(read_ones.tolist(), posteriors.cpu(), strict=True)), []
    for place, path in enumerate(options.pictures):
        if place in broken:
            result.append({"picture": path, "error": str(broken[place])})
            print(f"vgglib: {broken[place]}", file=sys.stderr)
            continue
        shares, places = found[place].topk(top)
        likeliest = {classes[one]: share for one, share in zip(places.tolist(), shares.tolist(), strict=True)}
        result.append({"picture": path, "posteriors": likeliest})
        if not options.json:
            print(f"{path}: {', '.join(f'{name} {100 * share:.1f} %' for name, share in likeliest.items())}")
    if options.json:
        print(json.dumps({"command": options.command, "network": options.network, "pictures": result}))
    return 1 if broken else 0


def own_studies() -> dict[str, object]:
    """Return the studies that are functions of their own, by name; each takes (data, path, device)."""
    from vgglib.beginnings import run_batch_norm_starts, run_warm_starts
    from vgglib.depth import run_controls, run_depth
    from vgglib.later import run_digits, run_repvgg
    from vgglib.lighter import run_lighter

    return {
        "warm-start": run_warm_starts,
        "batch-norm-start": run_batch_norm_starts,
        "lighter": run_lighter,
        "depth": run_depth,
        "depth-controls": run_controls,
        "repvgg": run_repvgg,
        "digits": run_digits,
    }


def _study(options: argparse.Namespace) -> int:
    from vgglib import results
    from vgglib.clone import IN_CLONE, LEFT_OUT
    from vgglib.data import fashion_mnist
    from vgglib.protocol import PROTOCOLS, run_protocol, tables
    from vgglib.studies import STUDIES, run_study
    from vgglib.tolerance import run_test_scales

    own = own_studies()
    if not IN_CLONE and options.result is None:
        raise ValueError(f"say with --result where to record it: the book's data/results/ is {LEFT_OUT}")
    _can_hold_a_record(options.result)
    if options.name in PROTOCOLS:
        _expect_a_plan(options)
        _can_take_files(options.out, f"--out {options.out}")
        data = PROTOCOLS[options.name](options.root)
        record = run_protocol(
            options.name, data, options.result, options.device, lambda text: print(text, flush=True), options.networks,
            options.width, options.pictures, options.longer, options.out, options.seeds,
        )  # fmt: skip
        for title, table in tables(record).items():
            print(f"\n{title} ({record['pictures']})\n{table}")
        return 0
    if options.name in {*STUDIES, *own, "test-scales"}:
        usual = {"networks": None, "width": None, "pictures": 30_000, "longer": 1, "seeds": None, "out": Path("runs")}
        if asked := [f"--{name}" for name, value in usual.items() if getattr(options, name) != value]:
            raise ValueError(f"study {options.name} has no {' and no '.join(asked)}: only the protocol's studies have")
    if options.name == "test-scales":
        run_test_scales(options.root, options.result, options.device)
        return 0
    if options.name not in {*STUDIES, *own}:
        known = [*STUDIES, *own, "test-scales", *PROTOCOLS]
        raise ValueError(f"unknown study {options.name!r}: choose from {', '.join(known)}")
    data = fashion_mnist(options.root)
    if options.name in own:
        record = own[options.name](data, options.result, options.device)
    else:
        record = run_study(options.name, data, options.result, options.device)
    for label, loss in record.get("late_loss", {}).items():
        print(f"{label}: train loss {loss['mean']:.3f} ± {loss['sd']:.3f} (n={loss['n']} seeds)")
    for label, accuracy in record.get("test_accuracy", {}).items():
        print(f"{label}: test accuracy {results.percent(accuracy)}, mean and standard deviation")
    return 0


def _expect_a_plan(options: argparse.Namespace) -> None:
    """Raise ValueError, naming the option, for settings of the protocol under which no network could be trained."""
    from vgglib.protocol import STAGES

    networks, pictures, width, longer = (getattr(options, name) for name in ("networks", "pictures", "width", "longer"))
    if networks is not None and networks < 1:
        raise ValueError(f"--networks must be 1 or more, got {networks}")
    if not 5_000 < pictures <= 60_000:
        raise ValueError(f"--pictures must be from 5001 to 60000, got {pictures}: 5,000 are held out to watch")
    if width is not None and not 1 / 512 <= width < math.inf:
        raise ValueError(f"--width must be a number from 1/512 on, got {width}: it is a factor on the channels")
    least = 1 / min(stage.epochs for stage in STAGES.values())
    if not least <= longer < math.inf:
        raise ValueError(f"--longer must be a number from {least} on, got {longer}: it is a factor on the epochs")


def _measure_cost(options: argparse.Namespace) -> int:
    from vgglib.devices import best_device
    from vgglib.measured_cost import measure

    device = options.device or str(best_device())
    kind = device.partition(":")[0] + ("-bf16" if options.bf16 else "")
    path = options.result or Path("runs") / f"measured-cost-{kind}.json"
    _can_hold_a_record(path)
    record = measure(
        image_size=options.image_size, batch=options.batch, steps=options.steps, rounds=options.rounds,
        device=device, bf16=options.bf16, note=options.note, path=path,
    )  # fmt: skip
    for name, found in record["networks"].items():
        for mode in ("inference", "training"):
            seconds, peak = found[mode]["seconds"]["mean"], found[mode]["peak_bytes"]
            said = "memory not known" if peak is None else f"{peak / 1e6:,.0f} MB"
            print(f"{name}, {mode}: {1000 * seconds / record['batch']:,.1f} ms a picture, {said}")
    print(f"wrote {path}")
    return 0


def _cost(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    import torch

    from vgglib.cost import cost
    from vgglib.model import VGG

    with torch.device("meta"):  # shapes are enough
        net = VGG(
            options.configuration, options.in_channels, options.classes, options.image_size, options.width,
            options.hidden, options.batch_norm == "true",
        )  # fmt: skip
    table = cost(net, options.image_size)
    if options.json:
        totals = {name: getattr(table, name) for name in ("parameters", "macs", "activation_bytes")}
        print(json.dumps({"command": options.command, **totals, "layers": [asdict(row) for row in table]}))
    else:
        print(table)
    return 0


def _receptive_field(options: argparse.Namespace) -> int:
    from vgglib.configurations import layers
    from vgglib.receptive_field import table

    found = table(layers(options.configuration))
    if options.json:
        rows = [{"name": n, "size": f.size, "stride": f.stride, "padding": f.padding} for n, f in found.items()]
        print(json.dumps({"command": options.command, "layers": rows}))
    else:
        print(found)
    return 0


@cache
def _meanings() -> dict[str, str]:
    """Return what each field of a recipe means, as it stands beside the field, and what the recipe laptop has."""
    from vgglib.model import INITIALISATIONS
    from vgglib.training import RECIPES, Recipe

    comments = dict(re.findall(r"(?m)^    (\w+): .*?  # (.+)$", inspect.getsource(Recipe)))
    comments["initialisation"] = ", ".join(INITIALISATIONS)
    comments["schedule"] = f"constant, plateau or linear; {comments['schedule']}"
    comments["normalise"] = f"nothing, mean or mean and std, done {comments['normalise']}"
    return {
        field.name: f"{comments[field.name]} (laptop: {getattr(RECIPES['laptop'], field.name)})"
        for field in fields(Recipe)
    }


def _value(text: str) -> object:
    """Return an option's text as a number, pair, truth value or None where it is one, else as the text itself."""
    try:
        return ast.literal_eval(text.capitalize() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        with contextlib.suppress(ValueError):
            return float(text)  # nan and inf, which are refused as such
        return text


def _count(net: object) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"  # a sentence, no line of code
    raise SystemExit(main())
