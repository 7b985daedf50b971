"""How fast training went: images and FLOPs a second over wall time, and what share of the device's own best that is."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from vgglib.cost import cost
from vgglib.devices import device_of, rounds_to_tf32, synchronise
from vgglib.history import History
from vgglib.recording import bare


@dataclass(frozen=True)
class Throughput:
    """Speed of training with data loading, in units that can be compared. A MAC is two FLOPs."""

    images_per_second: float  # median of the epochs, over wall time, data loading included
    flops_per_second: float  # what the layers had to compute, by wall time
    peak: float  # FLOP/s of the largest matrix product here, in the number format that training used
    bf16: bool  # that format: bfloat16, else float32

    @property
    def share(self) -> float:
        """The share of the peak that was reached, 0 to 1."""
        return self.flops_per_second / self.peak

    def __str__(self) -> str:
        images = f"{self.images_per_second:,.0f} images/s (the epochs' median, with data loading)"
        speed = f"{images}, {_readable(self.flops_per_second)}"
        if self.share > 1:  # large products are slow here in this format: no yardstick
            return speed
        return (
            f"{speed}: {100 * self.share:.0f} % of the {_readable(self.peak)} of a large matrix product here "
            f"in {'bfloat16' if self.bf16 else 'float32'}"
        )


def throughput(net: nn.Module, history: History) -> Throughput:
    """Return the speed of a training run, beside a matrix product that is measured now, once for each device.

    Raises UnknownCostError for a network whose FLOPs cannot be counted, ValueError for a run without an epoch.
    """
    if not history.epochs:
        raise ValueError("no epoch was trained: there is no speed yet")
    speed, bf16 = statistics.median(history.column("images_per_second")), bool(history.conditions["bf16"])
    processes = history.conditions.get("processes", 1)
    flops = speed * training_flops(net, history.recipe.image_size)
    return Throughput(speed, flops, processes * peak(device_of(net), bf16), bf16)


def training_flops(net: nn.Module, image_size: int) -> int:
    """Return the FLOPs of one training step for one picture.

    Each layer multiplies up to three times, two FLOPs a MAC: forward, for the gradient of its weights where they learn,
    and for that of its input where something before it learns: nobody asks for the gradient of the picture. Raises
    UnknownCostError for a network whose FLOPs cannot be counted.
    """
    layers, flops, behind = dict(bare(net).named_modules()), 0, False
    for row in cost(net, image_size)[1:]:
        learns = {name: one.requires_grad for name, one in layers[row.name].named_parameters(recurse=False)}
        flops += 2 * row.macs * (1 + learns.get("weight", False) + behind)
        behind = behind or any(learns.values())
    return flops


def peak(device: torch.device | str, bf16: bool) -> float:
    """Return the FLOP/s of the device's fastest large square matrix product, measured once in a process.

    On a CPU with as many threads as torch has now.
    """
    return _peak(torch.device(device), bf16, torch.get_num_threads())


@cache
def _peak(device: torch.device, bf16: bool, _threads: int) -> float:
    return measured_peak(device, bf16)


def measured_peak(device: torch.device | str, bf16: bool, seconds: float = 0.3) -> float:
    """Return what peak() does, measured now, in at least ``seconds`` seconds."""
    device = torch.device(device)
    side = 1024 if device.type == "cpu" else 8192
    dice = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16 if bf16 else torch.float32
    A, B = (torch.randn(side, side, generator=dice, device=device).to(dtype) for _ in range(2))
    at_once = 1 if device.type == "cpu" else 10
    with _as_convolutions_round(device):
        A @ B
        synchronise(device)
        fastest, end = float("inf"), time.perf_counter() + seconds
        while fastest == float("inf") or time.perf_counter() < end:
            started = time.perf_counter()
            for _ in range(at_once):
                A @ B
            synchronise(device)
            fastest = min(fastest, (time.perf_counter() - started) / at_once)
    return 2 * side**3 / fastest


@contextmanager
def _as_convolutions_round(device: torch.device) -> Iterator[None]:
    """Let matrix products in float32 round as convolutions do: by default torch lets only these use a GPU's TF32."""
    products = torch.backends.cuda.matmul
    before = products.fp32_precision if rounds_to_tf32(device) else None
    if before is not None:
        products.fp32_precision = "tf32"
    try:
        yield
    finally:
        if before is not None:
            products.fp32_precision = before


def _readable(flops: float) -> str:
    """Return FLOP/s in GFLOP/s or TFLOP/s."""
    return f"{flops / 1e12:.2f} TFLOP/s" if flops >= 1e11 else f"{flops / 1e9:.2f} GFLOP/s"
