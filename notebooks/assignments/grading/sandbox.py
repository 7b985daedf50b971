"""Starts the student's process where it can do no harm, talks to it, and stops it whatever it does.

With bubblewrap (``bwrap``) the process has its own file system (the Python, its packages, the few files of vgglib that
an assignment needs, a copy of the student's own folder, an empty /tmp), its own process numbers, and no network.
Without it the limits on time, memory, processes and file size still hold, and where the teacher is root the process
runs as nobody, but it sees the disk and the network: ``protection()`` says which of the two it is.
"""

import ast
import contextlib
import functools
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from grading import plain

HERE = Path(__file__).resolve().parent
VGGLIB = HERE.parents[2] / "vgglib"
CHECKS = sorted(path.name for path in (VGGLIB / "exercises").glob("assignment_*.py"))
NO_CHECKS = """

def __getattr__(name):
    return lambda *arguments, **named: None
"""
PROGRAMS = ("inside.py", "plain.py", "adapters.py", "magics.py")
FIRST_UID = 61_000  # nobody owns these: as root, each process gets one of its own
MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What one submission may use up."""

    seconds: float = 120  # wall time, all restarts together, without the start of the process
    cell_seconds: float = 10  # of computing, in a cell
    call_seconds: float = 5  # of computing, in a call of one function
    wall_seconds: float = 30  # of waiting for a cell or a call, on a machine that may be busy
    start_seconds: float = 60  # importing torch on a busy machine
    memory: int = 3 * 1024 * MIB  # bytes of all processes together, what a file in memory takes included
    processes: int = 48  # with threads
    file_bytes: int = 16 * MIB
    disk_bytes: int = 64 * MIB  # of /tmp
    files: int = 5_000  # in /tmp
    printed_bytes: int = 8 * MIB
    answer_bytes: int = 8 * MIB


class GoneError(Exception):
    """The student's process is no more; ``why`` is a word of WHY."""

    def __init__(self, why: str):
        super().__init__(why)
        self.why = why


WHY = {
    "time": "it did not end within the time it has",
    "output": "it printed without end",
    "memory": "it needed more memory than it may",
    "processes": "it started more and more processes",
    "files": "it wrote too many files",
    "ended": "it ended the grader's Python",
    "noise": "it wrote into the grader's channel",
    "start": "it could not be started",
}


@functools.cache
def protection() -> tuple[bool, str]:
    """Return whether the sandbox works here, and a sentence about it."""
    if not sys.platform.startswith("linux"):
        return False, f"there is no bubblewrap for {sys.platform}: submissions see this machine's files and network"
    if not shutil.which("bwrap"):
        return False, "bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap): submissions see this disk"
    try:
        with Student(Limits(), [], preload=()) as student:
            student.start()
    except GoneError:
        last = student.printed.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        return (
            False,
            f"bubblewrap does not work here ({last[0][:200]}): submissions see this machine's files and network",
        )
    return True, "bubblewrap: own files, own processes, no network"


def bubblewrap(stage: Path, folder: Path | None, limits: Limits) -> list[str]:
    """Return the command line up to the program."""
    words = [
        shutil.which("bwrap") or "bwrap",
        "--die-with-parent",
        "--new-session",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
    ]
    words += ["--unshare-uts", "--unshare-cgroup-try", "--hostname", "grader"]
    if os.geteuid() == 0:  # the program itself changes to a user who owns nothing
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        words += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    # before what follows: a book that lies in /tmp itself must not be hidden by it
    words += ["--perms", "1777", "--size", str(limits.disk_bytes), "--tmpfs", "/tmp"]
    seen = {Path("/tmp")}
    for path in system_paths():
        if path.is_symlink() and path.parent == Path("/"):
            words += ["--symlink", os.readlink(path), str(path)]
        elif path not in seen:
            for parent in reversed(path.parents[:-1]):  # bubblewrap would make them for root alone
                words += ["--perms", "0755", "--dir", str(parent)] if parent not in seen else []
                seen.add(parent)
            words += ["--ro-bind", str(path), str(path)]
        seen.add(path)
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--ro-bind", str(stage), "/grader"]
    if folder:
        words += ["--ro-bind", str(folder), "/submission"]
    for place in ("/dev", "/"):  # where bubblewrap would let this user write without a limit
        words += ["--remount-ro", place]
    words += ["--chdir", "/submission" if folder else "/tmp", "--clearenv"]
    for name, value in environment("/tmp").items():
        words += ["--setenv", name, value]
    return [*words, "--"]


def system_paths() -> list[Path]:
    """Return what Python needs to run, and nothing that a teacher keeps."""
    paths = [Path(name) for name in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")]
    paths += [
        Path("/etc") / name for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives")
    ]
    needed = [Path(sys.base_prefix), *packages()]
    paths += [path for path in needed if not path.is_relative_to("/usr")]
    return [path for path in paths if path.exists()]


def packages() -> list[Path]:
    """Return the folders that installed packages lie in."""
    return [Path(entry).resolve() for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]


def environment(home: str) -> dict[str, str]:
    """Return all that the student's process knows of the outside."""
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    return {
        "PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "USER": "student", "LOGNAME": "student",
        "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "MPLBACKEND": "agg", **one_thread,
    }  # fmt: skip


class Student:
    """One running copy of inside.py with the cells of a submission; a context manager that leaves nothing running.

    cells: (number, source) in order; preload: libraries imported before
    the clock starts; folder: the student's own files, of which the process gets a copy; checks: by the number of a
    cell, the names that are asked for as they are after it.
    """

    def __init__(
        self,
        limits: Limits,
        cells: list[tuple[int, str]],
        preload: tuple[str, ...] = ("torch",),
        folder: Path | None = None,
        sandboxed: bool = True,
        slot: int = 0,
        checks: dict[int, list[str]] | None = None,
    ):
        self.limits, self.sandboxed = limits, sandboxed
        self.printed, self.why = b"", None
        self.printed_bytes = 0
        self._pending, self._ready = b"", False
        self._room = tempfile.TemporaryDirectory(prefix="grading-", ignore_cleanup_errors=True)
        room = Path(self._room.name).resolve()
        stage = staged(room / "programs")
        copy = copied(folder, room / "folder") if folder else None
        uid = FIRST_UID + (os.getpid() * 7 + slot) % 2000 if sandboxed or open_to_all(sys.base_prefix) else None
        program = "/grader" if sandboxed else str(stage)
        roots = [program, *map(str, packages())]
        command = [str(Path(sys.base_prefix) / "bin" / Path(sys.executable).resolve().name), "-I", "-S", "-B"]
        if not Path(command[0]).exists():
            command[0] = str(Path(sys.executable).resolve())
        command.append(f"{program}/inside.py")
        options: dict = dict(cwd=copy or room, env=environment(str(room)), start_new_session=True)
        if sandboxed:
            command, options = bubblewrap(stage, copy, limits) + command, dict(cwd="/", env=environment("/"))
        else:
            (room / "tmp").mkdir()
            options["env"]["TMPDIR"] = options["env"]["HOME"] = str(room / "tmp")
            if os.geteuid() == 0 and uid:
                for path in (room, room / "tmp"):
                    os.chown(path, uid, uid)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, **options)
        self._answers = selectors.DefaultSelector()
        os.set_blocking(self.process.stdout.fileno(), False)
        self._answers.register(self.process.stdout, selectors.EVENT_READ)
        self._listeners = [threading.Thread(target=work, daemon=True) for work in (self._count_output, self._watch)]
        for listener in self._listeners:
            listener.start()
        resources = {
            "RLIMIT_CPU": int(limits.seconds) + 30, "RLIMIT_FSIZE": limits.file_bytes, "RLIMIT_NOFILE": 256,
            "RLIMIT_CORE": 0, "RLIMIT_DATA": limits.memory, "RLIMIT_NPROC": limits.processes,
        }  # fmt: skip
        if not sandboxed and not (uid and os.geteuid() == 0):  # here the limit would count what else the teacher runs
            resources.pop("RLIMIT_NPROC")
        told = {"resources": resources, "uid": uid, "cell_seconds": limits.cell_seconds}
        told |= {"call_seconds": limits.call_seconds, "own_processes": sandboxed}
        job = {"limits": told, "path": roots, "preload": list(preload), "cells": cells}
        job["checks"] = list((checks or {}).items())
        self._job = json.dumps(job).encode() + b"\n"

    def __enter__(self) -> "Student":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop("closed")
        self.process.wait()
        for listener in self._listeners:
            listener.join(5)
        self._answers.close()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                stream.close()
        self._room.cleanup()

    def start(self) -> None:
        """Wait until the cells are about to run. Raises GoneError."""
        self._say(self._job)
        if not self._hear(self.limits.start_seconds, "start").get("ready"):
            raise self._gone("noise")
        self._ready = True

    def hear(self) -> dict:
        """Return the next message. Raises GoneError where none comes in time."""
        return self._hear(self.limits.wall_seconds)

    def ask(self, adapter: str, name: str, args: list) -> dict:
        """Return {"value": plain data} or {"problem": ...} for one call. Raises GoneError."""
        question = {"adapter": adapter, "name": name, "args": [plain.dumps(arg) for arg in args]}
        self._say(json.dumps(question).encode() + b"\n")
        return self._hear(self.limits.wall_seconds)

    def stop(self, why: str) -> None:
        """Kill everything; the first reason is the one that counts."""
        self.why = self.why or why
        family = descendants(self.process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.sandboxed:
                self.process.kill()  # with it goes the first process of its name space, and so all others
            else:
                os.killpg(self.process.pid, signal.SIGKILL)
        for pid in family:  # also where bubblewrap was still at work
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _gone(self, why: str) -> GoneError:
        self.stop(why)
        self.process.wait()
        return GoneError(self.why)

    def _say(self, line: bytes) -> None:
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
        except OSError:
            raise self._gone("ended") from None

    def _hear(self, seconds: float, late: str = "time") -> dict:
        end = time.monotonic() + seconds
        while b"\n" not in self._pending:
            if not self._answers.select(max(0.0, end - time.monotonic())):
                raise self._gone(late)
            chunk = self.process.stdout.read(1 << 20)
            if chunk is None:
                continue
            if not chunk:
                time.sleep(0.02)  # a watchman may be about to say why
                raise self._gone("ended")
            self._pending += chunk
            if len(self._pending) > self.limits.answer_bytes:
                raise self._gone("noise")
        line, self._pending = self._pending.split(b"\n", 1)
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise self._gone("noise")
        return message

    def _count_output(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self.process.stderr.fileno(), 1 << 16):
                self.printed_bytes += len(chunk)
                self.printed = (self.printed + chunk)[-2000:]
                if self.printed_bytes > self.limits.printed_bytes:
                    return self.stop("output")

    def _watch(self) -> None:
        """Stop what uses too much memory, too many processes or too many files, all processes together."""
        while self.process.poll() is None and self.why is None:
            family = descendants(self.process.pid)
            if len(family) > self.limits.processes * 0.6:
                return self.stop("processes")
            if sum(map(resident, family)) > self.limits.memory:
                return self.stop("memory")
            if self.sandboxed and self._ready and family and files_in(family[-1]) > self.limits.files:
                return self.stop("files")
            time.sleep(0.05)


def staged(folder: Path) -> Path:
    """Return a folder with the programs of the sandbox and what there is of vgglib: no answer to anything."""
    for name in PROGRAMS:
        lay(HERE / name, folder / name)
    for name in ("__init__.py", "teaching.py", "exercises/__init__.py"):
        lay(VGGLIB / name, folder / "vgglib" / name)
    for name in CHECKS:
        path = folder / "vgglib" / "exercises" / name
        path.write_text(without_checks((VGGLIB / "exercises" / name).read_text(encoding="utf-8")), encoding="utf-8")
        os.chmod(path, 0o644)
    return folder


@functools.cache
def without_checks(source: str) -> str:
    """Return a module of exercises in which no check does anything: they hold examples with their answers."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body
                 if not (isinstance(node, ast.FunctionDef) and node.name.startswith(("check_", "_")))]  # fmt: skip
    return ast.unparse(tree) + NO_CHECKS


def open_to_all(path: str) -> bool:
    """Return whether every user may go to a folder."""
    return all(part.stat().st_mode & 1 for part in [Path(path), *Path(path).parents])


def lay(source: Path, target: Path) -> None:
    """Copy a file so that everybody may read it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, 0o644)
    for folder in target.parents[:2]:
        os.chmod(folder, 0o755)


def copied(folder: Path, target: Path) -> Path:
    """Return a copy of the student's own files: plain files only, no links, at most 20 MiB."""
    target.mkdir()
    budget = 20 * MIB
    for path in sorted(folder.rglob("*"))[:500]:
        if path.is_symlink() or not path.is_file() or any(parent.is_symlink() for parent in path.parents):
            continue
        budget -= path.stat().st_size
        if budget < 0:
            break
        to = target / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    for path in [target, *target.rglob("*")]:
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    return target


def descendants(pid: int) -> list[int]:
    """Return the processes below one, oldest first; empty where the machine does not say."""
    found, waiting = [], [pid]
    while waiting and len(found) < 500:
        parent = waiting.pop()
        with contextlib.suppress(OSError, ValueError):
            for task in os.listdir(f"/proc/{parent}/task"):
                children = list(map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split()))
                found += children
                waiting += children
    return found


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def files_in(pid: int) -> int:
    """Return how many files lie in the /tmp of a process."""
    with contextlib.suppress(OSError):
        room = os.statvfs(f"/proc/{pid}/root/tmp")
        return room.f_files - room.f_ffree
    return 0
