"""The unit that is being computed in this process: what `landsweep.unit` speaks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread, current_thread

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Metric
from landsweep.sweeps.lab.callables.folders import Place, UnitFolders
from landsweep.sweeps.lab.callables.results import Unfit, plain_metric, step_of

__all__ = ["CurrentUnit", "current", "set_current"]

_LONGEST_LOG = 1 << 20  # bytes


class CurrentUnit:
    """The unit that a worker's function computes, one after the other.

    Args:
        bench: of the worker.

    Attributes:
        device: of the worker.
        devices: all of the worker.
        key: of the unit.
        row: the last value of each metric that was reported.
        points: step and numbers, reported and not yet passed on.
        step: the last one; -1 before the first report.
        asked: it was told that it should stop.
        kept: its checkpoints stay when it has ended well.
        arrived: called after each report.
        others: threads that are not the unit's: they were there before it began.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench, self._stopped = bench, bench.stopped
        self.device, self.devices = bench.device, bench.devices
        self._folders: UnitFolders | None = None
        self._with_files: set[str] = set()
        self.arrived: Callable[[], None] = _nobody
        self.others: set[Thread] = set()
        self.row: dict[str, Metric] = {}
        self.points: deque[tuple[int, dict[str, float]]] = deque()
        self.begin("")

    def begin(self, key: str) -> None:
        """The unit with this key begins."""
        self.key = key
        self.step = -1
        self.asked = self.kept = False
        self._at_step: set[str] = set()
        self._place: Place | None = None
        if self.row:
            self.row, self.points = {}, deque()

    @property
    def place(self) -> Place:
        """The unit's folder; asking for it counts the attempt.

        One that has ended well and is evaluated again, to compare, gets another, empty folder.
        """
        if self._place is None:
            if self._folders is None:
                self._folders = UnitFolders(self._bench)
            self._place = self._folders.begin(self.key, apart=self.key in self._with_files)
        return self._place

    def checkpoints(self) -> Path:
        """The folder for checkpoints."""
        return self.place.inner("checkpoints")

    def report(self, step: int, metrics: Mapping[str, object]) -> None:
        """Take in metrics at a step.

        Raises:
            Unfit: the step fell, a metric was given at this step before, or is no number.
        """
        number = step_of(step, self.step - 1)
        values = {name: plain_metric(name, value) for name, value in metrics.items()}
        for name, value in values.items():
            if not isinstance(value, int | float):
                raise Unfit(f"the metric {name} at step {number} is {value!r}; what has a step must be a number")
        if number == self.step and (twice := sorted(values.keys() & self._at_step)):
            raise Unfit(f"the metric {twice[0]} was reported twice at step {number}; the step must rise")
        self._at_step = {*values} | (self._at_step if number == self.step else set())
        self.step = number
        self.row |= values
        self.points.append((number, {name: float(value) for name, value in values.items()}))  # type: ignore[arg-type]
        self.arrived()

    def should_stop(self) -> bool:
        """Whether the unit should end early, as a search or the user wants it."""
        self.asked = self.asked or self._stopped(self.key)
        return self.asked

    def log(self, text: str) -> None:
        """Add a line to the unit's log, which has at most a megabyte."""
        path = self.place.folder / "log.txt"
        if not path.is_file() or path.stat().st_size < _LONGEST_LOG:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")

    def end(self, *, well: bool) -> None:
        """The unit has ended: the files of one that ended well are removed, but for its log and what it wants kept."""
        place = self._place
        if place is None or not well:
            return
        if self.key in self._with_files:
            place.remove()
        elif not self.kept:
            place.remove(but="log.txt")
        self._with_files.add(self.key)


_current: CurrentUnit | None = None


def _nobody() -> None:
    """Nobody waits for reports."""


def current() -> CurrentUnit | None:
    """The unit that is being computed in this process; None outside of a sweep.

    Raises:
        RuntimeError: a thread asks that is not the unit's, such as one that an earlier unit has left behind.
    """
    if _current is not None and current_thread() in _current.others:
        raise RuntimeError(
            "landsweep.unit is used by a thread that was there before this unit began, so it may speak for another. "
            "Use it in the function, or in threads that the function starts"
        )
    return _current


def set_current(unit: CurrentUnit | None) -> None:
    """From now on this unit is being computed."""
    global _current
    _current = unit
