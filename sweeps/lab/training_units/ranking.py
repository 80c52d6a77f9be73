"""Which of a sweep's models are worth a look of their own, where models of unlike sizes can't be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.tables import numbers

__all__ = ["best_of_each"]


def best_of_each(rows: pd.DataFrame, groups: Sequence[str], metric: str) -> pd.DataFrame:
    """Rows in the order of their worth: first the best one of each group, then the second best ones, and so on.

    Args:
        rows: one line per unit.
        groups: columns whose equal values make a group; empty cells are a value too.
        metric: the lower the better; rows without it come last in their group.

    Example:
        >>> rows = pd.DataFrame({"width": [8, 8, 16, 16], "loss": [0.3, 0.4, 0.2, 0.1]})
        >>> best_of_each(rows, ["width"], "loss").index.tolist()
        [0, 3, 1, 2]
    """
    if not len(rows):
        return rows
    by_value = numbers(rows[metric]).argsort(kind="stable")
    place = rows.iloc[by_value].groupby(list(groups), dropna=False, sort=False).cumcount()
    return rows.iloc[by_value[np.lexsort((by_value, place))]]
