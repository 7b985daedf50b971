"""A run's figures as files while it goes on: JSON lines, and events for TensorBoard where it is installed."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from vgglib.durable import write_durably
from vgglib.history import History


def summary_writer() -> type:
    """Return what writes events for TensorBoard; ValueError if it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("TensorBoard is not installed: pip install tensorboard, or leave it out") from error
    return SummaryWriter


class Monitor:
    """Given to fit as ``watch``: writes ``metrics.jsonl``, one line an epoch, and tells each epoch in a sentence.

    folder: where to, None for nowhere. tensorboard: also write events. Raises ValueError if TensorBoard is asked for
    and not installed. A folder that takes no files stops no training: then only the sentences come.
    """

    def __init__(self, folder: Path | None, tensorboard: bool, tell: Callable[[str], object]):
        self._folder, self._tell, self._board, self._told = folder, tell, None, 0
        if tensorboard and folder is not None:
            writer = summary_writer()
            try:
                self._board = writer(str(folder / "tensorboard"))
            except OSError as error:
                tell(f"events for TensorBoard cannot be written: {error.strerror}")

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._board is not None:
            self._board.close()

    def __call__(self, history: History) -> None:
        self._tell(str(history))
        if self._folder is None:
            return
        lines = [json.dumps({**asdict(epoch), "seed": history.seed}) + "\n" for epoch in history.epochs]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_durably(self._folder / "metrics.jsonl", "".join(lines).encode())
        except OSError as error:
            self._tell(f"metrics.jsonl could not be written: {error.strerror}")
        if self._board is not None:
            last = history.epochs[-1]
            for name, value in asdict(last).items():
                if value is not None and name != "number":
                    self._board.add_scalar(name, value, last.number)
            self._board.flush()
