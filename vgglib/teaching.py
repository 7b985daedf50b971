"""The reader's tools: guess and reveal, failures that must fail, checks that name the counterexample."""

import cmath
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Number
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """What a check found: status "todo", "failed" or "passed", and a sentence for the reader."""

    status: str
    text: str

    def __str__(self) -> str:
        return {"todo": "⏳ ", "failed": "❌ ", "passed": "✅ "}[self.status] + self.text

    __repr__ = __str__


def reveal(guess: object, actual: object, unit: str = "") -> None:
    """Print how far the guess is from what was computed; while the guess is ``...`` only a nudge, never the answer.

    A guess may be an array, a tensor, a fraction or a decimal: see as_number.
    """
    if guess is ...:
        print("Your turn: put a number in place of the three dots above, then run both cells again.")
        return
    guess = as_number(guess)
    if isinstance(guess, str) and not isinstance(actual, str):
        print(f"A number is asked: {_shown(guess)} is text. Write it without quotation marks.")
        return
    if isinstance(guess, bool) and not isinstance(actual, bool):
        print(f"A number is asked, and {guess} is none.")
        return
    shown = f"{_shown(actual)} {unit}".strip()
    if _same(guess, actual) or _rounds_to(guess, actual):
        print(f"Yes: {shown}.")
    elif (ratio := _ratio(guess, actual)) is not None:
        side = "high" if guess > actual else "low"
        away = abs(guess / actual - 1)
        off = f", too {side} by a factor {ratio:.2f}" if away > 0.05 else f": close, {_percent(away)} too {side}"
        if isinstance(actual, Integral) and max(abs(guess), abs(actual)) < 100 and guess == int(guess):
            off = f", too {side} by {_shown(abs(guess - actual))}"  # small whole numbers are counted, not compared
        if unit == "%" and abs(100 * guess / actual - 1) <= 0.05:
            off = ": the answer is wanted in per cent"
        print(f"It is {shown}; you guessed {_shown(guess)}{off}.")
    else:
        print(f"It is {shown}; you guessed {_shown(guess)}.")


def _ratio(guess: object, actual: object) -> float | None:
    """Return how often the smaller of two numbers of one sign goes into the larger; None where there is no answer."""
    try:
        one, other = sorted((abs(float(guess)), abs(float(actual))))
        same_sign = isinstance(guess, Number) and isinstance(actual, Number) and guess * actual > 0
    except (TypeError, ValueError, OverflowError):  # no numbers, complex ones, or more digits than a float holds
        return None
    return other / one if same_sign and one else None


def _rounds_to(guess: object, actual: object) -> bool:
    """Return whether a number is ``actual`` with more digits, where those make less than a hundredth."""
    ratio = _ratio(guess, actual)
    if ratio is None or not math.isfinite(ratio):
        return False
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (guess, actual)):
        return False
    digits = len(repr(actual).partition(".")[2]) if "e" not in repr(actual) else 0
    return round(guess, digits) == actual and abs(guess - actual) < abs(actual) / 100


@contextmanager
def fails(error: type[BaseException], match: str = "") -> Iterator[None]:
    """Require the cell below it to fail: print the expected error's line with ``match``, by default its first.

    Raises AssertionError if no error came, or one whose message lacks ``match``; other errors pass through.
    """
    try:
        yield
    except error as caught:
        said = str(caught)
        if match not in said:
            raise AssertionError(f"it failed, but the message lacks {match!r}: {said}") from caught
        line = next((line for line in said.splitlines() if match in line), said.partition("\n")[0])
        print(f"{type(caught).__name__}: {line.strip()}")
        return
    raise AssertionError(f"nothing failed, and a {error.__name__} was expected here")


def check_function(
    attempt: Callable,
    cases: Mapping[tuple, object],
    name: str | None = None,
    mistakes: Mapping[str, Callable] | None = None,
) -> Verdict:
    """Return the verdict on ``attempt``, called with every tuple of arguments in ``cases`` and compared with its value.

    A stub that raises NotImplementedError, or returns ``...`` or nothing, is "todo"; an error inside it is reported
    with the call that caused it, never raised. mistakes: {what went wrong: the function that does so}; an attempt that
    agrees with one of them in all cases gets its reason, too.
    """
    name = name or getattr(attempt, "__name__", "your function")
    verdict = _compared(attempt, cases, name)
    for why, wrong in (mistakes or {}).items() if verdict.status == "failed" else ():
        if _compared(attempt, {given: wrong(*given) for given in cases}, name).status == "passed":
            return Verdict("failed", f"{verdict.text}: {why}")
    return verdict


def _compared(attempt: Callable, cases: Mapping[tuple, object], name: str) -> Verdict:
    """Do what check_function says, without mistakes."""
    for agreed, (arguments, expected) in enumerate(cases.items()):
        call = f"{name}({', '.join(map(_shown_argument, arguments))})"
        try:
            got = attempt(*arguments)
        except NotImplementedError:
            return Verdict("todo", f"{name}: not attempted yet")
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
            return Verdict("failed", f"{call} should be {_shown(expected)}, yours raised {raised}")
        if got is ...:
            return Verdict("todo", f"{name}: not attempted yet")
        if got is None and expected is not None:
            missing = "returned None; is a `return` missing?"
            if agreed:
                return Verdict("failed", f"{call} should be {_shown(expected)}, yours {missing}")
            return Verdict("todo", f"{name}: {missing}")
        if not _same(got, expected):
            return Verdict("failed", f"{call} should be {_shown(expected)}, yours gave {_shown(got)}")
    return Verdict("passed", f"{name}: {len(cases)} cases agree")


def check_answer(answer: object, actual: object, mistakes: Mapping[object, str] | None = None) -> Verdict:
    """Return the verdict on one answer, with the reason for a known mistake: ``{wrong answer: what went wrong}``."""
    if answer is ...:
        return Verdict("todo", "not attempted yet")
    if _same(answer, actual):
        return Verdict("passed", f"{_shown(answer)} it is")
    for wrong, why in (mistakes or {}).items():
        if _same(answer, wrong):
            return Verdict("failed", f"{_shown(answer)} is not it: {why}")
    if isinstance(actual, Number) and isinstance(answer, tuple | list) and len(answer) > 1:
        return Verdict("failed", f"{_shown(answer)} is not it: one number is asked; write 1234567 without commas")
    if isinstance(actual, Number) and isinstance(answer, str):
        return Verdict("failed", f"{_shown(answer)} is not it: a number is asked, without quotation marks")
    return Verdict("failed", f"{_shown(answer)} is not it")


def as_number(answer: object) -> object:
    """Return a tensor or array of one number, a fraction or a decimal as a plain number; anything else as it is."""
    try:
        if hasattr(answer, "item") and getattr(answer, "shape", ()) == ():
            return answer.item()
        return float(answer) if isinstance(answer, Decimal | Fraction) else answer
    except (RuntimeError, ValueError, OverflowError):  # a tensor without numbers, or more than a float holds
        return answer


def check_words(
    answer: object,
    ideas: Mapping[str, Sequence[str]],
    at_least: int = 8,
    judge: str = "the folded solution",
    against: Sequence[tuple[str, str, str]] = (),
) -> Verdict:
    """Return the verdict on an explanation: every idea must occur, by one of its words; it cannot judge more than that.

    ideas: what the explanation should speak of, each with the beginnings of words that show it, as regular expressions.
    Capitals, hyphens, quotation marks and line breaks make no difference. judge: who or what decides in the end.
    against: false claims that fail an answer, if they are no questions: (what is claimed in a sentence, what makes it
    no such claim, the reason), the first two as regular expressions for lower-case text.
    """
    if answer is ... or (isinstance(answer, str) and not answer.strip()):
        return Verdict("todo", "not attempted yet")
    if isinstance(answer, tuple | list):
        return Verdict("failed", "write one text, in one pair of quotation marks")
    words = re.sub(r"[-‐‑–—_'’‘\"“”*`\s]+", " ", answer.lower()).split() if isinstance(answer, str) else []
    if len(words) < at_least or len({*words}) < at_least / 2:
        return Verdict("failed", f"write a sentence or two, at least {at_least} words")
    said = " ".join(words)
    missing = [idea for idea, signs in ideas.items() if not any(re.search(rf"\b(?:{sign})", said) for sign in signs)]
    if missing:
        lacking = " or of ".join(missing)
        return Verdict("failed", f"your answer does not speak of {lacking} yet; if in other words, {judge} decides")
    for sentence, end in re.findall(r"(.*?)([.;!?](?!\d)|$)", " ".join(answer.lower().split())):
        for claim, unless, why in against:
            if end != "?" and re.search(claim, sentence) and not re.search(unless, sentence):
                return Verdict("failed", why)
    return Verdict("passed", f"your words touch every point; whether they are right, {judge} decides")


def assert_learned(history: Any, classes: int = 10) -> None:
    """Raise AssertionError unless the last training loss is clearly below ln(classes), the cost of pure guessing.

    history: a History, which knows its number of classes, or losses in the order they came.
    """
    classes = getattr(history, "classes", classes)
    history = () if history is None else history  # a function that returned nothing
    losses = history.column("train_loss") if hasattr(history, "column") else [float(loss) for loss in history]
    if not losses:
        raise AssertionError("no loss was recorded: the network has not been trained")
    guessing = math.log(classes)
    if not losses[-1] < 0.9 * guessing:  # written so that nan is caught
        raise AssertionError(
            f"final loss {losses[-1]:.3f}, and pure guessing costs ln({classes}) = {guessing:.3f}: the network has not "
            "learned. Look at the initialisation and the learning rate"
        )


def _same(got: object, expected: object) -> bool:
    """Return whether two answers are equal: numbers to a relative 1e-6, sequences item by item, True is not 1."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return isinstance(got, bool) and isinstance(expected, bool) and got == expected
    if isinstance(got, Number) and isinstance(expected, Number):
        if isinstance(got, Integral) and isinstance(expected, Integral):
            return got == expected
        try:
            return cmath.isclose(complex(got), complex(expected), rel_tol=1e-6, abs_tol=1e-12)
        except OverflowError:  # a whole number beyond what a float holds
            return got == expected
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(map(_same, got, expected))
    if hasattr(got, "tolist") or hasattr(expected, "tolist"):  # tensors and arrays, also of one number
        try:
            got, expected = (one.tolist() if hasattr(one, "tolist") else one for one in (got, expected))
        except Exception:  # a tensor without numbers
            return False
        return _same(got, expected)
    try:
        return bool(got == expected)
    except Exception:
        return False


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)


def _shown_argument(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
