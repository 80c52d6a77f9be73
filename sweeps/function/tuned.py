"""Laws of fine-tuning and continual training, fitted to children of stored models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.annealing import areas
from landsweep.sweeps.laws.catalogue import law_named
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.tables import read_table

__all__ = ["best_mixture", "continual", "rectified"]

_RATE = "learning_rate"


def rectified(
    setup: Path, sweep: str, parent: str, seed: int, samples: int, loss: str = "best_test_loss", held: int = 2
) -> dict[str, float]:
    """The rectified law and a power law with a floor, fitted to all but the `held` largest sizes, which they predict.

    Args:
        setup: folder that paths start from.
        sweep: of children with the column `train_fraction`.
        parent: value of `net.args.parent`.
        seed: of the children.
        samples: of the fine-tuning set as a whole.
        loss: column of the loss; by default the lowest along the training.
        held: how many sizes are predicted.

    Returns:
        Root mean squares of ln(prediction / measured) on what was fitted and on what was not, for both laws, and the
        predicted and measured loss at the largest size.
    """
    rows = read_table(setup / sweep)
    rows = rows[(rows["net.args.parent"].astype(str) == parent) & (rows["seed"] == seed)]
    sizes = np.round(rows["train_fraction"].to_numpy(float) * samples)
    table = pd.DataFrame({"D": sizes, "x": sizes, "loss": rows[loss]}).sort_values("D")
    values: dict[str, float] = {"measured": float(table["loss"].iloc[-1])}
    for law in ("rectified", "power_offset"):
        law_fit = fit(law_named(law), table[:-held])
        name = next(q.name for q in law_named(law).inputs)
        predicted = np.asarray(law_fit.predict({name: table[name].to_numpy(float)})["predicted"])
        errors = np.log(predicted / table["loss"].to_numpy(float))
        values[f"{law}_fitted"] = float(np.sqrt(np.mean(errors[:-held] ** 2)))
        values[f"{law}_held"] = float(np.sqrt(np.mean(errors[-held:] ** 2)))
        values[f"{law}_largest"] = float(predicted[-1])
    return values


def continual(
    setup: Path, parents: str, children: str, seed: int, loss: str, fitted: list[str], momentum: float = 0.99
) -> dict[str, float | int]:
    """The law of continual training, fitted to a parent's curve and those of some children, tested on all others.

    Args:
        setup: folder that paths start from.
        parents: sweep of the parents.
        children: sweep of the children, whose `net.args.parent` is the seed of the parent.
        seed: of the parent.
        loss: column of the series.
        fitted: recipes of the children that are fitted; the others are predicted.
        momentum: of the annealing area.

    Raises:
        UsageError: there is no other recipe.
    """
    before = read_table(setup / parents / "series")
    before = before[before["seed"] == seed].dropna(subset=[loss, _RATE]).sort_values("step")
    table, (reach, drop) = _points(before, loss, momentum, None)
    parts = [table.assign(recipe="parent")]
    after = read_table(setup / children / "series").dropna(subset=[loss, _RATE])
    for (_, recipe), curve in after[after["net.args.parent"] == seed].groupby(["key", "recipe"]):
        parts.append(_points(curve.sort_values("step"), loss, momentum, (reach, drop))[0].assign(recipe=recipe))
    points = pd.concat(parts, ignore_index=True)
    others = sorted(set(points["recipe"]) - {"parent", *fitted})
    if not others:
        raise UsageError(f"{children} has no other recipe than {', '.join(fitted)}")
    law_fit = fit(law_named("continual"), points, holdout=[f"recipe == {name}" for name in others], fixed={"Cp": 0.0})
    assert law_fit.held is not None
    truth = points.loc[points["recipe"].isin(others), "loss"].to_numpy(float)
    spread = float(np.std(np.log(truth)))
    return {
        "error_fitted": float(law_fit.rmse), "error_held": float(law_fit.held.rmse), "points": int(law_fit.held.n),
        "spread_held": spread, "shift": law_fit["B"],
    }  # fmt: skip


def _points(
    curve: pd.DataFrame, loss: str, momentum: float, before: tuple[float, float] | None
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Areas and losses of a curve from its tenth step on, and its areas at the end.

    Args:
        curve: steps in rising order with the rate at each; between them the rate is a straight line.
        loss: column.
        momentum: of the annealing area.
        before: areas at the end of pre-training; None: the curve is pre-training.
    """
    steps = curve["step"].to_numpy(int)
    every = np.arange(1, steps[-1] + 1)
    first, second = areas(np.interp(every, steps, curve[_RATE].to_numpy(float)), momentum)
    chosen = steps >= 10
    at = steps[chosen] - 1
    zero = np.zeros(len(at))
    columns = (first[at], second[at], zero, zero) if before is None else (
        zero + before[0], zero + before[1], first[at], second[at]
    )  # fmt: skip
    table = pd.DataFrame(dict(zip(("S1p", "S2p", "S1c", "S2c"), columns, strict=True)))
    return table.assign(loss=curve[loss].to_numpy(float)[chosen]), (float(first[-1]), float(second[-1]))


def best_mixture(
    setup: Path, sweep: str, domains: list[str], batch: int, seed: int, mixtures: dict[str, float]
) -> dict[str, float]:
    """The mixture that a law of transferred data calls best at the largest size, against the best one of the grid.

    The law of each domain is fitted to all smaller sizes. What is minimised is the mean loss over both domains.

    Args:
        setup: folder that paths start from.
        sweep: of children over recipes, which are mixtures of two domains, and steps.
        domains: names of the two.
        batch: samples of a step.
        seed: of the children.
        mixtures: recipe to the share of the first domain.

    Returns:
        The share of the first domain that the law chooses and that is best on the grid, the mean losses measured there,
        their relative difference `regret`, and that of equal shares.
    """
    rows = read_table(setup / sweep)
    rows = rows[rows["seed"] == seed]
    a, b = domains
    shares = rows["recipe"].map(mixtures).to_numpy(float)
    total = rows["steps"].to_numpy(float) * batch
    counts = {a: total * shares, b: total * (1 - shares)}
    law, largest = law_named("transferred_data"), total == total.max()
    fine = np.linspace(0, 1, 201)
    predicted = np.zeros(len(fine))
    for own, other in ((a, b), (b, a)):
        table = pd.DataFrame({"n": counts[own], "m": counts[other], "loss": rows[f"test_{own}_loss"].to_numpy(float)})
        law_fit = fit(law, table[~largest])
        part = fine if own == a else 1 - fine
        at = {"n": total.max() * part, "m": total.max() * (1 - part)}
        predicted += np.asarray(law_fit.predict(at)["predicted"]) / 2
    mean = (rows[f"test_{a}_loss"] + rows[f"test_{b}_loss"]).to_numpy(float)[largest] / 2
    grid = shares[largest]
    chosen = int(np.abs(grid - fine[predicted.argmin()]).argmin())
    even = int(np.abs(grid - 0.5).argmin())
    best = int(mean.argmin())
    return {
        "share_law": float(fine[predicted.argmin()]),
        "share_grid": float(grid[best]),
        "loss_law": float(mean[chosen]),
        "loss_grid": float(mean[best]),
        "regret": float(mean[chosen] / mean[best] - 1),
        "regret_even": float(mean[even] / mean[best] - 1),
    }
