"""The last digits: a quasi-Newton descent of one fit, in coordinates where its curvature is the unit matrix."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.problem import Problem

__all__ = ["STAGES", "polish", "whitening"]

STAGES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)  # widths of Huber's function on the way to a smaller one
_FORBIDDEN = 1e30  # in place of inf, which a line search can't subtract
_GRADIENT = 1e-10  # of the objective's root: in whitened coordinates a gain of 1e-20 of the objective


def whitening(curvature: Floats) -> Floats:
    """A matrix C [P, P] with C^T curvature C = 1, up to directions that the points do not determine."""
    values, vectors = np.linalg.eigh(curvature)
    return np.asarray(vectors / np.sqrt(np.maximum(values, 1e-14 * max(values[-1], 1e-300))))


def polish(problem: Problem, phi: Floats, free: np.ndarray) -> Floats:
    """The minimum next to `phi` [P], to the last digits; `phi` itself where nothing lower is found.

    Args:
        problem: with common measurements and weights.
        phi: internal coordinates [P] near a minimum.
        free: which of them may move [P]; those at a bound stay there.
    """
    low, high = problem.coordinates.low, problem.coordinates.high
    moving = np.flatnonzero(free & (phi > low) & (phi < high))
    if not len(moving):
        return phi
    delta = problem.objective.delta
    for width in (*(s for s in STAGES if s > delta and np.isfinite(delta)), delta):
        end = _descent(problem.smoothed(width), phi, moving)
        if (end >= low).all() and (end <= high).all():
            before, after = problem.smoothed(width).values(np.stack([phi, end]))
            phi = end if after < before else phi
    return phi


def _descent(problem: Problem, phi: Floats, moving: np.ndarray) -> Floats:
    row = np.zeros(1, np.int64)
    value, _, curvature = problem.terms(phi[None], row)
    if not np.isfinite(value[0]) or value[0] <= 0:
        return phi
    scale = float(value[0])
    white = whitening(curvature[0][np.ix_(moving, moving)] / scale)

    def at(u: Floats) -> Floats:
        moved = phi.copy()
        moved[moving] += white @ u
        return moved

    def objective(u: Floats) -> tuple[float, Floats]:
        value, gradient, _ = problem.terms(at(u)[None], row)
        if not np.isfinite(value[0]):
            return _FORBIDDEN, np.zeros(len(moving))
        return float(value[0]) / scale, white.T @ gradient[0][moving] / scale

    options = {"gtol": _GRADIENT, "maxiter": 500}
    result = minimize(objective, np.zeros(len(moving)), jac=True, method="BFGS", options=options)
    return at(result.x)
