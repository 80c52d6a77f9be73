"""What was measured, as points of a law: fits, iso-FLOP minima, the best size for a budget. From rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.fit import fit as fit_law
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.power import POWER
from landsweep.sweeps.scaling.ladder import Ladder, Size
from landsweep.sweeps.scaling.plan import Proposal, cell_of
from landsweep.sweeps.scaling.spec import ScalingSpec

__all__ = ["CELL", "Minimum", "Study", "best_sizes", "countable", "exponent", "fitted", "minima", "points", "proposals"]

CELL = ["role", "budget", "width", "depth", "steps"]
LOSS = "test_loss"
_AROUND = 2  # sizes on each side of the lowest one that a parabola goes through
_FEWEST = 3
_PARAMETERS = {"all": "parameters", "body": "body_parameters"}  # what N counts, and its column


def countable(rows: pd.DataFrame, count: str) -> NDArray[np.bool_]:
    """Which rows hold a size, tokens and FLOPs above zero: a law and its logarithmic axes take no others."""
    numbers = rows[[_PARAMETERS[count], "tokens", "flops"]].astype(float).to_numpy() if len(rows) else np.ones((0, 3))
    return np.asarray((np.isfinite(numbers) & (numbers > 0)).all(axis=1), bool)


def points(rows: pd.DataFrame, count: str) -> pd.DataFrame:
    """A line for each run that ended well, of the learning rate that is best for its size and horizon.

    Args:
        rows: of the study.
        count: `all` or `body`: which parameters N counts.

    Returns:
        `key`, the columns of a cell, `learning_rate`, `seed`, and `N` (parameters), `D` (tokens or samples), `C`
        (FLOPs), `loss` and `cell`, a number that the runs of one size and horizon share; in the order of C, N and seed.
    """
    good = rows[(rows["status"] == "ok") & np.isfinite(rows[LOSS].astype(float))] if len(rows) else rows
    good = good[countable(good, count)]
    if not len(good):
        return pd.DataFrame(columns=["key", *CELL, "learning_rate", "seed", "N", "D", "C", "loss", "cell"])
    table = good[["key", *CELL, "learning_rate", "seed"]].copy()
    table["N"] = good[_PARAMETERS[count]].astype(float)
    table["D"], table["C"] = good["tokens"].astype(float), good["flops"].astype(float)
    table["loss"] = good[LOSS].astype(float)
    table["budget"] = table["budget"].astype(float)
    table = table.sort_values(["C", "N", "D", "learning_rate", "seed"], kind="stable").reset_index(drop=True)
    table["cell"] = table.groupby(CELL, dropna=False, sort=False).ngroup()
    means = table.groupby(["cell", "learning_rate"])["loss"].mean()
    best = dict(means.groupby("cell").idxmin().to_list())
    return table[table["learning_rate"] == table["cell"].map(best)].reset_index(drop=True)


def fitted(spec: ScalingSpec, table: pd.DataFrame, bootstrap: int | None = None) -> Fit:
    """The law of a study, fitted to all but the runs that test it; the bootstrap draws whole cells.

    Raises:
        UsageError: too few points, or losses that are not positive.
    """
    seen = table[table["role"] != "validate"]
    law, cells = spec.fitted_law, seen["cell"].nunique()
    least = law.least_points - len(spec.fixed)
    if cells < least:
        raise UsageError(
            f"the law {law.name} needs at least {least} sizes and horizons, one more than it has parameters "
            f"to fit; {cells} ended well so far"
        )
    draws = spec.bootstrap if bootstrap is None else bootstrap
    return fit_law(law, seen, group="cell", bootstrap=draws, fixed=spec.fixed)


@dataclass(frozen=True, slots=True)
class Minimum:
    """The best size of a budget by a parabola of loss over log N.

    Attributes:
        budget: FLOPs.
        size: N at the lowest point, D and loss there; None where the parabola has no minimum inside the sizes.
        tokens: D = C / (FLOPs per token) at that size.
        loss: at that size.
        coefficients: of the parabola in log N, highest power first.
        span: smallest and largest N that it goes through.
        sizes: how many it goes through.
    """

    budget: float
    size: float | None
    tokens: float | None
    loss: float | None
    coefficients: tuple[float, ...]
    span: tuple[float, float]
    sizes: int


def minima(table: pd.DataFrame) -> list[Minimum]:
    """A minimum for each budget with at least three sizes; means over seeds, the lowest size and its neighbours."""
    lowest_points = []
    for budget, runs in table[table["role"] == "isoflop"].groupby("budget"):
        means = runs.groupby("N")[["loss", "D"]].mean().reset_index().sort_values("N")
        if len(means) < _FEWEST:
            continue
        lowest = int(means["loss"].to_numpy().argmin())
        start = min(max(lowest - _AROUND, 0), max(len(means) - 2 * _AROUND - 1, 0))
        lowest_points.append(_minimum(float(budget), means.iloc[start : start + 2 * _AROUND + 1], lowest - start))
    return lowest_points


def _minimum(budget: float, means: pd.DataFrame, lowest: int) -> Minimum:
    x, y = np.log(means["N"].to_numpy(float)), means["loss"].to_numpy(float)
    a, b, c = (float(v) for v in np.polyfit(x, y, 2))
    vertex = -b / (2 * a) if a > 0 else np.nan
    inside = bool(x[0] < vertex < x[-1]) and 0 < lowest < len(x) - 1
    tokens = np.exp(np.interp(vertex, x, np.log(means["D"].to_numpy(float)))) if inside else np.nan
    return Minimum(
        budget,
        size=float(np.exp(vertex)) if inside else None,
        tokens=float(tokens) if inside else None,
        loss=c - b * b / (4 * a) if inside else None,
        coefficients=(a, b, c),
        span=(float(np.exp(x[0])), float(np.exp(x[-1]))),
        sizes=len(x),
    )


def exponent(parabolas: Sequence[Minimum], what: str) -> Fit | None:
    """The power law of the best size (`size`), of its tokens or its loss, over the budget; None below three budgets."""
    bracketed = [m for m in parabolas if m.size is not None]
    if len(bracketed) < POWER.least_points:
        return None
    table = pd.DataFrame({"x": [m.budget for m in bracketed], "y": [getattr(m, what) for m in bracketed]})
    return fit_law(POWER, table, objective="least-squares")


def best_sizes(
    ladder: Ladder, fit: Fit, budgets: Sequence[float], count: str, level: float = 0.95, least_steps: int = 1
) -> pd.DataFrame:
    """The best size for each budget, among those that the family has, at their exact cost.

    Returns:
        `flops`; `N`, `D` and `loss`, each with `_low` and `_high`; the nearest model that can be built: `width`,
        `depth`, `steps`; `end`: `smallest` or `largest` where that size is best, so that N is no minimum and its
        interval means nothing, else empty; `warning`: beyond 100 times the fitted range, or no minimum inside.

    Raises:
        UsageError: a budget that is not positive, or that no size can be trained for.
    """
    lines = []
    for budget in budgets:
        if not np.isfinite(budget) or budget <= 0:
            raise UsageError(f"a budget must be a positive number of FLOPs, such as 1e20; got {budget:g}")
        sizes = ladder.candidates(budget, least_steps)
        if ladder.most is not None and ladder.most < _FEWEST:
            raise UsageError(
                f"the best size is looked for among at least {_FEWEST}, and the family has {ladder.most}: multiples of "
                f"{ladder.step}, which all widths share, below `ambient`; add a width that is no such multiple, or "
                "raise `ambient`"
            )
        if len(sizes) < _FEWEST:
            raise UsageError(
                f"{budget:.3g} FLOPs are less than {least_steps} steps of the family's {_FEWEST} smallest sizes, "
                f"multiples of the width {ladder.step}"
            )
        lines.append(_best(fit, budget, sizes, count, level))
    return pd.DataFrame(lines)


def _best(fit: Fit, budget: float, sizes: Sequence[Size], count: str, level: float) -> dict[str, Any]:
    n = np.array([s.parameters if count == "all" else s.body for s in sizes], float)
    d = np.array([budget / s.step_flops * s.step_tokens for s in sizes], float)
    x = fit.law.prepare({"N": n, "D": d})
    middle = _optimum(fit.law.predict(fit.theta[None], x), n, d)
    drawn = _optimum(fit.law.predict(fit.uncertainty.samples(), x), n, d)
    line: dict[str, Any] = {"flops": budget}
    tail = (1 - level) / 2
    for name in ("N", "D", "loss"):
        low, high = np.nanquantile(drawn[name], [tail, 1 - tail])
        line |= {name: float(middle[name][0]), f"{name}_low": float(low), f"{name}_high": float(high)}
    at = int(middle["place"][0])
    warnings = fit.warnings({k: np.array([line[k]]) for k in ("N", "D")})
    end = {0: "smallest", len(sizes) - 1: "largest"}.get(at, "")
    if end:
        warnings.append(f"the {end} size is best: no minimum between the sizes")
    steps = max(1, round(budget / sizes[at].step_flops))
    nearest = {"width": sizes[at].width, "depth": sizes[at].depth, "steps": steps}
    return {**line, **nearest, "end": end, "warning": "; ".join(w for w in warnings if w)}


def _optimum(losses: Floats, n: Floats, d: Floats) -> dict[str, Floats]:
    """Where each line [S, m] is lowest, by a parabola in log N through the lowest point and its neighbours."""
    place = np.nanargmin(np.where(np.isfinite(losses), losses, np.inf), axis=1)
    middle = np.clip(place, 1, losses.shape[1] - 2)
    x = np.log(n)
    lines = np.arange(len(losses))
    y = [losses[lines, middle + i] for i in (-1, 0, 1)]
    left, right = x[middle] - x[middle - 1], x[middle + 1] - x[middle]
    slope_l, slope_r = (y[1] - y[0]) / left, (y[2] - y[1]) / right
    bend = (slope_r - slope_l) / (left + right)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = -((slope_l * right + slope_r * left) / (left + right)) / (2 * bend)
        inside = (bend > 0) & (-left <= shift) & (shift <= right) & (place == middle)
        at = np.where(inside, x[middle] + shift, x[place])
        loss = np.where(inside, y[1] - bend * shift**2, losses[lines, place])
    return {"N": np.exp(at), "D": np.exp(np.interp(at, x, np.log(d))), "loss": loss, "place": place}


@dataclass(frozen=True)
class Study:
    """Points, fit and minima of a study's rows.

    Attributes:
        table: of `points`.
        fit: of the law; None where it can't be fitted.
        reason: why not.
        minima: of the budgets.
    """

    table: pd.DataFrame
    fit: Fit | None
    reason: str
    minima: Sequence[Minimum]

    @classmethod
    def of(cls, spec: ScalingSpec, rows: pd.DataFrame) -> Study:
        """Fit what can be fitted."""
        table = points(rows, spec.parameters)
        fit, reason = None, ""
        try:
            fit = fitted(spec, table)
        except UsageError as e:
            reason = str(e)
        return cls(table, fit, reason, minima(table))


def proposals(spec: ScalingSpec, rows: Sequence[Mapping[str, Any]]) -> list[Proposal]:
    """For each budget of `validate` the size that the fit holds best, with the learning rate of the largest runs.

    Raises:
        UsageError: nothing can be fitted yet.
    """
    table, ladder = points(pd.DataFrame(rows), spec.parameters), Ladder(spec)
    fit = fitted(spec, table, bootstrap=0)
    best = best_sizes(ladder, fit, spec.test_budgets, spec.parameters, least_steps=spec.limits.least_steps)
    factor = _factor(spec, ladder, table)
    return [
        Proposal(cell_of("validate", budget, ladder.size(int(width))), factor)
        for budget, width in zip(spec.test_budgets, best["width"], strict=True)
    ]


def _factor(spec: ScalingSpec, ladder: Ladder, table: pd.DataFrame) -> float:
    """The factor on the rule's learning rate that was best for the largest budget, in the middle of its sizes."""
    largest = table[table["C"] > table["C"].max() / 2].drop_duplicates("cell")
    chosen = []
    for row in largest.to_dict("records"):
        size = ladder.size(int(row["width"]))
        base = spec.base_rate * spec.rate.multiplier(size.parameters, row["D"])
        chosen.append(min(spec.factor_values, key=lambda f: abs(np.log(f * base / row["learning_rate"]))))
    return sorted(chosen)[len(chosen) // 2]
