"""Kernels that nbval starts find vgglib, also where only requirements.txt was installed; how tests are shared out."""

import os
from pathlib import Path

import pytest

os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a worker one file at a time, but the longest tests, a whole chapter run twice, one by one."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return nodeid if "::test_runs_twice" in nodeid else super()._split_scope(nodeid)

    return ByFile(config, log)
