"""Laws fitted to the results of another sweep: units of the kind `function`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.annealing import ANNEALING, areas
from landsweep.sweeps.laws.catalogue import law_named
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.tables import read_table
from landsweep.sweeps.laws.steps_batch import STEPS_BATCH

__all__ = [
    "budgets",
    "curves",
    "here",
    "mixtures",
    "published_annealing",
    "sizes",
    "slowdown",
    "trajectory",
    "two_stacks",
]


def here(folder: Path) -> Path:
    """The folder of the spec, which paths are relative to."""
    return folder


def _curves(setup: Path, sweep: str, metrics: list[str], seed: int) -> pd.DataFrame:
    """Key, recipe, step and the metrics at each step, of the models with a seed."""
    table = read_table(setup / sweep / "series")
    return table[table["seed"] == seed].dropna(subset=metrics).sort_values(["key", "step"])


def curves(
    setup: Path, sweep: str, law: str, seed: int, loss: str, rate: str, fitted: list[str], first: int
) -> dict[str, float | int]:
    """A law of learning curves, fitted to those of some recipes and tested on all others, from the step `first` on."""
    table = _curves(setup, sweep, [loss, rate], seed)
    table = table.assign(curve=pd.factorize(table["key"])[0], rate=table[rate], loss=table[loss])
    table = table[["recipe", "curve", "step", "rate", "loss"]]
    late = table[table["step"] >= first]
    others = sorted(set(table["recipe"]) - set(fitted))
    law_fit = fit(law_named(law), late, holdout=[f"recipe == {name}" for name in others])
    held = law_fit.held
    if held is None:
        raise UsageError(f"{sweep} has no other recipe than {', '.join(fitted)}")
    return {"error_held": float(held.rmse), "error_fitted": float(law_fit.rmse), "points": int(held.n)}


def mixtures(
    setup: Path, sweep: str, law: str, domain: str, held: int, tokens: int, until: int, alpha: float | None = None
) -> dict[str, float | int]:
    """A mixture law of one domain's loss, tested on mixtures and lengths of training that were not fitted.

    Fitted are the evaluations up to the step `until` of all samples but every fourth; predicted are the later ones of
    each fourth sample.

    Args:
        setup: the folder of the spec.
        sweep: results folder of the runs, relative to it, whose samples are mixtures of the domains a and b.
        law: for two domains.
        domain: whose loss it is.
        held: which of the four quarters of the samples is predicted.
        tokens: of a step.
        until: the last step that is fitted.
        alpha: exponent of the size, which is then not fitted; two sizes do not determine it.
    """
    series = read_table(setup / sweep / "series")
    series = series[series["step"] > 0].dropna(subset=[f"test_{domain}_loss"])
    shares = series["data.weights.a"] / (series["data.weights.a"] + series["data.weights.b"])
    table = pd.DataFrame(
        {
            "N": series["parameters"].astype(float),
            "D": series["step"] * float(tokens),
            "h1": shares,
            "h2": 1 - shares,
            "loss": series[f"test_{domain}_loss"],
        }
    )
    part, late = series["sample"] % 4 == held, series["step"] > until
    test = table[part & late]
    held_at = {} if alpha is None else {"alpha": alpha}
    law_fit = fit(law_named(law), table[~part & ~late], fixed=held_at)
    predicted = np.asarray(law_fit.predict({c: test[c].to_numpy() for c in ("N", "D", "h1", "h2")})["predicted"])
    measured = test["loss"].to_numpy()
    return {
        "error_held": float(np.abs(predicted / measured - 1).mean()),
        "spread": float(np.abs(measured / measured.mean() - 1).mean()),
        "points": len(test),
    }


def published_annealing(parameter: str) -> dict[str, float]:
    """A parameter of the annealing law, fitted to the two curves that came with arXiv 2408.11029.

    Peak rate 2e-4, 20,000 steps, 500 of warm-up counted at the peak; a cosine to zero and a constant rate.

    Raises:
        UsageError: the variable LANDSWEEP_PUBLISHED_DATA does not name the folder with `tissue_annealing.csv`.
    """
    folder = os.environ.get("LANDSWEEP_PUBLISHED_DATA")
    if folder is None:
        raise UsageError("LANDSWEEP_PUBLISHED_DATA must name the folder that holds tissue_annealing.csv")
    points = pd.read_csv(Path(folder) / "tissue_annealing.csv")
    steps = np.arange(20_001)
    cosine = np.where(steps < 500, 2e-4, 1e-4 * (1 + np.cos(np.pi * (steps - 500) / 19_500)))
    curves = {"cosine": areas(cosine), "constant": areas(np.full(20_001, 2e-4))}
    for i, name in enumerate(("S1", "S2")):
        points[name] = [curves[s][i][t] for s, t in zip(points["schedule"], points["step"], strict=True)]
    printed = {"L0": 2.628, "A": 0.430, "C": 0.411, "alpha": 0.550}
    return {"ours": fit(ANNEALING, points)[parameter], "printed": printed[parameter]}


def slowdown(setup: Path, sweep: str, law: str, seed: int, loss: str) -> dict[str, float]:
    """A law of the loss over the step, fitted to the curve of a constant rate from the tenth step on."""
    table = _curves(setup, sweep, [loss], seed)
    table = table[(table["recipe"] == "constant") & (table["step"] >= 10)]
    over = "t" if law == "deceleration" else "x"
    law_fit = fit(law_named(law), pd.DataFrame({over: table["step"].astype(float), _output(law): table[loss]}))
    return {
        "rmse": float(law_fit.rmse),
        **({"step": law_fit["td"], "before": law_fit["r0"], "after": law_fit["rd"]} if over == "t" else {}),
    }


def _output(law: str) -> str:
    """Name of what a law predicts."""
    return law_named(law).output.name


def sizes(setup: Path, sweep: str, recipe: str, seed: int, loss: str) -> dict[str, float]:
    """A power law with a floor in the number of parameters, fitted to all but the largest size, which it predicts."""
    rows = read_table(setup / sweep)
    rows = rows[(rows["recipe"] == recipe) & (rows["seed"] == seed)]
    table = pd.DataFrame({"x": rows["parameters"].astype(float), "loss": rows[loss]}).sort_values("x")
    law_fit = fit(law_named("power_offset"), table[:-1], bounds={"Linf": (0.0, float(table["loss"].min()))})
    measured = float(table["loss"].iloc[-1])
    predicted = float(np.asarray(law_fit.predict({"x": [table["x"].iloc[-1]]})["predicted"])[0])
    return {"measured": measured, "predicted": predicted, "error_held": abs(predicted / measured - 1)}


def two_stacks(setup: Path, sweep: str, seed: int, floor: float) -> dict[str, float]:
    """Laws of encoder-decoders over both depths, and over all parameters together; `floor` is the least loss.

    Blocks of one kind are all alike, so their number stands for the parameters of a stack: that changes the law's
    factor alone.
    """
    rows = read_table(setup / sweep)
    rows = rows[rows["seed"] == seed]
    sizes = {"Ne": rows["net.encoder_depth"], "Nd": rows["net.depth"], "x": rows["parameters"]}
    table = pd.DataFrame({**sizes, "loss": rows["test_loss"]}).astype(float)
    two, total = (fit(law_named(law), table, fixed={"Linf": floor}) for law in ("two_stacks", "power_offset"))
    return {
        "by_encoder": two["pe"],
        "by_decoder": two["pd"],
        "error_two": float(two.rmse),
        "error_total": float(total.rmse),
    }


def budgets(setup: Path, sweep: str, seed: int) -> dict[str, float]:
    """A power law in compute, fitted to the best size of all budgets of a scaling study but the largest one.

    Returns:
        the loss at the largest budget, measured and predicted; and the exponent with which the best size grows.
    """
    rows = read_table(setup / sweep)
    rows = rows[(rows["seed"] == seed) & rows["budget"].notna()]
    best = rows.loc[rows.groupby("budget")["test_loss"].idxmin()].sort_values("budget")
    table = pd.DataFrame({"x": best["budget"], "y": best["test_loss"], "N": best["parameters"]}).astype(float)
    law_fit = fit(law_named("power"), table[:-1])
    measured, largest = float(table["y"].iloc[-1]), float(table["x"].iloc[-1])
    predicted = float(np.asarray(law_fit.predict({"x": [largest]})["predicted"])[0])
    growth = float(np.polyfit(np.log(table["x"]), np.log(table["N"]), 1)[0])
    error = abs(predicted / measured - 1)
    return {"measured": measured, "predicted": predicted, "error_held": error, "growth": growth}


def trajectory(
    setup: Path, sweep: str, seed: int, loss: str, batch: int, tokens: int, first: int, held: str
) -> dict[str, float | int]:
    """The law of size, steps and batch size, fitted to some learning curves, predicts others at every step.

    Args:
        setup: the folder of the spec.
        sweep: results folder of models over sizes and `batch_size`, relative to it.
        seed: of the models.
        loss: column of the series.
        batch: a batch size whose curves are not fitted; neither are those of the largest size.
        tokens: of a sample.
        first: step from which curves are looked at.
        held: which curves are predicted: of the largest `size` at the fitted batch sizes, of the `batch` in the fitted
            sizes, or of the one that is `both`.

    Raises:
        UsageError: there is no such curve.
    """
    series = read_table(setup / sweep / "series")
    series = series[(series["seed"] == seed) & (series["step"] >= first)].dropna(subset=[loss])
    table = pd.DataFrame(
        {
            "N": series["parameters"].astype(float),
            "S": series["step"].astype(float),
            "B": series["batch_size"] * float(tokens),
            "loss": series[loss],
        }
    )
    largest, of_batch = table["N"] == table["N"].max(), series["batch_size"] == batch
    tested = {"size": largest & ~of_batch, "batch": ~largest & of_batch, "both": largest & of_batch}
    if held not in tested or not tested[held].any():
        raise UsageError(f"{sweep} has no curves for held: {held}, batch: {batch}; held is one of {', '.join(tested)}")
    law_fit = fit(STEPS_BATCH, table[~largest & ~of_batch])
    test = table[tested[held]]
    predicted = np.asarray(law_fit.predict({c: test[c].to_numpy() for c in ("N", "S", "B")})["predicted"])
    off = np.log(predicted / test["loss"].to_numpy())
    return {
        "error_held": float(np.sqrt(np.mean(off**2))),
        "error_fitted": float(law_fit.rmse),
        "fall": float(np.log(test["loss"].max() / test["loss"].min())),
        "points": len(test),
    }
