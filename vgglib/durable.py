"""Files that are there whole or not at all, whatever happens meanwhile: a crash, a full disk, a pulled plug."""

import os
from pathlib import Path


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


def temporary_name(path: Path) -> Path:
    """Return the name under which this process writes a file before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def publish(temporary: Path, path: Path) -> None:
    """Force a finished file to the disk, give it its name, and force the name to the disk too."""
    _sync(temporary)
    os.replace(temporary, path)
    if os.name != "nt":  # Windows opens no folders
        _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
