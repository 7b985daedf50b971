"""What a teacher may show at an appeal: the hidden inputs of one exercise, and the right answers, for one student."""

from grading import plain
from grading.grade import NUMBERS, assignment
from grading.judge import Case, Exercise, cases_of

NAMES = {  # of what an adapter makes the arguments of the student's function
    "train": ("weight", "bias", "batches", "rate", "momentum"),
    "convolution": ("weight of linear", "its bias", "map", "side"),
}


def shown(name: str, student: str, secret: str, number: str | None = None) -> str:
    """Return the cases of an exercise, which is called as in scores.csv or as what it asks for, one a line.

    Raises ValueError, with all names, if there is no such exercise.
    """
    known = {one.grade_id: one for n in NUMBERS if number in (None, n) for one in assignment(n).exercises}
    exercise = known.get(name) or next((one for one in known.values() if one.wanted == name), None)
    if exercise is None:
        raise ValueError(f"there is no exercise {name!r}; say one of {', '.join(known)}")
    return "\n".join(line(exercise, case) for case in cases_of(exercise, secret, student))


def line(exercise: Exercise, case: Case) -> str:
    """Return a case in words: its part, what goes in, and the right answer."""
    args, call = case.args, exercise.wanted
    if exercise.adapter == "value":
        call = args[0]
    elif exercise.adapter in NAMES:
        named = zip(NAMES[exercise.adapter], args[1:], strict=True)
        call += " with " + ", ".join(f"{name} = {written(value)}" for name, value in named)
    elif exercise.adapter == "network":
        call += f"({', '.join(map(written, args[:-2]))}), its {args[-2]} on a batch of {args[-1]}"
    else:
        call += f"({', '.join(map(written, args))})"
    return f"{case.part}: {call}: {written(exercise.expected(*case.args))}"


def written(value: object) -> str:
    """Return a value as it may be pasted into a notebook, tensors among them."""
    if isinstance(value, plain.Array):
        value = value.tensor()
    if hasattr(value, "tolist"):
        return f"torch.tensor({value.tolist()}, dtype={value.dtype})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {written(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(written, value))
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    return repr(value)
