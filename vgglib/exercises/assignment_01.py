"""Visible checks of notebooks/assignments/01_receptive_fields, and the stack that each student computes by hand."""

import functools
import hashlib
import random
import re
import sys
import types
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from vgglib.teaching import Verdict, check_answer, check_function, check_words

Layer = tuple[int, int, int]  # kernel, stride, padding
FIELD = ("field", "receptive", "window", "region", "sees", "see\\b")  # words for what a unit sees
NO_ID = "⏳ put your id in place of the three dots above, in quotes, then run both cells again"
BAD_ID = "❌ that is no id: put your id in quotes, without a comma, then run both cells again"
GRADED_WITH = r"vgglib\.(teaching|exercises(\.assignment_\d\d)?)"  # all of vgglib that is there, beside its name


class MyStack(list[tuple[int, int, int]]):
    """Layers as (kernel, stride, padding), input side first; prints as a table."""

    hint = NO_ID  # what stands in place of a table without layers

    def __repr__(self) -> str:
        if not self:
            return self.hint
        rows = [f"layer {n}: kernel {k}, stride {s}, padding {p}" for n, (k, s, p) in enumerate(self, start=1)]
        return "\n".join(rows)


def nobodys(drawn: object, student: object) -> bool:
    """Return whether ``student`` is no id, and nothing is drawn; what is then shown in its place says why."""
    if isinstance(student, str | int) and not isinstance(student, bool):
        return not str(student).strip()
    if student is not ... and student is not None:
        drawn.hint = BAD_ID
    return True


def not_yet(drawn: object) -> Verdict:
    """Return the verdict on numbers of one's own while nothing is drawn, or not all of them are there."""
    if not drawn and drawn.hint == BAD_ID:
        return Verdict("failed", BAD_ID.removeprefix("❌ "))
    return Verdict("todo", "not attempted yet")


def dice(student: object, salt: str) -> random.Random:
    """Return a student's own source of chance: the same for an id however it is spaced, capitalised or stored."""
    name = " ".join(unicodedata.normalize("NFKC", str(student)).lower().split())
    return random.Random(hashlib.sha256(f"{salt} {name}".encode()).hexdigest())


def my_stack(student: object) -> MyStack:
    """Return the four layers that this student computes; an empty stack while ``student`` is ``...``."""
    stack = MyStack()
    if nobodys(stack, student):
        return stack
    chance = dice(student, "assignment 01")
    first, last = chance.sample([3, 5, 7, 9, 11, 13], 2)
    strided = (chance.choice([4, 5, 6, 7, 8]), chance.choice([2, 3]), chance.choice([1, 2, 3]))
    pooled = (*chance.choice([(2, 2), (3, 2), (3, 3), (4, 2)]), 0)
    return MyStack([(first, 1, chance.randint(0, first // 2)), strided, (last, 1, chance.choice([1, 2, 3])), pooled])


def check_by_hand(student: object, sizes: object, strides: object, start: object) -> Verdict:
    """Return the verdict on a student's own stack: field sizes and strides after each layer, and one window's start."""
    stack = my_stack(student)
    if not stack or all(given is ... for given in (sizes, strides, start)):
        return not_yet(stack)
    from vgglib.configurations import Layer as Described
    from vgglib.receptive_field import receptive_field

    layers = [Described("conv", k, s, p) for k, s, p in stack]
    fields = [receptive_field(layers[: n + 1]) for n in range(len(layers))]
    for name, given, right in (
        ("sizes", sizes, [field.size for field in fields]),
        ("strides", strides, [field.stride for field in fields]),
    ):
        if given is ...:
            return missing(name, ("sizes", "strides"))
        given = given.tolist() if hasattr(given, "tolist") else given
        if not isinstance(given, list | tuple) or len(given) != len(right):
            return Verdict("failed", f"{name} should be a list of {len(right)} numbers, one after each layer")
        for n, (mine, true) in enumerate(zip(given, right, strict=True), start=1):
            if mine is ...:
                return Verdict("todo", f"{name}: after layer {n}, not attempted yet")
            if check_answer(mine, true).status != "passed":
                why = _why(name, n, mine, true, stack) if isinstance(mine, int | float) else ""
                why = f": {no_number(mine)}" if no_number(mine) else why
                return Verdict("failed", f"{name}: after layer {n}, {mine!r} is not it{why}")
    if start is ...:
        return missing("start", ("sizes", "strides", "start"))
    if check_answer(start, fields[-1].window(2)[0]).status != "passed":
        if no_number(start):
            return Verdict("failed", f"start: {start!r} is not it: {no_number(start)}")
        hint = "a window may begin outside of the picture, at a negative pixel; every layer's padding counts in pixels"
        return Verdict("failed", f"start: {start} is not it: {hint} of the input")
    return Verdict("passed", "sizes, strides and start agree")


def missing(name: str, names: Sequence[str]) -> Verdict:
    """Return the verdict on numbers of one's own, the first of which that is not there yet is ``name``."""
    before = [*names[: names.index(name)]]
    so_far = f"right so far: {', '.join(before)}; " if before else ""
    return Verdict("todo", f"{so_far}{name}: not attempted yet")


def no_number(answer: object) -> str:
    """Return what to change where one number is asked for and something else is given; nothing where it is one."""
    if isinstance(answer, str):
        return "a number is asked, without quotation marks"
    if isinstance(answer, list | tuple) and len(answer) == 1:
        return "one number is asked, without a comma behind it and without brackets"
    if isinstance(answer, list | tuple):
        return "one number is asked; write 1234567 without commas"
    return ""


def number_verdict(answer: object, right: object, slips: Mapping[object, str]) -> Verdict:
    """Return the verdict on one number by hand, as check_answer does, also on one that is no number."""
    verdict = check_answer(answer, right, slips)
    if verdict.status == "failed" and no_number(answer):
        return Verdict("failed", f"{answer!r} is not it: {no_number(answer)}")
    return verdict


def _why(name: str, n: int, mine: object, true: int, stack: Sequence[Layer]) -> str:
    """Return the reason for a known slip, with a colon before it."""
    before, kernel, stride = stack[: n - 1], stack[n - 1][0], stack[n - 1][1]
    jump = 1
    for _, s, _ in before:
        jump *= s
    if name == "strides":
        slips = {
            sum(s for _, s, _ in stack[:n]): "strides multiply",
            jump: "that is the stride before this layer, whose own multiplies it",
            stride: "that is the layer's own stride; strides multiply, from the input on",
        }
        return f": {slips[mine]}" if n > 1 and mine in slips else ""
    slips = {
        true + jump: "a layer adds kernel - 1 steps, not kernel",
        true + (kernel - 1) * jump * (stride - 1): "a step is as long as the strides before this layer make it",
        true - (kernel - 1) * (jump - 1): "a step is as long as the strides before this layer make it, not one pixel",
    }
    return f": {slips[mine]}" if slips.get(mine) and mine != true else ""


def alone(check: Callable[[Callable], Verdict]) -> Callable[[Callable], Verdict]:
    """Return the check, which passes no function that needs a part of vgglib that is not there when it is graded."""

    @functools.wraps(check)
    def checked(attempt: Callable) -> Verdict:
        verdict = check(attempt)
        if verdict.status == "passed" and (wanted := _misnamed(attempt, check.__name__)):
            text = f"it is right, but call it {wanted}: you are graded by names"
            return Verdict("failed", f"{attempt.__name__}: {text}")
        needed = sorted(_needs(attempt)) if verdict.status == "passed" else ()
        if needed:
            text = f"it uses {needed[0]}, which is not there when you are graded: write it yourself"
            return Verdict("failed", f"{getattr(attempt, '__name__', 'your function')}: {text}")
        return verdict

    return checked


NAMES = {"parameters": "count_parameters", "macs": "count_macs", "bytes": "count_bytes"}
NAMES |= {"convolution": "as_convolution"}  # a check's name after check_, where its function has another


def _misnamed(attempt: object, check: str) -> str:
    """Return the name that a check's function should have, if a notebook has none of that name; else nothing."""
    name = check.removeprefix("check_")
    name = NAMES.get(name, name)
    in_notebook = isinstance(attempt, types.FunctionType) and attempt.__module__ == "__main__"
    return name if in_notebook and attempt.__globals__.get(name) is not attempt else ""


def _needs(function: object, seen: set | None = None) -> set[str]:
    """Return the modules of vgglib that a function needs, by an import or a name, itself or in a helper of its own."""
    seen = set() if seen is None else seen
    if not isinstance(function, types.FunctionType) or id(function) in seen:
        return set()
    seen.add(id(function))
    names, codes = set(), [function.__code__]
    while codes:
        code = codes.pop()
        names |= {*code.co_names}
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    found = {function.__module__} | names | ({f"vgglib.{name}" for name in names} if "vgglib" in names else set())
    for value in [function.__globals__[name] for name in names if name in function.__globals__]:
        if isinstance(value, types.FunctionType) and value.__module__ == function.__module__:
            found |= _needs(value, seen)
        elif isinstance(value, types.ModuleType | types.FunctionType | type):
            found.add(value.__name__ if isinstance(value, types.ModuleType) else value.__module__)
    parts = {name for name in map(str, found) if name.startswith("vgglib.") and name in sys.modules}
    return {name for name in parts if not re.fullmatch(GRADED_WITH, name)}


@alone
def check_field(attempt: Callable) -> Verdict:
    """Return the verdict on a function that gives (size, stride) of layers (kernel, stride, dilation)."""
    cases = {
        (((3, 1, 1), (3, 1, 1)),): (5, 1),
        (((5, 1, 1), (3, 1, 1)),): (7, 1),
        (((2, 2, 1), (3, 1, 1)),): (6, 2),
        (((3, 2, 1), (5, 2, 1), (3, 1, 1)),): (19, 4),
        (((3, 1, 2),),): (5, 1),
        (((3, 2, 1), (3, 1, 2)),): (11, 2),
        ((),): (1, 1),
    }
    return verdict_on(attempt, cases, "field")


@alone
def check_window(attempt: Callable) -> Verdict:
    """Return the verdict on a function that gives a unit's first and last pixel, clipped to a picture of some side."""
    cases = {
        (((3, 1, 1),), 4, 9): (3, 5),
        (((3, 1, 1),), 0, 9): (0, 1),
        (((3, 1, 1),), 8, 9): (7, 8),
        (((3, 2, 1), (3, 1, 1)), 0, 20): (0, 3),
        (((3, 2, 1), (3, 1, 1)), 5, 20): (7, 13),
        (((2, 2, 0), (3, 1, 1)), 1, 5): (0, 4),
    }
    return verdict_on(attempt, cases, "window")


@alone
def check_centre(attempt: Callable) -> Verdict:
    """Return the verdict on a function that gives the middle of a unit's window in input pixels."""
    cases = {
        (((3, 1, 1),), 4): 4.0,
        (((2, 2, 0),), 0): 0.5,
        (((2, 2, 0),), 3): 6.5,
        (((3, 1, 1), (2, 2, 0), (3, 1, 1)), 2): 4.5,
        (((5, 2, 2), (3, 1, 1)), 0): 0.0,
    }
    return verdict_on(attempt, cases, "centre")


def check_explanation(answer: object) -> Verdict:
    """Return the verdict on the length and the topics of an explanation; a person grades what it says."""
    ideas = {"padding": ("padding", "zeros", "outside", "beyond"), "the receptive field": FIELD}
    return read_later(answer, ideas, "three to six", at_least=30)


def read_later(answer: object, ideas: Mapping[str, Sequence[str]], sentences: str, at_least: int) -> Verdict:
    """Return the verdict on an explanation that a person will grade: on its length and its topic.

    ideas: as for check_words. sentences: how many are asked for, in words.
    """
    if isinstance(answer, list | tuple) and all(isinstance(one, str) for one in answer):
        answer = " ".join(answer)  # commas between the strings
    verdict = check_words(answer, ideas, at_least, "a person who reads it")
    if verdict.status == "passed":
        return Verdict("passed", "long enough and on the topic; a person judges the rest")
    if f"at least {at_least} words" in verdict.text:
        return Verdict("failed", f"write {sentences} sentences, at least {at_least} words")
    if found := re.match("your answer does not speak of (.*) yet;", verdict.text):
        text = f"long enough; this check, which knows English words alone, found nothing of {found[1]}"
        return Verdict("todo", f"{text}: is it there in other words? A person decides")
    return verdict


def verdict_on(attempt: Callable, cases: Mapping[tuple, object], name: str) -> Verdict:
    """Return the verdict of check_function, where lists stand as tuples in the cases, on a function that may be a stub.

    A stub is not attempted yet; a function that was written, and returns nothing, is told so.
    """
    silent = []

    def asked(*arguments: object) -> object:
        result = attempt(*[list(one) if isinstance(one, tuple) else one for one in arguments])
        silent.append(result is None)
        return ... if result is None else result

    verdict = check_function(asked, cases, name)
    return nothing_returned(attempt, name) if verdict.status == "todo" and True in silent else verdict


def nothing_returned(attempt: object, name: str, call: str = "") -> Verdict:
    """Return the verdict on a function that gave None: not attempted yet, if it is as it was handed out."""
    if untouched(attempt):
        return Verdict("todo", f"{name}: not attempted yet")
    return Verdict("failed", f"{call or name} returned nothing: did you print it in place of `return`?")


def untouched(function: object) -> bool:
    """Return whether a function holds three dots, and no more."""
    code, bare = getattr(function, "__code__", None), (lambda: None).__code__
    return code is not None and code.co_code == bare.co_code and code.co_consts[:1] == (None,)
