"""The students' editions: made from the teacher's by nbgrader, never edited."""

import json
import logging
import shutil
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
STUB = "...  # your code"


def names() -> list[str]:
    """Return the assignments that have a teacher's edition."""
    return sorted(
        path.name for path in (HERE / "source").glob("[0-9][0-9]_*") if (path / f"{path.name}.ipynb").exists()
    )


def make(into: Path, only: list[str] | None = None) -> list[Path]:
    """Write the students' editions to ``into``/NAME/NAME.ipynb and return the paths; nbgrader says what is wrong."""
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    made = []
    with tempfile.TemporaryDirectory() as room:
        course = Path(room)
        for name in only or names():
            shutil.copytree(HERE / "source" / name, course / "source" / name)
            config = Config()
            config.CourseDirectory.root = str(course)
            config.CourseDirectory.assignment_id = name
            config.ClearSolutions.code_stub = {"python": STUB}
            config.GenerateAssignment.no_database = True
            app = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config)
            app.preprocessors = [step for step in app.preprocessors if step.__name__ != "SaveCells"]
            app.log = logging.getLogger("release")
            app.start()
            text = (course / "release" / name / f"{name}.ipynb").read_text(encoding="utf-8")
            target = into / name / f"{name}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(tidy(text), encoding="utf-8")
            made.append(target)
    return made


def tidy(text: str) -> str:
    """Return a notebook as JupyterLab writes it, without outputs."""
    book = json.loads(text)
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
