"""Where a run stands, and the watch that shows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Pace", "Snapshot", "Watch"]

_RATE_SECONDS = 30.0  # the rate shown is that of the last so many seconds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a run stands.

    Attributes:
        phase: checking, preparing, running, stopped or done.
        total: units of the plan; None while an adaptive planner has not said.
        done: of the plan, those that have a row.
        new: rows of this run.
        counts: rows by status, those of earlier runs included.
        rate: units per second lately.
        eta: seconds until the end at this rate, None when unknown.
        workers: alive.
        seconds: since this run began.
        note: what it is busy with.
    """

    phase: str
    total: int | None
    done: int
    new: int
    counts: Mapping[str, int]
    rate: float
    eta: float | None
    workers: int
    seconds: float
    note: str = ""


class Watch(Protocol):
    """Sees what a run does."""

    def say(self, text: str) -> None:
        """Something a user should read."""

    def show(self, snapshot: Snapshot) -> None:
        """The present state, several times a second."""


class Pace:
    """How fast rows come lately.

    Args:
        began: monotonic time when the run began.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, now: float, rows: int, *, counting: bool) -> float:
        """Rows per second, given how many there are now; `counting` is False while none can come."""
        while len(self._seen) > 1 and now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        if counting:
            self._seen.append((now, rows))
        since, then = self._seen[0] if self._seen else (self._began, 0)
        return (rows - then) / (now - since) if now > since else 0.0
