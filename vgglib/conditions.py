"""What must be said beside a measurement: the fast paths that were on, the device, the versions."""

import platform

import torch

from vgglib import distributed
from vgglib.allocator import can_keep_memory
from vgglib.devices import can_compile, describe, fast_channels_last, fast_in_bf16, rounds_to_tf32
from vgglib.recipes import Recipe


def conditions(recipe: Recipe, device: torch.device | str) -> dict[str, str | bool | int]:
    """Return what must be said beside a measurement: which fast paths are on, the device, the versions."""
    bf16 = fast_in_bf16(device) if recipe.bf16 is None else recipe.bf16
    return {
        "bf16": bf16,
        "channels_last": fast_channels_last(device, bf16) if recipe.channels_last is None else recipe.channels_last,
        "compile": can_compile(device) if recipe.compile is None else recipe.compile,
        "fused": torch.device(device).type in ("cpu", "cuda") if recipe.fused is None else recipe.fused,
        "keep_memory": recipe.keep_memory is not False and can_keep_memory(device),
        **({"tf32": rounds_to_tf32(device) and not bf16} if torch.device(device).type == "cuda" else {}),
        "processes": distributed.world(),
        "device": describe(device),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # of the CPU, for whose sake sums add up otherwise
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
