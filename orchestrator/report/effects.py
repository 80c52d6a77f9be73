"""Which axes matter: how much of the order of the units each one explains alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.parts import Table

__all__ = ["shares_of_order", "shares_table"]

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Codes: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

_LEAST = 8  # units below which such shares say little
_TURNS, _EXACT = 100, 1e-6  # of ranks, which are a half apart at least


def shares_of_order(labels: pd.DataFrame, values: Sequence[float]) -> dict[str, float]:
    """For each axis the share of the variance of the values' ranks that lies between its values.

    Ranks, because one huge loss would otherwise outweigh all else. An axis with many values explains some of any order,
    as by chance; this part, estimated from what all axes together leave unexplained, is taken off (omega squared).
    Shares of axes that act together don't add up to 1.

    Args:
        labels: a column per axis: the value of each unit.
        values: of the units; those that are not finite are left out.

    Returns:
        Axis to share, the largest first. Empty where there are fewer than 8 values, all are equal, or there are no more
        units than the axes have values.

    Example:
        >>> frame = pd.DataFrame({"a": list("xxxxyyyy"), "b": list("pqpqpqpq")})
        >>> shares_of_order(frame, [1, 1, 1, 1, 5, 5, 5, 5])
        {'a': 1.0, 'b': 0.0}
    """
    given = np.asarray(values, dtype=float)
    finite = np.isfinite(given)
    ranks = pd.Series(given[finite]).rank().to_numpy()
    ranks = ranks - ranks.mean() if len(ranks) else ranks
    whole = float(ranks @ ranks)
    groups = {str(name): pd.factorize(labels[name].to_numpy()[finite])[0] for name in labels}
    steps = {name: int(codes.max(initial=0)) for name, codes in groups.items()}
    free = len(ranks) - 1 - sum(steps.values())
    if len(ranks) < _LEAST or whole == 0 or free <= 0:
        return {}
    left = _unexplained(ranks, list(groups.values()))
    noise = float(left @ left) / free
    shares = {}
    for name, codes in groups.items():
        between = float((_means(ranks, codes) ** 2).sum())
        shares[name] = min(1.0, max(0.0, between - steps[name] * noise) / whole)
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _means(values: Floats, codes: Codes) -> Floats:
    """For each value the mean of its group."""
    means: Floats = (np.bincount(codes, values) / np.bincount(codes))[codes]
    return means


def _unexplained(values: Floats, groups: Sequence[Codes]) -> Floats:
    """What is left of values without the best sum of one effect per axis; found by turns (backfitting).

    On a whole grid the first turn is exact; where units are missing, a few are.
    """
    left = values
    for _ in range(_TURNS):
        before = left
        for codes in groups:
            left = left - _means(left, codes)
        if np.abs(left - before).max() < _EXACT:
            break
    return left


def shares_table(shares: dict[str, float], metric: str) -> Table:
    """The same as a table of a report."""
    caption = (
        f"What matters for {metric}: how much of the order of the units each axis explains alone (the share of the "
        "variance of their ranks that lies between its values, less what chance would give). The rest is noise and "
        "what axes do together."
    )
    return Table(caption, ("axis", "share"), [[name, share] for name, share in shares.items()], "shares", digits=2)
