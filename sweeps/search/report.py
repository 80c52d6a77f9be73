"""The report of a search: how it went, what mattered, what is best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.values import in_words, label, number
from landsweep.orchestrator.search import Search, importances
from landsweep.orchestrator.search.space import Dimension
from landsweep.sweeps.search.figures import front_figure, history_figure, importance_figure, slice_figure
from landsweep.sweeps.search.parallel import parallel_figure
from landsweep.sweeps.search.spec import SearchSpec
from landsweep.sweeps.search.table import best_first, front_of, trials_of, values_of
from landsweep.sweeps.search.trials import TRIAL

__all__ = ["search_report"]

_BEST = 10
_NAMED = 4  # settings in the first sentence


def search_report(spec: SearchSpec, search: Search, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
    """Sections and summary, from the rows.

    Args:
        spec: of the sweep.
        search: what it asks for.
        rows: one line per unit; may be empty.
        series: not used.
    """
    del series
    goals = [(g.metric, g.minimise) for g in search.goals]
    trials = trials_of(rows, [m for m, _ in goals], spec.seeds)
    good = best_first(trials, goals[0][0], minimise=goals[0][1])
    if not len(good):
        return Report([PageSection("Search", [f"No trial has ended well yet; {len(rows):,} units have rows."])])
    sections = [PageSection("The search", list(_overview(spec, search, trials, good)))]
    sections.append(PageSection("History", [history_figure(trials, goals)]))
    if len(goals) > 1:
        front = front_of(trials, goals)
        sections.append(
            PageSection("Pareto front", [front_figure(trials, front, goals), _table(search, front, "front")])
        )
    shares = [_importance(search, good, goal.metric, i) for i, goal in enumerate(search.goals)]
    mattered = [figure for figure in shares if figure is not None]
    for metric, _ in goals:
        mattered.append(_named(slice_figure(trials, search.dimensions, metric), metric, goals))
    sections.append(PageSection("What mattered", mattered))
    parallel = parallel_figure(trials, search.dimensions, goals[0][0], minimise=goals[0][1])
    sections.append(PageSection("All trials", [parallel]))
    sections.append(PageSection("Best", list(_best(search, good))))
    wanted = [f"the {'lowest' if less else 'highest'} {in_words(metric)}" for metric, less in goals]
    question = f"Which settings give {' and '.join(wanted)}?"
    answer, lead = _answer(search, trials, good, goals), "history" if len(goals) == 1 else "front"
    return Report(sections, _summary(trials, good, goals), answer=answer, question=question, lead=lead)


def _answer(search: Search, trials: pd.DataFrame, good: pd.DataFrame, goals: Sequence[tuple[str, bool]]) -> str:
    """What the best trial reached, against the median, and by which settings."""
    metric, _ = goals[0]
    best, values = good.iloc[0], values_of(good.iloc[0], search.dimensions)
    settings = ", ".join(f"{name} = {_brief(value)}" for name, value in list(values.items())[:_NAMED])
    more = ", ..." if len(values) > _NAMED else ""
    reached = f"{in_words(metric)} {number(float(best[metric]), 3)}"
    return (
        f"Trial {int(best[TRIAL])} is the best of {len(trials):,}: {reached} against a "
        f"median of {number(float(good[metric].median()), 3)}, at {settings}{more}."
    )


def _brief(value: object) -> str:
    return number(value, 3) if isinstance(value, float) else label(value)


def _overview(spec: SearchSpec, search: Search, trials: pd.DataFrame, good: pd.DataFrame) -> Iterator[Part]:
    states = ", ".join(f"{n} {s}" for s, n in trials["state"].value_counts().items())
    seeds = f", each the mean over {search.seeds} seeds" if search.seeds > 1 else ""
    yield f"{len(trials)} trials ({states}){seeds}; {trials['seconds'].sum():,.0f} s of units in all."
    best = good.iloc[0]
    reached = ", ".join(f"{g.metric} = {number(best[g.metric], 5)}" for g in search.goals)
    yield f"Best by the first goal: trial {int(best[TRIAL])}, {reached}."
    lines = [[d.name, _range(d), "log" if d.setting.log else "", _when(d)] for d in search.dimensions]
    yield Table("The space.", ("setting", "values", "scale", "exists where"), lines)
    how = "in generations" if search.waits else "as they end"
    args = ", ".join(f"{k} {v}" for k, v in spec.sampler.model_dump().items() if k != "method" and v is not None)
    prune = ", ".join(f"{k} {v}" for k, v in spec.pruner.model_dump().items() if k != "method")
    yield (
        f"Sampler {spec.sampler.method} ({args or 'no settings'}), asked for {spec.generation} trials at once, told "
        f"{how}; pruner {spec.pruner.method}{f' ({prune})' if prune else ''}."
    )


def _range(d: Dimension) -> str:
    if d.setting.choice is not None:
        return ", ".join(map(label, d.setting.options()))
    low, high = d.setting.bounds
    step = f", step {d.setting.step:g}" if d.setting.step is not None else ""
    return f"{low:g} to {high:g}{step}"


def _when(d: Dimension) -> str:
    return "; ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in d.when.items())


def _importance(search: Search, good: pd.DataFrame, metric: str, index: int) -> Figure | None:
    """Of settings that all trials have; then, for each set of conditions, of those that exist under them."""
    shares: dict[str, float] = {}
    of: dict[str, int] = {}
    groups: dict[str, list[Dimension]] = {}
    for d in search.dimensions:
        groups.setdefault(_when(d), []).append(d)
    for group, (when, dimensions) in enumerate(groups.items()):
        importance = importances(dimensions, search.goals[index], _points(good, dimensions, search, metric))
        if len(importance) > 1 or (importance and not when):
            shares |= importance
            of |= dict.fromkeys(importance, group)
    if not shares:
        return None
    return _named(importance_figure(shares, of, metric), metric, [(g.metric, g.minimise) for g in search.goals])


def _points(
    good: pd.DataFrame, dimensions: Sequence[Dimension], search: Search, metric: str
) -> list[tuple[dict[str, Value], float]]:
    points = []
    for _, line in good.iterrows():
        values = values_of(line, search.dimensions)
        if all(d.name in values for d in dimensions) and np.isfinite(line[metric]):
            points.append((values, float(line[metric])))
    return points


def _named(figure: Figure, metric: str, goals: Sequence[tuple[str, bool]]) -> Figure:
    """Figures of several goals need names of their own."""
    if len(goals) == 1:
        return figure
    return replace(figure, name=f"{figure.name}-{metric}")


def _table(search: Search, lines: pd.DataFrame, what: str) -> Table:
    metrics = [g.metric for g in search.goals]
    body = []
    for _, line in lines.head(_BEST).iterrows():
        values = values_of(line, search.dimensions)
        spread = search.seeds > 1
        reached = [number(line[m], 5) + (f" ± {number(line[f'{m}.sd'], 2)}" if spread else "") for m in metrics]
        body.append([int(line[TRIAL]), *reached, ", ".join(f"{n} {label(v)}" for n, v in values.items())])
    order = "on the front" if what == "front" else "the best first"
    sd = "; ±: standard deviation over seeds" if search.seeds > 1 else ""
    return Table(f"{len(body)} of {len(lines)} trials, {order}{sd}.", ("trial", *metrics, "settings"), body)


def _best(search: Search, good: pd.DataFrame) -> Iterator[Part]:
    yield _table(search, good, "best")
    best = values_of(good.iloc[0], search.dimensions)
    caption = (
        "Settings of the best trial. `landsweep best DIR > recipe.yaml` gives them as a spec that is ready to run."
    )
    yield Table(caption, ("setting", "value"), [[name, value] for name, value in best.items()], "best")


def _summary(trials: pd.DataFrame, good: pd.DataFrame, goals: Sequence[tuple[str, bool]]) -> dict[str, float]:
    summary = {"trials": float(len(trials)), "best_trial": float(good.iloc[0][TRIAL])}
    for state in ("pruned", "diverged", "failed"):
        summary[f"trials_{state}"] = float((trials["state"] == state).sum())
    for metric, less in goals:
        best = best_first(trials, metric, minimise=less)
        if len(best):
            summary[f"best.{metric}"] = float(best.iloc[0][metric])
    return summary
