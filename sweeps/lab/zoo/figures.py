"""Pictures of a zoo, in matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orchestrator.report.plots import PALETTE, new_picture

__all__ = ["MOST_BANDS", "curves_picture", "distribution_picture", "map_picture", "scatter_picture"]

_BINS = 40
_MOST_CURVES = 8
MOST_BANDS = 4  # more quartile bands than that hide each other
_ANNOTATED = 80  # cells of a map that are small enough in number to hold their value as text
_STRETCH = 15.0  # even values over [0, x] have 9, three decades of log-even ones 250

Floats = NDArray[np.float64]


def _log(values: Floats) -> bool:
    """Whether the middle of positive values spans so much that a logarithmic scale shows them better."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() <= 0:
        return False
    low, high = np.quantile(finite, [0.1, 0.9])
    return bool(high / low > _STRETCH)


def _name(text: str) -> str:
    """A metric in words; fields of a recipe keep their path."""
    return (text if "." in text else text.replace("_", " ")).replace("$", r"\$")


def distribution_picture(values: Mapping[str, Floats], kind: str) -> Any:  # noqa: ANN401 - matplotlib has no types
    """Histograms of one metric on several splits, on common bins; a mark at each median."""
    picture = new_picture(7.0, 3.6)
    plot = picture.add_subplot()
    everything = np.concatenate(list(values.values()))
    everything = everything[np.isfinite(everything)]
    log = kind == "loss" and _log(everything)
    low, high = everything.min(), everything.max()
    high = high if high > low else low + 1e-3
    edges = np.geomspace(low, high, _BINS + 1) if log else np.linspace(low, high, _BINS + 1)
    bins = [float(edge) for edge in edges]
    for i, (name, v) in enumerate(values.items()):
        finite = v[np.isfinite(v)]
        plot.hist(finite, bins, histtype="stepfilled", alpha=0.35, color=PALETTE[i], label=_name(name))
        plot.hist(finite, bins, histtype="step", color=PALETTE[i])
        plot.axvline(float(np.median(finite)), color=PALETTE[i], linestyle="--", linewidth=1)
    plot.set(xlabel=_name(kind), ylabel="models", xscale="log" if log else "linear")
    plot.grid(alpha=0.3)
    plot.legend()
    return picture


def map_picture(rows: pd.DataFrame, across: str, up: str, metric: str) -> tuple[Any, int]:
    """Mean of a metric in each cell of two swept fields; gives also the largest number of models in a cell."""
    values = rows[metric].where(rows["status"] == "ok").astype(float)
    grouped = rows.assign(_value=values).groupby([up, across], dropna=False)
    table = grouped["_value"].mean().unstack(across)
    grid = table.to_numpy(dtype=float)
    picture = new_picture(max(5.0, 0.62 * grid.shape[1] + 2.6), max(3.4, 0.42 * grid.shape[0] + 1.4))
    plot = picture.add_subplot()
    image = plot.imshow(np.ma.masked_invalid(grid), origin="lower", aspect="auto", interpolation="nearest")
    plot.set(xlabel=_name(across), ylabel=_name(up), facecolor="#dddddd")
    plot.set_xticks(range(grid.shape[1]), [_short(v) for v in table.columns], rotation=45 if grid.shape[1] > 8 else 0)
    plot.set_yticks(range(grid.shape[0]), [_short(v) for v in table.index])
    picture.colorbar(image, ax=plot, label=_name(metric))
    if grid.size <= _ANNOTATED and np.isfinite(grid).any():
        middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                shown = f"{value:.3f}".lstrip("0") if abs(value) < 1 else f"{value:.2g}"
                plot.text(j, i, shown, ha="center", va="center", size=7, color="white" if value < middle else "black")
    return picture, int(grouped.size().max())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("$", r"\$")


def scatter_picture(rows: pd.DataFrame, fields: Sequence[str], metric: str) -> Any:  # noqa: ANN401 - matplotlib has no types
    """A panel for each field: the metric of every model, the running median, crosses for those that diverged."""
    columns = min(3, len(fields))
    lines = -(-len(fields) // columns)
    picture = new_picture(3.2 * columns + 0.8, 2.9 * lines + 0.3)
    good, bad = rows[rows["status"] == "ok"], rows[rows["status"] == "diverged"]
    y = good[metric].astype(float).to_numpy()
    log_y = metric.endswith("loss") and _log(y)
    for i, field in enumerate(fields):
        plot = picture.add_subplot(lines, columns, i + 1)
        if pd.api.types.is_numeric_dtype(rows[field]):
            _numeric_panel(plot, good[field].to_numpy(float), bad[field].to_numpy(float), y)
        else:
            _category_panel(plot, good[field].astype(str), bad[field].astype(str), y)
        plot.set(xlabel=_name(field), ylabel=_name(metric) if i % columns == 0 else "")
        plot.set_yscale("log" if log_y else "linear")
        plot.grid(alpha=0.3)
    return picture


def _numeric_panel(plot: Any, x: Floats, lost: Floats, y: Floats) -> None:  # noqa: ANN401 - matplotlib has no types
    plot.scatter(x, y, s=5, alpha=0.4, color=PALETTE[0], linewidths=0)
    order = np.argsort(x, kind="stable")
    groups = [g for g in np.array_split(order, max(1, min(15, len(x) // 10))) if len(g)]
    plot.plot([np.median(x[g]) for g in groups], [np.nanmedian(y[g]) for g in groups], color="black", linewidth=1.4)
    if len(lost):
        plot.plot(lost, np.zeros(len(lost)) + 0.01, "x", color=PALETTE[3], ms=4, transform=plot.get_xaxis_transform())
    if _log(np.concatenate([x, lost])):
        plot.set_xscale("log")


def _category_panel(plot: Any, x: pd.Series, lost: pd.Series, y: Floats) -> None:  # noqa: ANN401 - matplotlib has no types
    names = sorted({*x, *lost})
    plot.boxplot([y[(x == n).to_numpy()] for n in names], widths=0.6, showfliers=False, medianprops={"color": "black"})
    plot.set_xticks(range(1, len(names) + 1), [_short(n) for n in names], rotation=30 if len(names) > 3 else 0)
    for place, n in enumerate(names, 1):
        if count := int((lost == n).sum()):
            plot.plot([place], [0.01], "x", color=PALETTE[3], ms=4, transform=plot.get_xaxis_transform())
            plot.annotate(f" {count}", (place, 0.01), xycoords=plot.get_xaxis_transform(), color=PALETTE[3], size=8)


def curves_picture(series: pd.DataFrame, rows: pd.DataFrame, by: str | None, metric: str) -> tuple[Any, int]:
    """Median, and for a few groups quartiles, of a metric over steps, for each value of a field or quarter of them."""
    picture = new_picture(7.0, 3.9)
    plot = picture.add_subplot()
    labels, order = _groups(rows, by)
    merged = series.merge(pd.DataFrame({"key": rows["key"], "_group": labels}), on="key")
    names = [n for n in order if n in set(merged["_group"])]
    for i, name in enumerate(names):
        part = merged[merged["_group"] == name].groupby("step")["value"]
        middle, low, high = part.median(), part.quantile(0.25), part.quantile(0.75)
        colour = PALETTE[i % len(PALETTE)]
        plot.plot(middle.index, middle, color=colour, marker="o" if len(middle) < 20 else "", ms=3, label=str(name))
        if len(names) <= MOST_BANDS:
            plot.fill_between(middle.index, low, high, color=colour, alpha=0.18, linewidth=0)
    log = metric.endswith("loss") and _log(merged["value"].to_numpy(float))
    plot.set(xlabel="step", ylabel=_name(metric), yscale="log" if log else "linear")
    plot.grid(alpha=0.3)
    if by is not None and len(names) > 1:
        picture.legend(title=_name(by), fontsize=8, loc="outside right upper")
    return picture, len(names)


def _groups(rows: pd.DataFrame, by: str | None) -> tuple[list[str], list[str]]:
    """A label for each row, and the labels in the order of the field's values."""
    if by is None:
        return ["all"] * len(rows), ["all"]
    column = rows[by]
    if not pd.api.types.is_numeric_dtype(column) or column.nunique() <= _MOST_CURVES:
        return [_short(v) for v in column], [_short(v) for v in sorted(column.dropna().unique())]
    cut = pd.qcut(column.astype(float), 4, duplicates="drop")
    ranges = column.astype(float).groupby(cut, observed=True).agg(["min", "max"])
    names = {i: f"{low:.3g} to {high:.3g}" for i, low, high in ranges.itertuples()}
    return [names[i] for i in cut], list(names.values())
