"""Trials as a table: one line each, the mean over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.search.space import Dimension
from landsweep.sweeps.search.trials import TRIAL

__all__ = ["best_first", "exists_in", "front_of", "trials_of", "values_of"]

_ORDER = ("failed", "diverged", "pruned", "ok")  # a trial is what the worst of its units is


def trials_of(rows: pd.DataFrame, metrics: Sequence[str], seeds: int) -> pd.DataFrame:
    """One line for each trial whose units have all ended: settings, state, means, standard deviations, seconds.

    Args:
        rows: one line per unit.
        metrics: goals; of each there are `METRIC` and, over more than one seed, `METRIC.sd`.
        seeds: units of one trial.
    """
    lines: list[dict[str, Any]] = []
    for number, units in rows.groupby(TRIAL, sort=True) if len(rows) else ():
        if len(units) < seeds:
            continue
        first = units.iloc[0].to_dict()
        states = set(units["status"])
        line = {**first, TRIAL: int(str(number)), "state": next(s for s in _ORDER if s in states)}
        line["seconds"] = float(units["seconds"].sum())
        for metric in metrics:
            values = np.asarray(units[metric], float) if metric in units else np.full(len(units), np.nan)
            if metric != "seconds":
                line[metric] = float(values.mean()) if line["state"] == "ok" or np.isfinite(values).all() else math.nan
            line[f"{metric}.sd"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        lines.append(line)
    return pd.DataFrame(lines, columns=None if lines else [TRIAL, "state", *metrics, "seconds"])


def values_of(line: pd.Series, dimensions: Sequence[Dimension]) -> dict[str, Value]:
    """The settings of one trial: those that exist in it."""
    values: dict[str, Value] = {}
    for d in dimensions:
        if d.active(values):
            values[d.name] = d.restored(line[d.name])
    return values


def exists_in(trials: pd.DataFrame, dimension: Dimension, dimensions: Sequence[Dimension]) -> NDArray[np.bool_]:
    """For each trial whether a setting exists in it: where it does, it may still be null."""
    return np.array([dimension.name in values_of(line, dimensions) for _, line in trials.iterrows()], dtype=bool)


def best_first(trials: pd.DataFrame, metric: str, *, minimise: bool) -> pd.DataFrame:
    """Trials that ran to their end with a finite value of a metric, the best first; of equal ones the earlier."""
    good = trials[(trials["state"] == "ok") & np.isfinite(np.asarray(trials[metric], float))]
    return good.sort_values(metric, ascending=minimise, kind="stable")


def front_of(trials: pd.DataFrame, goals: Sequence[tuple[str, bool]]) -> pd.DataFrame:
    """The trials that no other one is at least as good as in all goals and better in one, by the first goal.

    Args:
        trials: of `trials_of`.
        goals: metric, and whether less is better.
    """
    good = trials[trials["state"] == "ok"]
    for metric, _ in goals:
        good = good[np.isfinite(np.asarray(good[metric], float))]
    costs = np.column_stack([np.asarray(good[m], float) * (1 if less else -1) for m, less in goals])
    beaten = np.zeros(len(good), dtype=bool)
    for i, cost in enumerate(costs):
        beaten[i] = bool(((costs <= cost).all(axis=1) & (costs < cost).any(axis=1)).any())
    return good[~beaten].sort_values(goals[0][0], ascending=goals[0][1], kind="stable")
