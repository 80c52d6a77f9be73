"""Searches that tests share, and the functions that they call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from landsweep.sweeps.search.kind import SearchKind
from landsweep.sweeps.search.spec import SearchSpec

KIND = SearchKind()
WALK = "tests.support.searches:walk"
TINY_RECIPE: dict[str, Any] = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [8]},
    "steps": 60,
    "batch_size": 32,
    "evaluate": {"every_steps": 10, "splits": ["test"]},
}
RATE: dict[str, Any] = {"optimizer.learning_rate": {"log_uniform": [0.001, 3]}}


def walk(
    x: float, method: str, seed: int = 0, momentum: float = 0.0, widths: tuple[int, ...] = (1,)
) -> Iterator[dict[str, float]]:
    """A run whose loss falls towards x squared; `adam` has no momentum."""
    for step in range(1, 11):
        yield {"step": step, "loss": x * x + seed + 1 / step, "momentum_was": momentum, "total": float(sum(widths))}


def wide(layers: Sequence[int], x: float = 0.0) -> dict[str, float]:
    return {"loss": x * x + sum(layers)}


def kind_of(x: float) -> str:
    return "none" if x < -1 else "text" if x > 1 else "number"


def sometimes(x: float) -> dict[str, float | str]:
    """A function that forgets its goal for small x, and gives a text for large ones."""
    goal: dict[str, dict[str, float | str]] = {"none": {}, "text": {"loss": "no"}, "number": {"loss": x * x}}
    return {"x_was": x, **goal[kind_of(x)]}


def plain(x: float) -> dict[str, float]:
    return {"loss": x * x}


def search_spec(**changes: Any) -> SearchSpec:
    data: dict[str, Any] = {
        "kind": "search",
        "name": "s",
        "goals": [{"minimise": "test_loss"}],
        "budget": {"units": 16},
    }
    return KIND.parse(data | changes, "test").pinned(Path())


def tiny_search(**changes: Any) -> SearchSpec:
    return search_spec(**({"recipe": TINY_RECIPE, "space": RATE, "generation": 8, "backend": "bmm"} | changes))


def function_search(**changes: Any) -> SearchSpec:
    given: dict[str, Any] = {
        "function": WALK,
        "seed_argument": "seed",
        "space": {
            "x": {"uniform": [-2, 2]},
            "method": {"choice": {"sgd": {"momentum": {"uniform": [0, 0.9]}}, "adam": {}}},
            "widths": {"choice": [[1, 2], [3]]},
        },
        "goals": [{"minimise": "loss"}],
    }
    return search_spec(**(given | changes))
