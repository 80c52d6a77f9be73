"""What a worker has computed and not sent yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from landsweep.orchestrator.row import Outcome, Progress
from landsweep.orchestrator.unit import Unit

__all__ = ["Buffer"]

_ROWS = 2048
_CELLS = 4_000_000  # rows times columns: units may each have metrics of their own


@dataclass(slots=True)
class Buffer:
    """Outcomes that wait to be sent, and the progress of units that have not ended."""

    units: list[Unit] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    meters: list[dict[str, Any]] = field(default_factory=list)
    news: list[Progress] = field(default_factory=list)
    series: list[Progress] = field(default_factory=list)
    running: dict[str, list[Progress]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def add(self, unit: Unit, outcome: Outcome, meters: dict[str, Any]) -> None:
        """A unit has ended."""
        self.units.append(unit)
        self.outcomes.append(outcome)
        self.meters.append(meters)
        self.names.update(outcome.metrics)
        self.series += self.running.pop(outcome.key, ())

    @property
    def full(self) -> bool:
        """Whether one message should hold no more."""
        rows = len(self.outcomes)
        return rows >= _ROWS or rows * len(self.names) >= _CELLS

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (self.outcomes or self.news)

    def clear(self) -> None:
        """All but the progress of units that have not ended was sent."""
        for sent in (self.units, self.outcomes, self.meters, self.series, self.news, self.names):
            sent.clear()
