"""Ctrl-C, the stop button of a notebook, and a cluster's request to leave: the step at hand is finished first."""

import signal
import threading


class Interrupted(KeyboardInterrupt):
    """Training was stopped between two steps; ``history`` holds what it did, ``signal`` says what stopped it."""

    def __init__(self, message: str, history: object, signal: int):
        super().__init__(message)
        self.history, self.signal = history, signal


class Interrupts:
    """While in this context, SIGINT and SIGTERM only leave word in ``asked``; a third one interrupts at once.

    Signals come to the main thread alone: in any other the context does nothing. A handler that the program set
    itself is left in place.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._times, self._before = 0, {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, _frame: object) -> None:
        self.asked = number
        self._times += 1
        if self._times > 2:
            raise KeyboardInterrupt
