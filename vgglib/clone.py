"""Where the book's data, networks and results lie: in a clone of the repository; pip installs the module alone."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_CLONE = (ROOT / "pyproject.toml").is_file()  # also after pip install -e .
LEFT_OUT = "not in the installed package: work in a clone of the repository, or install from it by pip install -e ."
