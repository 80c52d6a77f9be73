"""Loss curves of a study under the annealing law: whether short runs foretell the longest one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.lab.schedules import Schedule, WarmupStableDecay
from landsweep.sweeps.laws.annealing import ANNEALING, areas
from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.fitted import Fit

__all__ = ["MOMENTUM", "Curve", "Curves", "annealed"]

MOMENTUM = 0.99  # lambda of the law; the paper fits alike from 0.99 to 0.9995, and short runs need a short memory
_SKIPPED = 0.05  # share of a run at its start that the law is not about
_FEWEST = 3  # points of a curve
_LOSS = "test_loss"


@dataclass(frozen=True, slots=True)
class Curve:
    """One run.

    Attributes:
        steps: of the whole run.
        peak: its learning rate before the schedule.
        table: `step`, `S1`, `S2`, `loss`.
        fitted: whether the law was fitted to it; else it is predicted.
    """

    steps: int
    peak: float
    table: pd.DataFrame
    fitted: bool


@dataclass(frozen=True, slots=True)
class Curves:
    """The runs of one size over all their horizons, the shortest first, and the law fitted to all but the longest.

    Attributes:
        width: of the networks.
        parameters: N of the networks.
        curves: of the runs.
        fit: of the annealing law.
        rmse: of log loss on the longest curve, but for what it shares with a branch; None where there is only one.
    """

    width: int
    parameters: float
    curves: tuple[Curve, ...]
    fit: Fit
    rmse: float | None

    def line(self, curve: Curve, schedule: Schedule) -> tuple[Floats, Floats]:
        """Steps from the first point on, and the law's loss after each."""
        steps = np.arange(int(curve.table["step"].iloc[0]), curve.steps + 1)
        forward, annealing = _areas(schedule, curve.peak, curve.steps)
        x = {"S1": forward[steps - 1], "S2": annealing[steps - 1]}
        return steps.astype(float), self.fit.law.predict(self.fit.theta[None], x)[0]


def annealed(table: pd.DataFrame, series: pd.DataFrame, schedule: Schedule, branches: bool = False) -> Curves | None:
    """The curves of the size that was trained over the most horizons, with the law.

    Args:
        table: points of the study.
        series: key, step, metric, value.
        schedule: of the recipe.
        branches: whether shorter horizons leave the longest, whose curve up to there is then theirs too.

    Returns:
        None where no size has curves with enough points.
    """
    losses = series[(series["metric"] == _LOSS) & (series["step"] > 0)] if len(series) else series
    runs = table[(table["role"] != "validate") & (table["seed"] == table["seed"].min())].sort_values("steps")
    if not len(losses) or not len(runs):
        return None
    by_key = dict(tuple(losses.groupby("key")))
    for width in runs.groupby("width").size().sort_values(ascending=False, kind="stable").index:
        chosen = runs[runs["width"] == width]
        tables = [
            _curve(
                _whole(by_key, row, chosen.iloc[-1], schedule) if branches else by_key[row["key"]],
                int(row["steps"]),
                float(row["learning_rate"]),
                schedule,
            )
            for row in chosen.to_dict("records")
            if row["key"] in by_key
        ]
        tables = [table for table in tables if len(table) >= _FEWEST]
        curves = _fitted(int(width), float(chosen["N"].iloc[0]), tables) if tables else None
        if curves is not None:
            return curves
    return None


def _whole(
    by_key: Mapping[str, pd.DataFrame], row: Mapping[Hashable, Any], main: pd.Series[Any], schedule: Schedule
) -> pd.DataFrame:
    """The curve of a branch with that of the run that it leaves before it."""
    losses = by_key[row["key"]]
    shared = isinstance(schedule, WarmupStableDecay) and row["learning_rate"] == main["learning_rate"]
    if not shared or row["steps"] == main["steps"] or main["key"] not in by_key:
        return losses
    before = by_key[main["key"]]
    leaves = row["steps"] - schedule.falls(row["steps"])  # type: ignore[attr-defined]
    return pd.concat([before[before["step"] <= leaves], losses])


def _fitted(width: int, parameters: float, tables: list[pd.DataFrame]) -> Curves | None:
    short, longest = (tables[:-1], tables[-1]) if len(tables) > 1 else (tables, None)
    try:
        law = fit(ANNEALING, pd.concat(short).drop_duplicates(["S1", "S2", "loss"]))  # what branches share counts once
    except UsageError:  # too few points
        return None
    curves = [Curve(int(t.attrs["steps"]), float(t.attrs["peak"]), t, t is not longest) for t in tables]
    rmse = None
    if longest is not None:
        new = longest.merge(pd.concat(short)[["S1", "S2"]], how="left", on=["S1", "S2"], indicator=True)
        new = new[new["_merge"] == "left_only"]
        x = {name: new[name].to_numpy(float) for name in ("S1", "S2")}
        residuals = np.log(law.law.predict(law.theta[None], x)[0]) - np.log(new["loss"])
        rmse = float(np.sqrt((residuals**2).mean()))
    return Curves(width, parameters, tuple(curves), law, rmse)


def _curve(losses: pd.DataFrame, steps: int, peak: float, schedule: Schedule) -> pd.DataFrame:
    forward, annealing = _areas(schedule, peak, steps)
    seen = losses[(losses["step"] > _SKIPPED * steps) & (losses["step"] <= steps)].sort_values("step")
    at = seen["step"].to_numpy(int) - 1
    table = pd.DataFrame(
        {"step": at + 1, "S1": forward[at], "S2": annealing[at], "loss": seen["value"].to_numpy(float)}
    )
    table.attrs |= {"steps": steps, "peak": peak}
    return table


def _areas(schedule: Schedule, peak: float, steps: int) -> tuple[Floats, Floats]:
    """S1 and S2 after each step [steps]; a warm-up counts at the peak."""
    rates = np.array([schedule.multiplier(s, steps) for s in range(steps)])
    top = int(rates.argmax())
    rates[:top] = rates[top]
    return areas(peak * rates, MOMENTUM)
