"""One line that says how far a long computation is: in a terminal or a notebook, and silent anywhere else."""

import sys
import time


def duration(seconds: float) -> str:
    """Return a length of time as a person would say it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """A line that is written over: ``Progress().show("epoch 1")``, at most five times a second."""

    def __init__(self, interval: float = 0.2, silent: bool = False):
        self._interval, self._last, self._handle = interval, 0.0, None
        self._where, self._open = "nowhere" if silent else _where(), False

    @property
    def visible(self) -> bool:
        """Whether anybody sees the line."""
        return self._where != "nowhere"

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_error: object) -> None:
        """End the line if it is still being written over, so that what follows begins on its own."""
        if self._where == "terminal" and self._open:
            sys.stderr.write("\n")
            sys.stderr.flush()
        self._open = False

    def show(self, text: str, final: bool = False) -> None:
        """Write ``text`` over the line; ``final`` also when the last text is recent, and ends the line."""
        now = time.monotonic()
        if self._where == "nowhere" or (not final and now - self._last < self._interval):
            return
        self._last = now
        self._open = not final
        if self._where == "terminal":
            sys.stderr.write("\r\x1b[2K" + text + ("\n" if final else ""))
            sys.stderr.flush()
        elif self._handle is None:
            from IPython.display import display

            self._handle = display(_Line(text), display_id=True)
        else:
            self._handle.update(_Line(text))


class _Line:
    """Plain text that a notebook shows without quotes."""

    def __init__(self, text: str):
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _where() -> str:
    """Return "notebook", "terminal" or "nowhere"."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None and hasattr(shell, "kernel"):
        return "notebook"
    return "terminal" if sys.stderr is not None and sys.stderr.isatty() else "nowhere"
