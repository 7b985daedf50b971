"""The student's process: runs the cells of one notebook, then answers questions until nobody asks any more.

It starts inside the sandbox and knows no right answer. The first line on its input holds the cells, what they may
use up, and after which cells names are kept for later, since a check stands there; then come questions, one a line, and
one line goes back for each. What the student prints goes to standard error, where the judge counts it and throws it
away. Nothing that comes out of here is trusted: whoever takes this program over can only give answers.
"""

import ast
import builtins
import contextlib
import json
import linecache
import os
import signal
import sys

WATCHED = {
    "open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.symlink", "os.system", "os.exec", "os.fork",
    "os.forkpty", "os.posix_spawn", "os.kill", "os.putenv", "subprocess.Popen", "socket.connect", "socket.getaddrinfo",
    "socket.bind", "urllib.Request", "sys._getframe", "sys.settrace", "sys.setprofile", "sys.addaudithook",
    "gc.get_objects", "gc.get_referrers", "gc.get_referents", "ctypes.dlopen", "shutil.rmtree", "signal.pthread_kill",
    "import",
}  # fmt: skip
WATCHED_IMPORTS = {"inspect", "gc", "ctypes", "socket", "subprocess", "multiprocessing", "pickle", "urllib", "requests"}
MOST_EVENTS = 20


class TooSlow(BaseException):
    """A cell or a call that computed for longer than it may; no Exception, so that a bare handler does not keep it."""


def confine(limits: dict) -> None:
    """Give up what this process does not need, for good."""
    import resource

    for name, value in limits["resources"].items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (value, value))
    with contextlib.suppress(OSError):
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if memory runs out, this goes first
    if limits.get("uid") and os.getuid() == 0:
        os.setgroups([])
        os.setgid(limits["uid"])
        os.setuid(limits["uid"])


def main() -> None:
    """Run the cells, then answer."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    job = json.loads(questions.readline())
    confine(job["limits"])
    sys.path[:0] = job["path"]
    sys.argv = ["notebook"]
    import adapters
    import magics
    import plain

    def say(message: dict) -> None:
        answers.write(json.dumps(message).encode("ascii", "replace") + b"\n")
        answers.flush()

    for name in job["preload"]:
        __import__(name)
    seed()
    signal.signal(signal.SIGPROF, stop)
    events = watch()
    say({"ready": True})
    names, checks, checked, attempted = namespace(), dict(job["checks"]), {}, adapters.attempted
    for number, source in job["cells"]:
        say({"cell": number})
        problem = run(source, number, names, job["limits"]["cell_seconds"], magics.without_magics)
        alone(job["limits"])
        for name in checks.get(number, []):
            if attempted(names.get(name)):
                checked[name] = {key: value for key, value in names.items() if attempted(value)}
        say({"done": number, "problem": problem, "events": take(events)})
    changed = [name for name, then in checked.items() if names.get(name) is not then[name]]
    say({"defined": sorted(name for name in names if type(name) is str and len(name) < 60)[:400], "changed": changed})
    end, current = names.copy(), None
    for line in questions:
        question = json.loads(line)
        if question["name"] != current:
            current = question["name"]
            names.update(end)
            names.update(checked.get(current, {}))
        args = [adapters.ready(plain.loads(arg)) for arg in question["args"]]
        answer = reply(adapters.ADAPTERS[question["adapter"]], names, question["name"], args, job["limits"], plain)
        alone(job["limits"])
        say({**answer, "events": take(events)})


def alone(limits: dict, kill: object = os.kill, own: int = signal.SIGKILL) -> None:
    """End whatever the student's code left running, so that it cannot disturb what comes next."""
    if limits["own_processes"]:
        with contextlib.suppress(OSError):
            kill(-1, own)  # all that this user may kill, but for this process


def seed() -> None:
    """Make chance the same in every run."""
    import random

    random.seed(0)
    for name, sow in (("numpy", lambda m: m.random.seed(0)), ("torch", lambda m: m.manual_seed(0))):
        if name in sys.modules:
            sow(sys.modules[name])


def namespace() -> dict:
    """What a notebook's cells start from, with the few names of IPython that occur in them."""
    return {"__name__": "__main__", "__builtins__": builtins, "display": lambda *things, **options: None}


def stop(*_: object) -> None:
    raise TooSlow


def run(source: str, number: int, names: dict, seconds: float, plainly: object = str) -> dict | None:
    """Run one cell, made plain Python where it is not; what went wrong, or None."""
    file = f"<cell {number}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    signal.setitimer(signal.ITIMER_PROF, seconds, 0.5)
    try:
        try:
            tree = ast.parse(source, file)
        except SyntaxError:
            source = plainly(source)
            linecache.cache[file] = (len(source), None, source.splitlines(True), file)
            tree = ast.parse(source, file)
        exec(compile(tree, file, "exec"), names)
    except TooSlow:
        return {"kind": "TooSlow", "line": 0, "text": ""}
    except BaseException as error:
        return described(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def reply(adapter: object, names: dict, name: str, args: list, limits: dict, plain: object) -> dict:
    """Ask the student's function; the answer as plain data, or the problem."""
    signal.setitimer(signal.ITIMER_PROF, limits["call_seconds"], 0.5)
    try:
        try:
            return {"value": plain.dumps(adapter(names, name, args))}
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except TooSlow:
        return {"problem": {"kind": "TooSlow", "line": 0, "text": ""}}
    except plain.NotPlainError as error:
        return {"problem": {"kind": "NotPlain", "line": 0, "text": str(error)}}
    except BaseException as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        return {"problem": described(error)}


def described(error: BaseException) -> dict:
    """Kind, line of the student's cell and text of an error; no more than the judge may repeat."""
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else "ModuleNotFoundError" if kind is ImportError else "own"
    line, file, trace = 0, "", error.__traceback__
    if isinstance(error, SyntaxError) and str(error.filename).startswith("<cell"):
        line, file = error.lineno or 0, error.filename
    while trace is not None:
        where = trace.tb_frame.f_code.co_filename
        if where.startswith("<cell "):
            line, file = trace.tb_lineno, where
        trace = trace.tb_next
    source = linecache.cache.get(file, (0, None, [], ""))[2]
    code = source[line - 1].strip()[:120] if 0 < line <= len(source) else ""
    try:
        text = (error.msg if isinstance(error, SyntaxError) else str(error))[:300]
    except BaseException:
        text = ""
    return {"kind": name, "line": line, "code": code, "text": text if isinstance(text, str) else ""}


def watch() -> list[str]:
    """Write down what the student's own lines try, as opposed to the libraries that they import."""
    events: list[str] = []
    look, busy = sys._getframe, [False]

    def hook(event: str, arguments: tuple) -> None:
        if event not in WATCHED or busy[0] or len(events) >= MOST_EVENTS:
            return
        if event == "import" and str(arguments[0]).partition(".")[0] not in WATCHED_IMPORTS:
            return
        busy[0] = True  # looking at frames is itself an event
        try:
            if from_a_cell(look(1), direct=event in ("import", "sys._getframe")):
                what = arguments[0] if arguments else ""
                what = what.decode("utf-8", "replace") if isinstance(what, bytes) else what
                events.append(f"{event} {what[:80] if isinstance(what, str) else ''}".strip())
        finally:
            busy[0] = False

    sys.addaudithook(hook)
    return events


def from_a_cell(frame: object, direct: bool) -> bool:
    """Whether the student's code, and no import, led here; direct: without any library in between."""
    for _ in range(15):
        if frame is None or frame.f_code.co_filename.startswith("<frozen importlib"):
            return False
        if frame.f_code.co_filename.startswith("<cell "):
            return True
        if direct:
            return False
        frame = frame.f_back
    return False


def take(events: list[str]) -> list[str]:
    """Return the events so far and forget them."""
    found = events[:MOST_EVENTS]
    events.clear()
    return found


if __name__ == "__main__":
    main()
