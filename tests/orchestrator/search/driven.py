"""Small searches, driven to their end without workers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.search import Goal, Search, StudyPlanner, samplers
from landsweep.orchestrator.search.space import Setting, flat
from landsweep.orchestrator.unit import Keys, Unit

KEYS = Keys("search", 1, {})
SPACE: dict[str, Any] = {
    "x": {"uniform": [-2, 2]},
    "rate": {"log_uniform": [1e-4, 1]},
    "width": {"integer": [4, 32], "step": 4},
    "method": {"choice": {"sgd": {"momentum": {"uniform": [0, 0.9], "step": 0.1}}, "adam": {}}},
    "decay": {"log_uniform": [1e-6, 1e-2], "when": {"method": "adam"}},
}
PLAIN: dict[str, Any] = {"x": {"uniform": [-2, 2]}, "y": {"uniform": [-2, 2]}}
SAMPLERS: dict[str, samplers.SamplerSpec] = {
    "tpe": samplers.Tpe(n_startup_trials=5),
    "random": samplers.Random(),
    "qmc": samplers.Qmc(method="qmc"),
    "gp": samplers.Gp(method="gp", n_startup_trials=8),
    "explore": samplers.Explore(method="explore", n_startup_trials=8, candidates=32),
    "cmaes": samplers.CmaEs(method="cmaes"),
    "nsga2": samplers.Nsga2(method="nsga2"),
}


def search(space: Mapping[str, Any] = PLAIN, **changes: Any) -> Search:
    dimensions = flat({n: Setting.model_validate(s) for n, s in space.items()})
    given: dict[str, Any] = {
        "name": "s",
        "dimensions": dimensions,
        "goals": (Goal("loss"),),
        "sampler": SAMPLERS["tpe"],
        "budget": samplers.Budget(units=24),
        "generation": 8,
    }
    return Search(**(given | changes))


def planner(s: Search) -> StudyPlanner:
    def units(number: int, values: Mapping[str, Value]) -> Sequence[Unit]:
        return [KEYS.unit({"trial": number, **values, "seed": i}) for i in range(s.seeds)]

    return StudyPlanner(s, units)


def row_of(unit: Unit, s: Search) -> dict[str, Any]:
    """What a worker would give for a unit of any of the spaces here: losses that favour x = 1."""
    p = unit.params
    loss = (float(p["x"] or 0) - 1) ** 2 + 0.1 * int(p["seed"] or 0)  # type: ignore[arg-type]
    loss += (float(p["y"]) + 1) ** 2 if "y" in p else 0.0  # type: ignore[arg-type]
    cells = {d.name: p.get(d.name) for d in s.dimensions}
    return {
        "key": unit.key,
        "trial": p["trial"],
        **cells,
        "seed": p["seed"],
        "status": "ok",
        "loss": loss,
        "seconds": 1.0,
    }


def drive(s: Search, order: Callable[[list[Unit]], list[Unit]] = list, stop: int | None = None) -> list[dict[str, Any]]:
    """Run a search to its end, or until `stop` rows; rows in the order in which units ended."""
    return resume(s, [], order, stop)


def resume(
    s: Search, rows: Sequence[dict[str, Any]], order: Callable[[list[Unit]], list[Unit]] = list, stop: int | None = None
) -> list[dict[str, Any]]:
    p, ended = planner(s), list(rows)
    for row in rows:
        p.tell(row)
    waiting: list[Unit] = []
    while waiting := order(waiting + p.ask(5)):
        ended.append(row_of(waiting.pop(), s))
        p.tell(ended[-1])
        if stop is not None and len(ended) >= stop:
            return ended
    assert p.exhausted
    return ended


def table(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(sorted((k, str(v)) for k, v in row.items())) for row in rows)


def shuffled(seed: int) -> Callable[[list[Unit]], list[Unit]]:
    rng = random.Random(seed)

    def order(units: list[Unit]) -> list[Unit]:
        rng.shuffle(units)
        return units

    return order
