"""What the processes of test_distributed.py do: train by several recipes together, and write what came out.

``torchrun --nproc-per-node 2 tests/two_processes.py FOLDER``; alone, it does the same in one process. With
"KILL random", "live random", "KILL exact" or "live exact": one run with checkpoints instead, with dropout and batch
normalisation or without; at KILL the last process kills itself at its fifth step, unless it was started again.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from test_training import TINY, contiguous, patterns

from vgglib import distributed, training
from vgglib.evaluation import accuracy_on
from vgglib.training import batches, build, fit

SMALL = replace(TINY, epochs=2, flip=True, scale=(12, 15), schedule="linear")
CASES = {  # recipe, number of pictures, number format
    "equal shards": (replace(SMALL, batch_size=20), 60, torch.float64),
    "unequal shards": (replace(SMALL, batch_size=21), 60, torch.float64),
    "an empty shard": (replace(SMALL, batch_size=21), 64, torch.float64),
    "in parts": (replace(SMALL, batch_size=21, micro_batch=4), 64, torch.float64),
    "float32": (replace(SMALL, batch_size=21), 60, torch.float32),
    "batch norm": (replace(SMALL, batch_size=20, batch_norm=True), 61, torch.float64),
    "dropout": (replace(SMALL, batch_size=20, dropout=0.5), 60, torch.float64),
}


def unused(device: torch.device) -> str:
    """Return how a network is refused that does not use one of its parameters; "" if it is trained."""
    train, recipe = patterns(60), replace(SMALL, epochs=1)
    net = build(recipe, train)
    net.spare = torch.nn.Linear(3, 2)
    try:
        fit(net, train, None, recipe, 3, device)
    except ValueError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    with distributed.together("cpu") as device:
        rank, world = distributed.rank(), distributed.world()
        refused = unused(device)
        for name, (recipe, count, dtype) in CASES.items():
            train = patterns(count)
            net = build(recipe, train, seed=3 + rank).to(dtype)  # process 0 decides where all start
            history = fit(net, train, train[:31], recipe, 3, device)
            seen = [X for X, _ in batches(net, train, recipe, 3, 1, 0, rank, world)]
            pictures = sum(map(len, seen))
            save_file(contiguous(net), folder / f"{name}, {rank} of {world}.safetensors")
            scale = recipe.test_scale
            final = accuracy_on(net, train[:31], scale)
            if world == 1:
                final = training.watched_accuracy(net, train[:31], scale=scale)
            said = {
                "epochs": history.as_dict()["epochs"],
                "pictures": pictures,
                "conditions": history.conditions,
                "alone": final,
                "unused": refused,
            }
            (folder / f"{name}, {rank} of {world}.json").write_text(json.dumps(said))


SURVIVING = {
    "random": replace(SMALL, batch_size=10, dropout=0.5, batch_norm=True),
    "exact": replace(SMALL, batch_size=10),
}


def survive(folder: Path, kill: bool, kind: str) -> None:
    there = training.batches

    def deadly(*arguments):
        for step, batch in enumerate(there(*arguments), start=1):
            last = distributed.rank() == distributed.world() - 1
            if kill and last and step == 5 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    training.batches = deadly
    if os.environ["TORCHELASTIC_RESTART_COUNT"] != "0" and os.environ["RANK"] == "0":
        time.sleep(2)  # the other one must not take what is left of the first start for this one's
    with distributed.together("cpu") as device:
        train = patterns(60)
        recipe = SURVIVING[kind]
        net = build(recipe, train, seed=3).double()
        mine = folder / ("checkpoints" if distributed.rank() == 0 else "a disk that process 0 does not see")
        history = fit(net, train, train[:31], recipe, 3, device, checkpoint=mine, every=4)
        if distributed.rank() == 0:
            save_file(contiguous(net), folder / "end.safetensors")
            (folder / "losses.json").write_text(json.dumps(history.column("train_loss")))


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.PATIENCE = timedelta(seconds=20)  # a group that does not come together is tried again by torchrun
    distributed.FIRST_WORDS = 15
    if sys.argv[2:]:
        survive(Path(sys.argv[1]), sys.argv[2] == "KILL", sys.argv[3])
    else:
        main(Path(sys.argv[1]))
