"""The checks of chapter 05: steps of a recipe, the paper's learning rate, a sick network, a loop that measures."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from vgglib.image_set import ImageSet
from vgglib.progress import duration
from vgglib.teaching import Verdict, as_number, check_answer, check_function, check_words
from vgglib.training import RECIPES, NonFiniteLossError, NotLearningWarning, Recipe, build, estimate, fit

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
        1_281_167: "ImageNet has so many training pictures; asked is what steps, batch and epochs give",
    }
    answer = as_number(answer)
    if isinstance(answer, float) and answer.is_integer():  # shown with all its digits
        answer = int(answer)
    return check_answer(answer, steps * batch // epochs, mistakes)


def check_steps(answer: object) -> Verdict:
    """Return the verdict on the number of steps in one epoch of the recipe laptop."""
    laptop = RECIPES["laptop"]
    shown = PICTURES - laptop.validation
    steps = math.ceil(shown / laptop.batch_size)
    of_others = {
        math.ceil(shown / 256): f"a batch of laptop has {laptop.batch_size} pictures; 256 is the paper's",
        math.ceil(laptop.validation / laptop.batch_size): "that is for the pictures that are held out, not the others",
        laptop.validation // laptop.batch_size: "that is for the pictures that are held out, not the others",
    }
    mistakes = {
        shown // laptop.batch_size: "the last batch is smaller than the others, and it is a step too",
        math.ceil(PICTURES / laptop.batch_size): f"{laptop.validation:,} of the pictures are held out",
        PICTURES // laptop.batch_size: f"{laptop.validation:,} of the pictures are held out, and a smaller last batch "
        "is a step too",
        steps * laptop.epochs: f"these are the steps of all {laptop.epochs} epochs",
        **of_others,
        PICTURES: f"these are pictures; every step takes {laptop.batch_size}, and some are held out",
        shown: f"these are pictures; every step takes {laptop.batch_size}",
    }
    answer = as_number(answer)
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
        ((0.6, 0.5, 0.5, 0.5, 0.5), 2, 0.01): 0.0001,  # and ends after two more epochs
        ((0.6, 0.5, 0.5, 0.7, 0.6), 2, 0.01): 0.001,  # a drop stays
        ((0.6, 0.5, 0.5, 0.7, 0.6, 0.6), 2, 0.01): 0.0001,
        ((0.6, *[0.5] * 10), 2, 0.01): 0.00001,  # three drops, not five
        ((0.6, *[0.5] * 10), 2, 0.1): 0.0001,
        ((0.6, 0.60002, 0.60004), 2, 0.01): 0.01,  # a small gain is a gain
        ((0.6, 0.5, 0.5, 0.55, 0.58), 2, 0.01): 0.0001,  # the best stays the best after a drop
        ((), 2, 0.01): 0.01,
    }

    def rate_after(seen: tuple[float, ...], patience: int, start: float) -> object:
        return attempt(list(seen), patience, start)

    return check_function(rate_after, cases, "rate_after", _WRONG_RATES)


def _by(
    better: Callable = lambda new, best, before: new > best,
    due: Callable = lambda waited, patience: waited >= patience,
    after_drop: Callable = lambda waited, best, new: (0, best),
    risen: Callable = lambda drops: drops,
    rate: Callable = lambda start, drops: start / 10 ** min(drops, 3),
) -> Callable:
    """Return the rule, or one that differs: ``rate_after(accuracies, patience, start)``.

    better: whether an accuracy is a new best. due: whether the rate drops. after_drop: the epochs waited and the best
    accuracy, after a drop. risen: the drops after a new best. rate: the rate after so many drops.
    """

    def rate_after(accuracies: Sequence[float], patience: int, start: float) -> float:
        best, before, waited, drops = -math.inf, -math.inf, 0, 0
        for new in accuracies:
            waited, drops = (0, risen(drops)) if better(new, best, before) else (waited + 1, drops)
            best, before = max(best, new), new
            if due(waited, patience):
                drops += 1
                waited, best = after_drop(waited, best, new)
        return rate(start, drops)

    return rate_after


def _waits_in_total(accuracies: Sequence[float], patience: int, start: float) -> float:
    """A new best does not end the waiting."""
    waited = sum(new <= max(accuracies[:n], default=-math.inf) for n, new in enumerate(accuracies))
    return start / 10 ** min(3, waited // patience)


_WRONG_RATES = {
    "compare with the best so far, not with the epoch before": _by(better=lambda new, best, before: new > before),
    "compare with the best so far, not with the epoch before; and three drops at most": _by(
        better=lambda new, best, before: new > before, rate=lambda start, drops: start / 10**drops
    ),
    "an accuracy equal to the best is no new best": _by(better=lambda new, best, before: new >= best),
    "however small, a gain over the best is a new best": _by(better=lambda new, best, before: new > best + 1e-4),
    "that is an epoch too late: the rate drops as soon as `patience` epochs brought no new best": _by(
        due=lambda waited, patience: waited > patience
    ),
    "that drops after a single epoch without a new best, whatever the patience": _by(due=lambda waited, _: waited >= 1),
    "a new best ends the waiting: what was waited before it counts no more": _waits_in_total,
    "a drop ends the waiting, too: the next one comes `patience` epochs later, not in the next epoch": _by(
        after_drop=lambda waited, best, new: (waited, best)
    ),
    "a drop ends the waiting, too: after `patience` more epochs without a new best comes another": _by(
        due=lambda waited, patience: waited == patience, after_drop=lambda waited, best, new: (waited, best)
    ),
    "the best stays the best after a drop: it is not forgotten": _by(
        after_drop=lambda waited, best, new: (0, -math.inf)
    ),
    "the best stays the best after a drop, whatever was reached in that epoch": _by(
        after_drop=lambda waited, best, new: (0, new)
    ),
    "a drop stays: a new best does not raise the rate again": _by(risen=lambda drops: 0),
    "the rate never drops": _by(due=lambda waited, patience: False),
    "three drops at most": _by(rate=lambda start, drops: start / 10**drops),
    "that is a fourth drop; three at most": _by(rate=lambda start, drops: start / 10 ** min(drops, 4)),
    "it drops up to three times": _by(rate=lambda start, drops: start / 10 ** min(drops, 1)),
    "count the drops: a lowest rate is not the same for every start": _by(
        rate=lambda start, drops: max(start / 10**drops, 1e-5)
    ),
    "the first rate is the argument `start`": _by(rate=lambda start, drops: 0.01 / 10 ** min(drops, 3)),
    "a drop divides by 10": _by(rate=lambda start, drops: start / 2 ** min(drops, 3)),
    "that is the number of drops; asked is the rate": _by(rate=lambda start, drops: min(drops, 3)),
}


def check_mended(sick: Recipe, mended: object, train: ImageSet) -> Verdict:
    """Return the verdict on a recipe that differs from ``sick`` in one field: it is trained, and has to learn.

    Trains ``mended`` on ``train`` with seed 0, for as many epochs as ``sick`` has, unless that takes far longer.
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
            before, now = (estimate(build(one, train), train, one, steps=1).seconds for one in (sick, mended))
            takes = "minutes, for so many steps" if mended.batch_size < _FEW else f"about {duration(now)}"
            if mended.batch_size < _FEW or now > _FAR_LONGER * before:
                said = f"with {name} = {getattr(mended, name)!r} training would take {takes}"
                return Verdict("failed", f"{said}, and sick takes about {duration(before)}; there is a quicker cure")
            loss = fit(net, train, None, mended, seed=0).epochs[-1].train_loss
        except (NonFiniteLossError, ValueError) as error:
            return Verdict("failed", f"with {name} = {getattr(mended, name)!r}: {error}")
    said = f"with {name} = {getattr(mended, name)!r} the loss after {sick.epochs} epochs is {loss:.2f}"
    if loss < 0.9 * guessing:
        return Verdict("passed", f"{said}; guessing costs {guessing:.2f}: it learns")
    steepest = net.features[0].weight.grad.abs().max().item()
    about = "that of guessing" if loss > 0.97 * guessing else f"not yet clearly below the {guessing:.2f} of guessing"
    return Verdict("failed", f"{said}, {about}; the steepest gradient in conv1_1 is {steepest:.0e}")


_FAR_LONGER = 10  # times as long as sick: more than the scatter of an estimate
_FEW = 4  # pictures in a batch; with fewer, moving the weights, which no estimate counts, takes minutes
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
        X, y = (some[:count] for some in _RIGHT_THREE_TIMES)

        def evaluate(_count: int, batch_size: int, X: Tensor = X, y: Tensor = y) -> object:
            return attempt(_modes(), X.clone(), y.clone(), batch_size)

        verdict = check_function(evaluate, {(count, batch_size): expected}, "evaluate")
        if verdict.status == "failed":
            said = verdict.text.partition(" should be ")[2]
            hint = _why(attempt, [(count, batch_size) for count, batch_size, _ in cases])
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
        "what the scores may be": (
            "nan|not a number|(in|non ?|not ?)finit|infinit|constant|identical|collaps|diverg|explod|overflow",
            "(same|equal|zero|uniform) (score|output|logit|predict|answer|value)",
            r"(scores?|outputs?) (?:(?!\bnot\b|n t\b).){0,30}(same|equal|zero)",
            "no longer depend|does not depend|whatever the (picture|image|input)|tied|tie",
            r"(equals?|is|are) (\w+ )?(the|its|a) bias(es)?\b|only (the |its )?bias(es)? (is|are|remain)",
        ),
        "which class is then answered": (
            "(class|class number|index|label) (0|zero)|first (class|index|entry|label|one)|t ?shirt|argmax",
            r"(same|one|single|only one|constant) (class|label|answer|category)|(same|class \w+) for (all|every|each)",
            "always (answer|predict|choos|pick|say|the same|one|class)|(lowest|smallest) (index|class|number)",
            r"(answer|prediction|it) (is|are) (\w+ )?(0|zero)\b",
            r"(say|answer|predict|choos|pick)\w* (\w+ ){1,4}(for|to) (each|every|all) (\w+ )?(image|picture|input)",
        ),
        "how often that class occurs": (
            r"(a |one )?tenth|1[, ]?000|(a|one) thousand|(10|ten) classes|balanc|equally|1/10|0\.1",
            r"(1|one) (\w+ )?(in|of|out of) (10|ten)",
            r"10(\.0+)? ?(%|per ?cent)|ten per ?cent|each class|every class|same number|as (many|frequent)",
        ),
    }
    no = r"\b(not|no|never|rather|instead|unlike|than|hardly|rarely|if)\b|n.t\b|\bclass (0|zero)\b"
    one_class = "where all scores are nan, argmax answers one class, always the same: run the line in the task"
    against = (
        (
            r"\bargmax\b.{0,20}\b(never|not|doesn.t) (\w+ ){0,2}class (0|zero)\b",
            r"\b(only|other|else|alone)\b",
            one_class,
        ),
        (r"\b(nan|argmax)\b.{0,40}\b(random|arbitrary)\b", no, one_class),
        (r"\bnan\b.*\bclass (number )?([1-9]|one)\b", rf"{no}|\b(first|index|or|dead|bias)\b", one_class),
        (
            r"9\.87 ?%? (is|looks|seems) (much |far |even )?more suspicious",
            r"\bthan 9\.87",
            "the round number is the suspicious one: which network answers the same for every picture?",
        ),
        (
            r"\bcalibrated\b",
            no,
            "no calibration makes a share round: which class is answered, and how often does it occur?",
        ),
    )
    return check_words(answer, ideas, against=against)


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


def _why(attempt: Callable, cases: Sequence[tuple[int, int]]) -> str:
    """Return a hint for a mistake that explains what the attempt gives in all cases, or nothing."""
    X, y = _RIGHT_THREE_TIMES
    found: dict[bool, list] = {}
    for steady in (False, True):
        found[steady] = []
        for count, batch_size in cases:
            try:
                found[steady].append(attempt(_modes(steady), X[:count].clone(), y[:count].clone(), batch_size))
            except Exception:  # as a division by no pictures: the other cases tell
                found[steady].append(None)

    def gives(rule: Callable, steady: bool = False) -> bool:
        """Return whether a rule gives what the attempt did; it takes which answers are right, and the batch size."""
        pairs = [
            (float(got), float(rule((X[:count].argmax(dim=1) == y[:count]).float(), batch_size)))
            for got, (count, batch_size) in zip(found[steady], cases, strict=True)
            if got is not None
        ]
        return len(pairs) > 1 and all(math.isclose(got, by_rule, rel_tol=1e-5, abs_tol=1e-6) for got, by_rule in pairs)

    if any(isinstance(got, str) for got in found[False]):
        return ". A number is asked, and that is text"
    try:
        for why, rule in _WRONG_SHARES:
            if gives(rule):
                return f". {why}"
        if gives(lambda right, size: right.mean(), steady=True):
            return (
                ". In training mode this network answers wrongly: was it, with all its parts, put into evaluation mode "
                "before the first batch?"
            )
    except (TypeError, ValueError, RuntimeError):  # what cannot be read as a number has no hint
        return ""
    return ""


_WRONG_SHARES = (  # what went wrong, and the number that it makes of which answers are right and the batch size
    ("Give a share, from 0 to 1, not per cent", lambda right, size: 100 * right.mean()),
    ("That is the number of right answers; divide by the number of pictures", lambda right, size: right.sum()),
    ("That is the share of wrong answers", lambda right, size: 1 - right.mean()),
    ("The last, smaller batch is left out", lambda right, size: _full(right, size).sum() / len(right)),
    (
        "The last, smaller batch is left out",
        lambda right, size: _full(right, size).sum() / max(1, len(_full(right, size))),
    ),
    (
        "The last batch may be smaller: divide by the pictures that were there, not by batches times batch_size",
        lambda right, size: right.sum() / (size * math.ceil(len(right) / size)),
    ),
    (
        "A last batch of one picture must not weigh as much as a full one: count pictures, not batches",
        lambda right, size: torch.stack([part.mean() for part in right.split(size)]).mean(),
    ),
)


def _full(right: Tensor, size: int) -> Tensor:
    """Return what the full batches hold."""
    return right[: len(right) - len(right) % size]
