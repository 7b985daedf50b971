"""What the processes of test_distributed.py do: train by several recipes together, and write what came out.

``torchrun --nproc-per-node 2 tests/two_processes.py FOLDER``; alone, it does the same in one process.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from test_training import TINY, patterns

from vgglib import distributed
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


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with distributed.together("cpu") as device:
        rank, world = distributed.rank(), distributed.world()
        for name, (recipe, count, dtype) in CASES.items():
            train = patterns(count)
            net = build(recipe, train, seed=3 + rank).to(dtype)  # process 0 decides where all start
            history = fit(net, train, train[:31], recipe, 3, device)
            seen = [X for X, _ in batches(net, train, recipe, 3, 1, 0, rank, world)]
            pictures = sum(map(len, seen))
            save_file(dict(net.named_parameters()), folder / f"{name}, {rank} of {world}.safetensors")
            said = {"epochs": history.as_dict()["epochs"], "pictures": pictures, "conditions": history.conditions}
            (folder / f"{name}, {rank} of {world}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
