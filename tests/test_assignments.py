"""Every assignment: the solution gets everything, the stub nothing, each named mistake loses what it should; the
student's edition follows the teacher's, runs unsolved, and gives nothing away."""

import importlib
import json
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import classroom
import pytest
from explanations import EXPLAINED, OFF_TOPIC
from nbclient import NotebookClient

NUMBERS = list(classroom.TEACHER)
WRONG = {number: importlib.import_module(f"wrong_answers_{number}").WRONG for number in NUMBERS}
NAMED = [
    (number, exercise, name) for number in NUMBERS for exercise in WRONG[number] for name in WRONG[number][exercise]
]


def stubs(number):
    """Return the cells that the student fills in, as they are handed out."""
    handed_out = classroom.book(classroom.RELEASED[number])
    return {name: classroom.source(classroom.cell_of(handed_out, name)) for name in classroom.solutions(number)}


@pytest.mark.parametrize(("number", "exercise", "name"), NAMED)
def test_a_mistake_loses_its_points_and_is_named(number, exercise, name):
    cell, text, points, words = WRONG[number][exercise][name]
    mark = classroom.marked(number, exercise, cell, text)
    assert mark.points == points, mark.text
    assert words in mark.text


@pytest.mark.parametrize("number", NUMBERS)
def test_each_exercise_has_five_named_mistakes(number):
    exercises = classroom.grade.assignment(number).exercises
    assert set(WRONG[number]) == {one.grade_id for one in exercises}
    assert min(map(len, WRONG[number].values())) >= 5
    assert min(len(one.mistakes) for one in exercises) >= 5


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_gets_everything_and_the_stub_nothing(number, tmp_path):
    what = classroom.grade.assignment(number)
    classroom.hand_in(tmp_path, "teacher", classroom.solved(number))
    classroom.hand_in(tmp_path, "untouched", classroom.book(classroom.RELEASED[number]))
    results = classroom.graded(tmp_path, number)
    assert {row.exercise: row.points for row in results["teacher"].rows if row.points is not None} == {
        one.grade_id: one.points for one in what.exercises
    }
    assert results["teacher"].rows[-1].answer.startswith(("The ", "With ", "A ", "It "))
    assert results["teacher"].flags == [f"same {one} as the published solution" for one in ("functions", "explanation")]
    assert not results["teacher"].notes
    assert {row.text for row in results["untouched"].rows} == {"not attempted yet"}
    assert results["untouched"].points == 0
    assert not results["untouched"].notes
    assert not results["untouched"].flags


@pytest.mark.parametrize("number", NUMBERS)
def test_the_visible_checks_pass_the_solution_and_wait_for_the_stub(number):
    for sources, status in ((classroom.solutions(number), "passed"), (stubs(number), "todo")):
        found = classroom.run_checks(number, classroom.defined(number, sources))
        assert {verdict.status for verdict in found.values()} == {status}, found
        assert len(found) == len(classroom.grade.assignment(number).exercises) + 1


@pytest.mark.parametrize(("number", "exercise", "name"), [case for case in NAMED if case[2] != "by heart"])
def test_the_visible_check_names_what_is_wrong(number, exercise, name):
    cell, text, _, _ = WRONG[number][exercise][name]
    sources = {**classroom.solutions(number), cell: text("teacher") if callable(text) else text}
    verdict = classroom.run_checks(number, classroom.defined(number, sources))[exercise]
    assert verdict.status in ("failed", "todo"), verdict
    assert re.search(r"\d|should be|returned|is not it|:", verdict.text)


# --- the student's edition ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The students' editions as nbgrader makes them from the teacher's editions of now."""
    release = importlib.import_module("grading.release")
    folder = tmp_path_factory.mktemp("release")
    return {path.parent.name[:2]: path for path in release.make(folder)}


@pytest.mark.parametrize("number", NUMBERS)
def test_the_release_follows_the_teachers_edition(made, number):
    fresh, kept = classroom.book(made[number]), classroom.book(classroom.RELEASED[number])
    assert fresh == kept, f"assignment {number} was changed, or its student's edition edited: run `make assignments`"


@pytest.mark.parametrize("number", NUMBERS)
def test_the_students_edition_gives_nothing_away(number):
    text = classroom.RELEASED[number].read_text(encoding="utf-8")
    assert "SOLUTION" not in text
    assert "HIDDEN" not in text
    assert "grading" not in text
    released = {line.strip() for cell in classroom.book(classroom.RELEASED[number])["cells"]
                for line in classroom.source(cell).splitlines()}  # fmt: skip
    secret, hidden = [], False
    for cell in classroom.book(classroom.TEACHER[number])["cells"]:
        for line in classroom.source(cell).splitlines():
            if "### " in line:
                hidden = "BEGIN" in line
            elif hidden and len(line.strip()) > 3:
                secret.append(line.strip())
    assert len(secret) > 20
    given = {line for cell in classroom.book(classroom.TEACHER[number])["cells"]
             if cell["metadata"].get("nbgrader", {}).get("locked") and "HIDDEN" not in classroom.source(cell)
             for line in map(str.strip, classroom.source(cell).splitlines())}  # fmt: skip
    assert not [line for line in secret if line in released - given]
    for one in classroom.grade.assignment(number).exercises:
        assert not [why for why in (*one.mistakes, *(why for _, why in one.parts.values())) if why in text]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_students_edition_runs_unsolved(number):
    nbformat = importlib.import_module("nbformat")
    notebook = nbformat.read(classroom.RELEASED[number], as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [json.dumps(cell.outputs, ensure_ascii=False) for cell in notebook.cells if "check_" in cell.source]
    assert len(shown) == len(classroom.grade.assignment(number).exercises) + 1
    assert all("not attempted yet" in output for output in shown)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_teachers_edition_is_in_nbgraders_form(number):
    what = classroom.grade.assignment(number)
    cells = {c["metadata"]["nbgrader"]["grade_id"]: c["metadata"]["nbgrader"]
             for c in classroom.book(classroom.TEACHER[number])["cells"] if "nbgrader" in c["metadata"]}  # fmt: skip
    points = {name: marks["points"] for name, marks in cells.items() if marks["grade"]}
    assert points == {one.grade_id: one.points for one in [*what.exercises, *what.by_hand]}
    assert sum(points.values()) == 20
    first = classroom.source(classroom.book(classroom.TEACHER[number])["cells"][0])
    minutes = int(re.search(r"(\d+) minutes", first).group(1))
    text = "".join(classroom.source(c) for c in classroom.book(classroom.TEACHER[number])["cells"][1:])
    assert 45 <= minutes <= 90
    assert sum(map(int, re.findall(r"\((\d+) minutes, \d+ points\)", text))) == minutes
    assert sum(map(int, re.findall(r"\(\d+ minutes, (\d+) points\)", text))) == 20
    assert "20 points" in first


def coded(number):
    """Return the exercises whose inputs are hidden, each with its cases for some secrets."""
    judge = classroom.grade.judge
    for one in classroom.grade.assignment(number).exercises:
        if one.adapter != "value":
            yield one, [case for n in range(20) for case in judge.cases_of(one, f"secret {n}", "x")]


def test_the_plan_lets_students_read_first_what_an_assignment_needs():
    """The README's plan and the guide's column agree, one after the other, and keep to the assignments' headers."""
    guide = (classroom.ASSIGNMENTS / "README.md").read_text(encoding="utf-8")
    column = dict(re.findall(r"^\| (\d\d) .*? \| (\d\d) \| \d+ \|", guide, re.MULTILINE))
    readme = (classroom.ASSIGNMENTS.parents[1] / "README.md").read_text(encoding="utf-8")
    plan = re.search(r"\[assignments\]\(notebooks/assignments/README\.md\) after ([\d, and]+)\.", readme).group(1)
    assert re.findall(r"\d\d", plan) == list(column.values()) == sorted({*column.values()})
    assert list(column) == NUMBERS
    for number in NUMBERS:
        first = classroom.source(classroom.book(classroom.TEACHER[number])["cells"][0])
        needed = re.findall(r"\d\d", re.search(r"read first: chapters? ([\d, and]+) of the book", first).group(1))
        assert needed == sorted(needed)
        assert needed[-1] <= column[number]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_guides_minutes_and_points_are_those_of_the_assignment(number):
    guide = (classroom.ASSIGNMENTS / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {number} .*? \| \d\d \| (\d+) \| (\d+) \| (\d+) \|", guide, re.MULTILINE).groups()
    what = classroom.grade.assignment(number)
    minutes = re.search(
        r"(\d+) minutes", classroom.source(classroom.book(classroom.TEACHER[number])["cells"][0])
    ).group(1)
    assert list(map(int, row)) == [
        int(minutes),
        *(sum(one.points for one in of) for of in (what.exercises, what.by_hand)),
    ]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_function_that_only_knows_the_checks_cases_earns_nothing(number):
    names = classroom.defined(number, classroom.solutions(number))
    for one, _ in coded(number):
        known, right = {}, names[one.wanted]

        def noted(*args, known=known, right=right):
            return known.setdefault(repr(args), right(*args))

        verdicts = classroom.run_checks(number, {**names, one.wanted: noted})
        assert verdicts[one.grade_id].status == "passed"
        assert known
        answers = classroom.unisolated.answers({one.wanted: lambda *args, known=known: known.get(repr(args))})
        for secret in ("one secret", "another"):
            mark = classroom.grade.judge.mark(one, answers, secret, "ada")
            assert mark.points == 0, (one.grade_id, mark)


FROM_THE_BOOK = {
    "imported inside": "from vgglib.configurations import layers\n    ",
    "a part of the book": "from vgglib import configurations\n    layers = configurations.layers\n    ",
    "named in full": "import vgglib.configurations\n    layers = vgglib.configurations.layers\n    ",
}
BUILT = """
{above}
def build(notation, in_channels):
    {inside}found = []
    for layer in layers(notation):
        if layer.kind == "pool":
            found.append(nn.MaxPool2d(2))
        else:
            found += [nn.Conv2d(in_channels, layer.channels, layer.kernel, padding=layer.padding), nn.ReLU()]
            in_channels = layer.channels
    return nn.Sequential(*found)
"""


@pytest.mark.parametrize(
    "text",
    [
        *(BUILT.format(above="", inside=inside) for inside in FROM_THE_BOOK.values()),
        BUILT.format(above="from vgglib.configurations import layers", inside=""),
        BUILT.format(above="from vgglib import configurations", inside="layers = configurations.layers\n    "),
        BUILT.format(
            above="def layers(text):\n    from vgglib import configurations\n    return configurations.layers(text)",
            inside="",
        ),
    ],
    ids=[*FROM_THE_BOOK, "imported above", "a part above", "in a helper"],
)
def test_the_check_names_what_is_not_there_when_it_is_graded(text):
    names = classroom.defined("03", {"setup_03": "from torch import nn", "build_answer": text})
    verdict = importlib.import_module("vgglib.exercises.assignment_03").check_build(names["build"])
    needed = "it uses vgglib.configurations, which is not there when you are graded: write it yourself"
    assert (verdict.status, verdict.text) == ("failed", f"build: {needed}")


@pytest.mark.parametrize("number", NUMBERS)
def test_the_rules_say_what_is_not_there(number):
    first = " ".join(classroom.source(classroom.book(classroom.TEACHER[number])["cells"][0]).split())
    assert re.search(r"without (the rest of )?`vgglib`:", first)
    assert "You may take code from the book's chapters, if you understand it" in first
    assert "Nobody" not in "".join(map(classroom.source, classroom.book(classroom.TEACHER[number])["cells"]))


POOLS = ("nn.MaxPool2d((2, 2))", "nn.MaxPool2d(2, stride=(2, 2))", "nn.MaxPool2d(2, 2, 0)", "nn.MaxPool2d([2, 2], 2)")
CONVOLUTIONS = (
    'kernel, padding="same"',
    "(kernel, kernel), (1, 1), (kernel // 2, kernel // 2)",
    "kernel, 1, kernel // 2",
)


@pytest.mark.parametrize(
    ("pool", "conv"),
    [*((pool, "kernel, padding=kernel // 2") for pool in POOLS), *(("nn.MaxPool2d(2)", conv) for conv in CONVOLUTIONS)],
)
def test_the_same_layer_in_other_words_is_right(pool, conv):
    module = importlib.import_module("vgglib.exercises.assignment_03")
    for exercise, cell, check in (
        ("block", "block_answer", module.check_block),
        ("build", "build_answer", module.check_build),
    ):
        text = classroom.solutions("03")[cell].replace("nn.MaxPool2d(2)", pool)
        text = text.replace("kernel, padding=kernel // 2", conv)
        names = classroom.defined("03", {cell: text})
        assert check(names[exercise]).status == "passed"
        assert classroom.marked("03", exercise, cell, text).status == "full"


BY_LAYERS = """
import torch
from torch import nn


def walked(layers, channels, height, width):
    X, macs, values = torch.zeros(1, channels, height, width), 0, channels * height * width
    for layer in layers:
        if layer == "pool":
            X = nn.MaxPool2d(2)(X)
        else:
            conv = nn.Conv2d(X.shape[1], layer[1], layer[0], padding={padding})
            X = conv(X)
            macs += conv.weight.numel() * X.shape[2] * X.shape[3]
        values += X.numel()
    return macs, values


def count_macs(layers, channels, height, width):
    return walked(layers, channels, height, width)[0]


def count_bytes(layers, channels, height, width, bytes_per_value):
    return walked(layers, channels, height, width)[1] * bytes_per_value
"""


@pytest.mark.parametrize("padding", ["layer[0] // 2", "(layer[0] - 1) // 2", '"same"'])
def test_counting_by_real_layers_is_right(padding):
    text = BY_LAYERS.replace("{padding}", padding)
    names = classroom.defined("02", {"macs_answer": text})
    for exercise, cell in (("count_macs", "macs_answer"), ("count_bytes", "bytes_answer")):
        assert classroom.marked("02", exercise, cell, text).status == "full"
        check = {"count_macs": "check_macs", "count_bytes": "check_bytes"}[exercise]
        module = importlib.import_module("vgglib.exercises.assignment_02")
        assert getattr(module, check)(names[exercise]).status == "passed"


KINDS = {  # what a function gives in place of plain numbers, and whether both sides take it
    "a tuple": (tuple, True),
    "a list": (list, True),
    "an array": (lambda pair: importlib.import_module("numpy").array(pair), True),
    "numbers of numpy": (lambda pair: tuple(importlib.import_module("numpy").array(pair)), True),
    "a tensor": (lambda pair: importlib.import_module("torch").tensor(pair), True),
    "tensors": (lambda pair: tuple(map(importlib.import_module("torch").tensor, pair)), True),
    "a series": (lambda pair: pytest.importorskip("pandas").Series(pair), True),
    "an index": (lambda pair: pytest.importorskip("pandas").Index(pair), True),
    "floats": (lambda pair: [float(one) for one in pair], True),
    "decimals": (lambda pair: [Decimal(one) for one in pair], True),
    "fractions": (lambda pair: [Fraction(one) for one in pair], True),
    "a set": (set, False),
    "a dictionary": (lambda pair: dict(enumerate(pair)), False),
    "text": (str, False),
    "texts": (lambda pair: list(map(str, pair)), False),
    "a generator": (lambda pair: (one for one in pair), False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_check_and_grader_take_the_same_kinds_of_numbers(kind):
    change, taken = KINDS[kind]
    for number, exercise in (("01", "field"), ("01", "window"), ("04", "rates")):
        names = classroom.defined(number, classroom.solutions(number))
        right = names[exercise]
        names[exercise] = lambda *args, right=right: change(right(*args))
        (one,) = [one for one, _ in coded(number) if one.grade_id == exercise]
        mark = classroom.grade.judge.mark(one, classroom.unisolated.answers(names), classroom.SECRET, "student 8")
        verdict = classroom.run_checks(number, names)[exercise]
        assert (verdict.status, mark.status == "full") == ("passed" if taken else "failed", taken), (verdict, mark)
        assert taken or not mark.points


TABLES = {
    "a tensor": (lambda table: table, True),
    "an array": (lambda table: table.numpy(), True),
    "a list": (lambda table: table.tolist(), True),
    "a table": (lambda table: pytest.importorskip("pandas").DataFrame(table.numpy()), True),
    "a tensor with a gradient": (lambda table: table.clone().requires_grad_(), True),
    "a list of tensors of networks": (lambda table: [table, table], False),
    "text": (str, False),
    "a number": (lambda table: 0.5, False),
}


@pytest.mark.parametrize("kind", TABLES)
def test_check_and_grader_take_the_same_kinds_of_posteriors(kind):
    change, taken = TABLES[kind]
    names = classroom.defined("04", classroom.solutions("04"))
    right = names["combine"]
    names["combine"] = lambda scores: change(right(scores))
    (one,) = [one for one, _ in coded("04") if one.grade_id == "combine"]
    mark = classroom.grade.judge.mark(one, classroom.unisolated.answers(names), classroom.SECRET, "student 8")
    verdict = classroom.run_checks("04", names)["combine"]
    assert (verdict.status, mark.status == "full") == ("passed" if taken else "failed", taken), (verdict, mark)


NETS = {
    "a subclass of nn.Sequential": ("class Net(nn.Sequential):\n    pass", "Net(*net)", True),
    "nested": ("", "nn.Sequential(nn.Sequential(*net[:1]), nn.Sequential(*net[1:]))", True),
    "lazy layers": ("", "nn.Sequential(*[lazy(one) for one in net])", True),
    "a module of one's own": (
        "class Net(nn.Module):\n    def __init__(self, net):\n        super().__init__()\n        self.net = net\n"
        "    def forward(self, X):\n        return self.net(X)",
        "Net(net)",
        False,
    ),
}
LAZY = """
def lazy(one):
    if not isinstance(one, nn.Conv2d):
        return one
    return nn.LazyConv2d(one.out_channels, one.kernel_size, padding=one.padding)
"""


@pytest.mark.parametrize("kind", NETS)
def test_check_and_grader_take_the_same_kinds_of_networks(kind):
    above, wrapped, taken = NETS[kind]
    for exercise in ("block", "build"):
        cell = f"{exercise}_answer"
        text = classroom.solutions("03")[cell].replace(f"def {exercise}(", f"def plain_{exercise}(")
        text += f"\n\n{above}\n{LAZY}\ndef {exercise}(*args):\n    net = plain_{exercise}(*args)\n    return {wrapped}"
        text = "from torch import nn\n" + text
        mark = classroom.marked("03", exercise, cell, text)
        names = {**classroom.defined("03", {**classroom.solutions("03"), cell: text})}
        verdict = classroom.run_checks("03", names)[exercise]
        assert (verdict.status, mark.status == "full") == ("passed" if taken else "failed", taken), (verdict, mark)


def test_the_returned_loss_may_be_any_single_number():
    numpy = importlib.import_module("numpy")
    names = classroom.defined("04", classroom.solutions("04"))
    right = names["train"]
    (one,) = [one for one, _ in coded("04") if one.grade_id == "train"]
    for change in (numpy.float64, numpy.array, Decimal, Fraction):
        names["train"] = lambda *args, change=change: change(right(*args))
        assert classroom.run_checks("04", names)["train"].status == "passed"
        mark = classroom.grade.judge.mark(one, classroom.unisolated.answers(names), classroom.SECRET, "student 8")
        assert mark.status == "full", (change, mark)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_function_that_prints_is_told_apart_from_one_that_nobody_wrote(number):
    printing = classroom.defined(number, classroom.solutions(number))
    empty = dict(printing)
    for one, _ in coded(number):
        printing[one.wanted] = lambda *args, right=printing[one.wanted]: print(right(*args))
        text = f"def {one.wanted}(*args):\n    ...  # your code"
        empty |= classroom.defined(number, {"answer": text})
    seen, stub = classroom.run_checks(number, printing), classroom.run_checks(number, empty)
    for one, _ in coded(number):
        told = "returned nothing: did you print it in place of `return`?"
        assert seen[one.grade_id].status == "failed"
        assert told in seen[one.grade_id].text
        assert str(stub[one.grade_id]) == f"⏳ {one.wanted}: not attempted yet"
        mark = classroom.grade.judge.mark(one, classroom.unisolated.answers(printing), "x", "ada")
        assert (mark.points, mark.status) == (0, "wrong")
        assert told in mark.text
        mark = classroom.grade.judge.mark(one, classroom.unisolated.answers(empty), "x", "ada")
        assert (mark.text, mark.status) == ("not attempted yet", "todo")


@pytest.mark.parametrize("number", NUMBERS)
def test_an_id_is_text_or_a_whole_number(number):
    module = importlib.import_module(f"vgglib.exercises.assignment_{number}")
    draw = next(getattr(module, name) for name in dir(module) if name.startswith("my_"))
    assert repr(draw(4711)) == repr(draw("4711")) != repr(draw("4712"))
    for nobody in (..., None, "", "  "):
        assert repr(draw(nobody)).startswith("⏳ put your id in place of the three dots")
    check = module.check_line if number == "04" else module.check_by_hand
    for wrong in (("ada",), ["ada"], 4711.0, {"ada"}, True):
        assert not draw(wrong)
        assert repr(draw(wrong)).startswith("❌ that is no id: put your id in quotes, without a comma")
        verdict = check(wrong, 3) if number == "04" else check(wrong, 1, 2, 3)
        assert verdict.status == "failed"
        assert "without a comma" in verdict.text
    if number == "03":
        assert "without a comma" in module.check_mine(("ada",), "3 |").text


@pytest.mark.parametrize("number", ["01", "02", "03"])
def test_right_numbers_in_quotes_or_behind_a_comma_are_told_so(number):
    module = importlib.import_module(f"vgglib.exercises.assignment_{number}")
    (one,) = [one for one in classroom.grade.assignment(number).exercises if one.grade_id == f"by_hand_{number}"]
    right = {name: one.expected(name, "student 8") for name in one.parts}
    last = list(right)[-1]
    for given, words in (
        ({last: str(right[last])}, "without quotation marks"),
        ({last: (right[last],)}, "without a comma behind it"),
        ({last: [right[last]]}, "without a comma behind it and without brackets"),
    ):
        text = module.check_by_hand("student 8", *{**right, **given}.values()).text
        assert text.startswith(f"{last}: {given[last]!r} is not it: ")
        assert words in text
    if number == "01":
        sizes = list(map(str, right["sizes"]))
        text = module.check_by_hand("student 8", sizes, right["strides"], right["start"]).text
        assert text == f"sizes: after layer 1, {sizes[0]!r} is not it: a number is asked, without quotation marks"


def test_a_network_that_fails_on_a_picture_is_named_by_the_check():
    module = importlib.import_module("vgglib.exercises.assignment_03")
    names = classroom.defined("03", classroom.solutions("03"))

    def paired(*args):
        net = names["block"](*args)
        net[-1].return_indices = True
        return net

    assert "block(1, 3, 8, 3) fails on a picture: AttributeError" in module.check_block(paired).text


@pytest.mark.parametrize("number", ["01", "02", "03"])
def test_numbers_by_hand_may_be_floats_and_arrays(number):
    numpy = importlib.import_module("numpy")
    (one,) = [one for one in classroom.grade.assignment(number).exercises if one.grade_id == f"by_hand_{number}"]
    module = importlib.import_module(f"vgglib.exercises.assignment_{number}")
    right = {name: one.expected(name, "student 8") for name in one.parts}
    for change in (
        numpy.array,
        lambda value: numpy.array(value).astype(float).tolist(),
        lambda value: numpy.array(value) * 1.0,
    ):
        given = {name: change(value) for name, value in right.items()}
        assert module.check_by_hand("student 8", *given.values()).status == "passed"
        names = {"student": "student 8", **given}
        assert classroom.grade.judge.mark(one, classroom.unisolated.answers(names), "x", "student 8").status == "full"
        wrong = {name: value + 1 if hasattr(value, "shape") else [9.5] * 4 for name, value in given.items()}
        assert module.check_by_hand("student 8", *wrong.values()).status == "failed"
    assert module.check_by_hand("student 8", numpy.array([1, 2, 3, 4]), ..., 0).status == "failed"


def test_the_number_of_a_line_may_be_a_float_or_an_array():
    numpy = importlib.import_module("numpy")
    check = importlib.import_module("vgglib.exercises.assignment_04").check_line
    right = importlib.import_module("grading.assignment_04").faulty_line("line", "student 8")
    for given in (right, float(right), numpy.array(right), numpy.int64(right)):
        assert check("student 8", given).status == "passed"
    for given in (right + 0.5, True, 40, "six", numpy.array([right, right])):
        assert "should be a number from 1 to 12" in check("student 8", given).text


def test_the_first_stack_by_hand_is_named_where_it_is_wrong():
    module = importlib.import_module("vgglib.exercises.assignment_01")
    sizes, strides, start = (
        importlib.import_module("grading.assignment_01").by_hand(name, "student 8")
        for name in ("sizes", "strides", "start")
    )
    check = module.check_by_hand
    assert "sizes: after layer 2," in check("student 8", [sizes[0], 0.5, *sizes[2:]], strides, start).text
    assert "sizes: after layer 2," in check("student 8", [sizes[0], "9", *sizes[2:]], strides, start).text
    assert "strides: after layer 1, True" in check("student 8", sizes, [True, *strides[1:]], start).text
    assert "start: " in check("student 8", sizes, strides, start + 1).text
    assert check("student 8", [sizes[0], ..., *sizes[2:]], strides, start).status == "todo"


@pytest.mark.parametrize("number", NUMBERS)
def test_the_secret_alone_decides_about_hidden_inputs(number):
    cases_of = classroom.grade.judge.cases_of
    for one, _ in coded(number):
        first, again, other = (str(cases_of(one, secret, "x")) for secret in ("one secret", "one secret", "another"))
        assert first == again
        assert first != other


@pytest.mark.parametrize("number", NUMBERS)
def test_hidden_inputs_cannot_hide_a_bug(number):
    """Every part of the points meets its mistakes: no known one gives the right answers, whatever the secret."""
    for one, _ in coded(number):
        for n in range(20):
            cases = classroom.grade.judge.cases_of(one, f"secret {n}", "x")
            right = [one.expected(*case.args) for case in cases]
            for sentence, wrong in one.mistakes.items():
                unseen = all(mistaken(wrong, *pair, one.close) for pair in zip(cases, right, strict=True))
                assert not unseen, f"{one.grade_id}: {sentence!r} goes unseen with secret {n}"


def mistaken(wrong, case, right, close):
    """Return whether a known mistake gives the right answer to a case."""
    try:
        given = wrong(*case.args)
    except Exception:
        return False
    return same(given, right, close)


def same(given, expected, close):
    """Compare as the judge does, which gets tensors as Arrays."""
    if hasattr(given, "numpy"):
        given = classroom.grade.judge.plain.loads(classroom.grade.judge.plain.dumps(given))
    if isinstance(given, list) and given and hasattr(given[0], "numpy"):
        return all(map(same, given, expected, [close] * len(given)))
    return classroom.grade.judge.same(given, expected, close)


def test_a_known_mistake_is_worked_out_once_for_a_class(monkeypatch):
    """Its hidden cases are the same for all; another secret's are others."""
    (one,) = [one for one, _ in coded("04") if one.grade_id == "train"]
    ((sentence, wrong), *_), asked = one.mistakes.items(), []

    def counted(*args):
        asked.append(args)
        return wrong(*args)

    monkeypatch.setitem(one.mistakes, sentence, counted)
    given = {"train_answer": "def train(net, batches, rate, momentum):\n    return 2.5"}
    names = classroom.defined("04", given)
    marks, so_often = [], []
    for secret, student in (("one", "ada"), ("one", "ben"), ("another", "ben")):
        marks.append(classroom.grade.judge.mark(one, classroom.unisolated.answers(names), secret, student))
        so_often.append(len(asked))
    assert marks[0] == marks[1]
    assert 0 < so_often[0] == so_often[1] < so_often[2]


def test_hidden_kernels_are_not_3_and_sizes_differ():
    for number in ("01", "02"):
        for one, cases in coded(number):
            for layers in [case.args[0] for case in cases if isinstance(case.args[0], list)]:
                convolutions = [layer for layer in layers if layer != "pool"]
                kernels = [layer[0] for layer in convolutions]
                assert 3 not in kernels, one.grade_id
                assert len(set(kernels)) == len(kernels)
                assert min([2, *kernels]) == 2
    for one, cases in coded("02"):
        for case in cases:
            layers = case.args[0] if one.grade_id != "saving" else []
            assert all(layer[0] % 2 for layer in layers if layer != "pool"), "an even kernel cannot keep a map's size"
            sizes = [size for size in case.args[1:4] if one.grade_id != "saving"]
            assert len(set(sizes)) == len(sizes)
            assert min([2, *sizes]) >= 2
    for one, cases in coded("03"):
        for case in cases if one.grade_id == "block" else []:
            assert len(set(case.args[:4])) == 4
            assert case.args[3] > 3


def test_hidden_units_exist():
    """A unit's window leaves the picture by no more than the padding, and the layers give that unit."""
    module = importlib.import_module("grading.assignment_01")
    (one,) = [one for one, _ in coded("01") if one.grade_id == "window"]
    for n in range(200):
        for case in classroom.grade.judge.cases_of(one, f"secret {n}", "x"):
            layers, unit, side = case.args
            size, jump, padding = module.walk(module.padded(layers))
            assert 0 <= unit < module.units(layers, side), case
            over = unit * jump - padding + size - side
            assert over <= padding
            assert (over >= 2) == (case.part == "right"), case


def test_a_second_fault_does_not_earn_what_the_first_alone_would_not():
    """What a handed-out program gets right from the start counts only beside something that was mended."""
    module = importlib.import_module("vgglib.exercises.assignment_04")
    given = "import torch\nfrom torch.nn import functional as F\n"
    ids = [f"student {n}" for n in range(400)]
    for own, second in (
        ((3, "    net.eval()"), (12, "    return total")),
        ((12, "    return total"), (3, "    net.eval()")),
        ((2, module.SLIPS[0][1]), (12, "    return total")),
    ):
        loop = [dict([own]).get(n, line) for n, line in enumerate(module.LOOP, start=1)]
        student = next(one for one in ids if module.my_loop(one).splitlines() == loop)
        both = "\n".join(dict([second]).get(n, line) for n, line in enumerate(loop, start=1))
        assert classroom.marked("04", "train", "train_answer", given + both, student).points == 0
        mended = "\n".join(dict([second]).get(n, line) for n, line in enumerate(module.LOOP, start=1))
        lost = 0.5 if "eval" in second[1] else 1
        assert classroom.marked("04", "train", "train_answer", given + mended, student).points == 4 - lost


def test_a_mended_loop_earns_the_same_beside_a_new_slip_whichever_fault_was_drawn():
    """Of its points half a one is for a Python number, and one for the mean."""
    module = importlib.import_module("vgglib.exercises.assignment_04")
    given = "import torch\nfrom torch.nn import functional as F\n"
    ids = {str(module.my_loop(f"student {n}")): f"student {n}" for n in range(400)}
    late = "F.cross_entropy(net(X), y).item() * len(y)"
    for slip, points in (("loss * len(y)", 3.5), ("loss.item()", 3), (late, 3)):
        loop = "\n".join(module.LOOP).replace("loss.item() * len(y)", slip)
        for drawn, student in ids.items():
            as_handed_out = loop == drawn
            mark = classroom.marked("04", "train", "train_answer", given + loop, student)
            assert mark.points == (0 if as_handed_out else points), (drawn, mark)
    assert len(ids) == 18


def test_a_second_slip_in_the_mean_does_not_pass_for_a_mended_first_one():
    module = importlib.import_module("vgglib.exercises.assignment_04")
    given = "import torch\nfrom torch.nn import functional as F\n"
    ids = {str(module.my_loop(f"student {n}")): f"student {n}" for n in range(400)}
    for own, first in module.SLIPS:
        loop = [first if n == own else line for n, line in enumerate(module.LOOP, start=1)]
        for other, second in module.SLIPS:
            if other != own:
                both = "\n".join(second if n == other else line for n, line in enumerate(loop, start=1))
                mark = classroom.marked("04", "train", "train_answer", given + both, ids["\n".join(loop)])
                assert mark.points == 0, (first, second, mark)


def test_a_students_loop_is_printed_without_the_numbers_of_its_lines():
    loop = importlib.import_module("vgglib.exercises.assignment_04").my_loop("ada")
    compile(str(loop), "loop", "exec")
    assert repr(loop).startswith(" 1  def train")


def test_what_is_drawn_differs_between_students_and_stays():
    for number in ("01", "02", "03"):
        if number in NUMBERS:
            module = importlib.import_module(f"vgglib.exercises.assignment_{number}")
            draw = next(getattr(module, name) for name in dir(module) if name.startswith("my_"))
            assert len({str(draw(f"student {n}")) for n in range(200)}) > 60
            assert str(draw("Ada  Lovelace ")) == str(draw("ada lovelace"))
            assert not draw(...)


@pytest.mark.parametrize("number", ["02", "03"])
def test_the_feedback_names_a_slip_by_hand_as_the_visible_check_does(number):
    """Alone or beside another one: a sentence of the check's own, not only that the number is another."""
    module = importlib.import_module(f"grading.assignment_{number}")
    (one,) = [one for one in module.EXERCISES if one.grade_id == f"by_hand_{number}"]
    student = "student 8"
    right = {name: one.expected(name, student) for name in one.parts}
    for name in one.parts:
        for value in {wrong(name, student) for wrong in one.mistakes.values()} - {right[name]}:
            other = next(part for part in one.parts if part != name)
            given = {**right, name: value, other: 1}
            text = classroom.marked(number, one.grade_id, f"by_hand_answer_{number}", assigned(given)).text
            assert f"{name} is not" not in text, (name, value, text)
            assert f"{other} is not" in text


def assigned(values):
    return "\n".join(f"{name} = {value!r}" for name, value in values.items())


def test_every_fault_of_the_loop_is_one_and_raises_no_error():
    module = importlib.import_module("vgglib.exercises.assignment_04")
    given = "import torch\nfrom torch.nn import functional as F\n"
    for number, slip in module.SLIPS:
        loop = [slip if n == number else line for n, line in enumerate(module.LOOP, start=1)]
        names = {}
        exec(given + "\n".join(loop), names)
        verdict = module.check_train(names["train"])
        assert verdict.status == "failed", slip
        assert "raised" not in verdict.text
        ids = [f"student {n}" for n in range(400)]
        own = next(student for student in ids if module.my_loop(student).splitlines() == loop)
        mark = classroom.marked("04", "train", "train_answer", given + "\n".join(loop), own)
        assert mark.points == 0
        assert mark.text.startswith("these are the answers of the faulty program, as it was handed out; ")
        others = [classroom.marked("04", "train", "train_answer", given + "\n".join(loop), one) for one in ids[:8]]
        assert "part" in {mark.status for mark in others}
        assert not [mark.text for mark in [mark, *others] if re.search("is wrong|are wrong", mark.text)], slip
    assert len({str(module.my_loop(f"student {n}")) for n in range(400)}) == len(module.SLIPS) == 18
    assert f"one of {len(module.SLIPS)}" in classroom.TEACHER["04"].read_text(encoding="utf-8")


def test_a_tensor_another_dtype_and_long_numbers_are_named_by_the_checks():
    module = importlib.import_module("vgglib.exercises.assignment_04")
    names = classroom.defined("04", classroom.solutions("04"))
    torch, nn = names["torch"], names["nn"]
    verdict = module.check_train(lambda *args: torch.tensor(names["train"](*args)))
    assert (
        "train on 1 batch of 4 pictures should return a Python number, yours is a tensor: use .item()" in verdict.text
    )

    def halved(linear, channels, side):
        conv = names["as_convolution"](linear, channels, side)
        conv.bias = nn.Parameter(conv.bias.float())
        return conv

    assert "its bias is torch.float32, and that of linear torch.float64" in module.check_convolution(halved).text
    shown = module.check_combine(lambda scores: names["combine"](scores).flip(1)[:, :] * 0.994602).text
    assert not re.search(r"\d\.\d{7}", shown)
    assert "yours gave" in shown


@pytest.mark.parametrize("number", ["01", "02", "03"])
def test_hardly_two_of_a_class_share_what_is_drawn(number):
    module = importlib.import_module(f"vgglib.exercises.assignment_{number}")
    draw = next(getattr(module, name) for name in dir(module) if name.startswith("my_"))
    ids = 8_000
    counts = Counter(repr(draw(f"student {n}")) for n in range(ids))
    alike = sum(count * (count - 1) for count in counts.values()) / ids / (ids - 1)
    in_a_class = 1 - (1 - alike) ** (30 * 29 // 2)
    assert in_a_class < (0.015 if number == "01" else 0.01)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_explanation_in_other_words_is_on_the_topic(number):
    check = importlib.import_module(f"vgglib.exercises.assignment_{number}").check_explanation
    assert [str(check(text)) for text in EXPLAINED[number]] == [
        "✅ long enough and on the topic; a person judges the rest"
    ] * len(EXPLAINED[number])
    for several in (tuple, list):
        assert check(several(EXPLAINED[number][0].partition(". "))).status == "passed"
    verdict = check(OFF_TOPIC[number])
    assert verdict.status == "todo"
    assert verdict.text.startswith("long enough; this check, which knows English words alone, found nothing of ")


@pytest.mark.parametrize("number", NUMBERS)
def test_terms_that_the_chapters_do_not_explain_are_not_used(number):
    text = "".join(map(classroom.source, classroom.book(classroom.TEACHER[number])["cells"]))
    module = importlib.import_module(f"vgglib.exercises.assignment_{number}")
    assert not re.search(r"\btaps?\b|nll_loss", text + str(getattr(module, "SLIPS", "")))


def test_explanations_are_asked_for_as_the_check_counts_them():
    for number in NUMBERS:
        module = importlib.import_module(f"vgglib.exercises.assignment_{number}")
        text = "".join(classroom.source(cell) for cell in classroom.book(classroom.TEACHER[number])["cells"])
        asked = re.search(r"Write\s+(\w+ to \w+)\s+sentences", text).group(1)
        assert f"write {asked} sentences, at least " in module.check_explanation("Too short.").text
        names = classroom.defined(number, classroom.solutions(number))
        verdict = module.check_explanation(names["explanation"])
        assert str(verdict) == "✅ long enough and on the topic; a person judges the rest"


def test_a_right_function_under_another_name_is_told_so():
    check = importlib.import_module("vgglib.exercises.assignment_02")
    names = {"__name__": "__main__"}
    exec("def parameters(layers, channels):\n    return right(layers, channels)", names)
    names["right"] = importlib.import_module("grading.assignment_02").count_parameters
    verdict = check.check_parameters(names["parameters"])
    assert str(verdict) == "❌ parameters: it is right, but call it count_parameters: you are graded by names"
    names["count_parameters"] = names["parameters"]
    assert check.check_parameters(names["parameters"]).status == "passed"
    exec("count_parameters = lambda layers, channels: right(layers, channels)", names)
    assert check.check_parameters(names["count_parameters"]).status == "passed"


def test_numbers_by_hand_are_checked_one_after_the_other():
    check = importlib.import_module("vgglib.exercises.assignment_01").check_by_hand
    sizes, strides = (
        importlib.import_module("grading.assignment_01").by_hand(name, "ada") for name in ("sizes", "strides")
    )
    assert str(check("ada", ..., ..., ...)) == "⏳ not attempted yet"
    assert str(check("ada", sizes, ..., ...)) == "⏳ right so far: sizes; strides: not attempted yet"
    assert str(check("ada", sizes, strides, ...)) == "⏳ right so far: sizes, strides; start: not attempted yet"
    assert str(check("ada", [sizes[0], ..., 1, 1], ..., ...)) == "⏳ sizes: after layer 2, not attempted yet"
    stack = importlib.import_module("vgglib.exercises.assignment_01").my_stack("ada")
    own, before = [stride for _, stride, _ in stack], [1, *strides[:-1]]
    assert "is not it: that is the layer's own stride; strides multiply" in check("ada", sizes, own, ...).text
    assert "is not it: that is the stride before this layer" in check("ada", sizes, before, ...).text
    two = importlib.import_module("vgglib.exercises.assignment_02").check_by_hand
    parameters = importlib.import_module("grading.assignment_02").by_hand("my_parameters", "ada")
    assert str(two("ada", parameters, ..., ...)) == "⏳ right so far: my_parameters; my_macs: not attempted yet"
