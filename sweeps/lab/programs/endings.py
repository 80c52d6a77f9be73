"""How a program can end badly, as the failed row of its unit."""

from __future__ import annotations

import re
import signal

from landsweep.orchestrator.row import Cause, Outcome, Status
from landsweep.sweeps.lab.callables.folders import Place
from landsweep.sweeps.lab.programs.output import Kept

__all__ = ["Ending"]

_SHOWN = {"stdout": 2_000, "stderr": 6_000}  # characters
_OUT_OF_MEMORY = re.compile(r"^(?:[\w.]*\.)?(?:MemoryError|OutOfMemoryError)\b", re.MULTILINE)
_FROM_OUTSIDE = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}  # a scheduler takes the machine away


class Ending:
    """Makes failed rows that show the end of what was printed.

    Args:
        key: of the unit.
        place: of the unit.
        streams: standard output and error.
    """

    def __init__(self, key: str, place: Place, streams: tuple[Kept, Kept]) -> None:
        self._key, self._place, self._streams = key, place, streams

    def failed(self, reason: str, cause: Cause = Cause.error) -> Outcome:
        """A failed row."""
        parts = [f"{reason} (attempt {self._place.attempt})"]
        for (name, most), stream in zip(_SHOWN.items(), self._streams, strict=True):
            if text := stream.tail(most):
                parts.append(f"--- the end of {name} ({self._place.name}/{name}.txt) ---\n{text}")
        return Outcome(self._key, {}, Status.failed, "\n".join(parts), cause)

    def of_status(self, status: int, seconds: float) -> Outcome:
        """The row of a program that ended by itself, but not well.

        Args:
            status: its exit code, negative for a signal.
            seconds: how long it ran.
        """
        if status > 0:
            memory = _OUT_OF_MEMORY.search(self._streams[1].tail(_SHOWN["stderr"])) is not None
            text = f"the program ended with exit code {status} after {seconds:.1f} s"
            return self.failed(text, Cause.oom if memory else Cause.error)
        number = -status
        name = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
        text = f"the program was ended by {name} after {seconds:.1f} s"
        if number == signal.SIGKILL:
            return self.failed(f"{text}; the kernel does this when memory runs out", Cause.oom)
        return self.failed(text, Cause.infra if number in _FROM_OUTSIDE else Cause.error)
