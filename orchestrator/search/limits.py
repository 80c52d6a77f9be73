"""What keeps a search from going on for ever: a budget that nothing counts, and trials that achieve nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.search.samplers import Budget

__all__ = ["InVain", "check_counted"]


def check_counted(budget: Budget, row: Mapping[str, Any]) -> None:
    """Whether a row that ended well has what the budget counts.

    Raises:
        UsageError: it has not: says what it has instead, and what to do.
    """
    if budget.flops is None or row["status"] != Status.ok.value:
        return
    flops = row.get("flops")
    if isinstance(flops, bool) or not isinstance(flops, int | float) or not math.isfinite(flops) or flops < 0:
        given = "no column `flops`" if flops is None else f"flops {flops!r}"
        raise UsageError(
            f"budget.flops is {budget.flops:g}, but the units give {given}, so this budget would never be used up: "
            "return the operations of each call under `flops`, or give budget.units or budget.seconds"
        )


class InVain:
    """Counts trials in a row, by number, that brought the search no nearer to its end.

    Args:
        budget: of the search.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lost: dict[int, str] = {}  # trials that have ended: what was wrong, empty where all was well
        self._next = self._run = 0
        self._why = ""

    @property
    def verdict(self) -> str:
        """Why the search ends now, and what to do; empty while it may go on."""
        if self._run < self._budget.in_vain:
            return ""
        return (
            f"the search ends: the last {self._run:,} trials in a row {self._why} (budget.in_vain is "
            f"{self._budget.in_vain:,}). Mend the cause, then compute them again with `landsweep rerun`, or go on with "
            "a larger budget.in_vain"
        )

    @property
    def hopeless(self) -> bool:
        """Whether no trial has achieved anything yet: then no more should begin at once than would end the search."""
        return self._run == self._next > 0

    def note(self, number: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in a trial that has ended; the order does not matter."""
        self._lost[number] = self._wrong(list(rows))
        while self._next in self._lost:
            wrong = self._lost.pop(self._next)
            self._run, self._why = (self._run + 1, wrong) if wrong else (0, "")
            self._next += 1

    def _wrong(self, rows: list[Mapping[str, Any]]) -> str:
        if any(row["status"] == Status.failed.value for row in rows):
            return "failed"
        if self._budget.units is not None:
            return ""
        limits = [name for name in ("seconds", "flops") if getattr(self._budget, name) is not None]
        counted = any((row.get(name) or 0) > 0 for row in rows for name in limits)
        return "" if counted else f"added nothing to {' and '.join(f'budget.{name}' for name in limits)}"
