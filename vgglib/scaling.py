"""Section 3.3 as arithmetic: what several devices average, what travels between them, and how long a step takes.

Taught in notebooks/09_scaling_out.ipynb.
"""

import math
from collections.abc import Sequence

from vgglib.sizes import whole

BYTES = 4  # a gradient travels in float32
PATTERNS = ("ring", "star")


def averaged(gradients: Sequence, counts: Sequence[int]) -> object:
    """Return the gradient of a whole batch from those of its shards, each weighted by the number of its pictures.

    gradients: numbers or tensors, each the mean over its shard. counts: pictures in each shard, not all 0.
    """
    total = sum(count * gradient for gradient, count in zip(gradients, counts, strict=True))
    return total / sum(counts)


def ring_all_reduce(vectors: Sequence[Sequence[float]]) -> tuple[list[list[float]], list[int]]:
    """Return what each process holds after a ring all-reduce, the sum of all vectors, and how many values each sent.

    Every process passes one of n parts, each in one piece, to its right-hand neighbour at a time: n - 1 times to add
    up, n - 1 times to spread the sums.
    """
    n = len(vectors)
    parts = [[v[len(v) * p // n : len(v) * (p + 1) // n] for p in range(n)] for v in vectors]
    sent = [0] * n
    for step in range(2 * (n - 1)):
        packets = [parts[process][(process - step) % n] for process in range(n)]
        for process, packet in enumerate(packets):
            right, part = parts[(process + 1) % n], (process - step) % n
            added = (a + b for a, b in zip(right[part], packet, strict=True))
            right[part] = list(added) if step < n - 1 else packet
            sent[process] += len(packet)
    return [[number for part in mine for number in part] for mine in parts], sent


def ring_steps(devices: int) -> list[list[list[set[int]]]]:
    """Return what each device holds at the start and after every pass of ring_all_reduce: [pass][device][part].

    What is held of a part is the sum over a set of devices, counted from 1. Raises ValueError for no device.
    """
    _refuse(devices=devices)
    held = [[[{device + 1} for _ in range(devices)] for device in range(devices)]]
    for step in range(2 * (devices - 1)):
        before = held[-1]
        after = [list(parts) for parts in before]
        for device in range(devices):
            to, part = (device + 1) % devices, (device - step) % devices
            after[to][part] = before[to][part] | before[device][part]
        held.append(after)
    return held


def traffic(devices: int, parameters: int, pattern: str = "ring") -> float:
    """Return the bytes that the busiest connection carries, one way, in one step: gradients in, sums out.

    "ring": each device passes parts to its neighbour, 2 (n - 1) / n times the gradient in all. "star": one device
    takes in the gradients of the n - 1 others and sends each the sum. Raises ValueError for another pattern, and for
    numbers of devices or parameters that are not whole and positive.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"unknown pattern {pattern!r}: choose from {', '.join(PATTERNS)}")
    _refuse(devices=whole(devices, "devices"), parameters=whole(parameters, "parameters"))
    passes = 2 * (devices - 1)
    return BYTES * parameters * (passes / devices if pattern == "ring" else passes)


def step_seconds(
    devices: int,
    batch: int,
    parameters: int,
    images_per_second: float,
    bytes_per_second: float,
    pattern: str = "ring",
    hidden: float = 0.0,
) -> float:
    """Return the seconds of one synchronous step (section 3.3): the largest shard's work, then what travels.

    batch: pictures of the whole step. images_per_second: of one device training alone. bytes_per_second: of one
    connection, one way. hidden: the share of the computing time behind which sending may hide, 0 to 1.
    Raises ValueError for numbers that are not positive and finite, and for devices, pictures and parameters that are
    not whole.
    """
    _refuse(devices=whole(devices, "devices"), batch=whole(batch, "batch"))
    _refuse(images_per_second=images_per_second, bytes_per_second=bytes_per_second)
    if not 0 <= hidden <= 1:
        raise ValueError(f"hidden is a share from 0 to 1, got {hidden}")
    compute = math.ceil(batch / devices) / images_per_second
    travel = traffic(devices, parameters, pattern) / bytes_per_second
    return compute + max(0.0, travel - hidden * compute)


def speed_up(devices: int, batch: int, per_device: bool = False, **assumptions: object) -> float:
    """Return how many times as many pictures a second ``devices`` train as one does.

    batch: pictures a step, shared out among the devices, or with ``per_device`` for each of them.
    assumptions: as for step_seconds.
    """
    every = batch * devices if per_device else batch
    return every / step_seconds(devices, every, **assumptions) * step_seconds(1, batch, **assumptions) / batch


def bandwidth(measured: float, devices: int, batch: int, parameters: int, images_per_second: float, **more) -> float:
    """Return the bytes per second with which step_seconds gives the speed-up that was ``measured``, none hidden.

    Raises ValueError for a speed-up that no connection can give: not above 1, or not below ``devices``.
    """
    if not 1 < measured < devices:
        raise ValueError(f"{devices} devices can be more than 1 and less than {devices} times as fast, got {measured}")
    alone = batch / images_per_second
    left = alone / measured - math.ceil(batch / devices) / images_per_second
    if left <= 0:
        most = batch / math.ceil(batch / devices)
        raise ValueError(f"the work of the largest shard alone allows less than {most:g} times, got {measured}")
    return traffic(devices, parameters, **more) / left


def _refuse(**sizes: float) -> None:
    for name, value in sizes.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
