"""Fit a law to a table: the one way in. `fit(CHINCHILLA, table, bootstrap=1000)` gives a `Fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orchestrator.errors import UsageError
from sweeps.lab.laws.base import Floats, Law
from sweeps.lab.laws.cases import Cases, Selection, read_table, select
from sweeps.lab.laws.intervals import bootstrap as draw
from sweeps.lab.laws.intervals import covariance
from sweeps.lab.laws.objective import Objective, objective_named
from sweeps.lab.laws.outcome import Convergence, Fit, HeldOut
from sweeps.lab.laws.polish import polish
from sweeps.lab.laws.problem import Coordinates, Problem, checked_fixed
from sweeps.lab.laws.solver import race

__all__ = ["fit", "fit_cases"]

_STEPS = 200
_FELT = 1e-24  # of the largest curvature: a parameter below changes the prediction by less than 1e-12 of it
_SAME = 1e-6  # relative difference of objectives up to which two starts count as having found the same minimum


def fit(
    law: Law,
    table: pd.DataFrame | str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    objective: str | Objective = "huber",
    exclude: Sequence[str] = (),
    holdout: Sequence[str] = (),
    weights: str | None = None,
    group: str | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
    starts: Floats | None = None,
) -> Fit:
    """Fit a law to any table.

    Args:
        law: such as `CHINCHILLA`; `law_named("chinchilla")` finds one by name.
        table: a DataFrame, or the path of a Parquet, CSV or JSON-lines table.
        columns: quantities of the law to columns, or arithmetic of columns: `{"N": "params", "D": "C / 6 / N"}`.
        objective: `huber` (delta 1e-3), `lad`, `least-squares` (all on log prediction - log measured), or an
            `Objective`.
        exclude: rules such as `loss top 5`; such rows are left out, and the rules are stored with the fit.
        holdout: rules such as `C > 1e21`; such rows are predicted and compared, not fitted.
        weights: column or arithmetic for weights of the squared residuals, such as `1 / std ** 2`.
        group: column whose equal values are drawn together by the bootstrap, such as the run or the seed.
        bootstrap: number of draws; 0 leaves the intervals to the curvature.
        seed: of the draws.
        fixed: parameters that are not fitted, with their values.
        starts: parameter vectors [S, P] instead of the law's own.

    Raises:
        UsageError: the table does not fit the law, in the words of what was given and what is wanted.
    """
    checked_fixed(law, fixed or {})
    table = table if isinstance(table, pd.DataFrame) else read_table(Path(table))
    cases, held, selection = select(
        law, table, columns=columns, exclude=exclude, holdout=holdout, weights=weights, group=group
    )
    wanted = objective if isinstance(objective, Objective) else objective_named(objective)
    return fit_cases(
        law, cases, wanted, held=held, selection=selection, bootstrap=bootstrap, seed=seed, fixed=fixed, starts=starts
    )


def fit_cases(
    law: Law,
    cases: Cases,
    objective: Objective,
    *,
    held: Cases | None = None,
    selection: Selection | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
    starts: Floats | None = None,
) -> Fit:
    """Fit a law to points that have been chosen already; see `fit`."""
    checked_fixed(law, fixed or {})
    if objective.log and (cases.y <= 0).any():
        raise UsageError(f"{law.output.name} is not positive everywhere; fit it with log=False, in linear units")
    if bootstrap and cases.group_count == 1:
        raise UsageError(
            "group: all rows that are fitted belong to one group, and the bootstrap draws whole groups; name a column "
            "with at least two values (better some more than parameters), or leave the group out"
        )
    coordinates = Coordinates.of(law)
    problem = Problem(law, cases.x, cases.y, cases.weights, objective, coordinates)
    free, phi = _begin(law, coordinates, law.starts(cases.x, cases.y) if starts is None else starts, fixed or {})
    phi, convergence = _search(problem, phi, free)
    drawn = draw(problem, phi, cases, bootstrap, seed, free) if bootstrap else None
    found = Fit(
        law=law,
        theta=coordinates.outside(phi),
        objective=objective,
        value=float(problem.values(phi[None])[0]),
        convergence=convergence,
        covariance=covariance(problem, phi, free),
        draws=None if drawn is None else coordinates.outside(drawn),
        fixed=tuple(fixed or ()),
        residuals=problem.residuals(phi[None])[0],
        ranges={q.name: _range(cases.x[q.name]) for q in law.inputs if q.name in cases.x and not q.label},
        selection=selection,
        digest=cases.digest(),
        cases=cases,
        held_cases=held,
    )
    return found if held is None else found.judged(HeldOut.of(found, held))


def _range(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _begin(
    law: Law, coordinates: Coordinates, starts: Floats, fixed: Mapping[str, float]
) -> tuple[NDArray[np.bool_], Floats]:
    """Which parameters are fitted [P], and distinct starts in internal coordinates [S, P]."""
    names = [p.name for p in law.parameters]
    theta = np.atleast_2d(np.asarray(starts, np.float64)).copy()
    for name, value in fixed.items():
        theta[:, names.index(name)] = value
    phi = coordinates.inside(theta)
    return np.array([name not in fixed for name in names]), np.unique(phi, axis=0) if fixed else phi


def _search(problem: Problem, starts: Floats, free: NDArray[np.bool_]) -> tuple[Floats, Convergence]:
    """The lowest minimum [P] that a descent from all starts finds, and how well it is established."""
    smooth = problem.smoothed(1e-3) if np.isfinite(problem.objective.delta) else problem
    batch, usable = race(smooth, starts, free, _STEPS)
    if not np.isfinite(batch.value[0]):
        raise UsageError(
            f"{problem.law.name}: none of {len(starts)} starts gives a finite objective; "
            "are the units of the columns right?"
        )
    best = polish(problem, batch.phi[0], free)
    agree = int((batch.value <= batch.value[0] * (1 + _SAME)).sum())
    _, gradient, curvature = (v[0] for v in problem.terms(best[None], np.zeros(1, np.int64)))
    low, high = problem.coordinates.low, problem.coordinates.high
    felt = np.diag(curvature) > _FELT * np.diag(curvature).max()
    moving = np.flatnonzero(free & (best > low) & (best < high) & felt)
    inner = curvature[np.ix_(moving, moving)]
    decrement = float(gradient[moving] @ np.linalg.pinv(inner, rcond=1e-15, hermitian=True) @ gradient[moving])
    scaled = inner / np.sqrt(np.outer(np.diag(inner), np.diag(inner)))
    return best, Convergence(
        starts=len(starts),
        usable=usable,
        finished=len(batch.phi),
        agree=agree,
        gradient=float(np.abs(gradient[moving]).max(initial=0)),
        decrement=decrement,
        condition=float(np.linalg.cond(scaled)) if len(moving) and np.isfinite(scaled).all() else np.inf,
        at_bound=tuple(p.name for i, p in enumerate(problem.law.parameters) if free[i] and i not in moving),
    )
