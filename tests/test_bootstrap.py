"""bootstrap.py under every fault that a first run meets. Nothing is installed: a stand-in plays pip."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import bootstrap

SOURCE = Path(bootstrap.__file__)
REPOSITORY = SOURCE.parent
PYENV = Path.home() / ".pyenv" / "versions"

# plays pip: appends to calls, prints what the file `says` holds, ends with the status in the file `ends`
PIP = """
import pathlib, sys, time
here = pathlib.Path(__file__).parent
with open(here / "calls", "a", encoding="utf-8") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
for name in ("says", "ends", "sleeps"):
    if (here / name).exists():
        text = (here / name).read_text(encoding="utf-8")
        if name == "says":
            print(text, flush=True)
        elif name == "ends":
            sys.exit(int(text))
        elif "requirements.txt" in sys.argv:
            time.sleep(float(text))
"""

REFUSED = """Looking in indexes: https://index.invalid/simple
WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection broken by \
'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f136e2b2750>: Failed to establish \
a new connection: [Errno 111] Connection refused')': /simple/torch/
ERROR: Could not find a version that satisfies the requirement torch>=2.10 (from versions: none)
ERROR: No matching distribution found for torch>=2.10"""
PROXY = REFUSED.replace("'NewConnectionError(", "'ProxyError('Cannot connect to proxy.', NewConnectionError(")
TIMED_OUT = """ERROR: Exception:
Traceback (most recent call last):
pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(host='files.invalid', port=443): Read timed out.
"""
FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
TOO_NEW = """ERROR: Could not find a version that satisfies the requirement torch>=2.10 (from versions: none)
ERROR: No matching distribution found for torch>=2.10"""
OTHER = """Collecting gym
  error: subprocess-exited-with-error
ERROR: Failed building wheel for gym"""
NO_ENSUREPIP = """The virtual environment was not created successfully because ensurepip is not
available.  On Debian/Ubuntu systems, you need to install the python3-venv
package using the following command.

    apt install python3.11-venv"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A small repository in a folder with spaces and other letters; bootstrap works on it, .venv ready but empty."""
    root = tmp_path / "Übung 图 1"
    return furnish(root, monkeypatch)


def furnish(root, monkeypatch):
    """Fill the folder and point bootstrap at it."""
    (root / "vgglib").mkdir(parents=True)
    (root / "vgglib" / "__init__.py").touch()
    (root / "vgglib" / "data.py").write_text("def prepare(): open('prepared', 'a').write('.')\n")
    (root / "data" / "FashionMNIST" / "raw").mkdir(parents=True)
    (root / "requirements.txt").write_text("torch>=2.10\n")
    (root / "pyproject.toml").write_text("[project]\n")
    shutil.copy(SOURCE, root)
    point(root, monkeypatch)
    make_venv(root)
    return root


def point(root, monkeypatch):
    """Let bootstrap work on this folder."""
    for name in ("PYTHON", "ARGS", "PORT", "NB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bootstrap, "ROOT", str(root))
    monkeypatch.setattr(bootstrap, "VENV", str(root / ".venv"))
    monkeypatch.setattr(bootstrap, "DATA", str(root / "data"))
    monkeypatch.setattr(bootstrap, "DISK_GB", 0)


def make_venv(root):
    """A true .venv with the stand-in for pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
    pip_folder(root).mkdir()
    (pip_folder(root) / "__init__.py").touch()
    (pip_folder(root) / "__main__.py").write_text(PIP)


def pip_folder(root):
    """Where the stand-in lies."""
    parts = ["Lib"] if os.name == "nt" else ["lib", "python{}.{}".format(*sys.version_info)]
    return root.joinpath(".venv", *parts, "site-packages", "pip")


def calls(root):
    """How often pip was called to install what the book needs: uv and pip's settings do not count."""
    lines = said_to(pip_folder(root))
    return sum(line.startswith("install") and "uv>=" not in line for line in lines)


def said_to(folder):
    """With which words a stand-in was called."""
    file = folder / "calls"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def have_uv(root, cache, ends=0):
    """Lay a stand-in for uv beside pip's; it keeps its cache there, and ends like this when it installs."""
    uv = pip_folder(root).with_name("uv")
    uv.mkdir()
    (uv / "__init__.py").touch()
    (uv / "says").write_text("error: No solution found\n" if ends else " + torch==2.15.0\n")
    (uv / "ends").write_text(str(ends))
    (uv / "__main__.py").write_text(f"import sys\nif 'cache' in sys.argv: sys.exit(print({str(cache)!r}))\n{PIP}")
    return uv


def let_pip(root, says="", ends=1):
    """Make the next pip print this and fail."""
    (pip_folder(root) / "says").write_text(says, encoding="utf-8")
    (pip_folder(root) / "ends").write_text(str(ends))


def base_python(folder, text):
    """A script that plays the Python with which .venv is made."""
    script = folder / "base-python"
    script.write_text("#!/bin/sh\n" + text)
    script.chmod(0o755)
    return str(script)


posix = pytest.mark.skipif(os.name == "nt", reason="uses shell scripts and signals")


# ---------------------------------------------------------------- Python


def test_source_has_no_words_that_python_2_cannot_parse():
    tree = ast.parse(SOURCE.read_text(encoding="ascii"), feature_version=(3, 7))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Nonlocal, ast.AsyncFunctionDef, ast.Match, ast.YieldFrom)
    for node in ast.walk(tree):
        assert not isinstance(node, new), f"line {node.lineno}"
        assert not (isinstance(node, ast.Raise) and node.cause), f"line {node.lineno}: raise ... from"
        assert not (isinstance(node, (ast.List, ast.Tuple)) and any(isinstance(e, ast.Starred) for e in node.elts))
        if isinstance(node, ast.FunctionDef):
            assert not node.returns
            assert not node.args.kwonlyargs
            assert not any(argument.annotation for argument in node.args.args)


@posix
@pytest.mark.parametrize("version", ["2.7.18", "3.6.15", "3.10.13"])
def test_old_python_gets_one_sentence(version, tmp_path):
    python = PYENV / version / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no Python {version} here")
    shutil.copy(SOURCE, tmp_path)
    words = [python, "-B", tmp_path / "bootstrap.py", "lab"]
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout == (
        f"This book needs Python 3.11 or newer; this is {version} ({python}). Install a newer one from python.org, "
        "or say which to use: make lab PYTHON=python3.12\n"
    )


@posix
def test_old_python_hands_over_to_a_newer_one(tmp_path, capfd, monkeypatch):
    monkeypatch.delenv("PYTHON", raising=False)
    for name, text in {"python3.14": "exit 127", "python3.13": f'exec "{sys.executable}" "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", "lab", "PORT=99999"])
    with pytest.raises(SystemExit, match="1"):
        bootstrap.hand_over_if_old("lab")
    out = capfd.readouterr().out
    assert "using python3.13" in out
    assert "PORT=99999 is no port" in out


def test_a_python_that_was_asked_for_is_not_replaced(book, monkeypatch):
    monkeypatch.setenv("PYTHON", "python3.10")
    monkeypatch.setattr(sys, "version_info", (3, 10, 13))
    with pytest.raises(bootstrap.Problem, match=r"needs Python 3\.11 or newer; this is 3\.10\.13"):
        bootstrap.hand_over_if_old("test")


# ---------------------------------------------------------------- installing


def test_second_run_calls_no_pip(book, capfd):
    assert bootstrap.main(["setup"]) == 0
    assert calls(book) == 2
    assert bootstrap.main(["data"]) == 0
    assert calls(book) == 2
    assert (book / "prepared").read_text() == ".."
    assert "Ready" in capfd.readouterr().out


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_changed_file_installs_again(name, book):
    assert bootstrap.main(["setup"]) == 0
    with open(book / name, "a") as file:
        file.write("# more\n")
    assert bootstrap.main(["data"]) == 0
    assert calls(book) == 4


def test_packages_are_compiled(book, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(bootstrap, "IMPORTED", [["broken", "part.used"], ["part"]])
    part = pip_folder(book).parent / "part"
    part.mkdir()
    part.with_name("broken.py").write_text("x = (")
    for name in ("__init__", "used", "unused"):
        (part / f"{name}.py").write_text("x = 1\n")
    assert bootstrap.main(["setup"]) == 0
    assert "--no-compile -r requirements.txt" in (pip_folder(book) / "calls").read_text()
    assert {path.name.partition(".")[0] for path in part.rglob("*.pyc")} == {"__init__", "used"}
    assert len(list((book / "vgglib").rglob("*.pyc"))) == 2
    assert "broken SyntaxError" in (book / ".venv" / "install.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for names in bootstrap.IMPORTED for name in names])
def test_what_is_imported_first_is_there(name):
    top, *inner = name.split(".")
    folder = Path(importlib.util.find_spec(top).origin).parent.joinpath(*inner)  # nothing is imported to look
    assert folder.is_dir() or folder.with_suffix(".py").exists()


def test_setup_repairs_although_nothing_changed(book):
    assert bootstrap.main(["setup"]) == bootstrap.main(["setup"]) == 0
    assert calls(book) == 4


@pytest.mark.parametrize(
    ("says", "sentence"),
    {
        REFUSED: r"reach a package index: \[Errno 111\] Connection refused. Check the connection .*HTTPS_PROXY",
        PROXY: r"could not reach a package index: \[Errno 111\] Connection refused",
        TIMED_OUT: "could not reach a package index: Read timed out",
        FULL: r"Not enough disk space for \.venv in .*GB free, the packages need about",
        TOO_NEW: r"pip found no torch>=2\.10 for Python .* Try another Python",
        OTHER: r"(?s)ERROR: Failed building wheel for gym\nAll of it is in .*install\.log.*Repair what it names",
        REFUSED.split("ERROR")[0] + OTHER: "Failed building wheel",  # the network came back, then something else
    }.items(),
    ids=["refused", "proxy", "timeout", "disk", "too new", "other", "other after a retry"],
)
def test_pip_fails(says, sentence, book, capfd):
    let_pip(book, says)
    assert bootstrap.main(["setup"]) == 1
    out = capfd.readouterr().out
    assert re.search(sentence, out), out
    assert f"`{bootstrap.command('setup')}` again" in out or "PYTHON=" in out or "py -3" in out
    assert says in (book / ".venv" / "install.log").read_text(encoding="utf-8")
    assert not (book / ".venv" / "installed.stamp").exists()
    assert not list((book / ".venv").glob("pip-*"))


def test_uv_installs_and_pip_need_not(book, capfd, monkeypatch):
    monkeypatch.setattr(bootstrap, "pip_settings", lambda: {"index-url": "https://mirror.invalid/simple"})
    uv = have_uv(book, book / "kept" / "uv")
    assert bootstrap.main(["setup"]) == 0
    (words,) = said_to(uv)
    assert words.startswith(f"pip install --python {bootstrap.venv_python()} ")
    assert words.endswith("--default-index https://mirror.invalid/simple -r requirements.txt -e .")
    assert calls(book) == 0
    assert " + torch==2.15.0" in (book / ".venv" / "install.log").read_text(encoding="utf-8")
    assert "pip takes over" not in capfd.readouterr().out


def test_uv_fails_and_pip_takes_over(book, capfd):
    have_uv(book, book, ends=2)
    assert bootstrap.main(["setup"]) == 0
    assert calls(book) == 2
    assert "uv did not succeed; pip takes over" in capfd.readouterr().out


@pytest.mark.parametrize("why", ["little space", "cache on another disk", "a setting that uv does not know"])
def test_uv_is_not_tried(why, book, monkeypatch):
    uv = have_uv(book, book)
    if why == "little space":
        monkeypatch.setattr(bootstrap, "disk_options", lambda verb: ["--no-cache-dir"])
    elif why == "cache on another disk":
        monkeypatch.setattr(bootstrap, "on_this_disk", lambda path: False)
    else:
        monkeypatch.setattr(bootstrap, "pip_settings", lambda: {"target": "elsewhere"})
    assert bootstrap.main(["setup"]) == 0
    assert not said_to(uv)
    assert calls(book) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at Linux's own file systems")
def test_disk_of_a_folder_that_is_not_there_yet(book):
    assert bootstrap.on_this_disk(str(book / "not" / "yet"))
    assert not bootstrap.on_this_disk("/proc/not/yet")
    assert not bootstrap.on_this_disk(None)


def test_settings_of_pip_hold_for_uv(book):
    (pip_folder(book) / "says").write_text(
        """:env:.config-file='/etc/a-school-s-pip.conf'
:env:.constraint='/etc/c.txt'
global.constraint='overridden.txt'
global.extra-index-url='https://a.invalid/simple\\nhttps://b.invalid/simple'
install.find_links='/srv/school/wheels'
global.cert='/etc/ca.pem'
global.timeout='60'
list.format='columns'
""",
        encoding="utf-8",
    )
    (pip_folder(book) / "ends").write_text("0")
    options, variables = bootstrap.uv_settings(bootstrap.pip_settings())
    assert " ".join(options) == (
        "--constraint /etc/c.txt --index https://a.invalid/simple --index https://b.invalid/simple "
        "--find-links /srv/school/wheels"
    )
    assert variables == {"SSL_CERT_FILE": "/etc/ca.pem"}


def test_settings_of_pip_that_cannot_be_read_are_left_to_pip(book):
    (pip_folder(book) / "says").write_text("global.timeout='60'\nglobal.proxy=http://'\n", encoding="utf-8")
    (pip_folder(book) / "ends").write_text("0")
    assert bootstrap.uv_settings(bootstrap.pip_settings()) is None


@pytest.mark.parametrize("name", ["target", "no-index", "only-binary", "pre", "client-cert"])
def test_settings_that_uv_does_not_know(name):
    assert bootstrap.uv_settings({"index-url": "https://mirror.invalid/simple", name: "true"}) is None


def test_failed_install_goes_on_next_time(book):
    let_pip(book, REFUSED)
    assert bootstrap.main(["setup"]) == 1
    let_pip(book, "", ends=0)
    assert bootstrap.main(["data"]) == 0
    assert calls(book) == 3


def test_full_disk_is_seen_before_installing(book, monkeypatch, capfd):
    usage = shutil.disk_usage(book)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2_400_000_000))
    monkeypatch.setattr(bootstrap, "DISK_GB", 8)
    assert bootstrap.main(["lab"]) == 1
    out = capfd.readouterr().out
    assert out.startswith(f"Not enough disk space for .venv in {book}: 2.4 GB free, the packages need about 8 GB.")
    assert calls(book) == 0


def test_little_space_is_enough_without_a_cache(book, monkeypatch):
    usage = shutil.disk_usage(book)
    monkeypatch.setattr(bootstrap, "DISK_GB", 9)
    monkeypatch.setattr(bootstrap, "DOWNLOAD_GB", 3)
    for free, options in {11e9: ["--no-cache-dir"], 13e9: []}.items():
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage._replace(free=int(free)))
        assert bootstrap.disk_options("lab") == options


def test_progress_lines():
    line = "  Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (532.9 MB)"
    assert bootstrap.step(line) == "  downloading torch (533 MB)"
    assert bootstrap.step("Downloading numpy-2.4.6-cp311.whl (16.7 MB)") is None
    assert bootstrap.step("Downloading nvidia-cudnn-cu13 (495.1MiB)") == "  downloading nvidia-cudnn-cu13 (519 MB)"
    assert bootstrap.step("Downloading torch (1.5GiB)") == "  downloading torch (1611 MB)"
    assert bootstrap.step("Downloading pandas (11.8MiB)") is None
    assert bootstrap.step("Installing collected packages: a, b, c") == "  installing 3 packages"
    assert bootstrap.step("Installing collected packages: vgglib") is None
    assert bootstrap.step("Installed 153 packages in 1.21s") == "  installed 153 packages"
    assert "trying again (0 left)" in bootstrap.step(REFUSED.splitlines()[1])


@posix
def test_ctrl_c_leaves_no_stamp(book):
    (pip_folder(book) / "sleeps").write_text("30")
    process = begin_setup(book)
    os.killpg(process.pid, signal.SIGINT)
    out = process.communicate(timeout=20)[0]
    assert process.returncode == 130
    assert "Stopped. Run `make setup` again to go on" in out
    assert not (book / ".venv" / "installed.stamp").exists()
    (pip_folder(book) / "sleeps").unlink()
    assert bootstrap.main(["setup"]) == 0


@posix
def test_setup_waits_for_the_pip_that_a_killed_one_left_behind(book, capfd):
    (pip_folder(book) / "sleeps").write_text("1.5")
    process = begin_setup(book)
    process.kill()
    process.communicate()
    (pip_folder(book) / "sleeps").unlink()
    assert bootstrap.main(["setup"]) == 0
    assert f"Another set-up is running here (process {process.pid}); waiting for it." in capfd.readouterr().out


def begin_setup(root):
    """A set-up in a process of its own, in the midst of pip."""
    code = "import bootstrap, sys; bootstrap.DISK_GB = 0; sys.exit(bootstrap.main(['setup']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: calls(root))
    return process


def wait_for(condition):
    """Return once the condition holds; fail after 20 s."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_second_setup_waits_for_the_first(book, capfd):
    with bootstrap.Lock():
        waiting = threading.Thread(target=bootstrap.main, args=(["setup"],))
        waiting.start()
        time.sleep(0.7)
        assert calls(book) == 0
    waiting.join(timeout=20)
    assert calls(book) == 2
    assert f"Another set-up is running here (process {os.getpid()}); waiting" in capfd.readouterr().out


def test_lock_of_a_dead_process_is_taken_over(book):
    (book / ".venv" / "bootstrap.lock").write_text("999999")
    assert bootstrap.main(["setup"]) == 0


# ---------------------------------------------------------------- .venv


@posix
def test_venv_module_missing(book, monkeypatch, capfd):
    shutil.rmtree(book / ".venv")
    script = base_python(book, f"cat <<'END'\n{NO_ENSUREPIP}\nEND\nexit 1\n")
    monkeypatch.setattr(sys, "_base_executable", script)
    assert bootstrap.main(["lab"]) == 1
    out = capfd.readouterr().out
    name = "python{}.{}-venv".format(*sys.version_info)
    assert out.endswith(
        f"ensurepip is missing. Run `sudo apt install {name}` (Debian, Ubuntu), then `make lab` again.\n"
    )


@posix
@pytest.mark.parametrize(
    ("fault", "why"),
    {
        "python gone": "its Python is gone or half made",
        "no pip": "it has no pip",
        "moved": "this folder was moved or copied from",
        "other python": r"it is Python 3\.\d+, and Python 3\.99 is to be used",
    }.items(),
)
def test_broken_venv_is_made_again(fault, why, book, monkeypatch, capfd):
    assert bootstrap.main(["setup"]) == 0
    if fault == "python gone":
        (book / ".venv" / "bin" / "python").unlink()
        (book / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")
    elif fault == "no pip":
        shutil.rmtree(pip_folder(book))
    elif fault == "moved":
        book = book.rename(book.with_name("elsewhere"))
        point(book, monkeypatch)
    else:
        monkeypatch.setenv("PYTHON", "python3.99")
        monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    make = f'"{sys.executable}" -m venv --without-pip "$3" && cp -r "{book}/pip" "$3"/lib/python3*/site-packages/\n'
    (book / "pip").mkdir()
    (book / "pip" / "__init__.py").touch()
    (book / "pip" / "__main__.py").write_text(PIP)
    monkeypatch.setattr(sys, "_base_executable", base_python(book, make))
    capfd.readouterr()
    assert bootstrap.main(["data"]) == 0
    out = capfd.readouterr().out
    assert re.search(f"^Making .venv again: {why}", out), out
    assert (book / ".venv" / "installed.stamp").exists()


def test_half_made_venv_without_python_is_completed(book, monkeypatch):
    (book / ".venv" / "pyvenv.cfg").unlink()
    shutil.rmtree(Path(bootstrap.venv_python()).parent)
    monkeypatch.setattr(bootstrap, "install", lambda verb: None)
    monkeypatch.setattr(subprocess, "run", lambda words, **options: make_again(book, words))
    bootstrap.set_up("setup")
    assert bootstrap.python_version([bootstrap.venv_python()]) == sys.version_info[:3]


def make_again(root, words):
    """Plays `python -m venv`, but fast."""
    status = subprocess.call([*words[:3], "--without-pip", words[3]])
    return subprocess.CompletedProcess(words, status, b"")


# ---------------------------------------------------------------- data and verbs


def test_damaged_data_speak_for_themselves(book, capfd):
    (book / "vgglib" / "data.py").write_text(
        "class DataError(Exception): pass\ndef prepare(): raise DataError('train.gz is damaged; run \"make data\"')\n"
    )
    assert bootstrap.main(["data"]) == 1
    assert capfd.readouterr().out.endswith('The data are not ready: train.gz is damaged; run "make data"\n')


def test_changed_data_are_looked_at_again(book):
    assert bootstrap.main(["data"]) == 0
    with bootstrap.Lock():
        bootstrap.prepare_data()
    assert (book / "prepared").read_text() == "."
    (book / "data" / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"")
    bootstrap.prepare_data()
    assert (book / "prepared").read_text() == ".."


@pytest.fixture
def started(book, monkeypatch):
    """What bootstrap starts with .venv's Python, after a set-up that is done."""
    started = []
    monkeypatch.setattr(bootstrap, "run", lambda *words: started.append(list(words)) or 0)
    monkeypatch.setattr(bootstrap, "set_up", lambda *words, **options: None)
    monkeypatch.setattr(bootstrap, "prepare_data", lambda **options: None)
    return started


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, None)],
)
def test_threads_in_the_lab_let_other_programs_work_unless_the_reader_says_how(started, monkeypatch, theirs, ours):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    monkeypatch.setattr(os, "environ", {name: os.environ[name] for name in os.environ if name not in names} | theirs)
    assert bootstrap.main(["lab"]) == 0
    assert os.environ.get("GOMP_SPINCOUNT") == ours


def test_lab_opens_the_first_page(started, book, monkeypatch, capfd):
    monkeypatch.setattr(os, "environ", {**os.environ, "CI": "1"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert bootstrap.main(["lab", f"PORT={port}"]) == 0
    (words,) = started
    assert f"--ServerApp.root_dir={book}" in words
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in words
    assert {"--ServerApp.ip=127.0.0.1", "--no-browser", f"--ServerApp.port={port}"} <= set(words)
    assert not any("token" in word for word in words)
    # no password of the reader's, so that Jupyter makes a token and prints it
    assert [word for word in words if "password" in word] == ["--PasswordIdentityProvider.hashed_password="]


@pytest.mark.parametrize(
    ("windows", "words"), [(True, ["tests\\test_model.py", "a b"]), (False, ["teststest_model.py", "a b"])]
)
def test_words_are_those_of_the_systems_own_shell(monkeypatch, windows, words):
    monkeypatch.setattr(bootstrap, "WINDOWS", windows)
    assert bootstrap.words_of('tests\\test_model.py "a b"') == words


def test_taken_port_is_said_before_anything_else(started, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert bootstrap.main(["lab", f"PORT={port}"]) == 1
    assert re.match(
        rf"Port {port} is not free \(.+\)\. Choose another one: .* PORT={port + 1}$", capfd.readouterr().out
    )
    assert started == []


@pytest.mark.parametrize("text", ["http", "-1", "65536", "٣"])
def test_what_is_no_port(text, started, capfd):
    assert bootstrap.main(["lab", f"PORT={text}"]) == 1
    assert f"PORT={text} is no port" in capfd.readouterr().out
    assert started == []


def test_test_runs_all_that_ci_runs(started, monkeypatch):
    monkeypatch.setenv("ARGS", 'tests/test_model.py -k "a or b"')
    assert bootstrap.main(["test", "-x"]) == 0
    assert [words[1] for words in started] == ["ruff", "ruff", "pytest"]
    assert started[2][-4:] == ["tests/test_model.py", "-k", "a or b", "-x"]
    assert {"--nbval", "--nbval-current-env", "--dist", "loadfile", "--no-loadscope-reorder"} <= set(started[2])
    assert any((REPOSITORY / word.partition("=")[2]).is_file() for word in started[2] if "sanitize" in word)


@pytest.mark.parametrize(("style", "tests", "status"), [(0, 0, 0), (1, 0, 1), (0, 2, 2), (1, 2, 2), (0, 5, 5)])
def test_test_ends_with_the_worst_status(style, tests, status, started, monkeypatch, capfd):
    monkeypatch.setattr(bootstrap, "run", lambda *words: {"ruff": style, "pytest": tests}[words[1]])
    assert bootstrap.main(["test"]) == status
    assert ("No test was collected" in capfd.readouterr().out) == (tests == 5)


def test_long_files_go_first(request):
    plugins = [plugin for plugin in request.config.pluginmanager.get_plugins() if hasattr(plugin, "LONG")]
    (shares,) = {tuple(plugin.LONG): plugin for plugin in plugins}.values()
    assert all((REPOSITORY / "tests" / f"test_{name}.py").exists() for name in shares.LONG)
    names = ["tests/test_cost.py", "tests/test_main.py", "tests/test_figures.py", "notebooks/00_start_here.ipynb"]
    items = [SimpleNamespace(path=REPOSITORY / name, number=n) for n in (1, 2) for name in names]
    shares.pytest_collection_modifyitems(items)
    assert [item.path.name for item in items[::2]] == [Path(name).name for name in reversed(names)]
    assert [item.number for item in items] == [1, 2] * 4


def test_clean_keeps_runs_and_the_shipped_data(book):
    raw = book / "data" / "FashionMNIST" / "raw"
    keep = [raw / "t10k-labels-idx1-ubyte.gz", book / "runs" / "__pycache__" / "weights", book / "bootstrap.py"]
    lose = [raw / "t10k-labels-idx1-ubyte", book / "vgglib" / "__pycache__" / "a.pyc", book / "vgglib.egg-info" / "a"]
    for path in keep[:2] + lose:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert bootstrap.main(["clean"]) == 0
    assert all(path.exists() for path in keep)
    assert not any(path.exists() for path in [*lose, book / ".venv"])


def test_clean_says_what_is_kept_elsewhere(book, capfd):
    have_uv(book, book / "kept")
    assert bootstrap.main(["clean"]) == 0
    assert capfd.readouterr().out.endswith("Kept: runs/.\n")
    make_venv(book)
    have_uv(book, book / "runs")
    (book / "runs").mkdir()
    assert bootstrap.main(["clean"]) == 0
    kept = f"runs/, and what uv has downloaded in {book / 'runs'} (delete that folder to free its space)"
    assert capfd.readouterr().out.endswith(f"Kept: {kept}.\n")


def test_failing_benchmark_is_named(started, book, monkeypatch, capfd):
    folder = book / "tests" / "benchmarks"
    folder.mkdir(parents=True)
    for name in ("bench_a.py", "bench_b.py", "helper.py"):
        (folder / name).touch()
    monkeypatch.setattr(bootstrap, "run", lambda name: int("bench_b" in name))
    assert bootstrap.main(["bench"]) == 1
    assert capfd.readouterr().out.endswith("2 benchmarks in tests/benchmarks\nfailed: tests/benchmarks/bench_b.py\n")


def test_what_teachers_need_is_installed_once_and_only_for_them(book, monkeypatch):
    (book / "notebooks" / "assignments").mkdir(parents=True)
    (book / "notebooks" / "assignments" / "requirements.txt").write_text("nbgrader\n")
    monkeypatch.setattr(bootstrap, "run", lambda *words: 0)
    assert bootstrap.main(["lint"]) == 0
    readers = calls(book)
    assert bootstrap.main(["assignments"]) == 0
    assert bootstrap.main(["grade", "SUBMISSIONS=handed in"]) == 0
    assert calls(book) == readers + 1


def test_grade_asks_for_a_folder_and_passes_on_what_it_is_told(started, monkeypatch, capfd):
    assert bootstrap.main(["grade"]) == 1
    assert "make grade SUBMISSIONS=path/to/folder" in capfd.readouterr().out.replace("py bootstrap.py", "make")
    told = []
    monkeypatch.setattr(bootstrap, "run", lambda *words: told.extend(words) or 0)
    assert bootstrap.main(["grade", "SUBMISSIONS=handed in", "ASSIGNMENT=01_receptive_fields", "INTO=there"]) == 0
    assert told[2:] == [
        "grade", os.path.abspath("handed in"), "--into", os.path.abspath("there"), "--assignment", "01",
    ]  # fmt: skip


def test_unknown_verb(started, capfd):
    assert bootstrap.main(["lap"]) == 1
    assert "There is no verb 'lap'" in capfd.readouterr().out


def test_unknown_setting(started, capfd):
    assert bootstrap.main(["lab", "PROT=1"]) == 1
    said = "There is no setting PROT=1; there are ARGS, PORT, NB, SUBMISSIONS, ASSIGNMENT, INTO.\n"
    assert (capfd.readouterr().out, started) == (said, [])


def test_makefile_and_help_know_every_verb(capfd):
    verbs = re.search(r"^VERBS := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE).group(1).split()
    assert sorted(verbs) == sorted(dict(bootstrap.VERBS))
    assert bootstrap.main([]) == 0
    out = capfd.readouterr().out
    assert all(f"\n  {verb} " in out for verb in verbs)


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_make_alone_is_help_and_needs_no_setup(book):
    shutil.copy(REPOSITORY / "Makefile", book)
    shutil.rmtree(book / ".venv")
    words, env = ["make", f"PYTHON={sys.executable}"], bootstrap.clean_env()
    done = subprocess.run(words, cwd=book, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")
    assert not (book / ".venv").exists()


@posix
@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_make_says_which_python_does_not_run(book):
    shutil.copy(REPOSITORY / "Makefile", book)
    for python in ("/no/such/python", base_python(book, "exit 1\n")):
        words, env = ["make", "lab", f"PYTHON={python}"], bootstrap.clean_env()
        done = subprocess.run(words, cwd=book, env=env, capture_output=True, text=True)
        assert done.stdout == f"{python} does not run. Say which Python to use: make lab PYTHON=python3.12\n"
        assert done.returncode == 2
        assert "not found" not in done.stderr
