"""The grader's parts: what may pass between the processes, what is collected, what is written, and the command line."""

import csv
import json
import time
from dataclasses import replace

import classroom
import pytest
from grading import __main__ as command
from grading import judge, plain, report, submission

NUMBER = "01"


# --- plain data ---------------------------------------------------------------------------------------------------


def test_plain_data_come_back_as_they_went():
    torch = pytest.importorskip("torch")
    for value in (None, True, 7, -2.5, float("inf"), "é", [1, (2, [3])], {"a": [1], 2: "b"}, ..., 10**100):
        assert plain.loads(plain.dumps(value)) == value
    for tensor in (torch.arange(6).reshape(2, 3), torch.rand(2, 1, 3), torch.zeros(0, 4), torch.tensor(True)):
        there = plain.loads(plain.dumps(tensor)).tensor()
        assert there.dtype == tensor.dtype
        assert there.shape == tensor.shape
        assert (there == tensor).all()


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        b"bytes",
        1j,
        lambda: 1,
        [[[[[[[[[[1]]]]]]]]]],
        [0] * 30_000,
        "x" * 30_000,
        10**500,
        {"a": print},
    ],
    ids=["object", "set", "bytes", "complex", "function", "deep", "many", "long", "huge", "hidden function"],
)
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(plain.NotPlainError):
        plain.dumps(value)


ARRAY = {"kind": "array", "shape": [2], "dtype": "int64", "data": "AAAA"}


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[1]", "9" * 5000, '{"kind": "code"}', '{"kind": "list", "items": 5}'],
        '{"kind": "dict", "items": [1]}',
        *(json.dumps({**ARRAY, **wrong}) for wrong in (
            {}, {"shape": [-1]}, {"shape": [10**12]}, {"shape": "2"}, {"dtype": "object"}, {"data": "?"}, {"data": 5},
            {"shape": [1] * 20}, {"shape": [700, 800]}, {"shape": [2.0]}, {"dtype": ["int64"]},
        )),
        "[" * 100_000, '{"kind": "list", "items": ' * 50 + "1" + "}" * 50,
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_what_was_not_written_by_dumps_is_refused(text):
    with pytest.raises(plain.NotPlainError):
        plain.loads(text)


def test_same_compares_values_and_nothing_else():
    assert judge.same(3, 3.0)
    assert judge.same([1, (2,)], (1, [2]))
    for got, expected in (
        (True, 1),
        (1, True),
        ("1", 1),
        ([1], 1),
        (None, 0),
        (float("nan"), 1.0),
        ([1, 2], [1]),
        ({}, []),
    ):
        assert not judge.same(got, expected), (got, expected)


# --- collecting ---------------------------------------------------------------------------------------------------


def test_students_are_found_in_every_layout(tmp_path):
    text = json.dumps(classroom.book(classroom.RELEASED[NUMBER]))
    for name in ("ada.ipynb", "berta__hand in.ipynb", "carl/any/where.ipynb", "dora/01_receptive_fields/x.ipynb",
                 ".hidden/x.ipynb", "emil/.ipynb_checkpoints/x.ipynb", "notes.txt"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = submission.found(tmp_path)
    assert sorted(found) == ["ada", "berta", "carl", "dora", "emil"]
    assert found["emil"][0].problem.startswith("there is no notebook")
    with pytest.raises(NotADirectoryError, match="not a folder"):
        submission.found(tmp_path / "nowhere")


def test_a_notebook_goes_to_the_assignment_of_its_cells(tmp_path):
    for number in classroom.TEACHER:
        classroom.hand_in(tmp_path, "ada", classroom.book(classroom.RELEASED[number]), f"{number}_named_by_me.ipynb")
    known = {number: classroom.grade.assignment(number) for number in classroom.TEACHER}
    picked = classroom.grade.chosen("ada", submission.found(tmp_path)["ada"], known, None)
    assert [(what.name[:2], one.path.name[:2]) for what, one in picked] == [(number, number) for number in known]
    ((what, one),) = classroom.grade.chosen("ada", submission.found(tmp_path)["ada"], known, "02")
    assert (what.name[:2], one.path.name[:2], one.flags) == ("02", "02", [])
    classroom.hand_in(tmp_path, "berta", classroom.book(classroom.RELEASED["02"]))
    (tmp_path / "berta" / "nowhere.ipynb").symlink_to(tmp_path / "nothing")
    ((_, one),) = classroom.grade.chosen("berta", submission.found(tmp_path)["berta"][1:], known, "03")
    assert one.problem.startswith("there is no notebook of this assignment")
    assert classroom.grade.chosen("berta", submission.found(tmp_path)["berta"], known, "02")[0][1].cells


# --- what is written ----------------------------------------------------------------------------------------------


def test_points_of_a_person_are_kept_and_counted(tmp_path):
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER))
    graded = lambda: list(classroom.graded(tmp_path / "in", NUMBER).values())  # noqa: E731
    out = tmp_path / "out"
    report.write(graded(), out, classroom.SECRET)
    by_hand = (out / "by_hand.csv").read_text()
    assert "ada,01_receptive_fields,explain_01,,3," in by_hand
    (out / "by_hand.csv").write_text(by_hand.replace("explain_01,,3,", 'explain_01,"2,5",3,Say what the unit gets'))
    report.write(graded(), out, classroom.SECRET)
    with (out / "totals.csv").open(newline="") as file:
        (total,) = csv.DictReader(file)
    assert (float(total["points"]), total["waiting"]) == (15.5, "0")  # her own stack is not the teacher's
    assert "Say what the unit gets" in (out / "feedback" / "01_receptive_fields" / "ada.html").read_text()
    (out / "by_hand.csv").write_text(by_hand.replace("explain_01,,3,", "explain_01,30,3,"))
    with pytest.raises(ValueError, match="'30' is no number of points from 0 to 3"):
        report.write(graded(), out, classroom.SECRET)


def test_a_second_look_at_one_student_keeps_the_others(tmp_path):
    for student in ("ada", "=berta"):
        classroom.hand_in(tmp_path / "in", student, classroom.book(classroom.RELEASED[NUMBER]))
    classroom.hand_in(tmp_path / "again", "ada", classroom.solved(NUMBER))
    for folder in ("in", "again"):
        report.write(list(classroom.graded(tmp_path / folder, NUMBER).values()), tmp_path / "out", classroom.SECRET)
    with (tmp_path / "out" / "totals.csv").open(newline="") as file:
        totals = {line["student"]: float(line["points"]) for line in csv.DictReader(file)}
    assert totals == {"ada": 13, "'=berta": 0}
    assert (tmp_path / "out" / "scores.csv").read_text().count("\n") == 11


def test_students_with_like_names_keep_their_own_pages():
    names = ["ada", "ada/", "ada?", "..", "Ä", "x" * 300, "", "CON", "<b>"]
    files = {report.file_name(name) for name in names}
    assert len(files) == len(names)
    assert all(len(name) < 80 and "/" not in name and name.strip(".") for name in files)


def test_the_command_line(tmp_path, capsys, monkeypatch):
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER))
    words = ["grade", str(tmp_path / "in"), "--into", str(tmp_path / "out"), "--secret", str(tmp_path / "secret.txt")]
    assert command.main([*words, "--without-sandbox"]) == 0
    said = capsys.readouterr().out
    assert "1 submissions graded" in said
    secret = tmp_path / "secret.txt"
    assert len(secret.read_text().strip()) == 32
    assert secret.stat().st_mode & 0o077 == 0
    assert (tmp_path / "out" / "scores.csv").read_text().count("\n") == 6
    assert secret.read_text().strip() not in (tmp_path / "out" / "scores.csv").read_text()
    monkeypatch.setattr(classroom.sandbox, "protection", lambda: (False, "no bubblewrap"))
    assert command.main(words) == 1
    assert "Not graded: no bubblewrap" in capsys.readouterr().out
    secret.write_text("short")
    assert command.main([*words, "--without-sandbox"]) == 1
    assert "holds no secret" in capsys.readouterr().out


# --- without the sandbox ------------------------------------------------------------------------------------------


def test_without_the_sandbox_points_and_limits_are_the_same(tmp_path):
    classroom.hand_in(tmp_path, "ada", classroom.solved(NUMBER))
    classroom.hand_in(
        tmp_path, "berta", classroom.solved(NUMBER, field_answer="def field(layers):\n    while True: pass")
    )
    text = "def field(layers):\n    import time\n    time.sleep(100)"
    classroom.hand_in(tmp_path, "carl", classroom.solved(NUMBER, field_answer=text))
    limits = replace(classroom.LIMITS, wall_seconds=3, call_seconds=0.3)
    began = time.monotonic()
    results = classroom.grade.grade(tmp_path, classroom.SECRET, NUMBER, limits, sandboxed=False)
    assert time.monotonic() - began < 100
    points = {result.student: [row.points for row in result.rows[1:4]] for result in results}
    assert points == {"ada": [6, 4, 3], "berta": [0, 4, 3], "carl": [0, 4, 3]}
    assert {result.isolation for result in results} == {"none"}


def test_the_grader_says_what_protects(monkeypatch):
    monkeypatch.setattr(classroom.sandbox.shutil, "which", lambda name: None)
    classroom.sandbox.protection.cache_clear()
    safe, why = classroom.sandbox.protection()
    classroom.sandbox.protection.cache_clear()
    assert not safe
    assert "bubblewrap" in why
