"""The report of a transfer sweep: optima, their drift, what carrying a rate over costs, and what explains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.parts import PageSection, Part, Report, Table
from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import number
from landsweep.sweeps.transfer.curve import Drift, RateCurve, drift, notes, penalty, sensitivity
from landsweep.sweeps.transfer.figures import (
    along_figure,
    coordinates_figure,
    curves_figure,
    optimum_figure,
    steps_figure,
)
from landsweep.sweeps.transfer.optimum_laws import critical_batch, rate_law
from landsweep.sweeps.transfer.recipes import CURVE, RATE
from landsweep.sweeps.transfer.results import Results
from landsweep.sweeps.transfer.spec import TransferSpec

__all__ = ["transfer_report"]

_FACTORS = {"width": "parameters", "depth": "parameters", "steps": "samples", "batch_size": "batch size"}
_ALONG = {
    "attention_max": "Largest attention score before the softmax, of the model with the best rate of each size.",
    "logit_max": "Largest absolute output, of the model with the best rate of each size.",
    "log_z": "Mean log sum exp of the outputs, of the model with the best rate of each size.",
}


def transfer_report(spec: TransferSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
    """Sections and summary.

    Args:
        spec: of the sweep.
        rows: one line per model; may be empty.
        series: key, step, metric, value; may be empty.
    """
    if not len(rows):
        return Report([PageSection("Transfer", ["There is no model yet."])])
    results = Results.of(spec.over, tuple(spec.recipes), rows, series)
    arms = {arm: results.curves(arm) for arm in results.arms}
    drifts = {arm: drift(curves) for arm, curves in arms.items()}
    sections = []
    if any(arms.values()):
        drawn = {arm: curves for arm, curves in arms.items() if curves}
        sections.append(PageSection("Learning rates", list(_rates(spec, results, drawn, drifts))))
        sections.append(PageSection("Laws of the optimum", list(_laws(spec, results, drawn))))
    sections += _explained(spec, results)
    summary = {f"{_prefix(arm)}drift_per_doubling": d.slope for arm, d in drifts.items()}
    for arm, curves in arms.items():
        if curves:
            penalties = [value for value in penalty(curves).values() if np.isfinite(value)]
            summary[f"{_prefix(arm)}largest_penalty"] = max(penalties, default=np.nan)
        if (check := results.check(arm)) is not None:
            summary[f"{_prefix(arm)}coordinate_slope"] = check.largest
    parts = sections or [PageSection("Transfer", ["No model has ended yet."])]
    intervals = {f"{_prefix(arm)}drift_per_doubling": d.interval for arm, d in drifts.items()}
    finite = {name: value for name, value in summary.items() if np.isfinite(value)}
    over = spec.over if "." in spec.over else f"the {spec.over.replace('_', ' ')}"
    question = f"Does the best learning rate stay the same when {over} grows?"
    return Report(parts, finite, intervals, answer=_answer(over, finite), question=question, lead="curves")


def _answer(over: str, summary: Mapping[str, float]) -> str:
    """How far the best rate moves with the size, for each arm."""
    end = "drift_per_doubling"
    moves = {name.removesuffix(end).rstrip("."): 2**slope for name, slope in summary.items() if name.endswith(end)}
    if not moves:
        return ""
    factors = ", ".join(f"{factor:.2f}{f' ({arm})' if arm else ''}" for arm, factor in moves.items())
    text = f"When {over} doubles, the best learning rate is multiplied by {factors}; 1 is perfect transfer."
    worst = {name.removesuffix("largest_penalty").rstrip("."): value for name, value in summary.items()
             if name.endswith("largest_penalty")}  # fmt: skip
    if worst:
        penalties = ", ".join(f"{number(value, 2)}{f' ({arm})' if arm else ''}" for arm, value in worst.items())
        text += f" With the best rate of the smallest one, the loss is higher by up to {penalties}."
    return text


def _prefix(arm: str) -> str:
    return f"{arm}." if arm else ""


def _rates(
    spec: TransferSpec, results: Results, arms: Mapping[str, Mapping[int, RateCurve]], drifts: Mapping[str, Drift]
) -> Iterator[Part]:
    yield curves_figure(arms, spec.over, spec.objective)
    yield optimum_figure(arms, drifts, spec.over)
    lines = []
    for arm in arms:
        d = drifts[arm]
        lines.append([arm or "-", d.slope, *d.interval, d.spread, d.sizes, len(arms[arm])])
    yield Table(
        "Drift: slope of log2 best rate per doubling, its 95 % interval over seeds, and the span of log2 best rates.",
        ("recipe", "per doubling", "low", "high", "span", "bracketed", "sizes"),
        lines,
        name="drift",
        digits=3,
    )
    yield Table(
        f"The best rate of each {spec.over}. Penalty: how much higher the loss is with the best rate of the first one. "
        "Sensitivity: mean excess loss over the rates tried, capped at the initial loss (arXiv 2309.14322). A best "
        "rate needs a higher loss on both sides: where the lowest one lies at an end there is none. The note says why "
        "a best rate or a penalty is not known.",
        (
            "recipe",
            spec.over,
            "best rate",
            "log2",
            "log2 of the lowest",
            "bracketed",
            "loss",
            "penalty",
            "sensitivity",
            "rates tried",
            "diverged",
            "note",
        ),
        list(_optima(results, arms)),
        name="optima",
        digits=4,
    )


def _optima(results: Results, arms: Mapping[str, Mapping[int, RateCurve]]) -> Iterator[list[object]]:
    for arm, curves in arms.items():
        penalties, reasons, rows = penalty(curves), notes(curves), results.part(arm, CURVE)
        for size, curve in curves.items():
            best = curve.optimum()
            diverged = int((rows.loc[rows["size"] == size, "status"] == "diverged").sum())
            spread = sensitivity(curve, results.initial(arm, size))
            yield [
                arm or "-",
                size,
                2**best.rate,
                best.rate,
                best.point,
                best.bracketed,
                best.loss,
                penalties[size],
                spread,
                len(curve.rates),
                diverged,
                reasons[size],
            ]


def _laws(spec: TransferSpec, results: Results, arms: Mapping[str, Mapping[int, RateCurve]]) -> Iterator[Part]:
    lines, factor = [], _FACTORS.get(spec.over, "parameters")
    for arm, curves in arms.items():
        rows = results.part(arm, CURVE).groupby("size").first()
        rates = [2 ** c.optimum().rate for c in curves.values()]
        values = numbers(rows["parameters"]) if factor == "parameters" else np.array(list(curves), dtype=float)
        if factor == "samples":
            values = values * spec.recipe.batch_size
        law = rate_law(rates, list(values)) if len(values) == len(rates) else None
        cells = [np.nan] * 4 if law is None else [law["p"], *law.interval("p"), law.rmse / np.log(2)]
        lines.append([arm or "-", f"best rate ~ {factor}^p", *cells, int(np.isfinite(rates).sum())])
    yield Table(
        "Power laws of the best rate, by least squares in logarithms; intervals by Student's t over the sizes. The "
        "residual is the root mean square of log2 rate. Three bracketed optima are needed.",
        ("recipe", "law", "p", "low", "high", "residual", "optima"),
        lines,
        name="rate_laws",
        digits=3,
    )
    if spec.over == "batch_size" and spec.target is not None:
        yield from _critical(spec, results, arms)


def _critical(spec: TransferSpec, results: Results, arms: Mapping[str, Mapping[int, RateCurve]]) -> Iterator[Part]:
    lines, points, fits = [], {}, {}
    for arm in arms:
        rows = results.part(arm, CURVE)
        reached = rows.assign(steps=numbers(rows["target_step"])).groupby(["size", RATE])["steps"]
        means = reached.apply(lambda s: s.mean() if s.notna().all() else np.nan).groupby("size").min()
        points[arm] = {int(size): float(steps) for size, steps in means.items() if np.isfinite(steps)}
        law = critical_batch(list(points[arm]), list(points[arm].values()))
        cells = [np.nan] * 5
        if law is not None:
            fits[arm] = law
            critical, least = law["critical"], law["least"]
            cells = [critical, *law.interval("critical"), least, critical * least]
        lines.append([arm or "-", *cells, len(points[arm]), len(means)])
    if any(points.values()):
        yield steps_figure(points, fits, spec.objective, spec.target or 0.0)
    yield Table(
        f"Critical batch size: fewest steps until {spec.objective} is at most {spec.target:g}, at the best rate of "
        "each batch size, as least steps x (1 + critical / batch) (arXiv 1812.06162), of three batch sizes or more "
        "that reached it. At the critical batch size twice the least steps and twice the least samples are needed.",
        ("recipe", "critical batch size", "low", "high", "least steps", "least samples", "reached it", "batch sizes"),
        lines,
        name="critical_batch_size",
        digits=4,
    )


def _explained(spec: TransferSpec, results: Results) -> Iterator[PageSection]:
    sharp = {arm: lines for arm in results.arms if (lines := results.along(arm, "sharpness"))}
    if sharp:
        rates = {arm: f"{next(iter(lines.values()))[RATE].iloc[0]:.3g}" for arm, lines in sharp.items()}
        named = ", ".join(f"{arm} {rate}" if arm else rate for arm, rate in rates.items())
        caption = (
            f"Largest Hessian eigenvalue along training, at one rate for every {spec.over} ({named}). Where a rate "
            "carries over, it follows the same path in every size (arXiv 2402.17457)."
        )
        yield PageSection("Sharpness", [along_figure("sharpness", sharp, spec.over, caption)])
    stability: list[Part] = []
    for metric, caption in _ALONG.items():
        series = {arm: by_size for arm in results.arms if (by_size := results.along(arm, metric))}
        if series:
            stability.append(along_figure(metric, series, spec.over, caption))
    if stability:
        yield PageSection("Stability", stability)
    checks = {arm: check for arm in results.arms if (check := results.check(arm)) is not None}
    if checks:
        verdicts = []
        for arm, check in checks.items():
            sizes = np.nan_to_num(check.sizes(), nan=-1.0)
            i, j = np.unravel_index(int(sizes.argmax()), sizes.shape) if sizes.size else (0, 0)
            where = f"{check.layers[i]} after {check.steps[j]}" if sizes.size else "-"
            verdicts.append([arm or "-", check.verdict, f"{check.largest:.3f}", where])
        table = Table(
            "Largest absolute slope after the first update.", ("recipe", "verdict", "slope", "layer, steps"), verdicts
        )
        yield PageSection("Coordinate check", [coordinates_figure(checks, spec.over), table])
