"""Laws of the optimum: the best rate as a power of size or horizon, and the critical batch size; with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sweeps.lab.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column
from sweeps.lab.laws.fit import fit
from sweeps.lab.laws.outcome import Fit
from sweeps.lab.laws.power import POWER

__all__ = ["STEPS_TO_TARGET", "StepsToTarget", "critical_batch", "rate_law"]

_STARTS = (0.01, 0.1, 1.0, 10.0, 100.0)  # critical batch sizes, in the middle of those that were tried


class StepsToTarget(Law):
    """S = Smin (1 + Bcrit / B): equation 2.7 of arXiv 1812.06162, (S / Smin - 1)(E / Emin - 1) = 1 with E = S B.

    At the batch size Bcrit twice the least steps and twice the least samples are needed.
    """

    name = "steps_to_target"
    formula = "steps = least (1 + critical / batch)"
    source = "arXiv 1812.06162"
    inputs = (Quantity("batch", "samples", "batch size"),)
    output = Quantity("steps", "steps", "until the target was reached, at the best rate")
    parameters = (
        Parameter("least", "steps at an infinite batch size", log=True),
        Parameter("critical", "critical batch size, samples", log=True),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        least, share = column(theta, 0), 1 / x["batch"]
        grown = 1 + column(theta, 1) * share
        return least * grown, np.stack([np.broadcast_to(grown, (len(theta), len(share))), least * share], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        middle = centre(x["batch"])
        return np.array([(centre(y) / (1 + s), s * middle) for s in _STARTS])

    def example(self) -> tuple[Floats, Points]:
        return np.array([50.0, 200.0]), {"batch": np.geomspace(8, 2048, 9)}


STEPS_TO_TARGET = StepsToTarget()


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
    found = _fitted(STEPS_TO_TARGET, {"batch": batches, "steps": steps})
    falls = (
        found is not None and found["critical"] > 1e-3 * min(batches) and "critical" not in found.convergence.at_bound
    )
    return found if falls else None


def _fitted(law: Law, columns: dict[str, Sequence[float]]) -> Fit | None:
    table = pd.DataFrame({name: np.asarray(values, dtype=float) for name, values in columns.items()}).dropna()
    if len(table) < law.least_points or table.iloc[:, 0].nunique() < 2:
        return None
    return fit(law, table, objective="least-squares")
