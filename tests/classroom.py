"""Submissions for the tests of the grader: student's editions, solved, spoilt and handed in."""

import copy
import json
import os
import sys
from pathlib import Path

import pytest

ASSIGNMENTS = Path(__file__).resolve().parent.parent / "notebooks" / "assignments"
sys.path.insert(0, str(ASSIGNMENTS))

from grading import grade, sandbox  # noqa: E402

SECRET = "a secret for tests"
LIMITS = sandbox.Limits(seconds=20, cell_seconds=4, call_seconds=2, memory=1536 * sandbox.MIB)
TEACHER = {path.name[:2]: path / f"{path.name}.ipynb" for path in sorted(ASSIGNMENTS.glob("[0-9][0-9]_*"))}
RELEASED = {number: ASSIGNMENTS / "release" / path.parent.name / path.name for number, path in TEACHER.items()}


def book(path):
    """Return a notebook as data."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def cell_of(notebook, grade_id):
    """Return the cell that nbgrader calls so."""
    (found,) = [c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id]
    return found


def source(cell):
    return "".join(cell["source"])


def code(text):
    """Return a new code cell without any marks."""
    return {"cell_type": "code", "metadata": {}, "source": text, "outputs": [], "execution_count": None}


def with_cells(notebook, **sources):
    """Return a copy in which the cells named so hold these sources."""
    changed = copy.deepcopy(notebook)
    for grade_id, text in sources.items():
        cell_of(changed, grade_id)["source"] = text
    return changed


def solutions(number):
    """Return the teacher's solutions by the name of their cells."""
    cells = [c for c in book(TEACHER[number])["cells"] if c["metadata"].get("nbgrader", {}).get("solution")]
    return {c["metadata"]["nbgrader"]["grade_id"]: source(c) for c in cells}


def solved(number, **sources):
    """Return the student's edition with the teacher's solutions, or with these sources in their place."""
    return with_cells(book(RELEASED[number]), **{**solutions(number), **sources})


def hand_in(folder, student, notebook, name="work.ipynb"):
    """Write a notebook (data, text or bytes) into the student's folder, and return its path."""
    path = Path(folder) / student / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(notebook, dict):
        notebook = json.dumps(notebook)
    path.write_bytes(notebook.encode("utf-8", "surrogatepass") if isinstance(notebook, str) else notebook)
    return path


def graded(folder, number, limits=LIMITS, **options):
    """Return the results by student; inside the sandbox wherever there is one."""
    results = grade.grade(Path(folder), SECRET, number, limits, sandboxed=sandbox.protection()[0], workers=2, **options)
    return {result.student: result for result in results}


def rows(result):
    """Return a result's rows by exercise."""
    return {row.exercise: row for row in result.rows}


def need_sandbox():
    """Fail in CI on Linux, and skip elsewhere, where hostile programs could do harm."""
    safe, why = sandbox.protection()
    if not safe and sys.platform.startswith("linux") and os.environ.get("CI"):
        pytest.fail(f"CI must test the sandbox: {why}")
    if not safe:
        pytest.skip(f"hostile submissions are only run inside the sandbox: {why}")


def grade_the_wrong(folder, number, wrong):
    """Grade the named wrong answers: the first of every exercise in one notebook, the second in another, and so on.

    wrong: for each exercise {name: (cell, source or function of the student's id, points, words)}. Yields
    (exercise, name, row, points, words).
    """
    most = max(map(len, wrong.values()))
    for n in range(most):
        picked = {exercise: list(answers.items())[n] for exercise, answers in wrong.items() if n < len(answers)}
        student = f"student {n}"
        texts = {}
        for _, (cell, text, _, _) in picked.values():
            texts[cell] = text(student) if callable(text) else text
        texts[f"student_{number}"] = f"student = {student!r}"
        hand_in(folder, student, with_cells(book(RELEASED[number]), **texts))
    results = graded(folder, number)
    for exercise, answers in wrong.items():
        for n, (name, (_, _, points, words)) in enumerate(answers.items()):
            yield exercise, name, rows(results[f"student {n}"])[exercise], points, words


def assert_lost(case):
    """Assert that a wrong answer lost what it should, with a sentence that names it."""
    exercise, name, row, points, words = case
    assert row.points == points, f"{exercise}, {name}: {row.points} in place of {points} ({row.text})"
    assert words in row.text, f"{exercise}, {name}: {row.text!r} does not say {words!r}"


def run_checks(number, names):
    """Return the visible checks' verdicts for these names, by exercise, as the notebook's own check cells call them."""
    import importlib

    names = {f"assignment_{number}": importlib.import_module(f"vgglib.exercises.assignment_{number}"), **names}
    found = {}
    for cell in book(RELEASED[number])["cells"]:
        marks = cell["metadata"].get("nbgrader", {})
        if marks.get("locked") and "check_" in source(cell):
            found[marks["grade_id"]] = eval(source(cell), names)
    return found


def defined(number, sources):
    """Return what the cells define, after the assignment's imports; only for the tests' own, harmless code."""
    names = {}
    exec(source(cell_of(book(RELEASED[number]), f"setup_{number}")), names)
    for text in sources.values():
        exec(text, names)
    return names
