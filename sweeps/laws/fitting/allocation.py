"""The best size and number of tokens for a compute budget, from a fitted Chinchilla law, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.chinchilla import Chinchilla
from landsweep.sweeps.laws.fitting.fitted import Fit

__all__ = ["allocation"]


def allocation(fit: Fit, flops: Sequence[float], *, per_token: float = 6.0, level: float = 0.95) -> pd.DataFrame:
    """A line for each budget: `flops`, then `N`, `D` and `loss`, each with `_low` and `_high`, and `warning`.

    Args:
        fit: a fit of the Chinchilla law.
        flops: budgets, in FLOPs.
        per_token: FLOPs for one parameter and one token.
        level: confidence level of the intervals.

    Raises:
        UsageError: the law is another, or a budget is not positive.
    """
    law = fit.law
    if not isinstance(law, Chinchilla):
        raise UsageError(f"the law {law.name} says nothing about the division of a budget; fit the law chinchilla")
    budgets = np.asarray(flops, np.float64)
    if not np.isfinite(budgets).all() or (budgets <= 0).any():
        raise UsageError("a budget must be a positive number of FLOPs, such as 1e20")
    columns: dict[str, object] = {"flops": budgets}
    best = {}
    for name in ("N", "D", "loss"):
        band = fit.uncertainty.band(lambda theta, name=name: law.optimum(theta, budgets, per_token)[name], level=level)  # type: ignore[misc]
        best[name] = band["value"]
        columns |= {name: band["value"], f"{name}_low": band["low"], f"{name}_high": band["high"]}
    return pd.DataFrame({**columns, "warning": fit.warnings({"N": best["N"], "D": best["D"]})})
