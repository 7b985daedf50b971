"""The doctor names each fault with its remedy, and reports even where nothing is installed."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from vgglib import doctor

WELL = {
    "torch": "2.15.0",
    "built": "13.2",
    "gpus": [],
    "bf16": None,
    "cpu_bf16": True,
    "mps": False,
    "threads": 2,
    "trouble": [],
    "data": [["train-images-idx3-ubyte", True, "verified"]],
    "torchvision": "0.29.2",
}
KERNEL = {"prefix": sys.prefix, "status": "ok", "why": sys.prefix}


@pytest.fixture
def facts(monkeypatch):
    """What the two processes tell; a test changes it. Everything is installed."""
    facts = {doctor.TORCH: dict(WELL), doctor.KERNEL: dict(KERNEL)}
    monkeypatch.setattr(doctor, "probe", facts.get)
    monkeypatch.setattr(doctor.metadata, "version", dict(installed()).__getitem__)
    monkeypatch.setattr(doctor, "_memory", lambda: (16_000_000_000, 8_000_000_000))
    return facts


def installed():
    """(name, a version within its range) for each package."""
    lowest = [(name, wanted.split(",")[0].lstrip("><=") or "1") for name, wanted in doctor.requirements()]
    return [*lowest, ("vgglib", "0.1.0")]


def versions(monkeypatch, **changes):
    """Let packages have other versions, or None for missing ones."""

    def version(name):
        if changes.get(name, "") is None:
            raise metadata.PackageNotFoundError(name)
        return changes.get(name) or dict(installed())[name]

    monkeypatch.setattr(doctor.metadata, "version", version)


def text(name):
    """The text of the one failing check, which must have this name."""
    (failing,) = [check for check in doctor.report() if check.status == "fail"]
    assert failing.name == name
    return failing.text


def test_all_well(facts, capsys):
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    assert "[OK]   torch: 2.10 (needs >=2.10)" in out
    assert "[--]   GPU: none that torch can use; the CPU does" in out
    assert "[FAIL]" not in out


def test_requirements_lists_every_package_with_its_range():
    wanted = dict(doctor.requirements())
    assert {"torch", "torchvision", "jupyter_server", "d2l", "nbval", "ruff"} <= set(wanted)
    assert wanted["d2l"] == "==1.0.0a1.post0"


def test_missing_package(facts, monkeypatch, capsys):
    versions(monkeypatch, nbval=None)
    assert text("nbval") == f"is not installed, the book needs >=0.11: run `{doctor.remedy()}`"
    assert doctor.main([]) == 1
    assert "[FAIL] nbval: is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "version"), [("torch", "2.9.1"), ("d2l", "0.17.0"), ("jupyterlab", "4.3.99")])
def test_wrong_version(name, version, facts, monkeypatch):
    versions(monkeypatch, **{name: version})
    assert text(name).startswith(f"{version} is installed, the book needs ")


RANGES = [
    ("2.15.0+cu132", ">=2.10", True),
    ("2.9.1", ">=2.10", False),
    ("2.10", ">=2.10.0", True),
    ("3.0", ">=2.10,<3", False),
    ("1.0.0a1.post0", "==1.0.0a1.post0", True),
    ("0.17.0", "==1.0.0a1.post0", False),
    ("9", "", True),
]


@pytest.mark.parametrize(("version", "wanted", "fits"), RANGES)
@pytest.mark.parametrize("with_packaging", [True, False])
def test_within(version, wanted, fits, with_packaging, monkeypatch):
    if not with_packaging:
        monkeypatch.setitem(sys.modules, "packaging.specifiers", None)
    assert doctor.within(version, wanted) is fits


def test_vgglib_not_installed(facts, monkeypatch):
    versions(monkeypatch, vgglib=None)
    assert "run `pip install --no-deps -e .`" in text("vgglib")


def test_old_python():
    check = doctor.python((3, 10, 13))
    assert check.status == "fail"
    assert "3.10.13" in check.text
    assert "install one from python.org" in check.text


@pytest.mark.parametrize(
    ("total", "free", "status"),
    [(16, 8, "ok"), (3.5, 2, "info"), (16, 0.5, "fail"), (16, None, "ok"), (0.5, None, "fail")],
)
def test_memory(total, free, status, monkeypatch):
    monkeypatch.setattr(doctor, "_memory", lambda: (total * 1e9, free and free * 1e9))
    assert doctor.memory().status == status


def test_memory_is_measured_here():
    total, free = doctor._memory()
    assert 1e8 < total < 1e14
    assert free is None or 0 <= free <= total


def test_an_old_linux_does_not_say_what_is_available(monkeypatch):
    monkeypatch.setattr(doctor.re, "search", lambda *_: None)
    total, _ = doctor._memory()
    assert total > 0


def test_windows_is_told_why_no_gpu_is_used(facts, monkeypatch):
    found = dict(gpus=[], mps=False, trouble=[], built=None, bf16=None)
    assert "pytorch.org" not in str(doctor.device_checks(found)[0])
    monkeypatch.setattr(doctor, "os", SimpleNamespace(name="nt"))
    assert "built without CUDA: pytorch.org names the one with it" in str(doctor.device_checks(found)[0])
    assert "pytorch.org" not in str(doctor.device_checks({**found, "built": "13.0"})[0])


def test_full_disk(facts, monkeypatch, tmp_path):
    usage, asked = doctor.shutil.disk_usage(doctor.ROOT), []
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: asked.append(path) or usage._replace(free=2_000_000))
    monkeypatch.chdir(tmp_path)  # where train writes runs/
    assert f"in {tmp_path}, 1 GB is needed for checkpoints: free some" in text("disk")
    assert asked == [tmp_path]


def test_torchvision_that_does_not_fit(facts):
    del facts[doctor.TORCH]["torchvision"]
    facts[doctor.TORCH]["no torchvision"] = "RuntimeError('operator torchvision::nms does not exist')"
    said = text("import torchvision")
    assert "does not work with torch 2.15.0 (RuntimeError('operator torchvision::nms does not exist'))" in said
    assert "run `pip install --upgrade --force-reinstall torch torchvision`" in said


def test_torch_that_crashes(facts):
    facts[doctor.TORCH] = {"died": "the process ended with status -11"}
    failing = {check.name: check.text for check in doctor.report() if check.status == "fail"}
    assert set(failing) == {"import torch", "data"}
    assert "status -11" in failing["import torch"]


def test_torchvision_that_crashes_hides_nothing_before_it(facts):
    del facts[doctor.TORCH]["torchvision"]
    facts[doctor.TORCH]["died"] = "the process ended with status -11"
    assert "status -11" in text("import torchvision")


def test_damaged_data(facts):
    row = ["train-images-idx3-ubyte", False, 'it is damaged; delete it and run "make data"']
    facts[doctor.TORCH]["data"] = [row]
    assert text("data: train-images-idx3-ubyte") == row[2]


def test_gpu(facts):
    facts[doctor.TORCH].update(gpus=[["NVIDIA H200", 150_000_000_000]], bf16=True)
    checks = {check.name: check.text for check in doctor.report()}
    assert checks["GPU 0"] == "NVIDIA H200, 150 GB, CUDA 13.2"
    assert checks["bf16"] == "on this GPU: in hardware"


def test_old_driver_is_said_and_no_failure(facts):
    facts[doctor.TORCH]["trouble"] = ["CUDA initialization: The NVIDIA driver on your system is too old"]
    (gpu,) = [check for check in doctor.report() if check.name == "GPU"]
    assert gpu.status == "info"
    assert "driver on your system is too old" in gpu.text


def test_kernel_of_another_python(facts):
    facts[doctor.KERNEL]["prefix"] = "/usr"
    assert text("kernel").startswith(f"python3 runs /usr, expected {sys.prefix}: run `")


def test_kernel_that_does_not_find_vgglib(facts):
    facts[doctor.KERNEL].update(status="error", why="ModuleNotFoundError: No module named 'vgglib'")
    assert "cannot import vgglib (ModuleNotFoundError: No module named 'vgglib')" in text("kernel")


def test_kernel_that_does_not_start(facts):
    facts[doctor.KERNEL] = {"died": "jupyter_client.kernelspec.NoSuchKernel: No such kernel named python3"}
    assert "python3 does not start (jupyter_client.kernelspec.NoSuchKernel" in text("kernel")


def test_json(facts, capsys):
    facts[doctor.KERNEL]["prefix"] = "/usr"
    assert doctor.main(["--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["status"] for row in rows} == {"ok", "info", "fail"}
    assert all(set(row) == {"name", "status", "text"} for row in rows)


def test_broken_torch_is_tried_in_its_own_process(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise RuntimeError('half an installation')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = doctor.probe(doctor.TORCH)
    assert facts == {"no torch": "RuntimeError('half an installation')"}


def test_time_limit(monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    assert doctor.probe("import time; time.sleep(60)") == {"died": "no answer within 0.2 seconds"}


def test_python_with_nothing_installed(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    (bare,) = [*tmp_path.glob("bare/bin/python"), *tmp_path.glob("bare/Scripts/python.exe")]
    done = subprocess.run([bare, "-m", "vgglib.doctor"], cwd=doctor.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "[FAIL] torch: is not installed, the book needs >=2.10: run `" in done.stdout
    assert "[FAIL] import torch: cannot be imported (ModuleNotFoundError(" in done.stdout
    assert (
        "[FAIL] kernel: python3 does not start (ModuleNotFoundError: No module named 'jupyter_client')" in done.stdout
    )
    assert "[OK]   Python: " in done.stdout


def test_here():
    """The true report; this machine has torch and a kernel, or these tests would not run."""
    checks = {check.name: check for check in doctor.report()}
    assert checks["import torch"].status == "ok"
    assert checks["import torchvision"].status == "ok"
    assert checks["kernel"].status == "ok" or "cannot import vgglib" in checks["kernel"].text
    assert sum(name.startswith("data: ") for name in checks) >= 4
    assert Path(doctor.ROOT, "vgglib", "doctor.py").is_file()


def test_files_in_a_containers_cache_count_as_free(monkeypatch, tmp_path):
    group = {
        "memory.max": 4_000_000_000,
        "memory.current": 3_700_000_000,
        "memory.stat": "anon 9\ninactive_file 3500000000",
    }
    for name, content in group.items():
        (tmp_path / name).write_text(str(content))
    there = doctor.Path
    monkeypatch.setattr(
        doctor, "Path", lambda *parts: tmp_path / there(*parts).name if "cgroup" in parts[0] else there(*parts)
    )
    total, free = doctor._memory()
    assert total == 4_000_000_000
    assert 3_000_000_000 < free <= 3_800_000_000
