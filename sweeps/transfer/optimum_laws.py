"""Laws of the optimum: the best rate as a power of size or horizon, and the critical batch size; with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from landsweep.sweeps.laws.base import Law
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.power import POWER
from landsweep.sweeps.laws.steps_to_target import STEPS_TO_TARGET

__all__ = ["critical_batch", "rate_law"]


def rate_law(rates: Sequence[float], sizes: Sequence[float]) -> Fit | None:
    """Best rate = c size^p, by least squares in logarithms as in arXiv 2409.19913; interval of p by Student's t.

    Args:
        rates: best learning rates [n]; points that are not finite are left out.
        sizes: parameters, samples, or batch sizes [n].

    Returns:
        The fit; None below three optima, since nothing is left to judge it by.
    """
    return _fitted(POWER, {"x": sizes, "y": rates})


def critical_batch(batches: Sequence[float], steps: Sequence[float]) -> Fit | None:
    """The critical batch size; interval by Student's t in its logarithm.

    Args:
        batches: batch sizes [n].
        steps: to the target at the best rate of each [n]; where it was not reached, nan.

    Returns:
        The fit; None below three batch sizes that reached the target, and where steps do not fall with the batch size.
    """
    law = _fitted(STEPS_TO_TARGET, {"batch": batches, "steps": steps})
    if law is None or law["critical"] <= 1e-3 * min(batches) or "critical" in law.convergence.at_bound:
        return None
    return law


def _fitted(law: Law, columns: dict[str, Sequence[float]]) -> Fit | None:
    table = pd.DataFrame({name: np.asarray(values, dtype=float) for name, values in columns.items()}).dropna()
    if len(table) < law.least_points or table.iloc[:, 0].nunique() < 2:
        return None
    return fit(law, table, objective="least-squares")
