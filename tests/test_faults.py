"""A sample of ``make faults``: kills, damage, full disks and numbers that are none; and a real kernel's stop button."""

import os
import subprocess
import sys
from pathlib import Path

from jupyter_client.manager import start_new_kernel

TESTS = Path(__file__).resolve().parent
CALM = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}


def test_a_sample_of_all_faults():
    words = [sys.executable, str(TESTS / "faults.py"), "--share", "0.02"]
    done = subprocess.run(words, env=CALM, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    said = done.stdout.splitlines()
    assert len(said) == 6
    assert " kills in " in said[1]
    assert said[2].startswith("20 truncations and 20 flipped bits")


TRAINING = """
import warnings; warnings.simplefilter("ignore")
from dataclasses import replace
from faults import *
from vgglib.explorers import LivePlot
slow = replace(RECIPE, epochs=10_000)
net = build(slow, PICTURES, 4)
print("ready")
fit(net, PICTURES, PICTURES[:20], slow, 4, "cpu", checkpoint={folder!r}, watch=LivePlot())
"""
AFTER = """
import sys
stopped = sys.last_value
print(type(stopped).__name__, len(stopped.history.epochs) > 0, Checkpoints({folder!r}).paths()[0].name in str(stopped))
print(torch.isfinite(net.eval()(torch.rand(2, 1, 12, 12))).all().item())
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
tensors = Checkpoints({folder!r}).newest()[0]
print(all(torch.equal(tensors["net." + name], tensor) for name, tensor in net.named_parameters()))
"""


def run_cell(client, code, on_output=lambda text: None):
    """Everything that a cell printed, and the name of the error that it ended with."""
    asked, printed, error = client.execute(code), [], None
    while True:
        message = client.get_iopub_msg(timeout=120)
        if message["parent_header"].get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            printed.append(content["text"])
            on_output(content["text"])
        elif kind in ("display_data", "update_display_data"):
            on_output("shown: " + content["data"].get("text/plain", ""))
        elif kind == "error":
            error = content["ename"]
        elif kind == "status" and content["execution_state"] == "idle":
            return "".join(printed), error


def test_the_stop_button_of_a_notebook(tmp_path):
    folder = str(tmp_path / "run")
    manager, client = start_new_kernel(kernel_name="python3", env=CALM, cwd=str(TESTS))
    try:
        pressed = []

        def press_twice(text):
            if "epoch 3/" in text and not pressed:
                pressed.append(text)
                manager.interrupt_kernel()
                manager.interrupt_kernel()

        printed, error = run_cell(client, TRAINING.format(folder=folder), press_twice)
        assert "ready" in printed
        assert error == "Interrupted"
        printed, error = run_cell(client, AFTER.format(folder=folder))
        assert (printed.split(), error) == (["Interrupted", "True", "True", "True", "True", "True"], None)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
