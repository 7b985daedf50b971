"""What to do when a batch does not fit into the memory of the device."""

import gc
from collections.abc import Callable

import torch
from torch import Tensor

from vgglib.devices import out_of_memory


class BatchTooLargeError(RuntimeError):
    """A batch does not fit into the memory of the device; the message says which one would."""


class MicroBatchWarning(UserWarning):
    """A batch goes through the network in parts, because it does not fit into memory whole."""


def largest_that_fits(fits: Callable[[int], bool], size: int) -> int:
    """Return the first of size / 2, size / 4, ... for which ``fits`` is true, and 0 if there is none."""
    while size > 1:
        size = size // 2
        release()
        if fits(size):
            return size
    return 0


def halving(attempt: Callable[[int], Tensor], size: int) -> Tensor:
    """Return ``attempt(size)``, or that of half the size, a quarter, ... down to 1, as long as memory ends."""
    while True:
        try:
            return attempt(size)
        except RuntimeError as error:
            if not out_of_memory(error) or size <= 1:
                raise
        size //= 2
        release()  # outside of the handler, whose error holds what the attempt had made


def release() -> None:
    """Give back what is no longer used, so that others can have it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
