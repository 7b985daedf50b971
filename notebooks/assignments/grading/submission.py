"""Finds the notebooks of a folder of submissions and reads them as data; nothing in them is run or believed here."""

import hashlib
import json
import re
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 20 * 2**20  # bytes of a notebook; what is larger is mostly pictures, or a trap
MISTAKEN = (".py", ".html", ".pdf", ".json", ".doc", ".docx", ".zip", ".rar", ".7z", ".tar", ".gz", ".tgz")
MOODLE = re.compile(r"_(\d+)_assignsubmission_(?:file|onlinetext)(?:_.*)?$", re.DOTALL)  # behind a student's name
COPY = (
    r"(?: ?\(\d+\)|-Copy\d+| - (?:Copy|Kopie|Copie|copia)(?: \(\d+\))?| copy(?: \d+)?)"  # browsers, JupyterLab, systems
)
MOST_CELLS = 2_000
MOST_SOURCE = 200_000  # letters in a cell


@dataclass(frozen=True)
class Cell:
    """One cell: its kind, its source and the name that nbgrader gave it, if that was left alone."""

    kind: str  # "code", "markdown" or "raw"
    source: str
    grade_id: str | None = None


@dataclass
class Submission:
    """What one student handed in for one assignment; without cells where it could not be read."""

    student: str
    path: Path | None = None
    folder: Path | None = None  # the student's own files, if they have a folder
    cells: list[Cell] = field(default_factory=list)
    sha256: str = ""
    problem: str = ""  # why there is nothing to grade, in words for the student
    belongs: str = ""  # the other assignment, if that is why
    notes: list[str] = field(default_factory=list)  # for the student
    flags: list[str] = field(default_factory=list)  # for the teacher


def found(place: Path, tell: Callable[[str], None] = lambda text: None) -> dict[str, list[Submission]]:
    """Return what lies in a folder of submissions, by student: every entry is a student's folder or notebook.

    ``ada/any/where.ipynb``, ``ada.ipynb``, ``ada__01_receptive_fields.ipynb`` and Moodle's folder
    ``ada_12345_assignsubmission_file_/`` all belong to ada. A single notebook may stand in place of the folder. Links
    are not followed. Raises NotADirectoryError for what is neither.
    """
    if place.suffix.lower() == ".ipynb" and place.is_file():
        one = read(place, owner(place.name))
        one.student = again(one.student, one.cells)
        return {one.student: [one]}
    if not place.is_dir():
        raise NotADirectoryError(f"{place} is not a folder of submissions, and no notebook")
    students: dict[str, list[Submission]] = {}
    entries = [entry for entry in sorted(place.iterdir())
               if not entry.name.startswith(".") and entry.name not in ("__MACOSX", "Thumbs.db")]  # fmt: skip
    names = owners([entry.name for entry in entries], tell)
    for entry in entries:
        name = names[entry.name]
        if entry.is_dir() and not entry.is_symlink():
            students.setdefault(name, []).extend(_in_folder(entry, name))
        elif entry.suffix.lower() == ".ipynb":
            one = read(entry, name)
            one.student = name = again(name, one.cells)
            students.setdefault(name, []).append(one)
        elif ".ipynb" in entry.name.lower() or entry.suffix.lower() in MISTAKEN:
            students.setdefault(name, []).append(Submission(name, problem=_other_files([entry])))
        else:
            tell(f"{as_text(entry.name)} is no notebook: it was left out")
    alike: dict[str, list[str]] = {}
    for name in students:
        alike.setdefault(normal(name), []).append(name)
    for several in alike.values():
        if len(several) > 1:
            tell(f"{' and '.join(several)} have one id, and are graded as {len(several)} students: rename one")
    return students


def normal(name: str) -> str:
    """Return an id without regard to spaces, capitals and the way in which letters with accents are stored."""
    return " ".join(unicodedata.normalize("NFKC", name).lower().split())


def again(name: str, cells: list[Cell]) -> str:
    """Return the student of a copy of a file, ``ada (1)``, ``ada-Copy1`` or ``ada - Kopie``: ada, if the notebook
    says so.
    """
    first = re.fullmatch(rf"(.+?){COPY}", name)
    said = re.compile(r"^student *= *\(?\s*(?:#.*\s*)?[\"']?([^\"'\n#)]+)", re.MULTILINE)
    ids = [found.group(1) for cell in cells if cell.kind == "code" and (found := said.search(cell.source))]
    return first.group(1) if first and normal(first.group(1)) in map(normal, ids) else name


def as_text(name: str) -> str:
    """Return the name of a file as text, in one way of writing it; macOS keeps letters and their accents apart."""
    return unicodedata.normalize("NFKC", name.encode("utf-8", "replace").decode())


def owner(name: str) -> str:
    """Return the student that a file or folder belongs to: what stands before its ending, before ``__``, and before
    what Moodle adds.
    """
    endings = "|".join(map(re.escape, [".ipynb", *MISTAKEN]))
    name = MOODLE.sub("", as_text(name))
    return re.split(rf"(?i:{endings})(?=\.|$)", name, maxsplit=1)[0].partition("__")[0] or name


def owners(names: list[str], tell: Callable[[str], None] = lambda text: None) -> dict[str, str]:
    """Return the student of each file or folder. Where Moodle has several of one name, its number stays with it."""
    found = {name: owner(name) for name in names}
    numbers = {name: number.group(1) for name in names if (number := MOODLE.search(as_text(name)))}
    known: dict[str, set[str]] = {}
    for name, number in numbers.items():
        known.setdefault(found[name], set()).add(number)
    several = {student: all_of for student, all_of in known.items() if len(all_of) > 1}
    for student, all_of in several.items():
        tell(
            f"{len(all_of)} students are called {student}, here {student} {min(all_of)} and so on: name each by its id"
        )
    return {name: f"{one} {numbers[name]}" if one in several and name in numbers else one
            for name, one in found.items()}  # fmt: skip


def _in_folder(folder: Path, student: str) -> list[Submission]:
    files = [p for p in folder.rglob("*") if ".ipynb_checkpoints" not in p.parts and (p.is_file() or p.is_symlink())]
    paths = sorted(path for path in files if path.suffix.lower() == ".ipynb")[:50]
    others = [path for path in files if path.suffix.lower() != ".ipynb" and _own(path.relative_to(folder))]
    notes = [f"{_named(others)}: not read, since everything must stand in the notebook"] if others else []
    handed_in = [read(path, student, folder) for path in paths]
    for one in handed_in:
        one.notes += notes
    return handed_in or [Submission(student, problem=_other_files(files))]


def _own(path: Path) -> bool:
    """Return whether a file is a student's own, and none that a system, Python or nbgrader puts there."""
    strange = any(part.startswith(".") or part in ("__MACOSX", "__pycache__") for part in path.parts)
    return not strange and path.name not in ("Thumbs.db", "desktop.ini", "timestamp.txt")


def _named(files: list[Path]) -> str:
    """Return the names of the first three files, and how many more there are."""
    names = sorted(as_text(path.name)[:60] for path in files)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _other_files(files: list[Path]) -> str:
    """Return the problem of somebody who handed in something else."""
    names = ", ".join(sorted(as_text(path.name)[:60] for path in files if not path.name.startswith("."))[:3])
    where = f"among what you handed in ({names})" if names else "in your folder"
    return f"there is no notebook {where}: hand in the .ipynb file itself"


def read(path: Path, student: str, folder: Path | None = None) -> Submission:
    """Return the notebook as data; never raises for what a student can do to a file."""
    submission = Submission(student, path, folder)
    try:
        _read_into(submission, path, folder)
    except (OSError, ValueError, RecursionError, MemoryError, TypeError, KeyError, AttributeError) as error:
        if not submission.problem:
            submission.problem = (
                f"your file could not be read as a notebook ({type(error).__name__}): save it again in JupyterLab"
            )
    return submission


def _read_into(submission: Submission, path: Path, folder: Path | None) -> None:
    outside = folder is not None and not path.resolve().is_relative_to(folder.resolve())
    if path.is_symlink() or outside:
        submission.flags.append("a link in place of a notebook")
        submission.problem = "your file is a link to another place, no notebook: hand in the file itself"
        return
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        submission.problem = "what you handed in is no file"
        return
    if status.st_size > LARGEST:
        submission.problem = (
            f"your notebook has {status.st_size / 2**20:.0f} MiB, and {LARGEST / 2**20:.0f} are read: "
            "clear all outputs (Edit, Clear Outputs of All Cells), save, and hand it in again"
        )
        submission.flags.append("very large file")
        return
    data = path.read_bytes()
    submission.sha256 = hashlib.sha256(data).hexdigest()
    if not data.strip():
        submission.problem = "your file is empty: save the notebook and hand it in again"
        return
    try:
        book = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        submission.problem = (
            "your file is no notebook, or a damaged one: open it in JupyterLab, save it, hand it in again"
        )
        return
    if not isinstance(book, dict):
        submission.problem = "your file is no notebook: hand in the .ipynb file that JupyterLab saved"
        return
    submission.cells = _cells(book)
    submission.notes += _notes(book)
    if not submission.cells:
        submission.problem = "your notebook has no cells"


def _cells(book: dict) -> list[Cell]:
    """Return the cells of any version: since 4 they lie in the notebook, before that in its worksheets."""
    raw = book.get("cells")
    if not isinstance(raw, list):
        sheets = book.get("worksheets") if isinstance(book.get("worksheets"), list) else []
        raw = [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or []]
    cells = []
    for cell in raw[:MOST_CELLS]:
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", cell.get("input", ""))
        source = "".join(map(str, source)) if isinstance(source, list) else str(source)
        metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        marks = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
        grade_id = marks.get("grade_id") if isinstance(marks.get("grade_id"), str) else None
        kind = cell.get("cell_type") if cell.get("cell_type") in ("code", "markdown", "raw") else "raw"
        cells.append(Cell(kind, plain_lines(source[:MOST_SOURCE]), grade_id))
    return cells


def plain_lines(text: str) -> str:
    """Return text with Unix line ends and without surrogates, which no file could hold."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode("utf-8")


def _notes(book: dict) -> list[str]:
    """Return what the student should know about the file itself."""
    notes = []
    version = book.get("nbformat")
    if version == 3:
        notes.append("your file is in the old notebook format 3; it was read")
    elif version != 4:
        notes.append("your file is in a notebook format newer than 4; it was read as well as it goes")
    metadata = book.get("metadata") if isinstance(book.get("metadata"), dict) else {}
    kernel = metadata.get("kernelspec") if isinstance(metadata.get("kernelspec"), dict) else {}
    language = str(kernel.get("language") or kernel.get("name") or "python").lower()
    if not language.startswith("python"):
        notes.append("your notebook was saved with a kernel that is not Python; it was graded as Python")
    return notes
