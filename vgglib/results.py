"""Measured results as JSON under data/results/: what was run, on what, how often, and what came out."""

import json
import os
import statistics
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "data" / "results"


def summary(values: list[float]) -> dict[str, float | int]:
    """Return the number of values, their mean, and their sample standard deviation (0 for a single one)."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"n": len(values), "mean": statistics.fmean(values), "sd": spread}


def load(name: str) -> dict:
    """Return the recorded result ``data/results/<name>.json``. Raises FileNotFoundError listing those there are."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        there = ", ".join(recorded()) or "none yet"
        raise FileNotFoundError(f"no result called {name!r} in {FOLDER}; recorded: {there}")
    return read(path)


def read(path: str | os.PathLike) -> dict:
    """Return the result in a file. Raises ValueError, naming the file, if it is no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no result: {error}") from error


def so_far(path: Path, study: str, *told: str) -> dict:
    """Return the record of a study that goes on, ``{"runs": []}`` where there is none yet.

    told: what each of its runs must say beside its recipe. Raises ValueError, naming the file, for any other content,
    also for the record of another study.
    """
    record = read(path) if path.is_file() else {"runs": []}
    runs = record.get("runs") if isinstance(record, dict) else None
    if not isinstance(runs, list):
        raise ValueError(f"{path} is no record of a study: it lists no runs")
    made = str(record.get("command", "")).split()
    if made and made[:5] != ["python", "-m", "vgglib", "study", study]:
        raise ValueError(f"{path} is no record of the study {study}: it was made by {' '.join(made)}")
    for number, run in enumerate(runs, start=1):
        missing = [name for name in told if not isinstance(run, dict) or name not in run]
        if missing or not isinstance(run.get("recipe"), dict):
            raise ValueError(f"{path} is no record of this study: its run {number} lacks {[*missing, 'recipe'][0]}")
    return record


def recorded() -> list[str]:
    """Return the names of all recorded results."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def write(path: str | os.PathLike, result: dict) -> None:
    """Write a result as indented JSON; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(result, indent=1) + "\n"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
