"""Schedules as logged curves bring them: a row at some steps, with the learning rate there.

Between two rows the rate moves linearly. Where it falls once, between rows at which it stays, it is taken to fall at
the step of the later row. A schedule that is otherwise needs more rows; they may lack the loss.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Points, Quantity

__all__ = ["SUM_BEFORE", "abrupt", "curves", "given_before", "notes"]

SUM_BEFORE = Quantity(
    "sum_before",
    "steps x rate",
    "sum of the rates of all steps before a curve's first row; without it, its first rate times those steps",
    positive=False,
    optional=True,
)
_FLAT = 0.1  # of the slope of a fall: with less on either side, it is one drop


def curves(x: Points) -> list[NDArray[np.int64]]:
    """The rows of each curve, by step.

    Raises:
        UsageError: a curve has two rates at one step.
    """
    by_curve = []
    for curve in np.unique(x["curve"]):
        rows = np.flatnonzero(x["curve"] == curve)
        rows = rows[np.argsort(x["step"][rows], kind="stable")]
        steps, rates = x["step"][rows], x["rate"][rows]
        twice = np.flatnonzero((np.diff(steps) == 0) & (np.diff(rates) != 0))
        if len(twice):
            raise UsageError(
                f"curve: the step {steps[twice[0]]:g} of one curve has the rates {rates[twice[0]]:g} and "
                f"{rates[twice[0] + 1]:g}; runs of different schedules need names of their own in the column of `curve`"
            )
        by_curve.append(rows)
    return by_curve


def abrupt(steps: Floats, rates: Floats) -> NDArray[np.bool_]:
    """Between which rows [m - 1] the rate falls at once: it falls there, and hardly moves on either side."""
    gap, change = np.diff(steps), np.diff(rates)
    slope = np.abs(change) / np.maximum(gap, 1e-12)
    left, right = np.concatenate([[0.0], slope[:-1]]), np.concatenate([slope[1:], [0.0]])
    alone = np.maximum(left, right) <= _FLAT * slope
    return np.asarray((change < 0) & alone & (len(slope) > 1))


def given_before(x: Points, rows: NDArray[np.int64]) -> float | None:
    """The sum of rates before the first row of a curve; None where the table does not say.

    Raises:
        UsageError: it is negative, or not the same in all rows of the curve.
    """
    if SUM_BEFORE.name not in x:
        return None
    values = x[SUM_BEFORE.name][rows]
    if values.min() < 0 or values.max() != values.min():
        raise UsageError(
            f"sum_before is from {values.min():g} to {values.max():g} within one curve; it must be one number from 0 "
            "for each curve: the sum of the rates of all steps before its first row"
        )
    return float(values[0])


def notes(x: Points, *, peak: bool = False) -> list[str]:
    """What is assumed about the schedules of these curves.

    Args:
        x: `curve`, `step`, `rate` and perhaps `sum_before` [n].
        peak: whether the law counts a warm-up at the peak rate anyway.
    """
    sentences, late, coarse = [], [], []
    for rows in curves(x):
        steps, rates = x["step"][rows], x["rate"][rows]
        if steps[0] > 1 and SUM_BEFORE.name not in x and not peak:
            late.append((steps[0], rates[0]))
        sudden = abrupt(steps, rates) & (np.diff(steps) > 1)
        coarse += [(steps[i], steps[i + 1]) for i in np.flatnonzero(sudden)]
    if late:
        step, rate = max(late)
        sentences.append(
            f"{len(late)} of {len(curves(x))} curves begin after step 1 (the latest at step {step:g}, rate {rate:g}); "
            "the steps before count at the first row's rate. If there was a warm-up, give the sum of the rates before "
            f"the first row as `sum_before`; for a linear warm-up over all these steps: --columns "
            f'"sum_before={step / 2:g}*{rate:g}"'
        )
    if coarse:
        sentences.append(
            f"the rate falls at once between steps {coarse[0][0]:g} and {coarse[0][1]:g} of a curve ({len(coarse)} "
            "such falls); it is taken to fall at the later one. If it fell earlier, add a row with that step and the "
            "new rate; it may lack the loss (--exclude 'loss missing')"
        )
    return sentences
