"""How long grading takes: 30 submissions of an assignment, and what of that is the student's own computing.

Run it with `make bench`, or with .venv/bin/python tests/benchmarks/bench_grading.py 01 04.
"""

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import classroom

STUDENTS = 30


def main(numbers):
    """Print a line for each assignment."""
    safe, why = classroom.sandbox.protection()
    print(f"{why}; {os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f} at the start")
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            for n in range(STUDENTS):
                classroom.hand_in(folder, f"student {n}", classroom.solved(number))
            began = time.monotonic()
            results = classroom.grade.grade(Path(folder), classroom.SECRET, number, sandboxed=safe, workers=2)
            took = time.monotonic() - began
        points, seconds = (sum(getattr(r, name) for r in results) / len(results) for name in ("points", "seconds"))
        print(f"assignment {number}: {len(results)} submissions in {took:.1f} s, {took / len(results):.2f} s each")
        print(f"    two at a time; one takes {seconds:.2f} s from start to end; {points:g} points on average")


if __name__ == "__main__":
    main(sys.argv[1:] or list(classroom.TEACHER))
