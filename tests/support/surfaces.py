"""Surfaces over the plane: known functions, landscapes of trained networks, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.kind import Workbench
from landsweep.sweeps.landscape.kind import LandscapeKind, LandscapeSpec
from landsweep.sweeps.landscape.refinement import Filled, Index, Refinement

__all__ = ["FUNCTIONS", "Function", "across_contours", "of_function", "of_network", "refined"]

Function: TypeAlias = Callable[[Any, Any], Any]
Values: TypeAlias = NDArray[np.float64]


def bowl(x: Any, y: Any) -> Any:
    return 0.01 + 3 * x**2 + y**2


def double_well(x: Any, y: Any) -> Any:
    return (4 * x**2 - 1) ** 2 + 0.6 * x + 8 * y**2 + 0.8


def crooked(x: Any, y: Any) -> Any:
    return np.exp(np.sin(6 * x) * np.cos(5 * y) + x**2)


def valley(x: Any, y: Any) -> Any:
    """A fold along y, much narrower than the second lattice: rows between those of a lattice must be looked at too."""
    return 0.003 + 0.32 * x**2 * (1 + 0.3 * y) + 0.003 * (y - 0.3) ** 2


FUNCTIONS: dict[str, Function] = {"bowl": bowl, "double well": double_well, "crooked": crooked, "valley": valley}


def of_function(function: Function, n: int) -> Values:
    """Its values on n x n points between -1 and 1."""
    x = np.linspace(-1, 1, n)
    values: Values = function(*np.meshgrid(x, x, indexing="ij"))
    return values


def of_network(net: dict[str, Any], n: int, *, epochs: int, first: int) -> Values:
    """Training loss on n x n points around a network trained on digits, between -1 and 1 of two random directions.

    Args:
        net: its fields.
        n: points along each axis.
        epochs: of its training.
        first: samples that the loss is of.
    """
    train = {"epochs": epochs, "learning_rate": 0.1, "nesterov": True, "weight_decay": 0.0005, "warmup": 1}
    kind = LandscapeKind()
    spec = LandscapeSpec.model_validate(
        {
            "kind": "landscape",
            "name": "surface",
            "data": {"source": "digits"},
            "models": {"net": {**net, "train": train}},
            "evaluators": {"train": {"split": "train", "first": first}},
            "axes": {axis: {"linear": [-1, 1, n]} for axis in "xy"},
        }
    )
    made: dict[str, Any] = {}
    for step in kind.preparations(spec):
        made[step.name] = kind.prepare(spec, step.name, made, Workbench())
    units = kind.planner(spec).ask(n * n)
    session = kind.open(spec, made, Workbench())
    places = {c: i for i, c in enumerate(sorted({float(u.params["x"] or 0) for u in units}))}
    values = np.full((n, n), np.nan)
    for unit, outcome in zip(units, session.evaluate(units), strict=True):
        x, y = (places[float(unit.params[axis] or 0)] for axis in "xy")
        values[x, y] = outcome.metrics["train_loss"]
    return values


def refined(values: Values, tolerance: float, scale: Any = "log", checks: int = 16) -> tuple[Filled, list[Index]]:
    """What a refinement makes of a surface, the values of which it is told as it asks; and all that it asked for."""
    search = Refinement(values.shape, tolerance, scale, start=4, checks=checks)
    asked: list[Index] = []
    while wants := search.wants():
        assert not set(wants) & set(asked)
        asked += wants
        for index in wants:
            search.tell(index, float(values[index]))
    assert search.complete
    return search.filled(), asked


def across_contours(values: Values, others: Values, levels: Sequence[float]) -> int:
    """How many points lie on another side of a contour line in the two surfaces, without that line being a point away.

    0: all contour lines are within one cell of each other.
    """
    found = 0
    for level in levels:
        above = values > level
        padded = np.pad(above, 1, mode="edge")
        rows, columns = above.shape
        around = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        beside = np.logical_or.reduce([a != above for a in around])
        found += int(((above != (others > level)) & ~beside).sum())
    return found
