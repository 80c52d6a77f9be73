"""Errands: work that a sweep needs done once, the check of its input and then what its units share.

Each goes to any free worker as soon as those it needs are done, and to another one when its worker dies.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.errors import PreparationFailed
from orchestrator.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from orchestrator.kind import Preparation
from orchestrator.messages import Check, Prepare, Prepared
from orchestrator.row import Cause

__all__ = ["Errand", "run_errands"]

_POLL_SECONDS = 0.2
_MOST_LOSSES = 3  # an errand that kills so many workers in a row would kill the next one too


@dataclass(frozen=True, slots=True)
class Errand:
    """The check, or one preparation."""

    name: str
    preparation: Preparation | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of errands that come first."""
        return self.preparation.needs if self.preparation else ()

    def work(self, number: int) -> Check | Prepare:
        """What a worker is given; ids below zero are those of errands."""
        return Prepare(-number, self.name, self.needs) if self.preparation else Check(-number)


def run_errands(
    executor: Executor,
    errands: Sequence[Errand],
    *,
    on_prepared: Callable[[Prepared], None],
    tick: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Do all errands, or return early when `stop` is set.

    Args:
        executor: is open.
        errands: in an order in which needs come first; a need that is not among them is taken as done.
        on_prepared: gets the arrays of each preparation, before any errand that needs them starts.
        tick: called several times a second with what is running.
        stop: set from outside.

    Raises:
        UsageError: an errand found the input unusable.
        PreparationFailed: an errand raised, or its workers died or hung three times.
    """
    numbers = itertools.count(1)
    pending = {e.name: e for e in errands}
    running: dict[int, tuple[Errand, str]] = {}
    losses: Counter[str] = Counter()
    while (pending or running) and not stop.is_set():
        unfinished = {*pending, *(e.name for e, _ in running.values())}
        ready = [e for e in pending.values() if not unfinished.intersection(e.needs)]
        busy = {worker for _, worker in running.values()}
        for worker, errand in zip(_once_each(executor.slots(), busy), ready, strict=False):
            work = pending.pop(errand.name).work(next(numbers))
            running[work.id] = (errand, worker)
            executor.start(worker, work)
        tick(", ".join(e.name for e, _ in running.values()) or "waiting for workers")
        for event in executor.poll(_POLL_SECONDS):
            lost = _absorb(event, running, on_prepared)
            if lost is not None:
                pending[lost.name] = lost
                losses[lost.name] += isinstance(event, Lost) and not event.announced
                if losses[lost.name] >= _MOST_LOSSES and isinstance(event, Lost):
                    times = f"its worker died or hung {_MOST_LOSSES} times"
                    raise PreparationFailed(f"{lost.name}: {times}. Last: {event.why}")


def _once_each(slots: Iterable[str], busy: set[str]) -> list[str]:
    return [w for w in dict.fromkeys(slots) if w not in busy]


def _absorb(
    event: Event, running: dict[int, tuple[Errand, str]], on_prepared: Callable[[Prepared], None]
) -> Errand | None:
    """Take note of an event; gives the errand that must be done again."""
    match event:
        case Gave(message=Prepared() as made):
            on_prepared(made)
        case Finished():
            running.pop(event.work)
        case Refused():
            raise event.error
        case Lost():
            errand, _ = running.pop(event.work)
            if event.cause is Cause.error:
                raise PreparationFailed(f"{errand.name} failed:\n{event.why}")
            return errand
    return None
