"""One loss against another, of the models of another sweep along their training: units of the kind `function`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.fitting.tables import read_table
from landsweep.sweeps.laws.loss_to_loss import LOSS_TO_LOSS

__all__ = ["Side", "extrapolated", "off_the_line"]


class Side(TypedDict):
    """Models by the names of their recipes, and the loss that is looked at: a column of the series."""

    recipes: list[str]
    loss: str


def _losses(setup: Path, sweep: str, seed: int, recipes: list[str], loss: str) -> pd.DataFrame:
    """The losses of recipes at each evaluated step: number of the recipe, step, compute (parameters x steps), loss.

    Raises:
        UsageError: the sweep lacks a recipe.
    """
    table = read_table(setup / sweep / "series")
    table = table[(table["seed"] == seed) & (table["step"] > 0)].dropna(subset=[loss])
    if unknown := sorted(set(recipes) - set(table["recipe"])):
        raise UsageError(f"{sweep} has no recipe {', '.join(unknown)} with seed {seed} and {loss}")
    table = table[table["recipe"].isin(recipes)]
    return pd.DataFrame(
        {
            "place": [recipes.index(recipe) for recipe in table["recipe"]],
            "step": table["step"],
            "compute": table["parameters"].astype(float) * table["step"],
            "loss": table[loss],
        }
    )


def _pairs(setup: Path, sweep: str, seed: int, first: Side, second: Side) -> pd.DataFrame:
    """Losses of both sides at equal steps, of models that stand at the same place of their recipes: La, Lb, compute."""
    sides = [_losses(setup, sweep, seed, side["recipes"], side["loss"]) for side in (first, second)]
    both = sides[0].merge(sides[1][["place", "step", "loss"]], on=["place", "step"], suffixes=("", "_b"))
    return both.rename(columns={"loss": "La", "loss_b": "Lb"})


def _residuals(law_fit: Fit, points: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Relative distance of measured from predicted losses [n].

    Raises:
        UsageError: there is a point below the irreducible loss of the fit, for which it predicts nothing.
    """
    predicted = np.asarray(law_fit.predict({"La": points["La"].to_numpy()})["predicted"])
    if not np.isfinite(predicted).all():
        raise UsageError("the fitted curve does not reach the losses that it should predict")
    return np.asarray(points["Lb"].to_numpy() / predicted - 1)


def extrapolated(
    setup: Path, sweep: str, seed: int, pair: str, pairs: Mapping[str, Sequence[Side]], times: float
) -> dict[str, float | int]:
    """A shifted power law from one loss to another, fitted to little compute, tested at `times` as much and more.

    Args:
        setup: the folder of the spec.
        sweep: results folder of the models, relative to it.
        seed: of the models.
        pair: which of `pairs`.
        pairs: name to two sides, each with the recipes of models and a column of the series. The loss of each model of
            the second is predicted from that of the model at its place in the first; they may be the same.
        times: by how much the compute of all predicted points exceeds the largest fitted one.
    """
    points = _pairs(setup, sweep, seed, *pairs[pair])
    most = points["compute"].max() / times
    few, held = points[points["compute"] <= most], points[points["compute"] > most]
    law_fit = fit(LOSS_TO_LOSS, few, bounds={"Ea": (0.0, 0.99 * float(points["La"].min()))})
    last = held[held["compute"] == held["compute"].max()]
    unchanged = float(few.loc[few["compute"].idxmax(), "Lb"])
    return {
        "error_held": float(np.abs(_residuals(law_fit, held)).mean()),
        "error_last": float(np.abs(_residuals(law_fit, last)).mean()),
        "gain_last": float(np.abs(unchanged / last["Lb"] - 1).mean()),
        "fitted": len(few),
        "held": len(held),
    }


def off_the_line(
    setup: Path,
    sweep: str,
    seed: int,
    line: list[str],
    factor: str,
    factors: Mapping[str, list[str]],
    loss: str,
    other_loss: str,
) -> dict[str, float]:
    """How far models lie off the line of others in the plane of two losses: root mean square, relative.

    The line is a shifted power law through all evaluated steps of the models `line`.

    Args:
        setup: the folder of the spec.
        sweep: results folder of the models, relative to it.
        seed: of the models.
        line: recipes through which the line goes.
        factor: which of `factors`.
        factors: what differs from the line, to the recipes in which it does and whose distance is measured.
        loss: column of the series that the line goes over.
        other_loss: column of the series that it predicts.
    """
    on, off = (
        _pairs(setup, sweep, seed, {"recipes": names, "loss": loss}, {"recipes": names, "loss": other_loss})
        for names in (line, factors[factor])
    )
    lowest = min(float(on["La"].min()), float(off["La"].min()))
    law_fit = fit(LOSS_TO_LOSS, on, bounds={"Ea": (0.0, 0.99 * lowest)})
    return {
        "scatter": float(np.sqrt(np.mean(_residuals(law_fit, on) ** 2))),
        "distance": float(np.sqrt(np.mean(_residuals(law_fit, off) ** 2))),
    }
