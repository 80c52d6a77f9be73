"""The figures of a transfer sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, plain, shades, words
from landsweep.orchestrator.report.drawing import MaxNLocator
from landsweep.orchestrator.report.parts import Figure
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.transfer.coordinate_check import FAIL, PASS, CoordinateCheck
from landsweep.sweeps.transfer.curve import Drift, RateCurve

__all__ = ["along_figure", "coordinates_figure", "curves_figure", "optimum_figure", "steps_figure"]

Arms = Mapping[str, Mapping[int, RateCurve]]


def _colours(sizes: Sequence[int]) -> dict[int, Any]:
    return dict(zip(sorted(sizes), shades(len(sizes)), strict=True))


def _sizes(arms: Mapping[str, Mapping[int, Any]]) -> list[int]:
    return sorted({size for by_size in arms.values() for size in by_size})


def _panels(names: Sequence[str], lines: int = 1, *, share_y: bool = True) -> tuple[Any, Any]:
    picture = new_picture(1.2 + 3.4 * max(len(names), 1.3), 0.6 + 3.1 * lines)
    return picture, picture.subplots(lines, len(names), sharey="row" if share_y else False, squeeze=False)


def _powers(plot: Any) -> None:  # noqa: ANN401 - matplotlib has no types
    plot.xaxis.set_major_locator(MaxNLocator(integer=True))
    plot.xaxis.set_major_formatter(lambda x, _: f"$2^{{{x:g}}}$")


def curves_figure(arms: Arms, over: str, objective: str) -> Figure:
    """Loss over learning rate, a line for each size, a panel for each recipe."""
    picture, axes = _panels(list(arms))
    colours = _colours(_sizes(arms))
    for plot, (name, curves) in zip(axes[0], arms.items(), strict=True):
        for size, curve in curves.items():
            means, colour = curve.means(), colours[size]
            judged, optimum = curve.judged(), curve.optimum()
            plot.plot(curve.rates, means, "-", lw=1.3, color=colour, label=f"{over} {size:,}")
            plot.plot(judged.rates, judged.means(), "o", ms=3, color=colour)
            if judged.losses.shape[1] > 1:
                plot.fill_between(
                    judged.rates, judged.losses.min(1), judged.losses.max(1), color=colour, alpha=0.18, lw=0
                )
            if optimum.bracketed:
                plot.plot(optimum.rate, optimum.loss, "*", ms=11, color=colour, mec="black", mew=0.6, zorder=5)
        plot.set(title=plain(name) or None, xlabel="learning rate", yscale="log")
        plot.grid(alpha=0.3)
        _powers(plot)
    log_ticks(axes[0][0])
    axes[0][0].set_ylabel(words(objective))
    axes[0][-1].legend(fontsize=8)
    caption = (
        f"{words(objective).capitalize()} over the learning rate, which a parametrization scales for each tensor. "
        "Lines: means over seeds; points: rates that all seeds have judged, with the band from the lowest to the "
        "highest; stars: optima by a parabola, at the height of the lowest point; none where the lowest point lies at "
        "an end."
    )
    return Figure("curves", caption, picture)


def optimum_figure(arms: Arms, drifts: Mapping[str, Drift], over: str) -> Figure:
    """The best rate over the size, with the fitted power law, for each recipe."""
    picture = new_picture(6.0, 3.9)
    plot = picture.add_subplot()
    for i, (name, curves) in enumerate(arms.items()):
        optima = {size: c.optimum() for size, c in curves.items()}
        bracketed = {size: o.rate for size, o in optima.items() if o.bracketed}
        colour, line = PALETTE[i % len(PALETTE)], drifts[name]
        label = f"{plain(name) or 'best rate'}: {line.slope:+.2f} per doubling"
        if np.isfinite(line.interval[0]):
            label += f" [{line.interval[0]:+.2f}, {line.interval[1]:+.2f}]"
        x = np.log2(list(bracketed))
        plot.plot(x, list(bracketed.values()), "o", color=colour, label=label)
        if np.isfinite(line.slope):
            plot.plot(x, line.intercept + line.slope * x, "-", lw=1, color=colour)
        open_ended = [(np.log2(size), o.point) for size, o in optima.items() if not o.bracketed]
        if open_ended:
            plot.plot(*zip(*open_ended, strict=True), "o", mfc="none", color=colour)
    ticks = _sizes(arms)
    plot.set_xticks(np.log2(ticks), [f"{t:,}" for t in ticks])
    plot.yaxis.set_major_formatter(lambda y, _: f"$2^{{{y:g}}}$")
    plot.set(xlabel=over.replace("_", " "), ylabel="best learning rate")
    plot.margins(y=0.15)
    plot.grid(alpha=0.3)
    if any(len(c) for c in arms.values()):
        plot.legend(fontsize=8)
    caption = (
        f"The best learning rate over {over.replace('_', ' ')}; lines: power laws, with the slope of log2 rate per "
        "doubling and its 95 % interval by a bootstrap over seeds. Open circles are not bracketed and do not count."
    )
    return Figure("optimum", caption, picture)


def steps_figure(
    points: Mapping[str, Mapping[int, float]], fits: Mapping[str, Fit], objective: str, target: float
) -> Figure:
    """Fewest steps to the target over the batch size, with the fitted law, for each recipe."""
    picture = new_picture(6.0, 3.9)
    plot = picture.add_subplot()
    for i, (name, steps) in enumerate(points.items()):
        colour, label = PALETTE[i % len(PALETTE)], plain(name) or "measured"
        if name in fits and steps:
            label += f": critical batch size {fits[name]['critical']:.3g}"
            x = np.geomspace(float(min(steps)), float(max(steps)), 100)
            plot.plot(x, fits[name].law.predict(fits[name].theta[None], {"batch": x})[0], "-", lw=1, color=colour)
        plot.plot(list(steps), list(steps.values()), "o", color=colour, label=label)
    ticks = _sizes(points)
    plot.set(
        xscale="log", yscale="log", xlabel="batch size", ylabel=f"steps to {objective.replace('_', ' ')} {target:g}"
    )
    plot.set_xticks(ticks, [f"{t:,}" for t in ticks])
    plot.minorticks_off()
    log_ticks(plot)
    plot.grid(alpha=0.3)
    plot.legend(fontsize=8)
    caption = (
        "Fewest steps to the target over the batch size, at the best rate of each; lines: least steps x "
        "(1 + critical / batch). Left of the critical batch size steps halve as the batch "
        "doubles, right of it they stay."
    )
    return Figure("critical_batch", caption, picture)


def along_figure(metric: str, arms: Mapping[str, Mapping[int, pd.DataFrame]], over: str, caption: str) -> Figure:
    """A probe along training, a line for each size, a panel for each recipe."""
    picture, axes = _panels(list(arms))
    colours = _colours(_sizes(arms))
    for plot, (name, sizes) in zip(axes[0], arms.items(), strict=True):
        for size, lines in sizes.items():
            plot.plot(lines["step"], lines["value"], "o-", ms=3, lw=1.3, color=colours[size], label=f"{over} {size:,}")
        plot.set(title=plain(name) or None, xlabel="step", yscale="log" if _positive(arms) else "linear")
        plot.grid(alpha=0.3)
    log_ticks(axes[0][0])
    axes[0][0].set_ylabel(words(metric))
    axes[0][-1].legend(fontsize=8)
    return Figure(metric, caption, picture)


def _positive(arms: Mapping[str, Mapping[int, pd.DataFrame]]) -> bool:
    tables = [lines["value"] for sizes in arms.values() for lines in sizes.values()]
    return bool(tables) and min(float(t.min()) for t in tables) > 0


def coordinates_figure(checks: Mapping[str, CoordinateCheck], over: str) -> Figure:
    """Slopes of every layer over the steps, a panel for each recipe."""
    picture, axes = _panels(list(checks))
    for plot, (name, check) in zip(axes[0], checks.items(), strict=True):
        for bound, style in ((PASS, "-"), (FAIL, ":")):
            for sign in (1, -1):
                plot.axhline(sign * bound, color="grey", lw=0.8, ls=style, zorder=0)
        colours = PALETTE if len(check.layers) <= len(PALETTE) else shades(len(check.layers))
        for i, layer in enumerate(check.layers):
            plot.plot(check.steps, check.slopes[i], "o-", ms=3, lw=1.2, color=colours[i], label=plain(layer))
        plot.set(title=f"{plain(name)}: {check.verdict}" if name else check.verdict, xlabel="steps made")
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        plot.grid(alpha=0.3)
    axes[0][0].set_ylabel(f"slope of log2 mean |activation|\nper doubling of the {over.replace('_', ' ')}")
    if len(next(iter(checks.values())).layers) <= 2 * len(PALETTE):
        axes[0][-1].legend(fontsize=7)
    size = "depth; of blocks the first and the last" if over == "depth" else over.replace("_", " ")
    caption = (
        f"Coordinate check: how the mean absolute activation of each layer changes per doubling of the {size}. Within "
        f"{PASS:.2f} (lines) in all steps after the first update is a pass, beyond {FAIL:.2f} (dots) a fail."
    )
    return Figure("coordinates", caption, picture)
