"""``make lab`` for real: a server that answers with its token alone, and opens the book on its first page."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


@pytest.fixture
def address(tmp_path):
    """The address that `make lab` prints, without a browser; the server is stopped afterwards."""
    if not PYTHON.exists() or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("these tests do not run in the book's own .venv, so `make lab` would install one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    with open(log, "w", encoding="utf-8") as output:
        words = [sys.executable, "bootstrap.py", "lab", f"PORT={port}"]
        settings = tmp_path / "settings"
        settings.mkdir()
        password = '{"PasswordIdentityProvider": {"hashed_password": "argon2:$argon2id$v=19$m=10240,t=10,p=8$YQ$YQ"}}'
        (settings / "jupyter_server_config.json").write_text(password, encoding="utf-8")
        env = {**os.environ, "CI": "true"}  # no browser
        env |= {"JUPYTER_TOKEN": "guess", "JUPYTER_CONFIG_DIR": str(settings)}  # neither may hide the address
        server = subprocess.Popen(words, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(240):
            found = re.search(r"http://(?:127\.0\.0\.1|localhost):\d+/\S*token=\S+", log.read_text(encoding="utf-8"))
            if found and answers(f"http://127.0.0.1:{port}/api"):
                break
            assert server.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.5)
        assert found, log.read_text(encoding="utf-8")
        yield found.group()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


def answers(url):
    """Return the status that a server gives, 0 if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=20) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.skipif(sys.platform == "win32", reason="no display to hide from")
def test_lab_serves_the_first_page(address, monkeypatch):
    server, _, token = address.partition("?token=")
    root = re.match(r"http://[^/]+", server).group()
    assert "00_start_here.ipynb" in address
    assert answers(f"{root}/api/contents/notebooks/00_start_here.ipynb?token={token}") == 200
    with urllib.request.urlopen(
        f"{root}/lab/api/settings/@jupyterlab/apputils-extension:notification?token={token}"
    ) as file:
        asked = json.load(file)["schema"]["properties"]["fetchNews"]["default"]
    assert asked == "false"  # nobody is asked for news before the first page
    assert answers(f"{root}/api/contents/notebooks/00_start_here.ipynb") == 403
    assert answers(f"{root}/api/contents/notebooks/00_start_here.ipynb?token=guess") == 403
