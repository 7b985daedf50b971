"""Chapter 05's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import math
from dataclasses import replace

import pytest
import torch

from vgglib.data import ImageSet
from vgglib.exercises import chapter_05 as check
from vgglib.training import RECIPES, Rate, recipe


def rate_after(accuracies, patience, start, better=lambda new, best, before: new > best, most=3, factor=10, reset=True):
    """The solution; its options make it wrong."""
    best, before, waited, drops = -math.inf, -math.inf, 0, 0
    for accuracy in accuracies:
        waited = 0 if better(accuracy, best, before) else waited + 1
        best, before = max(best, accuracy), accuracy
        if waited >= patience:
            drops = min(most, drops + 1)
            waited = 0 if reset else waited
    return start / factor**drops


def waits_in_total(accuracies, patience, start):
    """Counts all epochs without a new best, also those that a new best has ended."""
    best, waited = -math.inf, 0
    for accuracy in accuracies:
        waited += accuracy <= best
        best = max(best, accuracy)
    return start / 10 ** min(3, waited // patience)


def goes_back_up(accuracies, patience, start):
    """A new best gives the first rate back."""
    best, waited, drops = -math.inf, 0, 0
    for accuracy in accuracies:
        if accuracy > best:
            waited = drops = 0
        else:
            waited += 1
        best = max(best, accuracy)
        if waited == patience:
            waited, drops = 0, min(3, drops + 1)
    return start / 10**drops


def forgetful(accuracies, patience, start):
    """The best accuracy is forgotten after a drop."""
    best, waited, drops = -1, 0, 0
    for accuracy in accuracies:
        best, waited = (accuracy, 0) if accuracy > best else (best, waited + 1)
        if waited == patience:
            best, waited, drops = 0, 0, drops + 1
    return start / 10 ** min(drops, 3)


def drops_once(accuracies, patience, start):
    """After a drop the waiting goes on, and only the epoch in which it reaches the patience counts."""
    best, waited, rate = -math.inf, 0, start
    for accuracy in accuracies:
        waited = 0 if accuracy > best else waited + 1
        best = max(best, accuracy)
        if waited == patience:
            rate = max(rate / 10, start / 1000)
    return rate


def best_at_the_drop(accuracies, patience, start):
    """The accuracy of the epoch before a drop is the one to beat after it."""
    best, waited, drops = 0, 0, 0
    for accuracy in accuracies:
        if accuracy > best:
            best, waited = accuracy, 0
            continue
        waited += 1
        if waited == patience:
            best, waited, drops = accuracy, 0, drops + 1
    return start / 10 ** min(drops, 3)


def too_late(accuracies, patience, start):
    """PyTorch's patience."""
    return rate_after(accuracies, patience + 1, start)


WHY_WRONG_RATES = {
    "forgets the best after a drop": "it is not forgotten",
    "the best is that of the drop": "whatever was reached in that epoch",
    "a lowest rate in place of three drops": "count the drops",
    "an equal accuracy counts as better": "an accuracy equal to the best is no new best",
    "compares with the epoch before": "not with the epoch before",
    "compares with the epoch before, and drops without end": "not with the epoch before; and three drops",
    "drops in every epoch after the first drop": "not in the next epoch",
    "drops once": "after `patience` more epochs",
    "an epoch too late": "an epoch too late",
    "drops without end": "three drops at most",
    "four drops": "a fourth drop",
    "one drop at most": "up to three times",
    "a small gain counts as none": "however small",
    "halves the rate": "divides by 10",
    "has no patience": "whatever the patience",
    "starts at 0.01 whatever it is told": "the argument `start`",
    "a new best does not end the waiting": "a new best ends the waiting",
    "goes back up": "a drop stays",
    "never drops": "never drops",
    "returns the number of drops": "asked is the rate",
}
WRONG_RATES = {
    "the best is that of the drop": best_at_the_drop,
    "drops once": drops_once,
    "an epoch too late": too_late,
    "four drops": lambda *a: rate_after(*a, most=4),
    "forgets the best after a drop": forgetful,
    "a lowest rate in place of three drops": lambda *a: max(rate_after(*a, most=99), 1e-5),
    "an equal accuracy counts as better": lambda *a: rate_after(*a, better=lambda new, best, before: new >= best),
    "compares with the epoch before": lambda *a: rate_after(*a, better=lambda new, best, before: new > before),
    "compares with the epoch before, and drops without end": lambda *a: rate_after(
        *a, better=lambda new, best, before: new > before, most=99
    ),
    "drops in every epoch after the first drop": lambda *a: rate_after(*a, reset=False),
    "drops without end": lambda *a: rate_after(*a, most=99),
    "one drop at most": lambda *a: rate_after(*a, most=1),
    "a small gain counts as none": lambda *a: rate_after(*a, better=lambda new, best, before: new > best + 1e-4),
    "halves the rate": lambda *a: rate_after(*a, factor=2),
    "has no patience": lambda accuracies, patience, start: rate_after(accuracies, 1, start),
    "starts at 0.01 whatever it is told": lambda accuracies, patience, start: rate_after(accuracies, patience, 0.01),
    "a new best does not end the waiting": waits_in_total,
    "goes back up": goes_back_up,
    "never drops": lambda accuracies, patience, start: start,
    "returns the number of drops": lambda *a: round(math.log10(a[2] / rate_after(*a))),
    "fails on no epochs": lambda accuracies, *rest: accuracies[0] and rate_after(accuracies, *rest),
}


def test_rate_after_passes():
    assert check.check_rate_after(rate_after).status == "passed"
    assert check.check_rate_after(lambda seen, *rest: rate_after([0.0, *seen.copy()], *rest)).status == "passed"


def test_the_solution_is_what_fit_does():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        accuracies = (torch.rand(12, generator=generator) * 8).round().div(8).tolist()
        rate = Rate(recipe("paper", patience=2), steps_per_epoch=10)
        for n, accuracy in enumerate(accuracies, start=1):
            if not rate.goes_on(accuracy):
                break
            assert rate(n + 1, 0) == pytest.approx(rate_after(accuracies[:n], 2, RECIPES["paper"].learning_rate))


def test_torch_s_own_rule_waits_an_epoch_longer():
    """As the chapter says of ReduceLROnPlateau."""

    def torch_s(accuracies, patience, start):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=start)
        rule = dict(mode="max", factor=0.1, patience=patience, threshold=0, min_lr=start / 1000)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, **rule)
        for accuracy in accuracies:
            optimiser.step()
            plateau.step(accuracy)
        return optimiser.param_groups[0]["lr"]

    assert check.check_rate_after(lambda seen, patience, start: torch_s(seen, patience - 1, start)).status == "passed"
    assert check.check_rate_after(torch_s).status == "failed"


@pytest.mark.parametrize("stub", [lambda accuracies, patience, start: ..., lambda accuracies, patience, start: None])
def test_rate_after_waits(stub):
    assert check.check_rate_after(stub).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_RATES)
def test_rate_after_rejects(mistake):
    verdict = check.check_rate_after(WRONG_RATES[mistake])
    assert verdict.status == "failed"
    assert "rate_after(" in verdict.text
    assert WHY_WRONG_RATES.get(mistake, "") in verdict.text


def test_every_reason_is_that_of_its_own_mistake():
    for why, wrong in check._WRONG_RATES.items():
        verdict = check.check_rate_after(wrong)
        assert verdict.status == "failed"
        assert verdict.text.endswith(f": {why}")
    assert check.check_rate_after(check._by()).status == "passed"


def evaluate(net, X, y, batch_size, mode=False, dim=1, share=False, drop_last=False, count=len):
    """The solution; its options make it wrong."""
    net.train(mode)
    right, shares = 0, []
    with torch.no_grad():
        for start in range(0, len(X) - (len(X) % batch_size if drop_last else 0), batch_size):
            part = slice(start, start + batch_size)
            hits = net(X[part]).argmax(dim=dim)
            hits = hits[: len(y[part])] == y[part][: len(hits)]
            right += hits.sum().item()
            shares.append(hits.float().mean().item())
    return sum(shares) / max(1, len(shares)) if share else right / max(1, count(X))


def outermost(net, X, y, batch_size):
    net.training = False  # its parts stay in training mode
    with torch.no_grad():
        return sum((net(A).argmax(1) == b).sum().item() for A, b in batches(X, y, batch_size)) / len(X)


def batches(X, y, batch_size):
    return [(X[n : n + batch_size], y[n : n + batch_size]) for n in range(0, len(X), batch_size)]


def by_device(net, X, y, batch_size):
    """The solution as d2l would write it."""
    device = next(net.parameters()).device
    net.eval()
    return sum((net(A.to(device)).argmax(1).numpy() == b.numpy()).sum() for A, b in batches(X, y, batch_size)) / len(y)


def mode_after_the_first(net, X, y, batch_size):
    right = 0
    for A, b in batches(X, y, batch_size):
        right += (net(A).argmax(1) == b).sum().item()
        net.eval()
    return right / len(X)


WRONG_EVALUATIONS = {
    "stays in training mode": lambda *a: evaluate(*a, mode=True),
    "averages over batches": lambda *a: evaluate(*a, share=True),
    "both of the loop's errors": lambda *a: evaluate(*a, mode=True, share=True),
    "leaves the last batch out": lambda *a: evaluate(*a, drop_last=True),
    "leaves it out, and counts it not": lambda net, X, y, n: evaluate(
        net, X[: len(X) // n * n], y[: len(X) // n * n], n
    ),
    "divides by batches times their size": lambda net, X, y, n: evaluate(
        net, X, y, n, count=lambda X: math.ceil(len(X) / n) * n
    ),
    "looks along the batch": lambda *a: evaluate(*a, dim=0),
    "returns the error": lambda *a: 1 - evaluate(*a),
    "returns percent": lambda *a: 100 * evaluate(*a),
    "returns a count": lambda net, X, y, n: round(evaluate(net, X, y, n) * len(X)),
    "looks at one batch only": lambda net, X, y, n: evaluate(net, X[:n], y[:n], n),
    "raises": lambda net, X, y, n: net.accuracy(X, y),
    "only the outermost module": outermost,
    "drops the last batch, divides by all": lambda net, X, y, n: (
        evaluate(net, X[: len(X) // n * n], y[: len(X) // n * n], n) * (len(X) // n * n) / len(X) if len(X) >= n else 0
    ),
    "whole numbers": lambda *a: int(evaluate(*a)),
    "counts batches times their size": lambda net, X, y, n: (
        evaluate(net, X, y, n) * len(X) / (n * len(range(0, len(X), n)))
    ),
    "returns text": lambda *a: f"{evaluate(*a):.4f}",
    "evaluation mode after the first batch": mode_after_the_first,
    "a list": lambda *a: [evaluate(*a)],
}


def test_evaluate_passes():
    assert check.check_evaluate(evaluate).status == "passed"
    assert check.check_evaluate(lambda *a: torch.tensor(evaluate(*a))).status == "passed"
    assert check.check_evaluate(by_device).status == "passed"
    assert "no_grad" in check.check_evaluate(by_device).text
    assert "no_grad" not in check.check_evaluate(evaluate).text


@pytest.mark.parametrize("stub", [lambda net, X, y, batch_size: ..., lambda net, X, y, batch_size: None])
def test_evaluate_waits(stub):
    assert check.check_evaluate(stub).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_EVALUATIONS)
def test_evaluate_rejects(mistake):
    assert check.check_evaluate(WRONG_EVALUATIONS[mistake]).status == "failed"


def test_evaluate_says_which_of_the_two_errors_is_left():
    assert "evaluation mode" in check.check_evaluate(WRONG_EVALUATIONS["stays in training mode"]).text
    assert "evaluation mode" in check.check_evaluate(outermost).text
    assert "count pictures" in check.check_evaluate(WRONG_EVALUATIONS["averages over batches"]).text
    for mistake, why in {
        "returns percent": "not per cent",
        "returns a count": "divide by the number of pictures",
        "returns the error": "wrong answers",
        "drops the last batch, divides by all": "left out",
        "leaves the last batch out": "left out",
        "leaves it out, and counts it not": "left out",
        "divides by batches times their size": "not by batches times batch_size",
        "counts batches times their size": "not by batches times batch_size",
        "returns text": "that is text",
        "evaluation mode after the first batch": "before the first batch",
    }.items():
        said = check.check_evaluate(WRONG_EVALUATIONS[mistake]).text
        assert why in said
        assert said.count(". ") == 1, "one hint, and no other"
    for other in ("drops the last batch, divides by all", "whole numbers", "looks at one batch only"):
        said = check.check_evaluate(WRONG_EVALUATIONS[other]).text
        assert "evaluation mode" not in said
        assert "count pictures" not in said


# --- the sick network: a deep one that learns at once if its start is good ------------------------------------------

DEEP = recipe(
    "laptop", configuration="32 " * 10, image_size=8, scale=8, width=1.0, hidden=32, batch_norm=False, dropout=0.0,
    initialisation="glorot", schedule="constant", learning_rate=0.02, batch_size=16, epochs=2, bf16=False, flip=False,
)  # fmt: skip


def two_kinds():
    """Bright left halves and bright right halves, with noise."""
    dice = torch.Generator().manual_seed(0)
    labels = torch.arange(256) % 2
    images = torch.randint(0, 60, (256, 1, 8, 8), generator=dice)
    images[labels == 0, :, :, :4] += 150
    images[labels == 1, :, :, 4:] += 150
    return ImageSet(images.to(torch.uint8), labels, ("left", "right"))


SICK = replace(DEEP, initialisation="normal-0.01")


@pytest.mark.parametrize("cure", [dict(initialisation="he"), dict(batch_norm=True)])
def test_mended_passes(cure):
    verdict = check.check_mended(SICK, replace(SICK, **cure), two_kinds())
    assert verdict.status == "passed", verdict
    assert "it learns" in verdict.text
    assert next(iter(cure)) in verdict.text


def test_mended_waits():
    assert check.check_mended(SICK, ..., two_kinds()).status == "todo"


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (SICK, "0 fields differ"),
        (replace(SICK, initialisation="he", batch_norm=True), "2 fields differ from sick: batch_norm, initialisation"),
        (dict(initialisation="he"), "mended is a dict; it should be replace"),
        ("he", "mended is a str"),
        (None, "mended is a NoneType"),
        (replace(SICK, epochs=50), "epochs is patience"),
        (replace(SICK, configuration="32"), "configuration is another network"),
        (replace(SICK, bf16=True), "bf16 is a question of speed"),
        (replace(SICK, width=0.0), "with width = 0.0: "),
        (replace(SICK, validation=10), "no effect"),
        (replace(SICK, learning_rate=0.1), "that of guessing; the steepest gradient in conv1_1 is"),
        (replace(SICK, momentum=0.0), "that of guessing"),
        (replace(SICK, dropout=0.5), "that of guessing"),
    ],
)
def test_mended_rejects(wrong, match):
    verdict = check.check_mended(SICK, wrong, two_kinds())
    assert verdict.status == "failed"
    assert match in verdict.text


def test_mended_is_not_trained_for_far_longer_than_sick():
    for change, match in ((dict(width=12.0), "width = 12.0 training would take ab"), (dict(batch_size=1), "minutes")):
        verdict = check.check_mended(SICK, replace(SICK, **change), two_kinds())
        assert verdict.status == "failed"
        assert match in verdict.text
        assert "there is a quicker cure" in verdict.text


def test_mended_says_where_it_broke():
    sick = replace(DEEP, initialisation="he", learning_rate=50.0)
    verdict = check.check_mended(sick, replace(sick, learning_rate=1e6), two_kinds())
    assert verdict.status == "failed"
    assert "with learning_rate = 1000000.0: the loss is" in verdict.text


def test_pictures():
    assert check.check_pictures(1_280_000).status == "passed"
    assert check.check_pictures(370_000 * 256 / 74).status == "passed"
    assert check.check_pictures(370_000 * 256 / 74).text == "1,280,000 it is"
    assert check.check_pictures(torch.tensor(1_280_000.0)).text == "1,280,000 it is"
    assert check.check_pictures(...).status == "todo"


@pytest.mark.parametrize("wrong", [94_720_000, 5000, 370_000 * 256 * 74, 1_300_000, 1_281_167])
def test_pictures_says_what_went_wrong(wrong):
    verdict = check.check_pictures(wrong)
    assert verdict.status == "failed"
    assert ": " in verdict.text


def test_steps():
    laptop = RECIPES["laptop"]
    shown = 60_000 - laptop.validation
    steps = math.ceil(shown / laptop.batch_size)
    assert check.check_steps(steps).status == "passed"
    assert check.check_steps(...).status == "todo"
    for wrong in (shown // laptop.batch_size, 60_000 // laptop.batch_size, steps * laptop.epochs, shown):
        assert wrong == steps or check.check_steps(wrong).status == "failed"
    assert "held out" in check.check_steps(math.ceil(60_000 / laptop.batch_size)).text
    for all_epochs in (steps * laptop.epochs, shown / laptop.batch_size * laptop.epochs, 3438):
        assert "the steps of all 8 epochs" in check.check_steps(all_epochs).text
    assert "held out, not" in check.check_steps(laptop.validation / laptop.batch_size).text
    assert "held out, not" in check.check_steps(39).text
    assert "a smaller last batch" in check.check_steps(468).text
    assert "the paper's" in check.check_steps(shown / 256).text
    assert "pictures" in check.check_steps(shown).text
    assert "whole" in check.check_steps(shown / laptop.batch_size).text
    assert check.check_steps(math.inf).status == check.check_steps(math.nan).status == "failed"


@pytest.mark.parametrize(
    "good",
    [
        "The scores are nan, argmax then answers class 0 for every picture, and class 0 is a tenth of the test set.",
        "A dead network gives every picture the same class, and each of the ten classes has 1,000 of 10,000 pictures; "
        "look for a loss that is not finite.",
        "All scores are equal, so the same class is answered always, and 1 000 pictures out of 10 000 are of it.",
        "Every output equals the bias, so the network says Bag for each image, and there are exactly as many bags.",
        "The network's outputs are all the same, so it always says one class, and one picture in ten is a T-shirt.",
        "Every output is just the bias; it predicts a coat for all pictures, and the classes are balanced.",
        "A dead network predicts a constant class; classes are balanced.",
        "The output could be NaN. Then class zero is chosen, which occurs one thousand times.",
        "The scores are NaN; the answer is constantly 0; there are a thousand of them among ten thousand.",
        "The ten scores are tied, so torch takes the lowest index; it is as frequent as all others, one in ten.",
        "All scores are nan, and argmax does not fail but answers class 0, which is a tenth of the pictures.",
        "With nan scores argmax answers class 0, not a random class, and 1,000 of the pictures are of class 0.",
        "A network that guesses seldom hits 10.00 %; 9.87 % is less suspicious. Nan scores give class 0, a tenth.",
        "A dead network, whose scores are its biases, answers class 7 for all; class 7 has 1,000 pictures.",
        "With nan argmax gives class 0 each time, a tenth, where a random network would answer class 1 or class 5.",
        "NaN scores mean class 0 throughout, unlike a well calibrated network; a tenth of the pictures has that class.",
        "If it were 9.87 %, argmax would answer several classes; with nan it is class 0 alone, one tenth.",
    ],
)
def test_explanation_passes(good):
    assert check.check_explanation(good).status == "passed"


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        ("The scores are nan, but argmax never answers class 0, so it is not a tenth.", "run the line"),
        (
            "The scores are nan, argmax answers a random class for each picture and a tenth of these is right.",
            "run the",
        ),
        ("9.87 is more suspicious, since nan gives class 0 a tenth.", "the round number"),
        ("nan scores mean that the answer is class 1, the same for all, and it occurs 1000 times.", "run the line"),
        (
            "The model is perfectly calibrated: scores equal the frequencies of each class, the same class share, one "
            "tenth of the pictures.",
            "no calibration",
        ),
    ],
)
def test_explanation_rejects_false_claims(claim, why):
    verdict = check.check_explanation(claim)
    assert verdict.status == "failed"
    assert why in verdict.text


@pytest.mark.parametrize("stub", [..., "", "   "])
def test_explanation_waits(stub):
    assert check.check_explanation(stub).status == "todo"


@pytest.mark.parametrize(
    ("poor", "lacks"),
    [
        ("It is bad.", "at least 8 words"),
        ("Ten percent is what a network gets that guesses at random among all of them.", "the scores"),
        ("The loss was nan, so the network has learned nothing at all in this run.", "class"),
        ("All scores are nan and so argmax answers class 0 for every single picture.", "how often"),
        ("A tenth of the pictures is of class 0, so a network may well score that by chance.", "the scores"),
        ("Every output equals the bias, and so the network has learned nothing at all from them.", "class"),
        ("The network says Bag for each image, and there are exactly as many bags as coats.", "the scores"),
    ],
)
def test_explanation_rejects(poor, lacks):
    verdict = check.check_explanation(poor)
    assert verdict.status == "failed"
    assert lacks in verdict.text
