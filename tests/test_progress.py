"""Progress: times as a person says them, one line that is written over, silence where nobody looks."""

import io
import sys
from types import ModuleType

import pytest

from vgglib import progress
from vgglib.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (12.3, "12 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7830, "2 h 10 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_duration(seconds, said):
    assert duration(seconds) == said


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_one_line_that_is_written_over(monkeypatch):
    terminal, clock = Terminal(), iter([10.0, 10.1, 10.15, 10.9])
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    line = Progress(interval=0.2)
    line.show("one")
    line.show("too soon")
    line.show("the end", final=True)
    line.show("again")
    assert terminal.getvalue() == "\r\x1b[2Kone\r\x1b[2Kthe end\n\r\x1b[2Kagain"


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_a_file_gets_nothing(monkeypatch, stream, capsys):
    monkeypatch.setattr(sys, "stderr", stream)
    Progress().show("one", final=True)
    assert stream is None or stream.getvalue() == ""
    assert capsys.readouterr().out == ""


def test_a_notebook_gets_one_output_that_changes(monkeypatch):
    shown = []

    class Handle:
        def update(self, text):
            shown.append(("update", repr(text)))

    def display(text, display_id):
        shown.append(("display", repr(text)))
        return Handle()

    kernel, ipython, shown_by = type("Shell", (), {"kernel": 1}), ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython, ipython.display, shown_by.display = lambda: kernel, shown_by, display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown_by)
    line = Progress(interval=0.0)
    line.show("one")
    line.show("two")
    line.show("three", final=True)
    assert shown == [("display", "one"), ("update", "two"), ("update", "three")]
