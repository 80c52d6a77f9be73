"""Where a run stands: counted as rows come, shown to a watch, and kept in the status file for other terminals."""

from __future__ import annotations

import math
import os
import platform
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, Self

from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.run.executors.base import Executor
from landsweep.orchestrator.storage.ledger import Store, write_status

__all__ = ["Companion", "Pace", "RunProgress", "Snapshot", "Watch"]

_SHOW_SECONDS = 0.2
_STATUS_SECONDS = 2.0
_RATE_SECONDS = 30.0  # window over which the rate shown is measured


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
        new_failed: rows of this run whose units failed.
        ended_early: why the run ended although units are left, where the site wanted that; else empty.
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
    new_failed: int = 0
    ended_early: str = ""


class Watch(Protocol):
    """Sees what a run does."""

    def say(self, text: str) -> None:
        """Print a message for the user."""

    def show(self, snapshot: Snapshot) -> None:
        """The present state, several times a second."""


class Companion(ABC):
    """A watch that passes all it is told on to another, and does more with it; as a context, it ends with the run.

    Args:
        watch: the other one.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end("failed")

    def say(self, text: str) -> None:
        """Print a message for the user."""
        self._watch.say(text)

    def show(self, snapshot: Snapshot) -> None:
        """Show where the run stands, and look what else is to be done."""
        self._watch.show(snapshot)
        self.look(snapshot)

    @abstractmethod
    def look(self, snapshot: Snapshot) -> None:
        """Do what the state of the run calls for; called several times a second, so it must not wait."""

    @abstractmethod
    def end(self, how: str) -> None:
        """The run has ended: `done`, `stopped`, or `failed` where it raised. What comes later is ignored."""


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


class RunProgress:
    """Counts rows and says where a run stands.

    Args:
        watch: sees it several times a second.
        planner: knows how many units there are in all.
        executor: knows how many workers are alive.
    """

    def __init__(self, watch: Watch, planner: Planner, executor: Executor) -> None:
        self._watch, self._planner, self._executor = watch, planner, executor
        self._store: Store | None = None  # of the status file
        self._began = time.monotonic()
        self._phase, self._note, self._ended_early = "starting", "", ""
        self._before: Counter[str] = Counter()  # rows of earlier runs by status
        self._new: Counter[str] = Counter()  # rows of this run by status
        self._pace = Pace(self._began)
        self._shown = self._written = -math.inf
        self._status_failed = False

    def say(self, text: str) -> None:
        """Print a message for the user."""
        self._watch.say(text)

    def enter(self, phase: str, note: str = "") -> None:
        """A phase of the run begins, see `Snapshot.phase`; the next tick shows it, however soon."""
        self._phase, self._note = phase, note
        self._shown = self._written = -math.inf

    def end_early(self, why: str) -> None:
        """The run will end although units are left."""
        self._ended_early = why
        self.say(f"ended early: {why}")

    def keep_in(self, store: Store) -> None:
        """From now on keep the status file of this sweep; before, a run must not write anything."""
        self._store = store

    def count_before(self, statuses: Iterable[str]) -> None:
        """Rows of earlier runs, of units of the plan."""
        self._before.update(statuses)

    def count_new(self, statuses: Iterable[str]) -> None:
        """Rows of this run."""
        self._new.update(statuses)

    @property
    def rows(self) -> int:
        """How many units of the plan have a row."""
        return self._before.total() + self._new.total()

    def snapshot(self) -> Snapshot:
        """Where the run stands now."""
        now = time.monotonic()
        counts = self._before + self._new
        new, done = self._new.total(), counts.total()
        rate = self._pace.rate(now, new, counting=self._phase == "running")
        total = self._planner.total
        left = None if total is None else max(0, total - done)
        return Snapshot(
            phase=self._phase,
            total=total,
            done=done,
            new=new,
            counts=dict(counts),
            rate=rate,
            eta=None if left is None or rate <= 0 else left / rate,
            workers=self._executor.workers,
            seconds=now - self._began,
            note=self._note,
            new_failed=self._new[Status.failed],
            ended_early=self._ended_early,
        )

    def stopped(self) -> Snapshot:
        """Where a run stands that was stopped before it had written anything: this is not shown."""
        self.enter("stopped")
        return self.snapshot()

    def tick(self, note: str) -> None:
        """Show where the run stands, unless that was done a moment ago; `note` says what it is busy with."""
        self._note = note
        if time.monotonic() - self._shown >= _SHOW_SECONDS:
            self._show()

    def end(self, phase: str) -> Snapshot:
        """The run has ended: show this, and write it to the status file."""
        self.enter(phase)
        return self._show()

    def _show(self) -> Snapshot:
        self._shown = now = time.monotonic()
        snapshot = self.snapshot()
        self._watch.show(snapshot)
        if self._store is not None and now - self._written >= _STATUS_SECONDS:
            self._written = now
            content = {**asdict(snapshot), "updated": time.time(), "pid": os.getpid(), "host": platform.node()}
            problem = write_status(self._store, content)
            if problem and not self._status_failed:
                self._watch.say(f"`landsweep status` shows an old state: {problem}")
            self._status_failed = problem is not None
        return snapshot
