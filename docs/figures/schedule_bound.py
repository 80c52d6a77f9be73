"""Draws the picture of docs/schedules.md: the convex bound beside measured curves.

Command: python docs/figures/schedule_bound.py FILE.png. It takes about a minute on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landsweep.orchestrator.report.canvas import PALETTE, new_picture
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.schedule_bound import bound, bounds_along
from landsweep.sweeps.lab.training import Evaluated, train_pack

__all__ = ["EVERY", "SCHEDULES", "STEPS", "bound_picture", "measured", "recipe"]

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"shape": "constant"},
    "cosine": {"shape": "cosine"},
    "linear": {"shape": "linear"},
    "wsd, last 20 % linear": {"shape": "wsd", "cooldown": 0.2, "decay": "linear"},
}
RATES = (0.02, 0.05, 0.1, 0.2, 0.5)
STEPS, EVERY = 600, 10


def recipe(**changes: Any) -> Recipe:  # noqa: ANN401 - fields of a recipe
    """A perceptron on the digits with plain SGD and small batches, so that noise matters."""
    base = {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [32]},
        "optimizer": {"method": "sgd", "learning_rate": 0.1},
        "label_noise": 0.2,
        "batch_size": 8,
        "steps": STEPS,
        "evaluate": {"every_steps": EVERY, "splits": ["train"]},
    }
    return parse(Recipe, {**base, **changes}, "recipe")


def measured(seeds: Sequence[int]) -> dict[str, tuple[float, Floats]]:
    """For each schedule the rate whose final training loss is least, and its curve: the mean over seeds."""
    every = [(name, rate, seed) for name in SCHEDULES for rate in RATES for seed in seeds]
    recipes = [
        recipe(schedule=SCHEDULES[name], optimizer={"method": "sgd", "learning_rate": rate}, seed=seed)
        for name, rate, seed in every
    ]
    curves: list[list[float]] = [[] for _ in every]
    for event in train_pack(recipes, recipes[0].data.load(Path())):
        if isinstance(event, Evaluated):
            curves[event.index].append(event.metrics["train_loss"])
    by_schedule: dict[str, tuple[float, Floats]] = {}
    for name in SCHEDULES:
        means = {
            rate: np.mean([c for c, (n, r, _) in zip(curves, every, strict=True) if (n, r) == (name, rate)], axis=0)
            for rate in RATES
        }
        best = min(means, key=lambda rate: float(means[rate][-1]))
        by_schedule[name] = (best, means[best])
    return by_schedule


def bound_picture(curves: Mapping[str, tuple[float, Floats]]) -> Any:  # noqa: ANN401 - matplotlib has no types
    """Bound and measured training loss over steps, each schedule at its best rate."""
    picture = new_picture(9.0, 3.8)
    theory, practice = picture.subplots(1, 2)
    steps = np.arange(EVERY, STEPS + 1, EVERY)
    for i, (name, (rate, curve)) in enumerate(curves.items()):
        schedule = recipe(schedule=SCHEDULES[name]).schedule
        base = bound(schedule, STEPS).best_rate
        along = bounds_along(schedule, STEPS, base)
        theory.plot(np.arange(1, STEPS + 1), along, color=PALETTE[i], label=f"{name}: {along[-1]:.3f}")
        practice.plot(steps, curve, color=PALETTE[i], label=f"{name}: {curve[-1]:.3f} (rate {rate:g})")
    theory.set(title="bound, D = G = 1", xlabel="step", ylabel="bound on the loss", yscale="log", ylim=(0.07, 1))
    practice.set(title="measured", xlabel="step", ylabel="training loss", ylim=(0.75, 1.6))
    for plot in (theory, practice):
        plot.grid(alpha=0.3, which="both")
        plot.legend(title="at the end", fontsize=8)
    return picture


if __name__ == "__main__":
    bound_picture(measured(range(10))).savefig(sys.argv[1], dpi=150)
