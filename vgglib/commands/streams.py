"""Where printed lines go when whoever read them has gone."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator


class Heard:
    """A stream that may lose its reader, such as head: what nobody hears is dropped, and training goes on."""

    def __init__(self, stream: io.TextIOBase):
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Pass text on at once, and return its length."""
        with self._alone():
            self._stream.write(text)
            self._stream.flush()  # now, not when training is over
        return len(text)

    def flush(self) -> None:
        """Pass on what is still held back."""
        with self._alone():
            self._stream.flush()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            drop_the_rest(self._stream)


def print_any_letter() -> None:
    """Let a path with letters that the terminal's or the pipe's encoding lacks be printed, escaped, not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def drop_the_rest(stream: io.TextIOBase) -> None:
    """Let what is still printed go nowhere: whoever read it has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
