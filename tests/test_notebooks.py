"""What every notebook keeps to; nbval, in the same run, executes them twice and compares what they print."""

import ast
import configparser
import importlib
import itertools
import re
import statistics
from pathlib import Path

import nbformat
import prose
import pytest
from typed_numbers import SOURCES

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
CHAPTERS = [path for path in PATHS if not path.name.startswith("00")]
TAGS = {"nbval-ignore-output"}


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def unfolded(said):
    """Return the prose that is read without opening a fold."""
    return re.sub(r"<!--.*?-->|<details>.*?</details>", "", said, flags=re.DOTALL)


def definitions(source):
    """Return the functions and classes of some code as trees, without docstrings and annotations."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for part in ast.walk(node):
                if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part) is not None:
                    part.body = part.body[1:]
                if isinstance(part, ast.arg):
                    part.annotation = None
                if isinstance(part, ast.FunctionDef):
                    part.returns = None
            found[node.name] = ast.dump(node)
    return found


def test_there_are_notebooks():
    assert [path.stem for path in PATHS][:1] == ["00_start_here"]
    assert len(PATHS) >= 3


def test_executed_in_order_from_a_clean_kernel(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))


def test_no_cell_failed_and_none_is_left_out(notebook):
    for cell in code(notebook):
        assert all(output.output_type != "error" for output in cell.outputs)
        tags = set(cell.metadata.get("tags", []))
        assert all(tag in TAGS or tag.startswith("same-as:") for tag in tags), tags


def test_no_trace_of_the_machine(notebook):
    assert "widgets" not in notebook.metadata
    for cell in code(notebook):
        assert "execution" not in cell.metadata
        said = str([output for output in cell.outputs if "image/png" not in output.get("data", {})])
        assert not re.search(r"(?<![\w.])/(?:home|root|work|tmp|Users)/", said), said[:300]


def test_cells_are_short(notebook):
    lengths = [len(cell.source.splitlines()) for cell in code(notebook)]
    assert max(lengths) <= 15
    assert statistics.median(lengths) <= 5


def test_no_tricks(notebook):
    """No downloads, no installs, no silenced warnings, no global seeds, no hidden outputs."""
    for cell in code(notebook):
        assert not re.search(r"(?m)^\s*[!%]|filterwarnings|simplefilter|sys\.path|manual_seed\(|;\s*$", cell.source)
        assert "import *" not in cell.source


def test_first_code_cell_only_imports_names(notebook):
    source = code(notebook)[0].source
    assert len(source.splitlines()) <= 5
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body)


def test_numbers_in_the_text_are_computed(notebook):
    wrong = [
        line for cell in notebook.cells if cell.cell_type == "markdown" for line in prose.wrong_numbers(cell.source)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_line_starts_with_a_comment(notebook):
    """Markdown would end the paragraph there."""
    assert not re.findall(r"(?m)^<!--=.*", text(notebook))


def test_links_lead_somewhere(notebook):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text(notebook)):
        if not target.startswith(("http://", "https://")):
            assert (ROOT / "notebooks" / target).exists(), target


def test_nothing_is_fetched(notebook):
    assert not re.search(r"!\[[^\]]*\]\(http|<img[^>]+src=.http|<script", text(notebook))


def test_chapter_has_its_anatomy(chapter):
    assert 35 <= len(chapter.cells) <= 60
    said = text(chapter)
    for part in ("We saw", "Questions", "Next", "minutes"):
        assert part in said, part
    words, lines = len(unfolded(said).split()), sum(len(cell.source.splitlines()) for cell in code(chapter))
    assert 6 <= words / lines <= 12, words / lines
    assert len(re.sub(r"<!--.*?-->", "", said).split()) / lines < 15  # with answers that are folded away
    assert said.count("<details>") == said.count("</details>") > 4
    assert "Solution and why" in said
    assert "Help: I get" in said


def test_exercises_wait_to_be_solved(chapter):
    """Untouched, every check says so and no answer is given away."""
    verdicts = [str(output) for cell in code(chapter) for output in cell.outputs if "check" in cell.source]
    assert sum("⏳" in verdict for verdict in verdicts) >= 4
    assert not any("❌" in verdict for verdict in verdicts)


def test_inline_definitions_are_those_of_vgglib(notebook):
    for cell in code(notebook):
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("same-as:"):
                module, name = tag.removeprefix("same-as:").rsplit(".", 1)
                theirs = definitions(Path(importlib.import_module(module).__file__).read_text(encoding="utf-8"))
                assert definitions(cell.source)[name] == theirs[name], name


def test_definitions_that_vgglib_holds_are_marked(notebook):
    """A function in a cell that has vgglib's name is compared with it."""
    for cell in code(notebook):
        tags = [tag.rsplit(".", 1)[1] for tag in cell.metadata.get("tags", []) if tag.startswith("same-as:")]
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.FunctionDef):
                held = any(
                    re.search(rf"(?m)^def {node.name}\(", path.read_text(encoding="utf-8"))
                    for path in (ROOT / "vgglib").glob("*.py")
                )
                assert not held or node.name in tags, f"{node.name} is also in vgglib: tag the cell same-as:..."


def bound(source):
    """Return the names that a cell binds for the whole notebook: assigned, looped over, defined; not in functions."""
    names, nodes = set(), [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            nodes.extend(ast.iter_child_nodes(node))
    return names


def imported(source):
    """Return the names that a cell imports."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {(name.asname or name.name).partition(".")[0] for node in imports for name in node.names}


def test_no_cell_takes_an_imported_name(notebook):
    """After Run All a reader fills in a guess and runs an earlier cell again: its names must mean what they meant.

    A definition that is vgglib's own (same-as:...) may be imported under its name further down.
    """
    ours = set().union(*(imported(cell.source) for cell in code(notebook)))
    for cell in code(notebook):
        same = {tag.rsplit(".", 1)[1] for tag in cell.metadata.get("tags", []) if tag.startswith("same-as:")}
        assert not (taken := bound(cell.source) & ours - same), f"{taken} is imported, and means something else here"


def own_result(source):
    """Return the names that a cell reads at its top level and binds only further down: run twice, it finds its own."""
    bound_so_far, early = set(), set()

    def reads(node):
        inner = [x for x in ast.walk(node) if isinstance(x, ast.comprehension)]
        here = set().union(*(stored(x.target) for x in inner))
        here |= {a.arg for x in ast.walk(node) if isinstance(x, ast.Lambda) for a in x.args.args}
        loaded = {x.id for x in ast.walk(node) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load)}
        early.update(loaded - here - bound_so_far)

    def stored(node):
        return {x.id for x in ast.walk(node) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store | ast.Del)}

    def run(statements):
        for one in statements:
            if isinstance(one, ast.FunctionDef | ast.ClassDef):
                bound_so_far.add(one.name)
            elif isinstance(one, ast.Import | ast.ImportFrom):
                bound_so_far.update(imported(ast.unparse(one)))
            elif isinstance(one, ast.For | ast.While | ast.If | ast.With | ast.Try):
                for head in (getattr(one, field, None) for field in ("iter", "test")):
                    if head is not None:
                        reads(head)
                for item in getattr(one, "items", ()):
                    reads(item.context_expr)
                    bound_so_far.update(stored(item.optional_vars) if item.optional_vars else ())
                bound_so_far.update(stored(one.target) if isinstance(one, ast.For) else ())
                run(one.body)
                run([x for handler in getattr(one, "handlers", ()) for x in handler.body])
                run(getattr(one, "orelse", []) + getattr(one, "finalbody", []))
            else:
                if isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name):
                    early.update({one.target.id} - bound_so_far)
                reads(one.value if isinstance(one, ast.AugAssign) else one)
                inner = [x.target for x in ast.walk(one) if isinstance(x, ast.comprehension)]
                bound_so_far.update(stored(one) - set().union(*map(stored, inner)))

    run(ast.parse(source).body)
    return early & bound_so_far


def test_a_cell_can_be_run_twice_in_a_row(notebook):
    """A reader changes a number and runs the cell again: it starts from what the cells above left, not from its end."""
    for cell in code(notebook):
        assert not (names := own_result(cell.source)), f"run again, it finds its own {names}:\n{cell.source}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("X = X + 1", {"X"}),
        ("x += 1", {"x"}),
        ("print(X)\nX = 2", {"X"}),
        ("for a in b:\n    b = a", {"b"}),
        ("with f() as g:\n    net(g)\ndel net", {"net"}),
        ("if y:\n    y = 1", {"y"}),
        ("X = 2\nX = X + 1", set()),
        ("X = [X for X in range(3)]", set()),
        ("def f():\n    return X\nX = 2", set()),
        ("import torch.nn as nn\nnn = nn", set()),
        ("for x in y:\n    z = x\nprint(z, x)", set()),
    ],
)
def test_own_result(source, expected):
    assert own_result(source) == expected


def test_bound_and_imported():
    source = """
import torch.nn, math as m
from a import b as c
x, (y, *z) = 1, (2, 3)
for loop in [inner for inner in x]:
    with x as held:
        loop += 1
def f(argument):
    local = 1
class C:
    field = 1
lambda: (walrus := 1)
x.attribute = x[0] = 1
"""
    assert bound(source) == {"x", "y", "z", "loop", "held", "f", "C"}
    assert imported(source) == {"torch", "m", "c"}


def test_readme_lists_the_chapters():
    """The table names each chapter that exists, and no other, with the minutes that the chapter itself states."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| \[[^\]]+\]\(notebooks/([^)]+\.ipynb)\) \| (\d+) \|", readme)
    assert [name for name, _ in rows] == [path.name for path in PATHS]
    for name, minutes in rows:
        assert f"{minutes} minutes" in nbformat.read(ROOT / "notebooks" / name, as_version=4).cells[0].source, name


def test_reading_order():
    """Chapters are numbered without a gap; each names the one before it and leads on to the next."""
    assert [path.name[:2] for path in PATHS] == [f"{number:02}" for number in range(len(PATHS))]
    for before, path in itertools.pairwise(PATHS):
        said, after = (text(nbformat.read(one, as_version=4)) for one in (before, path))
        assert f"]({path.name})" in said[said.index("## Next") :], f"{before.name} does not lead to {path.name}"
        assert re.search(rf"the chapter before: \[[^\]]+\]\({before.name}\)", after), path.name


def test_map_of_chapter_00():
    """It lists the chapters of the README's table, with their minutes."""
    said = text(nbformat.read(PATHS[0], as_version=4))
    rows = re.findall(r"\| \[?\d\d [^|]+\| (\d+) min \|", said)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rows == re.findall(r"\]\(notebooks/\d\d[^)]+\) \| (\d+) \|", readme)
    assert all(f"({path.name})" in said for path in CHAPTERS)


def plain(words):
    """Return Markdown or HTML in one line, without the marks of code and emphasis."""
    return " ".join(re.sub(r"</?(code|em)>|[`*]", "", words).split())


def test_three_questions_are_asked_and_answered(notebook):
    """The first cell asks them; the end asks them again, word for word, each with its explanation in a fold."""
    first = notebook.cells[0].source
    asked = re.findall(r"(?ms)^(\d\. .*?)(?=^\d\. |\n\n|\Z)", first[first.index("hree questions") :])
    assert [question[0] for question in asked] == ["1", "2", "3"]
    said = text(notebook)
    end = said[said.index("The three questions again") :]
    folds = re.findall(r"(?s)<details><summary>(\d\. .*?)</summary>\n\n(.*?)</details>", end)
    assert [plain(question) for question, _ in folds] == [plain(question) for question in asked]
    assert all(len(answer.split()) > 4 for _, answer in folds)


def test_numbers_in_backticks_are_found():
    markdown = "`2.43` and `-1.80`, `91.85 ± 0.46 %`, `60,000`, `conv3_1`, `f(2)`, `lr=0.1`, `CS231n`, <!--=1-->1, 7"
    assert prose.typed(markdown + "\n```python\n99\n```") == ["2.43", "1.80", "91.85", "0.46", "60,000"]


def said_by(output):
    """Return the words of an output, without its pictures."""
    data = output.get("data", {})
    return "".join((output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_numbers_in_backticks_are_the_chapters_own_or_have_a_source(path):
    """What a chapter neither computes nor prints stands in typed_numbers.py with its source, and nothing else does."""
    notebook = nbformat.read(path, as_version=4)
    shown = [cell.source for cell in code(notebook)] + re.findall(r"(?s)```.*?```", text(notebook))
    always = [cell for cell in code(notebook) if "nbval-ignore-output" not in cell.metadata.get("tags", [])]
    own = prose.numbers("\n".join([*shown, *(said_by(output) for cell in always for output in cell.outputs)]))
    missing = {number for number in prose.typed(text(notebook)) if number.replace(",", "") not in own}
    assert missing == {*SOURCES.get(path.name[:2], {})}


@pytest.mark.parametrize(
    ("chapter", "number"),
    [(chapter, number) for chapter, found in SOURCES.items() for number, told in found.items() if told[0] == "="],
)
def test_a_source_that_is_an_expression_gives_its_number(chapter, number):
    assert float(number.replace(",", "")) == eval(SOURCES[chapter][number][1:], dict(prose.NAMES))


def test_no_table_is_torn_by_a_bar_within_a_mark(notebook):
    rows = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    marks = [mark for line in rows if line.startswith("|") for mark in prose.MARKED.findall(line)]
    assert not [mark for mark in marks if "|" in mark]


# --- the number check is checked itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "good",
    [
        '<!--=count("D")-->138,357,544 parameters',
        "<!--=f\"{count('D') / 1e6:.0f}\"--> 138".replace("--> ", "-->"),
        "VGG-16 of 2014, section 2.1, a 3x3 kernel, 224 pixels, 45 minutes, Table 2, conv3_1, 7 x 7 x 512",
        "`138` and $27C^2$ and [2](http://x/99.html)\n\n```python\n99\n```",
    ],
)
def test_number_check_passes(good):
    assert prose.wrong_numbers(good) == []


@pytest.mark.parametrize(
    "bad",
    [
        '<!--=count("D")-->138,357,545 parameters',
        '<!--=count("D")-->138,357,5440',
        "138 million parameters",
        "it costs 15.47 GMACs",
        "an error of 24.8 %",
        "93.1 % of them",
        '<!--=count("D")-->138,357,544 parameters, or 7.5 %',
    ],
)
def test_number_check_objects(bad):
    assert prose.wrong_numbers(bad)


# --- README and glossary ------------------------------------------------------------------------------------------


def test_numbers_in_the_readme():
    for page in ("README.md", "vgglib/README.md"):
        readme = (ROOT / page).read_text(encoding="utf-8")
        assert prose.MARKED.search(readme)
        assert not re.findall(r"(?m)^<!--=.*", readme), "markdown ends the paragraph there"
        assert not [line for line in prose.wrong_numbers(readme) if not line.startswith("unmarked")]


def test_links_and_pictures_of_the_readme():
    for page in ("README.md", "CONTRIBUTING.md", "vgglib/README.md"):
        path = ROOT / page
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (path.parent / target).exists(), f"{page}: {target}"


def glossary():
    """Return the rows of chapter 0's table of words: word, Chinese term or nothing, explanation, chapter."""
    start = nbformat.read(PATHS[0], as_version=4)
    (table,) = [cell.source for cell in start.cells if cell.source.startswith("## Words")]
    return [[cell.strip() for cell in row.split("|")] for row in re.findall(r"(?m)^\|(.+)\|$", table)[2:]]


def test_the_glossary_has_each_word_once_and_explains_it():
    rows = glossary()
    assert {len(row) for row in rows} == {4}
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=str.lower)
    for english, chinese, explained, _ in rows:
        assert english.isascii()
        assert not chinese or re.fullmatch(r"[\u4e00-\u9fff]+", chinese)
        assert 3 <= len(explained.split()) <= 16
    for column in list(zip(*rows, strict=True))[:3]:
        filled = [cell for cell in column if cell]
        assert len(set(filled)) == len(filled) > 30


def test_a_word_is_used_in_the_chapter_that_the_glossary_names_and_in_none_before():
    """Chapter 00 names what is to come; folds are for those who open them."""
    said = {path.name[:2]: text(nbformat.read(path, as_version=4)) for path in PATHS}
    for english, _, _, chapter in glossary():
        assert english.lower() in " ".join(said[chapter].lower().split()), english
        word = re.compile(rf"\b{re.escape(re.sub(' [SQ]$', '', english))}", re.IGNORECASE)
        for earlier in (name for name in said if "00" < name < chapter):
            seen = unfolded(said[earlier].split("## Next")[0])
            assert not word.search(seen), f"{english} in {earlier}, before {chapter}"


def test_the_glossary_holds_the_terms_of_the_field():
    terms = """configuration block convolution stride padding receptive_field feature_map pooling fully_connected_layer
    fully_convolutional dropout weight_decay momentum training_scale_S test_scale_Q scale_jitter dense_evaluation
    multi-crop posterior ensemble MACs epoch batch"""
    with_chinese = {english for english, chinese, _, _ in glossary() if chinese}
    assert {term.replace("_", " ") for term in terms.split()} <= with_chinese


def test_what_torchs_versions_print_differently_is_compared_alike():
    rules = configparser.RawConfigParser()
    rules.read(Path(__file__).parent / "nbval_sanitize.cfg", encoding="utf-8")
    said = ["RuntimeError: mat1 and mat2 shapes", "RuntimeError: addmm: mat1 and mat2 shapes"]
    for name in rules.sections():
        said = [re.sub(rules.get(name, "regex"), rules.get(name, "replace"), one) for one in said]
    assert said == ["RuntimeError: mat1 and mat2 shapes"] * 2
