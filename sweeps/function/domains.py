"""Compute-optimal sizes of several domains: an exponent for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from landsweep.sweeps.laws.fitting.tables import read_table

__all__ = ["frontier"]


def frontier(
    setup: Path, sweep: str, domain: str, seed: int, batch: int, loss: str = "test_loss", points: int = 12
) -> dict[str, float | None]:
    """How the best size grows with compute: N_opt proportional to C^exponent, C = 6 N x samples seen.

    The curves of all sizes are read at `points` budgets, evenly spaced in log C from the first that three sizes reach
    to the last that three reach; between two evaluations log loss is linear in log C. At each budget the size of lowest
    loss is the vertex of a parabola in log N through the best size and its neighbours; budgets whose best size is the
    smallest or the largest tell nothing and are left out.

    Args:
        setup: folder that paths start from.
        sweep: of runs whose recipe is the domain.
        domain: which.
        seed: of the runs.
        batch: samples of a step.
        loss: column of the series.
        points: how many budgets.

    Returns:
        The exponent, None where fewer than three budgets have a best size between others, and how many have one.
    """
    table = read_table(setup / sweep / "series")
    table = table[(table["recipe"] == domain) & (table["seed"] == seed)].dropna(subset=[loss])
    curves = {}
    for n, curve in table[table["step"] > 0].sort_values("step").groupby("parameters"):
        n = float(n)
        curves[n] = np.log(6 * n * batch * curve["step"].to_numpy(float)), np.log(curve[loss].to_numpy(float))
    sizes = np.array(sorted(curves))
    begin = sorted(curves[n][0][0] for n in sizes)[min(2, len(sizes) - 1)]
    end = sorted((curves[n][0][-1] for n in sizes), reverse=True)[min(2, len(sizes) - 1)]
    budgets, best = [], []
    for c in np.linspace(begin, end, points):
        known = [n for n in sizes if curves[n][0][0] <= c <= curves[n][0][-1]]
        values = np.array([np.interp(c, *curves[n]) for n in known])
        i = int(values.argmin())
        if 0 < i < len(known) - 1:
            a, b, _ = np.polyfit(np.log(known[i - 1 : i + 2]), values[i - 1 : i + 2], 2)
            budgets.append(c)
            best.append(-b / (2 * a))
    slope = float(np.polyfit(budgets, best, 1)[0]) if len(budgets) > 2 else None
    return {"exponent": slope, "budgets": len(budgets)}
