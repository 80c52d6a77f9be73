"""Where a run stands, and who is shown it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Snapshot", "Watch"]


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
