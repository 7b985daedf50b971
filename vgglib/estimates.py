"""How long a training will take, from a few steps of it."""

import copy
import os
import statistics
import time
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from vgglib import distributed
from vgglib.allocator import kept_memory
from vgglib.batches import as_laid_out, batches
from vgglib.conditions import conditions
from vgglib.devices import (
    autocast,
    best_device,
    describe,
    device_of,
    kept_dice,
    known_device,
    out_of_memory,
    synchronise,
)
from vgglib.image_set import ImageSet, channels_of, on_device
from vgglib.largest_batch import release
from vgglib.modes import kept_modes
from vgglib.progress import duration
from vgglib.recipes import Recipe, expect_recipe
from vgglib.sizes import whole
from vgglib.soundness import expect_gradients


@dataclass(frozen=True)
class Estimate:
    """How long a run will take, from a few steps on this device; printed, it says so in words."""

    images_per_second: float
    seconds: float  # of all epochs
    steps: int  # that were measured
    pictures: int  # in each of them
    set_size: int  # pictures in an epoch
    epochs: int

    def __str__(self) -> str:
        times = "once" if self.epochs == 1 else f"{self.epochs} times"
        return f"about {duration(self.seconds)} for {self.set_size:,} pictures, {times} each"


def estimate(
    net: nn.Module,
    train: ImageSet,
    recipe: Recipe,
    steps: int = 3,
    device: torch.device | str | None = None,
    validation: ImageSet | None = None,
) -> Estimate:
    """Return the speed of training ``net``, from ``steps`` steps, and the time of the recipe's epochs.

    device: where fit would train it, by default as for fit; a network that is elsewhere stays there, a copy is timed.
    validation: what is watched after every epoch, if anything.

    Forward and backward pass on up to a batch of pictures; where one step takes over a second, on a few pictures
    only. An optimiser's step is timed by itself, with rate and gradients 0, and counted once a batch. A picture of the
    validation set is taken to cost a third of a step's work on one: the forward pass. Pictures in files are read by
    this process; ``workers`` processes are taken to read so many times as fast, while the network is at work. The
    network is left as it was, gradients and batch statistics put back. The start-up of a compiled network is not in it.
    Raises ValueError for a recipe, a set, a network and a device as fit does.
    """
    expect_recipe(recipe, train)
    expect_gradients(net)
    if whole(steps, "steps") < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    device = best_device() if device is None else known_device(device)
    net = net if device_of(net).type == device.type else copy.deepcopy(net).to(device)
    device = device_of(net)
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    gradients = [parameter.grad for parameter in net.parameters()]
    net.zero_grad()
    settings, few = conditions(recipe, device), _some(train, min(8, recipe.micro_batch or 8), device)
    layouts = [parameter.data for parameter in net.parameters()]
    as_laid_out(net, recipe, settings["channels_last"])
    try:
        with kept_modes(net), kept_dice(), kept_memory(settings["keep_memory"]):
            net.train()
            took = None
            while took is None:
                try:
                    # warms up; a GPU chooses its programs by the size of the batch
                    on_cpu = device.type == "cpu"
                    warm = _timed_step(net, _some(train, 2, device) if on_cpu else few, recipe, settings["bf16"])
                    if on_cpu and sum(warm) > 1:  # a network that takes half a second a picture is not asked for eight
                        few = _some(train, min(4, len(few)), device)
                    took = _timed_step(net, few, recipe, settings["bf16"])
                except RuntimeError as error:
                    if not out_of_memory(error) or len(few) <= 2:
                        raise
                if took is None:  # outside of the handler, whose error holds what the step had made
                    release()
                    few = _some(train, len(few) // 2, device)
            most = min(recipe.batch_size, len(train), recipe.micro_batch or recipe.batch_size)
            affordable, times = max(min(len(few), most), min(most, int(len(few) / sum(took)))), None
            while times is None:  # until a batch fits into memory
                try:
                    known = [took] if affordable == len(few) else []  # warmed up and timed already
                    some = few if known else _some(train, affordable, device)
                    wanted = steps - 1 if known else steps + 1
                    found = [_timed_step(net, some, recipe, settings["bf16"]) for _ in range(wanted)]
                    times = known + found if known else found[1:]
                except RuntimeError as error:
                    if not out_of_memory(error) or affordable <= 2:
                        raise
                if times is None:
                    affordable //= 2
                    release()
            update = _timed_update(net, recipe, settings["fused"], steps) / min(recipe.batch_size, len(train))
    finally:  # also after Ctrl-C
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])
        for parameter, gradient, layout in zip(net.parameters(), gradients, layouts, strict=True):
            parameter.data, parameter.grad = layout, gradient
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's processes share them
    workers = min(getattr(train, "workers", 0), max(1, cores))

    def each(share: float) -> float:
        """Return the median seconds a picture, of which the network has so large a share of a step's work."""
        taken = ((reading, share * learning) for reading, learning in times)
        both = (max(reading / workers, work) if workers else reading + work for reading, work in taken)
        return statistics.median(both) / len(some)

    speed = 1 / (each(1) + update)
    seconds = recipe.epochs * (len(train) / speed + (0 if validation is None else len(validation) * each(1 / 3)))
    return Estimate(speed, seconds, steps, len(some), len(train), recipe.epochs)


def foretold(
    net: nn.Module, train: ImageSet, recipe: Recipe, validation: ImageSet | None = None, done: float = 0.0
) -> str:
    """Return how long the run will take, less a share of it that is ``done``, 0 to 1, as a line to print.

    Each process of a group does its share of it.
    """
    seconds = estimate(net, train, recipe, device=device_of(net), validation=validation).seconds / distributed.world()
    return f"about {duration((1 - done) * seconds)}{' more' if done else ''} on {describe(device_of(net))}"


def _some(train: ImageSet, count: int, device: torch.device) -> ImageSet:
    """Return the first pictures of a set, on a device; or in files, to be read by this process."""
    some = on_device(train[:count], device)
    if hasattr(some, "workers"):
        some.workers = 0
    return some


def _timed_step(net: nn.Module, images: ImageSet, recipe: Recipe, bf16: bool) -> tuple[float, float]:
    """Return the seconds in which ``images`` become a batch, and of a forward and a backward pass over it."""
    device, one_batch = device_of(net), replace(recipe, batch_size=max(2, len(images)), bf16=bf16)
    if recipe.rgb_shift and channels_of(images) == 3:
        _ = images.colour_axes  # worked out once for a run
    started, reading = time.perf_counter(), 0.0
    for X, y in batches(net, images, one_batch, seed=0, epoch=1):
        synchronise(device)
        reading = time.perf_counter() - started
        with autocast(device, bf16):
            scores = net(X)
        F.cross_entropy(scores.float(), y).backward()
    synchronise(device)
    return reading, time.perf_counter() - started - reading


def _timed_update(net: nn.Module, recipe: Recipe, fused: bool, times: int) -> float:
    """Return the median seconds of an optimiser's step that leaves the parameters as they are, after one to warm up."""
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    if not gradients:
        return 0.0
    for gradient in gradients:
        gradient.zero_()
    optimiser = torch.optim.SGD(net.parameters(), 0.0, recipe.momentum, fused=fused or None)
    seconds = []
    for _ in range(times + 1):
        synchronise(gradients[0].device)
        started = time.perf_counter()
        optimiser.step()
        synchronise(gradients[0].device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
