"""Scores as CSV, feedback as HTML: nothing that a student wrote is more than text in either."""

import csv
import hashlib
import html
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from grading.grade import NUMBERS, Result, Row, assignment

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
TOTALS = ["student", "assignment", "points", "out_of", "waiting"]
DIGEST = "fingerprint_of_answer"
BY_HAND = ["student", "assignment", "exercise", "points", "out_of", "comment", DIGEST]
NEEDED = ("student", "assignment", "exercise", "points")
UNKNOWN = "unknown"  # points from before there were fingerprints
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


def words(text: str) -> str:
    """Return what ``cell`` made a text of, without the apostrophe."""
    return text[1:] if re.match("'[=+@-]", text) else text


def file_name(student: str) -> str:
    """Return a harmless file name for a student, different for different students."""
    plain = re.sub(r"[^\w.-]", "_", student)[:60].strip(".") or "student"
    if plain == student:
        return plain
    return f"{plain}-{hashlib.sha256(student.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def write(
    results: list[Result],
    folder: Path,
    secret: str,
    tell: Callable[[str], None] = lambda text: None,
    everybody: bool = False,
) -> None:
    """Write scores.csv, totals.csv, by_hand.csv, feedback/ and the explanations to read for the results.

    totals.csv comes a second time with one file for each assignment. Lines of other students and assignments, and what
    a person wrote into by_hand.csv, are kept. ``tell`` gets a sentence for each answer that must be read again, for
    each line of by_hand.csv that fits nothing and, if ``everybody`` was graded, about those of earlier runs who were
    not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = [result for result in results if not kept(result, folder / "totals.csv", tell)]
    pairs = {(words(cell(result.student)), result.assignment) for result in results}
    add_by_hand(results, folder / "by_hand.csv", tell)
    lines = []
    for result in results:
        for row in result.rows:
            flags = "; ".join(result.flags)
            lines.append([result.student, result.assignment, row.exercise, row.points, row.out_of, row.status, row.text,
                          flags, result.isolation, result.sha256, fingerprint(secret)])  # fmt: skip
    lines = others(folder / "scores.csv", HEADER, pairs) + lines
    save(folder / "scores.csv", HEADER, lines)
    fits = {(words(cell(line[0])), line[1], line[2]) for line in lines}
    for n, key in enumerate(read_by_hand(folder / "by_hand.csv"), start=2):
        if key not in fits:
            tell(f"by_hand.csv, line {n} fits no graded exercise: {', '.join(key)}")
    totals = [[r.student, r.assignment, r.points, sum(row.out_of for row in r.rows),
               sum(row.out_of for row in r.rows if row.points is None)] for r in results]  # fmt: skip
    less(results, table(folder / "totals.csv", TOTALS), tell)
    earlier = others(folder / "totals.csv", TOTALS, pairs)
    if everybody:
        without_file([line[0] for line in earlier if line[1] in {name for _, name in pairs}], tell)
    totals = earlier + totals
    save(folder / "totals.csv", TOTALS, totals)
    for name in sorted({result.assignment for result in results}):
        save(folder / f"totals_{name}.csv", TOTALS, [line for line in totals if line[1] == name])
        if name[:2] in NUMBERS:
            to_read(name, results, folder)
    for result in results:
        place = folder / "feedback" / result.assignment
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{file_name(result.student)}.html").write_text(page(result), encoding="utf-8", errors="replace")


def kept(result: Result, totals: Path, tell: Callable[[str], None]) -> bool:
    """Return whether an earlier line stays, since what is handed in belongs to another assignment; say so."""
    if not result.belongs:
        return False
    key = [words(cell(result.student)), result.assignment]
    earlier = any([line["student"], line["assignment"]] == key for line in table(totals, TOTALS))
    stays = "the earlier line stays" if earlier else "0 points"
    tell(f"{result.assignment}  {result.student}: what was handed in belongs to {result.belongs}: {stays}")
    return earlier


def less(results: list[Result], lines: list[dict[str, str]], tell: Callable[[str], None]) -> None:
    """Say whose line of an earlier run had more points than the new one, which takes its place, can still get."""
    before = {(line["student"], line["assignment"]): line["points"].replace(",", ".") for line in lines}
    for result in results:
        had = before.get((words(cell(result.student)), result.assignment), "")
        most = sum(row.out_of if row.points is None else row.points for row in result.rows)
        if re.fullmatch(r"\d+(\.\d+)?", had) and float(had) > most:
            now = f"{result.points:g} points now, {float(had):g} before"
            tell(f"{result.assignment}  {result.student}: {now}; the new line stands")


def without_file(students: list[str], tell: Callable[[str], None]) -> None:
    """Say whose lines stay from an earlier run, though they handed in nothing now: the file may have been renamed."""
    if students:
        more = f" and {len(students) - 5} more" if len(students) > 5 else ""
        tell(f"no file now, and lines from an earlier run: {', '.join(students[:5])}{more}; delete them after a rename")


def check(folder: Path) -> None:
    """Read what an earlier run and a person wrote. Raises ValueError, with file and column, where that fails."""
    others(folder / "scores.csv", HEADER, set())
    others(folder / "totals.csv", TOTALS, set())
    for key, line in read_by_hand(folder / "by_hand.csv").items():
        if line[3]:
            number(line[3], most(line[4]), folder / "by_hand.csv", key)


def most(text: str) -> float:
    """Return the most points that a line names, or no limit."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return float("inf")


def table(path: Path, needed: list[str] | tuple[str, ...]) -> list[dict[str, str]]:
    """Return the lines of a CSV file, also as a spreadsheet of another country saves it; none where there is no file.

    Raises ValueError, with file and column, if a column is missing.
    """
    if not path.exists():
        return []
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    try:
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(f"{path}: there is no column {missing[0]!r}; the first line must name {', '.join(needed)}")
        return [{name: words(mended(line.get(name) or "")) for name in reader.fieldnames} for line in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from None


def mended(text: str) -> str:
    """Return a text whose UTF-8 was taken for Windows' own letters as it was meant."""
    try:
        return text.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return text


def others(path: Path, header: list[str], pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Return the lines of an earlier run that are not about these students and assignments."""
    lines = [[line[name] for name in header] for line in table(path, header)]
    return [line for line in lines if tuple(line[:2]) not in pairs]


def save(path: Path, header: list[str], lines: list[list]) -> None:
    """Write a CSV file, whole or not at all."""
    new = path.with_suffix(".new")
    with new.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([cell(value) for value in line] for line in lines)
    new.replace(path)


def read_by_hand(path: Path) -> dict[tuple, list[str]]:
    """Return the lines of by_hand.csv by student, assignment and exercise."""
    lines = {}
    for line in table(path, NEEDED):
        lines[line["student"], line["assignment"], line["exercise"]] = [
            line.get(name, line.get("answer", UNKNOWN) if name == DIGEST else "") for name in BY_HAND
        ]
    return lines


def digest(answer: str) -> str:
    """Return letters that change with an answer, but for spaces; no spreadsheet takes them for a number."""
    return "answer-" + hashlib.sha256(" ".join(answer.split()).encode("utf-8", "replace")).hexdigest()[:12]


def add_by_hand(results: list[Result], path: Path, tell: Callable[[str], None] = lambda text: None) -> None:
    """Take over the points that a person wrote into by_hand.csv, and add lines for answers that wait for one.

    Points belong to the answer that was read: where it is another one by now, they move into the comment.
    """
    written = read_by_hand(path)
    take_over(results, written, path, tell)
    save(path, BY_HAND, [line for _, line in sorted(written.items())])


def so_far(path: Path) -> Callable[[Result], str]:
    """Return what says a result's points in a line, with those that a person wrote into by_hand.csv until now."""
    written = read_by_hand(path)

    def in_words(result: Result) -> str:
        whole = replace(result, rows=[replace(row) for row in result.rows])
        take_over([whole], {key: list(line) for key, line in written.items()}, path)
        waiting = sum(row.out_of for row in whole.rows if row.points is None)
        waits = f", and {waiting:g} wait for a person" if waiting else ""
        return f"{whole.points:g} of {sum(row.out_of for row in whole.rows):g}{waits}"

    return in_words


def take_over(
    results: list[Result], written: dict[tuple, list[str]], path: Path, tell: Callable[[str], None] = lambda text: None
) -> None:
    """Put the points of a person into the results, and answers that wait for one among the lines."""
    for result in results:
        for row in result.rows:
            key = (words(cell(result.student)), result.assignment, row.exercise)
            line = written.get(key)
            if line is None:
                if row.answer:
                    written[key] = [*key, "", cell(row.out_of), "", digest(row.answer)]
                continue
            if row.by_person:
                compare(row, line, tell)
            if line[3] and (row.by_person or row.status != "unreadable" or not line[6]):
                points = number(line[3], row.out_of, path, key)
                if not row.by_person and row.points is not None and row.points > points:
                    tell(f"{key[1]}  {key[0]}: {key[2]} is overruled: {points:g}; the machine now gives {row.points:g}")
                row.points, row.status = points, "by hand"
                row.text = line[5] or f"{points:g} of {row.out_of:g} points, by a person"


def compare(row: Row, line: list[str], tell: Callable[[str], None]) -> None:
    """Take the points out of a line of by_hand.csv if they were for another answer than a row's, and say so."""
    known = line[6] or digest(row.answer)
    if known == UNKNOWN and row.answer:
        known = digest(row.answer)
    if line[3] and known != digest(row.answer):
        what = "has changed: read it again" if row.answer else "is empty now: 0 points"
        tell(f"{line[1]}  {line[0]}: {line[2]} {what}; it had {line[3]} points")
        line[3], line[5] = "", f"{line[3]} points for an earlier answer. {line[5]}".strip()
    line[6] = digest(row.answer)


def number(text: str, out_of: float, path: Path, key: tuple) -> float:
    """Return points typed by a person. Raises ValueError, with the line, for what is none."""
    try:
        points = float(text.replace(",", "."))
    except ValueError:
        points = float("nan")
    if not 0 <= points <= out_of:
        raise ValueError(
            f"{path}, {', '.join(key)}, column points: {text!r} is no number of points from 0 to {out_of:g}"
        )
    return points


def to_read(name: str, results: list[Result], folder: Path) -> None:
    """Write read_NN.html: an assignment's questions and rubrics, and each explanation under its fingerprint, nameless.

    Answers of an earlier run stay as long as by_hand.csv has a line for them.
    """
    path = folder / f"read_{name[:2]}.html"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    answers = dict(re.findall(r'<h3 id="([\w-]+)">.*?</h3>\n<pre>(.*?)</pre>', text, re.DOTALL))
    for row in [row for result in results if result.assignment == name for row in result.rows]:
        if row.by_person and row.answer:
            answers[digest(row.answer)] = html.escape(row.answer)
    lines = [line for line in read_by_hand(folder / "by_hand.csv").values() if line[1] == name]
    body = f"<h1>{html.escape(name.replace('_', ' '))}: to read</h1>\n"
    what = assignment(name[:2])
    for one in what.by_hand:
        question = re.split(r"^## .*$", what.question(one.grade_id), flags=re.MULTILINE)[-1].strip()
        body += f"<h2>{html.escape(one.title)}, {one.points:g} points</h2>\n<p>{marked(question)}</p>\n"
        body += f"<p>{marked(one.rubric)}</p>\n"
        points = {line[6]: line[3] for line in lines if line[2] == one.grade_id}
        for key in sorted(key for key in points if key in answers):
            has = f", has {html.escape(points[key])} points" if points[key] else ""
            body += f'<h3 id="{key}">{key}{has}</h3>\n<pre>{answers[key]}</pre>\n'
    path.write_text(framed(f"{name}: to read", body), encoding="utf-8", errors="replace")


def framed(title: str, body: str) -> str:
    """Return a page that runs nothing and fetches nothing; ``body`` is HTML, the title text."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>
{body}</body></html>
"""


def marked(text: str) -> str:
    """Return text for a page, what stands between two backticks as code, and a word between two stars stressed."""
    parts = re.split(r"(`[^`]+`)", html.escape(text))
    parts[::2] = [re.sub(r"(?<![\w*])\*(\w+)\*(?![\w*])", r"<em>\1</em>", part) for part in parts[::2]]
    return "".join(f"<code>{part[1:-1]}</code>" if n % 2 else part for n, part in enumerate(parts))


def page(result: Result) -> str:
    """Return the feedback for one student as a page that runs nothing and fetches nothing."""
    rows = []
    for row in result.rows:
        points = "waits" if row.points is None else f"{row.points:g}"
        answer = f"<pre>{html.escape(row.answer)}</pre>" if row.answer else ""
        rows.append(f"<tr><td>{html.escape(row.title)}</td><td class=n>{points} of {row.out_of:g}</td>"
                    f"<td>{marked(row.text)}{answer}</td></tr>")  # fmt: skip
    out_of = sum(row.out_of for row in result.rows)
    notes = "".join(f"<li>{marked(note)}</li>" for note in result.notes)
    body = f"""<h1>{html.escape(result.assignment.replace("_", " "))}</h1>
<p>{html.escape(result.student)}: <strong>{result.points:g} of {out_of:g} points</strong>\
{" so far" if any(row.points is None for row in result.rows) else ""}</p>
<table><thead><tr><th>exercise</th><th class=n>points</th><th>what we found</th></tr></thead>
<tbody>{"".join(rows)}</tbody></table>
{f"<h2>Also</h2><ul>{notes}</ul>" if notes else ""}
<p>Something looks wrong? Ask for a second look: the same notebook is graded again, by the same inputs.</p>
"""
    return framed(f"{result.assignment}: {result.student}", body)
