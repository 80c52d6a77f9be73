"""Rows drawn again: what the intervals of claims are made from (the bootstrap of Efron, 1979)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError

__all__ = ["Draws", "Places"]

Places = NDArray[np.intp]

_DRAWS = 1000
_MOST_PLACES = 2 * 10**7  # of all draws together; a larger table is drawn from less often
_LEAST_DRAWS = 100
_KEPT_PLACES = 4 * 10**6
_REPEATS = ("seed", "draw")  # columns whose values are repeats of the same settings


class Draws:
    """The same random draws for every number of a claim, so that differences are paired.

    Args:
        rows: the table.
        over: column whose values are drawn with replacement, all rows of a value together; None: `seed` or `draw`
            where one of them has several values, else single rows.

    Attributes:
        basis: what is drawn, in words.

    Raises:
        UsageError: there is no such column.
    """

    def __init__(self, rows: pd.DataFrame, over: str | None) -> None:
        if over is not None and over not in rows:
            raise UsageError(f"over: there is no column {over!r}; the rows have {', '.join(map(str, rows.columns))}")
        named = over or next((c for c in _REPEATS if c in rows and _groups(rows[c]).max(initial=0) > 0), None)
        self._rows = len(rows)
        self.groups: NDArray[np.intp] = np.arange(self._rows) if named is None else _groups(rows[named])
        self._members = None if named is None else _members(self.groups)
        self.basis = "rows" if named is None else f"values of {named}"
        self.count = max(_LEAST_DRAWS, min(_DRAWS, _MOST_PLACES // max(1, self._rows)))
        self._drawn: list[Places] | None = None  # of a table that is small enough
        if self._rows * self.count <= _KEPT_PLACES:
            self._drawn = list(self._draw())

    def __iter__(self) -> Iterator[Places]:
        """Positions of the rows of each draw."""
        return self._draw() if self._drawn is None else iter(self._drawn)

    def _draw(self) -> Iterator[Places]:
        chance = np.random.default_rng(0)
        for _ in range(self.count):
            if self._members is None:
                yield chance.integers(0, self._rows, self._rows) if self._rows else np.arange(0)
            elif not self._members:
                yield np.arange(0)
            else:
                picked = chance.integers(0, len(self._members), len(self._members))
                yield np.concatenate([self._members[i] for i in picked])


def _groups(values: pd.Series) -> NDArray[np.intp]:
    """Numbers of the values, equal ones sharing one; -1 for none. Values may be of any type."""
    texts = values.map(repr).where(values.notna(), None)
    return np.asarray(pd.factorize(texts)[0], np.intp)


def _members(groups: NDArray[np.intp]) -> list[Places]:
    """Positions of the rows of each group; rows without a value (group -1) are in none."""
    order = np.argsort(groups, kind="stable")
    edges = np.searchsorted(groups[order], np.arange(groups.max(initial=-1) + 2))
    return [order[a:b] for a, b in itertools.pairwise(edges)]
