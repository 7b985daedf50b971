"""Grades a folder of submissions: one student's process after another, as many at a time as there are cores."""

import ast
import builtins
import contextlib
import importlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from grading import judge, sandbox
from grading.magics import without_magics
from grading.submission import Cell, Submission, as_text, found, normal, read

HERE = Path(__file__).resolve().parent.parent
NUMBERS = sorted(path.stem[-2:] for path in Path(__file__).parent.glob("assignment_[0-9][0-9].py"))
MOST_RESTARTS = 8
MOST_MESSAGES = 5_000
MOST_PARSED = 200_000  # letters of code of one submission: trees take a hundred times as much memory
LONGEST_ANSWER = 20_000  # letters of a cell of code that may be an explanation
LONG = 1_200  # letters of a function as a tree, from which on two equal ones are hardly chance: about eight lines
TOGETHER = 1_000  # the same for several functions, all of them equal
NO_TEXT = "`explanation` holds no text; a person reads what stands there"
ANOTHER_ID = "another id in the notebook: "  # how a flag begins
PUBLISHED, ALL, EXPLANATION = "the published solution", "functions", "explanation"  # words of flags
SUSPICIOUS = {  # in the student's code
    r"\bshowtraceback\b|set_custom_exc": "silences error messages",
    r"\bget_ipython\b": "uses the notebook's shell",
    r"def __eq__\b|__eq__\s*=": "defines __eq__",
    r"\b_getframe\b|\bf_back\b|\bf_locals\b|\bf_globals\b|currentframe": "looks at other frames",
    r"\bgc\.get_|__subclasses__|__globals__|__closure__": "searches memory",
    r"\bos\._exit\b|\bsys\.exit\b|\bexit\(\)|\bquit\(\)": "ends Python",
    r"/proc/|/etc/|\.\./|\bgradebook\b|\bscores\.csv\b|(import|from) +grading\b": "names others' files",
    r"BEGIN HIDDEN|HIDDEN TESTS": "names hidden tests",
    r"\bassignment_\d\d\.(LOOP|SLIPS|FINE)\b|import .*\b(LOOP|SLIPS|FINE)\b": "takes the loop out of the book",
}


@dataclass(frozen=True)
class Assignment:
    """One assignment: its module of exercises, and the student's edition that was handed out."""

    name: str
    exercises: list[judge.Exercise]
    by_hand: list[judge.ByHand]
    preload: tuple[str, ...]
    handed_out: list[tuple[Cell, dict]]  # each cell with nbgrader's marks

    @property
    def points(self) -> float:
        """The most that can be earned."""
        return sum(one.points for one in [*self.exercises, *self.by_hand])

    def solution(self) -> list[Cell]:
        """The cells of the teacher's edition."""
        return read(HERE / "source" / self.name / f"{self.name}.ipynb", "teacher").cells

    def ids(self) -> set[str]:
        """The names of all cells that nbgrader knows."""
        return {cell.grade_id for cell, _ in self.handed_out if cell.grade_id}

    def question(self, grade_id: str) -> str:
        """Return the text that stands above a cell, as it was handed out."""
        place = next(n for n, (cell, _) in enumerate(self.handed_out) if cell.grade_id == grade_id)
        return next((cell.source.strip() for cell, _ in self.handed_out[:place][::-1] if cell.kind == "markdown"), "")

    def checks(self) -> dict[str, list[str]]:
        """Return what is asked for as it is at a visible check, by the name of the check's function."""
        wanted = {one.grade_id: one.wanted for one in self.exercises}
        names = {}
        for cell, marks in self.handed_out:
            call = re.search(r"\bcheck_\w+", cell.source) if marks.get("locked") and cell.kind == "code" else None
            if call:
                student = ["student"] if re.search(r"\bstudent\b", cell.source) else []
                names[call.group()] = [wanted.get(cell.grade_id, "explanation"), *student]
        return names


@dataclass
class Row:
    """One line of the scores."""

    exercise: str
    title: str
    points: float | None  # None: waits for a person
    out_of: float
    status: str
    text: str
    answer: str = ""  # of a question that a person grades
    by_person: bool = False  # whether this is such a question, and the notebook was read


@dataclass
class Result:
    """What became of one student's submission for one assignment."""

    student: str
    assignment: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    belongs: str = ""  # the other assignment that a notebook is of, where nothing of this one was handed in
    isolation: str = ""
    sha256: str = ""
    seconds: float = 0.0  # wall time of the student's process, its start included

    @property
    def points(self) -> float:
        """Points so far, without what waits for a person."""
        return sum(row.points or 0 for row in self.rows)


def assignment(number: str) -> Assignment:
    """Return an assignment by its number, "01" to "04".

    Raises ValueError where an exercise has other points in the students' edition than here.
    """
    module: ModuleType = importlib.import_module(f"grading.assignment_{number}")
    path = HERE / "release" / module.NAME / f"{module.NAME}.ipynb"
    book = json.loads(path.read_text(encoding="utf-8"))
    cells = []
    for cell in book["cells"]:
        marks = cell["metadata"].get("nbgrader", {})
        cells.append((Cell(cell["cell_type"], "".join(cell["source"]), marks.get("grade_id")), marks))
    points = {one.grade_id: one.points for one in [*module.EXERCISES, *module.BY_HAND]}
    for cell, marks in cells:
        told = marks.get("points", 0) if marks.get("grade") else 0
        if cell.grade_id in points and told != points[cell.grade_id]:
            raise ValueError(
                f"{cell.grade_id} has {told:g} points in {module.NAME}.ipynb and {points[cell.grade_id]:g} in "
                f"grading/assignment_{number}.py: change both, and the heading"
            )
    return Assignment(module.NAME, module.EXERCISES, module.BY_HAND, module.PRELOAD, cells)


def secret_of(path: Path) -> str:
    """Return the teacher's secret, made up at the first use and kept in a file that only the teacher reads."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(16) + "\n")
    secret = path.read_text(encoding="utf-8").strip()
    if len(secret) < 8:
        raise ValueError(f"{path} holds no secret: write at least 8 letters into it, or delete it to get a new one")
    return secret


class Session:
    """Questions to one submission, with as many starts of its process as it takes."""

    def __init__(
        self,
        assignment: Assignment,
        submission: Submission,
        limits: sandbox.Limits,
        sandboxed: bool,
        slot: int,
    ):
        self.assignment, self.submission, self.limits = assignment, submission, limits
        self.sandboxed, self.slot = sandboxed, slot
        self.cells = plan(assignment, submission)
        self.checks = checked(assignment, self.cells)
        plain_checks = {cell.source.strip() for cell, marks in assignment.handed_out
                        if marks.get("locked") and cell.kind == "code" and "check_" in cell.source}  # fmt: skip
        self.cells = [(n, "" if source.strip() in plain_checks else source) for n, source in self.cells]
        self.preload = needed(assignment.preload, [source for _, source in self.cells])
        self.changed: list[str] = []  # names that are others below their check
        self.lines = {line.strip()[:120] for _, source in self.cells for line in source.splitlines()}
        self.problems: dict[int, dict] = {}  # by cell
        self.events: list[str] = []
        self.stops: list[str] = []
        self._student: sandbox.Student | None = None
        self._restarts, self._used = 0, 0.0
        self._dead = ""

    def ask(self, adapter: str, name: str, args: tuple) -> dict:
        """Return {"value": ...} or {"problem": ...}; never raises for what the student did."""
        began = time.monotonic()
        try:
            if self._dead:
                raise sandbox.GoneError(self._dead)
            if self._student is None:
                self._start()
            began = time.monotonic()
            reply = self._student.ask(adapter, name, list(args))
        except sandbox.GoneError as gone:
            self._stop()
            if gone.why not in self.stops:
                self.stops.append(gone.why)
            return {"problem": {"kind": "Gone", "why": sandbox.WHY.get(gone.why, "it could not be run")}}
        finally:
            self._used += time.monotonic() - began
        self._note(reply)
        return reply if isinstance(reply.get("problem"), type(None)) else {"problem": self._cleaned(reply["problem"])}

    def close(self) -> None:
        """Leave nothing running."""
        self._stop()

    def _start(self) -> None:
        """Run the cells, without those that end or hang the process. Raises GoneError."""
        while True:
            if self._restarts > MOST_RESTARTS or self._used > self.limits.seconds:
                self._dead = self._dead or "time"
                raise sandbox.GoneError(self._dead)
            self._restarts += 1
            cells = [(n, source) for n, source in self.cells if "why" not in self.problems.get(n, {})]
            self._student = sandbox.Student(
                self.limits, cells, self.preload,
                self.submission.folder, self.sandboxed, self.slot, self.checks,
            )  # fmt: skip
            current, began = None, time.monotonic()
            try:
                self._student.start()
                began = time.monotonic()
                for _ in range(MOST_MESSAGES):
                    message = self._student.hear()
                    self._note(message)
                    if "defined" in message:
                        changed = message.get("changed")
                        self.changed = [name for names in self.assignment.checks().values() for name in names[:1]
                                        if isinstance(changed, list) and name in changed]  # fmt: skip
                        return
                    current = message.get("cell", current)
                    if isinstance(message.get("problem"), dict) and type(message.get("done")) is int:
                        self.problems[message["done"]] = message["problem"]
                    if self._used + time.monotonic() - began > self.limits.seconds:
                        raise self._student._gone("time")
                raise self._student._gone("noise")
            except sandbox.GoneError as gone:
                self._stop()
                self.stops.append(gone.why)
                if current not in [n for n, _ in cells]:
                    self._dead = gone.why
                    raise
                self.problems[current] = {"kind": "Gone", "why": sandbox.WHY.get(gone.why, "")}
            finally:
                self._used += time.monotonic() - began

    def _cleaned(self, problem: object) -> dict:
        """Return what of a problem may be repeated: by now the student's process knows hidden inputs.

        So only kinds of errors that Python itself has, and lines that stand in the notebook.
        """
        problem = problem if isinstance(problem, dict) else {}
        kind, code, text = (problem.get(name) for name in ("kind", "code", "text"))
        error = getattr(builtins, kind, None) if isinstance(kind, str) else None
        known = kind in ("TooSlow", "NotPlain") or (isinstance(error, type) and issubclass(error, BaseException))
        there = isinstance(code, str) and code in self.lines
        return {
            "kind": kind if known else "own",
            "code": code if there else "",
            "line": bool(problem.get("line")),
            "text": text if isinstance(text, str) else "",
        }

    def _stop(self) -> None:
        if self._student is not None:
            self._student.__exit__()
        self._student = None

    def _note(self, message: dict) -> None:
        events = message.get("events")
        for event in events[:20] if isinstance(events, list) else []:
            if isinstance(event, str) and event not in self.events and len(self.events) < 30:
                self.events.append(event[:120])


def plan(assignment: Assignment, submission: Submission) -> list[tuple[int, str]]:
    """Return what is run, in order: the assignment's own locked cells, untouched stubs, then the student's code.

    Stubs go first because a copied cell often leaves one behind, which would undo the work above it. Checks keep their
    places; a Session runs them only if they were changed. Numbers count the student's cells from 1; the assignment's
    own have negative ones.
    """
    original = {cell.grade_id: cell.source.strip() for cell, marks in assignment.handed_out if marks.get("locked")}
    stubs = {cell.source.strip() for cell, marks in assignment.handed_out if marks.get("solution")}
    fixed = [cell for cell, marks in assignment.handed_out if marks.get("locked") and not marks.get("grade")]
    ours = [cell for cell in fixed if cell.kind == "code" and "check_" not in cell.source]
    first = [(n - len(ours), cell.source) for n, cell in enumerate(ours)]
    cells = []
    for n, cell in enumerate(submission.cells, start=1):
        source = cell.source.strip()
        if cell.kind == "code" and source in stubs:
            first.append((n, cell.source))
        elif cell.kind == "code" and source and (original.get(cell.grade_id) != source or "check_" in source):
            cells.append((n, cell.source))
    return first + cells


def needed(preload: tuple[str, ...], cells: list[str]) -> tuple[str, ...]:
    """Return the libraries to load, and whose chance to fix, before any code runs: none for Python's own modules alone.

    Most of the time of a short submission goes into this. In doubt all are loaded.
    """
    if sum(map(len, cells)) > MOST_PARSED:
        return preload
    for source in cells:
        try:
            nodes = list(ast.walk(ast.parse(without_magics(source))))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return preload
        brought = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
        brought += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
        said = {getattr(node, "id", "") for node in nodes} | {getattr(node, "attr", "") for node in nodes}
        own = {"vgglib", *sys.stdlib_module_names} - {"importlib"}
        if {name.partition(".")[0] for name in brought} - own or said & {"__import__", "exec", "eval"}:
            return preload
    return ()


def checked(assignment: Assignment, cells: list[tuple[int, str]]) -> dict[int, list[str]]:
    """Return which names are asked for as they are after a cell, by its number: a visible check stands there.

    What a student tries below it, under the same names, does not change an answer that the check has seen.
    """
    checks = assignment.checks()
    calls = {check: re.compile(rf"^[^#\n]*(?<!def )\b{check} *\(", re.MULTILINE) for check in checks}
    found: dict[int, list[str]] = {}
    for number, source in cells:
        for check, names in checks.items():
            if number > 0 and check in source and calls[check].search(source):
                found.setdefault(number, []).extend(names)
    return found


def grade_one(
    assignment: Assignment,
    submission: Submission,
    secret: str,
    limits: sandbox.Limits,
    sandboxed: bool = True,
    slot: int = 0,
) -> Result:
    """Return the result of one submission; never raises for what a student can do."""
    result = Result(submission.student, assignment.name, [], list(submission.notes), list(submission.flags))
    result.isolation, result.sha256 = "sandbox" if sandboxed else "none", submission.sha256
    result.belongs = submission.belongs
    if submission.problem:
        result.rows = [Row(one.grade_id, one.title, 0.0, one.points, "unreadable", submission.problem)
                       for one in [*assignment.exercises, *assignment.by_hand]]  # fmt: skip
        return result
    session = Session(assignment, submission, limits, sandboxed, slot)
    began = time.monotonic()
    try:
        # first what is shown as it stands: before a question is asked, the student's process knows nothing hidden
        explained = [_by_hand(question, session) for question in assignment.by_hand]
        told: set[int] = set()  # the cells whose errors stand beside an exercise
        typed, no_id = _id(session.ask("value", "student", ("student",)))
        for exercise in assignment.exercises:
            mark = judge.mark(exercise, session.ask, secret, submission.student)
            row = Row(exercise.grade_id, exercise.title, mark.points, exercise.points, mark.status, mark.text)
            result.rows.append(_led(row, exercise.wanted, session, told))
        result.rows += [_led(row, "explanation", session, told) for row in explained]
    finally:
        session.close()
        result.seconds = time.monotonic() - began
    for number, problem in sorted(session.problems.items()):
        if number > 0 and number not in told and problem.get("kind") != "NotImplementedError":
            result.notes.append(_failed(number, session))
    result.notes += [f"{name} was graded as it is at its check: a cell below changes it" for name in session.changed]
    if another(typed, submission):
        result.notes.insert(0, f"your notebook says `{typed[:60]}`, and it was handed in as `{submission.student}`: "
                               f"exercises of your own were graded for `{submission.student}`")  # fmt: skip
    if no_id:
        result.notes.insert(0, "what stands for your id is no id: put it in quotes, without a comma behind it")
    result.notes = result.notes[:12]
    result.flags += _flags(assignment, submission, session, typed)
    return result


def _text(reply: dict) -> str:
    """Return an explanation, also if it is strings with commas between them; nothing if it is something else."""
    with contextlib.suppress(judge.plain.NotPlainError):
        value = judge.plain.loads(str(reply.get("value", "null")))
        several = list(value) if isinstance(value, list | tuple) else [value]
        return " ".join(several) if all(isinstance(one, str) for one in several) else ""
    return ""


def _id(reply: dict) -> tuple[str, bool]:
    """Return the id that a student typed, also if it is a number, and whether something else stands there."""
    with contextlib.suppress(judge.plain.NotPlainError):
        value = judge.plain.loads(str(reply.get("value", "null")))
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value), False
        return "", value is not ... and value is not None
    return "", True


def another(typed: str, submission: Submission) -> bool:
    """Return whether an id was typed, and is not that under which the work was handed in."""
    return bool(typed) and normal(typed) != normal(submission.student)


def _by_hand(question: judge.ByHand, session: Session) -> Row:
    answer = _text(session.ask("value", "explanation", ("explanation",))).strip()
    row = Row(question.grade_id, question.title, 0.0, question.points, "todo", "not attempted yet", answer, True)
    if answer:
        row.points, row.status, row.text = None, "waits", "a person reads this answer"
    elif written := _written(question, session.assignment, session.submission.cells):
        row.answer, row.points, row.status = written, None, "waits"
        row.text = NO_TEXT
    return row


def _written(question: judge.ByHand, assignment: Assignment, cells: list[Cell]) -> str:
    """Return what was written for an explanation that its name does not hold: its cell as it stands, and texts below.

    It may be Markdown, a comment, a string without a name, or have an error. Nothing, if nobody wrote anything.
    """
    given = {cell.source.strip() for cell, _ in assignment.handed_out}
    ours = [cell.source for cell, _ in assignment.handed_out if cell.kind == "code"]
    known = {*re.findall(r"\w+", "\n".join(ours)), "None", "pass"}
    heading = assignment.question(question.grade_id)

    def is_answer(cell: Cell) -> bool:
        assigns = cell.kind == "code" and re.search(r"\bexpl\w*\b[^=\n]{0,20}=(?!=)", cell.source)
        return cell.grade_id == question.grade_id or bool(assigns)

    first = next((n for n, cell in enumerate(cells) if cell.source.strip() == heading or is_answer(cell)), len(cells))
    while first and cells[first - 1].kind == "markdown" and cells[first - 1].source.strip() not in given:
        first -= 1
    texts = [cell.source.strip() for cell in cells[first:]
             if cell.source.strip() not in given and (is_answer(cell) or only_text(cell))]  # fmt: skip
    return "\n\n".join(text for text in texts if set(re.findall(r"\w+", text)) - known)


def only_text(cell: Cell) -> bool:
    """Return whether a cell is Markdown, or code that does nothing: comments, and strings without a name."""
    if cell.kind != "code":
        return True
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        body = ast.parse(cell.source).body if len(cell.source) < LONGEST_ANSWER else [ast.Pass()]
        return all(isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str) for node in body)
    return False


def _led(row: Row, wanted: str, session: Session, told: set[int]) -> Row:
    """Let a row about a name that is not there begin with the error of the cell that would have defined it, if any.

    The cell's number goes into ``told``.
    """
    defines = re.compile(rf"^\s*def {wanted}\b|^[\w, ]{{0,80}}\b{wanted}\b[\w, ]{{0,80}}=(?!=)", re.MULTILINE)
    for number, source in session.cells if row.status in ("missing", "todo") or row.text == NO_TEXT else ():
        problem = session.problems.get(number, {"kind": "NotImplementedError"})
        if number > 0 and problem.get("kind") != "NotImplementedError" and defines.search(source):
            told.add(number)
            reads = "; a person reads what stands there" if row.answer else ""
            row.text = f"{_failed(number, session)}; so there is no {wanted}{reads}"
            break
    return row


def _failed(number: int, session: Session) -> str:
    """Return which cell failed, by its first line, which a student may know it by, and why."""
    lines = (line.strip() for line in dict(session.cells).get(number, "").splitlines())
    called = f"the cell that begins with `{judge.cut(next(filter(None, lines), ''), 60)}`"
    return f"{called} did not run to its end: {_cell_problem(session.problems[number])}"


def _cell_problem(problem: dict) -> str:
    """Return what stopped a cell; nothing hidden is known yet when cells run, so the error may speak for itself."""
    if "why" in problem:
        return f"it was stopped, because {problem['why']}"
    kind = str(problem.get("kind"))[:40]
    if kind == "TooSlow":
        return "it did not end within the time it has"
    kind = "an error" if kind == "own" else kind
    text, code = judge.cut(str(problem.get("text") or ""), 160), judge.cut(str(problem.get("code") or ""), 100)
    return kind + (f": {text}" if text else "") + (f", in the line `{code}`" if code else "")


def _flags(assignment: Assignment, submission: Submission, session: Session, typed: str) -> list[str]:
    flags = [f"stopped: {sandbox.WHY.get(why, why)}" for why in dict.fromkeys(session.stops)]
    original = {
        cell.grade_id: cell.source
        for cell, marks in assignment.handed_out
        if marks.get("locked") and cell.kind == "code"
    }
    for cell in submission.cells:
        if cell.grade_id in original and cell.source.strip() != original[cell.grade_id].strip():
            flags.append(f"changed locked cell: {cell.grade_id}")
    source = "\n".join(source for number, source in session.cells if number > 0)
    flags += [why for pattern, why in SUSPICIOUS.items() if re.search(pattern, source)]
    if len(source) > MOST_PARSED:
        flags.append(f"too much code to look through: {len(source) // 1_000} thousand letters")
    else:
        flags += replaced("\n".join(without_magics(source) for number, source in session.cells if number > 0))
    for event in session.events:
        kind, _, what = event.partition(" ")
        if kind == "import":
            flags.append(f"imports {what}")
        elif kind != "open" or what.startswith("/") or ".." in what:
            flags.append(f"tried: {event}")
    if another(typed, submission):
        flags.append(f"{ANOTHER_ID}{typed[:60]}")
    return list(dict.fromkeys(flags))


def replaced(source: str) -> list[str]:
    """Return which attributes of imported modules, and which of Python's own names, a program replaces."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    modules = {"builtins", "__builtins__", *(f"assignment_{number}" for number in NUMBERS)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    found = []
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setattr" and node.args:
            targets = [ast.Attribute(node.args[0], "?")]
        roots = [root(target) for target in targets if isinstance(target, ast.Attribute)]
        found += [f"replaces a part of {name}" for name in roots if name in modules]
    return found


def root(node: ast.AST) -> str:
    """Return the name that an expression like ``a.b[0].c`` starts from; however long it is, nothing calls itself."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return getattr(node, "id", "")


def grade(
    folder: Path,
    secret: str,
    number: str | None = None,
    limits: sandbox.Limits | None = None,
    sandboxed: bool = True,
    workers: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
    student: str | None = None,
    so_far: Callable[[Result], str] = lambda result: f"{result.points:g}",
) -> list[Result]:
    """Return the results of a folder of submissions, by assignment and student.

    With ``number`` of one assignment, with ``student`` of one student alone. Raises ValueError if there is none.
    ``tell`` gets a line for each as soon as it is graded, with what ``so_far`` says of its points.
    """
    known = {one: assignment(one) for one in NUMBERS}
    everybody = found(folder, tell)
    if student is not None and folder.is_dir():
        everybody = {name: several for name, several in everybody.items() if normal(name) == normal(student)}
        if not everybody:
            raise ValueError(f"there is no student {student!r} in {folder}")
    elif student is not None:
        ((_, several),) = everybody.items()
        everybody = {student: [replace(one, student=student) for one in several]}
    work = []
    for name, submissions in everybody.items():
        work += chosen(name, submissions, known, number, tell)
    workers = workers or os.cpu_count() or 2

    def one(task: tuple[int, tuple[Assignment, Submission]]) -> Result:
        place, (what, submission) = task
        try:
            result = grade_one(what, submission, secret, limits or sandbox.Limits(), sandboxed, place)
        except Exception as error:  # the grader's own fault must not take the others' grades with it
            rows = [Row(e.grade_id, e.title, 0.0, e.points, "fault", "the grader failed: your teacher has been told")
                    for e in [*what.exercises, *what.by_hand]]  # fmt: skip
            flags = [f"the grader failed: {type(error).__name__}: {error}"]
            result = Result(submission.student, what.name, rows, flags=flags, sha256=submission.sha256)
        tell(f"{result.assignment}  {result.student}: {so_far(result)}")
        return result

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(one, enumerate(work)))
    flag_copies(results, work)
    return sorted(results, key=lambda result: (result.assignment, result.student))


def chosen(
    student: str,
    submissions: list[Submission],
    known: dict[str, Assignment],
    number: str | None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[tuple[Assignment, Submission]]:
    """Return for each assignment the one notebook that counts: the one with its name, or else the newest.

    A notebook that belongs to no assignment counts for the one that was asked for, if there is no other.
    """
    by_assignment: dict[str, list[Submission]] = {}
    unplaced = []
    for submission in submissions:
        unknown = submission.problem and number  # what cannot be read may be what was asked for
        place = number if unknown else recognised(submission, known)
        if place:
            by_assignment.setdefault(place, []).append(submission)
        else:
            unplaced.append(submission)
    if number:
        nothing = Submission(student, problem="there is no notebook of this assignment among what you handed in")
        nothing.belongs = ", ".join(known[other].name for other in sorted(by_assignment))
        by_assignment = {number: by_assignment.get(number) or unplaced or [nothing]}
    elif unplaced:
        names = ", ".join(as_text(one.path.name) if one.path else one.problem for one in unplaced[:5])
        more = f" and {len(unplaced) - 5} more" if len(unplaced) > 5 else ""
        tell(f"{student}: not graded, since it belongs to no assignment; say ASSIGNMENT=: {names}{more}")
    picked = []
    own = {which: theirs(several, known[which]) for which, several in by_assignment.items()}
    for which, several in by_assignment.items():
        what = known[which]
        if not number and any(own.values()) and not own[which]:
            continue  # a whole book was handed in, with work on another assignment
        several = own[which] or [one for one in several if sources(one.cells) != sources(what.solution())] or several

        def rank(submission: Submission, what: Assignment = what) -> tuple:
            path = submission.path
            named = path is not None and what.name in path.stem
            return (
                not submission.problem,
                named,
                bool(marks(submission, what)),
                path.lstat().st_mtime if path else 0,
                str(path),
            )

        best = max(several, key=rank)
        if len(several) > 1 and best.path:
            best.notes.append(f"you handed in {len(several)} notebooks; {best.path.name} was graded")
            best.flags.append("several notebooks")
        picked.append((what, best))
    return picked


def theirs(several: list[Submission], what: Assignment) -> list[Submission]:
    """Return a student's own notebooks, without those of the book, which somebody hands in who hands in its folder.

    What cannot be read counts where nothing else is there.
    """
    ours = [sources(what.solution()), sources(cell for cell, _ in what.handed_out)]
    readable = [one for one in several if not one.problem]
    return [one for one in readable if sources(one.cells) not in ours] or ([] if readable else several)


def sources(cells: Iterable[Cell]) -> list[str]:
    """Return what stands in some cells."""
    return [cell.source.strip() for cell in cells if cell.source.strip()]


def recognised(submission: Submission, known: dict[str, Assignment]) -> str | None:
    """Return the number of the assignment that a notebook belongs to: by its cells, or else by its name, if by any."""
    scores = {number: fit(submission, what) for number, what in known.items()}
    best = max(scores, key=scores.get)
    chapter = submission.path is not None and (HERE.parent / submission.path.name).exists()
    if (scores[best] > 1 and not chapter) or marks(submission, known[best]):
        return best
    where = str(submission.path or "")
    return next((number for number, what in known.items() if what.name in where), None)


def marks(submission: Submission, what: Assignment) -> set[str]:
    """Return nbgrader's names of an assignment's cells that occur in a notebook."""
    return what.ids() & {cell.grade_id for cell in submission.cells}


def fit(submission: Submission, what: Assignment) -> int:
    """Return how many names of an assignment a notebook has: of its cells, and of what its cells define."""
    source = "\n".join(cell.source for cell in submission.cells if cell.kind == "code")
    defines = r"^(?:def +{0}\b|(?:[\w, ]{{0,80}}\b)?{0} *(?:,[\w, ]{{0,80}})?=(?!=))"
    return len(marks(submission, what)) + sum(
        bool(re.search(defines.format(one.wanted), source, re.MULTILINE)) for one in what.exercises
    )


def flag_copies(results: list[Result], work: list[tuple[Assignment, Submission]]) -> None:
    """Flag students whose long functions, one by one, or whose explanation are another's, or the published solution's.

    Spaces and comments make no difference.
    """
    answers = {(r.assignment, r.student): row.answer for r in results for row in r.rows if row.answer}
    owners: dict[tuple[str, str], dict[str, str]] = {}  # by assignment and owner: what there is, by what it is called
    for what, submission in work:
        key = what.name, submission.student
        owners[key] = traits(what, submission.cells, answers.get(key, ""))
    for what in {what.name: what for what, _ in work}.values():
        owners[what.name, PUBLISHED] = traits(what, what.solution(), explanation_in(what.solution()))
    twins: dict[tuple[str, str], list[str]] = {}
    for (name, owner), own in owners.items():
        for trait in own:
            twins.setdefault((name, trait), []).append(owner)
    for result in results:
        shared: dict[str, list[str]] = {}  # by what is the same: whose it is, too
        alike: set[str] = set()  # students all of whose functions are the same: no need to name each
        for trait, called in owners.get((result.assignment, result.student), {}).items():
            others = [twin for twin in reversed(twins[result.assignment, trait]) if twin != result.student]
            alike |= set(others) if called == ALL else set()
            others = others if called in (ALL, EXPLANATION) else [twin for twin in others if twin not in alike]
            shared.setdefault(called, []).extend(others)
        for what, others in shared.items():
            if not others:
                continue
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            result.flags.append(f"same {what} as {', '.join(others[:3])}{more}")


def traits(what: Assignment, cells: list[Cell], answer: str) -> dict[str, str]:
    """Return what two students hardly have alike by chance, and what it is called: long functions, an explanation."""
    given = functions(cell for cell, _ in what.handed_out)
    mended = {one.wanted for one in what.exercises if one.mends}
    own = {tree: name for tree, name in functions(cells).items() if tree not in given and name not in mended}
    together, words = "\n".join(sorted(own)), " ".join(answer.split())
    found = {together: ALL} if len(together) > TOGETHER and len(own) > 1 else {}
    found |= {tree: name for tree, name in own.items() if len(tree) > LONG}
    return found | ({words: EXPLANATION} if len(words) > 40 else {})


def explanation_in(cells: Iterable[Cell]) -> str:
    """Return the explanation that is written in some cells; they are not run."""
    for cell in cells:
        if cell.kind == "code" and cell.source.startswith("explanation ="):
            return str(ast.literal_eval(ast.parse(cell.source).body[0].value))
    return ""


def functions(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the functions of some cells as trees, without spaces and comments, with their names."""
    found, cells = {}, [cell for cell in cells if cell.kind == "code"]
    if sum(len(cell.source) for cell in cells) > MOST_PARSED:
        return found
    for cell in cells:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            tree = ast.parse(without_magics(cell.source))
            found |= {ast.dump(node): node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return found
