"""Scoring of optimizers by time to target over several workloads, as AlgoPerf does (arXiv 2306.07179).

Of each optimizer on each workload: in every study (a seed) the least time to target of its trials (settings), then the
median over studies. A trial that misses its target takes infinitely long, and counts so. With r the ratio of a time to
the fastest optimizer's on that workload, an optimizer's performance profile rho(tau) is the share of workloads with
r <= tau, and its score the mean of rho over tau from 1 to 4; in closed form

    score = mean over workloads of max(0, (4 - r) / 3)

AlgoPerf's own code sums 100 trapezoids instead, which is off by up to 0.005 per workload. Times are counted in steps or
in gradient evaluations, not in seconds; they are those of the first evaluation that meets the target, so that their
grain is the distance between evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.zoo.target import WorkloadTarget

__all__ = [
    "LONGEST",
    "Clock",
    "WorkloadTarget",
    "best_times",
    "intervals",
    "leave_one_out",
    "profile",
    "ratios",
    "score",
    "time_to_target",
    "trial_times",
]

LONGEST = 4.0  # ratios above it count as infinite, and profiles end there
Clock: TypeAlias = Literal["steps", "gradients"]


def time_to_target(steps: ArrayLike, values: ArrayLike, target: WorkloadTarget) -> float:
    """The first step, of those at which was evaluated, whose value meets the target; inf if none does.

    Example:
        >>> time_to_target([10, 20, 30], [0.5, 0.2, 0.3], WorkloadTarget(metric="test_loss", value=0.25))
        20.0
    """
    at = np.asarray(steps, dtype=float)[target.met(values)]
    return float(at.min()) if len(at) else float("inf")


def trial_times(
    rows: pd.DataFrame, series: pd.DataFrame, targets: Mapping[str, WorkloadTarget], clock: Clock = "steps"
) -> pd.DataFrame:
    """Time to target of each model.

    Args:
        rows: one line per model; `recipe` is WORKLOAD/OPTIMIZER, `seed` the study; what else differs makes trials.
        series: key, step, metric, value.
        targets: of each workload.
        clock: steps, or gradient evaluations.

    Returns:
        workload, optimizer, study, time (inf: not reached) and budget by the clock; a line for each row.

    Raises:
        SpecError: a recipe is not called WORKLOAD/OPTIMIZER, or a workload has no target.
    """
    names = rows["recipe"].astype(str).str.partition("/")
    if bad := sorted(set(rows.loc[names[1] == "", "recipe"])):
        raise SpecError(f"recipes: a benchmark's are called WORKLOAD/OPTIMIZER, such as mlp/adamw; got {bad[0]!r}")
    if missing := sorted(set(names[0]) - set(targets)):
        raise SpecError(f"benchmark.targets: there is none for the workload {missing[0]!r}; there are {list(targets)}")
    wanted = {name: target.metric for name, target in targets.items()}
    curves = dict(iter(series[series["metric"].isin(set(wanted.values()))].groupby("key")))
    lines = []
    for row, workload, optimizer in zip(rows.to_dict("records"), names[0], names[2], strict=True):
        curve = curves.get(row["key"])
        part = None if curve is None else curve[curve["metric"] == wanted[workload]]
        time = float("inf") if part is None else time_to_target(part["step"], part["value"], targets[workload])
        per_step = row["gradient_evaluations"] / max(row["steps_done"] or 0, 1) if clock == "gradients" else 1.0
        budget = (row["steps_done"] or 0) * per_step
        lines.append((workload, optimizer, row["seed"], time * per_step, budget))
    return pd.DataFrame(lines, columns=["workload", "optimizer", "study", "time", "budget"])


def best_times(times: pd.DataFrame) -> pd.DataFrame:
    """Optimizers by workloads: the median over studies of the least time of a study's trials.

    Args:
        times: as of `trial_times`. A study in which an optimizer has no trial on a workload is left out of its median.
    """
    least = times.groupby(["optimizer", "workload", "study"])["time"].min()
    return least.groupby(["optimizer", "workload"]).median().unstack("workload").fillna(np.inf)


def ratios(times: pd.DataFrame, longest: float = LONGEST) -> pd.DataFrame:
    """Times over the fastest on each workload; inf above `longest`, and where nobody reached the target."""
    slower = times / times.min()
    return slower.where(np.isfinite(times) & (slower <= longest), np.inf)


def profile(of: pd.DataFrame, taus: Sequence[float] | NDArray[np.float64]) -> pd.DataFrame:
    """Share of workloads on which an optimizer's ratio is at most tau: optimizers by taus."""
    within = of.to_numpy(dtype=float)[:, :, None] <= np.asarray(taus, dtype=float)
    return pd.DataFrame(within.mean(axis=1), of.index, list(taus))


def score(of: pd.DataFrame, longest: float = LONGEST) -> pd.Series:
    """The area under each profile from 1 to `longest`, in its closed form; 1 is the fastest on all workloads.

    Example:
        >>> float(score(pd.DataFrame([[1.0, 2.0, 2.4, 3.0, np.inf]], index=["one"])).round(5).iloc[0])
        0.50667
    """
    return ((longest - of) / (longest - 1)).clip(lower=0).mean(axis=1)


def intervals(times: pd.DataFrame, draws: int = 1000, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Bootstrap intervals of the scores, over studies: `low` and `high` by optimizer.

    Studies are drawn with replacement, the same ones for all optimizers and workloads, since they share seeds. With
    few studies, as AlgoPerf's three, an interval is rough.
    """
    least = times.groupby(["optimizer", "workload", "study"])["time"].min().unstack("study").fillna(np.inf)
    source, studies = np.random.default_rng(seed), len(least.columns)
    scores = []
    for _ in range(draws):
        chosen = least.to_numpy()[:, source.integers(0, studies, studies)]
        best = pd.Series(np.median(chosen, axis=1), least.index).unstack("workload").fillna(np.inf)
        scores.append(score(ratios(best)))
    table = pd.concat(scores, axis=1)
    tail = (1 - level) / 2
    return pd.DataFrame({"low": table.quantile(tail, axis=1), "high": table.quantile(1 - tail, axis=1)})


def leave_one_out(best: pd.DataFrame) -> pd.DataFrame:
    """Scores of the optimizers (lines) when another one (column) is left out of the field; NaN on the diagonal.

    Ratios are to the fastest of the field, so that a fast entry lowers all others.
    """
    return pd.DataFrame({name: score(ratios(best.drop(index=name))) for name in best.index}).reindex(best.index)
