"""``python -m vgglib train | resume | evaluate | predict | study | cost | receptive-field | doctor``."""

import argparse
import inspect
import re
import shlex
import sys
import warnings
from dataclasses import fields
from functools import cache
from pathlib import Path

from vgglib.commands.counts import cost_command, measure_cost_command, receptive_field_command
from vgglib.commands.evaluate import GRID, evaluate_command, predict_command
from vgglib.commands.streams import drop_the_rest, print_any_letter
from vgglib.commands.study import study_command
from vgglib.commands.train import resume_command, train_command


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
    print_any_letter()
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
        drop_the_rest(sys.stdout)
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
    train.set_defaults(run=train_command, changed_pictures=False, resumed=False)
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
    resume.set_defaults(run=resume_command, resumed=True)
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
    evaluate.set_defaults(run=evaluate_command)
    a_network = "a .safetensors file, a run's folder, or the name of a network in data/networks"
    evaluate.add_argument("networks", nargs="+", metavar="network", help=f"{a_network}; of several, the mean posterior")
    predict = commands.add_parser(
        "predict",
        help="say what is on pictures of your own",
        description="Say what a network takes pictures for, the likeliest classes with their posteriors: python -m "
        "vgglib predict runs/laptop-seed0 photo.jpg",
    )
    predict.set_defaults(run=predict_command)
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
        command.add_argument(
            "--batch-size", type=int, help="crops in memory at once (default: 500, of large ones fewer)"
        )
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
    cost.set_defaults(run=cost_command)
    sees = commands.add_parser("receptive-field", help="what one unit sees of the picture, layer by layer")
    sees.set_defaults(run=receptive_field_command)
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
    study.set_defaults(run=study_command)
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
    measured.set_defaults(run=measure_cost_command)
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


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"  # a sentence, no line of code
    raise SystemExit(main())
