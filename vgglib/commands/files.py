"""The networks and folders that are named on the command line: which file is meant, and can it be written?"""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path


def quoted(path: Path, windows: bool = os.name == "nt") -> str:
    """Return a path as one word of a command line: Windows knows double quotes alone."""
    return subprocess.list2cmdline([str(path)]) if windows else shlex.quote(str(path))


def file_of(network: str) -> Path | None:
    """Return the file of a network named by its file or its run's folder; None for the name of one of the book's.

    Raises ValueError for a run that has no network yet, and for a name that could be either.
    """
    from vgglib.checkpoint import NETWORKS

    path = Path(network)
    if path.name == network and (NETWORKS / f"{network}.safetensors").is_file():
        if path.exists():
            raise ValueError(
                f"{network} is a network of the book and a name in this folder: for the latter write ./{network}"
            )
        return None
    if path.is_dir():  # a run's folder holds its network
        file = path / "network.safetensors"
        if not file.exists() and (path / "checkpoints" / "run.json").is_file():
            again = f"python -m vgglib resume {quoted(path)}"
            raise ValueError(f"the run in {path} is not finished, it has no network yet; go on with: {again}")
        return file
    named = path.name == network and path.suffix != ".safetensors"  # without a folder, as the book's are
    return None if named and not path.is_file() else path


def digest_of(network: str) -> str:
    """Return the SHA-256 of the file in which a network lies, also one that comes with vgglib."""
    from vgglib.checkpoint import NETWORKS, digest

    return digest(file_of(network) or NETWORKS / f"{network}.safetensors")


def network_of(network: str) -> object:
    """Return a trained network by its file, its run's folder, or its name in data/networks."""
    from vgglib.checkpoint import load_network, shipped

    path = file_of(network)
    if path and path.suffix.lower() in (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp", ".gif"):
        raise ValueError(
            f"{path} is a picture by its name, where a network is expected: a .safetensors file, a run's folder, or a "
            "name in data/networks comes first"
        )
    return load_network(path) if path else shipped(network)


def expect_place_for_record(result: str | Path | None) -> None:
    """Raise ValueError if no record could be written to this file; None is the usual place."""
    if result and Path(result).is_dir():
        raise ValueError(f"--result {result} is a folder; name a file in it")
    for path in Path(result).parents if result else ():
        if path.exists() and not path.is_dir():
            raise ValueError(f"--result {result}: {path} is a file; name a file in a folder")
    if result and os.environ.get("RANK", "0") == "0":  # under torchrun process 0 alone writes
        expect_place_for_files(Path(result).parent, f"--result {result}")


def expect_place_for_files(folder: Path, option: str) -> None:
    """Raise ValueError, naming the option, if nothing can be written into a folder, or into where it would be made."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not _takes_files(there):
        raise ValueError(f"{option}: nothing can be written into {there}; name another folder")


def _takes_files(folder: Path) -> bool:
    """Return whether a file can be made in a folder; what the system says of permissions is not always true."""
    if not os.access(folder, os.W_OK):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
