"""The best batch size and learning rate of each budget of tokens, from the models of another sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.fitting.tables import read_table

__all__ = ["best_settings"]

Floats = NDArray[np.float64]


def _vertex(x: Floats, y: Floats) -> float:
    """Where the parabola through the lowest of points [n] and its neighbours is lowest; the point itself at an end."""
    i = int(y.argmin())
    if i in (0, len(x) - 1):
        return float(x[i])
    a, b, _ = np.polyfit(x[i - 1 : i + 2], y[i - 1 : i + 2], 2)
    return float(-b / (2 * a)) if a > 0 else float(x[i])


def best_settings(setup: Path, sweep: str, share: float, seed: int, loss: str, excess: float) -> dict[str, float | int]:
    """The best settings of models with one budget, and how much worse others are.

    Args:
        setup: the folder of the spec.
        sweep: results folder of models over `batch_size` and `optimizer.learning_rate`, relative to it.
        share: `train_fraction` of the models, which sets the budget.
        seed: of the models.
        loss: column.
        excess: relative; the critical batch size is the largest whose loss at its best rate exceeds the lowest by no
            more, on a line in its logarithm between two sizes.

    Raises:
        UsageError: there are fewer than three batch sizes or rates, or one has no finite loss.
    """
    rows = read_table(setup / sweep)
    rows = rows[(rows["train_fraction"] == share) & (rows["seed"] == seed)]
    losses = rows.pivot(index="batch_size", columns="optimizer.learning_rate", values=loss)
    table = losses.to_numpy(dtype=np.float64)
    if min(table.shape) < 3 or not np.isfinite(table).all():
        raise UsageError(f"{sweep}: {loss} at a share of {share} must be known at three batch sizes and rates")
    batches = np.log2(losses.index.to_numpy(dtype=np.float64))
    rates = np.log2(losses.columns.to_numpy(dtype=np.float64))
    lowest = table.min(1)
    best = int(lowest.argmin())
    limit = lowest[best] * (1 + excess)
    last = int(np.flatnonzero(lowest <= limit).max())
    critical = batches[last]
    if last + 1 < len(batches):
        beyond = (limit - lowest[last]) / (lowest[last + 1] - lowest[last])
        critical += beyond * (batches[last + 1] - batches[last])
    return {
        "best_batch": 2.0 ** _vertex(batches, lowest),
        "best_rate": 2.0 ** _vertex(rates, table[best]),
        "critical_batch": float(2.0**critical),
        "sensitivity": float(table[best].mean() - lowest[best]),
        "bracketed": int(0 < best < len(batches) - 1),
    }
