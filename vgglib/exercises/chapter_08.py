"""Checks of the exercises in notebooks/08_what_it_costs.ipynb."""

import math
from collections.abc import Callable
from numbers import Real

import torch

from vgglib.teaching import Verdict, as_number, check_answer, check_function, check_words


def check_step_memory(answer: object) -> Verdict:
    """Return the verdict on the MB of a step of training: 15.2 million parameters, batch 32, 73 MB kept a picture."""
    mistakes = {
        2382: "a float32 number takes four bytes",
        2397: "training also holds a gradient and a velocity for each parameter",
        2458: "of parameter, gradient and velocity one is missing",
        2579: "that is Adam, which keeps two averages for each parameter",
        255: "activations are kept for each of the 32 pictures",
        8173: "parameters, gradients and velocities are held once, not for each picture",
        4854: "gradients of activations come and go; what is kept is not doubled",
        2336: "those are the activations alone",
        182: "those are the parameters, gradients and velocities alone",
    }
    answer = as_number(answer)
    if not isinstance(answer, Real) or isinstance(answer, bool):
        return check_answer(answer, 2518, mistakes)
    whole = round(answer) if math.isfinite(answer) else answer
    if whole in (2516, 2517, 2519, 2520):  # the numbers given have two or three digits
        whole = 2518
    if whole in (2518, *mistakes):
        return check_answer(whole, 2518, mistakes)
    for unit, size in (("GB", 1e-3), ("kB", 1e3), ("bytes", 1e6)):
        if abs(answer / size - 2518) < 15:
            return Verdict("failed", f"{answer:,} is not it: right in {unit}, but MB are asked, a million bytes each")
    return check_answer(answer, 2518)


def check_largest_batch(answer: object) -> Verdict:
    """Return the verdict on the largest batch of the same network for which 8000 MB are enough."""
    mistakes = {
        109: "parameters, gradients and velocities need their place, too",
        110: "parameters, gradients and velocities need their place, too, and a part of a picture does not fit",
        108: "count gradients and velocities as well, and round down: a part of a picture does not fit",
        106: "one more fits: try it in the other direction",
    }
    answer = as_number(answer)
    if isinstance(answer, float) and not answer.is_integer():
        reason = "a batch is a whole number, and a part of a picture does not fit"
        whole = math.floor(answer) if math.isfinite(answer) else None
        return Verdict("failed", f"{answer:g} is not it: {mistakes.get(whole, reason) if whole != 107 else reason}")
    return check_answer(answer, 107, mistakes)


def check_largest_rank(attempt: Callable) -> Verdict:
    """Return the verdict on the largest rank at which two thin layers have fewer weights than the one they replace."""
    cases = {
        (3136, 512): 440,
        (25088, 4096): 3521,
        (4096, 4096): 2047,
        (4096, 1000): 803,
        (6, 3): 1,
        (3, 3): 1,
        (2, 2): 0,
        (1, 7): 0,
        (7, 40): 5,
    }
    return check_function(attempt, cases, "largest_rank")


def check_prune(attempt: Callable) -> Verdict:
    """Return the verdict on a function that keeps the share of a weight's entries that is largest in size."""
    cases = {
        ((0.1, -0.9, 0.5, -0.2), 0.5): [0, -0.9, 0.5, 0],
        (((0.3, -0.4, 0.2), (2.0, -3.0, 1.0)), 0.5): [[0, 0, 0], [2.0, -3.0, 1.0]],
        ((-4.0, -3.0, -2.0, -1.0), 0.25): [-4.0, 0, 0, 0],
        ((8.0, 4.0, -2.0, 1.0, -0.5), 0.6): [8.0, 4.0, -2.0, 0, 0],
        ((1.0, -2.0), 1.0): [1.0, -2.0],
    }

    written_over = []

    def on_a_copy(weight: tuple, keep: float) -> object:
        given = torch.tensor(weight)
        before = given.clone()
        got = attempt(given, keep)
        if not torch.equal(given, before):
            written_over.append(True)
        return got.detach() if isinstance(got, torch.Tensor) else got

    verdict = check_function(on_a_copy, cases, "prune")
    if written_over and verdict.status == "passed":
        return Verdict(
            "failed", "prune(weight, keep) gives the right answers, but writes over the weight that it is given"
        )
    if verdict.status == "failed" and (what := _what_prune_does(attempt)):
        return Verdict("failed", f"{verdict.text}; {what}")
    return verdict


def _what_prune_does(attempt: Callable) -> str:
    """Return which of the usual mistakes an attempt at pruning makes, as the end of a sentence, or nothing."""
    weight = torch.tensor([0.1, -0.9, 0.5, -0.2])
    usual = {
        "negative weights vanish: compare sizes, without the sign": (0.1, 0, 0.5, 0),
        "the sign is lost: it is the size that decides, and the weight that stays": (0, 0.9, 0.5, 0),
        "the smallest are kept, not the largest": (0.1, 0, 0, -0.2),
        "that is which weights stay, not the weights": (0, 1, 1, 0),
        "the smallest of those that should stay is lost: >= keeps it": (0, -0.9, 0, 0),
    }
    try:
        got = torch.as_tensor(attempt(weight, 0.5)).detach().float()
    except Exception:  # the verdict says it already
        return ""
    if got.numel() < weight.numel():
        return "put zeros in the place of the others: the shape stays"
    return next((what for what, gave in usual.items() if got.tolist() == torch.tensor(gave).tolist()), "")


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why a layer with a mask is as large and as slow as before, and what would help."""
    ideas = {
        "what is stored": (
            r"stor|memor|byte|space|as large|size|ram\b|bits?\b|kept|keep|entries|occup|held|hold|disk|file",
            "(same )?shape|dtype|shrink|shrunk|remain|floats?",
        ),
        "what is computed": (
            r"multipl|comput|time|speed|slow|fast|macs?\b|flop|operation|calculat|work|arithmetic|matmul",
            "product|quick",
        ),
        "what would help": (
            r"sparse|ind(ex|ices)|format|rank|thin|narrow|remov|rows?\b|column|csr|coo\b|neuron",
            "smaller (matri|layer|weight|dense)|factor|structur|position|delet|cut out|drop|compress",
            "only (the )?(non ?zero|nonzero)|skip|channel",
        ),
    }
    return check_words(answer, ideas, against=_FALSE)


_WORD = r"(?!(?:not|no|neither|nor|never|hardly|only)\b)[\w.,]+ "  # any but one that denies
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"\bfriend is (\w+ )?(right|correct)\b",
        r"\b(not|neither|only|but|partly|half|about|if|in that|unless)\b|n['’]t\b",
        "your friend is not right: ask what becomes of a zero in memory, and in the product",
    ),
    (
        r"\bnothing is wrong\b",
        r"\bnothing is wrong with\b",
        "your friend is not right: ask what becomes of a zero in memory, and in the product",
    ),
    (
        r"\b(it|this|layer|matrix|fc ?6|weights?)( now)? (is|are|becomes?|gets?) "
        rf"(?:{_WORD}){{0,3}}(smaller|lighter|faster)\b",
        r"\b(then|if|when|once|would|unless|until|says?|said|claims?|thinks?|believes?|wrong|sparse|thin|narrow\w*)\b"
        r"|\b(low[- ]rank|factor\w*|cut|remov\w*|delet\w*)\b",
        "with the mask alone it is neither smaller nor faster: say what becomes of the zeros",
    ),
    (
        r"\bzeros? (are|is|get) (\w+ )?(skipped|left out|not (stored|multiplied|computed))\b",
        r"\b(if|when|only|unless|once|sparse|format|would|neither|nor|could|can|code|kernels?)\b"
        r"|\bnot (skipped|left out)\b|n['’]t\b",
        "zeros are stored and multiplied like any number, unless a format leaves them out",
    ),
)
