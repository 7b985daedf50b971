"""Measured results as JSON under data/results/: what was run, on what, how often, and what came out."""

import json
import os
import statistics
from pathlib import Path

from vgglib.clone import IN_CLONE, LEFT_OUT, ROOT
from vgglib.durable import replace

FOLDER = ROOT / "data" / "results"


def summary(values: list[float]) -> dict[str, float | int]:
    """Return the number of values, their mean, and their sample standard deviation (0 for a single one)."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"n": len(values), "mean": statistics.fmean(values), "sd": spread}


def percent(found: dict, digits: int = 2) -> str:
    """Return a summary of shares as text, ``92.81 ± 0.17 % (n=3 seeds)``; a single run has no spread."""
    spread = f" ± {100 * found['sd']:.{digits}f}" if found["n"] > 1 else ""
    return f"{100 * found['mean']:.{digits}f}{spread} % (n={found['n']} seed{'s' if found['n'] > 1 else ''})"


def percentages(record: dict) -> dict[str, list[float]]:
    """Return the test accuracies of a record's runs, in per cent, under the label of each."""
    return {label: [100 * run["test_accuracy"] for run in runs] for label, runs in by_label(record).items()}


def by_label(record: dict) -> dict[str, list[dict]]:
    """Return the runs of a record under the label of each, in the order in which they stand there."""
    return {label: [run for run in record["runs"] if run["label"] == label] for label in record["test_accuracy"]}


def made_on(record: dict) -> str:
    """Return the device, the version and the number format of a record's first run, or of one run, as text.

    TF32: convolutions round their factors to it; the rest is float32.
    """
    where = record["runs"][0]["conditions"] if "runs" in record else record["conditions"]
    formats = {True: ", bfloat16", False: ", TF32" if where.get("tf32") else ", float32", None: ""}
    return f"{where['device']}, torch {where['torch']}{formats[where.get('bf16')]}"


def load(name: str) -> dict:
    """Return the recorded result ``data/results/<name>.json``. Raises FileNotFoundError listing those there are."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        there = ", ".join(recorded()) or "none yet"
        more = "" if IN_CLONE else f"; the book's results are {LEFT_OUT}"
        raise FileNotFoundError(f"no result called {name!r} in {FOLDER}; recorded: {there}{more}")
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
        replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
