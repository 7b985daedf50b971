"""What a training run refuses before its first step, and what it tells when the network breaks or does not learn."""

import inspect
import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

from vgglib import distributed
from vgglib.augment import Augment
from vgglib.devices import device_of
from vgglib.history import History
from vgglib.image_set import ImageSet, channels_of, is_streamed
from vgglib.model import unwrapped
from vgglib.modes import evaluation
from vgglib.norms import share_left
from vgglib.preparing import prepared
from vgglib.recipes import Rate, Recipe
from vgglib.run import Run

_ENOUGH_STEPS = 20  # after fewer, a loss says nothing yet
_STAYS = 0.05  # of averages, the share from which on they spoil a test


class NonFiniteLossError(ArithmeticError):
    """The loss, or the network after a step, became infinite or not a number; the message says where."""


class NotLearningWarning(UserWarning):
    """The loss stays where pure guessing would have it."""


class ShortRunWarning(UserWarning):
    """The averages of batch normalisation are still near those that the network began with."""


def expect_trainable(net: nn.Module, watch: object) -> None:
    """Raise ValueError for what is no network with its shapes known, and for a ``watch`` that cannot be called."""
    if not isinstance(net, nn.Module):
        raise ValueError(f"expected a network, a torch.nn.Module, got {net!r}")
    if isinstance(net, torch.jit.ScriptModule):
        raise ValueError("this network is TorchScript, which takes no new attributes: train the one it was made of")
    if lazy := [name for name, one in net.named_parameters() if isinstance(one, UninitializedParameter)]:
        raise ValueError(f"{lazy[0]} has no shape yet: send one batch through the network first")
    if watch is not None and not callable(watch):
        raise ValueError(f"watch must be a function of the History, got {watch!r}")


def expect_gradients(net: nn.Module) -> None:
    """Raise ValueError where nothing can learn: no gradients in this context, or for no parameter of the network."""
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise ValueError("training needs gradients: call it outside of torch.no_grad() and torch.inference_mode()")
    if any(parameter.is_inference() for parameter in net.parameters()):
        raise ValueError("a network made inside of torch.inference_mode() cannot learn: make it outside")
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise ValueError("no parameter of the network learns: requires_grad is False for all of them")


def expect_alike(train: ImageSet, validation: ImageSet | None, recipe: Recipe) -> None:
    """Raise ValueError for a validation set of other classes or channels, and for none where the rate needs it."""
    if validation is None:
        if recipe.schedule == "plateau":
            raise ValueError(
                "schedule 'plateau' drops the rate by the validation accuracy: give fit() a validation set"
            )
        return
    if tuple(validation.classes) != tuple(train.classes):
        names = [", ".join(some.classes) for some in (train, validation)]
        raise ValueError(f"the classes to train on are {names[0]}, those of the validation set {names[1]}")
    if (channels := [channels_of(some) for some in (train, validation)])[0] != channels[1]:
        raise ValueError(f"the pictures to train on have {channels[0]} channels, those to watch {channels[1]}")


def count_classes(net: nn.Module, train: ImageSet, recipe: Recipe) -> int:
    """Return how many scores ``net`` gives; ValueError for no pictures, labels beyond them, and what are no scores."""
    if len(train) < (2 if recipe.batch_norm else 1):
        raise ValueError(f"{len(train)} training pictures are too few")
    if recipe.batch_norm and min(recipe.batch_size, len(train)) < 2 * distributed.world():
        raise ValueError(
            f"batches of {min(recipe.batch_size, len(train))} are too small for {distributed.world()} processes: under "
            "batch normalisation each needs 2 pictures or more"
        )
    with evaluation(net), torch.no_grad():
        if is_streamed(train):
            X = torch.zeros(1, train.channels, recipe.image_size, recipe.image_size, device=device_of(net))
        else:
            X = Augment(recipe.image_size, recipe.scale)(train.images[:1], torch.zeros(1, 4))
        scores = _given(net, prepared(net, X))
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        what = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"a {type(scores).__name__}"
        raise ValueError(f"the network must give one row of scores a picture, shape (N, classes), it gives {what}")
    classes = scores.shape[1]
    low, high = train.labels.min().item(), train.labels.max().item()
    if low < 0 or high >= classes:
        raise ValueError(f"labels run from {low} to {high}, but the network has scores for 0 to {classes - 1} only")
    return classes


def _given(net: nn.Module, X: Tensor) -> object:
    """Return what ``net`` makes of pictures alone; ValueError if its forward wants more than them."""
    try:
        inspect.signature(net.forward).bind(X)
    except TypeError as error:
        raise ValueError(
            f"{type(net).__name__}.forward is called with a batch of pictures alone, and {error}: wrap it in a network "
            "that gives the rest"
        ) from error
    except ValueError:  # no signature to look at
        pass
    return net(X)


def warn_if_unprepared(net: nn.Module, recipe: Recipe) -> None:
    """Warn if the recipe normalises the pictures and the network takes them as they are."""
    inner = unwrapped(net)
    shifts, scales = ((getattr(inner, name, plain) != plain) for name, plain in (("mean", 0.0), ("std", 1.0)))
    if recipe.normalise != "nothing" and not (torch.as_tensor(shifts).any() or torch.as_tensor(scales).any()):
        warnings.warn(
            f"the recipe says normalise={recipe.normalise!r}, but the network takes pictures in 0..1 as they are: its "
            "mean is 0, its std 1. vgglib.training.build sets both; recipe(..., normalise='nothing') says what is done",
            stacklevel=3,
        )


def warn_if_averages_stay(net: nn.Module, steps: int) -> None:
    """Warn if a run is too short for the averages of its batch normalisations, by which it is tested."""
    if (left := share_left(net, steps)) > _STAYS:
        warnings.warn(
            f"after {steps} steps {100 * left:.0f} % of the averages of batch normalisation are still those that the "
            "network began with, and it is tested by them: take more epochs or smaller batches",
            ShortRunWarning,
            stacklevel=3,
        )


def expect_all_used(net: nn.Module) -> None:
    """Raise ValueError, under several processes, for parameters without a gradient: torch would wait for theirs."""
    if distributed.world() == 1:
        return
    if unused := [name for name, one in net.named_parameters() if one.requires_grad and one.grad is None]:
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        raise ValueError(
            f"the network does not use {', '.join(unused[:3])}{more}, whose gradients several processes would wait "
            "for: say requires_grad_(False) of them, or train in one process"
        )


def expect_finite(net: nn.Module, run: Run, rate: Rate) -> None:
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


def where_it_broke(net: nn.Module, X: Tensor, y: Tensor, epoch: int, step: int, rate: Rate, at_once: int | None) -> str:
    """Return a sentence that names the step, the learning rate and the first layer whose output is not finite.

    X, y: the whole batch. at_once: the pictures that fit into memory together, None for the share of each process.
    """
    broken: list[str] = []

    def hook(name: str):
        def look(module: nn.Module, _inputs: object, output: Tensor) -> None:
            if not broken and isinstance(output, Tensor) and not output.isfinite().all():
                broken.append(f"{name} ({type(module).__name__})")

        return look

    leaves = [(name, module) for name, module in net.named_modules() if not any(module.children())]
    hooks = [module.register_forward_hook(hook(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            scores = torch.cat([net(part) for part in X.split(at_once or math.ceil(len(X) / distributed.world()))])
    finally:
        for handle in hooks:
            handle.remove()
    loss = F.cross_entropy(scores.float(), y).item()
    first = "the pictures themselves" if not X.isfinite().all() else broken[0] if broken else "the loss alone"
    return (
        f"the loss is {loss} at step {step + 1} of epoch {epoch}, at learning rate {rate(epoch, step):g}; the first to "
        f"go non-finite is {first}. Try a tenth of the learning rate, or another initialisation"
    )


def warn_if_guessing(history: History, steps: int) -> None:
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
