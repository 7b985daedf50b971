"""Checks of the exercises in notebooks/01_foundations.ipynb."""

import re
from collections.abc import Callable

import torch

from vgglib.teaching import Verdict, check_answer, check_function, check_words


def check_places(attempt: Callable) -> Verdict:
    """Return the verdict on the places of a kernel, given size, kernel, stride, padding and dilation."""
    cases = {
        (28, 5, 1, 0, 1): 24,
        (28, 5, 1, 2, 1): 28,
        (224, 11, 4, 0, 1): 54,
        (224, 11, 4, 2, 1): 55,
        (13, 3, 2, 0, 1): 6,
        (14, 3, 2, 0, 1): 6,
        (14, 2, 3, 1, 1): 5,
        (19, 4, 3, 2, 3): 5,
        (30, 3, 1, 0, 4): 22,
        (7, 7, 5, 0, 1): 1,
    }
    mistakes = {
        "p pixels are added at each end": lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1,
        "the padding is missing": lambda n, k, s, p, d: (n - d * (k - 1) - 1) // s + 1,
        "the room to move is divided by the stride, rounded down": lambda n, k, s, p, d: (
            (n + 2 * p - d * (k - 1) - 1) / s + 1
        ),
        "a step that does not fit is not made: round down": lambda n, k, s, p, d: (
            -((d * (k - 1) + 1 - n - 2 * p) // s) + 1
        ),
        "the first place needs no step: one more": lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s,
        "the stride is missing": lambda n, k, s, p, d: n + 2 * p - d * (k - 1),
        "the dilation is missing": lambda n, k, s, p, d: (n + 2 * p - k) // s + 1,
        "a kernel of k spans d * (k - 1) + 1 pixels, not d * k": lambda n, k, s, p, d: (n + 2 * p - d * k) // s + 1,
        "the 1 is added after the division": lambda n, k, s, p, d: (n + 2 * p - d * (k - 1)) // s,
        "the padding belongs to the pixels, before the division": lambda n, k, s, p, d: (
            (n - d * (k - 1) - 1) // s + 1 + 2 * p
        ),
    }
    return check_function(attempt, cases, getattr(attempt, "__name__", "places"), mistakes)


def check_kernel_gradient(answer: object) -> Verdict:
    """Return the verdict on the gradient of kernel (4, 6) over (2, 3, 5, 7), for the output gradient (8, 9, 11)."""
    mistakes = {
        (146, 98): "the order is flipped: the first weight meets 2, 3 and 5",
        (98 / 3, 146 / 3): "gradients of a weight are summed over its places, not averaged",
        (16, 24): "that is the first place alone; the same weight is used at every place",
        (-98, -146): "the gradient points uphill; the minus belongs to the update",
        (10, 15): "each pixel counts as much as the gradient of the output that it went into",
        (112, 168): "that is the output's gradient times the kernel; a weight's factor is the pixel it met",
    }
    return _numbers(answer, (98, 146), mistakes, "two numbers are asked, one for each weight")


def check_input_gradient(answer: object) -> Verdict:
    """Return the verdict on the gradient of the input (2, 3, 5, 7) in the same calculation."""
    mistakes = {
        (48, 86, 102, 44): "the kernel is flipped: the first pixel meets only the first weight, 4",
        (86, 102): "that is the kernel slid over the gradient: it leaves out the pixels at both ends",
        (32, 36, 44, 66): "a pixel in the middle lies under the kernel at two places, and its gradients add up",
        (32, 42, 49, 66): "gradients of a pixel are summed over its places, not averaged",
        (-32, -84, -98, -66): "the gradient points uphill; the minus belongs to the update",
        (4, 10, 10, 6): "each weight counts as much as the gradient of the output that it helped",
        (32, 36, 44, 0): "each output hands its gradient to both pixels under the kernel, not to the first alone",
        (0, 48, 54, 66): "each output hands its gradient to both pixels under the kernel, not to the second alone",
        (66, 98, 84, 32): "the order is turned round",
    }
    return _numbers(answer, (32, 84, 98, 66), mistakes, "four numbers are asked, one for each pixel")


def check_weight_gradient(attempt: Callable) -> Verdict:
    """Return the verdict on the gradient of a fully connected layer's weights, given input (N, in) and G (N, out)."""
    given = {
        (((2.0, 3.0, 5.0),), ((7.0, 11.0),)): [[14.0, 21.0, 35.0], [22.0, 33.0, 55.0]],
        (((2.0, 3.0), (5.0, 7.0), (-4.0, 6.0)), ((8.0, -9.0), (0.5, 1.5), (2.5, 3.0))): [[8.5, 42.5], [-22.5, 1.5]],
        (((2.0,), (3.0,)), ((4.0, 5.0, 6.0), (-7.0, 8.0, 9.0))): [[-13.0], [34.0], [39.0]],
    }
    name = getattr(attempt, "__name__", "weight_gradient")
    cases = {(torch.tensor(X), torch.tensor(G)): expected for (X, G), expected in given.items()}
    verdict = check_function(lambda X, G: attempt(X.clone(), G.clone()), cases, name)
    known = {
        f"{name} divides by the number of pictures, and the mean already stands in G": lambda X, G: G.T @ X / len(X),
        f"{name} gives the gradient on its side: a row for each output, a column for each input": lambda X, G: X.T @ G,
        f"{name} has the wrong sign: the gradient points uphill": lambda X, G: -G.T @ X,
    }
    for why, wrong in known.items() if verdict.status == "failed" else ():
        if _is(attempt, wrong, cases):
            return Verdict("failed", f"{why}. {verdict.text}")
    return verdict


def _is(attempt: Callable, wrong: Callable, cases: dict) -> bool:
    """Return whether an attempt gives what a wrong answer gives, in all cases."""
    try:
        return all(torch.allclose(attempt(X.clone(), G.clone()), wrong(X, G)) for X, G in cases)
    except Exception:  # what it gives is no gradient at all
        return False


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on what differs after the rate is divided by 10, with the rate inside and outside."""
    ideas = {
        "where the rate stands": ("inside|outside|velocit|buffer|before|multipl|factor|scale",),
        "what the velocity remembers": (
            "old|remember|memor|still|keep|kept|past|earlier|previous|carr|decay|forget|histor|accumulat",
            "full of|large rate|large step|high(er)? rate|slow|gradual|built|fade|0[.]9|90 ?%",
        ),
        "how the other one reacts": (
            r"0[.]1|tenfold|ten fold|10 ?x|1/10|10 ?%|right now",
            "at once|immediate|instant|same step|right away|next|first step|tenth|direct",
            "factor (of )?(10|ten)|(10|ten) times|sudden|abrupt|straight|without delay|0 1",
        ),
    }
    if isinstance(answer, str):  # each side by itself
        clauses = r",? (while|whereas)\b(?! the)(?! it)|, but (?=(inside|outside|in )\b)"
        answer = re.sub(clauses, ";", answer, flags=re.IGNORECASE)
    return check_words(answer, ideas, at_least=12, against=_FALSE)


_ALIKE = "the two do not react alike: in one the velocity holds steps, in the other gradients"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"\b(outside|(py)?torch)\b.*\b(still|old steps?|slow(s|ly)? (down|over)|gradual\w*|fades?|carry on)\b",
        r"\b(inside|caffe)\b|\b(not|no|never|does not|nothing)\b|n['’]t\b|\b(gradients?|multipl\w*|scale[ds]?)\b",
        "outside, the velocity holds plain gradients and the rate comes after it: the next step is a tenth as long",
    ),
    (
        r"\b(inside|caffe)\b.*\b(at once|immediate\w*|instant\w*|right away)\b",
        r"\b(outside|(py)?torch)\b|\b(not|no|never|nothing|only)\b|n['’]t\b|\b(still|old|gradual\w*|slow\w*)\b",
        "inside, the velocity still holds old steps, made with the high rate: that program slows down over many steps",
    ),
    (
        r"\bboth\b.*\b(slow\w*|gradual\w*|at once|immediate\w*|the same)\b",
        r"\b(not|no|never|until|before|differ\w*|as long as|while)\b|n['’]t\b",
        _ALIKE,
    ),
    (
        r"\b(two|they|programs) (react|behave|change|slow)\w* (the same|alike)\b|\bneither\b",
        r"\b(not|no|never|until|before|as long as|while)\b|n['’]t\b",
        _ALIKE,
    ),
    (r"\b(it is|it's) (not true|false|wrong) that\b", r"$^", "say what happens, not only what does not"),
)


def _numbers(answer: object, actual: tuple, mistakes: dict, asked: str) -> Verdict:
    """Return the verdict on several numbers; for another count of them, say how many are asked."""
    given = _plain(answer)
    verdict = check_answer(given, actual, mistakes)
    single = isinstance(given, int | float) and not isinstance(given, bool)
    if not verdict.text.endswith("is not it") or not (single or isinstance(given, tuple)):
        return verdict
    count = 1 if single else len(given)
    if count == len(actual):
        place = next(n for n, pair in enumerate(zip(given, actual, strict=True), start=1) if pair[0] != pair[1])
        return Verdict("failed", f"{verdict.text}: look at number {place}; in which outputs does it occur, with what?")
    comma = "; a decimal takes a point, not a comma" if count > len(actual) else ""
    return Verdict("failed", f"{verdict.text}: {asked}, yours has {count}{comma}")


def _plain(answer: object) -> object:
    """Return a list, or a tensor or array of any shape, as the tuple that mistakes are kept as."""
    if hasattr(answer, "tolist") and hasattr(answer, "reshape"):
        try:
            return tuple(answer.reshape(-1).tolist())
        except Exception:  # a tensor without numbers
            return answer
    return tuple(answer) if isinstance(answer, list) else answer
