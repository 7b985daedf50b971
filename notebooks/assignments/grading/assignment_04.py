"""Assignment 04, train and test: hidden inputs, right answers, known mistakes. torch gives the right answers."""

import math
import random

import torch
from torch import Tensor
from torch.nn import functional as F

from grading import plain
from grading.judge import ByHand, Case, Exercise
from vgglib.exercises.assignment_04 import FINE, LOOP, SLIPS, my_loop

NAME = "04_train_and_test"
PRELOAD = ("torch", "torch._dynamo")  # torch.optim imports the second at the first step


def eighths(chance: random.Random, *shape: int) -> plain.Array:
    """Return float32 numbers between -2 and 2 whose products and sums come out exactly, in whatever order."""
    values = [chance.randint(-16, 16) / 8 for _ in range(math.prod(shape))]
    return packed(torch.tensor(values, dtype=torch.float32).reshape(shape))


def numbers(chance: random.Random, *shape: int) -> plain.Array:
    """Return float64 numbers between -2 and 2, as they travel to the student's process."""
    values = [chance.uniform(-2, 2) for _ in range(math.prod(shape))]
    return packed(torch.tensor(values, dtype=torch.float64).reshape(shape))


def packed(tensor: Tensor) -> plain.Array:
    """Return a tensor as it travels."""
    return plain.Array(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.numpy().tobytes())


def only(number: int):
    """Return the answer of somebody who names this line, whatever the loop."""
    return lambda name, student: number


def faulty_line(name, student):
    """Return the number of the line in which a student's own loop differs from the right one."""
    mine = my_loop(student).splitlines()
    return next(n for n, line in enumerate(LOOP, start=1) if mine[n - 1] != line)


# the training loop


def trained(
    what,
    weight,
    bias,
    batches,
    rate,
    momentum,
    cost=F.cross_entropy,
    clear=True,
    modes=True,
    steps=True,
    mean="pictures",
    decay=0.0,
    number=True,
    late=False,
):
    """Return one side of one pass of training by hand, without an optimiser; the options make it wrong."""
    weight, bias = weight.tensor(), bias.tensor()
    speed, grads = [torch.zeros_like(weight), torch.zeros_like(bias)], None
    total, losses, count = 0.0, [], 0
    for X, y in batches:
        w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        loss = cost(X.tensor() @ w.T + b, y.tensor())
        new = [grad + decay * old for grad, old in zip(torch.autograd.grad(loss, [w, b]), (weight, bias), strict=True)]
        grads = list(new) if clear or grads is None else [old + one for old, one in zip(grads, new, strict=True)]
        speed = [momentum * v + g for v, g in zip(speed, grads, strict=True)]
        if steps:
            weight, bias = weight - rate * speed[0], bias - rate * speed[1]
        loss = cost(X.tensor() @ weight.T + bias, y.tensor()) if late else loss
        total, count = total + loss.item() * len(y.tensor()), count + len(y.tensor())
        losses.append(loss.item())
    means = {"pictures": total / count, "batches": sum(losses) / len(losses), "last": losses[-1], "sum": total}
    means |= {"too small": sum(losses) / count, "too large": total / len(losses), "one more": total / (count + 1)}
    means |= {"total anew": losses[-1] * len(y.tensor()) / count, "count anew": total / len(y.tensor())}
    found = {"loss": means[mean], "number": number, "weight": weight, "bias": bias, "modes": [modes] * len(batches)}
    return seen(found, (what,))


def wrongly(**options):
    """Return the pass of training with these options."""
    return lambda *args, **more: trained(*args, **options, **more)


STEPS = {  # what goes wrong before the loss is returned
    "cross-entropy takes scores: it has its own soft-max, and yours is a second one":
        wrongly(cost=lambda Z, y: F.cross_entropy(Z.softmax(1), y)),
    "nll_loss takes the logarithms of posteriors; cross_entropy takes the scores": wrongly(cost=F.nll_loss),
    "cross-entropy is a mean over its batch already, and you divide it once more":
        wrongly(cost=lambda Z, y: F.cross_entropy(Z, y) / len(y)),
    "a step follows the mean over its batch, and you took the sum":
        wrongly(cost=lambda Z, y: F.cross_entropy(Z, y, reduction="sum")),
    "gradients add up until they are cleared: is zero_grad really called, with brackets?": wrongly(clear=False),
    "the network must be in training mode while it trains": wrongly(modes=False),
    "section 3.1's weight decay was not asked for here: leave it out": wrongly(decay=5e-4),
    "the momentum is not used": lambda *args, **options: trained(*args[:-1], 0.0, **options),
    "rate and momentum are exchanged": lambda *args, **options: trained(*args[:-2], args[-1], args[-2], **options),
    "the weights after one step are those from before: are backward and step really called, with brackets?":
        wrongly(steps=False),
}  # fmt: skip
MEANS = {
    "the last batch may be smaller: a mean of the batches' means is not the mean over all pictures": "batches",
    "you divide a sum over batches by a number of pictures": "too small",
    "you give the loss of the last batch alone": "last",
    "you give the sum over all pictures: divide it by their number": "sum",
    "you divide the sum over all pictures by the number of batches": "too large",
    "the sum starts anew with every batch: += adds, = forgets": "total anew",
    "the count starts anew with every batch: += adds, = forgets": "count anew",
    "the count of pictures starts at zero, before the first batch": "one more",
}
HIDDEN_BY = {  # lines whose fault does not show, or is the same, beside such a slip in the mean: is it mended?
    "batches": (4, 10, 11, 12),
    "last": (4, 10, 11, 12),
    "sum": (4, 11, 12),
    "too large": (4, 11, 12),
    "count anew": (4,),
}
LATE = "the loss of a batch is that before its step, and you took the one after it"
LOOPS_MISTAKES = STEPS | {LATE: wrongly(late=True)} | {why: wrongly(mean=mean) for why, mean in MEANS.items()}
NUMBER = "a Python number was asked for, no tensor: use .item()"
LOOPS_MISTAKES |= {NUMBER: wrongly(number=False)}
LOOPS_MISTAKES |= {  # two at a time, where the first changes the losses
    f"{first}; and {second}": lambda *args, one=one, mean=mean: one(*args, mean=mean)
    for first, one in STEPS.items() if "mode" not in first
    for second, mean in list(MEANS.items())[:4]
}  # fmt: skip


UNMENDED = [  # what each line of SLIPS, in their order, makes of the loop
    *({"momentum": 0.0}, {"exchanged": True}, {"modes": False}, {"modes": False}, {"mean": "one more"}),
    {"cost": lambda Z, y: F.cross_entropy(Z.softmax(1), y)},
    {"cost": lambda Z, y: F.cross_entropy(Z, y, reduction="sum")},
    *({"cost": lambda Z, y: F.cross_entropy(Z, y) / len(y)}, {"clear": False}, {"steps": False}, {"steps": False}),
    *({"mean": mean} for mean in ("too small", "total anew", "too large", "count anew", "last", "sum", "too large")),
]


def slip_of(student):
    """Return what the slip in a student's own loop makes of it."""
    mine = my_loop(student).splitlines()
    return next(how for how, (n, slip) in zip(UNMENDED, SLIPS, strict=True) if mine[n - 1] == slip)


def unmended(student):
    """Return the pass of training as the student's own loop does it that was handed out."""
    options = dict(slip_of(student))
    if options.pop("exchanged", False):
        return lambda *args: trained(*args[:-2], args[-1], args[-2])
    momentum = options.pop("momentum", None)
    return lambda *args: trained(*args[:-1], args[-1] if momentum is None else momentum, **options)


def mended(student, sentence):
    """Return whether a loop with this slip can only be one whose own fault, which is in the mean, was mended."""
    if "mean" in slip_of(student) and sentence in (LATE, *STEPS):
        return True
    means = [mean for why, mean in MEANS.items() if why in sentence]
    own, hidden = slip_of(student).get("mean"), HIDDEN_BY.get(means[0], ()) if means else ()
    return bool(means) and own not in (None, means[0]) and faulty_line("line", student) not in hidden


def seen(value, args):
    """Return what a case is about."""
    if args[0] in ("mean", "number"):
        return value[{"mean": "loss"}.get(args[0], args[0])]
    if args[0] == "mode":  # however often the network looks at a batch
        return bool(value["modes"]) and all(value["modes"])
    return [value["weight"], value["bias"]]


def train_cases(chance: random.Random, student: str) -> list[Case]:
    """Return passes over one batch and over several of different sizes."""
    found = []
    passes = [("step", (5,)), ("step", (7,)), ("several", (5, 7, 4)), ("mode", (4, 6)), ("mean", (6, 9, 5))]
    for what, sizes in [*passes, ("number", (6, 3))]:
        classes, features = chance.sample([3, 4, 5, 6], 2)
        batches = [
            (numbers(chance, size, features), packed(torch.tensor([chance.randrange(classes) for _ in range(size)])))
            for size in sizes
        ]
        momentum = 0.0 if what == "step" else chance.uniform(0.5, 0.9)
        rate = chance.uniform(0.2, 0.4)
        case = (what, numbers(chance, classes, features), numbers(chance, classes), batches, rate, momentum)
        found.append(Case(what, case))
    return found


# the schedule


def rates(
    first, accuracies, patience, best_only=True, restart=True, late=0, factor=10, most=3, equal=False, after=False
):
    """Return the rate of every epoch; the options make it wrong."""
    rate, best, waited, drops, found = first, -math.inf, 0, 0, []
    for accuracy in accuracies:
        before = rate
        if accuracy > best or (equal and accuracy == best):
            best, waited = accuracy, 0
        else:
            waited += 1
            best = best if best_only else accuracy
        if waited >= patience + late and drops < most:
            rate, drops, waited = rate / factor, drops + 1, 0 if restart else waited
        found.append(rate if after else before)
    return found


def never_dropping(first, accuracies, patience):
    """Return what a program says that looks at no accuracy."""
    return [first] * len(accuracies)


def rates_cases(chance: random.Random, student: str) -> list[Case]:
    """Return a run that improves, runs with one drop or two, and runs with more than three occasions to drop."""
    first = chance.choice([0.2, 0.3, 0.5])
    up = sorted(chance.sample(range(300, 900), 7))
    found = [Case("improving", (first, [one / 1000 for one in up], 2))]
    flat = [0.52, 0.61, 0.61, 0.58, 0.61, 0.7, 0.66, 0.69, 0.68, 0.67, 0.75]
    shift = chance.randint(2, 20) / 100
    found.append(Case("several", (first, [one + shift for one in flat], 3)))
    found.append(Case("several", (first, [one - shift for one in [0.6, 0.55, 0.58, 0.65, 0.63, 0.64, 0.62, 0.6]], 2)))
    long = [0.6, *(chance.randint(300, 500) / 1000 for _ in range(13))]
    return [*found, Case("three", (first, long, 2))]


# the convolution


def convolved(what, weight, bias, X, side, order=(0, 1, 2, 3), with_bias=True, padding=0, stride=1):
    """Return one side of the fully connected layer as a convolution; the options make it wrong."""
    X, weight = X.tensor(), weight.tensor()
    units, channels = weight.shape[0], X.shape[1]
    kernel = weight.reshape([units, *((channels, side, side) if order != "last" else (side, side, channels))])
    kernel = kernel.permute(0, 3, 1, 2) if order == "last" else kernel.permute(order)
    output = F.conv2d(X, kernel, bias.tensor() if with_bias else None, padding=padding, stride=stride)
    return output_of({"kernel": list(kernel.shape), "output": output}, (what,))


def otherwise(output, kernel=None):
    """Return the answer of something that gives this in place of an output, with a right kernel or this one."""
    return lambda what, *rest: output if what != "kernel" else convolved(what, *rest) if kernel is None else kernel


def always(dtype):
    """Return the answer of a convolution that is right, and in this dtype whatever that of the layer."""
    return lambda what, weight, *rest: (
        convolved(what, weight, *rest) if what == "kernel" or weight.dtype == dtype else "another dtype"
    )


def output_of(value, args):
    """Return what a case is about."""
    return value["kernel"] if args[0] == "kernel" else value["output"]


def convolution_cases(chance: random.Random, student: str) -> list[Case]:
    """Return layers on maps of their own size, one of them in float32, and on larger ones."""
    found = []
    for what, draw in ("kernel", numbers), ("once", numbers), ("once", eighths), ("wide", numbers):
        channels, side, units = chance.choice([5, 6]), chance.choice([3, 4]), chance.choice([7, 8])
        size = (side + chance.randint(2, 3), side + chance.randint(4, 5)) if what == "wide" else (side, side)
        case = (
            draw(chance, units, channels * side * side),
            draw(chance, units),
            draw(chance, 2, channels, *size),
        )
        found.append(Case(what, (what, *case, side)))
    return found


# posteriors


def combined(scores, each=lambda Z: Z.softmax(1), mean=lambda Z: Z.mean(0), last=lambda Z: Z):
    """Return the mean of posteriors; the options make it wrong."""
    return last(mean(torch.stack([each(one.tensor()) for one in scores])))


def combine_cases(chance: random.Random, student: str) -> list[Case]:
    """Return the scores of two networks, and of more."""
    found = []
    for part, count in (("two", 2), ("two", 2), ("many", 3), ("many", 5)):
        pictures, classes = chance.sample([4, 5, 6, 7], 2)
        found.append(Case(part, ([numbers(chance, pictures, classes) for _ in range(count)],)))
    return found


EXERCISES = [
    Exercise(
        "line", "Exercise 1, the faulty line", "line",
        {"line": (2, "that line of your loop is right")},
        lambda chance, student: [Case("line", ("line", student))],
        faulty_line,
        {why: only(number) for number, why in FINE.items()},
        adapter="value",
    ),
    Exercise(
        "train", "Exercise 2, the loop mended", "train",
        {
            "step": (1, "the weights after one step are wrong"),
            "several": (1, "the weights after several steps are wrong"),
            "mode": (0.5, "the network must be in training mode while it trains"),
            "mean": (1, "the returned loss is wrong"),
            "number": (0.5, "a Python number was asked for"),
        },
        train_cases, trained,
        LOOPS_MISTAKES,
        adapter="train", read=seen, mends=True, idle=unmended, mended=mended,
    ),
    Exercise(
        "rates", "Exercise 3, a schedule", "rates",
        {
            "improving": (1, "wrong even where every epoch improves"),
            "several": (2, "wrong where the accuracy stops improving"),
            "three": (1, "wrong in a run with more than three occasions to drop"),
        },
        rates_cases, rates,
        {
            "the rate never drops": never_dropping,
            "compare with the best so far, not with the epoch before": lambda *args: rates(*args, best_only=False),
            "after a drop the count starts again": lambda *args: rates(*args, restart=False),
            "you wait an epoch too long": lambda *args: rates(*args, late=1),
            "you do not wait long enough": lambda *args: rates(*args, late=-1),
            "the paper divides by 10": lambda *args: rates(*args, factor=2),
            "three drops in all, and you made more": lambda *args: rates(*args, most=99),
            "as good as the best is no improvement": lambda *args: rates(*args, equal=True),
            "a drop counts from the next epoch on: the epoch that showed it is over":
                lambda *args: rates(*args, after=True),
        },
        idle=lambda student: never_dropping,
    ),
    Exercise(
        "as_convolution", "Exercise 4, a fully connected layer as a convolution", "as_convolution",
        {
            "kernel": (1, "the kernel has the wrong shape"),
            "once": (2, "on a map of its own size it gives other numbers than the fully connected layer"),
            "wide": (1, "wrong on a larger map"),
        },
        convolution_cases, convolved,
        {
            "its weight and its bias have to be of the dtype of `linear`: `nn.Conv2d(..., dtype=linear.weight.dtype)`":
                always("float32"),
            "its weight and its bias are float64, and those of `linear` may be float32: "
            "`nn.Conv2d(..., dtype=linear.weight.dtype)`": always("float64"),
            "return an nn.Conv2d: what you gave has no kernel": otherwise("none", kernel=[0]),
            "wrong on a larger map: a stride jumps over places": lambda *args: convolved(*args, stride=args[-1]),
            "flatten goes channel by channel: the weight is (units, channels, side, side), not channels last":
                lambda *args: convolved(*args, order="last"),
            "rows and columns are exchanged": lambda *args: convolved(*args, order=(0, 1, 3, 2)),
            "the bias was left behind": lambda *args: convolved(*args, with_bias=False),
            "a padding lets units look outside of the map: there is none in a fully connected layer":
                lambda *args: convolved(*args, padding=1),
            "a padding lets units look outside of the map: there is none in a fully connected layer ":
                lambda *args: convolved(*args, padding=args[-1] // 2),
        },
        adapter="convolution", read=output_of,
    ),
    Exercise(
        "combine", "Exercise 5, the mean of posteriors", "combine",
        {"two": (2, "wrong for two networks"), "many": (1, "wrong for more than two networks")},
        combine_cases, combined,
        {
            "average the posteriors, not the scores: the soft-max comes first":
                lambda scores: combined(scores, each=lambda Z: Z, last=lambda Z: Z.softmax(1)),
            "the soft-max runs over the classes of a picture, not over the pictures":
                lambda scores: combined(scores, each=lambda Z: Z.softmax(0)),
            "these are scores: each network's become posteriors by a soft-max":
                lambda scores: combined(scores, each=lambda Z: Z),
            "you added the posteriors: divide by the number of networks":
                lambda scores: combined(scores, mean=lambda Z: Z.sum(0)),
            "take the mean, not the largest": lambda scores: combined(scores, mean=lambda Z: Z.amax(0)),
            "posteriors were asked for, not labels": lambda scores: combined(scores, last=lambda Z: Z.argmax(1)),
            "you divide by 2, however many networks there are":
                lambda scores: combined(scores, mean=lambda Z: Z.sum(0) / 2),
        },
    ),
]  # fmt: skip
BY_HAND = [
    ByHand(
        "explain_04", "Exercise 6, explain", 3,
        "1 point: the loss of equal posteriors for ten classes is ln 10 = 2.303, so the network gives every class "
        "about a tenth, whatever the picture. 1 point: at least two plausible causes in a sensible order (rate too "
        "low or too high, signal that dies on its way through a deep network, labels or pictures mixed up, gradients "
        "cleared at the wrong place). 1 point: for each cause a look that can tell (the size of the gradient in the "
        "first layer, the spread of the activations layer by layer, another rate, one batch learned by heart).",
    )
]  # fmt: skip
