"""What `make notebooks` writes, and what it leaves alone."""

import execute_notebooks as script
import nbformat
import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository with the folder notebooks/, which it returns."""
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


def save(path, *sources):
    """Write a notebook of these code cells, with the noise that JupyterLab leaves; its path."""
    cells = [nbformat.v4.new_code_cell(source, execution_count=7) for source in sources]
    for cell in cells:
        cell.metadata.update(execution={"iopub.execute_input": "2026-01-01"}, tags=["kept"])
    metadata = {"widgets": {"state": {}}, "language_info": {"name": "python", "version": "3.9.0"}, "title": "kept"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_executes_counts_and_cleans(folder, capsys):
    path = save(folder / "01_a.ipynb", "import os; os.path.basename(os.getcwd())", "", "print('图')\n2 + 2")
    assert script.main([]) == 0
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, None, 2]
    assert notebook.cells[0].outputs[0].data["text/plain"] == "'notebooks'"
    assert [output.get("execution_count", "-") for output in notebook.cells[2].outputs] == ["-", 2]
    assert all(dict(cell.metadata) == {"tags": ["kept"]} for cell in notebook.cells)
    assert notebook.metadata.title == "kept"
    assert "widgets" not in notebook.metadata
    assert "version" not in notebook.metadata.language_info
    assert notebook.metadata.kernelspec.name == "python3"
    assert b"\r" not in path.read_bytes()
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert "01_a.ipynb: " in capsys.readouterr().out
    once = path.read_bytes()
    assert script.main([]) == 0
    assert path.read_bytes() == once


def test_failing_notebook_is_left_as_it_was_and_hides_no_other(folder, capsys):
    bad, good = save(folder / "01_bad.ipynb", "1", "1 / 0", "3"), save(folder / "02_good.ipynb", "1")
    before = bad.read_bytes()
    assert script.main([]) == 1
    assert bad.read_bytes() == before
    assert nbformat.read(good, as_version=4).cells[0].execution_count == 1
    out = capsys.readouterr().out
    assert "01_bad.ipynb: failed, left as it was" in out
    assert "ZeroDivisionError: division by zero" in out
    assert "\x1b" not in out
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_file_that_is_no_notebook_is_said(folder, capsys):
    (folder / "01_a.ipynb").write_text("<html>")
    assert script.main([]) == 1
    assert "01_a.ipynb: failed, left as it was\nNotebook does not appear to be JSON" in capsys.readouterr().out


def test_dead_kernel_is_said(folder, capsys):
    save(folder / "01_a.ipynb", "import os; os._exit(1)")
    assert script.main([]) == 1
    assert "the kernel died" in capsys.readouterr().out


def test_check_writes_nothing(folder):
    path = save(folder / "01_a.ipynb", "1")
    before = path.read_bytes()
    assert script.main(["--check"]) == 0
    assert path.read_bytes() == before


def test_chosen(folder):
    paths = [folder / name for name in ("01_a.ipynb", "02_b.ipynb", "03_c.ipynb")]
    for path in paths:
        path.touch()
    assert script.chosen([], folder) == paths
    assert script.chosen(["03", "_a"], folder) == [paths[2], paths[0]]
    assert script.chosen([str(paths[1])], folder) == [paths[1]]
    with pytest.raises(SystemExit, match="no notebook matches '04'; there are: 01_a, 02_b, 03_c"):
        script.chosen(["04"], folder)


@pytest.mark.parametrize(
    ("adjacent", "expected"),
    [(False, ["one\ntwo\n", "said", "!"]), (True, ["one\n", "said", "two\n", "!"])],
)
def test_what_is_printed_in_pieces_is_joined(adjacent, expected):
    new = nbformat.v4.new_output
    pieces = [new("stream", text="o"), new("stream", text="ne\n")]
    pieces += [new("display_data", data={"text/plain": "said"}), new("stream", text="two\n")]
    pieces += [new("stream", name="stderr", text="!")]
    found = script.joined(pieces, adjacent)
    assert [one.get("text") or one.data["text/plain"] for one in found] == expected
