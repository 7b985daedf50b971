"""What each part of the fast path brings on this device: training with all of them, and with one of them off."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vgglib.allocator import can_keep_memory, kept_memory
from vgglib.devices import autocast, best_device, can_compile, compiled, fast_channels_last, fast_in_bf16, synchronise
from vgglib.image_set import ImageSet
from vgglib.training import Recipe, batches, build, conditions, expect_recipe


@dataclass(frozen=True)
class Ablation:
    """Images a second, round by round, of training with everything that is fast here, and with one thing less."""

    speeds: dict[str, list[float]]  # the first is "everything"
    conditions: dict[str, str | bool | int]  # those of "everything"

    def median(self, name: str) -> float:
        """Return the median speed, in images a second."""
        return statistics.median(self.speeds[name])

    def brings(self, name: str) -> float:
        """Return how many times faster everything is than everything but ``name``: the median of the rounds' ratios."""
        pairs = zip(self.speeds["everything"], self.speeds[name], strict=True)
        return statistics.median(all_on / one_off for all_on, one_off in pairs)

    def factors(self) -> dict[str, float]:
        """Return what each thing brings, {name: factor}; what the device does not profit from is not among them."""
        return {name: self.brings(name) for name in self.speeds if name != "everything"}


def ablation(
    recipe: Recipe,
    train: ImageSet,
    pictures: int = 512,
    rounds: int = 3,
    device: torch.device | str | None = None,
    tell: Callable[[str], object] = lambda text: None,
    apart: bool = False,
) -> Ablation:
    """Return what bf16, channels_last, compile, the fused optimiser, kept memory and data on the device bring here.

    Each round trains every variant on ``pictures`` pictures, in turns, data loading included, after one that warms
    up and does not count. What this device does not profit from is left out of everything, and of the variants.
    apart: every variant of every round in a process of its own; else memory that one variant has left free serves
    the next, which is kind to the one without kept memory. tell: called with a sentence after every round.
    Raises ValueError for what is no Recipe or no set of pictures, for fewer pictures than a batch, or no round.
    """
    expect_recipe(recipe, train)
    if pictures < recipe.batch_size or rounds < 1:
        raise ValueError(f"take at least a batch of {recipe.batch_size} pictures and 1 round")
    device = best_device() if device is None else torch.device(device)
    variants, some = _variants(recipe, device), train[:pictures]
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    here = {} if apart else {name: _Variant(*what, train, device) for name, what in variants.items()}
    for variant in here.values():
        variant.round(some, 0)
    for number in range(1, rounds + 1):
        for name in variants if number % 2 else reversed(variants):
            one = here[name].round(some, number) if here else _in_its_own_process(*variants[name], some, device)
            speeds[name].append(one)
        tell(f"round {number}/{rounds}: " + ", ".join(f"{name} {found[-1]:,.0f}" for name, found in speeds.items()))
    return Ablation(speeds, conditions(variants["everything"][0], device))


def _variants(recipe: Recipe, device: torch.device) -> dict[str, tuple[Recipe, bool]]:
    """Return the recipe, and whether the data lie on the device, of everything and of everything but one."""
    bf16, compiles = fast_in_bf16(device), can_compile(device)
    everything = replace(
        recipe, bf16=bf16, channels_last=fast_channels_last(device, bf16), compile=compiles,
        fused=device.type in ("cpu", "cuda"), keep_memory=can_keep_memory(device),
    )  # fmt: skip
    found = {"everything": (everything, True)}
    for name in ("bf16", "channels_last", "compile", "fused", "keep_memory"):
        if getattr(everything, name):
            found[name] = (replace(everything, **{name: False}), True)
    if device.type != "cpu":
        found["data on the device"] = (everything, False)
    return found


def _in_its_own_process(*variant: object) -> float:
    """Return images per second of a variant that has a process for itself."""
    start = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=start) as pool:
        return pool.submit(_alone, *variant).result()


def _alone(recipe: Recipe, on_device: bool, train: ImageSet, device: torch.device) -> float:
    """Return images per second of the second round of a variant; the first warms up."""
    with kept_memory(bool(recipe.keep_memory)):  # also between the two
        variant = _Variant(recipe, on_device, train, device)
        variant.round(train, 0)
        return variant.round(train, 1)


class _Variant:
    """A network that is trained one way."""

    def __init__(self, recipe: Recipe, on_device: bool, train: ImageSet, device: torch.device):
        self.recipe, self._on_device, self._device = recipe, on_device, device
        self.net = build(recipe, train).to(device)
        if recipe.channels_last:
            self.net.to(memory_format=torch.channels_last)
        self._forward = compiled(self.net) if recipe.compile else self.net
        self._optimiser = torch.optim.SGD(self.net.parameters(), 1e-4, recipe.momentum, fused=recipe.fused or None)

    def round(self, train: ImageSet, number: int) -> float:
        """Train for an epoch and return images per second."""
        train = train.to(self._device) if self._on_device else train.to("cpu")
        self.net.train()
        with kept_memory(bool(self.recipe.keep_memory)):
            synchronise(self._device)
            started, seen = time.perf_counter(), 0
            for X, y in self._batches(train, number):
                self._optimiser.zero_grad()
                with autocast(self._device, self.recipe.bf16):
                    scores = self._forward(X)
                F.cross_entropy(scores.float(), y).backward()
                self._optimiser.step()
                seen += len(y)
            synchronise(self._device)
            return seen / (time.perf_counter() - started)

    def _batches(self, train: ImageSet, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self._on_device:
            yield from batches(self.net, train, self.recipe, 0, number)
            return
        for X, y in batches(nn.Identity(), train, self.recipe, 0, number):  # cropped and rescaled by the host
            X, y = X.to(self._device), y.to(self._device)
            yield (X - self.net.mean) / self.net.std, y
