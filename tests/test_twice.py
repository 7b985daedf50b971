"""A chapter is run twice in one kernel: what its cells leave behind must not change what they do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
CELLS = {
    "stays": ["n = 1\nprint(n)", "n = n + 1\nprint(n)"],
    "fails again": ["assert 'late' not in globals()", "late = 1"],
    "differs again": ["n = globals().get('n', 0) + 1\nprint(n)"],
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "failed"), [("stays", 0), ("fails again", 1), ("differs again", 1)])
def test_the_second_time_is_compared_too(tmp_path, kind, failed):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS[kind]])
    printed = {"stays": ["1\n", "2\n"], "differs again": ["1\n"]}.get(kind, [])
    for number, (cell, text) in enumerate(zip(notebook.cells, printed, strict=False), start=1):
        cell.execution_count = number
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "chapter.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # such as --durations
    done = subprocess.run([*command, "--twice"], cwd=tmp_path, capture_output=True, text=True, env=env)
    counts = ([f"{failed} failed"] if failed else []) + [f"{2 * len(CELLS[kind]) - failed} passed"]
    assert ", ".join(counts) in done.stdout, done.stdout
    assert ("Cell 0 again" in done.stdout) == bool(failed)
    if kind == "fails again":
        once = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert "2 passed" in once.stdout, once.stdout
