"""The report of a study: what was trained, which law it follows, and whether the prediction held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.values import number, share, within
from landsweep.sweeps.lab.data import Markov
from landsweep.sweeps.laws.chinchilla import Chinchilla
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.fitting.lack_of_fit import lack_of_fit
from landsweep.sweeps.laws.random_features import components, compute_optimal, phase
from landsweep.sweeps.scaling.curves import MOMENTUM, annealed
from landsweep.sweeps.scaling.features import Features
from landsweep.sweeps.scaling.figures import (
    compute_picture,
    curves_picture,
    isoflop_picture,
    lines_picture,
    optimum_picture,
    predicted_picture,
    residual_picture,
)
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.predict import ALLOCATION, allocation_lines
from landsweep.sweeps.scaling.spec import ScalingSpec
from landsweep.sweeps.scaling.study import Study, best_sizes, countable, exponent

__all__ = ["larger_runs", "study_report"]

_FRONTIER = 40  # budgets along the frontier
_BEYOND = 30.0  # how far the frontier is drawn beyond the largest run
_EPOCHS = 1.0
_OVER_STEPS = {"learned": "what is not yet learned", "noise": "the noise of the gradient"}


def study_report(spec: ScalingSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
    """Sections and summary.

    Args:
        spec: of the study.
        rows: one line per run; may be empty.
        series: key, step, metric, value; may be empty.
    """
    study = Study.of(spec, rows)
    if not len(study.table):
        return Report([PageSection("Study", ["There is no run yet that ended well."])])
    frontier = _frontier(spec, study)
    tested = larger_runs(study)
    label = "test loss"
    sections = [
        PageSection("The study", list(_counts(spec, rows, study))),
        PageSection("Iso-FLOP", list(_isoflop(study, frontier, label))),
        PageSection("The law", list(_law(spec, study, frontier, label))),
        PageSection("Predicted against measured", list(_prediction(spec, study, tested, label))),
        PageSection("Loss curves", list(_curves(spec, study, series, label))),
    ]
    shown, summary = [s for s in sections if s.parts], _summary(spec, rows, study, tested)
    question = "How does the loss fall with compute, and can a larger run be predicted from smaller ones?"
    lead = "predicted" if len(tested) else "compute"
    return Report(shown, summary, _intervals(study), answer=_answer(study, tested), question=question, lead=lead)


def _answer(study: Study, tested: pd.DataFrame) -> str:
    """How well the law predicts the largest run that it was not fitted to; else how well it fits."""
    if len(tested):
        largest = tested.loc[tested["C"].idxmax()]
        predicted, measured = float(largest["predicted"]), float(largest["measured"])
        loss, interval = _known(predicted, (float(largest["run_low"]), float(largest["run_high"])))
        return (
            f"At {largest['C']:.2g} FLOPs the law predicts a loss of {loss} ({interval}); measured was "
            f"{number(measured, 3)}, so it is off by {share(abs(measured / predicted - 1))}."
        )
    if study.fit is None:
        return ""
    return f"The law fits {len(study.table):,} runs with a residual of {number(float(study.fit.rmse), 2)}."


def larger_runs(study: Study) -> pd.DataFrame:
    """A line for each size and horizon that was not fitted.

    Returns:
        `N`, `D`, `C`, `measured` (mean over seeds), `seeds`, `width`, `steps`, and the columns of `Fit.predict`.
    """
    runs = study.table[study.table["role"] == "validate"]
    if study.fit is None or not len(runs):
        return pd.DataFrame()
    cells = runs.groupby("cell").agg(
        N=("N", "first"), D=("D", "first"), C=("C", "first"), measured=("loss", "mean"), seeds=("seed", "size"),
        width=("width", "first"), steps=("steps", "first"),
    )  # fmt: skip
    predicted = study.fit.predict(cells[["N", "D"]].reset_index(drop=True))
    return pd.concat([cells.reset_index(drop=True), predicted.drop(columns=["N", "D"])], axis=1)


def _frontier(spec: ScalingSpec, study: Study) -> pd.DataFrame | None:
    if study.fit is None:
        return None
    low, high = study.table["C"].min(), study.table["C"].max()
    try:
        return best_sizes(Ladder(spec), study.fit, list(np.geomspace(low, _BEYOND * high, _FRONTIER)), spec.parameters)
    except UsageError:
        return None


def _counts(spec: ScalingSpec, rows: pd.DataFrame, study: Study) -> Iterator[Part]:
    by_status = ", ".join(f"{n:,} {status}" for status, n in rows["status"].value_counts().items())
    table = study.table
    yield (
        f"{len(rows):,} runs ({by_status}) of the family {spec.family}; {table['cell'].nunique():,} sizes and horizons "
        f"with {table.groupby('cell').size().max()} seeds at most, of {table['N'].min():,.0f} to "
        f"{table['N'].max():,.0f} parameters, {table['D'].min():.3g} to {table['D'].max():.3g} tokens or samples, "
        f"{table['C'].min():.3g} to {table['C'].max():.3g} FLOPs; {table['C'].sum():.3g} FLOPs in the runs that count."
    )
    left_out = int((~countable(rows[rows["status"] == "ok"], spec.parameters)).sum())
    if left_out:
        yield f"{left_out:,} runs are left out: their rows hold no size, tokens or FLOPs above zero."
    if spec.horizons == "branches":
        spent, whole = rows["flops_spent"].sum(), rows["flops"].sum()
        branches = int((rows["flops_spent"] < rows["flops"]).sum())
        yield (
            f"{branches:,} runs are branches: cool-downs that leave the longest run of their size. All runs together "
            f"cost {spent:.3g} FLOPs, {1 - spent / whole:.0%} less than the {whole:.3g} of as many runs from their "
            "start; C below counts the whole of each run's horizon."
        )
    counted = "all parameters" if spec.parameters == "all" else "no parameters of embedding and last layer"
    rates = f", the best of {len(spec.rates)} learning rates each" if len(spec.rates) > 1 else ""
    yield (
        f"N counts {counted}; FLOPs are those of matrix products and convolutions; loss is that on the test "
        f"split{rates}."
    )
    if "epochs_done" in rows and (again := rows["epochs_done"].astype(float) > _EPOCHS).any():
        yield (
            f"{int(again.sum())} runs saw their data more than once, at most {rows['epochs_done'].max():.2g} times: "
            "the laws here are those of fresh data."
        )


def _isoflop(study: Study, frontier: pd.DataFrame | None, label: str) -> Iterator[Part]:
    if not (study.table["role"] == "isoflop").any():
        return
    caption = (
        "Loss over size, each colour one budget; points are means over seeds with their standard deviation, lines "
        "parabolas through the lowest size and its neighbours, stars their minima."
    )
    yield Figure("isoflop", caption, isoflop_picture(study.table, study.minima, label))
    lines = [
        [
            f"{m.budget:.3g}",
            m.sizes,
            *(("not bracketed", "-", "-") if m.size is None else _cells(m.size, m.tokens, m.loss)),
        ]
        for m in study.minima
    ]
    yield Table("The best size of each budget, by its parabola.", ("FLOPs", "sizes", "N", "D", "loss"), lines)
    powers = {what: exponent(study.minima, what) for what in ("size", "tokens", "loss")}
    if powers["size"] is not None:
        exponents = [
            [name, *_known(f["p"], f.interval("p"))]
            for name, f in (("N ~ C^p", powers["size"]), ("D ~ C^p", powers["tokens"]), ("loss ~ C^p", powers["loss"]))
            if f is not None
        ]
        yield Table("Power laws of the minima, by least squares; 95 % intervals.", ("law", "p", "interval"), exponents)
    caption = "Best size and tokens over the budget, by the minima above and by the fitted law with its 95 % interval."
    yield Figure("optimum", caption, optimum_picture(study.minima, powers, frontier))


def _cells(*values: float | None) -> list[str]:
    return ["-" if v is None else f"{v:.4g}" for v in values]


def _law(spec: ScalingSpec, study: Study, frontier: pd.DataFrame | None, label: str) -> Iterator[Part]:
    caption = "Loss over compute; a line joins the runs of one size, the black one is the law at the best size."
    yield Figure("compute", caption, compute_picture(study.table, frontier, label))
    if study.fit is None:
        yield f"No law was fitted: {study.reason}."
        return
    fit, convergence = study.fit, study.fit.convergence
    ended = "converged" if fit.converged else "NOT converged"
    at_bound = ", ".join(convergence.at_bound)
    yield (
        f"{fit.law.formula} ({fit.law.source}), fitted to {len(fit.residuals)} runs by {fit.objective.text}: objective "
        f"{fit.value:.4g}, {ended}, {convergence.agree} of {convergence.finished} followed starts agree, root mean "
        f"square residual {number(float(fit.rmse), 2)}."
        + (f" At a bound: {at_bound}; their intervals mean nothing." if at_bound else "")
    )
    lines = [
        [line["name"], *(within(line[k], line["error"]) for k in ("value", "error", "low", "high")), line["meaning"]]
        for line in fit.parameters().to_dict("records")
    ]
    how = "no bootstrap" if fit.draws is None else f"{len(fit.draws)} bootstrap draws of sizes and horizons"
    header = ("parameter", "value", "standard error", "low", "high", "meaning")
    yield Table(f"Parameters, 95 % intervals ({how}).", header, lines)
    if (tested := lack_of_fit(fit)) is not None:
        yield tested.text + "."
    yield from _answers(spec, study, fit)
    caption = "Loss over tokens for each size: means over seeds, and the law with its 95 % band."
    yield Figure("law", caption, lines_picture(study.table, fit, label))
    yield Figure("residuals", "Residuals of the law over size, tokens and compute.", residual_picture(study.table, fit))
    if frontier is not None:
        chosen = frontier.iloc[:: max(1, len(frontier) // 8)]
        yield Table("The best size for a budget; more by `landsweep predict`.", ALLOCATION, allocation_lines(chosen))
        if len(ends := chosen[chosen["end"] != ""]):
            yield (
                f"For {len(ends)} of these budgets, such as {ends['flops'].iloc[-1]:.3g} FLOPs, the "
                f"{ends['end'].iloc[-1]} size that the family has is the best one: N is where the family ends, not a "
                "minimum of the law, and has no interval."
            )


def _answers(spec: ScalingSpec, study: Study, fit: Fit) -> Iterator[Part]:
    """Where theory knows an answer, the fit against it."""
    if spec.features is not None:
        yield from _theory(spec.features, study, fit)
    names = [p.name for p in fit.law.parameters]
    if spec.recipe is None or not isinstance(spec.recipe.data, Markov) or "E" not in names:
        return
    entropy = spec.recipe.data.entropy_rate()
    low, high = fit.interval("E")
    fitted, interval = _known(fit["E"], (low, high))
    yield (
        f"The entropy of the source, below which no model can come, is {entropy:.4f} nats per token. The fitted "
        f"irreducible loss is {fitted} ({interval}): {fit['E'] / entropy - 1:+.1%}."
    )
    tested = lack_of_fit(fit)
    if not low <= entropy <= high and tested is not None and tested.doubtful:
        yield "The interval misses the entropy because it holds the scatter of the runs, not the misfit of the law."


def _theory(features: Features, study: Study, fit: Fit) -> Iterator[Part]:
    """Exponents of arXiv 2405.15074, which hold in the limit of large sizes."""
    eta, xi = compute_optimal(features.alpha, features.beta)
    terms = {c.name: c for c in components(features.alpha, features.beta)}
    steps = min((terms[name] for name in _OVER_STEPS if name in terms), key=lambda c: c.by_steps)  # falls slowest
    lines = []
    if isinstance(fit.law, Chinchilla):
        lines = [
            _line("alpha: the floor over N", terms["floor"].by_size, fit["alpha"], fit.interval("alpha")),
            _line(f"beta: {_OVER_STEPS[steps.name]} over D", steps.by_steps, fit["beta"], fit.interval("beta")),
        ]
    for relation, what, theory in (("N ~ C^p", "size", xi), ("loss ~ C^p", "loss", -eta)):
        if (power := exponent(study.minima, what)) is not None:
            lines.append(_line(f"{relation}, of the iso-FLOP minima", theory, power["p"], power.interval("p")))
    caption = (
        f"Phase {phase(features.alpha, features.beta)} of the model: exponents in the limit of large sizes, and those "
        "of these runs with 95 % intervals."
    )
    yield Table(caption, ("exponent", "theory", "here", "interval"), lines)


def _line(name: str, theory: float, fitted: float, interval: tuple[float, float]) -> list[object]:
    return [name, number(theory, 4), *_known(fitted, interval)]


def _known(value: float, interval: tuple[float, float]) -> tuple[str, str]:
    """A fitted number and its interval, with the digits that the interval leaves."""
    error = (interval[1] - interval[0]) / 4
    low, high = (within(end, error) for end in interval)
    return within(value, error), f"{low} to {high}"


def _prediction(spec: ScalingSpec, study: Study, tested: pd.DataFrame, label: str) -> Iterator[Part]:
    if study.fit is None:
        return
    if not len(tested):
        yield f"No larger run has tested the fit{_untested(spec, study.fit)}."
    else:
        lines = [
            [f"{r['C']:.3g}", r["width"], f"{r['N']:.4g}", f"{r['D']:.3g}", r["seeds"], f"{r['predicted']:.4g}",
             f"{r['run_low']:.4g} to {r['run_high']:.4g}", f"{r['measured']:.4g}",
             f"{r['measured'] / r['predicted'] - 1:+.2%}", r["warning"] or "-"]
            for r in tested.to_dict("records")
        ]  # fmt: skip
        header = (
            "FLOPs",
            "width",
            "N",
            "D",
            "seeds",
            "predicted",
            "95 % of single runs",
            "measured",
            "off by",
            "warning",
        )
        yield Table("Runs that the fit has not seen, of the size that it held best.", header, lines)
    caption = "Predicted against measured; bars are 95 % intervals for a single run."
    yield Figure("predicted", caption, predicted_picture(study.table, study.fit, tested, label))


def _untested(spec: ScalingSpec, fit: Fit) -> str:
    """Why the planner could propose none of the runs that the spec asks for; empty where it could, or none is asked."""
    if spec.validation is None:
        return ""
    try:
        best_sizes(Ladder(spec), fit, spec.test_budgets, spec.parameters, least_steps=spec.limits.least_steps)
    except UsageError as e:
        return f", and none could be proposed: {e}"
    return ""


def _curves(spec: ScalingSpec, study: Study, series: pd.DataFrame, label: str) -> Iterator[Part]:
    if spec.recipe is None:
        return
    curves = annealed(study.table, series, spec.recipe.schedule, spec.horizons == "branches")
    if curves is None:
        return
    law = curves.fit.law
    shown = ", ".join(f"{p.name} {curves.fit[p.name]:.4g}" for p in law.parameters)
    caption = (
        f"Loss on the way of the runs of width {curves.width}, one seed, with the annealing law {law.formula} "
        f"({law.source}, lambda {MOMENTUM:g}) fitted to "
        + ("the only one: " if curves.rmse is None else f"all but the longest: {shown}; ")
        + (shown if curves.rmse is None else f"on the longest it is off by {curves.rmse:.2%} (root mean square).")
    )
    yield Figure("curves", caption, curves_picture(curves, spec.recipe.schedule, label))


def _intervals(study: Study) -> dict[str, tuple[float, float]]:
    """Of the law's parameters; those at a bound have none that means anything."""
    if study.fit is None:
        return {}
    names = [p.name for p in study.fit.law.parameters if p.name not in study.fit.convergence.at_bound]
    return {name: study.fit.interval(name) for name in names}


def _summary(spec: ScalingSpec, rows: pd.DataFrame, study: Study, tested: pd.DataFrame) -> dict[str, float]:
    summary: dict[str, Any] = {"runs": len(study.table), "flops": study.table["C"].sum()}
    if "flops_spent" in rows:
        summary["flops_spent"] = rows["flops_spent"].sum()
    if study.fit is not None:
        summary |= {p.name: study.fit[p.name] for p in study.fit.law.parameters} | {"residual_rms": study.fit.rmse}
        if spec.recipe is not None and isinstance(spec.recipe.data, Markov):
            summary["entropy"] = spec.recipe.data.entropy_rate()
    if len(tested):
        summary["prediction_error"] = float((tested["measured"] / tested["predicted"] - 1).abs().max())
    return {k: float(v) for k, v in summary.items() if np.isfinite(v)}
