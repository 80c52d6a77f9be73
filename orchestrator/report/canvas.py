"""What all figures share: palette, canvas, style of the page, ticks of logarithmic axes, text as it stands.

`Figure` objects without pyplot: no global state, nothing to close, the Agg canvas whatever the display.
"""

from __future__ import annotations

import math
from typing import Any

from landsweep.orchestrator.report.drawing import Figure as Picture
from landsweep.orchestrator.report.drawing import (
    FigureCanvasAgg,
    FixedLocator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    colormaps,
)
from landsweep.orchestrator.report.values import in_words

__all__ = ["PALETTE", "log_ticks", "new_picture", "page_style", "panel_grid", "plain", "shades", "thinned", "words"]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")  # Okabe and Ito
_NARROW = {"x": 5.0, "y": 12.0}  # up to this ticks are evenly spaced: 1, 2 and 5 would be too few
_LEGIBLE = {"x": 100.0, "y": 1000.0}  # up to this ticks stand at 1, 2 and 5 of each decade; labels along x are wide
_MOST_TICKS = {"x": 5, "y": 7}
_BRIGHTEST = 0.9  # of viridis: its last tenth is too pale for a line on white


def new_picture(width: float = 7.0, height: float = 4.2) -> Picture:
    """An empty matplotlib figure on the Agg canvas; sizes in inches."""
    picture = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(picture)
    return picture


def page_style(figure: Any, height: int) -> Any:  # noqa: ANN401 - Plotly has no types
    """Give a Plotly figure the style of the page; returns it. Height in pixels."""
    return figure.update_layout(
        template="plotly_white", height=height, margin={"l": 60, "r": 20, "t": 40, "b": 60}, colorway=list(PALETTE)
    )


def shades(count: int) -> list[Any]:
    """Colours for `count` ordered things, such as sizes: dark to light."""
    return [colormaps["viridis"](_BRIGHTEST * i / max(count - 1, 1)) for i in range(count)]


def panel_grid(count: int, most: int = 3) -> tuple[int, int]:
    """Rows and columns of `count` panels: as few rows as a limit on the columns allows, and all about equally full."""
    rows = math.ceil(count / most)
    return rows, math.ceil(count / rows)


def thinned(count: int, most: int) -> range:
    """Positions out of `count`, at most `most` of them, evenly spaced from the first one."""
    return range(0, count, math.ceil(count / most))


def plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def words(name: str) -> str:
    """The name of a metric in words, for matplotlib."""
    return plain(in_words(name))


def log_ticks(plot: Any) -> None:  # noqa: ANN401 - matplotlib has no types
    """Short numbers on logarithmic axes that span few decades; called when all is drawn and the limits are known.

    Axes that are linear or have ticks of their own stay as they are. One on which nothing above zero was drawn becomes
    linear: matplotlib can't draw it.
    """
    for axis, siblings, lowest in (
        (plot.xaxis, plot.get_shared_x_axes(), "minposx"),
        (plot.yaxis, plot.get_shared_y_axes(), "minposy"),
    ):
        drawn = [getattr(one.dataLim, lowest) for one in siblings.get_siblings(plot) if one.has_data()]
        if axis.get_scale() == "log" and drawn and not any(0 < value < math.inf for value in drawn):
            plot.set(**{f"{axis.axis_name}scale": "linear"})
        if axis.get_scale() != "log" or isinstance(axis.get_major_locator(), FixedLocator):
            continue
        low, high = sorted(axis.get_view_interval())
        axis.set_minor_formatter(NullFormatter())
        if high >= _LEGIBLE[axis.axis_name] * low:
            continue
        if high < _NARROW[axis.axis_name] * low:
            ticks = MaxNLocator(_MOST_TICKS[axis.axis_name], steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
        else:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(lambda value, _: _short(value))


def _short(value: float) -> str:
    """0.05, 2k, 1.5M; beyond a trillion a power of ten."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size <= value < 1e12:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
