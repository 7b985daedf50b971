"""Which device there is, and which number format it is fast in."""

import os
import platform
import sysconfig
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from inspect import signature
from itertools import chain
from pathlib import Path
from shutil import which

import torch
from torch import nn


def best_device() -> torch.device:
    """Return the GPU if there is one (CUDA, then Apple's MPS), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def known_device(device: torch.device | str) -> torch.device:
    """Return a device by its name: cpu, cuda, cuda:1, mps; ValueError for another name, and for a GPU that is not here.

    What is a torch.device already is taken as it is.
    """
    if isinstance(device, torch.device):
        return device
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if found is None or found.type not in counts:
        raise ValueError(f"unknown device {device!r}: take cpu, cuda, cuda:1 (the second GPU) or mps")
    if (found.index or 0) >= counts[found.type]:
        raise ValueError(f"torch finds no {device} here; python -m vgglib doctor says what there is")
    return found


def fast_in_bf16(device: torch.device | str) -> bool:
    """Return whether the device multiplies bfloat16 matrices in hardware, faster than float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def fast_channels_last(device: torch.device | str, bf16: bool) -> bool:
    """Return whether convolutions work faster with all channels of a pixel side by side in memory.

    In bfloat16 everywhere; in float32 where oneDNN computes them, on x86 processors: training was 0.99 to
    1.4 times as fast there (networks of 32 and 224 pixels, AMD EPYC with AVX2, 1 and 2 threads, medians of 5 to 11
    rounds in turns). On GPUs in float32 it was not measured, and is not claimed.
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return bf16 or (torch.device(device).type == "cpu" and x86 and torch.backends.mkldnn.is_available())


def can_compile(device: torch.device | str) -> bool:
    """Return whether torch.compile pays on the device: a GPU, with triton, a C compiler and Python's headers for it."""
    compilers = (os.environ.get("CC") or "cc", "gcc", "clang")
    builds = any(map(which, compilers)) and Path(sysconfig.get_path("include"), "Python.h").is_file()
    return torch.device(device).type == "cuda" and find_spec("triton") is not None and builds


def compiled(net: nn.Module) -> nn.Module:
    """Return ``net`` through torch.compile: one program for each size of a batch, counted for this network alone.

    By itself torch.compile counts the programs of all networks of a class together, and after eight of them goes on
    without, silently; and after a second size it makes one program for all sizes, which is a slower one.
    """
    if "isolate_recompiles" in signature(torch.compile).parameters:
        return torch.compile(net, dynamic=False, isolate_recompiles=True)
    torch._dynamo.config.recompile_limit = 256  # an older torch has no count for each network
    return torch.compile(net, dynamic=False)


def rounds_to_tf32(device: torch.device | str) -> bool:
    """Return whether convolutions in float32 round their factors to TF32 there, as torch's default is on GPUs."""
    return (
        torch.device(device).type == "cuda"
        and torch.backends.cudnn.conv.fp32_precision == "tf32"
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


@contextmanager
def cpu_dice(seed: int) -> Iterator[None]:
    """Draw the CPU's random numbers from ``seed`` in this context; those outside, and a GPU's, are left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def kept_dice() -> Iterator[None]:
    """Put the random state of the CPU, and of the GPUs that this process has used, back at the end."""
    apple = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        try:
            yield
        finally:
            if apple is not None:
                torch.mps.set_rng_state(apple)


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that a device's memory is at its end; libraries beneath torch word it otherwise."""
    words = (
        *("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED"),
        *("CUDNN_STATUS_ALLOC_FAILED", "unable to find an engine to execute"),
        *("MPS backend out of memory", "Invalid buffer size"),
    )
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def autocast(device: torch.device | str, bf16: bool) -> AbstractContextManager:
    """Return a context in which convolutions and matrix products run in bfloat16 if ``bf16``, else in float32."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bf16)


def device_of(net: nn.Module) -> torch.device:
    """Return the device that a network's parameters are on; without any, that of its buffers, else the CPU."""
    found = next(chain(net.parameters(), net.buffers()), None)
    return torch.device("cpu") if found is None else found.device


def describe(device: torch.device | str) -> str:
    """Return the device's name as a reader knows it, with its number of threads if it is a CPU."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({platform.machine()})"
    threads = torch.get_num_threads()
    return f"{_cpu_name()}, {threads} thread{'s' * (threads > 1)}"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine() or "CPU"


def synchronise(device: torch.device | str) -> None:
    """Wait until the device has done what it was asked, so that a clock read next tells the truth."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.device(device).type == "mps":
        torch.mps.synchronize()
