"""Curves of running units: what they have reported, for those who look on before there are rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from landsweep.orchestrator.row import Progress
from landsweep.orchestrator.storage.ledger import Store
from landsweep.orchestrator.storage.ledger.running import MOST_RUNNING, RunningUnit, write_running
from landsweep.orchestrator.unit import Unit

__all__ = ["RunningCurves"]

_MOST_POINTS = 256  # of a unit; of more every other one is left out
_MOST_METRICS, _LONGEST_NAME = 32, 100  # of a step, in characters: a unit may report thousands, with a name of each
_REST = 20.0  # times what writing took


class RunningCurves:
    """Keeps what running units report, and writes it now and then.

    Args:
        store: of the sweep.
        seconds: between two writes, at least.
        say: tells the user, once, that it could not be written.
    """

    def __init__(self, store: Store, seconds: float, say: Callable[[str], None]) -> None:
        self._store, self._seconds, self._say = store, seconds, say
        self._steps: dict[str, dict[int, dict[str, float]]] = {}
        self._news = True  # a driver that was killed may have left a file
        self._next = -math.inf
        self._failed = False

    def take(self, progress: Iterable[Progress]) -> None:
        """Keep reports of the first units; one that reports an earlier step than before has begun anew."""
        for report in progress:
            steps = self._steps.get(report.key)
            if steps is None:
                if len(self._steps) >= MOST_RUNNING:
                    continue
                steps = self._steps[report.key] = {}
            if steps and report.step < next(reversed(steps)):
                steps.clear()
            point = steps.setdefault(report.step, {})
            for name, value in report.metrics.items():
                if name in point or (len(point) < _MOST_METRICS and len(name) <= _LONGEST_NAME):
                    point[name] = float(value)
            if len(steps) > _MOST_POINTS:
                self._steps[report.key] = dict([*steps.items()][::-2][::-1])  # the last one stays
            self._news = True

    def write_if_due(self, now: float, running: Callable[[], Iterable[Unit]]) -> None:
        """Write what is new, unless that was done a moment ago.

        Args:
            now: monotonic clock, s.
            running: gives the units that are under way; what others reported is dropped.
        """
        if not self._news or now < self._next:
            return
        under_way = {unit.key: unit.params for unit in running()}
        self._steps = {key: steps for key, steps in self._steps.items() if key in under_way}
        self._write([RunningUnit(key, under_way[key], steps) for key, steps in self._steps.items()])
        self._next = now + max(self._seconds, _REST * (time.monotonic() - now))

    def ended(self) -> None:
        """Nothing runs any more."""
        self._write([])

    def _write(self, units: list[RunningUnit]) -> None:
        problem = write_running(self._store, units)
        if problem and not self._failed:
            self._say(f"curves of running units can't be shown: {problem}")
        self._failed = problem is not None
        self._news = False
