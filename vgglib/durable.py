"""Files that are there whole or not at all, whatever happens meanwhile: a crash, a full disk, a pulled plug."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def write_durably(path: str | os.PathLike, content: bytes) -> None:
    """Put ``content`` into a file: under another name first, and renamed once it is safe on the disk.

    Raises OSError if that fails; the file is then as it was before, and no half-written one is left.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for the same out of a folder, until the context or this process ends.

    Raises RuntimeError if one is in it. Where nothing can be written or locked (some network file systems, Windows)
    nobody is kept out.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / "lock", "w")  # noqa: SIM115  (closed below)
    except OSError:
        yield
        return
    with file:
        try:
            if fcntl is not None:  # a lock of the process: those that it forks do not hold it
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise RuntimeError(
                f"another process is at work in {folder}: wait for it, stop it, or take another folder"
            ) from None
        except OSError:
            pass
        yield


def temporary_name(path: Path) -> Path:
    """Return the name under which this process writes a file before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def publish(temporary: Path, path: Path) -> None:
    """Force a finished file to the disk, give it its name, and force the name to the disk too."""
    _sync(temporary)
    replace(temporary, path)
    if os.name != "nt":  # Windows opens no folders
        _sync(path.parent)


def replace(temporary: Path, path: Path, windows: bool = os.name == "nt") -> None:
    """Give a file its name; on Windows, where a virus scanner may hold a new file for a moment, with some patience."""
    for wait in (0.05, 0.1, 0.2, 0.4, 0.8) if windows else ():
        try:
            return os.replace(temporary, path)
        except PermissionError:
            time.sleep(wait)
    return os.replace(temporary, path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
