"""Scores as CSV, feedback as HTML: nothing that a student wrote is more than text in either."""

import csv
import hashlib
import html
import re
from pathlib import Path

from grading.grade import Result

HEADER = [
    "student",
    "assignment",
    "exercise",
    "points",
    "out_of",
    "status",
    "line",
    "flags",
    "isolation",
    "sha256",
    "secret",
]
BY_HAND = ["student", "assignment", "exercise", "points", "out_of", "comment"]
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;
color-scheme:light dark}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #8888;padding:.4rem .6rem;text-align:left;
vertical-align:top}td.n,th.n{text-align:right;white-space:nowrap}pre{white-space:pre-wrap;border-left:3px solid #8888;
padding-left:.8rem}"""


def fingerprint(secret: str) -> str:
    """Return eight letters that tell two secrets apart without giving either away."""
    return hashlib.sha256(f"fingerprint {secret}".encode()).hexdigest()[:8]


def cell(value: object) -> str:
    """Return a value as a spreadsheet may see it: text that would be taken for a formula gets an apostrophe."""
    text = f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return "'" + text if text.startswith(("=", "+", "-", "@")) and not re.fullmatch(r"-?[\d.]+", text) else text


def file_name(student: str) -> str:
    """Return a harmless file name for a student, different for different students."""
    plain = re.sub(r"[^\w.-]", "_", student)[:60].strip(".") or "student"
    if plain == student:
        return plain
    return f"{plain}-{hashlib.sha256(student.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def write(results: list[Result], folder: Path, secret: str) -> None:
    """Write scores.csv, totals.csv, by_hand.csv and feedback/ for the results.

    Lines of other students and assignments, and what a person wrote into by_hand.csv, are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = {(cell(result.student), result.assignment) for result in results}
    add_by_hand(results, folder / "by_hand.csv")
    lines = []
    for result in results:
        for row in result.rows:
            flags = "; ".join(result.flags)
            lines.append([result.student, result.assignment, row.exercise, row.points, row.out_of, row.status, row.text,
                          flags, result.isolation, result.sha256, fingerprint(secret)])  # fmt: skip
    save(folder / "scores.csv", HEADER, others(folder / "scores.csv", HEADER, pairs) + lines)
    totals = [[r.student, r.assignment, r.points, sum(row.out_of for row in r.rows),
               sum(row.out_of for row in r.rows if row.points is None)] for r in results]  # fmt: skip
    header = ["student", "assignment", "points", "out_of", "waiting"]
    save(folder / "totals.csv", header, others(folder / "totals.csv", header, pairs) + totals)
    for result in results:
        place = folder / "feedback" / result.assignment
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{file_name(result.student)}.html").write_text(page(result), encoding="utf-8")


def others(path: Path, header: list[str], pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Return the lines of an earlier run that are not about these students and assignments."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [[line.get(name) or "" for name in header] for line in csv.DictReader(file)]
    return [line for line in lines if tuple(line[:2]) not in pairs]


def save(path: Path, header: list[str], lines: list[list]) -> None:
    """Write a CSV file, whole or not at all."""
    new = path.with_suffix(".new")
    with new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([cell(value) for value in line] for line in lines)
    new.replace(path)


def add_by_hand(results: list[Result], path: Path) -> None:
    """Take over the points that a person wrote into by_hand.csv, and add lines for answers that wait for one."""
    written: dict[tuple, list[str]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line in list(csv.DictReader(file)):
                key = (line["student"], line["assignment"], line["exercise"])
                written[key] = [line.get(name) or "" for name in BY_HAND]
    for result in results:
        for row in result.rows:
            key = (cell(result.student), result.assignment, row.exercise)
            if row.answer or (key in written and written[key][3]):
                line = written.setdefault(key, [*key, "", cell(row.out_of), ""])
                if line[3]:
                    points = number(line[3], row.out_of, path, key)
                    row.points, row.status = points, "by hand"
                    row.text = line[5] or f"{points:g} of {row.out_of:g} points, by a person"
    save(path, BY_HAND, [line for _, line in sorted(written.items())])


def number(text: str, out_of: float, path: Path, key: tuple) -> float:
    """Return points typed by a person. Raises ValueError, with the line, for what is none."""
    try:
        points = float(text.replace(",", "."))
    except ValueError:
        points = float("nan")
    if not 0 <= points <= out_of:
        raise ValueError(f"{path}, {', '.join(key)}: {text!r} is no number of points from 0 to {out_of:g}")
    return points


def page(result: Result) -> str:
    """Return the feedback for one student as a page that runs nothing and fetches nothing."""
    rows = []
    for row in result.rows:
        points = "waits" if row.points is None else f"{row.points:g}"
        answer = f"<pre>{html.escape(row.answer)}</pre>" if row.answer else ""
        rows.append(f"<tr><td>{html.escape(row.title)}</td><td class=n>{points} of {row.out_of:g}</td>"
                    f"<td>{html.escape(row.text)}{answer}</td></tr>")  # fmt: skip
    out_of = sum(row.out_of for row in result.rows)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in result.notes)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{html.escape(result.assignment)}: {html.escape(result.student)}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(result.assignment.replace("_", " "))}</h1>
<p>{html.escape(result.student)}: <strong>{result.points:g} of {out_of:g} points</strong>\
{" so far" if any(row.points is None for row in result.rows) else ""}</p>
<table><thead><tr><th>exercise</th><th class=n>points</th><th>what we found</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table>
{f"<h2>Also</h2><ul>{notes}</ul>" if notes else ""}
<p>Something looks wrong? Ask for a second look: the same notebook is graded again, by the same inputs.</p>
</body></html>
"""
