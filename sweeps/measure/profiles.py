"""Profiles of loss and error along paths between models, one measure beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, panel_grid, plain
from landsweep.orchestrator.report.canvas import words as in_words
from landsweep.orchestrator.report.parts import Figure, Part
from landsweep.orchestrator.report.ranges import Range
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import label, ordered

__all__ = ["profile_figures"]

_WHAT = {
    "loss": ("line_loss", "curve_loss", "dropout_path_loss"),
    "error": ("line_error", "curve_error", "dropout_path_error"),
}
_PANELS = 6


def profile_figures(params: Sequence[str], rows: pd.DataFrame, series: pd.DataFrame) -> list[Part]:
    """A figure for the loss and one for the error, with a panel for each value of the first setting.

    Args:
        params: columns of the units' params.
        rows: of units that ended well.
        series: curves of all units; `line_*`, `curve_*` and `dropout_path_*` are profiles, whose places are at equal
            distances.
    """
    if not len(series) or not len(rows):
        return []
    setting = _setting(params, rows)
    known = rows.set_index("key")
    figures: list[Part] = []
    for what, metrics in _WHAT.items():
        profiles = series[series["metric"].isin(metrics) & series["key"].isin(known.index)]
        if not len(profiles):
            continue
        last = profiles.groupby("key")["step"].transform("max")
        profiles = profiles.assign(
            t=profiles["step"] / last,
            measure=known["measure"].loc[profiles["key"]].to_numpy(),
            panel="" if setting is None else known[setting].loc[profiles["key"]].to_numpy(),
        )
        caption = (
            f"Median {what} along the path from the first model of a pair (0) to the second (1), a line for each "
            "measure; bands: the middle half of the pairs."
        )
        caption += f" A panel for each {in_words(setting)}" if setting is not None else ""
        values = ordered(profiles["panel"].unique())
        chosen = [values[i] for i in np.unique(np.linspace(0, len(values) - 1, _PANELS).round().astype(int))]
        caption += (
            "." if setting is None else f"; {len(chosen)} of {len(values)}." if len(chosen) < len(values) else "."
        )
        panels = [(value, profiles[profiles["panel"] == value]) for value in chosen]
        figures.append(Figure(f"profiles_{what}", caption, _picture(panels, what, setting)))
    return figures


def _setting(params: Sequence[str], rows: pd.DataFrame) -> str | None:
    """The first param that pairs share and that differs between them."""
    shared = [
        p for p in params if p in rows and p != "measure" and not p.startswith("of_") and not p.endswith(("_a", "_b"))
    ]
    return next((p for p in shared if 1 < rows[p].nunique() < len(rows)), None)


def _picture(panels: Sequence[tuple[Any, pd.DataFrame]], what: str, setting: str | None) -> Any:  # noqa: ANN401
    down, wide = panel_grid(len(panels), 3)
    picture = new_picture(3.4 * wide + 1.4, 2.8 * down + 0.3)
    measures = list(dict.fromkeys(name for _, part in panels for name in part["measure"]))
    for i, (value, part) in enumerate(panels):
        plot = picture.add_subplot(down, wide, i + 1)
        for j, name in enumerate(measures):
            mine = part[part["measure"] == name].groupby("t")["value"]
            middle = mine.median()
            if not len(middle):
                continue
            colour = PALETTE[j % len(PALETTE)]
            plot.plot(middle.index, middle, color=colour, linewidth=1.6, label=plain(name) if i == 0 else None)
            plot.fill_between(
                middle.index, mine.quantile(0.25), mine.quantile(0.75), color=colour, alpha=0.15, linewidth=0
            )
        log = what == "loss" and Range.of(numbers(part["value"])).log
        plot.set(yscale="log" if log else "linear")
        if i % wide == 0:
            plot.set_ylabel(what)
        if i >= len(panels) - wide:
            plot.set_xlabel("place on the path")
        if setting is not None:
            plot.set_title(plain(f"{in_words(setting)} {label(value)}"), fontsize=9)
        log_ticks(plot)
        plot.grid(alpha=0.3)
    picture.legend(title="measure", fontsize=8, loc="outside right upper")
    return picture
