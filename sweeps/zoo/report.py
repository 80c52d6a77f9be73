"""The report of a zoo: what a paper's appendix shows of one. Numbers, distributions, maps, curves, failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.effects import shares_of_order
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import in_words, label, number, ordered, share, shown
from landsweep.sweeps.lab.probes import MEASURED
from landsweep.sweeps.zoo.figures import (
    MOST_BANDS,
    curves_picture,
    distribution_picture,
    groups_of,
    map_picture,
    scatter_picture,
)

__all__ = ["axes_of", "metric_of", "splits_of", "zoo_report", "zoo_sections"]

_MOST_VALUES = 24  # of an axis in a map or among the curves
_MOST_PANELS = 9
_WORST = 10
_LEADS = ("map", "settings", "distribution")  # figures that show what the answer says, the first that there is
_LEAST_SHARE = 0.1  # of the order: a field that explains less is not said to matter
_ASIDE = ("best", "initial")  # beginnings of columns that are no splits
_COMPARED = ("recipe", "branch")  # fields whose values have names, and are there to be compared
Names = Mapping[str, Sequence[str]]


def splits_of(rows: pd.DataFrame) -> list[str]:
    """The splits that the models were evaluated on: train first, test last, others in between as the columns stand."""
    names = [str(c).removesuffix("_loss") for c in rows.columns if str(c).endswith("_loss")]
    splits = [s for s in names if s and s.split("_")[0] not in _ASIDE]
    return sorted(splits, key=lambda s: ("train", "", "test").index(s if s in ("train", "test") else ""))


def metric_of(rows: pd.DataFrame) -> str:
    """The metric that the figures show: accuracy on test, else on another held-out split; loss where there is none."""
    held_out = [s for s in reversed(splits_of(rows)) if s != "train"]
    for name in (*(f"{s}_accuracy" for s in held_out), *(f"{s}_loss" for s in held_out), "train_loss"):
        if name in rows and np.isfinite(numbers(rows[name])).any():
            return name
    return "train_loss"


def axes_of(params: Sequence[str], rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The swept fields that vary, without seed and sample: those with few values, and continuous ones."""
    varying = [p for p in params if p not in ("seed", "sample") and rows[p].nunique(dropna=False) > 1]
    few = [p for p in varying if rows[p].nunique(dropna=False) <= _MOST_VALUES]
    return few, [p for p in varying if p not in few and pd.api.types.is_numeric_dtype(rows[p])]


def zoo_report(params: Sequence[str], rows: pd.DataFrame, series: pd.DataFrame, names: Names | None = None) -> Report:
    """Sections and summary.

    Args:
        params: names of the swept fields, `seed` among them.
        rows: one line per model; may be empty.
        series: key, step, metric, value; may be empty.
        names: of recipes and branches, in the order of the spec.
    """
    ended = rows[rows["status"].isin(["ok", "diverged"])] if len(rows) else rows
    good = ended[ended["status"] == "ok"] if len(rows) else rows
    if not len(ended):
        return Report([PageSection("Zoo", ["There is no model yet."])])
    sections = zoo_sections(params, rows, series, names)
    swept = any(axes_of(params, ended))
    question = f"How good are these models, and {'what decides it' if swept else 'how much do seeds differ'}?"
    drawn = {p.name for s in sections for p in s.parts if isinstance(p, Figure)}
    lead = next((name for name in _LEADS if name in drawn), "")
    answer = f"{_answer(ended, good)}{_decides(params, good, names or {})}"
    return Report(sections, _summary(ended, good), answer=answer, question=question, lead=lead)


def _decides(params: Sequence[str], good: pd.DataFrame, names: Names) -> str:
    """The swept field that explains most of the order of the models, where one does."""
    metric, (few, many) = metric_of(good), axes_of(params, good)
    if metric not in good or len(few) + len(many) < 2:
        return ""
    labels = pd.DataFrame({p: groups_of(good[p], 4 if p in many else None, names.get(p, ()))[0] for p in (*few, *many)})
    field, part = next(iter(shares_of_order(labels, numbers(good[metric]).tolist()).items()), ("", 0.0))
    if part < _LEAST_SHARE:
        return ""
    return f" {field} matters most: alone it explains {share(part)} of their order."


def _answer(ended: pd.DataFrame, good: pd.DataFrame) -> str:
    """How many models there are, and how good they are."""
    metric = metric_of(good)
    values = numbers(good[metric]) if metric in good else np.array([])
    values = values[np.isfinite(values)]
    diverged = len(ended) - len(good)
    text = f"{len(ended):,} trained models"
    text += f", of which {share(diverged / len(ended))} diverged" if diverged else ""
    if not len(values):
        return f"{text}."
    best = values.min() if metric.endswith("loss") else values.max()
    return (
        f"{text}; their {in_words(metric)} is {number(float(np.median(values)), 3)} at the median and "
        f"{number(float(best), 3)} at best."
    )


def zoo_sections(
    params: Sequence[str], rows: pd.DataFrame, series: pd.DataFrame, names: Names | None = None
) -> list[PageSection]:
    """The sections of a zoo with at least one model that has ended."""
    ended = rows[rows["status"].isin(["ok", "diverged"])]
    good = ended[ended["status"] == "ok"]
    metric = metric_of(good)
    sections = [PageSection("The zoo", list(_counts(params, rows, ended, good)))]
    if metric in good and np.isfinite(numbers(good[metric])).any():
        sections.append(PageSection("Distributions", [_distribution(good, metric), _quantiles(good)]))
        sections.append(
            PageSection("Over the swept settings", list(_settings(params, ended, good, metric, names or {})))
        )
        if len(series):
            sections += _curves(params, good, series, metric, names or {})
    sections.append(PageSection("Failures", list(_failures(params, rows, names or {}))))
    return sections


def _summary(ended: pd.DataFrame, good: pd.DataFrame) -> dict[str, float]:
    summary = {"models": float(len(ended)), "diverged": float((ended["status"] == "diverged").sum())}
    for name in _measured(good):
        values = numbers(good[name])
        values = values[np.isfinite(values)]
        if len(values):
            summary[f"{name}_median"] = float(np.median(values))
            summary[f"{name}_best"] = float(values.min() if name.endswith("loss") else values.max())
    seconds = np.nansum(numbers(ended["seconds"])) if "seconds" in ended else 0.0
    return {**summary, "model_seconds": float(seconds)}


def _measured(rows: pd.DataFrame) -> list[str]:
    """Losses and accuracies on all splits, as far as there are columns of them."""
    splits = splits_of(rows)
    return [name for what in ("loss", "accuracy") for s in splits if (name := f"{s}_{what}") in rows]


def _counts(params: Sequence[str], rows: pd.DataFrame, ended: pd.DataFrame, good: pd.DataFrame) -> Iterator[Part]:
    by_status = ", ".join(f"{n:,} {status}" for status, n in rows["status"].value_counts().items())
    sizes = numbers(ended["parameters"]) if "parameters" in ended else np.array([])
    sizes = np.unique(sizes[np.isfinite(sizes)])
    span = " to ".join(f"{n:,.0f}" for n in dict.fromkeys([sizes[0], sizes[-1]])) if len(sizes) else "-"
    yield f"{len(rows):,} models ({by_status}), {span} parameters each."
    lines = [[p, rows[p].nunique(dropna=False), _values(rows[p])] for p in params]
    yield Table("What was swept.", ("field", "values", "range"), lines)
    parts, metric = [], metric_of(good)
    for part in ("train", "val", "test"):
        chosen = ended[ended["split"] == part] if "split" in ended else ended.iloc[:0]
        score = chosen.loc[chosen["status"] == "ok", metric] if metric in chosen else pd.Series(dtype=float)
        parts.append([part, len(chosen), chosen["seed"].nunique() if "seed" in chosen else "-", _mean(score)])
    caption = "The split of the zoo itself: no seed is in two parts. The last column is the mean over models."
    yield Table(caption, ("part", "models", "seeds", metric), parts)


def _values(column: pd.Series) -> str:
    values = ordered(column.dropna())
    if not values:
        return "none"
    if pd.api.types.is_numeric_dtype(column) and len(values) > 6:
        return f"{label(values[0])} to {label(values[-1])}"
    return ", ".join(map(label, values[:6])) + (", ..." if len(values) > 6 else "")


def _mean(values: pd.Series) -> str:
    finite = numbers(values)[np.isfinite(numbers(values))]
    return number(float(finite.mean()), 4) if len(finite) else "-"


def _distribution(good: pd.DataFrame, metric: str) -> Figure:
    kind = metric.rpartition("_")[2]
    names = [f"{split}_{kind}" for split in splits_of(good) if f"{split}_{kind}" in good]
    values = {n: v for n in names if np.isfinite(v := numbers(good[n])).any()}
    middle = ", ".join(
        f"median {n.replace('_', ' ')} {number(float(np.median(v[np.isfinite(v)])), 4)}" for n, v in values.items()
    )
    caption = f"How {kind} is distributed over the n = {len(good):,} models that did not diverge: {middle}."
    return Figure("distribution", caption, distribution_picture(values, kind))


def _quantiles(good: pd.DataFrame) -> Table:
    lines = []
    best = [f"best_{split}_accuracy" for split in splits_of(good)]
    for name in (*_measured(good), *best, *MEASURED, "seconds"):
        values = numbers(good[name]) if name in good else np.array([])
        values = values[np.isfinite(values)]
        if len(values):
            lines.append([name, len(values), *map(float, np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]))])
    header = ("metric", "n", "least", "5 %", "25 %", "median", "75 %", "95 %", "most")
    return Table("Quantiles over the models that did not diverge.", header, lines, name="quantiles", digits=4)


def _settings(
    params: Sequence[str], ended: pd.DataFrame, good: pd.DataFrame, metric: str, names: Names
) -> Iterator[Part]:
    few, many = axes_of(params, ended)
    pair, compared = _map_fields(few, ended)
    if pair:
        picture, cells = map_picture(ended, pair[0], pair[1], metric, compared, names)
        others = [p for p in (*few, *many) if p not in (*pair, compared)]
        over = f", over {', '.join(others)} and seeds" if others else ", over seeds"
        caption = (
            f"Mean {metric.replace('_', ' ')} by {pair[0]} and {pair[1]}"
            f"{f', a map for each {compared}' if compared else ''}{over}; {cells} models in a cell at most; "
            "diverged models count as missing, a grey cell has no other."
        )
        yield Figure("map", caption, picture)
    panels = [p for p in (*many, *few) if not pair or p not in pair]
    if panels:
        caption = (
            f"{metric.replace('_', ' ').capitalize()} against each swept field; a point is a model; the line is the "
            "median: of the models of each value, or, where there are many values, of groups of neighbouring ones; "
            f"a box shows the quartiles; n = {len(good):,}"
        )
        lost = len(ended) - len(good)
        caption += f"; crosses at the lower edge are the {lost:,} models that diverged." if lost else "."
        yield Figure("settings", caption, scatter_picture(ended, panels[:6], metric, names))
    if not panels and not pair:
        yield "Only the seed varies between these models."


def _map_fields(few: Sequence[str], rows: pd.DataFrame) -> tuple[list[str], str | None]:
    """The two fields of a map, and the field whose values have a map each: recipes are compared, not averaged over."""
    numeric = [p for p in few if pd.api.types.is_numeric_dtype(rows[p])]
    pair = (numeric + [p for p in few if p not in numeric])[:2]
    if len(pair) < 2:
        return [], None
    compared = next((p for p in _COMPARED if p in few and p not in pair), None)
    if compared is not None and rows[compared].nunique(dropna=False) > _MOST_PANELS:
        return [pair[0], compared], None
    return pair, compared


def _curves(
    params: Sequence[str], good: pd.DataFrame, series: pd.DataFrame, metric: str, names: Names
) -> list[PageSection]:
    part = series[(series["metric"] == metric) & series["key"].isin(good["key"])]
    part = part[np.isfinite(numbers(part["value"]))]
    if part["step"].nunique() < 2:
        return []
    few, many = axes_of(params, good)
    by = next(iter(few), None) or next(iter(many), None)
    picture, groups = curves_picture(part, good, by, metric, names)
    caption = f"{metric.replace('_', ' ').capitalize()} during training: median"
    caption += " and quartiles" if groups <= MOST_BANDS else ""
    if by is not None:
        caption += f" over models of equal {by}" if by in few else f" over models in {groups} equal groups by {by}"
    return [
        PageSection("Learning curves", [Figure("curves", f"{caption}; n = {part['key'].nunique():,} models.", picture)])
    ]


def _failures(params: Sequence[str], rows: pd.DataFrame, names: Names) -> Iterator[Part]:
    bad = rows[rows["status"] != "ok"]
    if not len(bad):
        yield "No model diverged or failed."
        return
    diverged, failed = (int((bad["status"] == s).sum()) for s in ("diverged", "failed"))
    yield f"{diverged:,} of {len(rows):,} models diverged and {failed:,} failed; they keep their rows."
    fields = [p for p in params if rows[p].nunique(dropna=False) > 1 and p not in ("sample",)]
    lines = [
        [str(row["key"])[:8], row["status"], *(row[p] for p in fields), _last_line(row["error"])]
        for row in bad.head(_WORST).to_dict("records")
    ]
    header = ("key", "status", *fields, "why")
    yield Table(f"The first {len(lines)} of them, in the plan's order.", header, lines, digits=4)
    few, many = axes_of(params, rows)
    ended_badly = (rows["status"] != "ok").to_numpy(dtype=bool)
    shares = []
    for p in (*few, *many):
        labels, order = groups_of(rows[p], 4 if p in many else None, names.get(p, ()))
        for name in order:
            chosen = np.array([m == name for m in labels])
            shares.append([p, name, int(chosen.sum()), f"{ended_badly[chosen].mean():.1%}"])
    if shares:
        yield Table(
            "Share of models that diverged or failed, by setting.", ("field", "value", "models", "share"), shares
        )


def _last_line(error: object) -> str:
    lines = error.strip().splitlines() if isinstance(error, str) else []
    return shown(lines[-1], most=120) if lines else "-"
