"""Assignment 01: the solution gets everything, the stub nothing, and each named mistake loses what it should."""

import classroom
import pytest

from vgglib.exercises.assignment_01 import my_stack

NUMBER = "01"
WALK = """
    size, jump, padding = 1, 1, 0
    for kernel, stride, extra in layers:
        size += {step}
        padding += {pad}
        jump *= stride
    return {gives}
"""


def walk(name, step="(kernel - 1) * jump", pad="extra * jump", gives="size, jump"):
    return f"def {name}:" + WALK.format(step=step, pad=pad, gives=gives)


def field(**wrong):
    return walk("field(layers)", **{"step": "extra * (kernel - 1) * jump", **wrong})


FIRST = "unit * jump - padding"


def window(gives=f"max(0, {FIRST}), min(side - 1, {FIRST} + size - 1)", **wrong):
    return walk("window(layers, unit, side)", gives=gives, **wrong)


def centre(gives=f"{FIRST} + (size - 1) / 2", **wrong):
    return walk("centre(layers, unit)", gives=gives, **wrong)


def by_hand(step="(k - 1) * jump", jump="jump * s", pad="p * jump", start="2 * jump - padding"):
    """Return the answer cell of one student, worked out with or without a mistake."""

    def cell(student):
        code = ["size, jump, padding, sizes, strides = 1, 1, 0, [], []", "for k, s, p in stack:"]
        code += [f"    size += {step}", f"    padding += {pad}", f"    jump = {jump}"]
        code += ["    sizes.append(size)", "    strides.append(jump)", f"start = {start}"]
        names = {"stack": my_stack(student)}
        exec("\n".join(code), names)
        return f"sizes, strides, start = {names['sizes']}, {names['strides']}, {names['start']}"

    return cell


WRONG = {
    "by_hand": {
        "adds the kernel, not kernel - 1": ("by_hand_answer", by_hand(step="k * jump"), 2, "kernel - 1"),
        "uses the new stride": ("by_hand_answer", by_hand(step="(k - 1) * jump * s"), 2, "*before*"),
        "adds the strides": (
            "by_hand_answer",
            lambda student: by_hand()(student) + f"\nstrides = {sums(student)}",
            3,
            "multiply",
        ),
        "paddings without strides": ("by_hand_answer", by_hand(pad="p"), 3, "multiply it by the strides"),
        "forgets the strides": ("by_hand_answer", by_hand(step="k - 1"), 2, "the sizes are not"),
        "unit 1 for unit 2": ("by_hand_answer", by_hand(start="jump - padding"), 3, "begins elsewhere"),
        "three numbers of four": (
            "by_hand_answer",
            lambda student: by_hand()(student) + "\nsizes = sizes[:3]",
            2,
            "another number of values",
        ),
        "text": ("by_hand_answer", lambda student: by_hand()(student) + "\nstart = str(start)", 3, "you gave text"),
        "a neighbour's answers": ("by_hand_answer", lambda student: by_hand()("berta"), 0, "not those of your"),
    },
    "field": {
        "adds the kernel, not kernel - 1": ("field_answer", field(step="extra * kernel * jump"), 1, "kernel - 1"),
        "uses the new stride": ("field_answer", field(step="extra * (kernel - 1) * jump * stride"), 3, "*before*"),
        "from the output side": (
            "field_answer",
            field().replace("in layers", "in reversed(layers)"),
            3,
            "input side first",
        ),
        "without dilation": ("field_answer", field(step="(kernel - 1) * jump"), 5, "left the dilation out"),
        "dilation times kernel": (
            "field_answer",
            field(step="(extra * kernel - 1) * jump"),
            5,
            "not over dilation * kernel",
        ),
        "without strides": ("field_answer", field(step="extra * (kernel - 1)"), 3, "left the strides out"),
        "strides added": ("field_answer", field(gives="size, sum(s for _, s, _ in layers) or 1"), 1, "multiply"),
        "only for 3x3": ("field_answer", field(step="extra * 2 * jump"), 1, "wrong where all strides are 1"),
        "the last layer alone": ("field_answer", field().replace("in layers", "in layers[-1:]"), 1, "last layer alone"),
        "the check's cases by heart": (
            "field_answer",
            "def field(layers):\n    return {2: (5, 1), 1: (5, 1), 3: (19, 4), 0: (1, 1)}.get(len(layers), (7, 1))",
            1,
            "wrong where",
        ),
    },
    "window": {
        "paddings without strides": ("window_answer", window(pad="extra"), 0, "multiply it by the strides"),
        "one pixel too many": (
            "window_answer",
            window(f"max(0, {FIRST}), min(side - 1, {FIRST} + size)"),
            1,
            "start + size - 1",
        ),
        "not clipped": ("window_answer", window(f"({FIRST}, {FIRST} + size - 1)"), 2, "not clipped"),
        "clipped to side": ("window_answer", window(f"max(0, {FIRST}), min(side, {FIRST} + size - 1)"), 3, "side - 1"),
        "without padding": ("window_answer", window(pad="0"), 0, "left the padding out"),
        "windows one pixel apart": (
            "window_answer",
            window("max(0, unit - padding), min(side - 1, unit - padding + size - 1)"),
            1,
            "you took 1",
        ),
        "one number": ("window_answer", window("max(0, unit * jump - padding)"), 0, "one number"),
    },
    "centre": {
        "the faulty program": ("centre_answer", centre(f"{FIRST} + (size - 1) // 2"), 1, "half pixel"),
        "half of the size": ("centre_answer", centre(f"{FIRST} + size / 2"), 0, "not size / 2"),
        "rounded up": ("centre_answer", centre(f"{FIRST} + size // 2"), 1, "rounded up"),
        "paddings without strides": ("centre_answer", centre(pad="extra"), 0, "multiply it by the strides"),
        "without padding": ("centre_answer", centre(pad="0"), 0, "left the padding out"),
        "nan": ("centre_answer", centre("float('nan')"), 0, "nan"),
        "an error inside": ("centre_answer", centre("1 / 0"), 0, "ZeroDivisionError"),
    },
}


def sums(student):
    return [sum(stride for _, stride, _ in my_stack(student)[: n + 1]) for n in range(4)]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    return list(classroom.grade_the_wrong(tmp_path_factory.mktemp("wrong"), NUMBER, WRONG))


def test_each_exercise_has_five_named_mistakes():
    assert min(map(len, WRONG.values())) >= 5
    assert set(WRONG) == {one.grade_id for one in classroom.grade.assignment(NUMBER).exercises}


@pytest.mark.parametrize(("exercise", "name"), [(exercise, name) for exercise in WRONG for name in WRONG[exercise]])
def test_a_mistake_loses_its_points_and_is_named(wrong, exercise, name):
    (case,) = [case for case in wrong if case[:2] == (exercise, name)]
    classroom.assert_lost(case)


def test_the_solution_gets_everything_and_the_stub_nothing(tmp_path):
    classroom.hand_in(tmp_path, "teacher", classroom.solved(NUMBER))
    classroom.hand_in(tmp_path, "untouched", classroom.book(classroom.RELEASED[NUMBER]))
    results = classroom.graded(tmp_path, NUMBER)
    assert [row.points for row in results["teacher"].rows] == [4, 6, 4, 3, None]
    assert results["teacher"].flags == ["same functions as the published solution"]
    assert {row.text for row in results["untouched"].rows} == {"not attempted yet"}
    assert results["untouched"].points == 0
    assert not results["untouched"].notes


def test_the_visible_checks_pass_the_solution_wait_for_the_stub_and_name_what_is_wrong():
    found = classroom.run_checks(NUMBER, classroom.defined(classroom.solutions(NUMBER)))
    assert {verdict.status for verdict in found.values()} == {"passed"}
    stubs = {cell: classroom.source(classroom.cell_of(classroom.book(classroom.RELEASED[NUMBER]), cell))
             for cell in classroom.solutions(NUMBER)}  # fmt: skip
    found = classroom.run_checks(NUMBER, classroom.defined(stubs))
    assert {verdict.status for verdict in found.values()} == {"todo"}
    for exercise, answers in WRONG.items():
        for name, (cell, text, _, _) in answers.items():
            text = text("teacher") if callable(text) else text
            sources = {**classroom.solutions(NUMBER), cell: text}
            verdict = classroom.run_checks(NUMBER, classroom.defined(sources))[exercise]
            if name != "the check's cases by heart":
                assert verdict.status == "failed", f"{exercise}, {name}: {verdict}"


def test_stacks_differ_between_students_and_stay():
    stacks = {str(my_stack(f"student {n}")) for n in range(200)}
    assert len(stacks) > 60
    assert my_stack("Ada  Lovelace ") == my_stack("ada lovelace")
    assert not my_stack(...)
