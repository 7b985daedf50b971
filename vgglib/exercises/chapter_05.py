"""The checks of chapter 05: steps of a recipe, the paper's learning rate, a sick network, a loop that measures."""

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor, nn

from vgglib.data import ImageSet
from vgglib.teaching import Verdict, check_answer, check_function, check_words
from vgglib.training import RECIPES, NonFiniteLossError, NotLearningWarning, Recipe, build, fit

PICTURES = 60_000  # Fashion-MNIST's training images


def check_pictures(answer: object) -> Verdict:
    """Return the verdict on the number of pictures in one epoch of the paper: 370K steps of 256, 74 epochs."""
    steps, batch, epochs = 370_000, 256, 74
    mistakes = {
        steps * batch: "these were shown in all 74 epochs together; how many in one?",
        steps * batch / epochs**2: "that is divided by 74 twice",
        steps / epochs: "these are the steps of one epoch, and every step takes 256 pictures",
        steps * batch * epochs: "one epoch is a part of the 370,000 steps: divide by 74",
        1_300_000: "that is the round number of section 4 of the paper; this one follows from section 3.1",
    }
    return check_answer(answer, steps * batch // epochs, mistakes)


def check_steps(answer: object) -> Verdict:
    """Return the verdict on the number of steps in one epoch of the recipe laptop."""
    laptop = RECIPES["laptop"]
    shown = PICTURES - laptop.validation
    steps = math.ceil(shown / laptop.batch_size)
    of_others = {
        math.ceil(shown / 256): f"a batch of laptop has {laptop.batch_size} pictures; 256 is the paper's",
        math.ceil(laptop.validation / laptop.batch_size): "that is for the pictures that are held out, not the others",
    }
    mistakes = {
        shown // laptop.batch_size: "the last batch is smaller than the others, and it is a step too",
        math.ceil(PICTURES / laptop.batch_size): f"{laptop.validation:,} of the pictures are held out",
        PICTURES // laptop.batch_size: f"{laptop.validation:,} of the pictures are held out",
        steps * laptop.epochs: f"these are the steps of all {laptop.epochs} epochs",
        **of_others,
        PICTURES: f"these are pictures; every step takes {laptop.batch_size}, and some are held out",
        shown: f"these are pictures; every step takes {laptop.batch_size}",
    }
    if isinstance(answer, float) and math.isfinite(answer) and math.ceil(answer) in of_others:
        return Verdict("failed", f"{answer:g} is not it: {of_others[math.ceil(answer)]}")
    if isinstance(answer, int | float) and answer != steps and abs(answer / laptop.epochs - steps) < 1:
        return Verdict("failed", f"{answer:g} is not it: {mistakes[steps * laptop.epochs]}")
    if isinstance(answer, float) and not answer.is_integer():
        held = f"{laptop.validation:,} of the pictures are held out, and " if answer > steps else ""
        reason = f"{held}steps are whole: the last batch is smaller than the others, and it is a step too"
        return Verdict("failed", f"{answer:g} is not it: {reason}")
    return check_answer(answer, steps, mistakes)


def check_rate_after(attempt: Callable) -> Verdict:
    """Return the verdict on ``rate_after(accuracies, patience, start)``, the paper's rule for the next epoch's rate."""
    cases = {
        ((0.5, 0.6, 0.7), 2, 0.01): 0.01,
        ((0.5, 0.4), 1, 0.1): 0.01,
        ((0.5, 0.6, 0.6, 0.6), 2, 0.01): 0.001,  # an equal accuracy is no improvement
        ((0.6, 0.5, 0.55), 2, 0.01): 0.001,  # better than the epoch before, not than the best
        ((0.6, 0.5, 0.7, 0.6), 2, 0.01): 0.01,  # a new best ends the waiting
        ((0.6, 0.5, 0.5, 0.5), 2, 0.01): 0.001,  # the waiting starts anew after a drop
        ((0.6, 0.5, 0.5, 0.7, 0.6), 2, 0.01): 0.001,  # a drop stays
        ((0.6, 0.5, 0.5, 0.7, 0.6, 0.6), 2, 0.01): 0.0001,
        ((0.6, *[0.5] * 10), 2, 0.01): 0.00001,  # three drops, not five
        ((0.6, *[0.5] * 10), 2, 0.1): 0.0001,
        ((0.6, 0.60002, 0.60004), 2, 0.01): 0.01,  # a small gain is a gain
        ((0.6, 0.5, 0.5, 0.55, 0.58), 2, 0.01): 0.0001,  # the best stays the best after a drop
        ((), 2, 0.01): 0.01,
    }
    return check_function(lambda seen, patience, start: attempt(list(seen), patience, start), cases, "rate_after")


def check_mended(sick: Recipe, mended: object, train: ImageSet) -> Verdict:
    """Return the verdict on a recipe that differs from ``sick`` in one field: it is trained, and has to learn.

    Trains ``mended`` on ``train`` with seed 0, for as many epochs as ``sick`` has.
    """
    if mended is ...:
        return Verdict("todo", "not attempted yet")
    if not isinstance(mended, Recipe):
        return Verdict("failed", f"mended is a {type(mended).__name__}; it should be replace(sick, field=value)")
    changed = [name for name, value in asdict(sick).items() if asdict(mended)[name] != value]
    if len(changed) != 1:
        which = f": {', '.join(changed)}" if changed else ""
        return Verdict("failed", f"{len(changed)} fields differ from sick{which}; change exactly one")
    (name,) = changed
    if name in _ANOTHER_CASE:
        return Verdict("failed", f"{name} is {_ANOTHER_CASE[name]}; leave it and find out what ails this network")
    guessing = math.log(len(train.classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotLearningWarning)  # the verdict says it
        try:
            net = build(mended, train, seed=0)
            loss = fit(net, train, None, mended, seed=0).epochs[-1].train_loss
        except (NonFiniteLossError, ValueError) as error:
            return Verdict("failed", f"with {name} = {getattr(mended, name)!r}: {error}")
    said = f"with {name} = {getattr(mended, name)!r} the loss after {sick.epochs} epochs is {loss:.2f}"
    if loss < 0.9 * guessing:
        return Verdict("passed", f"{said}; guessing costs {guessing:.2f}: it learns")
    steepest = net.features[0].weight.grad.abs().max().item()
    about = "that of guessing" if loss > 0.97 * guessing else f"not yet clearly below the {guessing:.2f} of guessing"
    return Verdict("failed", f"{said}, {about}; the steepest gradient in conv1_1 is {steepest:.0e}")


_ANOTHER_CASE = {
    "epochs": "patience, and the cure works without",
    "configuration": "another network",
    "validation": "of no effect here",
    "watch_test": "of no effect here",
    "bf16": "a question of speed",
    "channels_last": "a question of speed",
    "compile": "a question of speed",
    "patience": "of no effect here",
    "warm_up": "of no effect here",
}


def check_evaluate(attempt: Callable) -> Verdict:
    """Return the verdict on ``evaluate(net, X, y, batch_size)``, the share of right answers."""
    cases = ((4, 2, 0.75), (5, 2, 0.6), (5, 5, 0.6), (5, 4, 0.6), (4, 3, 0.75), (3, 8, 2 / 3))
    for count, batch_size, expected in cases:
        X, y = _RIGHT_THREE_TIMES[0][:count], _RIGHT_THREE_TIMES[1][:count]

        def evaluate(_count: int, batch_size: int, X: Tensor = X, y: Tensor = y) -> object:
            return attempt(_modes(), X.clone(), y.clone(), batch_size)

        verdict = check_function(evaluate, {(count, batch_size): expected}, "evaluate")
        if verdict.status == "failed":
            said = verdict.text.partition(" should be ")[2]
            hint = _why(attempt, X, y, batch_size, expected)
            return Verdict("failed", f"{count} pictures in batches of {batch_size} should give {said}{hint}")
        if verdict.status == "todo":
            return verdict
    recording = _modes()
    attempt(recording, *(tensor.clone() for tensor in _RIGHT_THREE_TIMES), 2)
    kept = "; torch.no_grad() would save the memory that a backward pass needs" if recording[0].recorded else ""
    return Verdict(
        "passed", f"evaluate: 6 cases agree, with a smaller last batch and a network left in training mode{kept}"
    )


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why exactly 10.00 % is suspicious."""
    ideas = {
        "what the scores must be": (
            "nan|not a number|(in|non ?|not ?)finit|infinit|constant|identical|collaps|diverg|explod|overflow",
            "(same|equal|zero|uniform) (score|output|logit|predict|answer|value)",
            r"(scores?|outputs?) (?:(?!\bnot\b|n t\b).){0,30}(same|equal|zero)",
            "no longer depend|does not depend|whatever the (picture|image|input)",
            r"(equals?|is|are) (\w+ )?(the|its|a) bias(es)?\b|only (the |its )?bias(es)? (is|are|remain)",
        ),
        "which class is then answered": (
            "(class|class number|index|label) (0|zero)|first (class|index|entry|label|one)|t ?shirt|argmax",
            "(same|one|single|only one|constant) (class|label|answer|category)|same for (all|every)",
            "always (answer|predict|choos|pick|say|the same|one|class)",
            r"(say|answer|predict|choos|pick)\w* (\w+ ){1,4}(for|to) (each|every|all) (\w+ )?(image|picture|input)",
        ),
        "how often that class occurs": (
            r"(a |one )?tenth|1[, ]?000|(10|ten) classes|balanc|equally|1/10|0\.1",
            r"(1|one) (\w+ )?(in|of|out of) (10|ten)",
            r"10(\.0+)? ?(%|per ?cent)|ten per ?cent|each class|every class|same number|as many",
        ),
    }
    return check_words(answer, ideas)


class _Modes(nn.Module):
    """Takes its input for scores in evaluation mode; in training mode every answer is the neighbouring class.

    steady: also in training mode it takes its input for scores.
    """

    def __init__(self, steady: bool = False):
        super().__init__()
        self.steady = steady
        self.recorded = False  # whether a forward pass was recorded for a backward pass
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)  # so that its device can be asked for

    def forward(self, X: Tensor) -> Tensor:
        self.recorded = self.recorded or torch.is_grad_enabled()
        return self.scale * (X.roll(1, dims=1) if self.training and not self.steady else X)


def _modes(steady: bool = False) -> nn.Module:
    """Return such a network as a part of another, in training mode: eval() must reach it."""
    return nn.Sequential(_Modes(steady)).train()


# five one-hot pictures of three classes; read as scores, the first, second and fourth answers are right
_RIGHT_THREE_TIMES = (torch.eye(3)[[0, 1, 2, 0, 1]], torch.tensor([0, 1, 1, 0, 2]))


def _why(attempt: Callable, X: Tensor, y: Tensor, batch_size: int, expected: float) -> str:
    """Return a hint for the mistakes that show in what the attempt gives."""
    try:
        got = float(attempt(_modes(), X, y, batch_size))
        full = len(X) - len(X) % batch_size
        dropped = (X[:full].argmax(dim=1) == y[:full]).float().sum()
        known = (
            (100 * expected, "Give a share, from 0 to 1, not per cent"),
            (len(X) * expected, "That is the number of right answers; divide by the number of pictures"),
            (1 - expected, "That is the share of wrong answers"),
            (dropped / len(X), "The last, smaller batch is left out"),
            (dropped / max(1, full), "The last, smaller batch is left out"),
        )
        for value, why in known:
            if abs(got - float(value)) < 1e-6:
                return f". {why}"
        if abs(float(attempt(_modes(steady=True), X, y, batch_size)) - expected) < 1e-6:
            return (
                ". In training mode this network is always wrong: was it, with all its parts, put into evaluation mode?"
            )
        parts = [(X[n : n + batch_size].argmax(dim=1) == y[n : n + batch_size]) for n in range(0, len(X), batch_size)]
        of_batches = sum(float(part.float().mean()) for part in parts) / len(parts)
        if len(parts) > 1 and abs(float(attempt(_modes(), X, y, batch_size)) - of_batches) < 1e-6:
            return ". A last batch of one picture must not weigh as much as a full one: count pictures, not batches"
    except Exception:
        return ""
    return ""
