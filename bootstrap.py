"""Set the book up and run it: `make lab` calls `python3 bootstrap.py lab`; on Windows type `py bootstrap.py lab`.

Standard library only, and in words that any Python from 2.7 on can parse: an old one then gets a sentence instead
of a SyntaxError. `setup` makes .venv, installs requirements.txt and vgglib into it, and extracts the data; a stamp in
.venv remembers for which files that was done, so that a second run starts at once.
"""
# ruff: noqa: UP032, UP036, RUF005

import ast
import contextlib
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
DATA = os.environ.get("VGGLIB_DATA") or os.path.join(ROOT, "data")
FIRST_PAGE = "notebooks/00_start_here.ipynb"
WINDOWS = os.name == "nt"
LINUX = sys.platform.startswith("linux")
DISK_GB = 9 if LINUX else 3  # on Linux torch brings the CUDA libraries: 6 GB installed, 3 GB while installing
DOWNLOAD_GB = 3 if LINUX else 0.5

VERBS = [
    ("help", "this list"),
    ("lab", "open the book in JupyterLab (PORT=8888)"),
    ("test", 'everything that CI runs (ARGS="tests/test_model.py -x" goes to pytest)'),
    ("setup", "only make .venv, install the packages and extract the data; also repairs"),
    ("data", "verify and extract Fashion-MNIST"),
    ("doctor", "say what works here, what does not, and the remedy"),
    ("lint", "ruff: check and format --check"),
    ("notebooks", "execute the notebooks again and write them back (NB=02 for some of them)"),
    ("assignments", "write the students' editions of the assignments, by nbgrader"),
    ("grade", "grade a folder of submissions (SUBMISSIONS=folder ASSIGNMENT=01 INTO=folder)"),
    ("bench", "run tests/benchmarks/bench_*.py"),
    ("faults", "kill, fill, truncate and flip a thousand times what training must survive (10 minutes)"),
    ("clean", "remove .venv, caches and extracted data; keeps runs/"),
]
SETTINGS = ("ARGS", "PORT", "NB", "SUBMISSIONS", "ASSIGNMENT", "INTO")  # NAME=value, as for make
TEACHING = os.path.join("notebooks", "assignments")
TEACHERS = ("test", "assignments", "grade")  # the verbs that need what teachers need: the tests test it, too


class Problem(Exception):
    """Something that the reader can repair; its text says how."""


def say(text):
    """Print one line at once, whatever the console's encoding."""
    if not isinstance(text, bytes):  # bytes are Python 2's text
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        text = text.encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def command(verb):
    """What the reader types for a verb on this system."""
    return ("py bootstrap.py " if WINDOWS else "make ") + verb


# ---------------------------------------------------------------- a suitable Python


def too_old(path, version, verb):
    """The sentence for a Python below 3.11."""
    choose = "py -3.12 bootstrap.py " + verb if WINDOWS else "make {} PYTHON=python3.12".format(verb)
    return (
        "This book needs Python 3.11 or newer; this is {} ({}). "
        "Install a newer one from python.org, or say which to use: {}".format(version, path, choose)
    )


def newer_python():
    """The first command on PATH that runs Python 3.11 or newer, and its version; None if there is none."""
    names = ["3.14", "3.13", "3.12", "3.11"]
    tries = [["py", "-" + name] for name in names] if WINDOWS else [["python" + name] for name in names]
    for words in tries + [[venv_python()]]:
        version = python_version(words)
        if version and version >= (3, 11):
            return words, ".".join(map(str, version))
    return None


def python_version(words):
    """(3, 12, 1) for a command that runs Python, None for one that does not run."""
    code = "import sys; print('%d %d %d' % sys.version_info[:3])"
    try:
        with open(os.devnull) as nothing:
            process = subprocess.Popen(
                words + ["-c", code], stdin=nothing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env()
            )
            out = process.communicate()[0].decode("ascii", "replace")
    except OSError:
        return None
    return tuple(map(int, out.split())) if process.returncode == 0 and out.strip() else None


def hand_over_if_old(verb):
    """Run again under a newer Python if this one is too old; raise Problem if there is none."""
    if sys.version_info >= (3, 11):
        return
    version = ".".join(map(str, sys.version_info[:3]))
    found = None if os.environ.get("PYTHON") else newer_python()
    if found is None:
        raise Problem(too_old(sys.executable, version, verb))
    say("This is Python {}, too old for the book; using {} ({}).".format(version, " ".join(found[0]), found[1]))
    raise SystemExit(subprocess.call(found[0] + [os.path.abspath(__file__)] + sys.argv[1:]))


# ---------------------------------------------------------------- the virtual environment


def venv_python():
    """The path of .venv's Python."""
    return os.path.join(VENV, "Scripts", "python.exe") if WINDOWS else os.path.join(VENV, "bin", "python")


def clean_env():
    """The environment for what we start: .venv first, nothing of another Python's."""
    drop = ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
    drop += ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON") + SETTINGS  # what was said to us is done by us
    env = {key: value for key, value in os.environ.items() if key not in drop}
    env["PATH"] = os.path.dirname(venv_python()) + os.pathsep + env.get("PATH", os.defpath)
    env["VIRTUAL_ENV"] = VENV
    env["PIP_USER"] = "0"  # also where pip.conf says otherwise
    return env


def words_of(text):
    """The words of one line, quoted as in a shell; on Windows a backslash is a part of a path."""
    words = shlex.split(text, posix=not WINDOWS)
    return [word.strip("\"'") for word in words] if WINDOWS else words


def run(*words):
    """The exit status of .venv's Python with these arguments, run in the repository."""
    process = subprocess.Popen([venv_python()] + list(words), cwd=ROOT, env=clean_env())
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            status = process.wait()
            return status if status >= 0 else 128 - status
        except KeyboardInterrupt:  # the child got Ctrl-C as well, and decides
            continue


def venv_fault():
    """Why .venv cannot be used and must be made again; None if it can."""
    asked = sys.version_info[:2] if os.environ.get("PYTHON") else None
    version = python_version([venv_python()])
    if version is None:
        return "its Python is gone or half made"
    if version < (3, 11) or (asked and version[:2] != asked):
        return "it is Python {}.{}, and Python {}.{} is to be used".format(*(version[:2] + sys.version_info[:2]))
    home = made_at()
    if home and not (os.path.exists(home) and os.path.samefile(home, VENV)):
        return "this folder was moved or copied from {}".format(os.path.dirname(home))
    if subprocess.call([venv_python(), "-c", "import pip"], stderr=subprocess.PIPE, env=clean_env()):
        return "it has no pip"
    return None


def made_at():
    """The path that .venv had when it was made, as its pyvenv.cfg says; None if it does not say."""
    try:
        with open(os.path.join(VENV, "pyvenv.cfg"), encoding="utf-8") as file:
            found = re.search(r"^command = .* -m venv (?:--\S+ )*(.+)$", file.read(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return found.group(1).strip() if found else None


def make_venv(verb):
    """Make .venv, and make it again if it is broken."""
    if os.path.exists(os.path.join(VENV, "pyvenv.cfg")) or os.path.lexists(venv_python()):
        fault = venv_fault()
        if fault is None:
            return
        say("Making .venv again: {}.".format(fault))
        empty_venv()
    base = getattr(sys, "_base_executable", None) or sys.executable  # not the Python of a .venv we have just emptied
    words = [base, "-m", "venv", VENV]
    process = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=clean_env())
    if process.returncode:
        out = process.stdout.decode("utf-8", "replace")
        empty_venv()
        if "ensurepip" in out and not WINDOWS:
            name = "python{}.{}-venv".format(*sys.version_info[:2])
            raise Problem(
                "Python at {} cannot make a virtual environment: ensurepip is missing. Run `sudo apt install {}` "
                "(Debian, Ubuntu), then `{}` again.".format(base, name, command(verb))
            )
        raise Problem(pip_problem(out, verb, "`{}` failed".format(" ".join(words))))


def empty_venv():
    """Remove all of .venv but the lock that we hold."""
    for name in os.listdir(VENV):
        path = os.path.join(VENV, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif name != "bootstrap.lock":
            os.remove(path)


def fingerprint():
    """What .venv was installed for: the two files that list the packages, and its Python."""
    digest = hashlib.sha256(repr(python_version([venv_python()])).encode())
    for name in ("requirements.txt", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def read_stamp(name):
    """The stamp's text; empty if there is none."""
    try:
        with open(os.path.join(VENV, name), encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def write_stamp(name, text):
    """Remember, whole or not at all, for what this step was done."""
    path = os.path.join(VENV, name)
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text + "\n")
    os.replace(path + ".new", path)


class Lock:
    """Held while .venv is changed; the system frees it when its process ends, however it ends."""

    def __init__(self):
        os.makedirs(VENV, exist_ok=True)
        self.file = open(os.path.join(VENV, "bootstrap.lock"), "a+")  # noqa: SIM115

    def __enter__(self):
        waited = False
        while not self.taken():
            if not waited:
                self.file.seek(0)
                say("Another set-up is running here (process {}); waiting for it.".format(self.file.read().strip()))
            waited = True
            time.sleep(0.5)
        self.file.seek(0)
        self.file.truncate()
        self.file.write(str(os.getpid()))
        self.file.flush()
        return self

    def __exit__(self, *error):
        self.file.close()

    def taken(self):
        """Take the lock if it is free; True if we have it. A file system without locks counts as free."""
        try:
            if WINDOWS:
                import msvcrt

                self.file.seek(4096)  # past the text, which others read
                msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.set_inheritable(self.file.fileno(), True)  # if we are killed, a running pip still holds it
        except OSError as error:
            return error.errno not in (11, 13, 35, 36)  # EAGAIN and EDEADLK here, on macOS and on Windows
        return True


# ---------------------------------------------------------------- pip


def install(verb):
    """Install requirements.txt and vgglib into .venv; raise Problem with pip's reason if that fails."""
    options = []
    if not os.path.isdir(site_packages("torch")):
        options = disk_options(verb)
        say("Installing the packages into .venv: about {} GB to download, 1 to 5 minutes.".format(DOWNLOAD_GB))
    else:
        say("Checking the packages in .venv against requirements.txt.")
    with open(os.path.join(VENV, "install.log"), "w", encoding="utf-8") as log:
        if options or not by_uv(["-r", "requirements.txt", "-e", "."], log, verb):
            pip(options + ["--no-compile", "-r", "requirements.txt"], log, verb)
            pip(["--no-deps", "-e", "."], log, verb)
        precompile(log)
    write_stamp("installed.stamp", fingerprint())


# what the book imports, in two parts that take about as long
IMPORTED = [
    ["torch", "torch._dynamo", "torchvision.transforms.v2", "safetensors.torch"],
    [
        "jupyterlab.labapp", "ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.completerlib", "ipywidgets",
        "anywidget", "nbclient", "nbconvert", "nbval.plugin", "xdist.remote", "anyio.pytest_plugin",
        "playwright.sync_api", "matplotlib_inline.backend_inline", "pandas", "sklearn.datasets", "sklearn.linear_model",
    ],
]  # fmt: skip
IMPORT = """
import compileall, importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        print(name, repr(error))
compileall.compile_dir("vgglib", quiet=1)
"""


def precompile(log):
    """Let Python compile what is imported, on two cores: uv does not, and pip all that there is, one after another.

    What is not in IMPORTED is compiled when it is imported; what cannot be imported says so then, and in the log.
    """
    env = {name: value for name, value in clean_env().items() if name != "PYTHONDONTWRITEBYTECODE"}
    log.flush()
    with Heartbeat() as heart:
        heart.beat("  compiling them")
        started = [
            subprocess.Popen(
                [venv_python(), "-c", IMPORT] + names, cwd=ROOT, env=env, stdout=log, stderr=log, close_fds=WINDOWS
            )
            for names in IMPORTED
        ]
        for process in started:
            process.wait()


def install_for_teachers(verb):
    """Install what only grading needs, once; a reader's first run does without."""
    path = os.path.join(ROOT, TEACHING, "requirements.txt")
    if not os.path.exists(path):
        return
    with open(path, "rb") as file:
        wanted = hashlib.sha256(fingerprint().encode() + file.read()).hexdigest()
    if read_stamp("teachers.stamp") != wanted:
        say("Installing what teachers need beside the book.")
        with open(os.path.join(VENV, "install.log"), "a", encoding="utf-8") as log:
            words = ["-r", os.path.join(TEACHING, "requirements.txt")]
            if not by_uv(words, log, verb):
                pip(words, log, verb)
        write_stamp("teachers.stamp", wanted)


def site_packages(name):
    """Where .venv keeps a package."""
    version = python_version([venv_python()]) or sys.version_info
    parts = ["Lib"] if WINDOWS else ["lib", "python{}.{}".format(*version[:2])]
    return os.path.join(VENV, *(parts + ["site-packages", name]))


def disk_options(verb):
    """Options that let pip do with the space there is; raise Problem if the packages will not fit."""
    free = shutil.disk_usage(VENV).free
    if free < DISK_GB * 1e9:
        raise Problem(no_space(verb))
    return ["--no-cache-dir"] if free < (DISK_GB + DOWNLOAD_GB) * 1e9 else []  # the cache holds a copy


def no_space(verb):
    """The sentence for a full disk."""
    return (
        "Not enough disk space for .venv in {}: {:.1f} GB free, the packages need about {} GB. "
        "Free some, or move this folder to a larger disk, then run `{}` again.".format(
            ROOT, shutil.disk_usage(ROOT).free / 1e9, DISK_GB, command(verb)
        )
    )


def pip(words, log, verb):
    """Run pip install; raise Problem with its reason if it fails."""
    start = log.tell()
    if logged(["-m", "pip", "install", "--no-input"] + words, log):
        log.flush()
        with open(log.name, encoding="utf-8") as file:
            file.seek(start)
            raise Problem(pip_problem(file.read(), verb))


def logged(words, log, **settings):
    """The exit status of .venv's Python with these arguments, its words into the log and the steps onto the screen."""
    work = tempfile.mkdtemp(prefix="pip-", dir=VENV)  # not /tmp, which is often a small disk of its own
    env = dict(clean_env(), TMPDIR=work, TEMP=work, TMP=work, PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONUTF8="1")
    process = subprocess.Popen(
        [venv_python()] + words, cwd=ROOT, env=dict(env, **settings), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=WINDOWS,  # elsewhere pip keeps our lock
    )  # fmt: skip
    try:
        with Heartbeat() as heart:
            for line in process.stdout:
                text = line.decode("utf-8", "replace").rstrip()
                log.write(text + "\n")
                heart.beat(step(text))
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


# pip's settings under uv's names, as options and as variables, and those that change no package
UV_OPTIONS = {
    "index-url": "--default-index", "extra-index-url": "--index", "find-links": "--find-links",
    "constraint": "--constraint", "trusted-host": "--allow-insecure-host",
}  # fmt: skip
UV_VARIABLES = {"cert": ["SSL_CERT_FILE"], "proxy": ["HTTPS_PROXY", "HTTP_PROXY"]}
NO_MATTER = [
    "break-system-packages", "cache-dir", "compile", "config-file", "default-timeout", "disable-pip-version-check",
    "no-color", "no-compile", "no-input", "no-python-version-warning", "no-warn-script-location", "progress-bar",
    "quiet", "require-virtualenv", "retries", "root-user-action", "timeout", "user", "verbose",
]  # fmt: skip


def by_uv(words, log, verb):
    """True if uv, which downloads and unpacks on all cores, has installed this; False where pip has to.

    That is where uv cannot be had, where pip is set up in a way that uv does not know, where uv's cache lies on another
    disk, so that it would hold a second copy, and where uv fails: pip then tries, and its reason is the one to read.
    """
    settings = uv_settings(pip_settings())
    if settings is None:
        return False
    try:
        pip(["--no-deps", "--only-binary", ":all:", "uv>=0.9"], log, verb)
    except Problem:
        return False
    if not on_this_disk(uv_cache()):
        return False
    options, variables = settings
    start = ["-m", "uv", "pip", "install", "--python", venv_python(), "--index-strategy", "unsafe-best-match"]
    variables = dict({"UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "60")}, **variables)
    failed = logged(start + options + words, log, **variables)
    if failed:
        say("  uv did not succeed; pip takes over")
    return not failed


def asked(*words):
    """What .venv's Python prints with these arguments; None where it fails."""
    words = [venv_python()] + list(words)
    try:
        process = subprocess.run(words, cwd=ROOT, env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    return None if process.returncode else process.stdout.decode("utf-8", "replace").strip()


def pip_settings():
    """pip's settings for installing, {name: value}: those of its files, then those of the environment."""
    found = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.*)$", asked("-m", "pip", "config", "list") or "", re.M)
    found.sort(key=lambda line: ["global", "install", ":env:"].index(line[0]))  # the last one counts
    try:
        return {name.replace("_", "-"): ast.literal_eval(value) for _, name, value in found}
    except (ValueError, SyntaxError):
        return {"unreadable": "by us"}  # which uv does not know, so that pip installs


def uv_settings(settings):
    """The same for uv, (options, variables of the environment); None if one of them has no counterpart there."""
    options, variables = [], {}
    for name, value in sorted(settings.items()):
        if name in UV_OPTIONS:
            for word in value.split():
                options += [UV_OPTIONS[name], word]
        elif name in UV_VARIABLES:
            variables.update((variable, value) for variable in UV_VARIABLES[name])
        elif name not in NO_MATTER:
            return None
    return options, variables


def uv_cache():
    """The folder that uv keeps, or would keep, its downloads in; None where uv does not run."""
    return asked("-m", "uv", "cache", "dir")


def on_this_disk(path):
    """True if the path is, or would be made, on the disk of .venv."""
    while path and not os.path.exists(path):
        path = os.path.dirname(path)
    return bool(path) and os.stat(path).st_dev == os.stat(VENV).st_dev


def step(line):
    """What to show of a line of uv's or pip's: the large downloads, the installation, a silent network; else None."""
    found = re.search(r"Downloading (\S+?)(?:-\d\S*)? \(([\d.]+) ?([MG]i?)B\)", line)
    if found:
        megabytes = float(found.group(2)) * {"M": 1, "Mi": 1.048576, "G": 1000, "Gi": 1073.741824}[found.group(3)]
        return "  downloading {} ({:.0f} MB)".format(found.group(1), megabytes) if megabytes >= 20 else None
    found = re.match(r"Installing collected packages", line)
    if found and "," in line:
        return "  installing {} packages".format(line.count(",") + 1)
    found = re.match(r"Installed (\d+) packages", line)
    if found:
        return "  installed {} packages".format(found.group(1))
    found = re.search(r"Retry\(total=(\d)", line)
    return "  no answer from the package index, trying again ({} left)".format(found.group(1)) if found else None


class Heartbeat:
    """Says every 20 s that things are still happening while pip is silent."""

    def __enter__(self):
        self.start = self.last = time.monotonic()
        self.done = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.done.set()

    def beat(self, text):
        """Show a step, if there is one."""
        if text:
            self.last = time.monotonic()
            say(text)

    def watch(self):
        """Fill the silences."""
        while not self.done.wait(1):
            if time.monotonic() - self.last > 20:
                self.beat("  ... {:.0f} s".format(time.monotonic() - self.start))


FULL = r"No space left on device|not enough space on the disk|Disk quota exceeded|\[Errno 28\]|\[WinError 112\]"
OFFLINE = (
    r"NewConnectionError|ConnectTimeoutError|ProxyError|NameResolutionError|Max retries exceeded|Read timed out|"
    r"ReadTimeoutError|ProtocolError|SSLError|CERTIFICATE_VERIFY_FAILED|Network is unreachable|getaddrinfo failed|"
    r"Temporary failure in name resolution|Name or service not known|Connection refused|Connection reset"
)


def pip_problem(text, verb, what="pip failed"):
    """One sentence for pip's failure: a full disk, no network, no such package, else pip's own last words."""
    again = command(verb)
    if re.search(FULL, text):
        return no_space(verb)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"error\b", line, re.IGNORECASE)]
    unanswered = [line for line in lines if re.search(OFFLINE, line)]
    missing = re.search(r"No matching distribution found for (\S+)", text)
    if unanswered and (missing or re.search(OFFLINE, "\n".join(errors + lines[-1:]))):
        return (
            "pip could not reach a package index: {}. Check the connection (or the proxy: set HTTPS_PROXY) and run "
            "`{}` again; what was downloaded is kept.".format(reason(unanswered[-1]), again)
        )
    if missing:
        return (
            "pip found no {} for Python {}.{} on this machine ({}). Try another Python, 3.12 for example: {}".format(
                missing.group(1), sys.version_info[0], sys.version_info[1], sys.platform,
                "py -3.12 bootstrap.py " + verb if WINDOWS else again + " PYTHON=python3.12",
            )
        )  # fmt: skip
    last = "\n".join("  " + line for line in (errors or lines)[-4:])
    log = os.path.join(VENV, "install.log")
    return "{}:\n{}\nAll of it is in {}. Repair what it names, then run `{}` again.".format(what, last, log, again)


def reason(line):
    """The innermost error of a line of pip's."""
    named = r"\[(?:Errno|WinError) -?\d+\][^'\")<]+|certificate verify failed|Read timed out"
    return (re.search(named, line) or re.search(OFFLINE, line)).group().strip(" .")


# ---------------------------------------------------------------- the data


def data_stamp():
    """Names, sizes and times of the data files, so that a change of any is noticed."""
    raw = os.path.join(DATA, "FashionMNIST", "raw")
    entries = sorted(os.listdir(raw)) if os.path.isdir(raw) else []
    stats = [(name, os.stat(os.path.join(raw, name))) for name in entries if not name.startswith(".")]
    text = json.dumps([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])
    return hashlib.sha256(text.encode()).hexdigest()


def prepare_data(always=False):
    """Verify and extract the data unless that was done and nothing changed; raise Problem in vgglib's words."""
    if not always and read_stamp("data.stamp") == data_stamp():
        return
    code = "from vgglib import data; data.prepare()"
    process = subprocess.run([venv_python(), "-c", code], cwd=ROOT, env=clean_env(), stderr=subprocess.PIPE)
    if process.returncode:
        lines = process.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise Problem("The data are not ready: {}".format(re.sub(r"^[\w.]+(Error|Exception): ", "", lines[-1])))
    write_stamp("data.stamp", data_stamp())


# ---------------------------------------------------------------- the verbs


def set_up(verb, always=False):
    """Bring .venv up to date."""
    with Lock():
        make_venv(verb)
        if always or read_stamp("installed.stamp") != fingerprint():
            install(verb)
        if verb in TEACHERS:
            install_for_teachers(verb)


def lab(settings):
    """Open JupyterLab on the first page; its exit status."""
    port = port_options(settings.get("PORT"))
    set_up("lab")
    try:
        prepare_data()
    except Problem as problem:
        say("{}\nMost chapters work without; opening the book.".format(problem))
    without_questions()
    say("Starting JupyterLab. The address with its token follows; Ctrl-C here, then y, stops it.")
    words = ["-m", "jupyterlab", "--ServerApp.root_dir=" + ROOT, "--LabApp.default_url=/lab/tree/" + FIRST_PAGE]
    words += ["--ServerApp.ip=127.0.0.1", "--ServerApp.log_level=WARN", "--LabApp.log_level=WARN"]
    words += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    words += ["--PasswordIdentityProvider.hashed_password="]  # with a password of the reader's no address is printed
    os.environ.pop("JUPYTER_TOKEN", None)  # nor with this
    if "OMP_WAIT_POLICY" not in os.environ:
        # torch's threads look less long for work before they sleep: beside other programs, where that takes time from
        # those who have work, training was 2.5 times as fast (two busy cores, 6 pairs: 1.2 to 3.9), alone 4 % slower
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    words += ["--no-browser"] if headless() else []
    words += ["--allow-root"] if not WINDOWS and os.geteuid() == 0 else []
    return run(*(words + port))


def without_questions():
    """Have JupyterLab ask nobody at the first start whether they want its news; their own settings still count."""
    path = os.path.join(VENV, "share", "jupyter", "lab", "settings", "overrides.json")
    with contextlib.suppress(OSError):  # it would ask, no more
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            with open(path, "w", encoding="utf-8") as file:
                file.write('{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}\n')


def headless():
    """True where no browser can be opened, so that the address is only printed."""
    remote = any(os.environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "CI"))
    return remote or (LINUX and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")))


def port_options(text):
    """JupyterLab's options for a port that was asked for; raise Problem if it is taken."""
    if not text:
        return []
    if not re.match(r"[0-9]{1,5}$", text) or int(text) > 65535:
        raise Problem("PORT={} is no port; choose a number from 1024 to 65535: {}".format(text, lab_on(8889)))
    try:
        with socket.socket() as probe:
            if not WINDOWS:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as JupyterLab does
            probe.bind(("127.0.0.1", int(text)))
    except OSError as error:
        why = error.strerror
    else:
        why = None
    if why:
        raise Problem("Port {} is not free ({}). Choose another one: {}".format(text, why, lab_on(int(text) + 1)))
    return ["--ServerApp.port=" + text, "--ServerApp.port_retries=0"]


def lab_on(port):
    """What the reader types for another port."""
    return "{} PORT={}".format(command("lab"), port if port < 65536 else 8888)


def lint():
    """The exit status of ruff, whose findings are printed."""
    return run("-m", "ruff", "check", ".") or run("-m", "ruff", "format", "--check", ".")


def test(settings, words):
    """Everything that CI runs, each part even if the one before fails; 0 if all of it passes."""
    set_up("test")
    prepare_data()
    style = lint()
    words = words_of(settings.get("ARGS", "")) + words
    # as many workers as cores, so one thread each: torch's threads slow down tenfold where they must share cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    tests = run("-m", "pytest", *(pytest_options() + words))
    if style:
        say("ruff found something: see above the tests, and `{}`.".format(command("lint")))
    if tests == 5:
        say("No test was collected: check the names in ARGS.")
    return tests or style


def pytest_options():
    """One pytest process for tests and notebooks, these twice, a file at a time on up to four cores."""
    cores = min(4, os.cpu_count() or 2)
    nbval = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=300", "--twice"]
    share = ["-n", str(cores), "--dist", "loadfile", "--no-loadscope-reorder"]  # in the order of conftest.py
    return nbval + ["--nbval-sanitize-with=tests/nbval_sanitize.cfg"] + share


def bench():
    """Run every benchmark; 0 if each ends well."""
    folder = os.path.join(ROOT, "tests", "benchmarks")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    names = [name for name in names if name.startswith("bench_") and name.endswith(".py")]
    say("{} benchmarks in tests/benchmarks".format(len(names)))
    failed = [name for name in names if run(os.path.join("tests", "benchmarks", name))]
    for name in failed:
        say("failed: tests/benchmarks/" + name)
    return 1 if failed else 0


def assignments(*words):
    """The exit status of the grader's own command line."""
    start = "import sys; sys.path[0] = {!r}; from grading.__main__ import main; sys.exit(main(sys.argv[1:]))"
    return run("-c", start.format(os.path.join(ROOT, TEACHING)), *words)


def grade(settings, words):
    """The exit status of grading; raise Problem if no folder is named."""
    if not settings.get("SUBMISSIONS"):
        raise Problem("Say which folder to grade: {} SUBMISSIONS=path/to/folder".format(command("grade")))
    words = [os.path.abspath(os.path.expanduser(settings["SUBMISSIONS"]))] + words_of(settings.get("ARGS", "")) + words
    words += ["--into", os.path.abspath(os.path.expanduser(settings["INTO"]))] if settings.get("INTO") else []
    words += ["--assignment", settings["ASSIGNMENT"][:2]] if settings.get("ASSIGNMENT") else []
    return assignments("grade", *words)


def faults(words):
    """Cause every fault that training must survive, as often as promised; 0 if all of them are."""
    os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads cannot be forked, and these are killed by the dozen
    os.environ["VGGLIB_FAULTS"] = "all"
    counted = run(os.path.join("tests", "faults.py"), *words)
    names = [os.path.join("tests", "test_" + name + ".py") for name in ("faults", "distributed", "resuming")]
    return run("-m", "pytest", "-v", "--no-header", *names) or counted


def doctor(words):
    """Look at what there is, without installing anything; 0 if nothing fails."""
    if python_version([venv_python()]):
        return run("-m", "vgglib.doctor", *words)
    say(".venv is not there or does not run (`{}` makes it); looking at {}.".format(command("setup"), sys.executable))
    return subprocess.call([sys.executable, "-m", "vgglib.doctor"] + words, cwd=ROOT)


def clean():
    """Remove what can be made again; never runs/."""
    junk = {"__pycache__", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints"}
    built = r"^(build|dist)$|\.egg-info$"
    kept = "runs/"
    if os.path.isdir(VENV):
        cache = uv_cache()
        if cache and os.path.isdir(cache):
            kept += ", and what uv has downloaded in {} (delete that folder to free its space)".format(cache)
        with Lock():  # not while somebody installs
            empty_venv()
        if os.path.islink(VENV):
            os.unlink(VENV)
        else:
            shutil.rmtree(VENV)
    for folder, folders, _ in os.walk(ROOT):
        gone = [name for name in folders if name in junk or (folder == ROOT and re.search(built, name))]
        folders[:] = [name for name in folders if name not in gone and name not in (".git", "runs")]
        for name in gone:
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    shipped = os.path.join(ROOT, "data", "FashionMNIST")
    for path in glob.glob(os.path.join(glob.escape(shipped), "raw", "*-ubyte")):
        os.remove(path)
    shutil.rmtree(os.path.join(shipped, "processed"), ignore_errors=True)
    say("Removed .venv, caches and extracted data. Kept: {}.".format(kept))
    return 0


def show_help():
    """Print the verbs."""
    say("Usage: {}\n".format(command("VERB")))
    for verb, text in VERBS:
        say("  {:12} {}".format(verb, text))
    return 0


def perform(verb, settings, words):
    """The exit status of one verb."""
    if verb == "lab":
        return lab(settings)
    if verb == "test":
        return test(settings, words)
    if verb == "doctor":
        return doctor(words)
    if verb == "clean":
        return clean()
    set_up(verb, always=verb == "setup")
    if verb == "lint":
        return lint()
    if verb == "assignments":
        return assignments("release")
    if verb == "grade":
        return grade(settings, words)
    prepare_data(always=verb in ("setup", "data"))
    if verb == "notebooks":
        return run(os.path.join("tests", "execute_notebooks.py"), *(words_of(settings.get("NB", "")) + words))
    if verb == "bench":
        return bench()
    if verb == "faults":
        return faults(words)
    say("Ready: `{}` opens the book.".format(command("lab")))
    return 0


def main(argv):
    """The exit status; argv is a verb, NAME=value settings as for make, and words for pytest."""
    settings = {name: os.environ[name] for name in SETTINGS if name in os.environ}
    named = "({})=".format("|".join(SETTINGS))
    settings.update(word.split("=", 1) for word in argv if re.match(named, word))
    words = [word for word in argv if not re.match(named, word)] or ["help"]
    verb = words.pop(0)
    try:
        if verb not in dict(VERBS):
            raise Problem("There is no verb {!r}; `{}` lists them.".format(verb, command("help")))
        unknown = [word for word in words if re.match(r"[A-Za-z_]+=", word)]
        if unknown:
            raise Problem("There is no setting {}; there are {}.".format(unknown[0], ", ".join(SETTINGS)))
        if verb == "help":
            return show_help()
        hand_over_if_old(verb)
        return perform(verb, settings, words)
    except Problem as problem:
        say(str(problem))
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Run `{}` again to go on; what was downloaded is kept.".format(command(verb)))
        return 130
    except OSError as error:
        if error.errno in (28, 122):  # disk full, quota
            say(no_space(verb))
        else:
            say("{}: {}. Repair that, then run `{}` again.".format(error.filename, error.strerror, command(verb)))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
