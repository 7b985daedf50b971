"""Checks of the exercises in notebooks/01_foundations.ipynb."""

import re
from collections.abc import Callable

import torch

from vgglib.teaching import Verdict, as_number, check_answer, check_function, check_words


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
        "a kernel of k spans d * (k - 1) + 1 pixels, not d * k + 1": lambda n, k, s, p, d: (
            (n + 2 * p - d * k - 1) // s + 1
        ),
        "brackets are missing: without them only the 1 is divided": lambda n, k, s, p, d: (
            n + 2 * p - d * (k - 1) - 1 // s + 1
        ),
        "no step at all is a place, too: a range leaves out its end": lambda n, k, s, p, d: len(
            range(0, n + 2 * p - d * (k - 1) - 1, s)
        ),
        "a step that does not fit is not made: round down, not to the nearest whole": lambda n, k, s, p, d: (
            round((n + 2 * p - d * (k - 1) - 1) / s) + 1
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
        (89, 134): "the outputs' gradients are turned round: 8 belongs to the first place",
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
        (48, 54, 66, 0): "each output hands its gradient to both pixels under the kernel, to each with its own weight",
        (44, 102, 86, 48): "the outputs' gradients are turned round: 8 belongs to the first place",
        (66, 98, 84, 32): "the order is turned round",
    }
    return _numbers(answer, (32, 84, 98, 66), mistakes, "four numbers are asked, one for each pixel")


def check_factor(answer: object) -> Verdict:
    """Return the verdict on how many times too small ``G.T @ X / len(X)`` is for a batch of 128 pictures."""
    mistakes = {
        1: "something is too small, or the network would not learn slowly; test with two pictures by hand",
        2: "that is the factor of a batch of two pictures",
        1 / 128: "how many times too small is asked: more than 1",
        128**2: "the division in the loss has its place; the gradient is off by what comes on top",
    }
    return check_answer(as_number(answer), 128, mistakes)


def check_batch(answer: object, factor: object = ...) -> Verdict:
    """Return the verdict on (X, G): pictures and gradients with which no wrong gradient of the weights passes a test.

    X: (N, inputs) and G: (N, outputs), tensors, arrays or lists of rows. factor: the answer to check_factor; the
    exercise's own mistake is named only where that is right.
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
    if passing[:1] == [OWN_MISTAKE] and check_factor(factor).status != "passed":
        return Verdict("failed", "with your numbers the program of the exercise passes, too; find the factor first")
    if passing:
        return Verdict("failed", f"with your numbers a wrong gradient still passes the test: one that {passing[0]}")
    return Verdict("passed", f"your numbers show all {len(WRONG_GRADIENTS)} mistakes, the program's own among them")


OWN_MISTAKE = "divides by the number of pictures, though the mean already stands in G"
WRONG_GRADIENTS = {  # of the weights of a fully connected layer, each as wrong as its name says
    OWN_MISTAKE: lambda X, G: G.T @ X / len(X),
    "looks at the first picture only": lambda X, G: torch.outer(G[0], X[0]),
    "looks at the last picture only": lambda X, G: torch.outer(G[-1], X[-1]),
    "pairs each picture with the gradients of another": lambda X, G: G.roll(1, dims=0).T @ X,
    "leaves out an input": lambda X, G: G.T @ X.where(torch.arange(X.shape[1]) != X.abs().sum(dim=0).argmin(), 0),
    "takes each input for its neighbour": lambda X, G: G.T @ X.roll(1, dims=1),
    "adds up the pictures before it multiplies": lambda X, G: torch.outer(G.sum(dim=0), X.sum(dim=0)),
    "puts the numbers of the matrix on its side into the right shape": lambda X, G: (X.T @ G).reshape(
        G.shape[1], X.shape[1]
    ),
    "loses negative gradients": lambda X, G: G.clamp(min=0).T @ X,
    "forgets the pictures": lambda X, G: G.sum(dim=0)[:, None].expand(-1, X.shape[1]),
    "squares the pictures": lambda X, G: G.T @ X.square(),
}


def check_drop(shares: object, explanation: object) -> Verdict:
    """Return the verdict on what differs after the rate is divided by 10, with the rate outside and inside.

    shares: the first step after the drop over the step before, at momentum 0.5 (outside, inside); they decide. Of the
    explanation only the topics are checked, and the plainest reversals.
    """
    if shares is ... or (isinstance(shares, tuple | list) and any(one is ... for one in shares)):
        return Verdict("todo", "the two numbers: not attempted yet")
    verdict = _shares(shares)
    if verdict.status == "failed":
        return verdict
    said = _explained(explanation)
    if said.status == "todo":
        return Verdict("todo", "your numbers are right; now say why")
    return Verdict(said.status, f"your numbers are right; {said.text}")


def _shares(answer: object) -> Verdict:
    """Return the verdict on the two numbers of check_drop."""
    asked = "two numbers are asked, (outside, inside)"
    swapped = {(0.55, 0.1): "they have changed places: ask of each velocity what the new rate multiplies in it"}
    percent = "a share is asked: a step just as long is 1"
    outside = {
        1: "the rate stands outside: what does it multiply in the very next step?",
        0.5: "the velocity forgets half of itself, and a gradient as long as that half comes in",
        0.05: "the velocity forgets half of itself, and a gradient as long as that half comes in",
        0.55: "which part of this velocity was made with the old rate?",
        0.91: "which part of this velocity was made with the old rate? And the momentum is 0.5 here",
        10: percent,
    }
    inside = {
        0.91: "that is the momentum printed, 0.9; here it is 0.5",
        0.9: "that is the momentum printed, 0.9; here it is 0.5",
        0.5: "that is what the velocity keeps; the new gradient comes on top, with the new rate",
        0.05: "that is what the new gradient brings; the velocity keeps a part of itself, too",
        0.6: "at the high rate one gradient made only half of a step; the rest was velocity",
        0.1: "which part of this velocity does the new rate not touch?",
        1: "the velocity forgets half of itself at this step, too",
        55: percent,
    }
    verdict = _numbers(answer, (0.1, 0.55), swapped, asked)
    if "look at number" not in verdict.text:
        return verdict
    for name, given, actual, mistakes in zip(
        ("outside", "inside"), _plain(answer), (0.1, 0.55), (outside, inside), strict=True
    ):
        found = check_answer(as_number(given), actual, mistakes)
        if found.status != "passed":
            return Verdict("failed", f"{name}: {found.text}")
    return verdict


def _explained(answer: object) -> Verdict:
    """Return the verdict on the words of check_drop."""
    ideas = {
        "where the rate stands": ("inside|outside|velocit|buffer|before|multipl|factor|scale",),
        "what the velocity remembers": (
            "old|remember|memor|still|keep|kept|past|earlier|previous|carr|decay|forg[eo]t|histor|accumulat",
            "inertia|coast|already|made of|sum of|loses|new (entr|gradient)|ten percent|in (units of|weight units)",
            "full of|large rate|large step|high(er)? rate|0[.]9|built|fade|90 ?%|contain|terms|surviv|hardly changed",
            "unaffected|dies? out|lost|half|hold|came in|enter",
        ),
        "how the program with the rate outside reacts": (
            r"0[.]1|tenfold|ten fold|10 ?x|1/10|10 ?%|right now",
            "at once|immediate|instant|same step|right away|next|first step|tenth|direct",
            "factor (of )?(10|ten)|(10|ten) times|by (10|ten)|sudden|abrupt|straight|without delay|0 1",
            "everything|all of|whole|entire|one division|lowered|smaller|multiplied by|anew",
        ),
    }
    if isinstance(answer, str):  # each side by itself
        clauses = r",? (while|whereas)\b(?! the (?!(inside|outside)))(?! it)|, ((but|and) )?(?=(inside|outside|in )\b)"
        answer = re.sub(clauses, ";", answer, flags=re.IGNORECASE)
    return check_words(answer, ideas, at_least=12, against=_FALSE)


_OUTSIDE, _INSIDE, _NO = (
    r"\b(outside|(py)?torch)\b",
    r"\b(inside|caffe)\b",
    r"\b(not|no|never|nothing|without)\b|n['’]t\b",
)
_AT_ONCE = "outside, the velocity holds plain gradients and the rate comes after it: look at your first number again"
_SLOWLY = "inside, the velocity still holds old steps, made with the high rate: look at your second number again"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        rf"{_OUTSIDE}.*\b(still|old steps?|slow(s|ly)? (down|over)|gradual\w*|fades?|decays?|carry on|goes on"
        r"|larger? (next )?steps?|remembers? the old rate|(accumulat\w*|built|made).*(high\w*|old) rates?)\b",
        rf"{_INSIDE}|{_NO}|\b(gradients?|multipl\w*|times|scale[ds]?|smaller|but)\b",
        _AT_ONCE,
    ),
    (
        rf"{_INSIDE}.*\b(at once|immediate\w*|instant\w*|right away|steps? (is|are|becomes?|will be) (a|one) tenth"
        r"|(drops?|falls?|shrinks?) to (a tenth|one tenth|0[.]10?)|(ten|10) times (smaller|shorter)|tenfold)\b",
        rf"{_OUTSIDE}|{_NO}|\b(only|still|old|gradual\w*|slow\w*|rate (drops|falls))\b",
        _SLOWLY,
    ),
    (
        r"\b(both|neither|each|alike|two react the same)\b.*\b(slow\w*|gradual\w*|at once|plain gradients)\b",
        r"\b(not|until|before|differ\w*|as long as|while|only)\b|n['’]t\b",
        "the two do not react alike: in one the velocity holds steps, in the other gradients",
    ),
    (rf"{_INSIDE},? [^,]*\b(does not|doesn['’]t) (hold|keep|remember)\b", _OUTSIDE, _SLOWLY),
    (
        r"\b(made|taken|multiplied) with the \W*(low|small|new)\w*\W* rate\b",
        rf"{_OUTSIDE}|{_NO}|\b(next|then)\b",
        "the steps that a velocity remembers were made before the rate was divided",
    ),
    (
        r"\b(bigger|larger|smaller|more|less|no) momentum\b"
        r"|\bmomentum (is|was) (divided|multiplied|changed|lower\w*|smaller|reduced|less)\b"
        r"|\b(resets?|(forgets?|loses?) (all|every|its|the)) (old steps|velocity|momentum)\b(?! in)",
        r"\b(neither|same)\b",
        "momentum and velocity stay what they were at that step; what differs is what the new rate multiplies",
    ),
    (r"\bno idea\b|\b(do not|don['’]t) know\b|\bnot true that\b", r"$^", "say what happens, also where you are unsure"),
    (r"^(?!.*\b(the|an?|is|are|its?|of|by|was|has)\b).{40}", r"$^", "write whole sentences"),
)


def _numbers(answer: object, actual: tuple, mistakes: dict, asked: str) -> Verdict:
    """Return the verdict on several numbers; for another count of them, say how many are asked."""
    given = _plain(answer)
    if isinstance(given, str):
        return Verdict("failed", f"{given!r} is text: write the numbers without quotation marks")
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
    """Return lists, also in lists, or a tensor or array of any shape, as the tuple that mistakes are kept as."""
    if hasattr(answer, "tolist") and hasattr(answer, "reshape"):
        try:
            return tuple(answer.reshape(-1).tolist())
        except Exception:  # a tensor without numbers
            return answer
    while isinstance(answer, list | tuple) and answer and all(isinstance(one, list | tuple) for one in answer):
        answer = [number for row in answer for number in row]
    return tuple(answer) if isinstance(answer, list) else answer
