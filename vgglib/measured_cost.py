"""What the networks of Table 1 cost on a device, measured: seconds and bytes of using and of training them.

``python -m vgglib measure-cost`` measures this machine. Chapter 08 reads data/results/measured-cost-cpu.json, which
``--result`` made.
"""

import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgglib import results
from vgglib.cost import cost
from vgglib.devices import autocast, best_device, describe, device_of, rounds_to_tf32, synchronise
from vgglib.memory import memory
from vgglib.model import VGG
from vgglib.sizes import whole

CONFIGURATIONS = ("A", "B", "C", "D", "E")
MODES = {"inference": "inference", "training": "SGD with momentum"}  # and their purpose in vgglib.memory


def measure(
    names: Iterable[str] = CONFIGURATIONS,
    image_size: int = 224,
    batch: int = 2,
    steps: int = 2,
    rounds: int = 3,
    device: torch.device | str | None = None,
    bf16: bool = False,
    note: str = "",
    path: Path | None = None,
    tell: Callable[[str], object] = print,
    **options: object,
) -> dict:
    """Return, and write to ``path`` if given, what each configuration costs in use and in training, on ``device``.

    A step of inference is a forward pass without gradients; one of training is forward, cross-entropy, backward and
    SGD with momentum. Pictures are noise. Each network is built anew in each of ``rounds``, so that a slow minute of
    the machine meets all of them; one step warms up, then ``steps`` are timed. A thin network goes first and is
    not counted: what the libraries load at their first use is no network's cost. Seconds are those of one step; their
    summary is over rounds, each of which counts by its fastest step. "processor_seconds" are those that this process
    was at work on a CPU, on all its threads together: other work disturbs them least. On a GPU read
    "seconds": there a processor mostly waits.
    Bytes are the highest use over what there was before the network was built, the median of the rounds: torch's own
    count on a CUDA device, resident memory on Linux, else None.
    note: what must be said beside the numbers, such as other work on the machine. options: for VGG.
    Raises ValueError for no names, and for a batch, a number of steps or of rounds that is no whole number from 1 on.
    """
    for name, value in dict(batch=batch, steps=steps, rounds=rounds).items():
        _at_least_one(value, name)
    device, names = torch.device(device or best_device()), tuple(names)
    if not names:
        raise ValueError("there is no configuration to measure")
    thin = {**options, "width": 1 / 64, "hidden": 8}
    _once(names[0], image_size, batch, 1, device, bf16, thin)  # what libraries load once is nobody's cost
    found: dict[str, dict[str, list]] = {name: {mode: [] for mode in MODES} for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            for mode, run in _once(name, image_size, batch, steps, device, bf16, options).items():
                found[name][mode].append(run)
            took = ", ".join(f"{mode} {runs[-1]['seconds']:.3f} s" for mode, runs in found[name].items())
            tell(f"round {number + 1}, {name}: {took} a step")
    record = {
        "command": f"python -m vgglib measure-cost --device {device.type} --image-size {image_size} --batch {batch} "
        f"--steps {steps} --rounds {rounds}{' --bf16' if bf16 else ''}",
        "conditions": {
            "device": describe(device),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "bf16": bf16,
            "channels_last": bf16,
            "tf32": rounds_to_tf32(device) and not bf16,
            "note": note,
        },
        "image_size": image_size,
        "batch": batch,
        "steps": steps,
        "seed": 0,
        "networks": {name: _summary(name, image_size, batch, bf16, options, modes) for name, modes in found.items()},
    }
    if path is not None:
        results.write(path, record)
    return record


def _at_least_one(value: object, name: str) -> None:
    if whole(value, name) < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def _once(
    name: str, image_size: int, batch: int, steps: int, device: torch.device, bf16: bool, options: dict
) -> dict[str, dict]:
    """Return, for each mode, the fastest step in seconds and the highest use of memory in bytes, of one new network."""
    before, found = _start_of_memory(device), {}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        with device:
            net = VGG(name, image_size=image_size, **options)
            X = torch.rand(batch, net.in_channels, *net.image_size)
            y = torch.arange(batch) % net.classifier[-1].out_features
        if bf16:
            net, X = net.to(memory_format=torch.channels_last), X.to(memory_format=torch.channels_last)
        for mode in MODES:
            _start_of_memory(device)
            step, times, busy = _step(net, X, y, mode, bf16), [], []
            for _ in range(1 + steps):
                synchronise(device)
                started, processor = time.perf_counter(), time.process_time()
                step()
                synchronise(device)
                times.append(time.perf_counter() - started)
                busy.append(time.process_time() - processor)
            highest = _highest_memory(device)
            found[mode] = {
                "seconds": min(times[1:]),
                "processor_seconds": min(busy[1:]),
                "peak_bytes": None if highest is None else highest - before,
            }
    return found


def _step(net: VGG, X: Tensor, y: Tensor, mode: str, bf16: bool) -> Callable[[], None]:
    """Return a function that does one step."""
    training = mode == "training"
    net.train(training)
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9)

    def step() -> None:
        with nullcontext() if training else torch.no_grad(), autocast(device_of(net), bf16):
            scores = net(X)
        if training:
            optimiser.zero_grad()
            F.cross_entropy(scores.float(), y).backward()
            optimiser.step()

    return step


def _summary(name: str, image_size: int, batch: int, bf16: bool, options: dict, modes: dict[str, list[dict]]) -> dict:
    """Return what was counted and what was measured of one configuration."""
    with torch.device("meta"):
        net = VGG(name, image_size=image_size, **options)
    table = cost(net, image_size)
    summary: dict = {"parameters": table.parameters, "macs": table.macs}
    for mode, runs in modes.items():
        peaks = [run["peak_bytes"] for run in runs if run["peak_bytes"] is not None]
        summary[mode] = {
            **{clock: _timed([run[clock] for run in runs]) for clock in ("seconds", "processor_seconds")},
            "predicted_bytes": None if bf16 else memory(net, batch, MODES[mode]).total,  # counted in float32
            "peak_bytes": round(statistics.median(peaks)) if peaks else None,
        }
    return summary


def _timed(values: list[float]) -> dict[str, float | int]:
    return {**results.summary(values), "fastest": min(values)}


def _start_of_memory(device: torch.device) -> int:
    """Forget the highest use so far and return the present one, in bytes; 0 where nobody can say."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc: give freed memory back, so that its next use is seen
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark comes down to the present
    except (OSError, AttributeError, TypeError):
        return 0
    return _status("VmRSS") or 0


def _highest_memory(device: torch.device) -> int | None:
    """Return the highest use since then, in bytes, or None where nobody can say."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> int | None:
    """Return a line of Linux's own account of this process, in bytes, or None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), None)


def layer_seconds(net: VGG, X: Tensor, runs: int = 5) -> dict[str, float]:
    """Return the fastest of ``runs`` forward passes of each layer, in seconds, by the layer's path in the network.

    X: a batch as the network wants it. Each layer is timed alone, on what the layers before it made of X; a ReLU's
    time is added to that of the layer before it. Dropout is left out, the network is put into evaluation mode. Raises
    ValueError as fastest does.
    """
    net.eval()
    times, name = {}, ""
    with torch.inference_mode():
        for part, layers in (("features", net.features), ("classifier", net.classifier)):
            for number, layer in enumerate(layers):
                if isinstance(layer, nn.ReLU):
                    times[name] += fastest(layer, X.clone(), runs)
                    X = layer(X)
                elif not isinstance(layer, nn.Dropout):
                    name = f"{part}.{number}"
                    times[name] = fastest(layer, X, runs)
                    X = layer(X)
            X = X.flatten(1)
    return times


def fastest(layer: nn.Module, X: Tensor, runs: int) -> float:
    """Return the seconds of the fastest of ``runs`` forward passes of X; one more, before them, warms up.

    Raises ValueError for a number of runs that is no whole number from 1 on.
    """
    _at_least_one(runs, "runs")
    times = []
    for _ in range(1 + runs):
        synchronise(X.device)
        started = time.perf_counter()
        layer(X)
        synchronise(X.device)
        times.append(time.perf_counter() - started)
    return min(times[1:])
