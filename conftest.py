"""Kernels that nbval starts find vgglib, also where only requirements.txt was installed; how tests are shared out."""

import gc
import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts what it puts into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def pytest_collection_finish():
    """What was imported and collected stays: the collector of memory, which some tests call, need not look there."""
    gc.collect()
    gc.freeze()


# the files of tests/ that take longest, in falling order
LONG = [
    "figures", "assignments", "model", "main", "browser", "hostile_submissions", "distributed", "tracing", "faults",
    "bootstrap", "grading", "explorers", "folders", "data", "networks", "classroom_walk", "formgrader",
    "measured_cost", "protocol", "largest_batch", "pretended", "ablation",
]  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Order the files, not the tests in them: the chapters, what is long, the rest. No worker then ends much later."""
    places = {ROOT / "tests" / f"test_{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: -1 if item.path.suffix == ".ipynb" else places.get(item.path, len(LONG)))


def pytest_addoption(parser):
    parser.addoption("--twice", action="store_true", help="with --nbval: run each chapter twice, in one kernel")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    """With --twice, what a reader does who starts again at the top: a cell finds what the cells below it left."""
    found = yield
    if parent.config.getoption("twice") and file_path.parent == ROOT / "notebooks":
        from nbval.plugin import IPyNbCell, IPyNbFile

        class Twice(IPyNbFile):
            def collect(self):
                yield from super().collect()
                for cell in super().collect():
                    yield IPyNbCell.from_parent(
                        self, name=f"{cell.name} again", cell_num=cell.cell_num, cell=cell.cell, options=cell.options
                    )

        found = [Twice.from_parent(parent, path=one.path) if isinstance(one, IPyNbFile) else one for one in found]
    return found
