"""The plan of a zoo with branches: each is a unit that is proposed once its main run has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.row import Column, param_columns
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.lab.training_units.branch_queue import BranchQueue
from landsweep.sweeps.lab.training_units.cooldown import Cooldown
from landsweep.sweeps.lab.training_units.recipes import VARIANT
from landsweep.sweeps.zoo.plan import Grid, ZooPlanner
from landsweep.sweeps.zoo.recipes import ZooRecipes
from landsweep.sweeps.zoo.spec import BRANCH, ZooSpec

__all__ = ["BranchPlanner", "branched_columns"]


def branched_columns(spec: ZooSpec) -> tuple[Column, ...]:
    """Columns of the params; main runs have no value under `branch`."""
    columns = Grid(spec).columns()
    if not spec.branches:
        return columns
    return (*columns, *param_columns({BRANCH: list(spec.branches)}, {BRANCH: "name of the branch; none: a main run"}))


class BranchPlanner(Planner):
    """Main runs first; as soon as all those of one pack have ended, their branches.

    Args:
        spec: of the zoo.
        keys: of the sweep.
    """

    adaptive = True

    def __init__(self, spec: ZooSpec, keys: Keys) -> None:
        self._spec, self._keys, self._recipes = spec, keys, ZooRecipes(spec)
        mains = ZooPlanner(spec, keys).ask(Grid(spec).total)
        self._mains: dict[str, list[Unit]] = {}
        for unit in mains:
            self._mains.setdefault(unit.pack, []).append(unit)
        self._queue = BranchQueue(mains, lambda unit: unit.pack, self._branches_of)
        self._total = len(mains) * (1 + len(spec.branches))

    def ask(self, limit: int) -> list[Unit]:
        return self._queue.take(limit)

    def tell(self, row: Mapping[str, Any]) -> None:
        self._queue.tell(row["key"])

    @property
    def exhausted(self) -> bool:
        return self._queue.empty

    @property
    def total(self) -> int:
        return self._total

    def _branches_of(self, pack: str) -> Iterator[Unit]:
        """The branches of all main runs of a pack, those of one name next to each other."""
        for name, cooldown in self._spec.branches.items():
            for main in self._mains[pack]:
                yield self._unit(main, name, cooldown)

    def _unit(self, main: Unit, name: str, cooldown: Cooldown) -> Unit:
        params = {**main.params, BRANCH: name}
        definitions: dict[str, object] = {BRANCH: cooldown.model_dump(mode="json")}
        if VARIANT in params:
            definitions[VARIANT] = dict(self._spec.recipes[str(params[VARIANT])])
        return self._keys.unit(params, definitions, self._recipes.of(params).pack_key())
