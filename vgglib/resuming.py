"""The state of a training run on disk, so that it can go on where it was. Nothing is ever unpickled.

A checkpoint is one safetensors file: weights, momentum and random state as tensors, the rest as JSON in its header,
beside a SHA-256 of everything. The newest complete one counts; a damaged one is named and the one before it is used.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from contextlib import suppress
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from vgglib.checkpoint import CheckpointError, not_finite
from vgglib.durable import write_durably
from vgglib.sizes import whole

FORMAT = "vgglib run 1"
NAME = "epoch-{:04d}-step-{:07d}.safetensors"
_NAMED = re.compile(r"epoch-(\d{4,})-step-(\d{7,})\.safetensors")
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')
_NO_DIGEST = b'"digest":"' + 64 * b"0" + b'"'


class CheckpointWarning(UserWarning):
    """A checkpoint that could not be written or read, or a run that goes on elsewhere than it began."""


class Checkpoints:
    """A folder with the last ``keep`` states of one run.

    ``Checkpoints("runs/mine", keep=2)``; given to fit, which saves to it and goes on from it. Raises ValueError
    unless at least one is kept. One process may write to a folder at a time. changed_pictures: go on, with a warning,
    although some pictures are others than before, as after a damaged file was replaced; their number, labels and
    files' names must be the same. ``failing`` is true while the newest state could not be written.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 2, changed_pictures: bool = False):
        if (keep := whole(keep, "keep")) < 1:
            raise ValueError(f"keep must be 1 or more, got {keep}")
        self.folder, self.keep, self.changed_pictures = Path(folder), keep, changed_pictures
        self.failing = False
        self._damaged: set[Path] = set()

    def paths(self) -> list[Path]:
        """Return the files of the checkpoints, the newest first."""
        if not self.folder.is_dir():
            return []
        found = [(_NAMED.fullmatch(path.name), path) for path in self.folder.iterdir()]
        numbered = [(int(match[1]), int(match[2]), path) for match, path in found if match]
        return [path for *_, path in sorted(numbered, reverse=True)]

    def farthest(self) -> tuple[int, int]:
        """Return (epoch, step) of the newest checkpoint, (0, 0) if there is none."""
        epoch, step = _NAMED.fullmatch(self.paths()[0].name).groups() if self.paths() else (0, 0)
        return int(epoch), int(step)

    def save(self, epoch: int, step: int, tensors: dict[str, Tensor], about: dict) -> Path | None:
        """Write the state after ``step`` steps of ``epoch`` and return its file, or None where that failed.

        Then the checkpoints before it are still there, and CheckpointWarning is given, once until a save succeeds.
        """
        path = self.folder / NAME.format(epoch, step)
        content = b""
        try:
            if name := not_finite(tensors):
                raise CheckpointError(f"{name} holds numbers that are not finite")
            content = packed(tensors, about)
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            write_durably(path, content)
        except (OSError, CheckpointError) as error:
            if not self.failing:
                warnings.warn(self._failure(path, error, len(content)), CheckpointWarning, stacklevel=4)
            self.failing = True
            return None
        self.failing = False
        self._damaged.discard(path)
        for old in [*self._damaged, *[one for one in self.paths() if one not in self._damaged][self.keep :]]:
            with suppress(OSError):
                old.unlink()
        self._damaged.clear()
        return path

    def newest(self) -> tuple[dict[str, Tensor], dict] | None:
        """Return the tensors and the description of the newest complete checkpoint, or None if there are none at all.

        Warns CheckpointWarning, naming each damaged file that is passed over. Raises CheckpointError if there are
        files and none is complete.
        """
        faults = []
        for path in self.paths():
            try:
                found = read(path)
            except CheckpointError as error:
                faults.append(str(error))
                self._damaged.add(path)
                continue
            for fault in faults:
                warnings.warn(f"{fault}; going on from {path.name}", CheckpointWarning, stacklevel=3)
            return found
        if faults:
            raise CheckpointError(f"no complete checkpoint in {self.folder}: {'; '.join(faults)}")
        return None

    def _remove_leftovers(self) -> None:
        """Remove half-written files of processes that were killed."""
        for path in self.folder.glob(".epoch-*"):
            if not path.name.endswith(f".{os.getpid()}"):
                with suppress(OSError):
                    path.unlink()

    def _failure(self, path: Path, error: Exception, needed: int) -> str:
        """Return the sentence of the one warning."""
        why, space = getattr(error, "strerror", None) or str(error), ""
        if self.folder.exists() and not self.folder.is_dir():
            why = f"{self.folder.name} is a file, checkpoints need a folder"
        elif needed:
            with suppress(OSError):
                there = next(folder for folder in path.parents if folder.exists())
                space = f": {needed:,} bytes needed, {shutil.disk_usage(there).free:,} free"
        older = [one.name for one in self.paths()]
        kept = f"the newest checkpoint stays {older[0]}" if older else "there is no checkpoint yet"
        return f"{path} could not be written ({why}{space}); training goes on, {kept}"


def packed(tensors: dict[str, Tensor], about: dict) -> bytearray:
    """Return the content of a checkpoint: a safetensors file with its description and digest in the header."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = {"format": FORMAT, "about": json.dumps(about, allow_nan=False), "digest": 64 * "0"}
    try:
        content = bytearray(safetensors.torch.save(plain, metadata=described))
    except RuntimeError as error:  # two tensors in one memory
        raise CheckpointError(str(error).strip().splitlines()[0]) from error
    place = content.index(_NO_DIGEST, 8, _header_end(content)) + len(b'"digest":"')
    content[place : place + 64] = hashlib.sha256(content).hexdigest().encode()
    return content


def read(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors and the description in a checkpoint, every byte of it verified.

    Raises CheckpointError, naming the file, if it is missing, damaged, of another kind, or holds weights that are
    not finite.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return unpacked(content, path.name)


def unpacked(content: bytes, name: str) -> tuple[dict[str, Tensor], dict]:
    """Return the tensors and the description in a checkpoint's content; ``name`` is for errors, those of read."""
    found = _DIGEST.search(content, 8, _header_end(content))
    if found is None:
        raise CheckpointError(f"{name} is damaged, or no checkpoint of a run of vgglib: it has no digest")
    expected, parts = found[1].decode(), memoryview(content)
    digest = hashlib.sha256(parts[: found.start(1)])  # in pieces, since a copy would take as much memory again
    digest.update(64 * b"0")
    digest.update(parts[found.end(1) :])
    if (actual := digest.hexdigest()) != expected:
        raise CheckpointError(f"{name} is damaged (sha256 {actual[:12]}..., expected {expected[:12]}...)")
    try:
        end = _header_end(content)
        described = json.loads(content[8:end])["__metadata__"]
        tensors, about = safetensors.torch.load(content), json.loads(described["about"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name} is no checkpoint of a run: {error}") from error
    if described.get("format") != FORMAT:
        raise CheckpointError(f"{name} is of another format: {described.get('format')!r}, expected {FORMAT!r}")
    if broken := not_finite(tensors):
        raise CheckpointError(f"{name}: {broken} holds numbers that are not finite")
    return tensors, about


def differences(one: dict, other: dict, prefix: str = "") -> list[str]:
    """Return what differs between two descriptions, key by key: ``recipe.width is 0.25, was 0.5``."""
    found = []
    for key in [*one, *(key for key in other if key not in one)]:
        mine, theirs = (side.get(key, "nothing") for side in (one, other))
        if isinstance(mine, dict) and isinstance(theirs, dict):
            found += differences(mine, theirs, f"{prefix}{key}.")
        elif mine != theirs:
            found.append(f"{prefix}{key} is {mine!r}, was {theirs!r}")
    return found


def _header_end(content: bytes | bytearray) -> int:
    """Return where a safetensors file's header ends."""
    return min(len(content), 8 + int.from_bytes(content[:8], "little"))
