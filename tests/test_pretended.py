"""What a GPU would refuse, found without one: see pretended.py."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

SCRIPT = Path(__file__).resolve().parent / "pretended.py"


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch takes no device written in Python",
)
def test_nothing_stays_behind_on_the_cpu_and_no_step_waits():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    checks = ["mixing", "training", "testing", "rebuilding", "counting"]
    assert done.stdout.splitlines() == [f"{check}: all is where it should be" for check in checks]
