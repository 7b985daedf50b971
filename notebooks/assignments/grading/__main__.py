"""`python -m grading release` and `python -m grading grade SUBMISSIONS`, from the folder notebooks/assignments."""

import argparse
import os
import sys
from pathlib import Path

from grading import grade, release, report, sandbox, show

HERE = Path(__file__).resolve().parent.parent


def main(words: list[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m grading")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("release", help="write the students' editions")
    grading = verbs.add_parser("grade", help="grade a folder of submissions")
    grading.add_argument("submissions", type=Path, help="a folder, or one notebook")
    grading.add_argument("--assignment", choices=grade.NUMBERS)
    grading.add_argument("--student", help="grade this student alone")
    grading.add_argument("--into", type=at_home, default=HERE / "grades")
    grading.add_argument("--secret", type=at_home, default=HERE / "secret.txt", help="the file with another secret")
    grading.add_argument("--show", metavar="EXERCISE", help="grade nothing: print its hidden inputs and right answers")
    grading.add_argument("--workers", type=int)
    grading.add_argument("--without-sandbox", action="store_true", help="grade even where bubblewrap is missing")
    chosen = parser.parse_args(words)
    if chosen.verb == "release":
        for path in release.make(HERE / "release"):
            print(f"wrote {path.relative_to(HERE)}")
        try:
            for number in grade.NUMBERS:
                grade.assignment(number)
        except ValueError as error:
            print(error)
            return 1
        return 0
    if chosen.show:
        return told(chosen)
    if os.name == "nt":
        print("Grading needs Linux or macOS, for their limits on programs: on Windows, grade in WSL.")
        return 1
    safe, why = sandbox.protection()
    if not safe and not chosen.without_sandbox:
        print(f"Not graded: {why}.\nThe guide (notebooks/assignments/README.md) says what that means.")
        print('To grade all the same: make grade SUBMISSIONS=... ARGS="--without-sandbox"')
        return 1
    print(f"isolation: {why}" if safe else f"NOT ISOLATED: {why}")
    try:
        if not chosen.secret.exists():
            print(f"a new secret is made up: {chosen.secret}")
        secret = grade.secret_of(chosen.secret)
        report.check(chosen.into)
        results = grade.grade(
            chosen.submissions,
            secret,
            chosen.assignment,
            sandboxed=safe,
            workers=chosen.workers,
            tell=lambda text: print(f"{text}\n", end="", flush=True),  # whole lines, of several threads
            student=chosen.student,
            so_far=report.so_far(chosen.into / "by_hand.csv"),
        )
        everybody = chosen.student is None and chosen.submissions.is_dir()
        report.write(results, chosen.into, secret, print, everybody)
    except (OSError, ValueError) as error:
        print(error)
        return 1
    for result in results:
        for flag in result.flags:
            if flag.startswith(grade.ANOTHER_ID):
                said = flag.removeprefix(grade.ANOTHER_ID)
                print(f"{result.assignment}  {result.student}: the notebook says {said}: rename the file, or ask")
    flagged = sum(bool(result.flags) for result in results)
    print(f"{len(results)} submissions graded, {flagged} flagged: {chosen.into / 'scores.csv'}")
    return 0 if results else 1


def at_home(text: str) -> Path:
    """Return a path, ``~`` understood: the shell leaves it alone within quotes."""
    return Path(text).expanduser()


def told(chosen: argparse.Namespace) -> int:
    """Print an exercise's hidden inputs and right answers for one student, and return the exit status."""
    if chosen.student is None:
        print('Say whose: ARGS="--student ada --show window"')
        return 1
    if not chosen.secret.exists():
        print(f"there is no secret {chosen.secret}: nothing was graded by it, so nothing can be shown")
        return 1
    try:
        print(show.shown(chosen.show, chosen.student, grade.secret_of(chosen.secret), chosen.assignment))
    except ValueError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
