"""The report of a zoo: what a paper's appendix shows of one. Numbers, distributions, maps, curves, failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from orchestrator.report.parts import Figure, Part, Report, Section, Table
from sweeps.lab.zoo.figures import MOST_BANDS, curves_picture, distribution_picture, map_picture, scatter_picture

__all__ = ["axes_of", "metric_of", "zoo_report", "zoo_sections"]

_MOST_VALUES = 24  # of an axis in a map or among the curves
_WORST = 10


def metric_of(rows: pd.DataFrame) -> str:
    """The metric that the figures show: test accuracy, or the loss where targets are no classes."""
    for name in ("test_accuracy", "test_loss", "train_loss"):
        if name in rows and rows[name].notna().any():
            return name
    return "train_loss"


def axes_of(params: Sequence[str], rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The swept fields that vary, without seed and sample: those with few values, and continuous ones."""
    varying = [p for p in params if p not in ("seed", "sample") and rows[p].nunique(dropna=False) > 1]
    few = [p for p in varying if rows[p].nunique(dropna=False) <= _MOST_VALUES]
    return few, [p for p in varying if p not in few and pd.api.types.is_numeric_dtype(rows[p])]


def zoo_report(params: Sequence[str], rows: pd.DataFrame, series: pd.DataFrame) -> Report:
    """Sections and summary.

    Args:
        params: names of the swept fields, `seed` among them.
        rows: one line per model; may be empty.
        series: key, step, metric, value; may be empty.
    """
    ended = rows[rows["status"].isin(["ok", "diverged"])] if len(rows) else rows
    good = ended[ended["status"] == "ok"] if len(rows) else rows
    if not len(ended):
        return Report([Section("Zoo", ["There is no model yet."])])
    return Report(zoo_sections(params, rows, series), _summary(ended, good))


def zoo_sections(params: Sequence[str], rows: pd.DataFrame, series: pd.DataFrame) -> list[Section]:
    """The sections of a zoo with at least one model that has ended."""
    ended = rows[rows["status"].isin(["ok", "diverged"])]
    good = ended[ended["status"] == "ok"]
    metric = metric_of(good)
    sections = [Section("The zoo", list(_counts(params, rows, ended, good)))]
    if len(good) and good[metric].notna().any():
        sections.append(Section("Distributions", [_distribution(good, metric), _quantiles(good)]))
        sections.append(Section("Over the swept settings", list(_settings(params, ended, good, metric))))
        if len(series):
            sections += _curves(params, good, series, metric)
    sections.append(Section("Failures", list(_failures(params, rows))))
    return sections


def _summary(ended: pd.DataFrame, good: pd.DataFrame) -> dict[str, float]:
    found = {"models": float(len(ended)), "diverged": float((ended["status"] == "diverged").sum())}
    for name in ("train_accuracy", "test_accuracy", "train_loss", "test_loss"):
        values = good[name].astype(float) if name in good else pd.Series(dtype=float)
        if np.isfinite(values).any():
            found[f"{name}_median"] = float(values.median())
            found[f"{name}_best"] = float(values.min() if name.endswith("loss") else values.max())
    seconds = ended["seconds"].astype(float).sum() if "seconds" in ended else 0.0
    return {**found, "model_seconds": float(seconds)}


def _counts(params: Sequence[str], rows: pd.DataFrame, ended: pd.DataFrame, good: pd.DataFrame) -> Iterator[Part]:
    by_status = ", ".join(f"{n:,} {status}" for status, n in rows["status"].value_counts().items())
    sizes = ended["parameters"].dropna().astype(int) if "parameters" in ended else pd.Series(dtype=int)
    span = f"{sizes.min():,}" if sizes.nunique() == 1 else f"{sizes.min():,} to {sizes.max():,}" if len(sizes) else "-"
    yield f"{len(rows):,} models ({by_status}), {span} parameters each."
    lines = [[p, rows[p].nunique(dropna=False), _values(rows[p])] for p in params]
    yield Table("What was swept.", ("field", "values", "range"), lines)
    parts = []
    for part in ("train", "val", "test"):
        chosen = ended[ended["split"] == part]
        score = good.loc[good["split"] == part, metric_of(good)] if len(good) else pd.Series(dtype=float)
        parts.append([part, len(chosen), chosen["seed"].nunique() if "seed" in chosen else "-", _mean(score)])
    caption = "The split of the zoo itself: no seed is in two parts. The last column is the mean over models."
    yield Table(caption, ("part", "models", "seeds", metric_of(good) if len(good) else "metric"), parts)


def _values(column: pd.Series) -> str:
    values = column.dropna().unique()
    if not len(values):
        return "none"
    if pd.api.types.is_numeric_dtype(column) and len(values) > 6:
        return f"{values.min():.4g} to {values.max():.4g}"
    shown = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in list(values)[:6])
    return shown + (", ..." if len(values) > 6 else "")


def _mean(values: pd.Series) -> str:
    values = values.dropna().astype(float)
    return "-" if not len(values) else f"{values.mean():.4g}"


def _distribution(good: pd.DataFrame, metric: str) -> Figure:
    kind = metric.removeprefix("test_").removeprefix("train_")
    names = [f"{split}_{kind}" for split in ("train", "test") if f"{split}_{kind}" in good]
    values = {n: good[n].astype(float).to_numpy() for n in names if good[n].notna().any()}
    middle = ", ".join(f"median {n.replace('_', ' ')} {np.nanmedian(v):.4g}" for n, v in values.items())
    caption = f"How {kind} is distributed over the n = {len(good):,} models that did not diverge: {middle}."
    return Figure("distribution", caption, distribution_picture(values, kind))


def _quantiles(good: pd.DataFrame) -> Table:
    lines = []
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "best_test_accuracy", "seconds"):
        values = good[name].astype(float).dropna() if name in good else pd.Series(dtype=float)
        if len(values):
            marks = values.quantile([0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
            lines.append([name, len(values), *(f"{q:.4g}" for q in marks)])
    header = ("metric", "n", "least", "5 %", "25 %", "median", "75 %", "95 %", "most")
    return Table("Quantiles over the models that did not diverge.", header, lines)


def _settings(params: Sequence[str], ended: pd.DataFrame, good: pd.DataFrame, metric: str) -> Iterator[Part]:
    few, many = axes_of(params, ended)
    numeric = [p for p in few if pd.api.types.is_numeric_dtype(ended[p])]
    pair = (numeric + [p for p in few if p not in numeric])[:2]
    if len(pair) == 2:
        picture, cells = map_picture(ended, pair[0], pair[1], metric)
        others = [p for p in (*few, *many) if p not in pair]
        over = f", over {', '.join(others)} and seeds" if others else ", over seeds"
        caption = (
            f"Mean {metric.replace('_', ' ')} by {pair[0]} and {pair[1]}{over}; {cells} models in a cell at most; "
            "diverged models count as missing, a grey cell has no other."
        )
        yield Figure("map", caption, picture)
    shown = [p for p in (*many, *few) if p not in pair or len(pair) < 2]
    if shown:
        caption = (
            f"{metric.replace('_', ' ').capitalize()} against each swept field; a point is a model, a line the median, "
            f"a box the quartiles; n = {len(good):,}; crosses at the lower edge are the "
            f"{len(ended) - len(good):,} models that diverged."
        )
        yield Figure("settings", caption, scatter_picture(ended, shown[:6], metric))
    if not shown and len(pair) < 2:
        yield "Only the seed varies between these models."


def _curves(params: Sequence[str], good: pd.DataFrame, series: pd.DataFrame, metric: str) -> list[Section]:
    part = series[(series["metric"] == metric) & series["key"].isin(good["key"])]
    if part["step"].nunique() < 2:
        return []
    few, many = axes_of(params, good)
    by = next(iter(few), None) or next(iter(many), None)
    picture, groups = curves_picture(part, good, by, metric)
    caption = f"{metric.replace('_', ' ').capitalize()} during training: median"
    caption += " and quartiles" if groups <= MOST_BANDS else ""
    if by is not None:
        caption += f" over models of equal {by}" if by in few else f" over models in {groups} equal groups by {by}"
    return [
        Section("Learning curves", [Figure("curves", f"{caption}; n = {part['key'].nunique():,} models.", picture)])
    ]


def _failures(params: Sequence[str], rows: pd.DataFrame) -> Iterator[Part]:
    bad = rows[rows["status"] != "ok"]
    if not len(bad):
        yield "No model diverged or failed."
        return
    diverged, failed = (int((bad["status"] == s).sum()) for s in ("diverged", "failed"))
    yield f"{diverged:,} of {len(rows):,} models diverged and {failed:,} failed; they keep their rows."
    fields = [p for p in params if rows[p].nunique(dropna=False) > 1 and p not in ("sample",)]
    lines = [
        [
            row["key"][:8],
            row["status"],
            *(_cell(row[p]) for p in fields),
            str(row["error"] or "").strip().split("\n")[-1][:120],
        ]
        for _, row in bad.head(_WORST).iterrows()
    ]
    header = ("key", "status", *fields, "why")
    yield Table(f"The first {len(lines)} of them, in the plan's order.", header, lines)
    few, many = axes_of(params, rows)
    shares = []
    for p in (*few, *many):
        by = rows[p] if p in few else pd.qcut(rows[p].astype(float), 4, duplicates="drop")
        for value, group in rows.groupby(by, observed=True):
            name = _cell(value) if p in few else f"{group[p].min():.4g} to {group[p].max():.4g}"
            shares.append([p, name, len(group), f"{(group['status'] != 'ok').mean():.1%}"])
    if shares:
        yield Table(
            "Share of models that diverged or failed, by setting.", ("field", "value", "models", "share"), shares
        )


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
