"""What this computer has of what the book needs, and the remedy for what it lacks: ``python -m vgglib doctor``.

Standard library only; torch, the data and a kernel are tried in processes of their own, so that this one reports
even where importing torch fails, crashes or hangs. Chapter 0 shows ``report()``.
"""

import argparse
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from vgglib.clone import IN_CLONE, LEFT_OUT, ROOT

MARKS = {"ok": "[OK]", "fail": "[FAIL]", "info": "[--]"}
GB = 1e9
PATIENCE = 120  # seconds for a first import of torch from a slow disk


@dataclass(frozen=True)
class Check:
    """One need of the book's and how it stands here."""

    name: str
    status: str  # "ok", "fail", or "info" where nothing has to be done
    text: str  # what was found; for "fail" also the remedy

    def __str__(self) -> str:
        return f"{MARKS[self.status]:6} {self.name}: {self.text}"


def report() -> list[Check]:
    """Every check, in the order of the set-up: Python, packages, device, memory, disk, data, kernel."""
    with ThreadPoolExecutor() as pool:  # each waits for a process
        torch, kernel = pool.submit(probe, TORCH), pool.submit(probe, KERNEL)
        checks = [python(), *packages(), vgglib(), memory(), disk()]
        return [*checks, *torch_checks(torch.result()), kernel_check(kernel.result())]


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Whether this Python is new enough."""
    found = f"{'.'.join(map(str, version))} ({sys.executable})"
    if version >= (3, 11):
        return Check("Python", "ok", found)
    return Check("Python", "fail", f"{found}, the book needs 3.11 or newer: install one from python.org")


def packages() -> list[Check]:
    """One check for each line of requirements.txt: the installed version against the range."""
    return [_package(name, wanted) for name, wanted in requirements()]


def requirements() -> Iterator[tuple[str, str]]:
    """(name, range) of each package that the book needs; vgglib's own list where there is no repository."""
    file = ROOT / "requirements.txt"
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else metadata.requires("vgglib") or []
    except metadata.PackageNotFoundError:
        lines = []
    for line in lines:
        if found := re.match(r"([\w.-]+)\s*([^#;]*)", line):
            yield found.group(1), found.group(2).strip()


def _package(name: str, wanted: str) -> Check:
    """Whether one package is installed in a version within the range."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "fail", f"is not installed, the book needs {wanted or 'it'}: run `{remedy()}`")
    if within(version, wanted):
        return Check(name, "ok", f"{version} (needs {wanted or 'any'})")
    return Check(name, "fail", f"{version} is installed, the book needs {wanted}: run `{remedy()}`")


def within(version: str, wanted: str) -> bool:
    """Whether a version satisfies a range such as ``>=2.10,<3``; without `packaging`, plain numbers are compared."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        pairs = re.findall(r"(==|!=|>=|<=|>|<)\s*([^\s,]+)", wanted)
        return all(_compare(version, sign, bound) for sign, bound in pairs)
    return SpecifierSet(wanted).contains(version, prereleases=True)


def _compare(version: str, sign: str, bound: str) -> bool:
    """One comparison of the fallback; == and != compare the text."""
    if sign in ("==", "!="):
        return (version == bound) == (sign == "==")
    left, right = ([int(number) for number in re.match(r"[\d.]*\d", text)[0].split(".")] for text in (version, bound))
    width = max(len(left), len(right))
    left, right = left + [0] * (width - len(left)), right + [0] * (width - len(right))
    return {">=": left >= right, "<=": left <= right, ">": left > right, "<": left < right}[sign]


def remedy() -> str:
    """The command that installs the packages for the Python that runs this."""
    if not IN_CLONE:
        return "pip install --upgrade torch numpy safetensors torchvision pillow matplotlib ipywidgets anywidget"
    if Path(sys.prefix) == ROOT / ".venv" or not (ROOT / ".venv").exists():
        return "py bootstrap.py setup" if os.name == "nt" else "make setup"
    return "pip install -r requirements.txt"


def vgglib() -> Check:
    """Whether pip knows vgglib, so that notebooks find it from any folder."""
    try:
        more = "" if IN_CLONE else f"; the book's data, networks and results are {LEFT_OUT}"
        return Check("vgglib", "ok", f"{metadata.version('vgglib')} ({Path(__file__).parent}){more}")
    except metadata.PackageNotFoundError:
        return Check("vgglib", "fail", f"is not installed in {sys.prefix}: run `pip install --no-deps -e .` in {ROOT}")


def memory() -> Check:
    """Total and free memory; 4 GB are recommended."""
    total, free = _memory()
    text = f"{total / GB:.1f} GB" + (f", {free / GB:.1f} GB of it free" if free is not None else "")
    if (free or total) < 1 * GB:
        return Check(
            "memory", "fail", f"{text}; training needs 1 GB: close other programs and other notebooks' kernels"
        )
    if total < 4 * GB:
        return Check("memory", "info", f"{text}; 4 GB are recommended: keep one notebook open at a time")
    return Check("memory", "ok", text)


def _memory() -> tuple[int, int | None]:
    """(total, free) bytes, free None where the system does not say; a container's limit counts as its total."""
    if os.name == "nt":
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status.total, status.free
    total, free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    with suppress(OSError, AttributeError, TypeError):  # macOS has no /proc, an old Linux no such line
        free = int(re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())[1]) * 1024
    with suppress(OSError, ValueError):  # outside a container there is no limit, or it reads "max"
        limit, used = (int(Path("/sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current"))
        if limit < total:
            stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
            cached = int(stat.get("inactive_file", 0))  # of files, and given back when it is asked for
            total, free = limit, min(limit - used + cached, limit if free is None else free)
    return total, free


class _MemoryStatus(ctypes.Structure):
    """What Windows fills in."""

    _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
        (name, ctypes.c_ulonglong) for name in ("total", "free", "page", "page_free", "virtual", "virtual_free", "more")
    ]


def disk() -> Check:
    """Free space where runs/ is written."""
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    text = f"{free / GB:.1f} GB free for runs/ in {here}"
    if free < 1 * GB:
        return Check(
            "disk", "fail", f"{text}, 1 GB is needed for checkpoints: free some, or remove old folders in runs/"
        )
    return Check("disk", "ok", text)


# Each probe prints one line of JSON per fact; what came before a crash is kept.
TORCH = """
import json, warnings
def tell(**fact): print("fact:" + json.dumps(fact), flush=True)
try:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import torch
        cuda = torch.cuda.is_available()
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else []
        sizes = [torch.cuda.get_device_properties(i).total_memory for i in range(len(names))]
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else None
        mps = torch.backends.mps.is_available()
    trouble = [str(item.message) for item in caught if "CUDA" in str(item.message) or "driver" in str(item.message)]
    tell(torch=torch.__version__, built=torch.version.cuda, gpus=list(zip(names, sizes)), bf16=bf16, mps=mps,
         threads=torch.get_num_threads(), trouble=trouble)
except Exception as error:
    tell(broken="torch", why=repr(error))
else:
    try:
        cpu = torch.cpu.get_capabilities()
        has = any(on for name, on in cpu.items() if name.endswith("bf16"))
        tell(cpu_bf16=has or (False if "avx2" in cpu else None))  # on other processors torch may not say
    except Exception:
        tell(cpu_bf16=None)
    try:
        from vgglib import data
        tell(data=data.check())
    except Exception as error:
        tell(broken="data", why=repr(error))
    try:
        import torchvision
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)  # one that torchvision compiled against torch
        tell(torchvision=torchvision.__version__)
    except Exception as error:
        tell(broken="torchvision", why=repr(error))
"""

KERNEL = """
import json
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
said = []
def hook(message):
    content = message["content"]
    if message["msg_type"] == "stream":
        said.append(content["text"])
    if message["msg_type"] == "error":
        said.append(content["ename"] + ": " + content["evalue"])
try:
    ask = "import sys; print(sys.prefix, flush=True)\\nimport vgglib"
    answer = client.execute_interactive(ask, timeout=60, output_hook=hook)
    print("fact:" + json.dumps({"prefix": said[0].strip(), "status": answer["content"]["status"], "why": said[-1]}))
finally:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
"""


def probe(code: str) -> dict:
    """The facts that a process with this Python told, and ``died`` with its last line if it failed."""
    # in the repository vgglib is found without being installed; a notebook, in its folder, gets no such help
    folder = ROOT / "notebooks" if code == KERNEL and (ROOT / "notebooks").is_dir() else ROOT
    try:
        process = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, timeout=PATIENCE, text=True,
            encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"died": f"no answer within {PATIENCE} seconds"}
    facts = {}
    for line in process.stdout.splitlines():
        if line.startswith("fact:"):
            fact = json.loads(line.removeprefix("fact:"))
            facts.update({f"no {fact['broken']}": fact["why"]} if "broken" in fact else fact)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or [""])[-1]
        facts["died"] = last or f"the process ended with status {process.returncode}"
    return facts


def torch_checks(facts: dict) -> list[Check]:
    """Whether torch and torchvision load, which device trains, bf16, and the data."""
    if "torch" not in facts:
        why = facts.get("no torch") or facts.get("died", "no answer")
        lost = f"cannot be imported ({why}): run `{remedy()}`"
        return [
            Check("import torch", "fail", lost),
            Check("data", "fail", f"cannot be checked without torch: run `{remedy()}`"),
        ]
    checks = [Check("import torch", "ok", f"{facts['torch']}, {facts['threads']} threads")]
    if "torchvision" in facts:
        checks.append(Check("import torchvision", "ok", f"{facts['torchvision']}, fits torch {facts['torch']}"))
    else:
        why = facts.get("no torchvision") or facts.get("died", "no answer")
        fix = "pip install --upgrade --force-reinstall torch torchvision"
        checks.append(
            Check("import torchvision", "fail", f"does not work with torch {facts['torch']} ({why}): run `{fix}`")
        )
    return [*checks, *device_checks(facts), *data_checks(facts)]


def device_checks(facts: dict) -> list[Check]:
    """The device that trains, and whether it computes in bf16."""
    checks = [
        Check(f"GPU {index}", "ok", f"{name}, {size / GB:.0f} GB, CUDA {facts['built']}")
        for index, (name, size) in enumerate(facts["gpus"])
    ]
    if facts["mps"]:
        checks.append(Check("GPU", "ok", "Apple's, through torch's device mps"))
    if not checks:
        why = f" ({facts['trouble'][0].splitlines()[0]})" if facts["trouble"] else ""
        if os.name == "nt" and not facts["built"]:
            why = " (pip's torch for Windows is built without CUDA: pytorch.org names the one with it)"
        checks.append(Check("GPU", "info", f"none that torch can use{why}; the CPU does, and sizes are chosen for it"))
    where, has = ("GPU", facts["bf16"]) if facts["gpus"] else ("CPU", facts.get("cpu_bf16"))
    says = {True: "in hardware", False: "only emulated, slower than float32", None: "not known"}[has]
    return [*checks, Check("bf16", "info", f"on this {where}: {says}")]


def data_checks(facts: dict) -> list[Check]:
    """What vgglib.data says of each file."""
    if "data" not in facts:
        why = facts.get("no data") or facts.get("died", "no answer")
        return [Check("data", "fail", f"cannot be checked ({why}): run `{remedy()}`")]
    return [Check(f"data: {name}", "ok" if ok else "fail", text) for name, ok, text in facts["data"]]


def kernel_check(facts: dict) -> Check:
    """Whether the kernel that JupyterLab starts is this Python, and finds vgglib."""
    if "prefix" not in facts:
        return Check("kernel", "fail", f"python3 does not start ({facts.get('died', 'no answer')}): run `{remedy()}`")
    if Path(facts["prefix"]) != Path(sys.prefix):
        fix = "python -m ipykernel install --sys-prefix"
        return Check("kernel", "fail", f"python3 runs {facts['prefix']}, expected {sys.prefix}: run `{fix}`")
    if facts["status"] != "ok":
        fix = "pip install --no-deps -e ."
        return Check("kernel", "fail", f"python3 cannot import vgglib ({facts['why']}): run `{fix}` in {ROOT}")
    return Check("kernel", "ok", f"python3 runs {facts['prefix']} and finds vgglib")


def main(argv: list[str]) -> int:
    """Print the report; 0 if nothing fails, else 1."""
    parser = argparse.ArgumentParser(prog="python -m vgglib doctor", description="What works here, and remedies.")
    parser.add_argument("--json", action="store_true", help="print a list of {name, status, text}")
    as_json = parser.parse_args(argv).json
    checks = report()
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        print(*checks, sep="\n")
    return int(any(check.status == "fail" for check in checks))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
