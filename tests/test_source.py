"""Rules that the source keeps: nothing is unpickled, each file imports what is its own, all that is public says what
it gives, and only those print whose business it is."""

import ast
import json
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
VGGLIB = sorted((REPOSITORY / "vgglib").rglob("*.py"))
TESTS = sorted((REPOSITORY / "tests").rglob("*.py"))
GRADING = sorted((REPOSITORY / "notebooks" / "assignments").rglob("*.py"))
SCRIPTS = [*VGGLIB, *TESTS, *GRADING, REPOSITORY / "bootstrap.py", REPOSITORY / "conftest.py"]
NOTEBOOKS = sorted((REPOSITORY / "notebooks").rglob("*.ipynb"))
CORE = {"torch", "numpy", "safetensors", "vgglib"}
MORE = {  # file: what it may import beyond the core
    "figures": {"matplotlib"},
    "explorers": {"anywidget", "traitlets", "ipywidgets", "IPython"},
    "cone": {"anywidget", "traitlets"},
    "progress": {"IPython"},
    "peers": {"torchvision", "d2l"},
    "folders": {"torchvision", "PIL"},
    "doctor": {"packaging"},
}
TORCHS_OWN = ("forward", "extra_repr")  # methods that torch names and describes
PRINTERS = {"teaching", "__main__", "doctor"}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}


def name_of(path):
    return str(path.relative_to(REPOSITORY))


def code_of(path):
    """The Python of a file, or of a notebook's code cells without their magics."""
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lines = [line for source in sources if not source.startswith("%%") for line in source.splitlines()]
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines)


@cache
def tree_of(path):
    """A file's Python, parsed."""
    return ast.parse(code_of(path))


def imports(tree):
    """The top-level names of all modules that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0] if not node.level else "vgglib"


@cache
def calls(tree):
    """(what is called as written, the call) for each call."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def loads_safely(call):
    """Whether a call of torch.load says weights_only=True in so many words."""
    return any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in call.keywords)


@pytest.mark.parametrize("path", [*SCRIPTS, *NOTEBOOKS], ids=name_of)
def test_nothing_is_unpickled(path):
    tree = tree_of(path)
    assert not set(imports(tree)) & UNPICKLERS
    for name, call in calls(tree):
        if name == "torch.load":
            assert loads_safely(call), f"line {call.lineno} of {name_of(path)} loads whatever is in a pickle"
        if name in ("np.load", "numpy.load"):
            assert not any(word.arg == "allow_pickle" for word in call.keywords)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            assert "load" not in [alias.name for alias in node.names], "write torch.load in full, so that it is checked"


def test_the_rule_sees_an_unsafe_load():
    (_, unsafe), (_, safe), (_, lying) = calls(
        ast.parse("torch.load(f)\ntorch.load(f, weights_only=True)\ntorch.load(f, weights_only=False)")
    )
    assert [loads_safely(call) for call in (unsafe, safe, lying)] == [False, True, False]


@pytest.mark.parametrize("path", VGGLIB, ids=name_of)
def test_each_file_imports_what_is_its_own(path):
    tree = tree_of(path)
    allowed = CORE | MORE.get(path.stem, set()) | sys.stdlib_module_names
    assert set(imports(tree)) <= allowed
    by_name = {"import_module", "importlib.import_module", "__import__"}
    if path.stem not in ("peers", "doctor"):
        assert not by_name & {name for name, _ in calls(tree)}


@pytest.mark.parametrize("path", VGGLIB, ids=name_of)
def test_everything_public_says_what_it_gives(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    for holder in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        for node in holder.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if getattr(holder, "name", "").startswith("_") or node.name in TORCHS_OWN:
                continue
            said = ast.get_docstring(node)
            assert said, f"{node.name} in {name_of(path)} has no docstring"
            assert said[0].isupper() or said[0] in "(\"`'«", said
            assert said.partition("\n")[0].rstrip().endswith((".", ":", ")")), said


@pytest.mark.parametrize("path", VGGLIB, ids=name_of)
def test_public_functions_are_annotated(path):
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            assert node.returns is not None, node.name
            assert all(argument.annotation for argument in node.args.args + node.args.kwonlyargs), node.name


@pytest.mark.parametrize("path", [path for path in VGGLIB if path.stem not in PRINTERS], ids=name_of)
def test_only_those_print_whose_business_it_is(path):
    assert "print" not in {name for name, _ in calls(tree_of(path))}


@pytest.mark.parametrize("path", VGGLIB, ids=name_of)
def test_no_global_dice_are_thrown(path):
    """Seeds belong to a Generator, or stand under fork_rng or kept_dice, which put the global state back."""
    tree, keepers = tree_of(path), ("torch.random.fork_rng(", "kept_dice(")
    forked = {
        call
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and any(ast.unparse(item.context_expr).startswith(keepers) for item in node.items)
        for _, call in calls(node)
    }
    seeds = ("torch.manual_seed", "np.random.seed", "random.seed", "torch.cuda.manual_seed_all")
    assert all(call in forked for name, call in calls(tree) if name in seeds)
