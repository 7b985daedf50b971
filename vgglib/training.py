"""One visible training loop (section 3.1) and its recipes. Taught in notebooks/05_training_on_fashion_mnist.ipynb."""

import copy
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import UnionType
from typing import get_origin

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

from vgglib import distributed
from vgglib.allocator import can_keep_memory, kept_memory
from vgglib.augment import Augment, stream
from vgglib.data import DataError, ImageSet
from vgglib.devices import (
    autocast,
    best_device,
    can_compile,
    compiled,
    cpu_dice,
    describe,
    device_of,
    fast_channels_last,
    fast_in_bf16,
    kept_dice,
    known_device,
    out_of_memory,
    rounds_to_tf32,
    synchronise,
)
from vgglib.evaluation import accuracy, crop_of, laid_out, of_views, prepared, single_crop
from vgglib.guard import Guard
from vgglib.history import Epoch, History
from vgglib.interrupts import Interrupted, Interrupts
from vgglib.largest_batch import BatchTooLargeError, MicroBatchWarning, halving, largest_that_fits, release
from vgglib.model import INITIALISATIONS, VGG, initialise, unwrapped
from vgglib.modes import evaluation, kept_modes
from vgglib.progress import Progress, duration
from vgglib.resuming import NAME, Checkpoints
from vgglib.run import Run
from vgglib.sizes import torch_seed, whole

_ENOUGH_STEPS = 20  # after fewer, a loss says nothing yet


class NonFiniteLossError(ArithmeticError):
    """The loss, or the network after a step, became infinite or not a number; the message says where."""


class NotLearningWarning(UserWarning):
    """The loss stays where pure guessing would have it."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, besides the data and the seed."""

    configuration: str  # a name of Table 1 or a string in its notation
    width: float = 1.0  # factor on the channels of every convolution
    hidden: int = 4096  # units in each of the first two fully connected layers
    batch_norm: bool = False  # normalise after each convolution; the paper, older than that, has none
    dropout: float = 0.5  # probability, on the first two fully connected layers
    image_size: int = 224  # side of the crop that the network sees, in pixels
    scale: int | tuple[int, int] = 224  # training scale S in pixels, or (S_min, S_max) for scale jitter
    flip: bool = False  # mirror half of the pictures
    rgb_shift: float = 0.0  # standard deviation, in those of the training set's colours; nothing to grey pictures
    normalise: str = "nothing"  # to pixels in 0..1; "mean": less the training mean; "mean and std": over std too
    initialisation: str = "he"  # a key of vgglib.model.INITIALISATIONS
    zero_biases: bool = True  # False: the biases start as PyTorch draws them
    epochs: int = 10  # passes over the training images
    batch_size: int = 256  # images per step
    learning_rate: float = 0.01  # of the first step, or the highest one for schedule "linear"
    schedule: str = "constant"  # "plateau": divided by 10 when validation stops improving; "linear": up, then down to 0
    warm_up: float = 0.1  # share of the steps over which "linear" raises the rate
    patience: int = 5  # epochs without improvement before "plateau" drops the rate; three drops, then the end
    momentum: float = 0.9  # of stochastic gradient descent
    weight_decay: float = 5e-4  # the L2 multiplier
    validation: int = 5000  # training images held out to watch; 0 for none
    watch_test: bool = False  # True: the curve shows the test set, as the article and d2l do
    bf16: bool | None = None  # multiply in bfloat16; None: where the device is fast in it
    channels_last: bool | None = None  # memory layout; None: where it is faster
    compile: bool | None = False  # hand the network to torch.compile; None: on GPUs, where it can
    fused: bool | None = None  # all parameters in one pass of the optimiser; None: where the device can
    keep_memory: bool | None = None  # a CPU's freed memory stays for the next step; None: where the C library can
    micro_batch: int | None = None  # images at once, their gradients added up; None: the batch, or what fits in memory

    @property
    def test_scale(self) -> int:
        """Section 4.1's test scale Q in pixels, for one crop: S, or the middle of S_min and S_max."""
        return self.scale if isinstance(self.scale, int) else sum(self.scale) // 2

    def __post_init__(self) -> None:
        for name, kind in Recipe.__annotations__.items():
            object.__setattr__(self, name, _plain(getattr(self, name)))
            if not _is_a(getattr(self, name), kind):
                what = {bool: "true or false", int: "a whole number"}.get(kind, getattr(kind, "__name__", kind))
                hint = "; 0 holds none out" if name == "validation" else ""
                raise ValueError(f"{name} must be {what}, got {getattr(self, name)!r}{hint}")
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("learning_rate", "weight_decay", "rgb_shift", "width"):
            if math.isinf(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, allowed are {', '.join(allowed)}")
        most_of = {"momentum": 1, "dropout": 1, "warm_up": 1, "weight_decay": math.inf, "rgb_shift": math.inf}
        for name, most in most_of.items():
            if not 0 <= getattr(self, name) <= most:
                limits = "0 or more" if most == math.inf else f"from 0 to {most}"
                raise ValueError(f"{name} must be {limits}, got {getattr(self, name)}")
        if self.validation < 0:
            raise ValueError(f"validation must be a number of images, 0 for none, got {self.validation}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise ValueError(f"micro_batch must be positive, got {self.micro_batch}")
        if self.micro_batch is not None and self.micro_batch < self.batch_size and self.batch_norm:
            raise ValueError("micro_batch with batch normalisation: each part would be normalised by itself")
        if self.batch_norm and self.batch_size == 1:
            raise ValueError(
                "batch_size 1 with batch normalisation: one picture has no spread to divide by; take 2 or more"
            )
        if self.schedule == "plateau" and not self.validation and not self.watch_test:
            raise ValueError(
                "schedule 'plateau' watches the validation accuracy: hold out some images (validation=5000)"
            )


def _plain(value: object) -> object:
    """Return numpy's numbers as Python's, and lists as tuples, as they are recorded and compared."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _is_a(value: object, kind: object) -> bool:
    """Return whether a value is of an annotated kind: an int does for a float, a truth value for neither."""
    if isinstance(kind, UnionType):
        return any(_is_a(value, one) for one in kind.__args__)
    if get_origin(kind) is tuple:
        pair = isinstance(value, list | tuple) and len(value) == len(kind.__args__)
        return pair and all(map(_is_a, value, kind.__args__))
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return isinstance(value, kind)


_ALLOWED = {
    "schedule": ("constant", "plateau", "linear"),
    "normalise": ("nothing", "mean", "mean and std"),
    "initialisation": tuple(INITIALISATIONS),
}
_ARTICLE = dict(
    initialisation="glorot", zero_biases=False, momentum=0.0, weight_decay=0.0, validation=0, watch_test=True
)  # fmt: skip
RECIPES: dict[str, Recipe] = {
    # the classic run: the network of the article at full width
    "seed": Recipe("A", learning_rate=0.01, batch_size=256, **_ARTICLE),
    # Dive into Deep Learning's published setting: a quarter of the channels
    "d2l": Recipe("A", width=0.25, learning_rate=0.05, batch_size=128, **_ARTICLE),
    # section 3.1: configuration A is the one that the paper trains from random numbers
    "paper": Recipe(
        "A", scale=256, flip=True, rgb_shift=0.1, normalise="mean", initialisation="normal-0.01", epochs=74,
        schedule="plateau",
    ),
    # ours, for two CPU cores and a few minutes: batch normalisation, which the paper did not have, makes it quick
    "laptop": Recipe(
        "A", width=0.25, hidden=512, batch_norm=True, dropout=0.2, image_size=32, scale=32, flip=True,
        normalise="mean and std", epochs=8, batch_size=128, learning_rate=0.1, schedule="linear",
    ),
    # ours, for one GPU: configuration D at 28 pixels, with batch normalisation
    "gpu": Recipe(
        "64 64 | 128 128 | 256 256 256 512 512 512 512 512 512", width=0.5, hidden=512, batch_norm=True, image_size=28,
        scale=(28, 32), flip=True, normalise="mean and std", epochs=30, batch_size=512, learning_rate=0.2,
        schedule="linear",
    ),
}  # fmt: skip


def recipe(name: str, **changes: object) -> Recipe:
    """Return the recipe called ``name`` with some fields changed. Raises ValueError listing what is allowed."""
    if name not in list(RECIPES):
        raise ValueError(f"unknown recipe {name!r}: choose from {', '.join(RECIPES)}")
    if unknown := changes.keys() - Recipe.__dataclass_fields__.keys():
        raise ValueError(
            f"a recipe has no {', '.join(sorted(unknown))}; it has {', '.join(Recipe.__dataclass_fields__)}"
        )
    return replace(RECIPES[name], **changes)


def expect_recipe(chosen: Recipe, *sets: ImageSet) -> None:
    """Raise ValueError for what is no recipe, and for what is no set of labelled pictures."""
    if not isinstance(chosen, Recipe):
        hint = f": write recipe({chosen!r})" if chosen in list(RECIPES) else ""
        raise ValueError(f"expected a Recipe, got {chosen!r}{hint}")
    for some in sets:
        if not hasattr(some, "labels") or not hasattr(some, "classes"):
            raise ValueError(
                f"expected a set of labelled pictures, got a {type(some).__name__}: vgglib.data.ImageSet(images, "
                "labels, classes) makes one of tensors, vgglib.data.image_folder one of files"
            )


def _expect_gradients(net: nn.Module) -> None:
    """Raise ValueError where nothing can learn: no gradients in this context, or for no parameter of the network."""
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise ValueError("training needs gradients: call it outside of torch.no_grad() and torch.inference_mode()")
    if any(parameter.is_inference() for parameter in net.parameters()):
        raise ValueError("a network made inside of torch.inference_mode() cannot learn: make it outside")
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise ValueError("no parameter of the network learns: requires_grad is False for all of them")


def _expect_trainable(net: nn.Module, watch: object) -> None:
    """Raise ValueError for what is no network with its shapes known, and for a ``watch`` that cannot be called."""
    if not isinstance(net, nn.Module):
        raise ValueError(f"expected a network, a torch.nn.Module, got {net!r}")
    if lazy := [name for name, one in net.named_parameters() if isinstance(one, UninitializedParameter)]:
        raise ValueError(f"{lazy[0]} has no shape yet: send one batch through the network first")
    if watch is not None and not callable(watch):
        raise ValueError(f"watch must be a function of the History, got {watch!r}")


def build(recipe: Recipe, train: ImageSet, seed: int = 0) -> VGG:
    """Return the recipe's network for the pictures and classes of ``train``, its weights drawn from ``seed``.

    Raises ValueError for a recipe's name in place of a recipe, and for tensors in place of a set.
    """
    expect_recipe(recipe, train)
    seed = whole(seed, "seed")
    with cpu_dice(torch_seed(seed)):
        net = VGG(
            recipe.configuration, _channels(train), len(train.classes), recipe.image_size,
            recipe.width, recipe.hidden, recipe.batch_norm, recipe.dropout,
        )  # fmt: skip
    initialise(net, recipe.initialisation, seed, biases=recipe.zero_biases)
    net.classes = tuple(map(str, train.classes))
    if recipe.normalise != "nothing":
        mean, std = map(torch.as_tensor, train.mean_and_std())
        std = torch.where(std > 1e-6, std, 1.0)  # a channel that never changes stays at 0
        net.mean.copy_(mean.view(1, -1, 1, 1))
        net.std.copy_(std.view(1, -1, 1, 1) if recipe.normalise == "mean and std" else torch.ones(()))
    return net


def _channels(train: ImageSet) -> int:
    """Return the channels of a set's pictures, whether it has them in memory or in files."""
    return train.channels if _is_streamed(train) else train.images.shape[1]


def _is_streamed(pictures: ImageSet) -> bool:
    """Return whether a set reads its pictures while training, as vgglib.data.image_folder's does."""
    return hasattr(pictures, "batches")


def split(recipe: Recipe, train: ImageSet, test: ImageSet) -> tuple[ImageSet, ImageSet | None]:
    """Return what the recipe trains on and what it watches: held-out training images, the test set, or nothing.

    Raises ValueError for a recipe's name in place of a recipe, and for tensors in place of a set.
    """
    expect_recipe(recipe, train)
    if recipe.watch_test:
        return train, test
    return train.split(recipe.validation) if recipe.validation else (train, None)


def fit(
    net: nn.Module,
    train: ImageSet,
    validation: ImageSet | None,
    recipe: Recipe,
    seed: int = 0,
    device: torch.device | str | None = None,
    watch: Callable[[History], object] | None = None,
    checkpoint: Checkpoints | str | os.PathLike | None = None,
    every: int | None = None,
) -> History:
    """Train ``net`` in place by the recipe and return its History; the network stays on ``device``, ready for use.

    net: what ``build`` gives, or any other network: what the recipe says of its layers, its first weights and
    ``normalise`` is for build, and is not done here (UserWarning where the pictures go in as they are, against the
    recipe). Parameters that need no gradient stay as they are, and so do the averages of a batch normalisation whose
    own parameters need none. Afterwards it is in evaluation mode, and knows the names of the classes
    (``net.classes``, None where it has more scores than there are classes).
    train, validation: uint8 pictures and labels, or a folder's; validation may be None, and is watched by one crop at
    the recipe's test scale (section 4.1); a network that does not say how large, sees the recipe's.
    seed: decides the order of the pictures, their crops and flips, and dropout.
    watch: called with the History after every epoch (a live plot).
    checkpoint: a folder for the state of the run, saved after every epoch and every ``every`` steps; where it holds
    one already, training goes on from there: on a CPU bit for bit with the same machine, threads and versions; on a GPU
    as closely as two runs agree there, whose kernels may add up in another order.
    A progress line with the time left is shown in terminals and notebooks.
    Ctrl-C (a notebook's stop button, SIGTERM): the step at hand is finished, a checkpoint written, and
    Interrupted, a KeyboardInterrupt with the History, raised; pressed a third time, it stops at once.
    Raises ValueError for what is no network, or gives no (N, classes) scores, for labels that it has no score for, for
    schedule "plateau" without a validation set and for one with other classes, for a network without a parameter that
    learns, inside of torch.no_grad() or inference_mode(), for a device that is not here, and in a group of processes
    for a network with a parameter that is not used; NonFiniteLossError within one step of the loss becoming infinite or
    nan, and for weights that the last step of an epoch left so; CheckpointError for the checkpoints of another run, and
    for processes of a group that do not train and save alike; BatchTooLargeError where memory ends and the recipe
    allows no smaller parts; warns NotLearningWarning when an epoch's loss is that of guessing.
    Called by every process of a torch.distributed group, all of them train on their share of each batch.
    """
    expect_recipe(recipe, train, *([] if validation is None else [validation]))
    seed = whole(seed, "seed")
    if recipe.schedule == "plateau" and validation is None:
        raise ValueError("schedule 'plateau' drops the rate by the validation accuracy: give fit() a validation set")
    _expect_trainable(net, watch)
    _expect_gradients(net)
    if validation is not None and tuple(validation.classes) != tuple(train.classes):
        names = [", ".join(some.classes) for some in (train, validation)]
        raise ValueError(f"the classes to train on are {names[0]}, those of the validation set {names[1]}")
    if validation is not None and (channels := [_channels(some) for some in (train, validation)])[0] != channels[1]:
        raise ValueError(f"the pictures to train on have {channels[0]} channels, those to watch {channels[1]}")
    device = best_device() if device is None else known_device(device)
    net, given, train = net.to(device), train, _on(train, device)
    settings = conditions(recipe, device) | getattr(train, "read_by", {})
    if settings["channels_last"]:
        net = net.to(memory_format=torch.channels_last)
    classes = _count_classes(net, train, recipe)
    _warn_if_unprepared(net, recipe)
    names = tuple(map(str, train.classes))
    net.classes = names if len(names) == classes else None  # of more scores than classes nobody knows the names
    optimiser = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay,
        fused=settings["fused"] or None,  # None: all tensors in one pass where torch does so by itself
    )  # fmt: skip
    history = History(recipe, seed, classes, settings)
    progress, rate = Progress(silent=distributed.rank() > 0), Rate(recipe, math.ceil(len(train) / recipe.batch_size))
    run = Run(net, optimiser, rate, history, (given, validation), checkpoint, every)
    run.restore()
    forward = distributed.replicated(net)
    forward = compiled(forward) if settings["compile"] else forward
    as_set = replace(recipe, bf16=settings["bf16"], channels_last=settings["channels_last"])
    guard = Guard(optimiser, device, wait=device.type != "cuda" or not settings["fused"])

    def heed(broken: int | None = None, stop: bool = False) -> None:
        """Raise for a step whose loss is not finite, and for a stop."""
        if broken is not None:
            at_once = run.micro_batch
            raise NonFiniteLossError(_where_it_broke(net, train, recipe, seed, run.epoch, broken, rate, at_once))
        if stop:
            raise _interrupted(run, history, interrupts.asked)

    if progress.visible and not run.finished:
        with _for_use(net):  # should it be interrupted here
            done = (run.epoch - 1 + run.seen / len(train)) / recipe.epochs
            progress.show(foretold(net, train, recipe, validation, done), final=True)
    with progress, Interrupts() as interrupts, kept_memory(settings["keep_memory"]), _for_use(net):
        while not run.finished:
            number = run.epoch
            run.start_clock()
            _learning(net)
            with run.dice():
                where = (number, run.step, distributed.rank(), distributed.world())
                for X, y in _or_saved(batches(net, train, as_set, seed, *where), run):
                    for group in optimiser.param_groups:
                        group["lr"] = rate(number, run.step)
                    count = min(recipe.batch_size, len(train) - run.seen)  # pictures in this step, of all processes
                    optimiser.zero_grad()
                    loss, right = _gradients(forward, X, y, count, settings["bf16"], run, recipe)
                    _expect_all_used(net)
                    broken, stop = guard.look(run.step, loss, interrupts.asked is not None)
                    heed(broken)
                    optimiser.step()
                    run.totals += torch.stack([loss.to(run.totals) * (count / distributed.world()), right])
                    run.seen, run.step = run.seen + count, run.step + 1
                    progress.show(_line(history, number, run.seen, len(train), run.seconds))
                    heed(stop=stop)
                    if run.due():
                        heed(*guard.last())
                        run.save()
            heed(*guard.last())
            distributed.share_buffers(net)  # those that are saved are those that are tested
            _expect_finite(net, run, rate)
            synchronise(device)
            trained = run.seconds
            loss, right = (total / run.seen for total in distributed.total(run.totals).tolist())
            try:
                watched = None
                if validation is not None:
                    watched = watched_accuracy(net, validation, settings["bf16"], *_watched_at(net, recipe))
            except Exception:  # a picture that cannot be read: the epoch that was trained must not be lost
                if distributed.world() == 1:
                    run.save()
                raise
            last_rate = rate(number, run.step - 1)
            history.epochs.append(Epoch(number, loss, right, watched, last_rate, run.seconds, run.seen / trained))
            progress.show(str(history), final=True)
            run.next_epoch(rate.goes_on(watched) and number < recipe.epochs)
            if distributed.rank() == 0:
                _warn_if_guessing(history, math.ceil(len(train) / recipe.batch_size))
            if watch is not None:
                watch(history)
            if interrupts.asked is not None and distributed.world() == 1:
                raise _interrupted(run, history, interrupts.asked)
    return history


def _or_saved(pictures: Iterator[tuple[Tensor, Tensor]], run: Run) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the batches; at a picture that cannot be read, save the steps before it: they must not be lost."""
    try:
        yield from pictures
    except DataError:
        if distributed.world() == 1 and run.step:
            run.save()
        raise


@contextmanager
def _for_use(net: nn.Module) -> Iterator[None]:
    """Leave a network in evaluation mode, however the context ends."""
    try:
        yield
    finally:
        net.eval()


def _learning(net: nn.Module) -> None:
    """Set the training mode, but for a batch normalisation that is frozen: its averages would go on moving."""
    net.train()
    for module in net.modules():
        frozen = [not parameter.requires_grad for parameter in module.parameters(recurse=False)]
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and frozen and all(frozen):
            module.eval()


def _warn_if_unprepared(net: nn.Module, recipe: Recipe) -> None:
    """Warn if the recipe normalises the pictures and the network takes them as they are."""
    inner = unwrapped(net)
    shifts, scales = ((getattr(inner, name, plain) != plain) for name, plain in (("mean", 0.0), ("std", 1.0)))
    if recipe.normalise != "nothing" and not (torch.as_tensor(shifts).any() or torch.as_tensor(scales).any()):
        warnings.warn(
            f"the recipe says normalise={recipe.normalise!r}, but the network takes pictures in 0..1 as they are: its "
            "mean is 0, its std 1. vgglib.training.build sets both; recipe(..., normalise='nothing') says what is done",
            stacklevel=3,
        )


def batches(
    net: nn.Module,
    train: ImageSet,
    recipe: Recipe,
    seed: int,
    epoch: int,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch: pictures as ``net`` wants them, float (N, C, side, side), and labels (N,).

    Order and augmentation depend on (seed, epoch, index) alone. start: batches that are left out, being done already.
    rank, world: of each batch this process gets the rank-th of ``world`` parts. A last batch is left out under batch
    normalisation if a part of it would have one picture only. A set with ``batches`` of its own is asked for them.
    In memory the pictures lie as vgglib.evaluation.laid_out says, unless recipe.channels_last is False. Raises
    ValueError for a negative start, and for a rank that is none of 0 to world - 1.
    """
    if whole(start, "start") < 0 or not 0 <= whole(rank, "rank") < whole(world, "world"):
        raise ValueError(f"start must be 0 or more, rank from 0 to world - 1, got {start}, {rank} of {world}")

    def as_wanted(X: Tensor) -> Tensor:
        X = prepared(net, X)
        return X if recipe.channels_last is False else laid_out(net, X, recipe.bf16)

    if _is_streamed(train):
        for X, y in train.batches(recipe, seed, epoch, start, rank, world):
            yield as_wanted(X.to(device_of(net))), y.to(device_of(net))
        return
    colour = recipe.rgb_shift * train.colour_axes if recipe.rgb_shift and train.images.shape[1] > 1 else None
    augment = Augment(recipe.image_size, recipe.scale, recipe.flip, colour)
    draws = augment.draws(len(train), seed, epoch).to(train.images.device)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(stream(seed, epoch, "order")))
    for batch in order.to(train.images.device).split(recipe.batch_size)[start:]:
        if recipe.batch_norm and len(batch) < 2 * world:
            continue
        index = batch.tensor_split(world)[rank]
        yield as_wanted(augment(train.images[index], draws[index])), train.labels[index]


def _gradients(
    forward: nn.Module, X: Tensor, y: Tensor, count: int, bf16: bool, run: Run, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Add the gradients of this process's pictures to the parameters; return its loss, and how many are right.

    The loss is the sum over the pictures by the mean number of pictures in a process, so that the average of all
    processes' gradients is the gradient of the mean over all ``count`` pictures, however they are shared out.
    """
    while True:
        found = _in_parts(forward, X, y, count / distributed.world(), bf16, run.micro_batch or len(X))
        if found is not None:
            return found
        run.micro_batch = _smaller(forward, X, y, bf16, run.micro_batch or len(X), recipe)


def _in_parts(
    forward: nn.Module, X: Tensor, y: Tensor, share: float, bf16: bool, size: int
) -> tuple[Tensor, Tensor] | None:
    """Return what _gradients does, with ``size`` pictures at once; None, and no gradients, if memory ends."""
    loss, right = torch.zeros(2, device=X.device)
    parts = list(zip(X.split(max(1, size)), y.split(max(1, size)), strict=True))
    try:
        for part, (some, labels) in enumerate(parts, start=1):
            # processes average their gradients once a step, after the last part
            alone = forward.no_sync() if part < len(parts) and hasattr(forward, "no_sync") else nullcontext()
            with alone:
                with autocast(X.device, bf16):
                    scores = forward(some)
                scores = scores.float() if scores.dtype == torch.bfloat16 else scores
                part_loss = F.cross_entropy(scores, labels, reduction="sum") / share
                part_loss.backward()
            loss = loss + part_loss.detach()
            right = right + (scores.argmax(dim=1) == labels).sum()
    except RuntimeError as error:
        if not out_of_memory(error) or distributed.world() > 1:
            raise
        forward.zero_grad()
        return None
    return loss, right


def _smaller(forward: nn.Module, X: Tensor, y: Tensor, bf16: bool, size: int, recipe: Recipe) -> int:
    """Return how many pictures fit into memory at once, after ``size`` did not, and warn; else BatchTooLargeError."""
    buffers = {name: buffer.clone() for name, buffer in forward.named_buffers()}

    def fits(fewer: int) -> bool:
        if recipe.batch_norm and fewer < 2:  # of one picture there is no spread
            return False
        return _in_parts(forward, X[:fewer], y[:fewer], fewer, bf16, fewer) is not None

    found = largest_that_fits(fits, size)
    forward.zero_grad()
    for name, buffer in forward.named_buffers():
        buffer.copy_(buffers[name])
    where = f"a batch of {size} does not fit into the memory of {describe(X.device)}"
    if not found:
        least = "do two pictures" if recipe.batch_norm else "does a single picture"
        raise BatchTooLargeError(f"{where}, nor {least}: take a narrower network or smaller pictures")
    if recipe.batch_norm:
        raise BatchTooLargeError(
            f"{where}; {found} pictures fit. Take batch_size={found}: under batch normalisation the batch cannot be "
            "cut into parts without a change to what it computes"
        )
    warnings.warn(
        f"{where}: its gradients are added up from parts of {found}, with the same result, but for rounding"
        f"{' and which units dropout silences' if recipe.dropout else ''}",
        MicroBatchWarning,
        stacklevel=4,
    )
    return found


def watched_accuracy(
    net: nn.Module,
    pictures: ImageSet,
    bf16: bool | None = None,
    scale: int | None = None,
    crop: tuple[int, int] | None = None,
) -> float:
    """Return the accuracy of ``net`` by single_crop at the test scale ``scale``, by default the side of its crop.

    crop: as for single_crop. Every process of a group looks at its share of the pictures.
    """
    if distributed.world() == 1:
        return _accuracy(net, pictures, bf16, scale, crop)
    mine = distributed.share(len(pictures))
    some = len(range(*mine.indices(len(pictures))))  # none, where there are more processes than pictures
    found = some * _accuracy(net, pictures[mine], bf16, scale, crop) if some else 0.0
    right = torch.tensor(round(found), device=device_of(net))
    return distributed.total(right).item() / len(pictures)


def _accuracy(
    net: nn.Module, pictures: ImageSet, bf16: bool | None, scale: int | None, crop: tuple[int, int] | None
) -> float:
    crop = crop_of(net) if crop is None else crop
    if hasattr(pictures, "centre_crops") and crop is not None:
        views = pictures.centre_crops(crop, scale, batch_size=32)
        return accuracy(torch.cat([_what_fits(net, X, bf16) for X in views]), pictures.labels)
    if _is_streamed(pictures):  # one by one: they have many sizes
        found = [single_crop(net, picture[None], scale, bf16=bf16, crop=crop) for picture, _ in pictures.pictures()]
        return accuracy(torch.cat(found), pictures.labels)
    # until a batch fits into memory: the epoch that was trained must not be lost
    posteriors = halving(lambda size: single_crop(net, pictures.images, scale, size, bf16, crop), 500)
    return accuracy(posteriors, pictures.labels)


def _what_fits(net: nn.Module, X: Tensor, bf16: bool | None) -> Tensor:
    """Return the posteriors of crops, in as many parts as memory asks for."""
    return halving(lambda size: torch.cat([of_views(net, part, bf16) for part in X.split(size)]), len(X))


def _watched_at(net: nn.Module, recipe: Recipe) -> tuple[int | None, tuple[int, int]]:
    """Return the scale at which ``net`` is watched, and the crop.

    A network that does not say how large its pictures are sees the recipe's crop, as in training; one of larger
    pictures than the recipe's is watched at its own size (scale None).
    """
    crop = crop_of(net) or (recipe.image_size, recipe.image_size)
    return (recipe.test_scale if min(crop) <= recipe.test_scale else None), crop


def _interrupted(run: Run, history: History, signal: int | None) -> Interrupted:
    """Save, and return what is raised when somebody asked to stop."""
    saved = run.save() if run.step else run.saved
    this = saved is not None and saved.name == NAME.format(run.epoch, run.step)
    kept = f"; {saved} keeps it" if this else f"; the newest checkpoint is {saved}" if saved else ""
    where = "after the last epoch" if run.finished else f"in epoch {run.epoch}, after {run.step} steps"
    return Interrupted(f"stopped {where}{kept}", history, signal or 2)


class Rate:
    """The learning rate of every step, by the recipe's schedule."""

    DROPS = 3  # section 3.1: the rate was decreased three times

    def __init__(self, recipe: Recipe, steps_per_epoch: int):
        self._recipe, self._steps = recipe, steps_per_epoch
        self._drops, self._best, self._waited = 0, -1.0, 0

    def state(self) -> dict[str, float]:
        """Return what the schedule remembers, as plain numbers."""
        return {"drops": self._drops, "best": self._best, "waited": self._waited}

    def restore(self, state: dict[str, float]) -> None:
        """Remember what state() gave."""
        self._drops, self._best, self._waited = state["drops"], state["best"], state["waited"]

    def __call__(self, epoch: int, step: int) -> float:
        """Return the learning rate of ``step`` (from 0) in ``epoch`` (from 1)."""
        highest = self._recipe.learning_rate
        if self._recipe.schedule != "linear":
            return highest / 10 ** min(self._drops, self.DROPS)
        whole = self._recipe.epochs * self._steps
        done, rise = (epoch - 1) * self._steps + step + 1, max(1, int(self._recipe.warm_up * whole))
        return highest * min(done / rise, (whole + 1 - done) / (whole + 1 - rise))

    def goes_on(self, watched: float | None) -> bool:
        """Take in an epoch's validation accuracy, drop the rate if it is time, and say whether training goes on.

        It ends (False) where a fourth drop would be due; the rate stays at that of the third.
        """
        if self._recipe.schedule != "plateau":
            return True
        self._waited = 0 if watched > self._best else self._waited + 1
        self._best = max(self._best, watched)
        if self._waited < self._recipe.patience:
            return True
        self._drops, self._waited = self._drops + 1, 0
        return self._drops <= self.DROPS


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
    _expect_gradients(net)
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
    if settings["channels_last"]:
        net.to(memory_format=torch.channels_last)
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


def _on(train: ImageSet, device: torch.device) -> ImageSet:
    """Return a set on a device; one that is read while training gives its batches there."""
    return train.to(device) if hasattr(train, "to") else train


def _some(train: ImageSet, count: int, device: torch.device) -> ImageSet:
    """Return the first pictures of a set, on a device; or in files, to be read by this process."""
    some = _on(train[:count], device)
    if hasattr(some, "workers"):
        some.workers = 0
    return some


def _timed_step(net: nn.Module, images: ImageSet, recipe: Recipe, bf16: bool) -> tuple[float, float]:
    """Return the seconds in which ``images`` become a batch, and of a forward and a backward pass over it."""
    device, one_batch = device_of(net), replace(recipe, batch_size=max(2, len(images)), bf16=bf16)
    if recipe.rgb_shift and _channels(images) == 3:
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


def _count_classes(net: nn.Module, train: ImageSet, recipe: Recipe) -> int:
    """Return how many scores ``net`` gives; ValueError for no pictures, labels beyond them, and what are no scores."""
    if len(train) < (2 if recipe.batch_norm else 1):
        raise ValueError(f"{len(train)} training pictures are too few")
    if recipe.batch_norm and min(recipe.batch_size, len(train)) < 2 * distributed.world():
        raise ValueError(
            f"batches of {min(recipe.batch_size, len(train))} are too small for {distributed.world()} processes: under "
            "batch normalisation each needs 2 pictures or more"
        )
    with evaluation(net), torch.no_grad():
        if _is_streamed(train):
            X = torch.zeros(1, train.channels, recipe.image_size, recipe.image_size, device=device_of(net))
        else:
            X = Augment(recipe.image_size, recipe.scale)(train.images[:1], torch.zeros(1, 4))
        scores = net(prepared(net, X))
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        what = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise ValueError(f"the network must give one row of scores a picture, shape (N, classes), it gives {what}")
    classes = scores.shape[1]
    low, high = train.labels.min().item(), train.labels.max().item()
    if low < 0 or high >= classes:
        raise ValueError(f"labels run from {low} to {high}, but the network has scores for 0 to {classes - 1} only")
    return classes


def _where_it_broke(
    net: nn.Module, train: ImageSet, recipe: Recipe, seed: int, epoch: int, step: int, rate: Rate, at_once: int | None
) -> str:
    """Return a sentence that names the step, the learning rate and the first layer whose output is not finite.

    at_once: the pictures that fit into memory together, None for the share of each process.
    """
    broken: list[str] = []

    def hook(name: str):
        def look(module: nn.Module, _inputs: object, output: Tensor) -> None:
            if not broken and not output.isfinite().all():
                broken.append(f"{name} ({type(module).__name__})")

        return look

    leaves = [(name, module) for name, module in net.named_modules() if not any(module.children())]
    hooks = [module.register_forward_hook(hook(name)) for name, module in leaves]
    X, y = next(batches(net, train, recipe, seed, epoch, step))  # those of all processes
    with torch.no_grad():
        scores = torch.cat([net(part) for part in X.split(at_once or math.ceil(len(X) / distributed.world()))])
    for handle in hooks:
        handle.remove()
    loss = F.cross_entropy(scores.float(), y).item()
    first = "the pictures themselves" if not X.isfinite().all() else broken[0] if broken else "the loss alone"
    return (
        f"the loss is {loss} at step {step + 1} of epoch {epoch}, at learning rate {rate(epoch, step):g}; the first to "
        f"go non-finite is {first}. Try a tenth of the learning rate, or another initialisation"
    )


def _expect_all_used(net: nn.Module) -> None:
    """Raise ValueError, under several processes, for parameters without a gradient: torch would wait for theirs."""
    if distributed.world() == 1:
        return
    if unused := [name for name, one in net.named_parameters() if one.requires_grad and one.grad is None]:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        raise ValueError(
            f"the network does not use {', '.join(unused[:3])}{more}, whose gradients several processes would wait "
            "for: say requires_grad_(False) of them, or train in one process"
        )


def _expect_finite(net: nn.Module, run: Run, rate: Rate) -> None:
    """Raise NonFiniteLossError, in all processes alike, for what an epoch's last step broke: no loss after it tells."""
    state = net.state_dict().items()
    tensors = {name: one for name, one in state if isinstance(one, Tensor) and one.is_floating_point()}
    broken = torch.stack([~tensor.isfinite().all() for tensor in tensors.values()]).float()
    for name, bad in zip(tensors, distributed.highest(broken).tolist(), strict=True):
        if bad:
            raise NonFiniteLossError(
                f"{name} is not finite after step {run.step} of epoch {run.epoch}, the epoch's last, at learning rate "
                f"{rate(run.epoch, run.step - 1):g}. Try a tenth of the learning rate, or another initialisation"
            )


def _warn_if_guessing(history: History, steps: int) -> None:
    """Warn, once a run, if the mean loss of an epoch of so many steps is within one percent of ln(classes) or above.

    Every epoch is judged from the first on, or from that on in which a run of few pictures has made enough steps.
    """
    last, guessing, first = history.epochs[-1], math.log(history.classes), math.ceil(_ENOUGH_STEPS / steps)
    judged = [epoch for epoch in history.epochs if epoch.number >= first]
    if [epoch for epoch in judged if epoch.train_loss > 0.99 * guessing] != [last]:
        return
    what, likely = "no longer learning", "a learning rate too high"
    if last.number == first:
        what, likely = "not learning", "weights that start too small or too large (try initialisation='he'), "
        likely += "a learning rate far too high or too low, or pictures and labels that do not belong together"
    warnings.warn(
        f"{what}: after epoch {last.number} the loss is {last.train_loss:.3f}, and guessing costs "
        f"ln({history.classes}) = {guessing:.3f}. Likely: {likely}",
        NotLearningWarning,
        stacklevel=3,
    )


def _line(history: History, number: int, seen: int, count: int, seconds: float) -> str:
    """Return the progress line within an epoch."""
    epochs = history.recipe.epochs
    speed = seen / max(seconds, 1e-9)
    left = (count * (epochs - number + 1) - seen) / speed
    return f"epoch {number}/{epochs}, {100 * seen // count} %, {speed:,.0f} images/s, {duration(left)} left"
