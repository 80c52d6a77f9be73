"""The report of a benchmark of optimizers: times to target, scores, performance profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, new_picture, plain
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.sweeps.zoo.algoperf import (
    LONGEST,
    Clock,
    WorkloadTarget,
    best_times,
    intervals,
    leave_one_out,
    profile,
    ratios,
    score,
    trial_times,
)

__all__ = ["benchmark_section", "with_targets"]

_CLOCKS: dict[Clock, str] = {"steps": "steps", "gradients": "gradient evaluations"}
_NAMED = 4  # optimizers in the answer
_MARKS = ("-", "--", ":", "-.")  # beside colours, since profiles lie on each other


def with_targets(
    report: Report, rows: pd.DataFrame, series: pd.DataFrame, targets: Mapping[str, WorkloadTarget]
) -> Report:
    """The report of a zoo that begins with which optimizer reaches the targets first; else as `benchmark_section`."""
    times = trial_times(rows, series, targets, "gradients")
    best = best_times(times)
    scores, band = score(ratios(best)).sort_values(ascending=False), intervals(times)
    spans = [f"{band.loc[name, 'low']:.2f} to {band.loc[name, 'high']:.2f}" for name in scores.index]
    each = [f"{name} {scores[name]:.2f} ({span})" for name, span in zip(scores.index, spans, strict=True)]
    reached = int(np.isfinite(best.loc[scores.index[0]]).sum())
    answer = (
        f"{scores.index[0]} has the highest score and reaches {reached} of {best.shape[1]} targets. Scores, in "
        f"gradient evaluations, with 95 % intervals: {', '.join(each[:_NAMED])}{', ...' if len(each) > _NAMED else ''}."
    )
    question = "Which optimizer reaches the targets first?"
    sections = [benchmark_section(rows, series, targets), *report.sections]
    return replace(report, sections=sections, answer=answer, question=question, lead="profiles")


def benchmark_section(rows: pd.DataFrame, series: pd.DataFrame, targets: Mapping[str, WorkloadTarget]) -> PageSection:
    """What the optimizers of a sweep are worth.

    Args:
        rows: of models that ended, one line each; as `trial_times` takes them.
        series: key, step, metric, value.
        targets: of each workload.
    """
    times = {clock: trial_times(rows, series, targets, clock) for clock in _CLOCKS}
    best = {clock: best_times(t) for clock, t in times.items()}
    order = score(ratios(best["gradients"])).sort_values(ascending=False).index
    trials = times["steps"].groupby(["workload", "optimizer", "study"]).size()
    goals = "; ".join(f"{w}: {t.metric.replace('_', ' ')} {_sign(t)} {t.value:g}" for w, t in targets.items())
    parts: list[Part] = [
        f"Time to target of {len(order)} optimizers on {len(targets)} workloads: the least of "
        f"{_span(trials)} trials, the median of {rows['seed'].nunique()} studies (seeds). Targets: {goals}. "
        "A target that is not reached within the budget counts as infinitely far.",
    ]
    parts += [_times(best[clock].loc[order], times[clock], clock) for clock in _CLOCKS]
    parts.append(_scores(best, times["gradients"], order))
    parts.append(_left_out(best["gradients"], order))
    caption = (
        f"Performance profiles: share of the workloads whose target an optimizer reaches in at most tau times the "
        f"time of the fastest, in steps and in gradient evaluations; n = {len(targets)} workloads. The score is the "
        f"area under a curve over its width, tau from 1 to {LONGEST:g}. Curves are shifted a little up or down so that "
        "equal ones stay visible."
    )
    parts.append(Figure("profiles", caption, _profiles(best, list(order))))
    return PageSection("Time to target", parts)


def _sign(target: WorkloadTarget) -> str:
    return "at most" if target.metric.endswith("_loss") else "at least"


def _span(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _times(best: pd.DataFrame, times: pd.DataFrame, clock: Clock) -> Table:
    budgets = times.groupby(["optimizer", "workload"])["budget"].max()
    lines = []
    for optimizer, line in best.iterrows():
        cells = []
        for workload, time in line.items():
            budget = budgets.get((optimizer, workload), float("nan"))
            cells.append(f"{time:,.0f}" if np.isfinite(time) else f"not in {budget:,.0f}")
        lines.append([optimizer, *cells])
    return Table(f"Time to target in {_CLOCKS[clock]}.", ("optimizer", *best.columns), lines)


def _scores(best: Mapping[Clock, pd.DataFrame], times: pd.DataFrame, order: pd.Index) -> Table:
    scores = {clock: score(ratios(b)) for clock, b in best.items()}
    band = intervals(times)
    lines = [
        [
            name,
            f"{scores['gradients'][name]:.3f}",
            f"{band.loc[name, 'low']:.3f} to {band.loc[name, 'high']:.3f}",
            f"{scores['steps'][name]:.3f}",
            f"{int(np.isfinite(best['gradients'].loc[name]).sum())} of {best['gradients'].shape[1]}",
        ]
        for name in order
    ]
    caption = (
        f"Scores: mean over workloads of ({LONGEST:g} - r) / {LONGEST - 1:g}, r the ratio to the fastest, 0 from "
        f"{LONGEST:g} on. The interval is a 95 % bootstrap over studies; with few of them it is rough."
    )
    return Table(caption, ("optimizer", "score in gradients", "interval", "score in steps", "targets reached"), lines)


def _left_out(best: pd.DataFrame, order: pd.Index) -> Table:
    scores = leave_one_out(best).loc[order]
    lines = [
        [name, *("-" if np.isnan(value) else f"{value:.3f}" for value in scores.loc[name, order])] for name in order
    ]
    caption = "Score in gradients when another optimizer is left out of the field: ratios depend on who competes."
    return Table(caption, ("optimizer", *(f"without {o}" for o in order)), lines)


def _profiles(best: Mapping[Clock, pd.DataFrame], order: list[Any]) -> Any:  # noqa: ANN401 - matplotlib has no types
    picture = new_picture(8.4, 3.7)
    plots = picture.subplots(1, len(best), sharey=True)
    taus = np.linspace(1, LONGEST, 601)
    for plot, (clock, table) in zip(plots, best.items(), strict=True):
        shares = profile(ratios(table), taus)
        for i, name in enumerate(order):
            style, colour = _MARKS[i % len(_MARKS)], PALETTE[i % len(PALETTE)]
            lift = (len(order) / 2 - i) * 0.008  # so that equal profiles stay visible
            label = plain(str(name)) if plot is plots[0] else None
            plot.plot(taus, shares.loc[name] + lift, color=colour, linestyle=style, linewidth=1.8, label=label)
        plot.set(xlabel="tau", title=f"in {_CLOCKS[clock]}", ylim=(-0.05, 1.05), xlim=(1, LONGEST))
        plot.grid(alpha=0.3)
    plots[0].set(ylabel="share of workloads")
    picture.legend(title="optimizer", fontsize=8, loc="outside right upper")
    return picture
