"""What a teacher may show at an appeal: the hidden inputs of one exercise, and the right answers, for one student."""

from grading import plain
from grading.grade import NUMBERS, assignment
from grading.judge import Case, Exercise, cases_of


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
    args, looks = case.args, ""
    if exercise.adapter == "value":
        call = args[0]
    else:
        if exercise.adapter == "network":
            looks = f", its {args[-2]} on a batch of {args[-1]}"
            args = args[:-2]
        elif exercise.adapter in ("train", "convolution"):  # what such arguments are stands in adapters.py
            looks, args = f", its {args[0]}", args[1:]
        call = f"{exercise.wanted}({', '.join(map(written, args))})"
    return f"{case.part}: {call}{looks}: {written(exercise.expected(*case.args))}"


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
