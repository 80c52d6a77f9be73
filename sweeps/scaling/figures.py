"""Pictures of a study, in matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, plain, shades
from landsweep.orchestrator.report.drawing import ListedColormap, ScalarMappable
from landsweep.sweeps.lab.schedules import Schedule
from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.scaling.curves import Curves
from landsweep.sweeps.scaling.study import Minimum

__all__ = [
    "compute_picture",
    "curves_picture",
    "isoflop_picture",
    "lines_picture",
    "optimum_picture",
    "predicted_picture",
    "residual_picture",
]


def _means(runs: pd.DataFrame) -> pd.DataFrame:
    """A line for each cell: N, D, C, mean loss, its standard deviation over seeds, and how many."""
    grouped = runs.groupby("cell", sort=False)
    means = grouped[["N", "D", "C", "budget", "loss"]].mean()
    return means.assign(sd=grouped["loss"].std().fillna(0.0), seeds=grouped.size()).reset_index()


def _log_axes(plot: Any, x: str, y: str) -> None:  # noqa: ANN401 - matplotlib has no types
    """Both axes logarithmic, with their labels; what is drawn is drawn already."""
    plot.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    log_ticks(plot)


def isoflop_picture(table: pd.DataFrame, minima: Sequence[Minimum], label: str) -> Any:  # noqa: ANN401
    """Loss over size for each budget, with its parabola and the lowest point of that."""
    picture = new_picture(7.0, 4.4)
    plot = picture.add_subplot()
    means = _means(table[table["role"] == "isoflop"])
    budgets = sorted(means["budget"].unique())
    of = {m.budget: m for m in minima}
    for budget, colour in zip(budgets, shades(len(budgets)), strict=True):
        cell = means[means["budget"] == budget].sort_values("N")
        plot.errorbar(cell["N"], cell["loss"], cell["sd"], fmt="o", ms=4, color=colour, label=f"{budget:.2g}")
        if (m := of.get(budget)) is not None:
            x = np.linspace(np.log(m.span[0]), np.log(m.span[1]), 80)
            plot.plot(np.exp(x), np.polyval(m.coefficients, x), color=colour, linewidth=1.2)
            if m.size is not None and m.loss is not None:
                plot.plot([m.size], [m.loss], marker="*", ms=13, color=colour, markeredgecolor="black", linestyle="")
    _log_axes(plot, "N, parameters", plain(label))
    plot.grid(alpha=0.3)
    picture.legend(title="FLOPs", loc="outside right upper", fontsize=8)
    return picture


def compute_picture(table: pd.DataFrame, frontier: pd.DataFrame | None, label: str) -> Any:  # noqa: ANN401
    """Loss over compute of all runs, lines through equal sizes, and the law's frontier with its band."""
    picture = new_picture(7.0, 4.4)
    plot = picture.add_subplot()
    seen = _means(table[table["role"] != "validate"])
    sizes = sorted(seen["N"].unique())
    for size, colour in zip(sizes, shades(len(sizes)), strict=True):
        runs = seen[seen["N"] == size].sort_values("C")
        plot.plot(runs["C"], runs["loss"], "o-", ms=3, linewidth=0.8, color=colour)
    if frontier is not None:
        plot.plot(
            frontier["flops"], frontier["loss"], color="black", linewidth=1.6, label="best at each budget, fitted"
        )
        band = (frontier["loss_low"].to_numpy(float), frontier["loss_high"].to_numpy(float))
        plot.fill_between(frontier["flops"], *band, color="black", alpha=0.15, linewidth=0, label="95 % interval")
    tested = _means(table[table["role"] == "validate"])
    if len(tested):
        plot.plot(tested["C"], tested["loss"], "*", ms=13, color=PALETTE[3], label="not fitted")
    _log_axes(plot, "C, training FLOPs", plain(label))
    plot.grid(alpha=0.3)
    _size_bar(picture, plot, sizes)
    if plot.get_legend_handles_labels()[0]:
        plot.legend(frameon=False, fontsize=8)
    return picture


def _size_bar(picture: Any, plot: Any, sizes: Sequence[float]) -> None:  # noqa: ANN401 - matplotlib has no types
    """A bar that says which colour is which size."""
    colours = ListedColormap(shades(len(sizes)))
    bar = picture.colorbar(ScalarMappable(cmap=colours), ax=plot, label="N, parameters")
    shown = range(0, len(sizes), max(1, len(sizes) // 8))
    bar.set_ticks([(i + 0.5) / len(sizes) for i in shown], labels=[f"{sizes[i]:,.0f}" for i in shown])


def lines_picture(table: pd.DataFrame, fit: Fit, label: str) -> Any:  # noqa: ANN401
    """Loss over tokens for each size: points, and the law's line with its 95 % band."""
    picture = new_picture(7.0, 4.4)
    plot = picture.add_subplot()
    seen = _means(table[table["role"] != "validate"])
    sizes = sorted(seen["N"].unique())
    least, most = float(np.log(seen["D"].min())), float(np.log(seen["D"].max()))
    for size, colour in zip(sizes, shades(len(sizes)), strict=True):
        runs = seen[seen["N"] == size]
        plot.errorbar(runs["D"], runs["loss"], runs["sd"], fmt="o", ms=4, color=colour)
        d = np.exp(np.linspace(least, most, 60))
        x = fit.law.prepare({"N": np.full(60, size), "D": d})
        band = fit.uncertainty.band(lambda theta, x=x: fit.law.predict(theta, x))  # type: ignore[misc]
        plot.plot(d, band["value"], color=colour, linewidth=1.2)
        plot.fill_between(d, band["low"], band["high"], color=colour, alpha=0.15, linewidth=0)
    low, high = seen["loss"].min(), seen["loss"].max()
    plot.set(ylim=(low / (high / low) ** 0.1, high * (high / low) ** 0.15))
    _log_axes(plot, "D, tokens or samples", plain(label))
    plot.grid(alpha=0.3)
    _size_bar(picture, plot, sizes)
    return picture


def residual_picture(table: pd.DataFrame, fit: Fit) -> Any:  # noqa: ANN401 - matplotlib has no types
    """Residuals, log measured - log predicted, over N, D and C."""
    picture = new_picture(8.4, 3.2)
    plots = picture.subplots(1, 3, sharey=True)
    for name, colour, marker in (("fitted", PALETTE[0], "o"), ("not fitted", PALETTE[3], "*")):
        runs = table[(table["role"] == "validate") == (name != "fitted")]
        if not len(runs):
            continue
        x = fit.law.prepare({k: runs[k].to_numpy(float) for k in ("N", "D")})
        r = np.log(runs["loss"].to_numpy(float)) - np.log(fit.law.predict(fit.theta[None], x)[0])
        for plot, column in zip(plots, ("N", "D", "C"), strict=True):
            size = 5 if marker == "o" else 12
            plot.plot(runs[column], r, marker, ms=size, alpha=0.75, color=colour, label=name, markeredgewidth=0)
    for plot, text in zip(plots, ("N, parameters", "D, tokens or samples", "C, FLOPs"), strict=True):
        plot.axhline(0, color="0.4", linewidth=1)
        plot.set(xscale="log", xlabel=text)
        log_ticks(plot)
        plot.grid(alpha=0.3)
    plots[0].set_ylabel("log measured - log predicted")
    plots[0].legend(frameon=False, fontsize=8)
    return picture


def predicted_picture(table: pd.DataFrame, fit: Fit, tested: pd.DataFrame, label: str) -> Any:  # noqa: ANN401
    """Predicted against measured; the runs that test the fit with the interval for a single run."""
    picture = new_picture(5.4, 4.8)
    plot = picture.add_subplot()
    seen = table[table["role"] != "validate"]
    x = fit.law.prepare({k: seen[k].to_numpy(float) for k in ("N", "D")})
    predicted = fit.law.predict(fit.theta[None], x)[0]
    plot.plot(predicted, seen["loss"], "o", ms=4, alpha=0.7, color=PALETTE[0], label=f"fitted (n = {len(seen)})")
    ends: list[Floats] = [predicted, seen["loss"].to_numpy(float)]
    if len(tested):
        middle = tested["predicted"].to_numpy(float)
        spread = np.abs(tested[["run_low", "run_high"]].to_numpy(float).T - middle)
        name = f"not fitted (n = {len(tested)})"
        plot.errorbar(middle, tested["measured"], xerr=spread, fmt="*", ms=12, color=PALETTE[3], label=name, capsize=3)
        ends += [
            middle,
            tested["measured"].to_numpy(float),
            *(tested[c].to_numpy(float) for c in ("run_low", "run_high")),
        ]
    low, high = min(e.min() for e in ends), max(e.max() for e in ends)
    plot.plot([low, high], [low, high], color="0.3", linewidth=1)
    _log_axes(plot, f"predicted {plain(label)}", f"measured {plain(label)}")
    plot.grid(alpha=0.3)
    plot.legend(frameon=False, fontsize=8)
    return picture


def optimum_picture(minima: Sequence[Minimum], powers: dict[str, Fit | None], frontier: pd.DataFrame | None) -> Any:  # noqa: ANN401
    """Best size and tokens over the budget: of the parabolas, with their power law, and of the fitted law."""
    picture = new_picture(8.2, 3.6)
    plots = picture.subplots(1, 2)
    bracketed = [m for m in minima if m.size is not None]
    budgets = np.array([m.budget for m in bracketed])
    for plot, what, name, text in zip(
        plots, ("size", "tokens"), ("N", "D"), ("parameters", "tokens or samples"), strict=True
    ):
        if frontier is not None:
            c = frontier["flops"].to_numpy(float)
            plot.plot(c, frontier[name], color="black", linewidth=1.3, label="fitted law")
            plot.fill_between(
                c, frontier[f"{name}_low"], frontier[f"{name}_high"], color="black", alpha=0.15, linewidth=0
            )
        if bracketed:
            plot.plot(budgets, [getattr(m, what) for m in bracketed], "o", color=PALETTE[0], label="iso-FLOP minima")
        if (power := powers.get(what)) is not None:
            line = power.law.predict(power.theta[None], {"x": budgets})[0]
            label = f"their power law, exponent {power['p']:.3f}"
            plot.plot(budgets, line, "--", color=PALETTE[0], label=label)
        _log_axes(plot, "C, training FLOPs", f"best {name}, {text}")
        plot.grid(alpha=0.3)
        if plot.get_legend_handles_labels()[0]:
            plot.legend(frameon=False, fontsize=8)
    return picture


def curves_picture(fitted: Curves, schedule: Schedule, label: str) -> Any:  # noqa: ANN401 - matplotlib has no types
    """Loss over steps of one size over its horizons: points, and the annealing law's lines."""
    picture = new_picture(7.0, 4.4)
    plot = picture.add_subplot()
    for curve, shade in zip(fitted.curves, shades(len(fitted.curves)), strict=True):
        colour = shade if curve.fitted else PALETTE[3]
        name = f"{curve.steps:,} steps" + ("" if curve.fitted else ", predicted")
        plot.plot(curve.table["step"], curve.table["loss"], "o", ms=4, color=colour, label=name)
        steps, losses = fitted.line(curve, schedule)
        plot.plot(steps, losses, color=colour, linewidth=1.2, linestyle="-" if curve.fitted else "--")
    _log_axes(plot, "step", plain(label))
    plot.grid(alpha=0.3)
    plot.legend(frameon=False, fontsize=8)
    return picture
