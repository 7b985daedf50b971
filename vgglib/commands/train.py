"""``train`` and ``resume``: what was asked for, refused before the first picture where it cannot be."""

import argparse
import ast
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from vgglib.commands.evaluate import expect_pictures_of, given_twice
from vgglib.commands.files import digest_of, expect_place_for_files, expect_place_for_record, file_of, network_of
from vgglib.commands.one_run import KEPT, OVERWRITING, one_run, sets_of
from vgglib.commands.streams import Heard


def train_command(options: argparse.Namespace) -> int:
    """Train and test a network for each seed, and print and write what came out."""
    from vgglib.distributed import in_torchrun
    from vgglib.training import Recipe, recipe

    said = {name.removeprefix("field_"): text for name, text in vars(options).items() if name.startswith("field_")}
    texts = {field.name for field in fields(Recipe) if field.type in (str, "str")}
    changes = {name: text if name in texts else value_of(text) for name, text in said.items() if text is not None}
    if given_twice(options.seeds) is not None:
        raise ValueError("a seed is given twice: it would give the same network again")
    chosen = recipe(options.recipe, **changes)
    for name, schedule in (("patience", "plateau"), ("warm_up", "linear")):
        if name in changes and chosen.schedule != schedule:
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for --schedule {schedule}: this recipe's is {chosen.schedule}")
    expect_pictures_of(options, options.data == "fashion-mnist")
    _expect_possible(options, chosen)
    if options.data != "fashion-mnist":
        options.data = str(Path(options.data).resolve())  # a run may be resumed from another folder
    elif options.channels is not None:
        raise ValueError("--channels is for a folder of pictures: Fashion-MNIST is grey")
    options.root = str(Path(options.root).resolve()) if options.root else options.root
    _expect_places(options)
    if options.start_from is not None and file_of(options.start_from):
        options.start_from = str(file_of(options.start_from).resolve())
    if options.estimate and in_torchrun():
        raise ValueError("--estimate measures one process: leave torchrun out")
    if options.estimate:
        _begin(options)
        return _estimate(options, chosen)
    with _as_asked(options) as device:
        _begin(options)
        _begin_overwriting(options, chosen)
        runs = [
            one_run(options, chosen, seed, Path(options.out) / f"{options.recipe}-seed{seed}", device)
            for seed in options.seeds
        ]
    return _summarise(options, {"recipe_name": options.recipe, "changes": changes}, runs)


def resume_command(options: argparse.Namespace) -> int:
    """Go on with a stopped run, with the settings that it began with."""
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
            for name in KEPT:
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
        if options.data != "fashion-mnist" and not Path(options.data).is_dir():
            raise ValueError(
                f"{options.data}, with the pictures of this run, is not there: if they have moved, the run's own train "
                "command with the new --data goes on from the same checkpoints"
            )
        run = one_run(options, chosen, seed, folder, device)
    return _summarise(options, {"recipe_name": options.recipe, "resumed": str(folder)}, [run])


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


def _expect_places(options: argparse.Namespace) -> None:
    """Raise ValueError, before anything is trained, if the results could not be put where they are asked for."""
    out = Path(options.out)
    runs = [out / f"{options.recipe}-seed{seed}" for seed in options.seeds]
    for path in (*out.parents, out, *runs):
        if path.exists() and not path.is_dir():
            raise ValueError(f"--out {options.out}: {path} is a file; name a folder")
    for run in runs if os.environ.get("RANK", "0") == "0" else ():  # under torchrun process 0 alone writes
        if not (run / "history.json").exists():  # a finished run is only read
            expect_place_for_files(run, f"--out {options.out}")
    expect_place_for_record(options.result)


def _begin(options: argparse.Namespace) -> None:
    """Find out what process 0, the only one that must see it, knows of the network to start from."""
    from vgglib import distributed

    content = b""
    if options.start_from is not None and distributed.rank() == 0:
        channels = network_of(options.start_from).in_channels
        content = json.dumps([digest_of(options.start_from), channels]).encode()
    content = distributed.from_first(content)
    options.start, channels = json.loads(content) if content else (None, 3)
    if options.data != "fashion-mnist" and options.channels is None:
        options.channels = channels


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
    path, note = Path(options.out) / OVERWRITING, {}
    if distributed.rank() == 0:
        with contextlib.suppress(OSError, ValueError):
            note = results.read(path)
        if not isinstance(note, dict) or note.get("wanted") != wanted:
            note = {"wanted": wanted, "done": []}
            with contextlib.suppress(OSError):  # training says so where nothing can be written
                results.write(path, note)
    options.anew = json.loads(distributed.from_first(json.dumps(note).encode()))["done"]


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
            stack.enter_context(contextlib.redirect_stdout(Heard(sys.stdout)))
        yield device
        options.silent = rank() > 0


def _estimate(options: argparse.Namespace, chosen: object) -> int:
    """Print how long the run would take on this device, and write it where asked."""
    from vgglib import results
    from vgglib.devices import best_device
    from vgglib.progress import duration
    from vgglib.training import build, conditions, estimate

    train, watched, _ = sets_of(options, chosen)
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


def value_of(text: str) -> object:
    """Return an option's text as a number, pair, truth value or None where it is one, else as the text itself."""
    try:
        return ast.literal_eval(text.capitalize() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        with contextlib.suppress(ValueError):
            return float(text)  # nan and inf, which are refused as such
        return text
