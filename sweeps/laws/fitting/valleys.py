"""Minima at the end of curved valleys, where many short descents stall.

The robust objective has a kink in place of a slope for residuals far from zero, and the longer a valley the longer a
descent follows that kink. Least squares has none: SciPy's trust-region method follows it from the best starts as far as
it goes, and the robust objective is polished from there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.objective import Objective
from landsweep.sweeps.laws.fitting.polish import polish
from landsweep.sweeps.laws.fitting.problem import Problem
from landsweep.sweeps.laws.fitting.solver import multi_start

__all__ = ["follow"]

_STEPS, _LONG = 60, 1000  # of the descents from all starts, and of each descent that is followed to its end
_FOLLOWED = 12
_SAME = 1e-9  # relative difference of objectives that are one
_TOLERANCE = 1e-15
_INSIDE = 1e-10  # from a bound, relative: the method starts between bounds
_FORBIDDEN = 1e6  # residual in place of one that is no number


def follow(problem: Problem, starts: Floats, free: NDArray[np.bool_]) -> Floats:
    """Internal coordinates [m, P] of the minima that least squares, then the objective itself, lead to.

    Args:
        problem: with common measurements and weights.
        starts: internal coordinates [S, P].
        free: which of them may move [P].
    """
    squares = replace(problem, objective=Objective("least-squares", np.inf, problem.objective.log))
    batch, _ = multi_start(squares, starts, free, _STEPS)
    apart = np.diff(batch.value) > _SAME * batch.value[1:]
    distinct = np.flatnonzero(np.concatenate([[True], apart]) & np.isfinite(batch.value))
    minima = []
    for phi in batch.phi[distinct[:_FOLLOWED]]:
        minima.append(polish(problem, _followed(squares, phi, free), free))
        if problem.values(minima[-1][None])[0] <= problem.rounding:
            break
    return np.array(minima).reshape(-1, starts.shape[1])


def _followed(problem: Problem, phi: Floats, free: NDArray[np.bool_]) -> Floats:
    """The least-squares minimum that a long descent from `phi` [P] finds."""
    moving = np.flatnonzero(free)
    low, high = problem.coordinates.low[moving], problem.coordinates.high[moving]
    root = np.sqrt(problem.weights)

    def at(u: Floats) -> Floats:
        moved = phi.copy()
        moved[moving] = u
        return moved

    def residuals(u: Floats) -> Floats:
        with np.errstate(all="ignore"):
            r = problem.residuals(at(u)[None])[0] * root
        return np.where(np.isfinite(r), r, _FORBIDDEN)

    def slopes(u: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.nan_to_num((problem.jacobian(at(u))[moving] * root).T, posinf=0.0, neginf=0.0)

    above, below = (np.where(np.isfinite(b), _INSIDE * (1 + np.abs(b)), 0.0) for b in (low, high))
    start = np.clip(phi[moving], low + above, high - below)
    tolerances = {"xtol": _TOLERANCE, "ftol": _TOLERANCE, "gtol": _TOLERANCE, "max_nfev": _LONG}
    done = least_squares(residuals, start, slopes, bounds=(low, high), x_scale="jac", **tolerances)
    bound = np.where(done.x - low <= above, low, np.where(high - done.x <= below, high, done.x))
    ends = np.stack([at(done.x), at(bound)])
    return np.asarray(ends[int(np.argmin(problem.values(ends)))])
