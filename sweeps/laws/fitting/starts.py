"""Where a fit starts: the law's own starts, given ones, and drawn ones where those are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Law, Points
from landsweep.sweeps.laws.fitting.problem import Problem

__all__ = ["Starts", "begin", "drawn"]

Starts = Floats | Sequence[Mapping[str, float]]
_FEWEST = 256  # starts where parameters are given: the law's own are then no longer distinct, nor where they should be
_TRIED = 8  # points looked at for each start that is drawn
_MARGIN = 0.25  # of the law's own starts' range, on either side


def begin(
    problem: Problem, y: Floats, fixed: Mapping[str, float], given: Starts | None, count: int | None
) -> tuple[NDArray[np.bool_], Floats]:
    """Which parameters are fitted [P], and distinct starts in internal coordinates [S, P].

    Args:
        problem: the fit.
        y: measurements [n].
        fixed: parameters that are not fitted, with their values.
        given: parameter vectors [S, P] instead of the law's own starts; or some parameters, which replace those of the
            law's own starts.
        count: the least number of starts; where there are fewer, more are drawn. None: the law's own, but where
            parameters are fixed 256.
    """
    law, coordinates = problem.law, problem.coordinates
    vectors = _given(law, problem.x, y, given)
    free = np.array([p.name not in fixed for p in law.parameters])
    theta = vectors.copy()
    for name, value in fixed.items():
        theta[:, law.index(name)] = value
    phi = coordinates.inside(theta)
    phi = np.unique(phi, axis=0) if fixed else phi
    least = count if count is not None else _FEWEST if fixed and given is None else 0
    if len(phi) < least:
        phi = np.concatenate([phi, drawn(problem, coordinates.inside(vectors), phi[0], free, least - len(phi))])
    return free, phi


def _given(law: Law, x: Points, y: Floats, given: Starts | None) -> Floats:
    if given is None:
        return law.starts(x, y)
    if isinstance(given, np.ndarray):
        return np.atleast_2d(np.asarray(given, np.float64))
    listed, names = law.starts(x, y), [p.name for p in law.parameters]
    vectors = []
    for one in given:
        unknown = [name for name in one if name not in names]
        if unknown:
            raise UsageError(f"start: {law.name} has no parameter {unknown[0]!r}; it has {', '.join(names)}")
        theta = listed.copy()
        for name, value in one.items():
            theta[:, law.index(name)] = value
        vectors.append(np.unique(theta, axis=0))
    return np.concatenate(vectors)


def drawn(problem: Problem, around: Floats, held: Floats, free: NDArray[np.bool_], count: int) -> Floats:
    """Starts [count, P] that cover the box of others: of eight points for each, those with the lowest objective.

    Args:
        problem: the fit.
        around: internal coordinates [S, P] whose box, a little widened, is covered.
        held: internal coordinates [P] of the parameters that are not fitted.
        free: which are fitted [P].
        count: how many.
    """
    coordinates = problem.coordinates
    low, high = around.min(0), around.max(0)
    margin = _MARGIN * (high - low) + np.where(coordinates.log, 1.0, 0.1 * np.maximum(np.abs(low), np.abs(high)) + 1e-3)
    low, high = np.maximum(low - margin, coordinates.low), np.minimum(high + margin, coordinates.high)
    unit = qmc.Sobol(len(held), rng=np.random.default_rng(0)).random(2 ** int(np.ceil(np.log2(_TRIED * count))))
    phi = np.where(free, low + unit * (high - low), held)
    return phi[np.argsort(problem.values(phi), kind="stable")[:count]]
