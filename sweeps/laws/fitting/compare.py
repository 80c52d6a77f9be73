"""Several laws on one table: which predicts points that none of them has seen."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from landsweep.sweeps.laws.fitting.fitted import Fit

__all__ = ["comparison"]


def comparison(fits: Sequence[Fit]) -> pd.DataFrame:
    """A line for each fit, the one with the smallest held-out error first.

    Columns: `law`, `formula`, `parameters` (fitted), `n`, `objective`, `rmse` (fitted points), `held_out_n`,
    `held_out_rmse`, `held_out_bias`, `converged`. Without points held out, they are sorted by `rmse`, which always
    favours more parameters.
    """
    lines = [
        {
            "law": fit.law.name,
            "formula": fit.law.formula,
            "parameters": len(fit.theta) - len(fit.fixed),
            "n": len(fit.residuals),
            "objective": fit.value,
            "rmse": fit.rmse,
            "held_out_n": 0 if fit.held is None else fit.held.n,
            "held_out_rmse": None if fit.held is None else fit.held.rmse,
            "held_out_bias": None if fit.held is None else fit.held.bias,
            "converged": fit.converged,
        }
        for fit in fits
    ]
    judged = all(fit.held is not None for fit in fits)
    return pd.DataFrame(lines).sort_values("held_out_rmse" if judged else "rmse", kind="stable").reset_index(drop=True)
