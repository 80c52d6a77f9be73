"""Pictures of a fit: measured against predicted with its band, and the residuals."""

from __future__ import annotations

from typing import Any

import numpy as np

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, plain
from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.fitted import Fit

__all__ = ["fit_picture"]


def fit_picture(fit: Fit) -> Any:  # noqa: ANN401 - matplotlib has no types
    """Measured against predicted, with the 95 % band of single measurements, and residuals below.

    Args:
        fit: with its points; those held out are drawn in another colour.
    """
    if fit.cases is None:
        raise ValueError("a fit that was read from a file has no points to draw")
    picture = new_picture(6.4, 7.0)
    above, below = picture.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    for i, (cases, name) in enumerate(((fit.cases, "fitted"), (fit.held_cases, "held out"))):
        if cases is None:
            continue
        predicted = fit.law.predict(fit.theta[None], cases.x)[0]
        style = {"s": 14 if i == 0 else 26, "alpha": 0.65 if i == 0 else 0.9, "color": PALETTE[i], "marker": "o^"[i]}
        above.scatter(predicted, cases.y, label=f"{name} (n = {len(cases.y)})", linewidths=0, **style)
        below.scatter(predicted, _residual(fit, predicted, cases.y), linewidths=0, **style)
    _band(fit, above)
    label = _label(fit)
    scale = "log" if fit.objective.log else "linear"
    above.set(ylabel=f"measured {label}", title=f"{fit.law.name}: {fit.law.formula}", xscale=scale, yscale=scale)
    below.axhline(0, color="0.4", linewidth=1)
    below.set(xlabel=f"predicted {label}", ylabel="log measured\n- log predicted" if fit.objective.log else "residual")
    for plot in (above, below):
        plot.grid(alpha=0.3)
    log_ticks(above)
    above.legend(frameon=False)
    return picture


def _label(fit: Fit) -> str:
    """What was measured, by its name in the table, with its unit."""
    quantity = fit.law.output
    name = quantity.name if fit.selection is None else fit.selection.columns[quantity.name]
    return plain(name) + (f" ({quantity.unit})" if quantity.unit not in ("", "any") else "")


def _residual(fit: Fit, predicted: Floats, y: Floats) -> Floats:
    return -fit.objective.residual(predicted, y)


def _band(fit: Fit, plot: Any) -> None:  # noqa: ANN401 - matplotlib has no types
    """The identity and the central 95 % of the residuals around it."""
    assert fit.cases is not None
    everything = [c for c in (fit.cases, fit.held_cases) if c is not None]
    predicted = np.concatenate([fit.law.predict(fit.theta[None], c.x)[0] for c in everything])
    ends = np.array([predicted.min(), predicted.max()])
    low, high = np.quantile(-fit.residuals, [0.025, 0.975])
    edges = (ends * np.exp(low), ends * np.exp(high)) if fit.objective.log else (ends + low, ends + high)
    plot.fill_between(ends, *edges, color="0.5", alpha=0.2, linewidth=0, label="95 % of the fitted residuals")
    plot.plot(ends, ends, color="0.3", linewidth=1)
