"""Causes the faults that training must survive, many times, and says how many were tried: ``make faults``.

``python tests/faults.py [--share 0.02] [--seed 0]``: all of them, or that share of each number. Every part stops with
an AssertionError at the first fault that was not survived. test_faults.py runs a small share in the ordinary tests.
"""

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_training import TINY, contiguous, patterns

from vgglib import training
from vgglib.checkpoint import CheckpointError
from vgglib.resuming import _NAMED, Checkpoints, CheckpointWarning, read
from vgglib.training import NonFiniteLossError, build, fit

RECIPE = replace(TINY, dropout=0.5, flip=True, scale=(12, 16), schedule="linear", epochs=3, batch_size=10, hidden=400)
LARGE = replace(RECIPE, hidden=500)  # a state of 3 MB, so that saving takes a while
COUNTS = {"kills": 100, "truncations": 1000, "flips": 1000, "full disks": 100, "nans": 100}
PICTURES = patterns(60)
warnings.simplefilter("ignore", training.NotLearningWarning)


def train(folder: Path | None, every: int | None = 1, recipe: training.Recipe = RECIPE) -> torch.nn.Module:
    """A run of 18 steps that saves after each, and so spends much of its time saving."""
    net = build(recipe, PICTURES, 4)
    fit(net, PICTURES, PICTURES[:20], recipe, 4, "cpu", checkpoint=folder and Checkpoints(folder), every=every)
    return net


def differs(net: torch.nn.Module, other: dict[str, torch.Tensor]) -> bool:
    """Whether a network is not, bit for bit, what a file held."""
    return any(not torch.equal(tensor, other[name]) for name, tensor in net.named_parameters())


class _Child:
    """A forked process that does some work and ends; only for a process that has a single thread."""

    def __init__(self, work: Callable[[], object]):
        assert len(os.listdir("/proc/self/task")) == 1, "a process with threads must not be forked"
        self._ended, self._number = False, os.fork()
        if self._number == 0:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)

    def runs(self) -> bool:
        """Whether it has not ended yet; an AssertionError if it failed."""
        if not self._ended:
            number, status = os.waitpid(self._number, os.WNOHANG)
            self._ended = number != 0
            assert status == 0, "the work failed"
        return not self._ended

    def is_writing(self, folder: Path) -> bool:
        """Whether it has, or left, a file that has not got its name yet."""
        return folder.is_dir() and any(
            name.startswith(".epoch-") and name.endswith(f".{self._number}") for name in os.listdir(folder)
        )

    def kill(self) -> bool:
        """End it with SIGKILL, and return whether it was still running."""
        if not self.runs():
            return False
        os.kill(self._number, signal.SIGKILL)
        _, status = os.waitpid(self._number, 0)
        self._ended = True
        return os.WIFSIGNALED(status)


def kills(count: int, dice: random.Random) -> str:
    """kill -9 at random moments, and in every second case as soon as a file is being written after that.

    Then all checkpoints are whole, and in the end the weights are those of a run left in peace.
    """
    during, runs = 0, 0
    with tempfile.TemporaryDirectory() as work:
        end, peaceful = Path(work, "end"), Path(work, "peaceful")
        started = time.monotonic()
        first = _Child(lambda: save_file(contiguous(train(Path(work, "p"), 1, LARGE)), peaceful))
        while first.runs():
            time.sleep(0.01)
        longest, killed = time.monotonic() - started, 0
        expected = load_file(peaceful)
        while killed < count:
            runs, folder, best = runs + 1, Path(work, str(runs)), ("", "")
            while not end.exists():
                child = _Child(lambda: save_file(contiguous(train(folder, 1, LARGE)), end))  # noqa: B023
                deadline = time.monotonic() + (dice.uniform(0, longest / 3) if killed < count else 1e9)
                while time.monotonic() < deadline and child.runs():
                    time.sleep(0.0005)
                while killed % 2 and killed < count and not child.is_writing(folder) and child.runs():
                    time.sleep(0.0002)
                killed += child.kill()
                during += child.is_writing(folder)
                paths = Checkpoints(folder).paths()
                for path in paths:
                    read(path)  # not only the newest: each is whole
                stands = _NAMED.fullmatch(paths[0].name).groups() if paths else ("", "")
                assert stands >= best, "it went back"
                best = stands
            found = load_file(end)
            end.unlink()
            assert all(torch.equal(found[name], expected[name]) for name in expected), "another end than in peace"
    return f"{killed} kills in {runs} runs, {during} of them during a save: every checkpoint whole, every end the same"


def damages(cuts: int, flips: int, dice: random.Random) -> str:
    """Truncated files and flipped bits; each is named, and the checkpoint before is used."""
    with tempfile.TemporaryDirectory() as work:
        train(Path(work))
        newest, before = Checkpoints(work).paths()
        content, expected = newest.read_bytes(), read(before)[1]
        header = 8 + int.from_bytes(content[:8], "little")
        for number in range(cuts + flips):
            broken = bytearray(content)
            if number < cuts:
                del broken[dice.randrange(len(content)) :]
            else:  # half of them in the header, which is a small part of the file
                broken[dice.randrange(header if number % 2 else len(content))] ^= 1 << dice.randrange(8)
            newest.write_bytes(broken)
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                assert Checkpoints(work).newest()[1] == expected
            assert len(warned) == 1
            assert f"{newest.name} is damaged" in str(warned[0].message)
            assert f"going on from {before.name}" in str(warned[0].message)
    return f"{cuts} truncations and {flips} flipped bits: each named, the checkpoint before it used"


def full_disks(count: int, dice: random.Random) -> str:
    """A disk that fills at a random place of a save: the old checkpoint stays, training goes on with one warning."""
    expected = {name: tensor.clone() for name, tensor in train(None, every=None).named_parameters()}
    kind = "file-size limits"
    with tempfile.TemporaryDirectory() as work:
        small = Path(work, "small")
        small.mkdir()
        tmpfs = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], capture_output=True)
        mounted = tmpfs.returncode == 0
        kind = f"full tmpfs file systems (8 MiB) or {kind}" if mounted else kind
        try:
            for number in range(count):
                folder = (small if mounted and number % 2 == 0 else Path(work)) / str(number)
                with suppress(SystemExit):
                    _stopped_after(dice.randrange(1, 18), folder)
                kept = {path.name: path.read_bytes() for path in Checkpoints(folder).paths()}
                size = len(next(iter(kept.values())))
                room = dice.randrange(size)
                with _Full(folder, room, mounted and number % 2 == 0), warnings.catch_warnings(record=True) as warned:
                    warnings.simplefilter("always", CheckpointWarning)
                    net = train(folder)
                said = [str(one.message) for one in warned if one.category is CheckpointWarning]
                assert len(said) == 1, said
                assert "bytes needed" in said[0]
                assert f"stays {next(iter(kept))}" in said[0]
                assert {path.name: path.read_bytes() for path in Checkpoints(folder).paths()} == kept
                assert not list(folder.glob(".epoch*"))
                assert not differs(net, expected)
                for path in folder.iterdir():
                    path.unlink()
        finally:
            if mounted:
                subprocess.run(["umount", str(small)], check=True)
    return f"{count} {kind}: old checkpoints intact, training finished, one warning each"


class _Full:
    """Room for so many bytes and no more: in a small file system, or by a limit on the size of files."""

    def __init__(self, folder: Path, room: int, mounted: bool):
        self.folder, self.room, self.mounted = folder, room, mounted

    def __enter__(self) -> None:
        if not self.mounted:
            self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, self.limits[1]))
            return
        with pytest.raises(OSError, match="No space left"):
            self._fill()
        os.truncate(self.folder / "ballast", max(0, (self.folder / "ballast").stat().st_size - self.room))

    def _fill(self) -> None:
        with open(self.folder / "ballast", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def __exit__(self, *_error: object) -> None:
        if self.mounted:
            (self.folder / "ballast").unlink()
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


def _stopped_after(saves: int, folder: Path) -> None:
    """A run that ends right after so many saves."""
    kept = Checkpoints(folder)
    there, left = kept.save, [saves]

    def save(*state: object) -> Path | None:
        path = there(*state)
        left[0] -= 1
        if not left[0]:
            raise SystemExit
        return path

    kept.save = save
    fit(build(RECIPE, PICTURES, 4), PICTURES, PICTURES[:20], RECIPE, 4, "cpu", checkpoint=kept, every=1)


def nans(count: int, dice: random.Random) -> str:
    """A pixel that is not a number at a random step: training stops there, the checkpoint before it is kept."""
    there = training.batches
    for _ in range(count):
        step, place = dice.randrange(18), dice.randrange(10)

        def poisoned(net, pictures, recipe, seed, epoch, start=0, *rest, step=step, place=place):
            for number, (X, y) in enumerate(there(net, pictures, recipe, seed, epoch, start, *rest), start):
                if (epoch - 1) * 6 + number == step:
                    X[place, 0, 3, 4] = torch.nan
                yield X, y

        with tempfile.TemporaryDirectory() as work:
            training.batches = poisoned
            net = build(RECIPE, PICTURES, 4)
            where = rf"step {step % 6 + 1} of epoch {step // 6 + 1}, .*the pictures themselves"
            try:
                with pytest.raises(NonFiniteLossError, match=where):
                    fit(net, PICTURES, PICTURES[:20], RECIPE, 4, "cpu", checkpoint=work, every=1)
            finally:
                training.batches = there
            if step == 0:
                assert not Checkpoints(work).paths()
                continue
            tensors, about = Checkpoints(work).newest()
            assert (about["position"]["epoch"] - 1) * 6 + about["position"]["step"] == step
            assert all(torch.equal(tensor, tensors[f"net.{name}"]) for name, tensor in net.named_parameters())
    return f"{count} pixels that are not a number: each noticed within its step, the checkpoint before it kept"


def main() -> int:
    """Cause all faults, print how many were tried, and return 0 if all were survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="share of each number of faults (default: 1)")
    parser.add_argument("--seed", type=int, default=None, help="of the random places (default: another each time)")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    dice = random.Random(seed)
    count = {name: max(2, round(options.share * number)) for name, number in COUNTS.items()}
    torch.set_num_threads(1)
    started = time.monotonic()
    print(f"seed {seed}")
    print(kills(count["kills"], dice), flush=True)  # first: only a process without threads may be forked
    print(damages(count["truncations"], count["flips"], dice), flush=True)
    print(full_disks(count["full disks"], dice), flush=True)
    print(nans(count["nans"], dice), flush=True)
    print(f"{time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, CheckpointError) as error:
        print(f"NOT SURVIVED: {error!r}")
        raise
