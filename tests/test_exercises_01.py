"""Chapter 01's checks: content with the solution, patient with the stub, and not to be fooled by named mistakes."""

import math
import re

import pytest
import torch
from torch.nn import functional as F

from vgglib.exercises import chapter_01 as check


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
}
WRONG_GRADIENTS = {
    "mean in place of a sum": lambda X, G: G.T @ X / len(X),
    "transposed": lambda X, G: X.T @ G,
    "the wrong sign": lambda X, G: -G.T @ X,
    "sums before it multiplies": lambda X, G: torch.outer(G.sum(dim=0), X.sum(dim=0)),
    "the last picture only": lambda X, G: torch.outer(G[-1], X[-1]),
    "fails": lambda X, G: G @ X,
}


def test_places_passes():
    assert check.check_places(places).status == "passed"


def test_places_agrees_with_torch():
    for size, kernel, stride, padding, dilation in ((28, 5, 1, 2, 1), (19, 4, 3, 2, 3), (14, 2, 3, 1, 1)):
        found = F.conv1d(torch.zeros(1, 1, size), torch.zeros(1, 1, kernel), None, stride, padding, dilation)
        assert found.shape[2] == places(size, kernel, stride, padding, dilation)


def test_weight_gradient_passes():
    assert check.check_weight_gradient(lambda X, G: G.T @ X).status == "passed"
    assert check.check_weight_gradient(lambda X, G: torch.einsum("no,ni->oi", G, X)).status == "passed"


@pytest.mark.parametrize("checked", [check.check_places, check.check_weight_gradient])
@pytest.mark.parametrize("stub", [lambda *arguments: ..., lambda *arguments: None])
def test_functions_wait(checked, stub):
    assert checked(stub).status == "todo"


@pytest.mark.parametrize("mistake", WRONG_PLACES)
def test_places_rejects(mistake):
    verdict = check.check_places(WRONG_PLACES[mistake])
    assert verdict.status == "failed"
    assert "should be" in verdict.text


@pytest.mark.parametrize("mistake", WRONG_GRADIENTS)
def test_weight_gradient_rejects(mistake):
    verdict = check.check_weight_gradient(WRONG_GRADIENTS[mistake])
    assert verdict.status == "failed"
    assert "should be" in verdict.text


@pytest.mark.parametrize("divisor", [lambda X, G: len(X), lambda X, G: X.shape[0], lambda X, G: float(len(G))])
def test_dividing_twice_is_named_before_the_tensors(divisor):
    verdict = check.check_weight_gradient(lambda X, G: G.T @ X / divisor(X, G))
    assert verdict.status == "failed"
    assert "divides by the number of pictures, and the mean already stands in G" in verdict.text[:120]


@pytest.mark.parametrize("mistake", sorted(WRONG_GRADIENTS.keys() - {"mean in place of a sum"}))
def test_other_mistakes_are_not_taken_for_a_division(mistake):
    assert "divides by" not in check.check_weight_gradient(WRONG_GRADIENTS[mistake]).text


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
    assert check.check_kernel_gradient(list(kernel)).status == "passed"
    assert check.check_input_gradient(pixels).status == "passed"
    assert check.check_input_gradient(torch.tensor(pixels).view(1, 1, -1)).status == "passed"
    for checked in (check.check_kernel_gradient, check.check_input_gradient, check.check_explanation):
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
    (check.check_kernel_gradient, (1, 2), "not it"),
    (check.check_kernel_gradient, 98, "not it"),
    (check.check_input_gradient, tuple(TURNED), "flipped"),
    (check.check_input_gradient, tuple(G[i] * K[0] + G[i + 1] * K[1] for i in range(2)), "both ends"),
    (check.check_input_gradient, tuple(v / n for v, n in zip(SPREAD, COUNTS, strict=True)), "not averaged"),
    (check.check_input_gradient, (G[0] * 4, G[1] * 4, G[2] * 4, G[2] * 6), "two places"),
    (check.check_input_gradient, tuple(-value for value in SPREAD), "uphill"),
    (check.check_input_gradient, (4, 10, 10, 6), "counts as much"),
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


def test_explanation():
    good = "With the rate inside, the velocity still holds the old large steps; torch's rate is a tenth at once."
    assert check.check_explanation(good).status == "passed"
    for wrong in (
        "There is no difference at all, because both programs have the same momentum and the same gradient.",
        "The velocity still holds the old steps for a while, which makes the one program faster than the other.",
        "torch becomes slower at once, and the other program is faster, but I do not know the reason for it.",
        "no",
        0.9,
    ):
        assert check.check_explanation(wrong).status == "failed"


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
]
FALSE = [
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
]


@pytest.mark.parametrize("answer", RIGHT)
def test_right_explanations_pass(answer):
    assert check.check_explanation(answer).status == "passed"


@pytest.mark.parametrize("answer", FALSE)
def test_false_claims_are_refused(answer):
    verdict = check.check_explanation(answer)
    assert verdict.status == "failed"
    assert "does not speak of" not in verdict.text


@pytest.mark.parametrize("mistake", sorted(WRONG_PLACES.keys() - {"as large as the picture", "rounds to the nearest"}))
def test_known_mistakes_in_places_are_named(mistake):
    assert re.search(r"yours gave [\d.]+: [a-z]", check.check_places(WRONG_PLACES[mistake]).text)


def test_a_gradient_on_its_side_is_named():
    assert "on its side" in check.check_weight_gradient(lambda X, G: X.T @ G).text[:120]
    assert "uphill" in check.check_weight_gradient(lambda X, G: -G.T @ X).text[:120]
    assert "G.T @ X" not in check.check_weight_gradient(lambda X, G: G.T @ X / len(X)).text


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
