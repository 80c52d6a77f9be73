"""Which axes matter: how much of the order of the units each one explains alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.parts import Table

__all__ = ["shares_of_order", "shares_table"]

_LEAST = 8  # units below which such shares say little


def shares_of_order(labels: pd.DataFrame, values: Sequence[float]) -> dict[str, float]:
    """For each axis the share of the variance of the values' ranks that lies between its values.

    Ranks, because one huge loss would otherwise outweigh all else. Shares of axes that act together don't add up to 1.

    Args:
        labels: a column per axis: the value of each unit.
        values: of the units; those that are not finite are left out.

    Returns:
        Axis to share, the largest first; empty where there are fewer than 8 values, or all are equal.

    Example:
        >>> frame = pd.DataFrame({"a": list("xxxxyyyy"), "b": list("pqpqpqpq")})
        >>> shares_of_order(frame, [1, 1, 1, 1, 5, 5, 5, 5])
        {'a': 1.0, 'b': 0.0}
    """
    given = np.asarray(values, dtype=float)
    finite = np.isfinite(given)
    ranks = pd.Series(given[finite]).rank()
    whole = float(((ranks - ranks.mean()) ** 2).sum())
    if len(ranks) < _LEAST or whole == 0:
        return {}
    shares = {}
    for name in labels:
        means = ranks.groupby(labels[name].to_numpy()[finite]).transform("mean")
        shares[str(name)] = float(((means - ranks.mean()) ** 2).sum()) / whole
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def shares_table(shares: dict[str, float], metric: str) -> Table:
    """The same as a table of a report."""
    caption = (
        f"What matters for {metric}: how much of the order of the units each axis explains alone (the share of the "
        "variance of their ranks that lies between its values). The rest is noise and what axes do together."
    )
    return Table(caption, ("axis", "share"), [[name, share] for name, share in shares.items()], "shares", digits=2)
