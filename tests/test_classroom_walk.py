"""The classroom as a student meets it: the edition opened in JupyterLab, an exercise typed, its check turning from
waiting to failing to passing, the notebook saved, handed in and graded. Pictures go to the folder SCREENSHOTS."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import classroom
import pytest

NUMBER = "01"
TYPED = [
    *["def field(layers):", "size, jump = 1, 1", "for kernel, stride, dilation in layers:"],
    *["size += dilation * {} * jump", "jump *= stride", "<", "return size, jump"],
]

KERNEL_STATUS = """() => {
  const notebook = window.jupyterapp?.shell.currentWidget;
  const kernel = notebook?.sessionContext?.session?.kernel;
  return kernel ? `${kernel.status}, ${kernel.connectionStatus}` : `no kernel in ${notebook?.title.label}`;
}"""


def chromium():
    """Return the path of a Chromium; without one fail in CI on Linux, skip elsewhere."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found and sys.platform.startswith("linux") and os.environ.get("CI"):
        pytest.fail("CI must walk through the classroom: Chromium is missing")
    if not found:
        pytest.skip("there is no Chromium here")
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab of its own on the student's folder: its address and the folder."""
    folder = tmp_path_factory.mktemp("ada")
    shutil.copy(classroom.RELEASED[NUMBER], folder / "work.ipynb")
    settings = tmp_path_factory.mktemp("settings")
    for name, values in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false"},
    }.items():
        place = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(values))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--IdentityProvider.token=walk"]
    words += [f"--ServerApp.root_dir={folder}", "--allow-root", "--LabApp.news_url=None", "--expose-app-in-browser"]
    words += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    names = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    env = {**os.environ, **{name: str(settings / name) for name in names}, "JUPYTERLAB_SETTINGS_DIR": str(settings)}
    with (settings / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *words], env=env, stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/api?token=walk", server, settings / "log")
            yield f"http://127.0.0.1:{port}/lab/tree/work.ipynb?token=walk&reset", folder, settings / "log"
        finally:
            server.terminate()
            server.wait(30)


def wait_for(address, server, log):
    """Wait until the server answers."""
    for _ in range(240):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("JupyterLab did not start")


def opened(page, address, log):
    """Open the notebook and wait for its kernel; where none answers, load the page again, as a student would."""
    seen = []
    for _ in range(3):
        page.goto(address)
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        for _ in range(120):
            seen.append(page.evaluate(KERNEL_STATUS))
            if seen[-1] == "idle, connected":
                return
            page.wait_for_timeout(500)
    pytest.fail(f"no kernel became idle: {sorted(set(seen))}, last {seen[-1]}\n{log.read_text()[-3000:]}")


def photograph(page, name):
    """Keep a picture of the page, if a folder is named for it."""
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{name}.png")


def write(page, cell, added):
    """Type the exercise's answer into its cell, and run the cell and the check below it."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    for line in TYPED:
        if line == "<":
            page.keyboard.press("Backspace")  # JupyterLab indents by itself; one level back
            continue
        page.keyboard.type(line.format(added))
        if line != TYPED[-1]:
            page.keyboard.press("Enter")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")


def test_a_student_walks_through_the_classroom(lab, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    address, folder, log = lab
    options = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=options.split())
        page = browser.new_page(viewport={"width": 1250, "height": 950})
        page.set_default_timeout(180_000)
        opened(page, address, log)
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        answer = page.locator(".jp-CodeCell", has_text="def field(layers)")
        check = page.locator(".jp-CodeCell", has_text="check_field(field)")
        verdict = check.locator(".jp-OutputArea-output")
        sync_api.expect(verdict).to_have_text("⏳ field: not attempted yet", timeout=120_000)
        answer.scroll_into_view_if_needed()
        photograph(page, "1_waiting")
        write(page, answer, "kernel")
        sync_api.expect(verdict).to_contain_text("should be (5, 1), yours gave (7, 1)", timeout=120_000)
        photograph(page, "2_failing")
        write(page, answer, "(kernel - 1)")
        sync_api.expect(verdict).to_have_text("✅ field: 7 cases agree", timeout=120_000)
        photograph(page, "3_passing")
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        browser.close()
    handed_in = classroom.book(folder / "work.ipynb")
    classroom.hand_in(tmp_path, "ada", handed_in)
    result = classroom.graded(tmp_path, NUMBER)["ada"]
    assert classroom.rows(result)["field"].points == 6
    assert result.points == 6
    assert not result.flags
