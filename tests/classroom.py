"""Submissions for the tests of the grader: student's editions, solved, spoilt and handed in."""

import copy
import json
import os
import sys
from pathlib import Path

import pytest

ASSIGNMENTS = Path(__file__).resolve().parent.parent / "notebooks" / "assignments"
sys.path.insert(0, str(ASSIGNMENTS))

from grading import grade, sandbox, unisolated  # noqa: E402

SECRET = "a secret for tests"
LIMITS = sandbox.Limits(seconds=60, cell_seconds=1, call_seconds=0.7, wall_seconds=6, memory=1536 * sandbox.MIB)
TEACHER = {path.name[:2]: path / f"{path.name}.ipynb" for path in sorted((ASSIGNMENTS / "source").glob("[0-9]*"))}
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


def graded(folder, number, limits=LIMITS, workers=2, **options):
    """Return the results by student; inside the sandbox wherever there is one."""
    safe = sandbox.protection()[0]
    results = grade.grade(Path(folder), SECRET, number, limits, sandboxed=safe, workers=workers, **options)
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


def marked(number, exercise, cell, text, student="student 8"):
    """Return the mark for one exercise where a cell holds this text (or what it makes of the student's id).

    These answers are harmless, so they are asked in this process: same judge, same questions, same plain data.
    """
    text = text(student) if callable(text) else text
    names = defined(number, {f"student_{number}": f"student = {student!r}", cell: text})
    (what,) = [one for one in grade.assignment(number).exercises if one.grade_id == exercise]
    return grade.judge.mark(what, unisolated.answers(names), SECRET, student)


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
