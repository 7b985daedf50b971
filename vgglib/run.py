"""Where a training run stands, and how that goes to disk and comes back, to the last bit."""

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from vgglib import distributed
from vgglib.augment import stream
from vgglib.checkpoint import CheckpointError
from vgglib.devices import device_of, kept_dice
from vgglib.history import Epoch, History
from vgglib.image_set import ImageSet
from vgglib.resuming import Checkpoints, CheckpointWarning, differences, packed, unpacked
from vgglib.sizes import whole


class Run:
    """A training run between two steps: what changes while it goes on, and nothing else.

    epoch (from 1) is the one at hand and ``step`` the number of its steps that are done, with ``seen`` pictures and
    the ``totals`` of loss and right answers. pictures: to train on, and to watch, if any. micro_batch: pictures that go
    through the network at once.
    """

    def __init__(
        self,
        net: nn.Module,
        optimiser: torch.optim.Optimizer,
        rate: object,
        history: History,
        pictures: tuple[ImageSet, ImageSet | None],
        checkpoints: Checkpoints | str | os.PathLike | None = None,
        every: int | None = None,
    ):
        if every is not None and (every := whole(every, "every, a number of steps,")) < 1:
            raise ValueError(f"every must be a number of steps, 1 or more, got {every!r}")
        if checkpoints == "" or not isinstance(checkpoints, Checkpoints | str | os.PathLike | None):
            raise ValueError(f"checkpoint must be a folder, or Checkpoints(folder), got {checkpoints!r}")
        if every is not None and checkpoints is None:
            raise ValueError(f"every={every} saves nothing without a folder to save to: give checkpoint, too")
        self._net, self._optimiser, self._rate, self._history = net, optimiser, rate, history
        self._identity = {}  # a folder's pictures are opened for it
        if checkpoints is not None or distributed.world() > 1:
            self._identity = run_identity(history.recipe, history.seed, *pictures) | {"network": _described(net)}
        if isinstance(checkpoints, str | os.PathLike):
            checkpoints = Checkpoints(checkpoints)
        self.checkpoints, self._every, self._device = checkpoints, every, device_of(net)
        self.saved: Path | None = None  # the newest checkpoint that this process wrote
        self._dice: dict[str, list[Tensor]] | None = None  # of every process, where an epoch begins in its middle
        self.epoch, self.finished, self.micro_batch = 1, False, history.recipe.micro_batch
        self._begin()

    def _begin(self) -> None:
        """Stand before the first step of an epoch."""
        wide = torch.float32 if self._device.type == "mps" else torch.float64
        self.step, self.seen, self.totals = 0, 0, torch.zeros(2, device=self._device, dtype=wide)
        self._gone = 0.0  # seconds of the epoch in which an earlier process trained
        self.start_clock()

    @property
    def seconds(self) -> float:
        """Wall time of the epoch at hand, without pauses between a checkpoint and going on from it."""
        return time.perf_counter() - self._started

    def start_clock(self) -> None:
        """Begin to count the epoch's seconds, after those of an earlier process."""
        self._started = time.perf_counter() - self._gone

    def next_epoch(self, goes_on: bool) -> None:
        """End an epoch that is in the history, and save; the run is finished unless it goes on."""
        self.finished = not goes_on
        self.epoch += 1
        self._begin()
        self.save()

    def due(self) -> bool:
        """Return whether it is time for a checkpoint within the epoch."""
        return self._every is not None and self.step % self._every == 0

    @contextmanager
    def dice(self) -> Iterator[None]:
        """Draw dropout from the epoch's own random numbers in this context; those outside are left alone."""
        cuda = self._device.type == "cuda"
        with kept_dice():
            # every process drops other units; process 0 those of a lone one
            torch.manual_seed((stream(self._history.seed, self.epoch, "dropout") + 2**40 * distributed.rank()) % 2**64)
            if self._dice:
                torch.set_rng_state(self._dice["cpu"][distributed.rank()])
                if cuda and "cuda" in self._dice:
                    torch.cuda.set_rng_state(self._dice["cuda"][distributed.rank()], self._device)
                if self._device.type == "mps" and "mps" in self._dice:
                    torch.mps.set_rng_state(self._dice["mps"][distributed.rank()])
            self._dice = None
            yield

    def save(self) -> Path | None:
        """Write a checkpoint, if there is a folder for them, and return the newest; process 0 alone writes."""
        if self.checkpoints is None:
            return None
        totals = distributed.total(self.totals)
        tensors = {f"net.{name}": tensor for name, tensor in _state(self._net).items()}
        for name, parameter in self._net.named_parameters():
            momentum = self._optimiser.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        dice = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            dice["cuda"] = torch.cuda.get_rng_state(self._device)
        if self._device.type == "mps":
            dice["mps"] = torch.mps.get_rng_state()
        for kind, mine in dice.items():
            for number, state in enumerate(distributed.from_all(mine)):
                tensors[f"dice.{kind}.{number}"] = state
        tensors["totals"] = totals
        if distributed.rank() > 0:
            return None
        about = {
            "run": self._identity,
            "position": {
                "epoch": self.epoch, "step": self.step, "seen": self.seen, "finished": self.finished,
                "seconds": self.seconds if self.step else 0.0, "micro_batch": self.micro_batch,
            },
            "rate": self._rate.state(),
            "test_scale": self._history.recipe.test_scale,
            "conditions": self._history.conditions,
            "epochs": [asdict(epoch) for epoch in self._history.epochs],
        }  # fmt: skip
        self.saved = self.checkpoints.save(self.epoch, self.step, tensors, about) or self.saved
        return self.saved

    def restore(self) -> bool:
        """Go on from the newest complete checkpoint, and return whether there was one.

        Process 0, which wrote it, reads it and sends it to the others: they need not see its disk.
        Raises CheckpointError, naming what differs first, if it is of another run, if the processes do not train the
        same, or if another process has a newer one; warns CheckpointWarning where the rest will not be the same bit
        for bit, and why.
        """
        self._expect_agreement()
        found = self.checkpoints.newest() if self.checkpoints and distributed.rank() == 0 else None
        if self.checkpoints and distributed.world() > 1:
            content = distributed.from_first(bytes(packed(*found)) if found else b"")
            found = unpacked(content, "the checkpoint of process 0") if content else None
        if found is None:
            return False
        tensors, about = found
        # older runs know less of their data, and nothing of their network
        was = self._identity | about["run"] | {"data": completed(about["run"]["data"], self._identity["data"])}
        differing = differences(self._identity, was)
        pictures = [line for line in differing if re.match(r"data\.(watched\.)?(contents|middles) is", line)]
        if differing and not (self.checkpoints.changed_pictures and differing == pictures):
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise CheckpointError(
                f"{self.checkpoints.folder} holds checkpoints of another run: {'; '.join(differing[:3])}{more}. Take "
                f"another folder, or the same settings{_REPLACED if differing == pictures else ''}"
            )
        self._restore_network({n.removeprefix("net."): t for n, t in tensors.items() if n.startswith("net.")})
        for name, parameter in self._net.named_parameters():
            if (saved := tensors.get(f"momentum.{name}")) is not None:
                self._optimiser.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(saved)
        self._history.epochs[:] = [Epoch(**epoch) for epoch in about["epochs"]]
        self._rate.restore(about["rate"])
        position = about["position"]
        self.epoch, self.finished = position["epoch"], position["finished"]
        self.micro_batch = self._history.recipe.micro_batch or position["micro_batch"]
        self._begin()
        self.step, self.seen = position["step"], position["seen"]
        totals = tensors["totals"].to(self.totals)  # older runs added up in float32
        self.totals = totals if distributed.rank() == 0 else torch.zeros_like(totals)
        self._gone = position["seconds"]
        changed = differences(self._history.conditions, completed(about["conditions"], self._history.conditions))
        if not changed and self.step:
            every = range(distributed.world())
            kinds = {name.split(".")[1] for name in tensors if name.startswith("dice.")}
            self._dice = {kind: [tensors[f"dice.{kind}.{number}"] for number in every] for kind in kinds}
        # older runs were watched at the side of the crop
        scale = about.get("test_scale", self._history.recipe.image_size)
        changed += differences({"test_scale": self._history.recipe.test_scale}, {"test_scale": scale})
        changed += pictures + differences({"micro_batch": self.micro_batch}, {"micro_batch": position["micro_batch"]})
        if changed and not self.finished and distributed.rank() == 0:
            warnings.warn(
                f"going on from epoch {self.epoch}, step {self.step}, but not bit for bit as it would have without a "
                f"stop: {'; '.join(changed)}",
                CheckpointWarning,
                stacklevel=3,
            )
        return True

    def _expect_agreement(self) -> None:
        """Raise CheckpointError in each process of a group, unless all train and save alike, and process 0 is farthest.

        Process 0 may be another machine after a restart: torchrun numbers machines by their names.
        """
        if distributed.world() == 1:
            return
        differing, strangers = unlike_first(self._identity)
        if differing:
            raise CheckpointError(
                f"process {distributed.rank()} does not train what process 0 trains: {'; '.join(differing[:3])}. Give "
                "all the same recipe, seed and pictures"
            )
        if strangers:
            raise CheckpointError(f"process {strangers[0]} does not train what process 0 trains: see its own message")
        farthest = (0, 0)
        with suppress(OSError):  # a disk of its own need not be readable
            farthest = self.checkpoints.farthest() if self.checkpoints else farthest
        told = torch.tensor([*farthest, self.checkpoints is not None, self._every or 0])
        others = [tuple(one.tolist()) for one in distributed.from_all(told)]
        if strangers := [number for number, (*_, saves, every) in enumerate(others) if (saves, every) != others[0][2:]]:
            raise CheckpointError(
                f"process {strangers[0]} does not save when process 0 saves: give all the same checkpoint and every; "
                "process 0 alone writes"
            )
        ahead = max(range(len(others)), key=lambda number: others[number][:2])
        if others[ahead][:2] > others[0][:2]:
            epoch, step = others[ahead][:2]
            raise CheckpointError(
                f"process {ahead} has a newer checkpoint in {self.checkpoints.folder} (epoch {epoch}, step {step}) "
                "than process 0, which alone reads and writes them: copy it to process 0's machine, or, if it is of an "
                f"older run, remove it from process {ahead}'s"
            )

    def _restore_network(self, saved: dict[str, Tensor]) -> None:
        """Fill the network; CheckpointError names the first parts that do not fit."""
        mine = _state(self._net)
        shapes = [{name: f"{t.dtype} {tuple(t.shape)}" for name, t in side.items()} for side in (mine, saved)]
        if differing := differences(*shapes):
            raise CheckpointError(
                f"{self.checkpoints.folder} holds checkpoints of another network: {'; '.join(differing[:3])}"
            )
        with torch.no_grad():
            for name, tensor in mine.items():
                tensor.copy_(saved[name])


def _state(net: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers, also those that a state dict leaves out."""
    return dict([*net.named_parameters(), *net.named_buffers()])


def _described(net: nn.Module) -> dict[str, str]:
    """Return, by name, what each module computes besides its weights, and which of its parameters do not learn."""
    found = {}
    for name, module in net.named_modules():
        settings = ((what, getattr(module, what, None)) for what in _SETTINGS)
        said = [f"{what}={value}" for what, value in settings if isinstance(value, int | float | tuple | str)]
        more = ((what, getattr(module, what, usual), usual) for what, usual in _UNUSUAL.items())
        said += [f"{what}={value}" for what, value, usual in more if value != usual]
        said += [f"{what} frozen" for what, one in module.named_parameters(recurse=False) if not one.requires_grad]
        if said or not any(module.children()):
            found[name] = " ".join([type(module).__name__, *said])
    return found


_REPLACED = (
    "; if pictures were only mended or replaced, under their names, resume --changed-pictures goes on "
    "(in Python Checkpoints(folder, changed_pictures=True))"
)
_UNUSUAL = {"padding_mode": "zeros", "groups": 1, "ceil_mode": False, "negative_slope": 0.01, "approximate": "none"}
_UNUSUAL |= dict.fromkeys(
    ("num_groups", "normalized_shape", "output_size", "scale_factor", "mode")
)  # None: told if there
_SETTINGS = ("p", "kernel_size", "stride", "padding", "dilation", "eps", "momentum", "alpha", "beta", "k")


def unlike_first(wanted: dict) -> tuple[list[str], list[int]]:
    """Return in what this process differs from process 0, as sentences, and the numbers of all that do."""
    wanted = json.loads(json.dumps(wanted))
    differing = differences(wanted, json.loads(distributed.from_first(json.dumps(wanted).encode())))
    counts = distributed.from_all(torch.tensor(len(differing)))
    return differing, [number for number, count in enumerate(counts) if count.item()]


def run_identity(chosen: object, seed: int, train: ImageSet, watched: ImageSet | None = None) -> dict:
    """Return what must be the same for a run to be the same run, as it looks after a journey through JSON.

    chosen: its Recipe. watched: the pictures that it is judged by after every epoch, if there are any.
    """
    free = ("micro_batch", "keep_memory")  # how much memory is taken is no other training
    recipe = {name: value for name, value in asdict(chosen).items() if name not in free}
    if recipe["warm_up"] == 0.1:  # what it was before recipes had the field: older runs are the same runs
        del recipe["warm_up"]
    data = told(train) | {"watched": None if watched is None else told(watched)}
    return json.loads(json.dumps({"recipe": recipe, "seed": seed, "data": data}))


def told(pictures: ImageSet) -> dict:
    """Return what tells a set from another: how many pictures, and digests of classes and labels, names and pictures.

    The names are those of files, whose order decides who is held out; middles are parts of what is in them.
    """
    digest = hashlib.sha256(json.dumps(list(pictures.classes)).encode())
    digest.update(pictures.labels.cpu().numpy().tobytes())
    found = {"pictures": len(pictures), "labels": digest.hexdigest()[:16], "contents": pictures.contents}
    return found | {key: getattr(pictures, key) for key in ("names", "middles") if hasattr(pictures, key)}


def completed(older: dict, now: dict) -> dict:
    """Return what a run said of its data, with what it did not say yet as it is now."""
    said = {key: older.get(key, value) for key, value in now.items()} | older
    return {
        key: completed(value, now[key]) if isinstance(value, dict) and isinstance(now.get(key), dict) else value
        for key, value in said.items()
    }
