"""Checks of the exercises in notebooks/08_what_it_costs.ipynb."""

import math
from collections.abc import Callable
from numbers import Real

import torch

from vgglib.teaching import Verdict, as_number, check_answer, check_function, check_words

MILLIONS, KEPT, PICTURES, CAPACITY = 15.2, 73.1, 32, 6000  # parameters; MB a picture; in a batch; MB there are
STEP = 3 * 4 * MILLIONS + PICTURES * KEPT  # MB
ROUNDED = 3 * 4 * 0.05 + PICTURES * 0.05  # by so much the step may differ, as the numbers above have three digits


def check_step_memory(answer: object) -> Verdict:
    """Return the verdict on the MB of a step of training: 15.2 million parameters, batch 32, 73.1 MB kept a picture."""
    activations, held = PICTURES * KEPT, 3 * 4 * MILLIONS
    mistakes = {
        3 * MILLIONS + activations: "a float32 number takes four bytes",
        MILLIONS + activations: "a float32 number takes four bytes, and parameters are not all that is held",
        4 * MILLIONS + activations: "training also holds a gradient and a velocity for each parameter",
        2 * 4 * MILLIONS + activations: "of parameter, gradient and velocity one is missing",
        4 * 4 * MILLIONS + activations: "that is Adam, which keeps two averages for each parameter",
        3 * 8 * MILLIONS + activations: "a float32 number takes four bytes, not eight",
        held + KEPT: "activations are kept for each of the 32 pictures",
        PICTURES * (held + KEPT): "parameters, gradients and velocities are held once, not for each picture",
        held + 2 * activations: "gradients of activations come and go; what is kept is not doubled",
        activations: "those are the activations alone",
        held: "those are the parameters, gradients and velocities alone",
        3 * 4 * 138.4 + activations: "those are D's parameters, with its fully connected layers",
        STEP * 1e6 / 2**20: "MB are asked, a million bytes each, not 2**20",
    }
    answer = as_number(answer)
    if not isinstance(answer, Real) or isinstance(answer, bool) or not math.isfinite(answer):
        return check_answer(answer, STEP)
    if abs(answer - STEP) <= ROUNDED:
        return check_answer(answer, answer)
    nearest = min(mistakes, key=lambda wrong: abs(answer - wrong))
    if abs(answer - nearest) <= ROUNDED:
        return check_answer(answer, STEP, {answer: mistakes[nearest]})
    for unit, size in (("GB", 1e-3), ("kB", 1e3), ("bytes", 1e6)):
        if abs(answer / size - STEP) < 15:
            return Verdict("failed", f"{answer:,} is not it: right in {unit}, but MB are asked, a million bytes each")
    return check_answer(answer, STEP)


def check_largest_batch(answer: object) -> Verdict:
    """Return the verdict on the largest batch of the same network for which 6000 MB are enough."""
    mistakes = {
        82: "parameters, gradients and velocities need their place, too",
        81: "that is too few bytes for each parameter: three numbers are held, of four bytes each",
        80: "does the velocity have its place? If so, round down: a part of a picture does not fit",
        78: "one more fits: momentum keeps one number for each parameter; it is Adam that keeps two",
        76: "not all that a step holds grows with the batch: subtract first what does not",
        83: "1 MB is a million bytes, not 2**20",
        59: "those are D's parameters, with its fully connected layers",
        39: "gradients of activations come and go; what is kept is not doubled",
        23: "parameters, gradients and velocities are held once, not for each picture",
        2: "parameters, gradients and velocities are held once, not for each picture",
    }
    answer = as_number(answer)
    if isinstance(answer, float) and not answer.is_integer():
        reason = "a batch is a whole number, and a part of a picture does not fit"
        whole = math.floor(answer) if math.isfinite(answer) else None
        return Verdict("failed", f"{answer:g} is not it: {mistakes.get(whole, reason)}")
    return check_answer(answer, 79, mistakes)


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
    mistakes = {
        "at that rank both have exactly as many weights, and fewer is asked": lambda i, o: i * o // (i + o),
        "that is the full rank: count the weights of the two layers there": min,
        "count the weights of the two layers at that rank: half of the smaller side is not the border": (
            lambda i, o: min(i, o) // 2
        ),
        "that rounds to the nearest, and so at times above the border": lambda i, o: round(i * o / (i + o)),
        "that rounds up, above the border": lambda i, o: -(-i * o // (i + o)),
        "a rank is a whole number": lambda i, o: i * o / (i + o),
        "a rank is a whole number, the largest below that": lambda i, o: (i * o - 1) / (i + o),
        "one more still is fewer, unless it comes out even": lambda i, o: i * o // (i + o) - 1,
        "where rank 1 saves nothing, 0 is asked": lambda i, o: max(1, (i * o - 1) // (i + o)),
    }
    return check_function(attempt, cases, "largest_rank", mistakes)


def check_prune(attempt: Callable) -> Verdict:
    """Return the verdict on a function that keeps the share of a weight's entries that is largest in size."""
    cases = {
        (((0.1, -0.9), (0.5, -0.2)), 0.5): [[0, -0.9], [0.5, 0]],
        (((0.3, -0.4, 0.2), (2.0, -3.0, 1.0)), 0.5): [[0, 0, 0], [2.0, -3.0, 1.0]],
        (((-4.0, -3.0, -2.0, -1.0),), 0.25): [[-4.0, 0, 0, 0]],
        (((8.0,), (4.0,), (-2.0,), (1.0,), (-0.5,)), 0.6): [[8.0], [4.0], [-2.0], [0], [0]],
        (((1.0, -2.0), (-3.0, 4.0), (0.5, -6.0)), 1.0): [[1.0, -2.0], [-3.0, 4.0], [0.5, -6.0]],
    }
    written_over, sparse = [], []

    def on_a_copy(weight: tuple, keep: float) -> object:
        given = torch.tensor(weight)
        before = given.clone()
        got = attempt(given, keep)
        if not torch.equal(given, before):
            written_over.append(True)
        if isinstance(got, torch.Tensor) and got.layout != torch.strided:
            sparse.append(True)
        return _dense(got)

    verdict = check_function(on_a_copy, cases, "prune")
    if verdict.status == "passed" and (written_over or sparse):
        what = "writes over the weight that it is given" if written_over else "in a sparse format: give a plain matrix"
        return Verdict("failed", f"prune(weight, keep) gives the right answers, but {what}")
    if verdict.status == "failed" and (what := _what_prune_does(attempt)):
        return Verdict("failed", f"{verdict.text}; {what}")
    return verdict


def _dense(got: object) -> object:
    """Return a tensor without its gradient and its sparse format; anything else as it is."""
    return got.detach().to_dense() if isinstance(got, torch.Tensor) else got


def _nth(values: torch.Tensor, keep: float, descending: bool = True) -> torch.Tensor:
    return values.flatten().sort(descending=descending).values[round(keep * values.numel()) - 1]


def _largest(weight: torch.Tensor, keep: float) -> torch.Tensor:
    return weight * (weight.abs() >= _nth(weight.abs(), keep))


_SIGN = "negative weights vanish: compare sizes, without the sign"
_HALF = "one line still compares with the sign: sizes are compared in both"
_FIRST = "sort puts the smallest first unless told otherwise"
_PRUNES = (  # the usual mistakes: what the function does, and the end of a sentence about it
    (lambda w, keep: w, "nothing is set to zero"),
    (lambda w, keep: w * (w >= _nth(w, keep)), _SIGN),
    (lambda w, keep: w * (w >= _nth(w.abs(), keep)), _HALF),
    (lambda w, keep: w * (w.abs() >= _nth(w, keep)), _HALF),
    (lambda w, keep: w * (w.abs() >= _nth(w.abs(), keep, descending=False)), _FIRST),
    (lambda w, keep: w * (w >= _nth(w, keep, descending=False)), f"{_FIRST}, and {_SIGN}"),
    (lambda w, keep: w * (w >= _nth(w.abs(), keep, descending=False)), f"{_FIRST}, and {_HALF}"),
    (lambda w, keep: _largest(w, 1 - keep), "keep is the share that stays, not the share that goes"),
    (
        lambda w, keep: _largest(w, keep).abs(),
        "the sign is lost: it is the size that decides, and the weight that stays",
    ),
    (lambda w, keep: w * (w.abs() <= _nth(w.abs(), keep, descending=False)), "the smallest are kept, not the largest"),
    (lambda w, keep: w - _largest(w, keep), "what should stay goes, and what should go stays"),
    (lambda w, keep: (_largest(w, keep) != 0).float(), "that is which weights stay, not the weights"),
    (
        lambda w, keep: w * (w.abs() > _nth(w.abs(), keep)),
        "the smallest of those that should stay is lost: >= keeps it",
    ),
    (
        lambda w, keep: w * (w.abs() >= keep * w.abs().max()),
        "a share of the weights is asked, not what is above a share of the largest",
    ),
    (
        lambda w, keep: torch.stack([_largest(row, keep) for row in w]),
        "each row keeps its own share: the largest of the whole matrix are asked",
    ),
    (
        lambda w, keep: torch.stack([_largest(column, keep) for column in w.T], dim=1),
        "each column keeps its own share: the largest of the whole matrix are asked",
    ),
)


def _what_prune_does(attempt: Callable) -> str:
    """Return which of the usual mistakes an attempt at pruning makes, as the end of a sentence, or nothing.

    Decided on a matrix with so many entries that no other function agrees by chance.
    """
    weight, keep = torch.randn(10, 6, generator=torch.Generator().manual_seed(0)), 0.3
    try:
        got = torch.as_tensor(_dense(attempt(weight.clone(), keep))).float().cpu()
    except Exception:  # the verdict says it already
        return ""
    if got.numel() < weight.numel():
        return "put zeros in the place of the others: the shape stays"
    return next((what for wrong, what in _PRUNES if torch.equal(got, wrong(weight, keep))), "")


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on why a layer with a mask is as large and as slow as before, and what would help."""
    ideas = {
        "what is stored": (
            r"stor|memor|byte|space|as large|size|ram\b|bits?\b|kept|keep|entries|occup|held|hold|disk|file",
            "(same )?shape|dtype|shrink|shrunk|remain|floats?|room|saved (like|as|too|just|exactly|in|with)",
            "(number|value|entry)s? like (any|every|all|the)",
        ),
        "what is computed": (
            r"multipl|comput|time|speed|slow|fast|macs?\b|flop|operation|calculat|work|arithmetic|matmul",
            "product|quick",
        ),
        "what would help": (
            r"sparse|ind(ex|ices)|format|rank|thin|narrow|remov|rows?\b|column|csr|coo\b|neuron",
            "smaller (matri|layer|weight|dense)|factor|structur|position|delet|cut out|drop|compress",
            "only (the )?(non ?zero|nonzero)|skip|channel|svd|singular",
        ),
    }
    return check_words(answer, ideas, against=_FALSE)


_WORD = r"(?!(?:not|no|neither|nor|never|hardly|only)\b)[\w.,]+ "  # any but one that denies
_NOT = r"\b(not|nor|neither|never|no (less|fewer|smaller|faster))\b|n['’]t\b"
_OTHERS = r"\b(says?|said|claims?|thinks?|believes?|wrong)\b"
_BETTER = (
    r"\b(then|if|when|once|would|unless|until|sparse|thin|narrow\w*|svd|low[- ]rank|factor\w*)\b"
    r"|\b(cut|remov\w*|delet\w*)\b"
)
_LEFT_OUT = r"\b(if|when|only|unless|once|sparse|format|would|neither|nor|could|can|code|kernels?)\b|n['’]t\b"
_MEMORY = r"(memory|bytes?|bits?|space|room|storage|ram)"
_TWENTY = r"(20|twenty)( times|[- ]?fold| ?x\b|x\b)|(one|a) twentieth|1/20|(5|five) ?(%|per ?cent)"
_RIGHT = "your friend is not right: ask what becomes of a zero in memory, and in the product"
_AS_BEFORE = "with the mask alone it is neither smaller nor faster: say what becomes of the zeros"
_LIKE_ANY = "zeros are stored and multiplied like any number, unless a format leaves them out"
_FALSE = (  # what is claimed, what makes it no such claim, and what to answer
    (
        r"\bfriend is (\w+ )?(right|correct)\b",
        r"\b(not|neither|only|but|partly|half|about|if|in that|unless)\b|n['’]t\b",
        _RIGHT,
    ),
    (r"\bnothing is wrong\b", r"\bnothing is wrong with\b", _RIGHT),
    (
        r"\b(it|this|layer|matrix|fc ?6|weights?)( now)? (is|are|becomes?|gets?) "
        rf"(?:{_WORD}){{0,3}}(smaller|lighter|faster)\b",
        rf"{_BETTER}|{_OTHERS}",
        _AS_BEFORE,
    ),
    (
        r"\b(memory|size|storage)( \w+)? (falls?|drops?|shrinks?|decreases?|is|gets?) "
        rf"(\w+ ){{0,3}}({_TWENTY}|20\b|twenty\b)"
        rf"|\b({_TWENTY})( as much| less| fewer| of)?( the| its)? {_MEMORY}\b",
        rf"{_BETTER}|{_OTHERS}|{_NOT}",
        _AS_BEFORE,
    ),
    (
        r"\bzeros? (are|is|get) (\w+ )?(skipped|left out|not (stored|multiplied|computed))\b",
        rf"{_LEFT_OUT}|\bnot (skipped|left out)\b",
        _LIKE_ANY,
    ),
    (
        r"\bzeros? (\w+ )?(take|cost|need|use|occupy|occupie|require)s? (up )?(no|zero|hardly any|almost no) "
        rf"(\w+ )?({_MEMORY}|time|computation|multiplications?|work)\b"
        rf"|\bzeros? do not (take|cost|need|use|occupy|require) (up )?(any )?{_MEMORY}\b",
        rf"{_LEFT_OUT}|{_OTHERS}|\bno (less|fewer|smaller|extra|additional)\b",
        _LIKE_ANY,
    ),
    (
        rf"\bsparse\b.*\b({_TWENTY})",
        rf"{_NOT}|{_OTHERS}|\b(nearly|almost|up to|at most|less than|but|could|might|may)\b",
        "a sparse format also stores the places, and its product is faster only with code made for it",
    ),
)
