"""How well the parameters are known: from the curvature, from a bootstrap, from profiles of the objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.points import Cases
from landsweep.sweeps.laws.fitting.polish import STAGES
from landsweep.sweeps.laws.fitting.problem import BLOCK, Problem
from landsweep.sweeps.laws.fitting.solver import Batch, descend

__all__ = ["bootstrap", "covariance", "dispersion", "open_ends", "profile"]

_LEVEL = 0.95
_STEPS = 60
_BOFINGER = 2 * (4.5 * norm.pdf(0) ** 4) ** 0.2  # bandwidth for the density at the median (Bofinger 1975), both sides
_PROFILE = 30  # values on each side


def dispersion(problem: Problem, phi: Floats, parameters: int) -> tuple[float, float]:
    """Mean square of psi, and mean slope of psi, at the residuals of a fit.

    For an M-estimator the covariance is (first / second^2) (J^T W J)^-1 (Huber, Robust Statistics, 1981). Where delta
    is narrow, too few points lie within it to tell the slope; the density of residuals around zero tells it instead.
    """
    objective, w = problem.objective, problem.weights
    r = problem.residuals(phi[None])[0]
    spread = float((w * objective.psi(r) ** 2).sum() / max(problem.n - parameters, 1))
    if not np.isfinite(objective.delta):
        return spread, 1.0
    size = np.abs(r)
    window = max(objective.delta, float(np.quantile(size, min(_BOFINGER * problem.n**-0.2, 0.9))))
    within = max(int((size <= window).sum()) - parameters, 1) / max(problem.n - parameters, 1)  # fitted points lie at 0
    return spread, objective.scale * within * objective.delta / window


def covariance(problem: Problem, phi: Floats, free: NDArray[np.bool_]) -> Floats:
    """Covariance [P, P] of the internal coordinates from the curvature; zero for those that are fixed."""
    moving = np.flatnonzero(free)
    jacobian = problem.jacobian(phi)[moving]
    spread, slope = dispersion(problem, phi, len(moving))
    information = (jacobian * problem.weights) @ jacobian.T
    scale = np.sqrt(np.diag(information))
    scale = np.where(scale > 0, scale, 1.0)
    inverse = np.linalg.pinv(information / np.outer(scale, scale), rcond=1e-15, hermitian=True)
    matrix = np.zeros((len(phi), len(phi)))
    matrix[np.ix_(moving, moving)] = inverse / np.outer(scale, scale) * spread / slope**2
    return matrix


def open_ends(problem: Problem, phi: Floats, free: NDArray[np.bool_]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Positive parameters that the points don't keep from their lower, and from their upper bound.

    With the parameter there and all others as they are, the objective stays within the limit of a 95 % profile: so the
    profile's interval, which fits the others again, reaches that bound too.
    """
    spread, slope = dispersion(problem, phi, int(free.sum()))
    limit = float(problem.values(phi[None])[0]) + chi2.ppf(_LEVEL, 1) * spread / slope / 2
    positive = np.flatnonzero(free & problem.coordinates.log)
    open_names = []
    for bound in (problem.coordinates.low, problem.coordinates.high):
        tried = np.tile(phi, (len(positive), 1))
        tried[np.arange(len(positive)), positive] = bound[positive]
        within = problem.values(tried) <= limit if len(positive) else np.zeros(0, bool)
        open_names.append(tuple(problem.law.parameters[i].name for i in positive[within]))
    return open_names[0], open_names[1]


def bootstrap(problem: Problem, phi: Floats, cases: Cases, draws: int, seed: int, free: NDArray[np.bool_]) -> Floats:
    """Fits of resampled tables, all at once, each begun at the fit of the whole one.

    Args:
        problem: with common measurements and weights.
        phi: internal coordinates [P] of the fit.
        cases: the points; with groups, groups are drawn, else points.
        draws: how many.
        seed: seed of the draws.
        free: which parameters are fitted [P].

    Returns:
        Internal coordinates [draws, P].
    """
    random = np.random.default_rng(seed)
    groups = np.arange(problem.n) if cases.groups is None else cases.groups
    _, places = np.unique(groups, return_inverse=True)
    number, size = int(places.max()) + 1, max(1, BLOCK // problem.n)
    blocks = []
    for first in range(0, draws, size):  # in blocks: weights for all draws at once could be larger than memory
        some = min(size, draws - first)
        counts = random.multinomial(number, np.full(number, 1 / number), some)[:, places]
        drawn = replace(problem, weights=counts * problem.weights)
        blocks.append(_narrowing(drawn, np.tile(phi, (some, 1)), np.tile(free, (some, 1))).phi)
    return np.concatenate(blocks)


def _narrowing(problem: Problem, phi: Floats, free: NDArray[np.bool_]) -> Batch:
    """Descend at ever smaller delta, down to the problem's own."""
    delta = problem.objective.delta
    coarse = [s for s in STAGES[::2] if s > delta and np.isfinite(delta)]
    for width in coarse:
        smooth = problem.smoothed(width)
        phi = descend(smooth, Batch.at(smooth, phi, free), _STEPS // 2).phi
    return descend(problem, Batch.at(problem, phi, free), _STEPS)


def profile(
    problem: Problem, phi: Floats, place: int, level: float, deviation: float, free: NDArray[np.bool_]
) -> tuple[Floats, Floats, tuple[float, float]]:
    """The objective with one parameter held at many values and all others fitted again.

    The interval holds the values whose objective exceeds the minimum by less than q a / (2 b), where a and b are the
    mean square and the mean slope of psi and q the quantile of chi^2 with one degree of freedom (Schrader and
    Hettmansperger, Biometrika 67, 1980); for least squares this is the usual ratio of sums of squares.

    Args:
        problem: with common measurements and weights.
        phi: internal coordinates [P] of the fit.
        place: index of the parameter.
        level: confidence level, between 0 and 1.
        deviation: its standard error in internal coordinates: sets the range that is tried, 5 on each side.
        free: which parameters are fitted [P].

    Returns:
        Internal coordinates [m] tried, objective [m] at each, the interval; an end that was not reached is the bound,
        if that was tried, else infinite.
    """
    tried = phi[place] + np.linspace(-5, 5, 2 * _PROFILE + 1) * deviation
    bounds = (float(problem.coordinates.low[place]), float(problem.coordinates.high[place]))
    tried = np.unique(np.clip(tried, *bounds))
    starts = np.tile(phi, (len(tried), 1))
    starts[:, place] = tried
    moving = np.tile(free, (len(tried), 1))
    moving[:, place] = False
    values = _narrowing(problem, starts, moving).value
    spread, slope = dispersion(problem, phi, int(free.sum()))
    limit = float(problem.values(phi[None])[0]) + chi2.ppf(level, 1) * spread / slope / 2
    return tried, values, _crossings(tried, values, limit, float(phi[place]), bounds)


def _crossings(
    tried: Floats, values: Floats, limit: float, middle: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """Where the objective first exceeds the limit, on either side of the middle, by linear interpolation."""
    ends: list[float] = []
    for side, outside, bound in ((tried < middle, -np.inf, bounds[0]), (tried > middle, np.inf, bounds[1])):
        order = np.argsort(np.abs(tried[side] - middle))
        at, value = tried[side][order], values[side][order]
        above = np.flatnonzero(value > limit)
        if not len(above):
            ends.append(bound if bound in tried else outside)
            continue
        i = above[0]
        before = (middle, limit - max(limit - values.min(), 1e-300)) if i == 0 else (at[i - 1], value[i - 1])
        share = (limit - before[1]) / (value[i] - before[1])
        ends.append(float(before[0] + share * (at[i] - before[0])))
    return ends[0], ends[1]
