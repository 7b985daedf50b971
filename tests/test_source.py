"""Rules that the source keeps: nothing is unpickled, each file imports what is its own, all that is public says what
it gives, and only those print whose business it is."""

import ast
import json
import pkgutil
import re
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
MORE = {  # file, or a folder of them: what it may import beyond the core
    "figures": {"matplotlib"},
    "explorers": {"anywidget", "traitlets", "ipywidgets", "IPython"},
    "cone": {"anywidget", "traitlets"},
    "progress": {"IPython"},
    "peers": {"torchvision", "d2l"},
    "folders": {"torchvision", "PIL"},
    "picture_file": {"PIL"},
    "doctor": {"packaging"},
}
TORCHS_OWN = ("forward", "extra_repr")  # methods that torch names and describes
PRINTERS = {"teaching", "__main__", "doctor", "commands"}  # files, or a folder of them
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
LOADERS = {f"torch.{name}" for name in ("load", "serialization.load", "jit.load", "hub.load", "export.load", "package")}
LOADER_NAMES = {"read_pickle", "Unpickler", "ForkingPickler", "load_state_dict_from_url", "PackageImporter"}


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


def full_names(tree):
    """What each imported name stands for: {"t": "torch", "load": "torch.load"}."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            tops = (alias.name if alias.asname else alias.name.partition(".")[0] for alias in node.names)
            found |= {alias.asname or top: top for alias, top in zip(node.names, tops, strict=True)}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def unpickles(name):
    """Whether what has this full name unpickles, or may."""
    parts = name.split(".")
    whole = any(f"{name}.".startswith(f"{loader}.") for loader in LOADERS)
    return whole or parts[0] in UNPICKLERS or parts[-1] in LOADER_NAMES


def unpickling(tree):
    """The lines that unpickle or might: torch.load may stand only where it is called, with weights_only=True."""
    known, safe = full_names(tree), {call.func for name, call in calls(tree) if loads_safely(call)}
    for node in ast.walk(tree):
        bad = isinstance(node, ast.keyword) and node.arg == "allow_pickle"
        if isinstance(node, ast.Import):
            bad = any(unpickles(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            bad = any(unpickles(f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = ast.unparse(node).partition(".")
            name = known.get(first, first) + dot + rest
            bad = unpickles(name) and not (name == "torch.load" and node in safe)
        elif isinstance(node, ast.Call) and node.args:  # import_module("pickle"), getattr(torch, "load")
            said = [word.value if isinstance(word, ast.Constant) else ast.unparse(word) for word in node.args[:2]]
            called = ast.unparse(node.func).rpartition(".")[2]
            bad = called in ("import_module", "__import__") and unpickles(str(said[0]))
            bad = bad or (called == "getattr" and unpickles(f"{known.get(said[0], said[0])}.{said[1]}"))
        if bad:
            yield getattr(node, "lineno", 0)


@pytest.mark.parametrize("path", [*SCRIPTS, *NOTEBOOKS], ids=name_of)
def test_nothing_is_unpickled(path):
    assert not list(unpickling(tree_of(path))), f"these lines of {name_of(path)} load whatever is in a pickle"


@pytest.mark.parametrize(
    "code",
    [
        "import torch; torch.load(f)",
        "import torch; torch.load(f, weights_only=False)",
        "import torch as t; t.load(f)",
        "from torch import load",
        "import torch; l = torch.load; l(f)",
        "import torch; l = torch.load; l(f, weights_only=True)",
        "import torch, functools; functools.partial(torch.load, weights_only=True)",
        "import torch; getattr(torch, 'load')(f)",
        "import torch; torch.serialization.load(f)",
        "import torch; torch.jit.load(f)",
        "from torch.jit import load",
        "import torch; torch.hub.load('a/b', 'c')",
        "import torch; torch.hub.load_state_dict_from_url(u)",
        "from torch.hub import load_state_dict_from_url as get",
        "import torch.package",
        "import torch; torch.package.PackageImporter(f)",
        "import pandas as pd; pd.read_pickle(f)",
        "from multiprocessing.reduction import ForkingPickler; ForkingPickler.loads(b)",
        "import importlib; importlib.import_module('pickle')",
        "__import__('_pickle')",
        "import pickle",
        "from pickle import loads",
        "import numpy as np; np.load(f, allow_pickle=True)",
    ],
)
def test_the_rule_sees_an_unsafe_load(code):
    assert list(unpickling(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "import torch; torch.load(f, weights_only=True)",
        "import torch as t; t.load(f, map_location='cpu', weights_only=True)",
        "import json; json.load(f)",
        "import numpy as np; np.load(f)",
        "import safetensors.torch; safetensors.torch.load(content)",
    ],
)
def test_the_rule_lets_a_safe_load_be(code):
    assert not list(unpickling(ast.parse(code)))


@pytest.mark.parametrize("path", VGGLIB, ids=name_of)
def test_each_file_imports_what_is_its_own(path):
    tree = tree_of(path)
    allowed = CORE | MORE.get(path.stem, set()) | MORE.get(path.parent.name, set()) | sys.stdlib_module_names
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


@pytest.mark.parametrize("path", [path for path in VGGLIB if not PRINTERS & {path.stem, path.parent.name}], ids=name_of)
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


GUIDES = sorted(
    path for folder in (".", "vgglib", "notebooks/assignments") for path in (REPOSITORY / folder).glob("*.md")
)


@pytest.mark.parametrize("path", [*VGGLIB, *NOTEBOOKS, *GUIDES], ids=name_of)
def test_every_name_of_ours_that_is_told_exists(path):
    told = re.findall(r"\bvgglib(?:\.[A-Za-z_]\w*)+", path.read_text(encoding="utf-8"))
    for name in {name for name in told if not name.endswith((".md", ".py", ".json"))}:
        pkgutil.resolve_name(name)
