"""Notices a loss that is not finite, and a request to stop, without making a GPU wait for its host."""

import torch
from torch import Tensor

from vgglib import distributed


class Guard:
    """Looks at every step's loss before the weights change.

    A CPU is asked at once. A GPU gets a flag that turns every step of the (fused) optimiser into nothing from the first
    loss on that is not finite; the host reads the flag one step later, when it is ready anyway, so that the weights are
    those from before the step that broke. Under several processes all hear of what one of them met.
    """

    def __init__(self, optimiser: torch.optim.Optimizer, device: torch.device, wait: bool):
        self._optimiser, self._wait = optimiser, wait
        self._flags = torch.zeros(2, device=device)  # broken, asked to stop
        self._before: tuple[int, Tensor, torch.cuda.Event | None] | None = None

    def look(self, step: int, loss: Tensor, asked: bool) -> tuple[int | None, bool]:
        """Return the step that broke, if one did, and whether any process was asked to stop."""
        now = torch.stack([~loss.isfinite(), torch.full_like(loss, asked, dtype=torch.bool)]).to(self._flags.dtype)
        self._flags = distributed.highest(torch.maximum(self._flags, now))
        if self._wait:
            broken, stop = self._flags.tolist()
            return (step if broken else None), bool(stop)
        self._optimiser.found_inf = self._flags[0]
        on_host, event = self._flags.to("cpu", non_blocking=True), None
        if loss.device.type == "cuda":
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(loss.device))  # of its own device, which need not be the current one
        before, self._before = self._before, (step, on_host, event)
        return self._read(before)

    def last(self) -> tuple[int | None, bool]:
        """Return what look() has not told yet, at the end of an epoch."""
        before, self._before = self._before, None
        return self._read(before)

    def _read(self, seen: tuple[int, Tensor, torch.cuda.Event | None] | None) -> tuple[int | None, bool]:
        if seen is None:
            return None, False
        step, flags, event = seen
        if event is not None:
            event.synchronize()
        broken, stop = flags.tolist()
        return (step if broken else None), bool(stop)
