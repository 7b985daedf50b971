"""How long each chapter takes, from a clean kernel to its last cell, one at a time; goals, not gates.

Goal on two quiet cores: 60 s a chapter, 90 s where it trains, ten minutes for all of them.
"""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    command = [sys.executable, str(TESTS / "execute_notebooks.py"), "--check", *sys.argv[1:]]
    raise SystemExit(subprocess.run(command, cwd=TESTS.parent).returncode)
