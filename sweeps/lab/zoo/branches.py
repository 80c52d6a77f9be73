"""The plan of a zoo with branches: each is a unit that is proposed once its main run has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from orchestrator.planner import Planner
from orchestrator.row import Column, param_columns
from orchestrator.unit import Keys, Unit
from sweeps.lab.branch import Cooldown
from sweeps.lab.zoo.plan import Grid, ZooPlanner
from sweeps.lab.zoo.recipes import VARIANT
from sweeps.lab.zoo.spec import BRANCH, ZooSpec
from sweeps.lab.zoo.zoo_recipes import ZooRecipes

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

    listens = True

    def __init__(self, spec: ZooSpec, keys: Keys) -> None:
        self._recipes, self._keys, self._branches = ZooRecipes(spec), keys, spec.branches
        self._variants = {name: dict(d) for name, d in spec.recipes.items()}
        mains = ZooPlanner(spec, keys).ask(Grid(spec).total)
        self._mains, self._ready = deque(mains), deque[Unit]()
        self._packs: dict[str, dict[str, Unit]] = {}
        for unit in mains:
            self._packs.setdefault(unit.pack, {})[unit.key] = unit
        self._of = {unit.key: unit.pack for unit in mains}
        self._left = {pack: set(units) for pack, units in self._packs.items()}

    def ask(self, limit: int) -> list[Unit]:
        source = self._mains or self._ready
        return [source.popleft() for _ in range(min(limit, len(source)))]

    def tell(self, row: Mapping[str, Any]) -> None:
        pack = self._of.get(row["key"])
        if pack is None or row["key"] not in self._left[pack]:
            return
        self._left[pack].discard(row["key"])
        if not self._left[pack]:
            for name, cooldown in self._branches.items():
                self._ready += [self._unit(main, name, cooldown) for main in self._packs[pack].values()]

    def _unit(self, main: Unit, name: str, cooldown: Cooldown) -> Unit:
        params = {**main.params, BRANCH: name}
        definitions: dict[str, object] = {BRANCH: cooldown.model_dump(mode="json")}
        if VARIANT in params:
            definitions[VARIANT] = self._variants[str(params[VARIANT])]
        return self._keys.unit(params, definitions, self._recipes.of(params).pack_key())

    @property
    def exhausted(self) -> bool:
        return not self._mains and not self._ready and not any(self._left.values())

    @property
    def total(self) -> int:
        return len(self._of) * (1 + len(self._branches))
