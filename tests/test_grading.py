"""The grader's parts: what may pass between the processes, what is collected, what is written, and the command line."""

import csv
import html
import importlib
import json
import re
import shutil
import subprocess
import time
import unicodedata
import zipfile
from collections import OrderedDict, namedtuple
from dataclasses import replace
from enum import IntEnum
from fractions import Fraction
from pathlib import Path

import classroom
import pytest
from grading import __main__ as command
from grading import judge, magics, plain, report, submission

NUMBER = "01"
ADA = {"student_01": "student = 'ada'"}


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


def test_an_answer_of_another_form_than_agreed_is_wrong_and_no_more():
    """Whoever takes the student's process over may send what no adapter gives."""
    for number in classroom.TEACHER:
        for one in classroom.grade.assignment(number).exercises:
            for value in ({"layers": 5}, {"layers": [["own"]]}, {}, [[]], "x", {"loss": {}, "modes": 3}, [None]):
                mark = judge.mark(one, lambda *args, value=value: {"value": plain.dumps(value)}, "a secret", "ada")
                assert mark.points == 0, (one.grade_id, value)


def test_kin_of_plain_data_pass_as_plain_data():
    pair = namedtuple("pair", "size stride")
    for value, there in (
        (pair(3, 1), (3, 1)), (Fraction(7, 2), 3.5), (OrderedDict(a=1), {"a": 1}), (IntEnum("E", "a")(1), 1),
    ):  # fmt: skip
        back = plain.loads(plain.dumps(value))
        assert back == there
        assert type(back) in (tuple, float, dict, int)


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
        Fraction(10**500),
    ],
    ids=[
        "object",
        "set",
        "bytes",
        "complex",
        "function",
        "deep",
        "many",
        "long",
        "huge",
        "hidden function",
        "huge fraction",
    ],
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


def test_a_notebook_that_belongs_to_nothing_is_not_graded(tmp_path):
    classroom.hand_in(tmp_path / "in", "ada", classroom.book(classroom.RELEASED["03"]))
    classroom.hand_in(
        tmp_path / "in", "ada", {**classroom.book(classroom.RELEASED["03"]), "cells": [TRAIN]}, "notes.ipynb"
    )
    classroom.hand_in(tmp_path / "in", "berta", b'{"cells": [')
    (tmp_path / "in" / "carl").mkdir()
    said = []
    results = classroom.grade.grade(tmp_path / "in", classroom.SECRET, sandboxed=False, tell=said.append)
    assert [(result.student, result.assignment) for result in results] == [("ada", "03_blocks")]
    for student, what in (("ada", "notes.ipynb"), ("berta", "work.ipynb"), ("carl", "no notebook in your folder")):
        (line,) = [line for line in said if line.startswith(f"{student}: not graded")]
        assert "say ASSIGNMENT=" in line
        assert what in line
    known = {number: classroom.grade.assignment(number) for number in classroom.TEACHER}
    for student, words in (("berta", "no notebook"), ("carl", "no notebook")):
        ((_, one),) = classroom.grade.chosen(student, submission.found(tmp_path / "in")[student], known, "03")
        assert words in one.problem


def test_an_unreadable_notebook_leaves_earlier_marks(tmp_path):
    classroom.hand_in(tmp_path / "01", "berta", classroom.solved("01"))
    classroom.hand_in(tmp_path / "03", "berta", b'{"cells": [')
    classroom.hand_in(tmp_path / "03", "ada", classroom.book(classroom.RELEASED["03"]))
    for folder in ("01", "03"):
        results = classroom.grade.grade(tmp_path / folder, classroom.SECRET, sandboxed=False)
        report.write(results, tmp_path / "out", classroom.SECRET)
    with (tmp_path / "out" / "totals.csv").open(newline="") as file:
        totals = {(line["student"], line["assignment"]): line["points"] for line in csv.DictReader(file)}
    assert totals == {("berta", "01_receptive_fields"): "13", ("ada", "03_blocks"): "0"}


def test_the_books_own_notebooks_are_no_hand_ins(tmp_path):
    """A student who hands in the whole book: neither the solutions, nor untouched assignments, nor chapters count."""
    known = {number: classroom.grade.assignment(number) for number in classroom.TEACHER}
    for path in [*classroom.TEACHER.values(), *classroom.RELEASED.values()]:
        classroom.hand_in(tmp_path, "ada", path.read_bytes(), path.relative_to(classroom.ASSIGNMENTS))
    for path in classroom.ASSIGNMENTS.parent.glob("[0-9]*.ipynb"):
        classroom.hand_in(tmp_path, "ada", path.read_bytes(), path.name)
    assert len(classroom.grade.chosen("ada", submission.found(tmp_path)["ada"], known, None)) == len(known)
    mine = classroom.hand_in(
        tmp_path, "ada", classroom.solved("01", field_answer="def field(layers): pass"), "my.ipynb"
    )
    for number in (None, "01"):
        ((what, one),) = classroom.grade.chosen("ada", submission.found(tmp_path)["ada"], known, number)
        assert (what.name, one.path) == ("01_receptive_fields", mine)
    ((_, one),) = classroom.grade.chosen("ada", submission.found(tmp_path)["ada"], known, "02")
    assert "release" in one.path.parts


def test_files_with_other_endings_are_named(tmp_path):
    text = json.dumps(classroom.book(classroom.RELEASED[NUMBER]))
    names = ("ada.IPYNB", "berta.ipynb.txt", "carl.py", "dora/work.ipynb.txt", "emil/Work.Ipynb", "roster.csv")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    said = []
    found = submission.found(tmp_path, said.append)
    assert sorted(found) == ["ada", "berta", "carl", "dora", "emil"]
    assert found["ada"][0].cells
    assert found["emil"][0].cells
    for student, name in (("berta", "berta.ipynb.txt"), ("carl", "carl.py"), ("dora", "work.ipynb.txt")):
        assert name in found[student][0].problem
    assert said == ["roster.csv is no notebook: it was left out"]


MOODLE = "Ada Lovelace_12345_assignsubmission_file_"


def test_what_moodle_puts_behind_a_name_is_no_part_of_the_id(tmp_path):
    text = json.dumps(classroom.book(classroom.RELEASED[NUMBER]))
    names = (f"{MOODLE}/work.ipynb", "Berta Benz_7_assignsubmission_file/01.ipynb", "emil__late/work.ipynb",
             "Carl_Gauß_31_assignsubmission_file_02_counting.ipynb", "dora_12_more/work.ipynb",
             "Ada Lovelace_12345_assignsubmission_onlinetext_/onlinetext.html")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    said = []
    found = submission.found(tmp_path, said.append)
    assert sorted(found) == ["Ada Lovelace", "Berta Benz", "Carl_Gauß", "dora_12_more", "emil"]
    assert [bool(one.cells) for one in found["Ada Lovelace"]] == [True, False]
    assert said == []


def test_two_students_of_one_name_are_not_taken_for_one(tmp_path):
    """Moodle calls everybody Participant where a teacher may not know who it is."""
    for number in (12345, 678):
        classroom.hand_in(tmp_path, f"Participant_{number}_assignsubmission_file_", classroom.solved(NUMBER))
    said = []
    assert sorted(submission.found(tmp_path, said.append)) == ["Participant 12345", "Participant 678"]
    assert said == ["2 students are called Participant, here Participant 12345 and so on: name each by its id"]


@pytest.mark.parametrize(
    ("student", "typed", "mine"),
    [
        ("Ada Lovelace", "'ada  lovelace'", True),
        ("4711", "'4711'", True),
        ("4711", "4711", True),
        ("4711", "4712", False),
        ("ada_lovelace", "'ada lovelace'", False),
        ("adalovelace", "'ada lovelace'", False),
        ("ada", "'b`er<ta'", False),
    ],
)
def test_an_id_that_is_another_one_is_told_to_the_student_and_the_teacher(tmp_path, student, typed, mine):
    by_hand = importlib.import_module("grading.assignment_01").by_hand
    answers = "\n".join(f"{name} = {by_hand(name, student)}" for name in ("sizes", "strides", "start"))
    book = classroom.solved(NUMBER, student_01=f"student = {typed}", by_hand_answer_01=answers)
    classroom.hand_in(tmp_path / "in", student, book)
    (result,) = classroom.graded(tmp_path / "in", NUMBER).values()
    assert result.points == 17
    told = f"exercises of your own were graded for `{student}`"
    assert [note for note in result.notes if note.endswith(told)] == ([] if mine else result.notes)
    assert bool(result.notes) != mine
    assert ("another id in the notebook" in "".join(result.flags)) != mine
    report.write([result], tmp_path / "out", classroom.SECRET)
    (page,) = (tmp_path / "out" / "feedback" / "01_receptive_fields").iterdir()
    assert "<ta" not in page.read_text(encoding="utf-8").replace("<table", "")


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_the_guides_commands_for_downloads_leave_files_named_by_ids(tmp_path):
    guide = (classroom.ASSIGNMENTS / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    (moodle,) = [block for block in blocks if "assignsubmission" in block]
    (canvas,) = [block for block in blocks if "sed -E" in block]
    text = json.dumps(classroom.book(classroom.RELEASED[NUMBER]))
    given = ["moodle/Ada L_12_assignsubmission_file_/ada.ipynb", "moodle/Berta B_3_assignsubmission_file/4711.ipynb"]
    for name in given:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["bash", "-ec", moodle], cwd=tmp_path, check=True)
    assert sorted(submission.found(tmp_path / "handed_in")) == ["4711", "ada"]
    for name in ("lovelaceada_123_456_carl g.ipynb", "dd_LATE_7_8_dora_d-1.ipynb", "e_9_10_e-e-12.ipynb"):
        (tmp_path / "handed_in" / name).write_text(text)
    subprocess.run(["bash", "-ec", canvas], cwd=tmp_path, check=True)
    assert sorted(submission.found(tmp_path / "handed_in")) == ["4711", "ada", "carl g", "dora_d", "e-e"]


def test_accents_stored_in_two_ways_are_one_student(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Jürgen Müller") for form in ("NFC", "NFD"))
    by_hand = importlib.import_module("grading.assignment_01").by_hand
    for student in (composed, apart):
        mine = "\n".join(f"{name} = {by_hand(name, composed)}" for name in ("sizes", "strides", "start"))
        answers = {"student_01": f"student = {composed!r}", "by_hand_answer_01": mine}
        folder = tmp_path / ("composed" if student == composed else "apart")
        classroom.hand_in(folder, student, classroom.solved(NUMBER, **answers))
        (result,) = classroom.graded(folder, NUMBER).values()
        assert (result.student, result.points) == (composed, 17)
        assert not [flag for flag in result.flags if "another id" in flag]
    draw = importlib.import_module("vgglib.exercises.assignment_01").my_stack
    assert draw(composed) == draw(apart)
    assert draw("ada") == [(5, 1, 2), (5, 2, 3), (13, 1, 3), (3, 2, 0)]


# --- what is run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ('x = """a\n% b\n!c\nwhy?"""\n%matplotlib inline', 'x = """a\n% b\n!c\nwhy?"""\npass'),
        ("x = (7\n  % 4)\n!ls \\\n  -l\ny = 1", "x = (7\n  % 4)\npass\n\ny = 1"),
        ("%time x = [\n  1,\n  % 2\n]", "x = [\n  1,\n  % 2\n]"),
        ("if x:\n    %timeit f(x)\n    y = !ls", "if x:\n    pass\n    y = []"),
        ("%%time\nx = 1\n%%bash", "\nx = 1\npass"),
        ("%%prun -q\nx = 1", "\nx = 1"),
        ("%%timeit\nx = 1", ""),
        ("%%time\n" * 3_000 + "x = 1", "\n" + "pass\n" * 2_999 + "x = 1"),
        ("%%html\nx = 1", ""),
        ("x = 7 \\\n% 4", "x = 7 \\\n% 4"),
        ("len?\n?len\nx = '#'; len??\nx # why?", "pass\npass\nx = '#'; len??\nx # why?"),
        ("def f(:\n  x = '(' # [\n%pwd", "def f(:\n  x = '(' # [\n%pwd"),
    ],
    ids=lambda text: text[:20],
)
def test_only_lines_for_the_shell_are_taken_out(source, plain):
    assert magics.without_magics(source) == plain


@pytest.mark.parametrize(
    ("source", "loaded"),
    [
        ("import math, random\nfrom vgglib.exercises import assignment_01\nx = [1, 2]", False),
        ("from collections import namedtuple\n%time import json", False),
        ("if False:\n    import math, scipy.stats as s", True),
        ("def f():\n    from matplotlib import pyplot", True),
        ("from . import x", True),
        ("import importlib", True),
        ("__import__('numpy')", True),
        ("import builtins\nbuiltins.exec('import numpy')", True),
        ("def f(:", True),
        ("x = 1\n" * 50_000, True),
    ],
)
def test_libraries_are_loaded_where_they_may_be_needed(source, loaded):
    assert classroom.grade.needed(("numpy",), ["x = 1", source]) == (("numpy",) if loaded else ())


def test_chance_is_the_same_in_every_run_of_every_library(tmp_path):
    drawn = "int(numpy.random.rand() * 10**9), random.randrange(10**9)"
    for student in ("ada", "berta"):
        explained = f"import numpy, random\nexplanation = str(({drawn}))"
        classroom.hand_in(tmp_path, student, classroom.solved(NUMBER, explain_01=explained))
    first, second = (result.rows[-1].answer for result in classroom.graded(tmp_path, NUMBER).values())
    assert re.fullmatch(r"\(\d+, \d+\)", first)
    assert first == second


def test_staged_exercises_draw_as_the_real_ones_and_check_nothing():
    for number in classroom.TEACHER:
        name = f"vgglib.exercises.assignment_{number}"
        real, staged = importlib.import_module(name), {}
        source = Path(real.__file__).read_text(encoding="utf-8")
        exec(classroom.sandbox.without_checks(source), staged)
        (draw,) = [draw for draw in vars(real) if draw.startswith("my_")]
        assert repr(staged[draw]("ada")) == repr(vars(real)[draw]("ada"))
        assert not [kept for kept in staged if kept.startswith("check_") and kept not in CHECKERS]
        assert staged["__getattr__"]("check_it")(1, there=2) is None


def test_an_error_is_told_by_the_first_line_of_its_cell_and_once(tmp_path):
    classroom.hand_in(
        tmp_path, "ada", classroom.solved(NUMBER, **ADA, field_answer="\ndef field(layers)\n    return 1")
    )
    (result,) = classroom.graded(tmp_path, NUMBER).values()
    text = classroom.rows(result)["field"].text
    assert text.startswith("the cell that begins with `def field(layers)` did not run to its end: SyntaxError")
    assert text.endswith("so there is no field")
    assert not result.notes


def test_an_error_beside_a_number_by_hand_or_an_explanation_is_told_there(tmp_path):
    spoilt = {"by_hand_answer_01": "sizes = [1, 2\nstrides = [1]", "explain_01": 'explanation = "never closed'}
    book = classroom.solved(NUMBER, **ADA, **spoilt)
    book["cells"] += [classroom.code("undefined_name"), classroom.code("1 / 0  # " + "word " * 40)]
    classroom.hand_in(tmp_path, "ada", book)
    (result,) = classroom.graded(tmp_path, NUMBER).values()
    rows = classroom.rows(result)
    for name in ("by_hand_01", "explain_01"):
        assert "did not run to its end: SyntaxError" in rows[name].text
    assert (rows["by_hand_01"].status, rows["explain_01"].status) == ("missing", "waits")
    assert rows["explain_01"].text.endswith("so there is no explanation; a person reads what stands there")
    assert len(result.notes) == 2
    assert not [note for note in result.notes if re.search(r"wor\b|wo\b|w\b", note)]
    assert "word …`" in result.notes[1]


def test_a_page_shows_code_as_code_and_nothing_else(tmp_path):
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, field_answer="def field(x): return `<b>`"))
    report.write(list(classroom.graded(tmp_path / "in", NUMBER).values()), tmp_path, classroom.SECRET)
    page = (tmp_path / "feedback" / "01_receptive_fields" / "ada.html").read_text(encoding="utf-8")
    assert "<code>def field(x): return " in page
    assert "<b>" not in page
    assert page.count("did not run to its end") == 1
    assert report.marked("a `b<c>` `d") == "a <code>b&lt;c&gt;</code> `d"


def test_a_deleted_cell_and_a_failed_one_are_told_apart(tmp_path):
    book = classroom.solved(NUMBER)
    book["cells"].remove(classroom.cell_of(book, "field_answer"))
    classroom.hand_in(tmp_path, "ada", book)
    (result,) = classroom.graded(tmp_path, NUMBER).values()
    assert classroom.rows(result)["field"].text == "there is no field in your notebook: its cell was deleted or renamed"


def test_files_beside_a_notebook_are_named(tmp_path):
    source = "from helper import field"
    classroom.hand_in(tmp_path, "ada", classroom.solved(NUMBER, **ADA, field_answer=source), "work/a.ipynb")
    for name in ("helper.py", ".hidden", "__pycache__/helper.pyc", "timestamp.txt"):
        (tmp_path / "ada" / "work" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "ada" / "work" / name).write_text(classroom.solutions(NUMBER)["field_answer"])
    (result,) = classroom.graded(tmp_path, NUMBER).values()
    assert result.notes[0] == "helper.py: not read, since everything must stand in the notebook"
    assert "ModuleNotFoundError" in "".join(row.text for row in result.rows) + "".join(result.notes)


def grading_into(out, tmp_path):
    """The command that grades what lies in tmp_path / "in"."""
    place = ["grade", str(tmp_path / "in"), "--into", str(out), "--secret", str(tmp_path / "secret")]
    return [*place, "--without-sandbox"]


def test_the_terminal_counts_what_a_person_gave(tmp_path, capsys):
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER))
    out = tmp_path / "out"
    words = grading_into(out, tmp_path)
    assert command.main(words) == 0
    assert "ada: 13 of 20, and 3 wait for a person" in capsys.readouterr().out
    text = (out / "by_hand.csv").read_text()
    (out / "by_hand.csv").write_text(text.replace("explain_01,,3,", 'explain_01,"2,5",3,'))
    assert command.main(words) == 0
    assert "ada: 15.5 of 20\n" in capsys.readouterr().out
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, explain_01=EXPLAINED))
    assert command.main(words) == 0
    said = capsys.readouterr().out
    assert "ada: 13 of 20, and 3 wait for a person" in said
    assert said.count("has changed: read it again") == 1


def test_copies_are_found_function_by_function_and_by_their_explanation(tmp_path):
    solved = classroom.solutions("02")
    mine = {name: text.replace("total", "count").replace("values", "numbers") for name, text in solved.items()}
    other = {name: text.replace("total", "n").replace("values", "v") for name, text in solved.items()}
    words = 'explanation = "With as many channels in as out the pair is smaller, but it keeps more maps."'
    given = {
        "ada": {**mine, "explain_02": words},
        "berta": {**other, "macs_answer": "# by hand\n" + mine["macs_answer"],
                  "explain_02": words.replace("but", " but")},
        "carl": {**other, "macs_answer": mine["macs_answer"].replace("count", "c"),
                 "explain_02": "explanation = 'No idea'",
                 "parameters_answer": mine["parameters_answer"].replace("count", "c"),
                 "bytes_answer": mine["bytes_answer"].replace("numbers", "c")},
        "dora": {**mine, "explain_02": "explanation = 'No idea'"},
    }  # fmt: skip
    for student, sources in given.items():
        sources = {name: text for name, text in sources.items() if not name.startswith(("by_hand", "student"))}
        classroom.hand_in(tmp_path, student, classroom.solved("02", **sources, student_02=f"student = {student!r}"))
    flags = {name: result.flags for name, result in classroom.graded(tmp_path, "02").items()}
    assert flags["ada"] == ["same functions as dora", "same count_macs as berta", "same explanation as berta"]
    assert flags["berta"] == ["same count_macs as dora, ada", "same explanation as ada"]
    assert flags["carl"] == []
    assert flags["dora"] == ["same functions as ada", "same count_macs as berta"]


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


EXPLAINED = 'explanation = """Beyond the edge of the picture the unit sees padding, that is zeros."""'
TRAIN = classroom.code("def train(net): pass")
CHECKERS = ("check_function", "check_words", "check_answer")  # of vgglib.teaching


def points_of(folder):
    """Return the points of each student for the explanation, and what they read about it."""
    with (folder / "scores.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["exercise"] == "explain_01"]
    return {line["student"]: (line["points"], line["line"]) for line in lines}


@pytest.mark.parametrize("old", [False, True], ids=["with the answer's digest", "from before there was one"])
def test_points_of_a_person_belong_to_the_answer_that_was_read(tmp_path, old):
    said, out = [], tmp_path / "out"
    for student in ("ada", "berta", "carl"):
        classroom.hand_in(tmp_path / "in", student, classroom.solved(NUMBER, explain_01=EXPLAINED))
    look = lambda: report.write(  # noqa: E731
        list(classroom.graded(tmp_path / "in", NUMBER).values()), out, classroom.SECRET, said.append
    )
    look()
    text = (out / "by_hand.csv").read_text().replace("explain_01,,3,,", "explain_01,2,3,Say more,")
    if old:
        text = "\n".join(line.rpartition(",")[0] for line in text.splitlines())
    (out / "by_hand.csv").write_text(text)
    if not old:
        classroom.hand_in(
            tmp_path / "in", "ada", classroom.solved(NUMBER, explain_01='explanation = "No idea, sorry."')
        )
    classroom.hand_in(
        tmp_path / "in", "berta", classroom.solved(NUMBER, explain_01="explanation = (\n    ...  # your code\n)")
    )
    look()
    assert points_of(out)["berta"] == ("0", "not attempted yet")
    assert points_of(out)["carl"] == ("2", "Say more")
    assert points_of(out)["ada"][0] == ("2" if old else "")
    again = [
        student for student in ("ada", "berta", "carl") if any(f"  {student}: explain_01" in line for line in said)
    ]
    assert again == (["berta"] if old else ["ada", "berta"])
    with (out / "by_hand.csv").open(newline="") as file:
        lines = {line["student"]: line for line in csv.DictReader(file)}
    assert (lines["berta"]["points"], lines["berta"]["comment"]) == ("", "2 points for an earlier answer. Say more")
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, explain_01='explanation = "Another one."'))
    look()
    assert points_of(out)["ada"][0] == ""
    classroom.hand_in(tmp_path / "in", "carl", b"{")
    look()
    assert points_of(out)["carl"][0] == "0"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_a_table_saved_by_another_countrys_spreadsheet_is_read(tmp_path, encoding):
    out = tmp_path / "out"
    for student in ("Jürgen", "=berta"):
        classroom.hand_in(tmp_path / "in", student, classroom.solved(NUMBER, explain_01=EXPLAINED))
    results = lambda: list(classroom.graded(tmp_path / "in", NUMBER).values())  # noqa: E731
    report.write(results(), out, classroom.SECRET)
    for name in ("by_hand.csv", "totals.csv", "scores.csv"):
        path = out / name
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        if name == "by_hand.csv":
            lines[1:] = [[*line[:3], "1,5", line[4], "- schön", *line[6:]] for line in lines[1:]]
        with path.open("w", newline="", encoding=encoding) as file:
            csv.writer(file, delimiter=";").writerows(lines)
    report.check(out)
    report.write(results()[:1], out, classroom.SECRET)
    report.write(results()[1:], out, classroom.SECRET)
    assert points_of(out) == {"Jürgen": ("1.5", "'- schön"), "'=berta": ("1.5", "'- schön")}
    assert "<td>- schön" in (out / "feedback" / "01_receptive_fields" / "Jürgen.html").read_text(encoding="utf-8")


def test_a_table_that_cannot_be_read_is_named_before_grading(tmp_path, capsys):
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER))
    out = tmp_path / "out"
    out.mkdir()
    words = grading_into(out, tmp_path)
    for text, problem in {
        "name;points\nada;3\n": "by_hand.csv: there is no column 'student'",
        "student,assignment,exercise,points\nada,01,e,x\n": "by_hand.csv, ada, 01, e, column points: 'x' is no number",
    }.items():
        (out / "by_hand.csv").write_text(text)
        assert command.main(words) == 1
        said = capsys.readouterr().out
        assert problem in said
        assert "of 20" not in said


def test_one_student_is_graded_alone(tmp_path, capsys):
    """For appeals: by name, or by the notebook itself."""
    for student in ("ada", "Berta"):
        classroom.hand_in(tmp_path / "in", student, classroom.solved(NUMBER), "any/where.ipynb")
    words = ["--into", str(tmp_path / "out"), "--secret", str(tmp_path / "secret.txt"), "--without-sandbox"]
    for asked, student in (
        ([str(tmp_path / "in"), "--student", "berta"], "Berta"),
        ([str(tmp_path / "in" / "ada" / "any" / "where.ipynb")], "where"),
        ([str(tmp_path / "in" / "ada" / "any" / "where.ipynb"), "--student", "ada"], "ada"),
    ):
        assert command.main(["grade", *asked, *words]) == 0
        said = capsys.readouterr().out
        assert f"{student}: 13 of 20" in said
        assert "1 submissions graded" in said
    assert command.main(["grade", str(tmp_path / "in"), "--student", "nobody", *words]) == 1
    assert "there is no student 'nobody'" in capsys.readouterr().out


def test_the_totals_come_with_one_file_for_each_assignment_too(tmp_path):
    for number, students in {"01": ("ada", "=berta"), "02": ("ada",)}.items():
        for student in students:
            classroom.hand_in(tmp_path / number, student, classroom.book(classroom.RELEASED[number]))
            results = classroom.graded(tmp_path / number, number)
            report.write([results[student]], tmp_path / "out", classroom.SECRET)
    lines = {path.name: path.read_text().splitlines() for path in (tmp_path / "out").glob("totals*.csv")}
    assert sorted(lines) == ["totals.csv", "totals_01_receptive_fields.csv", "totals_02_counting.csv"]
    header, *rest = lines["totals.csv"]
    assert rest == ["ada,01_receptive_fields,0,20,0", "'=berta,01_receptive_fields,0,20,0", "ada,02_counting,0,20,0"]
    assert lines["totals_01_receptive_fields.csv"] == [header, *rest[:2]]
    assert lines["totals_02_counting.csv"] == [header, *rest[2:]]


def test_explanations_are_read_on_one_page_without_names(tmp_path):
    out = tmp_path / "out"
    nasty = "<script>alert(1)</script></pre><h3 id='x'>Beyond the edge, `zeros` & \\ud800</h3>"
    given = {"ada": EXPLAINED, "berta": f'explanation = "{nasty}"', "carl": EXPLAINED, "dora": "explanation = ..."}
    for student, text in given.items():
        classroom.hand_in(tmp_path / "in", student, classroom.solved(NUMBER, explain_01=text))
    results = classroom.graded(tmp_path / "in", NUMBER)
    assert "\ud800" in results["berta"].rows[-1].answer
    report.write(list(results.values()), out, classroom.SECRET)
    page = (out / "read_01.html").read_text(encoding="utf-8")
    assert not re.search("ada|berta|carl|dora|<script|<h3 id='", page)
    rubric = classroom.grade.assignment(NUMBER).by_hand[0].rubric.replace("*may*", "<em>may</em>")
    assert rubric in page.replace("&#x27;", "'")
    assert "A unit of the first fully connected layer of configuration D" in page
    assert page.index("A unit of the first fully") < page.index("1 point: ")
    for number in classroom.TEACHER:
        report.to_read(classroom.RELEASED[number].stem, [], out)
        shown = (out / f"read_{number}.html").read_text(encoding="utf-8")
        assert "A person reads" in shown
        assert not re.search("details|##|minutes", shown)
    assert page.index("1 point: ") < page.index("<pre>")
    with (out / "by_hand.csv").open(newline="", encoding="utf-8") as file:
        lines = {line["student"]: line["fingerprint_of_answer"] for line in csv.DictReader(file)}
    assert sorted(lines) == ["ada", "berta", "carl"]
    shown = re.findall(r'<h3 id="([\w-]+)">\1</h3>', page)
    assert shown == sorted(set(lines.values()))
    assert len(shown) == 2
    (out / "by_hand.csv").write_text((out / "by_hand.csv").read_text().replace("explain_01,,", "explain_01,2,"))
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, explain_01='explanation = "Another one."'))
    report.write([classroom.graded(tmp_path / "in", NUMBER, student="ada")["ada"]], out, classroom.SECRET)
    again = (out / "read_01.html").read_text(encoding="utf-8")
    assert again.count("<pre>") == 3  # berta's and carl's from before, and ada's new one
    assert again.count(", has 2 points</h3>") == 2
    assert "<pre>Another one.</pre>" in again
    assert html.escape(nasty.replace("\\ud800", "?")) in again


SAID = "Beyond the edge the unit's window lies on padding."
STUB = 'explanation = (  # your sentences, between three quotes: """..."""\n    ...  # your code\n)'
WRITTEN = {  # how an explanation may be there though `explanation` holds no text: (cell, kind, Markdown below it)
    "Markdown in its place": (SAID, "markdown", ""),
    "Markdown below it": (STUB, "code", SAID),
    "a string without a name": (f'"""{SAID}"""', "code", ""),
    "comments": (f"# {SAID}", "code", ""),
    "a comment in the stub": (f"explanation = (\n    ...  # {SAID}\n)", "code", ""),
    "another name": (f'explanation_01 = "{SAID}"', "code", ""),
    "no quotation marks": (f"explanation = {SAID}", "code", ""),
    "an apostrophe in single ones": (f"explanation = '{SAID}'", "code", ""),
    "a set": (f'explanation = {{"{SAID}"}}', "code", ""),
    "a string above the stub": (f'"{SAID}"\n{STUB}', "code", ""),
}
NOT_WRITTEN = (STUB, "explanation = ...", "explanation = (\n    ...\n)", 'explanation = ""', "", "explanation = None")


@pytest.mark.parametrize("marks", [True, False], ids=["with nbgrader's marks", "without"])
def test_an_explanation_that_is_no_text_waits_for_a_person(tmp_path, marks):
    """As it stands in the notebook; nothing that was written gets a final 0 from the machine."""
    for student, (text, kind, below) in WRITTEN.items():
        book = classroom.solved(NUMBER, explain_01=text)
        cell = classroom.cell_of(book, "explain_01")
        cell["cell_type"] = kind
        if below:
            markdown = {"cell_type": "markdown", "metadata": {}, "source": below}
            book["cells"].insert(book["cells"].index(cell) + 1, markdown)
        for one in book["cells"] if not marks else ():
            one["metadata"] = {}
        classroom.hand_in(tmp_path / "in", student, book)
    results = classroom.graded(tmp_path / "in", NUMBER)
    report.write(list(results.values()), tmp_path / "out", classroom.SECRET)
    page = html.unescape((tmp_path / "out" / "read_01.html").read_text(encoding="utf-8"))
    for student, (text, _, below) in WRITTEN.items():
        row = results[student].rows[-1]
        assert (row.points, row.status) == (None, "waits"), student
        assert row.text.endswith("a person reads what stands there"), student
        assert row.answer == (below or text)
        assert f"<pre>{below or text}</pre>" in page


def test_an_explanation_that_nobody_wrote_gets_0(tmp_path):
    for n, text in enumerate(NOT_WRITTEN):
        book = classroom.solved(NUMBER, explain_01=text)
        book["cells"] += [classroom.code("1 + 1"), classroom.code("print(explanation)  # a look")]
        classroom.hand_in(tmp_path, f"student {n}", book)
    book = classroom.solved(NUMBER, explain_01=STUB, check_explain_01="# changed\nassignment_01.check_explanation(...)")
    classroom.hand_in(tmp_path, "a changed check", book)
    for student, result in classroom.graded(tmp_path, NUMBER).items():
        row = result.rows[-1]
        assert (row.points, row.status, row.answer) == (0, "todo", ""), (student, row)


def test_strings_with_commas_between_them_are_one_explanation(tmp_path):
    for student, text in {"ada": f'("{SAID}", "Zeros.",)', "berta": f'["{SAID}", "Zeros."]'}.items():
        classroom.hand_in(tmp_path, student, classroom.solved(NUMBER, explain_01=f"explanation = {text}"))
    for result in classroom.graded(tmp_path, NUMBER).values():
        row = result.rows[-1]
        assert (row.points, row.status, row.text) == (None, "waits", "a person reads this answer")
        assert row.answer == f"{SAID} Zeros."


def test_an_id_with_a_comma_behind_it_is_told_to_the_student(tmp_path):
    classroom.hand_in(tmp_path, "ada", classroom.solved(NUMBER, student_01='student = ("ada",)'))
    (result,) = classroom.graded(tmp_path, NUMBER).values()
    assert result.notes == ["what stands for your id is no id: put it in quotes, without a comma behind it"]
    assert not [flag for flag in result.flags if "another id" in flag]


def test_a_second_download_is_the_same_students(tmp_path):
    """Browsers write a number behind the name of a file that is there already."""
    mine = classroom.solved(NUMBER, **ADA)
    other = classroom.solved(NUMBER, student_01="student = (\n    'team (2)'  # your code\n)")
    copies = ("ada", "ada (1)", "Ada(2)", "ada-Copy1", "ada - Copy", "ada - Kopie (2)", "ada copy 2")
    for name, book in {**dict.fromkeys(copies, mine), "team (2)": other, "team-Copy1": other}.items():
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(book))
    said = []
    found = submission.found(tmp_path, said.append)
    number = {name: len(several) for name, several in found.items()}
    assert number == {"Ada": 1, "ada": 6, "team (2)": 1, "team-Copy1": 1}
    assert {one.student for one in found["ada"]} == {"ada"}
    assert said == ["Ada and ada have one id, and are graded as 2 students: rename one"]
    assert list(submission.found(tmp_path / "ada (1).ipynb")) == ["ada"]


def test_numbers_under_other_names_are_missed_and_named(tmp_path):
    right = [
        importlib.import_module("grading.assignment_01").by_hand(one, "ada") for one in ("sizes", "strides", "start")
    ]
    rows = []
    for names in (("sizes", "strides", "anfang"), ("groessen", "schritte", "anfang")):
        text = "\n".join(f"{name} = {number}" for name, number in zip(names, right, strict=True))
        classroom.hand_in(tmp_path, "ada", classroom.solved(NUMBER, **ADA, by_hand_answer_01=text))
        (result,) = classroom.graded(tmp_path, NUMBER).values()
        rows.append(classroom.rows(result)["by_hand_01"])
    assert [(row.points, row.status) for row in rows] == [(3, "part"), (0, "missing")]
    assert rows[0].text == "there is no `start` in your notebook: did you rename what is asked for?"
    assert rows[1].text.startswith("there is no `sizes` and no `strides` and no `start` in your notebook")


def test_a_worse_second_attempt_is_told(tmp_path):
    said, out = [], tmp_path / "out"
    for more in ({}, {"field_answer": "def field(layers):\n    return 1, 1"}, {}):
        classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, **ADA, **more))
        results = list(classroom.graded(tmp_path / "in", NUMBER).values())
        report.write(results, out, classroom.SECRET, said.append)
    assert said == ["01_receptive_fields  ada: 7 points now, 13 before; the new line stands"]


def test_points_that_differ_stop_the_grader(monkeypatch):
    name = "grading.assignment_01"
    module = importlib.import_module(name)
    changed = [replace(one, points=5) for one in module.BY_HAND]
    monkeypatch.setattr(module, "BY_HAND", changed)
    with pytest.raises(ValueError, match=r"explain_01 has 3 points in 01_receptive_fields\.ipynb and 5 in grading/"):
        classroom.grade.assignment("01")


def test_a_line_by_hand_that_fits_nothing_is_named(tmp_path):
    said, out = [], tmp_path / "out"
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER))
    results = list(classroom.graded(tmp_path / "in", NUMBER).values())
    report.write(results, out, classroom.SECRET)
    with (out / "by_hand.csv").open("a") as file:
        for words in ("adda,01_receptive_fields,field", "ada,01_receptive_field,field", "ada,01_receptive_fields,fild"):
            file.write(f"{words},4,6,a comment,\n")
        file.write("ada,01_receptive_fields,window,3,4,one pixel,\n")
    report.write(results, out, classroom.SECRET, said.append)
    told = [line for line in said if "fits no graded exercise" in line]
    lines = (out / "by_hand.csv").read_text().splitlines()
    for words in ("adda,01_receptive_fields,field", "ada,01_receptive_field,field", "ada,01_receptive_fields,fild"):
        (n,) = [n for n, line in enumerate(lines, start=1) if line.startswith(f"{words},")]
        assert f"by_hand.csv, line {n} fits no graded exercise: {words.replace(',', ', ')}" in told
    assert len(told) == 3


def test_where_the_machine_would_give_more_by_now_is_said(tmp_path):
    said, out = [], tmp_path / "out"
    wrong = classroom.solved(NUMBER, field_answer="def field(layers): return 1 / 0")
    look = lambda: report.write(  # noqa: E731
        list(classroom.graded(tmp_path / "in", NUMBER).values()), out, classroom.SECRET, said.append
    )
    classroom.hand_in(tmp_path / "in", "ada", wrong)
    look()
    with (out / "by_hand.csv").open("a") as file:
        file.write("ada,01_receptive_fields,field,4,6,one sign is wrong,\n")
    look()
    assert said == []
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER))
    look()
    assert said == ["01_receptive_fields  ada: field is overruled: 4; the machine now gives 6"]


def test_marks_of_another_assignment_stay(tmp_path, capsys):
    """Where a folder of 01 is graded as 02, no mark of 02 is written over."""
    for student in ("ada", "berta"):
        classroom.hand_in(tmp_path / "in", student, classroom.solved("01"))
    classroom.hand_in(tmp_path / "earlier", "ada", classroom.solved("02"))
    out = tmp_path / "out"
    report.write(list(classroom.graded(tmp_path / "earlier", "02").values()), out, classroom.SECRET)
    assert command.main([*grading_into(out, tmp_path), "--assignment", "02"]) == 0
    said = capsys.readouterr().out
    place = "what was handed in belongs to 01_receptive_fields"
    assert f"02_counting  ada: {place}: the earlier line stays" in said
    assert f"02_counting  berta: {place}: 0 points" in said
    with (out / "totals.csv").open(newline="") as file:
        totals = {line["student"]: line["points"] for line in csv.DictReader(file)}
    assert totals == {"ada": "14", "berta": "0"}


def test_lines_without_a_file_are_named_after_a_rename(tmp_path, capsys):
    out = tmp_path / "out"
    path = classroom.hand_in(tmp_path / "in", "ada l", classroom.solved(NUMBER))
    words = grading_into(out, tmp_path)
    assert command.main(words) == 0
    assert "no file now" not in capsys.readouterr().out
    path.parent.rename(tmp_path / "in" / "ada")
    assert command.main([*words, "--student", "ada"]) == 0
    assert "no file now" not in capsys.readouterr().out
    assert command.main(words) == 0
    told = "no file now, and lines from an earlier run: ada l; delete them after a rename\n"
    assert told in capsys.readouterr().out


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git")
def test_the_guides_command_packs_the_book_without_what_students_must_not_have(tmp_path):
    guide = (classroom.ASSIGNMENTS / "README.md").read_text(encoding="utf-8")
    (packing,) = [block for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) if "git archive" in block]
    root = classroom.ASSIGNMENTS.parents[1]
    if not (root / ".git").exists():
        pytest.skip("this is no clone")
    subprocess.run(["sh", "-ec", packing.replace("book.zip", str(tmp_path / "book.zip"))], cwd=root, check=True)
    names = zipfile.ZipFile(tmp_path / "book.zip").namelist()
    assert "vgglib/exercises/assignment_01.py" in names
    assert "notebooks/assignments/release/01_receptive_fields/01_receptive_fields.ipynb" in names
    hidden = (
        "notebooks/assignments/source",
        "notebooks/assignments/grading",
        "notebooks/assignments/README.md",
        "tests/",
    )
    assert not [name for name in names if name.startswith(hidden)]


def test_points_are_kept_beside_the_old_name_of_the_fingerprint(tmp_path):
    said, out = [], tmp_path / "out"
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, explain_01=EXPLAINED))
    look = lambda: report.write(  # noqa: E731
        list(classroom.graded(tmp_path / "in", NUMBER).values()), out, classroom.SECRET, said.append
    )
    look()
    text = (out / "by_hand.csv").read_text()
    (out / "by_hand.csv").write_text(text.replace("fingerprint_of_answer", "answer").replace("_01,,3,", "_01,2,3,"))
    look()
    assert points_of(out)["ada"][0] == "2"
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, explain_01='explanation = "Another one."'))
    (out / "by_hand.csv").write_text((out / "by_hand.csv").read_text().replace("fingerprint_of_answer", "answer"))
    look()
    assert points_of(out)["ada"][0] == ""
    assert len(said) == 1


def test_a_person_may_overrule_the_machine_in_any_exercise(tmp_path):
    out = tmp_path / "out"
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER, field_answer="def field(layers): return 1 / 0"))
    look = lambda: report.write(  # noqa: E731
        list(classroom.graded(tmp_path / "in", NUMBER).values()), out, classroom.SECRET
    )
    look()
    with (out / "by_hand.csv").open("a") as file:
        file.write("ada,01_receptive_fields,field,4.5,6,one sign is wrong,\n")
    for _ in range(2):
        look()
        with (out / "scores.csv").open(newline="") as file:
            (line,) = [line for line in csv.DictReader(file) if line["exercise"] == "field"]
        assert (line["points"], line["status"], line["line"]) == ("4.5", "by hand", "one sign is wrong")


def test_an_appeal_shows_hidden_inputs_and_right_answers(tmp_path, capsys):
    secret = tmp_path / "secret-1.txt"
    words = ["grade", str(tmp_path), "--secret", str(secret)]
    assert command.main([*words, "--student", "ada", "--show", "window"]) == 1
    assert "there is no secret" in capsys.readouterr().out
    assert not secret.exists()
    secret.write_text(classroom.SECRET)
    assert command.main([*words, "--show", "window"]) == 1
    assert "--student ada --show window" in capsys.readouterr().out
    assert command.main([*words, "--student", "ada", "--show", "windows"]) == 1
    assert "there is no exercise 'windows'; say one of by_hand_01, field, window" in capsys.readouterr().out
    for number in classroom.TEACHER:
        for one in classroom.grade.assignment(number).exercises:
            assert command.main([*words, "--student", "ada", "--show", one.grade_id, "--assignment", number]) == 0
            lines = capsys.readouterr().out.splitlines()
            cases = judge.cases_of(one, classroom.SECRET, "ada")
            assert [line.partition(":")[0] for line in lines] == [case.part for case in cases]
            if one.adapter == "call":  # what is shown can be pasted, and gives what is shown
                names = classroom.defined(number, classroom.solutions(number)) | {
                    "torch": importlib.import_module("torch")
                }
                for line in lines:
                    call, _, right = line.partition(": ")[2].rpartition("): ")
                    got = plain.loads(plain.dumps(eval(f"{call})", names)))
                    assert judge.same(got, eval(right, names)), line
    assert command.main([*words, "--student", "ada", "--show", "sizes"]) == 0
    by_hand = importlib.import_module("grading.assignment_01").by_hand
    assert f"sizes: sizes: {by_hand('sizes', 'ada')}\n" in capsys.readouterr().out


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
    guide = (classroom.ASSIGNMENTS / "README.md").read_text(encoding="utf-8")
    assert f"`{report.file_name('Ada Lovelace')}.html`" in guide
    assert all(len(name) < 80 and "/" not in name and name.strip(".") for name in files)


def test_the_command_line(tmp_path, capsys, monkeypatch):
    classroom.hand_in(tmp_path / "in", "ada", classroom.solved(NUMBER))
    words = ["grade", str(tmp_path / "in"), "--into", str(tmp_path / "out"), "--secret", str(tmp_path / "secret.txt")]
    assert command.main([*words, "--without-sandbox"]) == 0
    said = capsys.readouterr().out
    assert "1 submissions graded" in said
    assert f"a new secret is made up: {tmp_path / 'secret.txt'}\n" in said
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
