"""One visible training loop (section 3.1). Taught in notebooks/05_training_on_fashion_mnist.ipynb."""

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from vgglib import distributed
from vgglib.allocator import kept_memory
from vgglib.batches import as_laid_out, batches
from vgglib.conditions import conditions
from vgglib.data import DataError
from vgglib.devices import autocast, best_device, compiled, cpu_dice, describe, known_device, out_of_memory, synchronise
from vgglib.estimates import Estimate, estimate, foretold
from vgglib.guard import Guard
from vgglib.history import Epoch, History
from vgglib.image_set import ImageSet, channels_of, on_device
from vgglib.interrupts import Interrupted, Interrupts
from vgglib.largest_batch import BatchTooLargeError, MicroBatchWarning, largest_that_fits
from vgglib.model import VGG, initialise
from vgglib.norms import frozen, normalising
from vgglib.progress import Progress, duration
from vgglib.recipes import RECIPES, Rate, Recipe, expect_recipe, recipe
from vgglib.resuming import NAME, Checkpoints
from vgglib.run import Run
from vgglib.sizes import torch_seed, whole
from vgglib.soundness import (
    NonFiniteLossError,
    NotLearningWarning,
    ShortRunWarning,
    count_classes,
    expect_alike,
    expect_all_used,
    expect_finite,
    expect_gradients,
    expect_trainable,
    warn_if_averages_stay,
    warn_if_guessing,
    warn_if_unprepared,
    where_it_broke,
)
from vgglib.watching import watched_accuracy, watched_at

__all__ = [  # a training's whole vocabulary, from this one place
    "RECIPES", "Epoch", "Estimate", "History", "Interrupted", "NonFiniteLossError", "NotLearningWarning", "Rate",
    "Recipe", "ShortRunWarning", "batches", "build", "conditions", "estimate", "expect_recipe", "fit", "foretold",
    "recipe", "split", "watched_accuracy",
]  # fmt: skip


def build(recipe: Recipe, train: ImageSet, seed: int = 0) -> VGG:
    """Return the recipe's network for the pictures and classes of ``train``, its weights drawn from ``seed``.

    Raises ValueError for a recipe's name in place of a recipe, and for tensors in place of a set.
    """
    expect_recipe(recipe, train)
    seed = whole(seed, "seed")
    with cpu_dice(torch_seed(seed)):
        net = VGG(
            recipe.configuration, channels_of(train), len(train.classes), recipe.image_size,
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
    quiet: bool = False,
) -> History:
    """Train ``net`` in place by the recipe and return its History; the network stays on ``device``, ready for use.

    The loss is the cross-entropy, the optimiser SGD with momentum and weight decay, the rate the recipe's (section
    3.1). For others, write the loop over vgglib.batches.batches.
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
    A progress line with the time left is shown in terminals and notebooks, unless quiet=True.
    Ctrl-C (a notebook's stop button, SIGTERM): the step at hand is finished, a checkpoint written, and
    Interrupted, a KeyboardInterrupt with the History, raised; pressed a third time, it stops at once.
    Raises ValueError for what is no network, or gives no (N, classes) scores, for labels that it has no score for, for
    schedule "plateau" without a validation set and for one with other classes, for a network without a parameter that
    learns, inside of torch.no_grad() or inference_mode(), for a device that is not here, and in a group of processes
    for a network with a parameter that is not used; NonFiniteLossError within one step of the loss becoming infinite or
    nan, and for weights that the last step of an epoch left so; CheckpointError for the checkpoints of another run, and
    for processes of a group that do not train and save alike; BatchTooLargeError where memory ends and the recipe
    allows no smaller parts; warns NotLearningWarning when an epoch's loss is that of guessing, ShortRunWarning where
    batch normalisation would be tested by averages that the run hardly moves.
    Called by every process of a torch.distributed group, all of them train on their share of each batch. A script for
    torchrun does so inside of ``with vgglib.distributed.together() as device``, which comes back after one is lost.
    """
    expect_recipe(recipe, train, *([] if validation is None else [validation]))
    seed = whole(seed, "seed")
    expect_trainable(net, watch)
    expect_gradients(net)
    expect_alike(train, validation, recipe)
    device = best_device() if device is None else known_device(device)
    net, given, train = net.to(device), train, on_device(train, device)
    settings = conditions(recipe, device) | getattr(train, "read_by", {})
    settings["channels_last"] = as_laid_out(net, recipe, settings["channels_last"])
    as_set = replace(
        recipe, bf16=settings["bf16"], channels_last=settings["channels_last"],
        batch_norm=recipe.batch_norm or any(normalising(net)),
    )  # fmt: skip
    classes = count_classes(net, train, as_set)
    warn_if_unprepared(net, recipe)
    steps = math.ceil(len(train) / recipe.batch_size)
    if distributed.rank() == 0:
        warn_if_averages_stay(net, steps * recipe.epochs)
    names = tuple(map(str, train.classes))
    net.classes = names if len(names) == classes else None  # of more scores than classes nobody knows the names
    optimiser = torch.optim.SGD(
        net.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay,
        fused=settings["fused"] or None,  # None: all tensors in one pass where torch does so by itself
    )  # fmt: skip
    history = History(recipe, seed, classes, settings)
    progress, rate = Progress(silent=quiet or distributed.rank() > 0), Rate(recipe, steps)
    run = Run(net, optimiser, rate, history, (given, validation), checkpoint, every)
    run.restore()
    forward = distributed.replicated(net)
    forward = compiled(forward) if settings["compile"] else forward
    guard = Guard(optimiser, device, wait=device.type != "cuda" or not settings["fused"])

    def heed(broken: int | None = None, stop: bool = False) -> None:
        """Raise for a step whose loss is not finite, and for a stop."""
        if broken is not None:
            again = next(batches(net, train, as_set, seed, run.epoch, broken))  # the pictures of all processes
            raise NonFiniteLossError(where_it_broke(net, *again, run.epoch, broken, rate, run.micro_batch))
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
                    loss, right = _gradients(forward, X, y, count, settings["bf16"], run, as_set)
                    expect_all_used(net)
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
            expect_finite(net, run, rate)
            synchronise(device)
            trained = run.seconds
            loss, right = (total / run.seen for total in distributed.total(run.totals).tolist())
            watched = _watched(net, validation, recipe, settings["bf16"], run)
            last_rate = rate(number, run.step - 1)
            history.epochs.append(Epoch(number, loss, right, watched, last_rate, run.seconds, run.seen / trained))
            progress.show(str(history), final=True)
            run.next_epoch(rate.goes_on(watched) and number < recipe.epochs)
            if distributed.rank() == 0:
                warn_if_guessing(history, steps)
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


def _watched(net: nn.Module, validation: ImageSet | None, recipe: Recipe, bf16: bool, run: Run) -> float | None:
    """Return the accuracy on the validation set; at a picture that cannot be read, save the epoch that was trained."""
    if validation is None:
        return None
    try:
        return watched_accuracy(net, validation, bf16, *watched_at(net, recipe))
    except Exception:
        if distributed.world() == 1:
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
        if isinstance(module, _BatchNorm) and frozen(module):
            module.eval()


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
                if not isinstance(scores, Tensor):
                    raise ValueError(
                        f"in training the network gives a {type(scores).__name__}, where scores (N, classes) are "
                        "wanted: switch its auxiliary outputs off"
                    )
                scores = scores.to(torch.promote_types(scores.dtype, torch.float32))  # a sum has no room in 16 bits
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


def _interrupted(run: Run, history: History, signal: int | None) -> Interrupted:
    """Save, and return what is raised when somebody asked to stop."""
    saved = run.save() if run.step else run.saved
    this = saved is not None and saved.name == NAME.format(run.epoch, run.step)
    kept = f"; {saved} keeps it" if this else f"; the newest checkpoint is {saved}" if saved else ""
    where = "after the last epoch" if run.finished else f"in epoch {run.epoch}, after {run.step} steps"
    return Interrupted(f"stopped {where}{kept}", history, signal or 2)


def _line(history: History, number: int, seen: int, count: int, seconds: float) -> str:
    """Return the progress line within an epoch."""
    epochs = history.recipe.epochs
    speed = seen / max(seconds, 1e-9)
    left = (count * (epochs - number + 1) - seen) / speed
    return f"epoch {number}/{epochs}, {100 * seen // count} %, {speed:,.0f} images/s, {duration(left)} left"
