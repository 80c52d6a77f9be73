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
class _Busy:
    heard: float
    complain: float  # seconds of silence that are worth a word
    works: list[int] = field(default_factory=list)  # the first is computed, the others wait


class Silence:
    """Keeps account of signs; times are monotonic and given by the caller.

    Args:
        first: seconds of silence after which `complaints` names a worker, then after twice as many, and so on.
    """

    def __init__(self, first: float = _FIRST) -> None:
        self._first = first
        self._busy: dict[str, _Busy] = {}
        self._workers: dict[int, str] = {}

    def started(self, worker: str, work: int, now: float) -> None:
        """A worker was given a shard."""
        busy = self._busy.setdefault(worker, _Busy(now, self._first))
        if not busy.works:
            busy.heard, busy.complain = now, self._first
        busy.works.append(work)
        self._workers[work] = worker

    def heard(self, work: int, now: float, *, ended: bool) -> None:
        """A sign of life from a shard."""
        worker = self._workers.pop(work, None) if ended else self._workers.get(work)
        if worker is None:
            return
        busy = self._busy[worker]
        busy.heard, busy.complain = now, self._first
        if ended:
            busy.works.remove(work)
            if not busy.works:
                del self._busy[worker]

    def longest(self, now: float) -> Silent | None:
        """The worker that has been silent for longest, if that is long."""
        silent = [Silent(w, now - b.heard, b.works[0]) for w, b in self._busy.items() if now - b.heard >= self._first]
        return max(silent, key=lambda s: s.seconds, default=None)

    def complaints(self, now: float) -> list[Silent]:
        """Workers that have become worth a word since the last call."""
        due = []
        for worker, busy in self._busy.items():
            if (seconds := now - busy.heard) >= busy.complain:
                due.append(Silent(worker, seconds, busy.works[0]))
                busy.complain = 2 * max(busy.complain, seconds)
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
