"""How far may the test scale Q be from the training scale S? The book's networks D, tested densely at many Q.

``python -m vgglib study test-scales`` runs what is not recorded yet. Taught in notebooks/06_training_scale.ipynb.
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vgglib import results
from vgglib.checkpoint import shipped
from vgglib.devices import best_device, describe, fast_in_bf16
from vgglib.evaluation import dense, top1_error
from vgglib.image_set import ImageSet
from vgglib.protocol import CHAIN, PROTOCOLS

COMMAND = "python -m vgglib study test-scales"
SCALES = (28, 32, 40, 48, 56, 64)
PICTURES = 5_000  # of the test set, the first: those of the protocol
SETS = ("protocol", "protocol-canvas")


def network(protocol: str, stage: str) -> str:
    """Return the name under which the network D of a stage is shipped: ``network("protocol", "[32, 64]")``."""
    return f"{protocol}-D-{stage.strip('[]').replace(', ', '-')}"


def run_test_scales(
    root: str | Path | None = None,
    path: Path | None = None,
    device: str | None = None,
    tell: Callable[[str], object] = print,
    scales: tuple[int, ...] = SCALES,
    pictures: int = PICTURES,
) -> dict:
    """Test every shipped network of the protocol's chain at every Q, and return the whole record.

    One network for each set of pictures and stage, trained from seed 0. Nothing is chosen by these errors. Written
    after every network to ``path``, by default ``data/results/test-scales.json``; what it holds is not tested again.
    """
    path, device = path or results.FOLDER / "test-scales.json", device or best_device()
    record = results.read(path) if path.is_file() else {"command": COMMAND, "networks": []}
    if not isinstance(record, dict) or record.get("command") != COMMAND or "networks" not in record:
        raise ValueError(f"{path} is no record of the study test-scales")
    networks = record["networks"]
    for protocol in SETS:
        test: ImageSet | None = None
        for stage in CHAIN:
            asked = {"pictures": pictures, "set": protocol, "stage": stage, "scales": list(scales)}
            if any(asked.items() <= one.items() for one in networks):
                continue
            test = PROTOCOLS[protocol](root)[1][:pictures] if test is None else test
            net = shipped(network(protocol, stage)).to(device)
            images, labels, started = test.images.to(device), test.labels.to(device), time.perf_counter()
            errors = [top1_error(dense(net, images, Q), labels) for Q in scales]
            networks.append(
                {
                    **asked,
                    "n": 1,
                    "seed": 0,
                    "top1_error": errors,
                    "seconds": time.perf_counter() - started,
                    "conditions": {
                        "bf16": fast_in_bf16(device),
                        "device": describe(device),
                        "torch": torch.__version__,
                        "python": platform.python_version(),
                    },
                }
            )
            results.write(path, record)
            told = ", ".join(f"{Q}: {100 * error:.1f}" for Q, error in zip(scales, errors, strict=True))
            tell(f"{protocol}, S = {stage}: top-1 error (%) at Q = {told}")
    return record


def curves(record: dict, protocol: str) -> dict[str, list[tuple[float, float]]]:
    """Return the top-1 errors in per cent over Q of one set of pictures: {"S = 32": [(Q, error), ...]}."""
    return {
        f"S = {one['stage']}": [(Q, 100 * error) for Q, error in zip(one["scales"], one["top1_error"], strict=True)]
        for one in record["networks"]
        if one["set"] == protocol
    }
