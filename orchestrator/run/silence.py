"""Workers of which nothing has been heard for long: a unit computes, waits or hangs, and the user should know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from landsweep.orchestrator.text import one_line, shortened
from landsweep.orchestrator.unit import Unit

__all__ = ["Silence", "Silent"]

_ADVICE = (
    "It may compute, wait or hang. Except with site.executor=local, one that uses no processor time is ended after "
    "site.idle_seconds, and site.unit_timeout=SECONDS ends each unit that is silent for longer"
)

_FIRST = 300.0  # s


@dataclass(frozen=True, slots=True)
class Silent:
    """A worker that has work and gives no sign.

    Attributes:
        worker: its id.
        seconds: since the last sign.
        work: id of the shard that it computes.
    """

    worker: str
    seconds: float
    work: int

    def text(self, units: Sequence[Unit] | None) -> str:
        """For the user; `units` are those of the shard that have no row, the one that is being computed first."""
        unit = f" (unit {one_line(shortened(str(dict(units[0].params)), 200))})" if units else ""
        return f"no news from worker {self.worker} for {self.seconds / 60:.0f} min{unit}"


@dataclass(slots=True)
class _Desk:
    heard: float
    works: list[int] = field(default_factory=list)  # the first is computed, the others wait
    complain: float = 0.0  # seconds of silence that are worth a word


class Silence:
    """Keeps account of signs; times are monotonic and given by the caller.

    Args:
        first: seconds of silence after which `complaints` names a worker, then after twice as many, and so on.
    """

    def __init__(self, first: float = _FIRST) -> None:
        self._first = first
        self._desks: dict[str, _Desk] = {}
        self._workers: dict[int, str] = {}

    def started(self, worker: str, work: int, now: float) -> None:
        """A worker was given a shard."""
        desk = self._desks.setdefault(worker, _Desk(now, complain=self._first))
        if not desk.works:
            desk.heard, desk.complain = now, self._first
        desk.works.append(work)
        self._workers[work] = worker

    def heard(self, work: int, now: float, *, ended: bool) -> None:
        """A sign of life from a shard."""
        worker = self._workers.pop(work, None) if ended else self._workers.get(work)
        if worker is None:
            return
        desk = self._desks[worker]
        desk.heard, desk.complain = now, self._first
        if ended:
            desk.works.remove(work)
            if not desk.works:
                del self._desks[worker]

    def longest(self, now: float) -> Silent | None:
        """The worker that has been silent for longest, if that is long."""
        silent = [Silent(w, now - d.heard, d.works[0]) for w, d in self._desks.items() if now - d.heard >= self._first]
        return max(silent, key=lambda s: s.seconds, default=None)

    def complaints(self, now: float) -> list[Silent]:
        """Workers that have become worth a word since the last call."""
        due = []
        for worker, desk in self._desks.items():
            if (seconds := now - desk.heard) >= desk.complain:
                due.append(Silent(worker, seconds, desk.works[0]))
                desk.complain = 2 * max(desk.complain, seconds)
        return due

    def report(
        self, now: float, flights: Callable[[], Mapping[int, Sequence[Unit]]], say: Callable[[str], None]
    ) -> str:
        """Say what `complaints` has, and give a line on the longest silence, or none.

        Args:
            now: monotonic time.
            flights: gives the units without a row by shard.
            say: shows the user a line.
        """
        for silent in self.complaints(now):
            say(f"{silent.text(flights().get(silent.work))}. {_ADVICE}")
        longest = self.longest(now)
        return longest.text(flights().get(longest.work)) if longest else ""
