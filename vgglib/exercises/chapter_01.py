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
        (28, 2, 3, 1, 1): 10,
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
        "padding and pixels are divided together, once": lambda n, k, s, p, d: (
            (n - d * (k - 1) - 1) // s + 2 * p // s + 1
        ),
        "a step that does not fit is not made: round down, not to the nearest": lambda n, k, s, p, d: round(
            (n + 2 * p - d * (k - 1) - 1) / s + 1
        ),
        "with a dilation of d neighbours under the kernel lie d pixels apart, so it spans d * (k - 1) + 1": (
            lambda n, k, s, p, d: (n + 2 * p - (k + d - 1)) // s + 1
        ),
        "a dilation of 1 leaves no gap: a kernel spans d * (k - 1) + 1 pixels": lambda n, k, s, p, d: (
            (n + 2 * p - (d + 1) * (k - 1) - 1) // s + 1
        ),
        "a kernel spans one pixel more than its d * (k - 1) steps": lambda n, k, s, p, d: (
            (n + 2 * p - d * (k - 1)) // s + 1
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
        (48, 86, 102, 44): "the two weights have changed places: the first pixel meets only the first one, 4",
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


def check_batch(answer: object) -> Verdict:
    """Return the verdict on (X, G): pictures and gradients with which no wrong gradient of the weights passes a test.

    X: (N, inputs) and G: (N, outputs), tensors, arrays or lists of rows.
    """
    if answer is ...:
        return Verdict("todo", "batch: not attempted yet")
    asked = "two matrices are asked, (X, G), each with a row for each picture"
    if getattr(answer, "ndim", 0) == 2:
        return Verdict("failed", f"{asked}; yours is one matrix")
    try:
        given = [torch.as_tensor(one).detach() for one in answer]
        given = [one.double() for one in given if not one.is_complex()]
    except Exception:
        return Verdict("failed", f"{asked}; these cannot be read as numbers")
    if len(given) != 2 or any(one.ndim != 2 or not one.numel() for one in given):
        return Verdict("failed", f"{asked}; yours have the shapes {[tuple(one.shape) for one in given]}")
    X, G = given
    if len(X) != len(G):
        return Verdict("failed", f"{asked}: X has {len(X)}, G has {len(G)}")
    if not (X.isfinite().all() and G.isfinite().all()):
        return Verdict("failed", "a number that is infinite, or none (nan), shows nothing: no comparison holds with it")
    right = G.T @ X
    least = 1e-9 * right.abs().max()  # small numbers show a mistake as well as large ones
    passing = [name for name, wrong in WRONG_GRADIENTS.items() if (wrong(X, G) - right).abs().max() <= least]
    if passing:
        return Verdict("failed", f"with your numbers a wrong gradient still passes the test: one that {passing[0]}")
    return Verdict("passed", f"your numbers show all {len(WRONG_GRADIENTS)} mistakes, the division among them")


WRONG_GRADIENTS = {  # of the weights of a fully connected layer, each as wrong as its name says
    "divides by the number of pictures, though the mean already stands in G": lambda X, G: G.T @ X / len(X),
    "looks at the first picture only": lambda X, G: torch.outer(G[0], X[0]),
    "adds up the pictures before it multiplies": lambda X, G: torch.outer(G.sum(dim=0), X.sum(dim=0)),
    "puts the numbers of the matrix on its side into the right shape": lambda X, G: (X.T @ G).reshape(
        G.shape[1], X.shape[1]
    ),
    "loses negative gradients": lambda X, G: G.clamp(min=0).T @ X,
    "forgets the pictures": lambda X, G: G.sum(dim=0)[:, None].expand(-1, X.shape[1]),
    "squares the pictures": lambda X, G: G.T @ X.square(),
}


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on what differs after the rate is divided by 10, with the rate inside and outside."""
    ideas = {
        "where the rate stands": ("inside|outside|velocit|buffer|before|multipl|factor|scale",),
        "what the velocity remembers": (
            "old|remember|memor|still|keep|kept|past|earlier|previous|carr|decay|forg[eo]t|histor|accumulat",
            "inertia|coast|already|made of|sum of|loses|new (entr|gradient)|ten percent|in (units of|weight units)",
            "full of|large rate|large step|high(er)? rate|0[.]9|built|fade|90 ?%|contain|terms|surviv|hardly changed",
            "unaffected|dies? out|lost",
        ),
        "how the other one reacts": (
            r"0[.]1|tenfold|ten fold|10 ?x|1/10|10 ?%|right now",
            "at once|immediate|instant|same step|right away|next|first step|tenth|direct",
            "factor (of )?(10|ten)|(10|ten) times|sudden|abrupt|straight|without delay|0 1",
            "everything|all of|whole|entire|one division|lowered|smaller|multiplied by|anew",
        ),
    }
    if isinstance(answer, str):  # each side by itself
        clauses = r",? (while|whereas)\b(?! the (?!(inside|outside)))(?! it)|, but (?=(inside|outside|in )\b)"
        answer = re.sub(clauses, ";", answer, flags=re.IGNORECASE)
    return check_words(answer, ideas, at_least=12, against=_FALSE)


_ALIKE = "the two do not react alike: in one the velocity holds steps, in the other gradients"
_AT_ONCE = "outside, the velocity holds plain gradients and the rate comes after it: the next step is a tenth as long"
_SLOWLY = "inside, the velocity still holds old steps, made with the high rate: that program slows down over many steps"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"\b(outside|(py)?torch)\b.*\b(still|old steps?|slow(s|ly)? (down|over)|gradual\w*|fades?|carry on)\b",
        r"\b(inside|caffe)\b|\b(not|no|never|does not|nothing)\b|n['’]t\b|\b(gradients?|multipl\w*|scale[ds]?)\b",
        _AT_ONCE,
    ),
    (
        r"\b(inside|caffe)\b.*\b(at once|immediate\w*|instant\w*|right away)\b",
        r"\b(outside|(py)?torch)\b|\b(not|no|never|nothing|only)\b|n['’]t\b|\b(still|old|gradual\w*|slow\w*)\b",
        _SLOWLY,
    ),
    (
        r"\bboth\b.*\b(slow\w*|gradual\w*|at once|immediate\w*|the same)\b",
        r"\b(not|no|never|until|before|differ\w*|as long as|while)\b|n['’]t\b",
        _ALIKE,
    ),
    (
        r"\b(outside|(py)?torch)\b.*\b(larger? (next )?steps?|keeps? (its|the) old|goes on|remembers? the old rate)\b",
        r"\b(inside|caffe)\b|\b(not|no|never|does not|nothing|smaller|but|multipl\w*|scale[ds]?)\b|n['’]t\b",
        _AT_ONCE,
    ),
    (
        r"\b(outside|(py)?torch)\b.*\b(accumulat\w*|built up|made|collected|gathered)\b.*\b(high\w*|old) rates?\b",
        r"\b(inside|caffe)\b|\b(not|no|never|without|nothing)\b|n['’]t\b",
        _AT_ONCE,
    ),
    (
        r"\b(inside|caffe)\b.*(\bsteps? (is|are|becomes?|will be)( only| just| about)? (a|one) tenth\b"
        r"|\b(drops?|falls?|shrinks?) to (a|one) tenth\b|\b(ten|10) times (smaller|shorter)\b|\btenfold\b)",
        r"\b(outside|(py)?torch)\b|\b(not|no|never|nothing)\b|n['’]t\b|\b(still|old|gradual\w*|slow\w*)\b"
        r"|\b(new|low\w*|the|learning) rate (is|becomes|drops|falls|shrinks)\b",
        _SLOWLY,
    ),
    (
        r"\b(inside|caffe)\b[^,;]*\bforgets? (all|every|(the )?old)\b"
        r"|\b(inside|caffe)\b,?[^,;]*\b(does not|doesn['’]t) (hold|keep|remember|contain)\b",
        r"\b(never|nothing)\b|\ball (at once|immediately)\b",
        _SLOWLY,
    ),
    (
        r"\b(forgets?|resets?|loses?|deletes?) (all of )?(its |the )?(velocity|momentum|memory)\b",
        r"\b(not|no|never|neither)\b|n['’]t\b|\b(tenth|part|10|gradual\w*|slow\w*)\b",
        "neither program forgets its velocity at that step; what differs is what the new rate multiplies",
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
