"""One network of ``train`` or ``resume``: trained, or found finished, tested once, written with its history."""

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from vgglib.commands.files import digest_of, network_of, quoted

KEPT = ("recipe", "data", "root", "workers", "checkpoint_every", "keep")


def one_run(options: argparse.Namespace, chosen: object, seed: int, folder: Path, device: object) -> dict:
    """Train and test one network, or go on with it, write it and its history, and return what was measured."""
    from vgglib import distributed
    from vgglib.durable import alone_in

    sets = sets_of(options, chosen)
    identity = _identity(chosen, seed, *sets)
    identity["data"] |= {"start": options.start, "channels": options.channels, "test_scale": chosen.test_scale}
    expect_agreement(identity | {"seeds": getattr(options, "seeds", [seed])})
    if (finished := _finished(options, identity, folder)) is not None:
        return finished
    with alone_in(folder / "checkpoints") if distributed.rank() == 0 else contextlib.nullcontext():
        return _trained(options, chosen, seed, folder, device, sets, identity["data"])


def sets_of(options: argparse.Namespace, chosen: object) -> tuple:
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


def _identity(chosen: object, seed: int, train: object, watched: object, test: object) -> dict:
    """Return what must be the same for a finished run to be the one asked for: run_identity, and the test set."""
    from vgglib.run import run_identity, told

    found = run_identity(chosen, seed, train, watched)
    return found | {"data": found["data"] | {"tested": None if test is None else told(test)}}


def expect_agreement(wanted: dict) -> None:
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


def _trained(
    options: argparse.Namespace, chosen: object, seed: int, folder: Path, device: object, sets: tuple, data: dict
) -> dict:
    """Do what one_run says, where no finished run lies and no other process is at work."""
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
            if (now := digest_of(options.start_from)) != options.start:
                raise ValueError(
                    f"{options.start_from} has changed since the run began (sha256 {now[:12]}..., then "
                    f"{options.start[:12]}...): put it back, or begin anew with train"
                )
            copied = start_from(net, network_of(options.start_from))
            print(f"begins with {', '.join(copied)} of {options.start_from}")
        settings = {
            "options": {name: getattr(options, name) for name in KEPT},
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
    first = f"{start} vgglib resume {quoted(folder)}"
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


def _count(net: object) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


OVERWRITING = ".overwriting.json"  # under --out, while a command with --overwrite is not through


def _was_overwritten(folder: Path) -> None:
    """Note that a run is whole, for the command that overwrites it and others; the note goes with its last run."""
    from vgglib import results

    path = folder.parent / OVERWRITING
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        note = results.read(path)
        note["done"] = sorted({*note["done"], folder.name} & {*note["wanted"]["runs"]})
        if len(note["done"]) < len(note["wanted"]["runs"]):
            results.write(path, note)
        else:
            path.unlink()
