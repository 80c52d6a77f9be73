"""Which model each row of a pack belongs to, which models still train, and how much time each of them has cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["Roster"]

_SMALLEST = 8  # rows of a back-end that is not row-exact: from here on a model's bits do not depend on their number


class Roster:
    """The rows of a pack and the models in them. It computes nothing, and knows models by the index of their recipe.

    A row may outlive its model: it is idle then. A pack whose results depend on the number of rows has at least
    `_SMALLEST`; rows that belong to no model fill it up, and are idle from the start.

    Args:
        models: how many there are.
        exact: whether a model's bits are the same whatever the number of rows.

    Attributes:
        rows: for each row the index of its model; spare rows have the indices after those of the models.
        active: rows whose models train.
        idle: all other rows.
    """

    def __init__(self, models: int, *, exact: bool) -> None:
        self._exact = exact
        self.rows = list(range(models if exact else max(models, _SMALLEST)))
        self._ended = set(range(models, len(self.rows)))
        self._to_stop: set[int] = set()
        self._seconds = [0.0] * len(self.rows)
        self._sort()

    def _sort(self) -> None:
        self.active = [row for row, index in enumerate(self.rows) if index not in self._ended]
        self.idle = [row for row, index in enumerate(self.rows) if index in self._ended]

    def end(self, indices: Collection[int]) -> None:
        """These models train no longer; their rows are idle from now on."""
        self._ended.update(indices)
        self._sort()

    def ask_to_stop(self, index: int) -> None:
        """Note that a model is to end; `to_stop` gives it once."""
        self._to_stop.add(index)

    def to_stop(self) -> list[int]:
        """Active rows whose models were asked to stop since the last call."""
        rows = [row for row in self.active if self.rows[row] in self._to_stop]
        self._to_stop.clear()
        return rows

    def charge(self, seconds: float) -> None:
        """Share a stretch of time among the active models."""
        for row in self.active:
            self._seconds[self.rows[row]] += seconds / len(self.active)

    def seconds(self, index: int) -> float:
        """What a model has been charged, in seconds."""
        return self._seconds[index]

    def worth_keeping(self) -> list[int]:
        """The rows that a pack without needless idle rows has; all of them where it would gain nothing.

        Row-exact packs lose every idle row. Others keep at least `_SMALLEST` rows, and shrink only to half their size
        or less, since copying costs, and the first rows that are taken out save little.
        """
        if not self.active or not self.idle:
            return list(range(len(self.rows)))
        if self._exact:
            return list(self.active)
        keep = sorted(self.active + self.idle[: max(_SMALLEST - len(self.active), 0)])
        return keep if len(keep) <= len(self.rows) // 2 else list(range(len(self.rows)))

    def take(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        self.rows = [self.rows[row] for row in rows]
        self._sort()

    def header(self) -> dict[str, Any]:
        """What a saved state holds of it, for JSON."""
        return {"rows": self.rows, "dead": sorted(self._ended), "seconds": self._seconds}

    def load(self, header: Mapping[str, Any]) -> None:
        """Become what `header` described."""
        self.rows, self._ended, self._seconds = list(header["rows"]), set(header["dead"]), list(header["seconds"])
        self._sort()
