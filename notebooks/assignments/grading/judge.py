"""Inputs from the teacher's secret, points and a sentence for every exercise; runs where no student's code does."""

import hashlib
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from numbers import Number

from grading import plain

UNREADABLE = "unreadable"
KEPT = 5_000  # answers of known mistakes: many times those that an assignment asks for


@dataclass(frozen=True)
class Case:
    """One call of the student's function, and the part of the points that it belongs to."""

    part: str
    args: tuple

    @cached_property
    def text(self) -> str:
        """The arguments as they travel."""
        return plain.dumps(list(self.args))


@dataclass(frozen=True)
class Exercise:
    """One graded exercise.

    grade_id: nbgrader's name of its cell. wanted: what the student has to define. parts: points, and what went wrong if
    they are lost, by part; a part is earned only if all its cases are right. cases: drawn from a random.Random and
    the student's id. expected: the right answer for a case's arguments. mistakes: known wrong answers, by the
    sentence that names them, where the whole of a student's answers gives them away. close: the relative tolerance.
    mends: whether a program that was handed out is to be mended, so that right answers look alike. idle: makes of the
    student's id a program that earns nothing, whatever it gets right: the one that was handed out, or one without a
    thought. slight: parts that count only beside another one. credit: points for a known mistake, by its sentence,
    where it spoils every part though half of the work is done. mended: whether a known mistake, by the student's id and
    its sentence, is another one than that which was handed out, so that the latter is mended. remark: what an answer is
    that explains best why parts are lost, if there is such a thing.
    """

    grade_id: str
    title: str
    wanted: str
    parts: dict[str, tuple[float, str]]
    cases: Callable[[random.Random, str], list[Case]]
    expected: Callable
    mistakes: dict[str, Callable] = field(default_factory=dict)
    adapter: str = "call"
    read: Callable = lambda value, args: value
    close: float = 1e-6
    mends: bool = False
    idle: Callable[[str], Callable] | None = None
    slight: tuple[str, ...] = ()
    credit: dict[str, float] = field(default_factory=dict)
    mended: Callable[[str, str], bool] = lambda student, sentence: False
    remark: Callable[[object], str] = lambda value: ""

    @property
    def points(self) -> float:
        """The most that can be earned."""
        return sum(points for points, _ in self.parts.values())


@dataclass(frozen=True)
class ByHand:
    """An explanation that a person grades; the rubric is for that person."""

    grade_id: str
    title: str
    points: float
    rubric: str


@dataclass(frozen=True)
class Mark:
    """Points for one exercise and a sentence for the student."""

    points: float
    text: str
    status: str  # "full", "part", "wrong", "todo", "missing", "broken" or "stopped"


def cases_of(exercise: Exercise, secret: str, student: str) -> list[Case]:
    """Return the exercise's cases, the same whenever secret and student are the same."""
    seed = hashlib.sha256(f"{secret}\n{exercise.grade_id}\n".encode()).hexdigest()
    return exercise.cases(random.Random(seed), student)


def mark(exercise: Exercise, ask: Callable[[str, str, tuple], dict], secret: str, student: str) -> Mark:
    """Return the mark; ``ask(adapter, name, args)`` gives {"value": plain data} or {"problem": ...}.

    No sentence repeats an input or a right answer: what is hidden stays hidden.
    """
    cases = cases_of(exercise, secret, student)
    got: list[tuple[bool, object]] = []  # (is there an answer, the answer)
    complaint, missing, attempted, nothing, remark = "", False, False, 0, ""
    absent: list[str] = []  # variables that are not there
    for case in cases:
        name = case.args[0] if exercise.adapter == "value" else exercise.wanted
        reply = ask(exercise.adapter, exercise.wanted, case.args)
        problem = reply.get("problem")
        if problem is None:
            try:
                value = plain.loads(str(reply.get("value")))
            except plain.NotPlainError as error:
                problem = {"kind": "NotPlain", "text": str(error)}
            else:
                attempted |= value is not ...
                nothing += value is None
                got.append((value is not ... and value is not None, _read(exercise, value, case.args)))
                remark = remark or _remark(exercise, value)
                continue
        problem = problem if isinstance(problem, dict) else {}
        if exercise.adapter == "value" and _is_missing(problem, name):
            absent.append(name)
            got.append((False, None))
            continue
        kind, missing = str(problem.get("kind")), missing or _is_missing(problem, exercise.wanted)
        attempted |= kind != "NotImplementedError"
        got.append((False, None))
        complaint = complaint or in_words(problem, name)
        if missing or kind in ("TooSlow", "Gone"):
            break
    got += [(False, None)] * (len(cases) - len(got))
    if missing:
        return Mark(0, f"there is no {exercise.wanted} in your notebook: its cell was deleted or renamed", "missing")
    if absent and not complaint:
        names = " and no ".join(f"`{name}`" for name in absent)
        complaint = f"there is no {names} in your notebook: did you rename what is asked for?"
    if not attempted:
        return Mark(0, complaint or "not attempted yet", "missing" if absent else "todo")
    if nothing and not complaint:
        where = "nothing" if nothing == len(cases) else "nothing in some cases"
        complaint = f"{exercise.wanted} returned {where}: did you print it in place of `return`?"
    return _mark(exercise, cases, got, complaint, student, remark)


def _read(exercise: Exercise, value: object, args: tuple) -> object:
    """Return what counts of an answer; a text says that it could not be read."""
    try:
        return exercise.read(value, args)
    except Exception:
        return UNREADABLE


def _remark(exercise: Exercise, value: object) -> str:
    """Return what an exercise says about a kind of answer, which may have any form."""
    try:
        return exercise.remark(value)
    except Exception:
        return ""


def _mark(exercise: Exercise, cases: list[Case], got: list, complaint: str, student: str, remark: str = "") -> Mark:
    right = [there and same(value, exercise.expected(*case.args), exercise.close)
             for case, (there, value) in zip(cases, got, strict=True)]  # fmt: skip
    lost = {part: why for part, (_, why) in exercise.parts.items()
            if not all(ok for case, ok in zip(cases, right, strict=True) if case.part == part)}  # fmt: skip
    points = sum(points for part, (points, _) in exercise.parts.items() if part not in lost)
    if not lost:
        return Mark(points, "right", "full")
    known = _known_mistakes(exercise, cases, got)
    if exercise.idle and _all_as(map(_call, repeat(exercise.idle(student)), cases), exercise, got):
        unmended = ["these are the answers of the faulty program, as it was handed out"] if exercise.mends else []
        return Mark(0, "; ".join([*unmended, *known[:1]]), "wrong")
    earned = set(exercise.parts) - set(lost) - set(exercise.slight)
    parts = {part: _known_mistakes(exercise, *_of(part, cases, got)) for part in lost}
    given, why_not = _right_from_the_start(exercise, cases, student), ""
    sentences = [*known, *(sentence for part in parts if part not in given for sentence in parts[part])]
    if not earned - given and not any(exercise.mended(student, sentence) for sentence in sentences):
        why_not = "; what was right from the start earns nothing by itself" if given and points else ""
        points = 0
    points = max([points, *(exercise.credit.get(sentence, 0) for sentence in known)])
    status = "part" if points else "wrong"
    why_not = "" if points else why_not
    if known:
        return Mark(points, known[0] + why_not, status)
    named = {part: several[0] for part, several in parts.items()
             if several and all(sentence.startswith(several[0]) for sentence in several)}  # fmt: skip
    answered = {part for part in lost if all(there for case, (there, _) in zip(cases, got, strict=True)
                                             if case.part == part)}  # fmt: skip
    told = not complaint or (points and exercise.adapter != "value")  # of a name the complaint says enough
    known = {part: why for part, why in (lost | named).items() if told or part in answered}
    text = "; ".join(dict.fromkeys(known.values()))
    hints = {
        case.part: _type_hint(value, exercise.expected(*case.args))
        for case, (there, value) in list(zip(cases, got, strict=True))[::-1]
        if there and case.part in lost and value is not UNREADABLE and exercise.adapter != "network"
    }
    if exercise.adapter == "value":  # a part is a name, and each has a kind of its own
        known |= {part: f"{part}: {hint}" for part, hint in hints.items() if hint and part in known}
        text, hints = "; ".join(dict.fromkeys(known.values())), {}
    if complaint:
        text = f"{complaint} ({text})" if text else complaint
    elif remark:
        text = remark
    elif any(hints.values()):
        text = f"{next(hints[part] for part in exercise.parts if hints.get(part))}; {text}"
    return Mark(points, text + why_not, status)


def _of(part: str, cases: list[Case], got: list) -> tuple[list[Case], list]:
    """Return the cases of one part, and the answers to them."""
    pairs = [(case, one) for case, one in zip(cases, got, strict=True) if case.part == part]
    return [case for case, _ in pairs], [one for _, one in pairs]


def _right_from_the_start(exercise: Exercise, cases: list[Case], student: str) -> set[str]:
    """Return the parts that a program which is to be mended gets right before anybody has touched it."""
    if not (exercise.mends and exercise.idle):
        return set()
    program = exercise.idle(student)
    given = [plain.loads(plain.dumps(program(*case.args))) for case in cases]
    wrong = {case.part for case, value in zip(cases, given, strict=True)
             if not same(value, exercise.expected(*case.args), exercise.close)}  # fmt: skip
    return set(exercise.parts) - wrong


def _known_mistakes(exercise: Exercise, cases: list[Case], got: list) -> list[str]:
    """Return the sentences of the mistakes that explain every one of these answers: several may, where they are few."""
    found = [sentence.strip() for sentence, wrong in exercise.mistakes.items()
             if _all_as(map(_kept, repeat(wrong), cases), exercise, got)]  # fmt: skip
    return list(dict.fromkeys(found))


def _all_as(answers: Iterable, exercise: Exercise, got: list) -> bool:
    """Return whether there is an answer to each case, and each is that of a program, asked one after the other."""
    if not all(there for there, _ in got):
        return False
    try:  # most programs differ in the first case, and are not asked again
        return all(same(value, answer, exercise.close) for answer, (_, value) in zip(answers, got, strict=True))
    except Exception:
        return False


def _call(program: Callable, case: Case) -> object:
    """Return a program's answer to a case."""
    return program(*case.args)


_answers: dict[tuple[Callable, str], object] = {}


def _kept(wrong: Callable, case: Case) -> object:
    """Return a known mistake's answer to a case, worked out once: a whole class is asked the same, or nearly."""
    key = wrong, case.text
    answer = _answers.get(key, ...)
    if answer is ...:
        if len(_answers) >= KEPT:
            _answers.clear()
        _answers[key] = answer = _call(wrong, case)
    return answer


def cut(text: str, most: int) -> str:
    """Return a text of at most so many letters, cut between words and with three dots where it goes on."""
    if len(text) <= most:
        return text
    whole = text[: most - 1].rpartition(" ")[0]
    return f"{whole if len(whole) > most // 2 else text[: most - 2]} …"


def _type_hint(value: object, expected: object) -> str:
    if isinstance(expected, Number) and isinstance(value, str):
        return "you gave text where a number is expected: leave out the quotation marks"
    if isinstance(expected, Number) and isinstance(value, list | tuple) and len(value) == 1:
        return "you gave a list or tuple where one number is expected: no brackets, and no comma behind it"
    if isinstance(expected, list | tuple) and isinstance(value, str | dict):
        what = "text" if isinstance(value, str) else "a dictionary"
        return f"you gave {what} where {len(expected)} values are expected, in a list or separated by commas"
    if (
        isinstance(expected, list | tuple)
        and isinstance(value, list | tuple)
        and any(isinstance(one, str) and isinstance(right, Number) for one, right in zip(value, expected, strict=False))
    ):
        return "you gave text where numbers are expected: leave out the quotation marks"
    if isinstance(value, float) and not math.isfinite(value):
        return "you gave nan or infinity"
    if (
        isinstance(expected, Number)
        and isinstance(value, list | tuple | plain.Array)
        and getattr(value, "shape", 1) != ()
    ):
        return "you gave several values where one number is expected"
    if isinstance(expected, list | tuple) and isinstance(value, Number):
        return f"you gave one number where {len(expected)} values are expected"
    if isinstance(expected, list | tuple) and isinstance(value, list | tuple) and len(value) != len(expected):
        return "you gave another number of values than expected"
    return ""


def _is_missing(problem: dict, wanted: str) -> bool:
    return (
        problem.get("kind") in ("NameError", "KeyError") and problem.get("text") == wanted and not problem.get("line")
    )


def in_words(problem: dict, wanted: str) -> str:
    """Return an error as a sentence; its own text, which may quote a hidden input, is left out."""
    kind, code = str(problem.get("kind")), cut(str(problem.get("code") or ""), 100)
    at = f", in the line `{code}`" if code else ""
    if kind == "TooSlow":
        return f"{wanted} did not end within the time it has"
    if kind == "Gone":
        return f"{wanted} was stopped: {problem.get('why')}"
    if kind == "NotPlain":
        why = next((one for one in plain.WHY if one in str(problem.get("text"))), "it is no plain value")
        return f"{wanted} gave something that cannot be graded: {why}"
    if kind == "own" or not (kind.isidentifier() and len(kind) < 30):
        return f"{wanted} raised an error{at}"
    if kind == "NameError":
        return f"{wanted} uses a name that is not defined{at}: does it need a cell that did not run?"
    if kind == "ModuleNotFoundError":
        return f"{wanted} imports something that is not there when it is graded{at}: write it yourself"
    if kind == "RecursionError":
        return f"{wanted} calls itself without end{at}"
    return f"{wanted} raised {kind}{at}"


def _as_array(got: object) -> object:
    """Return a list of lists of numbers as an array; anything else as it is."""
    import torch

    if not isinstance(got, list | tuple):
        return got
    try:
        there = torch.tensor(got, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return got
    return plain.Array(tuple(there.shape), "float64", there.numpy().tobytes())


def same(got: object, expected: object, close: float = 1e-6) -> bool:
    """Return whether an answer is right: numbers within a relative tolerance, lists item by item, True is not 1."""
    if isinstance(got, plain.Array) and not hasattr(expected, "shape"):
        if math.prod(got.shape) > 10_000:
            return False
        got = got.tensor().tolist()
    if hasattr(expected, "shape") and not isinstance(expected, plain.Array):
        import torch

        got = _as_array(got)
        if not isinstance(got, plain.Array) or got.shape != tuple(expected.shape):
            return False
        there = got.tensor().double()
        return bool(torch.isfinite(there).all()) and torch.allclose(there, expected.double(), rtol=close, atol=close)
    if isinstance(got, bool) or isinstance(expected, bool):
        return isinstance(got, bool) and isinstance(expected, bool) and got == expected
    if isinstance(got, Number) and isinstance(expected, Number):
        if isinstance(got, int) and isinstance(expected, int):
            return got == expected
        try:
            return math.isclose(float(got), float(expected), rel_tol=close, abs_tol=1e-12)
        except OverflowError:
            return False
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(same(a, b, close) for a, b in zip(got, expected, strict=True))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[key], expected[key], close) for key in expected)
    return type(got) is type(expected) and got == expected
