"""Interactive figures of landscapes with Plotly, for the report page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landsweep.orchestrator.report.canvas import PALETTE, page_style, panel_grid
from landsweep.sweeps.landscape.colour_scale import Scale
from landsweep.sweeps.landscape.figures import MeanCurve
from landsweep.sweeps.landscape.surfaces import Surface

__all__ = ["curves_plot", "surfaces_plot"]


def curves_plot(panels: Sequence[tuple[str, str, bool, Sequence[MeanCurve]]]) -> Any:  # noqa: ANN401 - no types
    """The same as `curves_picture`, to be read off with the pointer."""
    rows, columns = panel_grid(len(panels), 2)
    titles = [title for title, _, _, _ in panels]
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=titles, horizontal_spacing=0.1)
    for i, (_, axis, log, curves) in enumerate(panels):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for j, curve in enumerate(curves):
            colour = PALETTE[j % len(PALETTE)]
            group = {"legendgroup": curve.label, "line": {"color": colour}}
            if curve.low is not None and curve.high is not None:
                around = {
                    "x": np.concatenate([curve.x, curve.x[::-1]]),
                    "y": np.concatenate([curve.high, curve.low[::-1]]),
                }
                figure.add_scatter(
                    **around,
                    **group,
                    **place,
                    fill="toself",
                    opacity=0.25,
                    line_width=0,
                    showlegend=False,
                    hoverinfo="skip",
                )
            figure.add_scatter(x=curve.x, y=curve.y, name=curve.label, showlegend=i == 0, **group, **place)
        figure.update_xaxes(title=axis, **place)
        figure.update_yaxes(type="log" if log else "linear", exponentformat="power", **place)
    return page_style(figure, 380 * rows)


def surfaces_plot(panels: Sequence[tuple[str, Surface]], scale: Scale, label: str) -> Any:  # noqa: ANN401 - no types
    """Surfaces in space, side by side, of equal height and colour scale; they can be turned."""
    titles = [title for title, _ in panels]
    specs = [[{"type": "surface"} for _ in panels]]
    figure = make_subplots(rows=1, cols=len(panels), specs=specs, subplot_titles=titles, horizontal_spacing=0.02)
    bottom, top = (float(v) for v in scale.height(np.array([scale.low, scale.high])))
    name = f"log10 {label}" if scale.log else label
    for column, (_, surface) in enumerate(panels):
        (x, y), (first, second) = surface.points, surface.axes
        figure.add_trace(
            go.Surface(
                x=x,
                y=y,
                z=scale.height(surface.values).T,
                customdata=surface.values.T,
                coloraxis="coloraxis",
                hovertemplate=f"{first} %{{x:.3g}}<br>{second} %{{y:.3g}}<br>{label} %{{customdata:.4g}}"
                "<extra></extra>",
            ),
            row=1,
            col=column + 1,
        )
    figure.update_scenes(
        xaxis_title=panels[0][1].axes[0],
        yaxis_title=panels[0][1].axes[1],
        zaxis={"title": name, "range": [bottom, top]},
        aspectratio={"x": 1, "y": 1, "z": 0.7},
        camera_eye={"x": 1.3, "y": -1.5, "z": 1.0},
    )
    bar = {"colorscale": "Viridis", "cmin": bottom, "cmax": top, "colorbar": {"title": name}}
    return page_style(figure, 520).update_layout(coloraxis=bar, margin={"b": 10, "l": 0})
