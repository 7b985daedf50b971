"""Chapter 01's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import math
import re
import symtable
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from vgglib.exercises import chapter_01 as check
from vgglib.foundations import descend
from vgglib.teaching import Verdict


def places(size, kernel, stride, padding, dilation):
    """The solution."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


WRONG_PLACES = {
    "forgot padding": lambda s, k, t, p, d: places(s, k, t, 0, d),
    "padding at one end": lambda s, k, t, p, d: (s + p - d * (k - 1) - 1) // t + 1,
    "forgot the floor": lambda s, k, t, p, d: (s + 2 * p - d * (k - 1) - 1) / t + 1,
    "rounds up": lambda s, k, t, p, d: math.ceil((s + 2 * p - d * (k - 1) - 1) / t) + 1,
    "rounds to the nearest": lambda s, k, t, p, d: round((s + 2 * p - d * (k - 1) - 1) / t) + 1,
    "forgot the first place": lambda s, k, t, p, d: places(s, k, t, p, d) - 1,
    "forgot the stride": lambda s, k, t, p, d: places(s, k, 1, p, d),
    "forgot the dilation": lambda s, k, t, p, d: places(s, k, t, p, 1),
    "dilates the kernel, not its steps": lambda s, k, t, p, d: (s + 2 * p - d * k) // t + 1,
    "adds 1 before dividing": lambda s, k, t, p, d: (s + 2 * p - d * (k - 1)) // t,
    "as large as the picture": lambda s, k, t, p, d: s // t,
    "padding after the division": lambda s, k, t, p, d: (s - d * (k - 1) - 1) // t + 1 + 2 * p,
    "missing brackets": lambda s, k, t, p, d: s + 2 * p - d * (k - 1) - 1 // t + 1,
    "range without its end": lambda s, k, t, p, d: len(range(0, s + 2 * p - d * (k - 1) - 1, t)),
    "span of one more": lambda s, k, t, p, d: (s + 2 * p - (d * k + 1)) // t + 1,
}


def test_places_passes():
    assert check.check_places(places).status == "passed"


def test_places_agrees_with_torch():
    for size, kernel, stride, padding, dilation in ((28, 5, 1, 2, 1), (19, 4, 3, 2, 3), (14, 2, 3, 1, 1)):
        found = F.conv1d(torch.zeros(1, 1, size), torch.zeros(1, 1, kernel), None, stride, padding, dilation)
        assert found.shape[2] == places(size, kernel, stride, padding, dilation)


@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(stub):
    assert check.check_places(stub).status == "todo"


@pytest.mark.parametrize(
    ("attempt", "why"),
    [
        (lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 2 * p // s + 1, "divided together, once"),
        (lambda n, k, s, p, d: round((n + 2 * p - d * (k - 1) - 1) / s + 1), "not to the nearest"),
        (lambda n, k, s, p, d: (n + 2 * p - (k + d - 1)) // s + 1, "lie d pixels apart"),
        (lambda n, k, s, p, d: (n + 2 * p - (d + 1) * (k - 1) - 1) // s + 1, "a dilation of 1 leaves no gap"),
        (lambda n, k, s, p, d: (n + 2 * p - d * (k - 1)) // s + 1, "one pixel more than its"),
        (WRONG_PLACES["missing brackets"], "yours gave 215: brackets are missing"),
        (WRONG_PLACES["range without its end"], "yours gave 23: no step at all is a place, too"),
        (WRONG_PLACES["span of one more"], "not d * k + 1"),
        (WRONG_PLACES["rounds to the nearest"], "not to the nearest whole"),
    ],
)
def test_places_says_why(attempt, why):
    verdict = check.check_places(attempt)
    assert verdict.status == "failed"
    assert why in verdict.text


def test_one_matrix_is_not_two():
    assert "yours is one matrix" in check.check_batch(torch.ones(2, 3)).text


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1, "something is too small"),
        (2, "a batch of two"),
        (1 / 128, "more than 1"),
        (128**2, "what comes on top"),
        ("128", "without quotation marks"),
        (64, "is not it"),
    ],
)
def test_a_wrong_factor_is_told_why(factor, said):
    verdict = check.check_factor(factor)
    assert verdict.status == "failed"
    assert said in verdict.text


def test_the_program_s_own_mistake_is_named_once_its_factor_is_found():
    for right in (128, 128.0, torch.tensor(128), np.int64(128)):
        assert check.check_factor(right).status == "passed"
    assert check.check_factor(...).status == "todo"
    one_picture = ([[2, 3]], [[5, 7, 1]])
    assert check.OWN_MISTAKE in check.check_batch(one_picture, 128).text
    for factor in (..., 2):
        verdict = check.check_batch(one_picture, factor)
        assert verdict.status == "failed"
        assert "divides" not in verdict.text
        assert "find the factor first" in verdict.text
    assert check.check_batch((rows(2, 3), rows(2, 4, start=100))).status == "passed"  # the factor has its own check


@pytest.mark.parametrize("X", [[[1, 1, 1], [1, 1, 1]], [[1, 0, 0], [0, 1, 0]]])
def test_pictures_of_ones_hide_mistakes(X):
    assert "still passes" in check.check_batch((X, [[5, -7, 1, 2], [2, 8, -6, 3]])).text


@pytest.mark.parametrize("mistake", WRONG_PLACES)
def test_places_rejects(mistake):
    verdict = check.check_places(WRONG_PLACES[mistake])
    assert verdict.status == "failed"
    assert "should be" in verdict.text


def rows(*shape, start=1):
    count = torch.Size(shape).numel()
    return torch.sin((start + torch.arange(count, dtype=torch.float64)) ** 2).reshape(shape)


@pytest.mark.parametrize(
    "batch",
    [
        (rows(2, 3), rows(2, 4, start=100)),  # the solution
        ([[2, 3, 5], [7, -4, 6]], [[8, -9], [1, 2]]),
        (np.array([[2.0, 3.0], [5.0, 7.0]]), np.array([[-4.0, 6.0], [8.0, 9.0]])),
        (rows(5, 2).requires_grad_(), rows(5, 2, start=50)),
        (rows(2, 3), 1e-9 * rows(2, 4, start=100)),
    ],
)
def test_numbers_without_a_pattern_show_every_mistake(batch):
    assert check.check_batch(batch).status == "passed"


@pytest.mark.parametrize(
    ("batch", "mistake"),
    [
        (([[2, 3]], [[5, 7, 1]]), "divides"),  # what the exercise tests with
        ((rows(1, 3), rows(1, 4, start=100)), "divides"),
        ((rows(2, 3), torch.zeros(2, 4)), "divides"),
        (([[2, 3], [0, 0]], [[5, -7], [1, 2]]), "first picture"),
        (([[2, 3], [0, 0]], [[5, -7], [0, 0]]), "first picture"),
        (([[1, 0], [0, 1], [-1, -1]], [[1, -2], [1, -2], [1, -2]]), "adds up"),
        (([[2], [3]], [[5, -7], [1, 2]]), "on its side"),
        (([[2, 3], [5, 7]], [[2, 3], [5, 7]]), "on its side"),
        ((torch.ones(4, 3), torch.ones(4, 2)), "on its side"),
        (([[2, 3], [5, 7], [1, 4]], [[5, 7], [1, 2], [3, 3]]), "negative"),
        (([[2, 3], [2, 3]], [[5, 7, -1], [5, 7, -1]]), "gradients of another"),
        (([[2, 3], [2, 3]], [[5, 7, 1], [-1, 2, 3]]), "gradients of another"),
        (([[0, 0], [2, 3]], [[5, 7, 1], [-1, 2, -3]]), "last picture"),
        (([[1, 0], [2, 0]], [[5, 7, 1], [-1, 2, -3]]), "leaves out an input"),
        (([[0, 1], [0, 2]], [[5, 7, 1], [-1, 2, -3]]), "leaves out an input"),
        (([[2, 2], [3, 3]], [[5, 7, -1], [1, -2, 3]]), "its neighbour"),
    ],
)
def test_numbers_that_hide_a_mistake_are_told_which(batch, mistake):
    verdict = check.check_batch(batch, 128)
    X, G = (torch.as_tensor(one, dtype=torch.float64) for one in batch)
    hidden = [name for name, wrong in check.WRONG_GRADIENTS.items() if torch.allclose(wrong(X, G), G.T @ X)]
    assert verdict.status == "failed"
    assert any(mistake in name for name in hidden)
    assert hidden[0] in verdict.text


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ((rows(2, 3), rows(2, 4) + 1j), r"shapes \[\(2, 3\)\]"),
        ((rows(2, 3),), r"shapes \[\(2, 3\)\]"),
        ((rows(2, 3), rows(2)), r"\(2,\)"),
        ((rows(2, 3), rows(3, 4)), "X has 2, G has 3"),
        ((rows(2, 0), rows(2, 4)), r"\(2, 0\)"),
        ((rows(2, 3), [[math.nan] * 4] * 2), "nan"),
        ("two matrices", "read as numbers"),
        (([[1, 2], [3]], [[1], [2]]), "read as numbers"),
        (None, "read as numbers"),
        (7, "read as numbers"),
    ],
)
def test_what_is_no_batch_is_told_why(batch, said):
    verdict = check.check_batch(batch)
    assert verdict.status == "failed"
    assert re.search(said, verdict.text)


def test_the_batch_waits():
    assert check.check_batch(...).status == "todo"


def test_each_wrong_gradient_is_wrong_and_has_the_right_shape():
    X, G = rows(3, 2), rows(3, 4, start=100)
    for wrong in check.WRONG_GRADIENTS.values():
        assert wrong(X, G).shape == (4, 2)
        assert not torch.allclose(wrong(X, G), G.T @ X)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((98,), "two numbers are asked, one for each weight, yours has 1"),
        (98, "two numbers are asked, one for each weight, yours has 1"),
        ((98, 0, 146, 0), "yours has 4; a decimal takes a point, not a comma"),
        ([98, 146, 0], "yours has 3"),
        (torch.tensor([98.0]), "yours has 1"),
    ],
)
def test_another_number_of_weights_is_named(answer, said):
    verdict = check.check_kernel_gradient(answer)
    assert verdict.status == "failed"
    assert said in verdict.text


def test_another_number_of_pixels_is_named():
    assert "four numbers are asked, one for each pixel, yours has 3" in check.check_input_gradient((32, 84, 98)).text
    assert "leaves out the pixels at both ends" in check.check_input_gradient((86, 102)).text
    assert "leaves out the pixels at both ends" in check.check_input_gradient([86, 102]).text
    assert "is text: write the numbers without quotation marks" in check.check_kernel_gradient("98, 146").text
    for wrong in ((32, 84, 98, 67), (32, [84], 98, 66), True, "32", None):
        assert "numbers are asked" not in check.check_input_gradient(wrong).text


def by_autograd():
    """What torch gives for the exercise computed by hand."""
    x, k = (torch.tensor([[v]], dtype=torch.float64, requires_grad=True) for v in ([2.0, 3, 5, 7], [4.0, 6]))
    F.conv1d(x, k).backward(torch.tensor([[[8.0, 9, 11]]], dtype=torch.float64))
    return tuple(k.grad.flatten().tolist()), tuple(x.grad.flatten().tolist())


def test_gradients_by_hand_pass_and_wait():
    kernel, pixels = by_autograd()
    assert check.check_kernel_gradient(kernel).status == "passed"
    for same in (list(kernel), [list(kernel)], ((98,), (146,)), torch.tensor([kernel])):
        assert check.check_kernel_gradient(same).status == "passed"
    assert check.check_input_gradient(pixels).status == "passed"
    assert check.check_input_gradient(torch.tensor(pixels).view(1, 1, -1)).status == "passed"
    for checked in (check.check_kernel_gradient, check.check_input_gradient):
        assert checked(...).status == "todo"


X, K, G = [2, 3, 5, 7], [4, 6], [8, 9, 11]
SUMS = [sum(G[i] * X[i + u] for i in range(3)) for u in range(2)]
SPREAD = [sum(G[i] * K[a - i] for i in range(3) if 0 <= a - i < 2) for a in range(4)]
TURNED = [sum(G[i] * K[1 - a + i] for i in range(3) if 0 <= a - i < 2) for a in range(4)]
COUNTS = [1, 2, 2, 1]
MISTAKES = [
    (check.check_kernel_gradient, tuple(SUMS[::-1]), "flipped"),
    (check.check_kernel_gradient, tuple(value / 3 for value in SUMS), "not averaged"),
    (check.check_kernel_gradient, (G[0] * X[0], G[0] * X[1]), "first place alone"),
    (check.check_kernel_gradient, tuple(-value for value in SUMS), "uphill"),
    (check.check_kernel_gradient, (sum(X[:3]), sum(X[1:])), "gradient of the output"),
    (check.check_kernel_gradient, (sum(G) * K[0], sum(G) * K[1]), "times the kernel"),
    (check.check_kernel_gradient, tuple(sum(G[2 - i] * X[i + u] for i in range(3)) for u in range(2)), "turned round"),
    (check.check_kernel_gradient, (1, 2), "not it"),
    (check.check_kernel_gradient, 98, "not it"),
    (check.check_input_gradient, tuple(TURNED), "changed places"),
    (check.check_input_gradient, tuple(G[i] * K[0] + G[i + 1] * K[1] for i in range(2)), "both ends"),
    (check.check_input_gradient, tuple(v / n for v, n in zip(SPREAD, COUNTS, strict=True)), "not averaged"),
    (check.check_input_gradient, (G[0] * 4, G[1] * 4, G[2] * 4, G[2] * 6), "two places"),
    (check.check_input_gradient, tuple(-value for value in SPREAD), "uphill"),
    (check.check_input_gradient, (4, 10, 10, 6), "counts as much"),
    (check.check_input_gradient, (G[0] * 6, G[1] * 6, G[2] * 6, 0), "each with its own weight"),
    (check.check_input_gradient, (44, 102, 86, 48), "outputs' gradients are turned round"),
    (check.check_input_gradient, (0, 0, 0, 0), "not it"),
]


@pytest.mark.parametrize(("checked", "wrong", "why"), MISTAKES)
def test_gradients_by_hand_reject_with_the_reason(checked, wrong, why):
    verdict = checked(wrong)
    assert verdict.status == "failed"
    assert why in verdict.text


def test_no_mistake_is_the_solution():
    kernel, pixels = by_autograd()
    assert list(kernel) == SUMS
    assert list(pixels) == SPREAD


SHARES = (0.1, 0.55)  # (outside, inside), as descend gives them


def test_the_shares_are_those_of_descend():
    for inside, share in zip((False, True), SHARES, strict=True):
        path = descend(torch.ones_like, torch.zeros(1).double(), [0.1] * 80 + [0.01], 0.5, rate_inside=inside)
        assert (path[81] - path[80]) / (path[80] - path[79]) == pytest.approx(share)


@pytest.mark.parametrize("right", [SHARES, list(SHARES), torch.tensor(SHARES).double(), (Fraction(1, 10), 0.55)])
def test_right_shares_ask_for_the_words(right):
    assert check.check_drop(right, ...) == Verdict("todo", "your numbers are right; now say why")
    assert check.check_drop(right, RIGHT[0]).status == "passed"


@pytest.mark.parametrize("shares", [..., (..., ...), (0.1, ...)])
def test_the_drop_waits_for_its_numbers(shares):
    for explanation in (..., RIGHT[0]):
        assert check.check_drop(shares, explanation).status == "todo"


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.55, 0.1), "changed places"),
        ((0.1, 0.91), "the momentum printed"),
        ((0.1, 0.9), "the momentum printed"),
        ((0.1, 0.5), "inside: 0.5 is not it: that is what the velocity keeps"),
        ((0.1, 0.6), "only half of a step"),
        ((0.1, 0.05), "keeps a part of itself"),
        ((0.1, 0.1), "does the new rate not touch"),
        ((0.1, 1), "forgets half of itself"),
        ((0.1, 0.7), "inside: 0.7 is not it"),
        ((0.5, 0.55), "outside: 0.5 is not it: the velocity forgets half"),
        ((0.05, 0.55), "outside: 0.05 is not it: the velocity forgets half"),
        ((1, 1), "what does it multiply in the very next step"),
        ((0.55, 0.55), "which part of this velocity"),
        ((0.91, 0.1), "the momentum is 0.5 here"),
        ((10, 55), "a step just as long is 1"),
        ((0.1, 55), "a step just as long is 1"),
        (0.1, "yours has 1"),
        ((0.1, 0.55, 0.1), "yours has 3"),
        ("0.1, 0.55", "without quotation marks"),
        ((0.1, "0.55"), "without quotation marks"),
        (None, "is not it"),
    ],
)
def test_wrong_shares_are_told_why_whatever_is_said(shares, said):
    for explanation in (..., RIGHT[0]):
        verdict = check.check_drop(shares, explanation)
        assert verdict.status == "failed"
        assert said in verdict.text


@pytest.mark.parametrize(
    "wrong",
    [
        "There is no difference at all, because both programs have the same momentum and the same gradient.",
        "The velocity still holds the old steps for a while, which makes the one program faster than the other.",
        "torch becomes slower at once, and the other program is faster, but I do not know the reason for it.",
        "no",
        0.9,
    ],
)
def test_explanations_that_lack_a_point_fail(wrong):
    assert check.check_drop(SHARES, wrong).status == "failed"


def test_half_an_explanation_is_told_which_program_it_leaves_out():
    answer = (
        "Inside the old rate is in the velocity already, so it goes down slowly; outside the rate is applied after."
    )
    verdict = check.check_drop(SHARES, answer)
    assert verdict.status == "failed"
    assert "does not speak of how the program with the rate outside reacts yet" in verdict.text
    whole = answer.replace("applied after.", "applied after, and shortens the next step at once.")
    assert check.check_drop(SHARES, whole).status == "passed"


RIGHT = [
    "The inside program overshoots for some time: its velocity was built from steps with the higher rate, and only 10% "
    "of it fades per step. The outside program immediately makes steps that are ten times smaller.",
    "Inside: the velocity still holds old steps, made with the high rate, and forgets a tenth of it at a time, so the "
    "program slows down over ten or twenty steps. Outside: the velocity holds plain gradients, and the very next step "
    "is about a tenth as long.",
    "With the rate inside the next steps are 0.9 of the last step, then 0.81 and so on. Outside they are a tenth.",
    "The one inside does not slow down at once, since old steps live on in its velocity; outside the factor is applied "
    "after the velocity, so the step shrinks tenfold immediately.",
    "Outside: the buffer still holds old sums, but the whole is multiplied by the small rate, so the very next step is "
    "a tenth.",
    "In Caffe the velocity still holds old steps and fades slowly, while torch's next step is a tenth at once.",
    "Inside: each gradient is multiplied by the rate when it enters v, so v is a sum of large steps and the drop only "
    "touches new entries. Outside: the rate multiplies all of v, so the drop acts on everything.",
    "Inside, nothing that is in the velocity gets smaller when the rate drops; it loses ten percent per step. Outside, "
    "the whole velocity is multiplied by a rate that is ten times smaller.",
    "Outside: w moves by rate times v, and v is made of raw gradients, thus one division shrinks the move tenfold. "
    "Inside: v is made of rate times gradient and has inertia.",
    "Inside, the velocity is already in units of steps and so has inertia; the small rate affects only what is added. "
    "Outside the rate scales the whole velocity.",
    "Inside only a tenth of the velocity is forgotten at each step; outside the step is ten times smaller at once.",
]
RIGHT += [
    "The momentum buffer of Caffe contains lr*g terms of before the drop, and they dominate the following updates "
    "for a while; PyTorch's buffer contains g terms, all of which get multiplied by the lowered lr.",
    "Inside, v is measured in weight units, so it's unaffected by the change and only 10 % of it is lost per step. "
    "Outside, v is measured in gradient units and the rate multiplies all of it.",
    "Outside: w moves by eta*v and eta has just become ten times smaller although v has hardly changed. Inside: w "
    "moves by v and v has hardly changed.",
    "Outside nothing of the old rate survives, as it multiplies the velocity anew. Inside, it survives in the velocity "
    "and dies out at 0.9 per step.",
]
RIGHT += [
    "With the rate inside, the velocity still holds the old large steps; torch's rate is a tenth at once.",
    "Neither program changes its velocity at that moment. Outside, the new rate multiplies all of it, so the next step "
    "is a tenth; inside, the velocity already holds old steps made with the old rate, so it only slows gradually.",
    "Both steps become smaller, but gradually only with the rate inside, since the velocity remembers old large steps; "
    "outside the velocity gets the new rate as a whole.",
    "In torch the velocity keeps its old value and the step is new rate times that value: a tenth. In Caffe the "
    "velocity holds steps made with the old rate and forgets them gradually.",
    "Outside the velocity keeps its old size, so the step shrinks by ten with the rate; inside it holds old steps.",
    "Outside, the rate multiplies all of the velocity: dividing it by ten divides the step by ten. Inside, a gradient "
    "got its rate when it came in, and dividing the rate by ten only changes the next ones.",
    "Inside: v = 0.9 v + rate * g, so changing the rate has no effect on the old v. Outside: w = w - rate * v, so "
    "everything is scaled by the new rate.",
    "Outside the step is a tenth at once, because the new rate multiplies the velocity. Inside it is not, because the "
    "old steps in the velocity are still as long as they were.",
    "Both velocities stay as they are, but inside it holds steps with the old rate and outside it holds gradients, "
    "which get the new rate at once.",
]
FALSE = [
    "The rate inside forgets all old steps and the next step is a tenth, whereas the rate outside is 0.9.",
    "With the rate inside, the velocity does not hold old steps; with the rate outside, the next step is not a tenth.",
    "Outside: the velocity still holds old steps made with the high rate, so it slows down gradually. Inside: the next "
    "step is at once a tenth as long.",
    "Inside, the next step is immediately a tenth of the one before. The other program remembers its past for longer.",
    "Both slow down gradually, because the velocity remembers the old steps; the next step is 0.9 of the last.",
    "It is not true that the velocity inside still holds old steps, the next step is a tenth.",
    "In torch the velocity still holds old large steps and fades, so it slows gradually; in Caffe the next step is at "
    "once a tenth as long.",
    "Outside the velocity still holds old steps so it slows gradually, while inside the next step is at once a tenth "
    "as long.",
    "With the rate outside, large steps carry on for a while because the velocity remembers them. With the rate "
    "inside, the next step is a tenth.",
    "The two react the same: each velocity still holds old steps, so nothing happens at once and both go on.",
    "Neither of the two changes at once, because the velocity of each remembers its old steps for a long time.",
    "With the rate inside, the next step is a tenth of the old one. With the rate outside, the velocity keeps its old "
    "size and decays by 0.9.",
    "Outside: the velocity remembers the old rate, so its next steps shrink by 10 % each. Inside: the next step is ten "
    "times smaller.",
    "The rate outside keeps the old velocity, so that program goes on with large steps, while the inside one drops to "
    "a tenth with the next step.",
    "Torch has the larger next step because its velocity remembers old gradients; Caffe's step is one tenth.",
    "The outside program forgets its velocity at the next step, it resets momentum to zero, and inside keeps it.",
    "The velocity inside is multiplied by the new rate so it drops at once to a tenth, outside the velocity keeps its "
    "old rate and gradually decays.",
    "The rate-inside rule shrinks to 0.10 because the rate is part of velocity; the rate-outside rule shrinks by 0.9 "
    "because velocity is unaffected by the rate and remembers.",
    "Inside, the velocity still holds old steps made with the **low** rate, so it slows gradually. Outside it holds "
    "plain gradients and the step is a tenth at once.",
    "The inside program has a bigger momentum, so it forgets old steps later. The outside program has no momentum and "
    "takes a tenth at once.",
    "The outside program takes a tenth because its momentum is divided by 10 too; the other still holds old steps.",
    "The momentum is smaller than before so the velocity forgets the old steps more quickly; the next step is shorter.",
    "Both velocities hold plain gradients; the inside one slows gradually and the next outside is a tenth.",
    "I have no idea what the velocity remembers about the next step inside or outside the old rate.",
    "Velocity momentum old next gradient rate learning step inside outside tenth first second third.",
]


def test_what_the_table_shows_is_no_reason():
    answer = "The one with the rate inside slows down gradually and the one outside takes a tenth at once."
    assert check.check_drop(SHARES, answer).status == "failed"


@pytest.mark.parametrize("answer", RIGHT)
def test_right_explanations_pass(answer):
    assert check.check_drop(SHARES, answer).status == "passed"


@pytest.mark.parametrize("answer", FALSE)
def test_false_claims_are_refused(answer):
    verdict = check.check_drop(SHARES, answer)
    assert verdict.status == "failed"
    assert "does not speak of" not in verdict.text


@pytest.mark.parametrize("mistake", sorted(WRONG_PLACES.keys() - {"as large as the picture"}))
def test_known_mistakes_in_places_are_named(mistake):
    assert re.search(r"yours gave [\d.]+: [a-z]", check.check_places(WRONG_PLACES[mistake]).text)


@pytest.mark.parametrize(
    ("checked", "answer", "said"),
    [
        (check.check_kernel_gradient, (98, 147), "look at number 2"),
        (check.check_input_gradient, (32, 84, 99, 66), "look at number 3"),
        (check.check_input_gradient, (66, 98, 84, 32), "turned round"),
        (check.check_input_gradient, (32, 36, 44, 0), "not to the first alone"),
        (check.check_input_gradient, (0, 48, 54, 66), "not to the second alone"),
    ],
)
def test_what_is_wrong_in_gradients_by_hand_is_shown(checked, answer, said):
    assert said in checked(answer).text


def reads_and_binds(source):
    """Return the names that a cell takes from other cells, and those that it leaves behind."""
    tables = [symtable.symtable(source, "cell", "exec")]
    binds = {one.get_name() for one in tables[0].get_symbols() if one.is_assigned() or one.is_imported()}
    reads = set()
    for table in tables:  # grows as it is read
        tables += table.get_children()
        outer = table is tables[0]
        reads |= {one.get_name() for one in table.get_symbols() if one.is_referenced() and (outer or one.is_global())}
    return reads - binds, binds


def test_reads_and_binds():
    reads, binds = reads_and_binds(
        "import math\na = b\nc = [d * K for d in e]\ndef f(x):\n    y = x + K\n    return y, a"
    )
    assert reads == {"b", "e", "K"}
    assert binds >= {"math", "a", "c", "f"}


def test_an_earlier_cell_can_be_run_again():
    """A name that a cell takes from another stands in only one: a rerun of some other cell cannot change it."""
    path = Path(__file__).resolve().parent.parent / "notebooks" / "01_foundations.ipynb"
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    holders = defaultdict(set)
    for number, source in enumerate(cells):
        for name in reads_and_binds(source)[1]:
            holders[name].add(number)
    for source in cells:
        several = {name for name in reads_and_binds(source)[0] - {"guess"} if len(holders[name]) > 1}
        assert not several, f"{several} stand in several cells, and this one takes them from outside:\n{source}"
