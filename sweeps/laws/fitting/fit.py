"""Fit a law to a table: the one way in. `fit(CHINCHILLA, table, bootstrap=1000)` gives a `Fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.freed_memory import keep_freed_memory
from landsweep.sweeps.laws.base import Floats, Law
from landsweep.sweeps.laws.fitting.bounds import bounded
from landsweep.sweeps.laws.fitting.fitted import Convergence, Fit, HeldOut
from landsweep.sweeps.laws.fitting.intervals import bootstrap as draw
from landsweep.sweeps.laws.fitting.intervals import covariance, open_ends
from landsweep.sweeps.laws.fitting.objective import Objective, objective_named
from landsweep.sweeps.laws.fitting.points import Cases, Selection, select
from landsweep.sweeps.laws.fitting.polish import polish
from landsweep.sweeps.laws.fitting.problem import Coordinates, Problem, checked_fixed
from landsweep.sweeps.laws.fitting.solver import multi_start
from landsweep.sweeps.laws.fitting.starts import Starts, begin, drawn
from landsweep.sweeps.laws.fitting.tables import SWEEP_ROWS, is_sweep, read_table
from landsweep.sweeps.laws.fitting.valleys import follow

__all__ = ["fit", "fit_cases"]

_STEPS = 200
_INFLUENCE = 1e-24  # of the largest curvature: a parameter with less changes predictions by less than 1e-12 of them
_SAME = 1e-6  # relative difference of objectives up to which two descents have reached the same minimum
_ENOUGH = 3  # a minimum that fewer descents reached must be confirmed: see `_search`
_MORE = 256  # starts that are drawn to confirm it
_WIDTH = 1e-3  # of Huber's kink while many starts descend; that of the objective `huber`
_MANY = 30_000  # rows; beyond it the C library would return and clear the arrays' pages at each step


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
    starts: Starts | None = None,
    start_count: int | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    every_status: bool = False,
) -> Fit:
    """Fit a law to any table.

    Args:
        law: such as `CHINCHILLA`; `law_named("chinchilla")` finds one by name.
        table: a DataFrame, or the path of a table or of the results of a sweep, see `read_table`.
        columns: quantities of the law to columns, or arithmetic of columns: `{"N": "params", "D": "C / 6 / N"}`.
        objective: `huber` (delta 1e-3), `lad`, `least-squares` (all on log prediction - log measured), or an
            `Objective`.
        exclude: rules such as `loss top 5`; such rows are left out, and the rules are stored with the fit.
        holdout: rules such as `C > 1e21`; such rows are predicted and compared, not fitted.
        weights: column or arithmetic for weights of the squared residuals, such as `1 / std ** 2`.
        group: column whose equal values are drawn together by the bootstrap, such as the run or the seed.
        bootstrap: number of draws; 0 leaves the intervals to the curvature.
        seed: seed of the bootstrap draws.
        fixed: parameters that are not fitted, with their values.
        starts: parameter vectors [S, P] instead of the law's own starts, or values of some parameters, which replace
            those of the law's own starts: `[{"alpha": 0.3}]`.
        start_count: the least number of starts; where there are fewer, more are drawn around them.
        bounds: parameters to the smallest and largest value allowed; they narrow the law's own bounds.
        every_status: fit also rows of a sweep whose unit did not end well (diverged, pruned or failed).

    Raises:
        UsageError: the table does not fit the law, in the words of what was given and what is wanted.
    """
    law = bounded(law, bounds or {})
    checked_fixed(law, fixed or {})
    table = table if isinstance(table, pd.DataFrame) else read_table(table)
    if is_sweep(table) and not every_status and (table["status"].astype(str) != "ok").any():
        exclude = [SWEEP_ROWS, *exclude]
    cases, held, selection = select(
        law, table, columns=columns, exclude=exclude, holdout=holdout, weights=weights, group=group,
        given=len(fixed or {}),
    )  # fmt: skip
    objective = objective if isinstance(objective, Objective) else objective_named(objective)
    return fit_cases(
        law, cases, objective, held=held, selection=selection, bootstrap=bootstrap, seed=seed, fixed=fixed,
        starts=starts, start_count=start_count,
    )  # fmt: skip


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
    starts: Starts | None = None,
    start_count: int | None = None,
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
    if problem.n > _MANY:
        keep_freed_memory()
    free, phi = begin(problem, cases.y, fixed or {}, starts, start_count)
    phi, convergence = _search(problem, phi, free, only_these=starts is not None)
    low, high = open_ends(problem, phi, free)
    convergence = replace(convergence, open_low=low, open_high=high)
    drawn = draw(problem, phi, cases, bootstrap, seed, free) if bootstrap else None
    fitted = Fit(
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
    return fitted if held is None else fitted.judged(HeldOut.of(fitted, held))


def _range(values: Floats) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _search(
    problem: Problem, starts: Floats, free: NDArray[np.bool_], *, only_these: bool
) -> tuple[Floats, Convergence]:
    """The lowest minimum [P] that descents reach, and how well it is established.

    1. Many descents of a smoothed objective, from all starts: where Huber's function has a narrow kink, few would reach
       the valley.
    2. The best of them is polished on the objective itself, to the last digits.
    3. If it is not at rest, or fewer than three descents ended there, it may not be the lowest. It then competes with
       the minima at the ends of curved valleys (`follow`), from more starts.

    Args:
        problem: with common measurements and weights.
        starts: internal coordinates [S, P].
        free: which of them may move [P].
        only_these: draw no further starts.
    """
    smooth = _smooth(problem)
    batch, usable = multi_start(smooth, starts, free, _STEPS)
    if not np.isfinite(batch.value[0]):
        raise UsageError(
            f"{problem.law.name}: none of {len(starts)} starts gives a finite objective; "
            "are the units of the columns right?"
        )
    best = polish(problem, batch.phi[0], free)
    convergence = _judged(problem, best, free, batch.value, usable, len(starts))
    at_rest = convergence.reached(float(problem.values(best[None])[0]))
    if at_rest and convergence.agree >= min(_ENOUGH, len(batch.value)):
        return best, convergence
    if not only_these:
        starts = np.concatenate([starts, drawn(problem, starts, starts[0], free, _MORE)])
    valleys = follow(problem, starts, free)
    candidates = np.concatenate([best[None], valleys])
    best = candidates[int(np.argmin(problem.values(candidates)))]
    ends = np.concatenate([batch.value, smooth.values(valleys)])
    return best, _judged(problem, best, free, ends, usable, len(starts))


def _smooth(problem: Problem) -> Problem:
    """The problem with Huber's kink widened, so that short descents get across it; least squares has none."""
    return problem.smoothed(_WIDTH) if np.isfinite(problem.objective.delta) else problem


def _judged(
    problem: Problem, best: Floats, free: NDArray[np.bool_], ends: Floats, usable: int, starts: int
) -> Convergence:
    """How well a minimum [P] is established, given the objectives [m] in which the descents ended."""
    smooth = _smooth(problem)
    lowest = min(float(ends.min()), float(smooth.values(best[None])[0]))
    agree = int((ends <= lowest * (1 + _SAME) + smooth.rounding).sum())
    _, gradient, curvature = (v[0] for v in problem.terms(best[None], np.zeros(1, np.int64)))
    low, high = problem.coordinates.low, problem.coordinates.high
    influential = np.diag(curvature) > _INFLUENCE * np.diag(curvature).max()
    moving = np.flatnonzero(free & (best > low) & (best < high) & influential)
    inner = curvature[np.ix_(moving, moving)]
    decrement = float(gradient[moving] @ np.linalg.pinv(inner, rcond=1e-15, hermitian=True) @ gradient[moving])
    scaled = inner / np.sqrt(np.outer(np.diag(inner), np.diag(inner)))
    return Convergence(
        starts=starts,
        usable=usable,
        finished=len(ends),
        agree=agree,
        gradient=float(np.abs(gradient[moving]).max(initial=0)),
        decrement=decrement,
        condition=float(np.linalg.cond(scaled)) if len(moving) and np.isfinite(scaled).all() else np.inf,
        at_bound=tuple(p.name for i, p in enumerate(problem.law.parameters) if free[i] and i not in moving),
        rounding=problem.rounding,
    )
