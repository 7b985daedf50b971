"""Visible checks of notebooks/assignments/04_train_and_test, and the faulty training loop that each student repairs."""

from collections.abc import Callable

from vgglib.exercises.assignment_01 import (
    NO_ID,
    alone,
    dice,
    nobodys,
    not_yet,
    nothing_returned,
    read_later,
    verdict_on,
)
from vgglib.teaching import Verdict, as_number

LOOP = """\
def train(net, batches, rate, momentum):
    optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=momentum)
    net.train()
    total, count = 0.0, 0
    for X, y in batches:
        loss = F.cross_entropy(net(X), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(y)
        count += len(y)
    return total / count""".splitlines()
SLIPS = [  # line of the loop, counted from 1, and what it may become; none raises an error
    (2, "    optimiser = torch.optim.SGD(net.parameters(), lr=rate)"),
    (2, "    optimiser = torch.optim.SGD(net.parameters(), lr=momentum, momentum=rate)"),
    (3, "    net.eval()"),
    (3, "    net.train"),
    (4, "    total, count = 0.0, 1"),
    (6, "        loss = F.cross_entropy(net(X).softmax(dim=1), y)"),
    (6, '        loss = F.cross_entropy(net(X), y, reduction="sum")'),
    (6, "        loss = F.cross_entropy(net(X), y) / len(y)"),
    (7, "        optimiser.zero_grad"),
    (8, "        loss.backward"),
    (9, "        optimiser.step"),
    (10, "        total += loss.item()"),
    (10, "        total = loss.item() * len(y)"),
    (11, "        count += 1"),
    (11, "        count = len(y)"),
    (12, "    return loss.item()"),
    (12, "    return total"),
    (12, "    return total / len(batches)"),
]
FINE = {
    1: "line 1 only names what comes in",
    2: "line 2 hands the optimiser all that it needs: the weights, the rate and the momentum",
    3: "line 3 is right: dropout and batch normalisation behave differently in training",
    4: "line 4 starts both counts at zero, before the loop, where it belongs",
    5: "line 5 goes through the batches, and nothing is wrong with that",
    6: "line 6 is right: cross-entropy wants the scores as they come, and means over the batch",
    7: "line 7 is right: it clears the gradients of the step before, and any place in the loop before backward will do",
    8: "line 8 is right: backward belongs before the step",
    9: "line 9 is right: the step comes after backward",
    10: "line 10 is right: a batch counts as often as it has pictures",
    11: "line 11 is right: it counts pictures",
    12: "line 12 is right: the mean over all pictures",
}


class MyLoop(str):
    """A program, printed with the numbers of its lines."""

    hint = NO_ID

    def __repr__(self) -> str:
        if not self:
            return self.hint
        return "\n".join(f"{n:2}  {line}" for n, line in enumerate(self.splitlines(), start=1))


def my_loop(student: object) -> MyLoop:
    """Return the training loop that this student repairs, with one faulty line; empty while ``student`` is ``...``."""
    if nobodys(loop := MyLoop(), student):
        return loop
    faulty, slip = dice(student, "assignment 04").choice(SLIPS)
    return MyLoop("\n".join(slip if n == faulty else line for n, line in enumerate(LOOP, start=1)))


def check_line(student: object, line: object) -> Verdict:
    """Return the verdict on the number of the faulty line, with the reason why another one is right."""
    loop = my_loop(student)
    if not loop or line is ...:
        return not_yet(loop)
    line = as_number(line)
    if not isinstance(line, int | float) or isinstance(line, bool) or line not in FINE:
        return Verdict("failed", f"line should be a number from 1 to {len(LOOP)}, yours is {line!r}")
    line = int(line)
    if loop.splitlines()[line - 1] != LOOP[line - 1]:
        return Verdict("passed", f"line {line} it is; now write the loop without its fault")
    return Verdict("failed", FINE[line])


def _waves(*shape: int, start: int = 0) -> object:
    """Return numbers between -1 and 1 that look random and are the same on every machine."""
    import torch

    count = 1
    for side in shape:
        count *= side
    return torch.sin((start + torch.arange(count, dtype=torch.float64)) ** 2).reshape(shape)


@alone
def check_train(attempt: Callable) -> Verdict:
    """Return the verdict on one pass of training: what it gives, what it leaves in the network, and the mode."""
    import torch
    from torch import nn

    class Watch(nn.Module):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return X

    for sizes, momentum, loss, weight in ((4,), 0.0, 1.175793, 0.830462), ((4, 4, 2), 0.9, 1.205993, 0.757471):
        modes: list[bool] = []
        net = nn.Sequential(Watch(), nn.Linear(5, 3, dtype=torch.float64))
        with torch.no_grad():
            net[1].weight.copy_(_waves(3, 5))
            net[1].bias.zero_()
        batches = [(_waves(size, 5, start=7 * size), torch.arange(size) % 3) for size in sizes]
        several = "1 batch" if len(sizes) == 1 else f"{len(sizes)} batches"
        call = f"train on {several} of {' and '.join(map(str, sizes))} pictures"
        try:
            got = attempt(net.eval(), batches, 0.1, momentum)
        except NotImplementedError:
            got = ...
        except Exception as error:
            return Verdict("failed", f"{call} raised {type(error).__name__}: {error}")
        if got is ...:
            return Verdict("todo", "train: not attempted yet")
        if got is None:
            return nothing_returned(attempt, "train", call)
        if not all(modes) or not modes:
            return Verdict("failed", f"{call}: the network was not in training mode when it saw the pictures")
        found = net[1].weight[0, 1].item()
        if abs(found - weight) > 1e-5:
            return Verdict("failed", f"{call}: weight (0, 1) should become {weight}, yours became {found:.6f}")
        if isinstance(got, torch.Tensor) and got.numel() == 1:
            return Verdict("failed", f"{call} should return a Python number, yours is a tensor: use .item()")
        got = as_number(got)
        if not isinstance(got, float) or not abs(got - loss) <= 1e-5:
            shown = f"{got:.6f}" if isinstance(got, float) else repr(got)
            return Verdict("failed", f"{call} should return the mean loss over all pictures {loss}, yours gave {shown}")
    return Verdict("passed", "train: 2 cases agree")


@alone
def check_rates(attempt: Callable) -> Verdict:
    """Return the verdict on a learning-rate schedule."""
    cases = {
        (0.1, (0.5, 0.6, 0.7), 2): [0.1, 0.1, 0.1],
        (0.1, (0.5, 0.6, 0.6, 0.6, 0.7), 2): [0.1, 0.1, 0.1, 0.1, 0.01],
        (1.0, (0.5, 0.4, 0.45, 0.6, 0.5), 2): [1.0, 1.0, 1.0, 0.1, 0.1],
        (1.0, (0.5, 0.4, 0.4, 0.4, 0.4), 2): [1.0, 1.0, 1.0, 0.1, 0.1],
        (1.0, (0.5, 0.4, 0.4, 0.4, 0.4, 0.4), 1): [1.0, 1.0, 0.1, 0.01, 0.001, 0.001],
    }
    return verdict_on(attempt, cases, "rates")


@alone
def check_convolution(attempt: Callable) -> Verdict:
    """Return the verdict on a fully connected layer as a convolution: the same numbers on the same map."""
    import torch
    from torch import nn

    for channels, side, units, dtype in (2, 3, 4, torch.float64), (3, 2, 5, torch.float32):
        linear = nn.Linear(channels * side * side, units, dtype=dtype)
        with torch.no_grad():
            linear.weight.copy_(_waves(units, channels * side * side))
            linear.bias.copy_(_waves(units, start=50))
        call = f"as_convolution of a layer on {channels} channels of {side}x{side}"
        X = _waves(2, channels, side, side, start=90).to(dtype)
        try:
            conv = attempt(linear, channels, side)
            if conv is ...:
                return Verdict("todo", "as_convolution: not attempted yet")
            if conv is None:
                return nothing_returned(attempt, "as_convolution", call)
            if not isinstance(conv, nn.Conv2d):
                return Verdict("failed", f"{call} should be an nn.Conv2d, yours is a {type(conv).__name__}")
            for name, one in conv.named_parameters():
                if one.dtype != linear.weight.dtype:
                    return Verdict("failed", f"{call}: its {name} is {one.dtype}, and that of linear {X.dtype}")
            got, right = conv(X), linear(X.flatten(1))[..., None, None]
        except NotImplementedError:
            return Verdict("todo", "as_convolution: not attempted yet")
        except Exception as error:
            return Verdict("failed", f"{call} raised {type(error).__name__}: {error}")
        if got.shape != right.shape:
            return Verdict("failed", f"{call} should give {tuple(right.shape)}, yours gave {tuple(got.shape)}")
        if not torch.allclose(got, right, atol=1e-5):
            pair = f"{right[0, 0].item():.4f}, yours gave {got[0, 0].item():.4f}"
            return Verdict("failed", f"{call}: the first output should be {pair}")
        wide = _waves(1, channels, side + 1, side + 2, start=70).to(dtype)
        corner = linear(wide[:, :, 1:, 2:].flatten(1))
        got = conv(wide)
        if got.shape[2:] != (2, 3) or not torch.allclose(got[:, :, 1, 2], corner, atol=1e-5):
            shape = f"{side + 1}x{side + 2}"
            return Verdict("failed", f"{call}: on a map of {shape} the last of 2x3 places should see its last corner")
    return Verdict("passed", "as_convolution: 2 cases agree")


@alone
def check_combine(attempt: Callable) -> Verdict:
    """Return the verdict on the mean of posteriors."""
    import torch

    cases = {
        "one network, scores 0 and 0": ([[[0.0, 0.0]]], [[0.5, 0.5]]),
        "scores (0, 0, 9) and (9, 0, 0)": (
            [[[0.0, 0.0, 9.0]], [[9.0, 0.0, 0.0]]], [[0.499938, 0.000123, 0.499938]]),
        "a sure and an unsure network": ([[[0.0, 8.0]], [[2.0, 0.0]]], [[0.440566, 0.559434]]),
        "two pictures": (
            [[[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]]], [[0.090031, 0.244728, 0.665241], [0.909443, 0.045279, 0.045279]]),
    }  # fmt: skip
    for name, (scores, right) in cases.items():
        try:
            got = attempt([torch.tensor(one) for one in scores])
        except NotImplementedError:
            got = ...
        except Exception as error:
            return Verdict("failed", f"combine, {name}, raised {type(error).__name__}: {error}")
        if got is ...:
            return Verdict("todo", "combine: not attempted yet")
        if got is None:
            return nothing_returned(attempt, "combine", f"combine, {name},")
        given, got = got, _as_tensor(got)
        if got is None or got.shape != torch.tensor(right).shape:
            return Verdict(
                "failed", f"combine, {name}: should be a tensor of shape {tuple(torch.tensor(right).shape)}: {given}"
            )
        if not torch.allclose(got.double(), torch.tensor(right).double(), atol=1e-5):
            return Verdict(
                "failed", f"combine, {name}: should be {_rounded(right)}, yours gave {_rounded(got.tolist())}"
            )
    return Verdict("passed", f"combine: {len(cases)} cases agree")


def _as_tensor(given: object) -> object:
    """Return a tensor of the numbers in a tensor, an array, a table or a list; None for anything else."""
    import torch

    if isinstance(given, torch.Tensor):
        return given
    given = getattr(given, "values", given)  # of a table of pandas
    try:
        return torch.tensor(given.tolist() if hasattr(given, "tolist") else given, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None


def _rounded(rows: list[list[float]]) -> list[list[float]]:
    return [[round(value, 6) for value in row] for row in rows]


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on the length and the topics of an explanation; a person grades what it says."""
    guessing = ("guess", "chance", "uniform", "equal", "ln\\b", "log\\b", "logarithm", "tenth", "10 ?%", "0\\.1\\b")
    guessing += ("random", "dice", "same for (?:every|all)")
    causes = ("rate", "step size", "gradient", "zero grad", "activation", "initial", "label", "vanish", "weights")
    ideas = {"guessing": guessing, "a cause": causes}
    return read_later(answer, ideas, "four to eight", at_least=40)
