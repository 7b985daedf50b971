"""Execute notebooks from a clean kernel, in order, and write them back without noise: `make notebooks NB=02`.

A notebook in which a cell fails is left as it was. `--check` writes none.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 600  # seconds for one cell
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def chosen(words: list[str], folder: Path) -> list[Path]:
    """The notebooks in a folder whose names contain one of the words; all without words; a path stands for itself."""
    names = sorted(folder.glob("*.ipynb"))
    found = []
    for word in words or [""]:
        matches = [Path(word)] if word.endswith(".ipynb") and Path(word).is_file() else []
        matches = matches or [path for path in names if word in path.name]
        if not matches and word:
            raise SystemExit(f"no notebook matches {word!r}; there are: {', '.join(path.stem for path in names)}")
        found += [path for path in matches if path not in found]
    return found


def execute(path: Path) -> nbformat.NotebookNode:
    """The executed notebook, cleaned; raises nbclient's errors if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
        resources=folder,
    )
    client.execute()
    return clean(notebook)


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without what changes from run to run, its code cells that ran counted 1 to n."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata.get("language_info", {}).pop("version", None)
    count = 0
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        if not cell.source.strip():
            cell.execution_count = None
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = joined(cell.outputs, adjacent="nbval-ignore-output" in cell.metadata.get("tags", []))
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return notebook


def joined(outputs: list, adjacent: bool) -> list:
    """The outputs with what was printed in pieces made one: all of a stream, or only what nothing else came between.

    nbval compares a stream as a whole; where it compares nothing, a line stays in the place where it was printed.
    """
    found = []
    for output in outputs:
        where = found[-1:] if adjacent else found
        same = [one for one in where if one.output_type == "stream" and one.name == output.get("name")]
        if output.output_type == "stream" and same:
            same[0].text += output.text
        else:
            found.append(output)
    return found


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Put the notebook in its place, whole or not at all."""
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)


def failure(error: Exception) -> str:
    """What went wrong, for the terminal: the cell's error, without colours."""
    if isinstance(error, DeadKernelError):
        return "the kernel died; is there enough memory? Run the cells one by one in JupyterLab"
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()


def main(argv: list[str]) -> int:
    """0 if every notebook ran, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names, or paths; all of notebooks/ without")
    parser.add_argument("--check", action="store_true", help="execute, write nothing")
    options = parser.parse_args(argv)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    failed = []
    for path in chosen(options.names, ROOT / "notebooks"):
        start = time.perf_counter()
        try:
            notebook = execute(path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError, nbformat.reader.NotJSONError) as error:
            failed.append(path.name)
            print(f"{path.name}: failed, left as it was\n{failure(error)}", flush=True)
            continue
        if not options.check:
            write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - start:.1f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
