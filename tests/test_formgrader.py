"""nbgrader alone, as formgrader calls it: makes the release, autogrades without isolation, gives the same points."""

import json
import os
import shutil
import subprocess
import sys

import classroom

NUMBER = "01"
NAME = classroom.RELEASED[NUMBER].stem


def loudly(source):
    """Return a function that is right, and writes to standard error as libraries do that are about to change."""
    told = """
    warnings.warn("this will change in a later version")
    print("a library says this", file=sys.stderr)"""
    head, body = source.split("\n", 1)
    return f"import sys, warnings\n\n\n{head}{told}\n{body}"


def nbgrader(course, *words):
    """Run one of nbgrader's commands in the course's folder."""
    scripts = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    process = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words],
        cwd=course,
        env={**os.environ, "PATH": scripts},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]


def test_nbgrader_alone_gives_the_same_points(tmp_path):
    for name in ("source", "grading"):
        shutil.copytree(classroom.ASSIGNMENTS / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(classroom.ASSIGNMENTS / "nbgrader_config.py", tmp_path)
    shutil.copytree(classroom.ASSIGNMENTS / "release", tmp_path / "release")
    nbgrader(tmp_path, "generate_assignment", NAME, "--force")
    assert classroom.book(tmp_path / "release" / NAME / f"{NAME}.ipynb") == classroom.book(classroom.RELEASED[NUMBER])
    half = classroom.solved(
        NUMBER, centre_answer="def centre(layers, unit):\n    return 1 / 0", window_answer="def window("
    )
    loud = classroom.solved(NUMBER, field_answer=loudly(classroom.solutions(NUMBER)["field_answer"]))
    untouched = classroom.book(classroom.RELEASED[NUMBER])
    for student, notebook in {"ada": classroom.solved(NUMBER), "berta": untouched, "carl": half, "dora": loud}.items():
        path = tmp_path / "submitted" / student / NAME / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(notebook), encoding="utf-8")
    nbgrader(tmp_path, "autograde", NAME)
    code = (
        "from nbgrader.api import Gradebook\n"
        f"with Gradebook('sqlite:///gradebook.db') as book:\n    for s in book.assignment_submissions('{NAME}'):\n"
        "        print(s.student.id, s.notebooks[0].score)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    scores = dict(line.split() for line in out.splitlines())
    assert {student: float(points) for student, points in scores.items()} == {
        "ada": 17,
        "berta": 0,
        "carl": 10,
        "dora": 17,
    }
