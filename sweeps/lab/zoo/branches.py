"""Branches in a zoo: cool-downs that leave main runs, each a unit that is proposed once its main run has ended.

A main unit keeps a point for each branch in `points/`; a branch unit starts there. Where a point is missing or damaged
the branch starts from the last earlier one that is whole, or else trains from the beginning, to the same bits. The
folder is not needed once a sweep is complete.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from orchestrator.artifacts import Artifacts
from orchestrator.axes import Value
from orchestrator.planner import Planner
from orchestrator.row import Column, param_columns
from orchestrator.unit import Keys, Unit, digest
from sweeps.lab.branch import Cooldown, branch
from sweeps.lab.identity import by_content
from sweeps.lab.recipe import Recipe
from sweeps.lab.zoo.plan import VARIANT, Grid, Recipes, Swept, ZooPlanner

__all__ = ["BEGUN", "BRANCH", "BranchPlanner", "Branched", "BranchedRecipes", "Branching", "Points", "branched_columns"]

BRANCH = "branch"
BEGUN = Column("begun_at", "step from which it trained itself: of a branch, that of its point", type="int", meter=True)
_FOLDER = "points"


class Branched(Swept, Protocol):
    """What a zoo's spec says about its units, branches among them."""

    @property
    def branches(self) -> Mapping[str, Cooldown]: ...


def branched_columns(swept: Branched) -> tuple[Column, ...]:
    """Columns of the params; main runs have no value under `branch`."""
    columns = Grid(swept).columns()
    if not swept.branches:
        return columns
    return (*columns, *param_columns({BRANCH: list(swept.branches)}, {BRANCH: "name of the branch; none: a main run"}))


class Branching(Recipes, ABC):
    """Recipes of units, some of which are branches that leave the main run of others."""

    @abstractmethod
    def main(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe: ...

    @abstractmethod
    def leaves(self, params: Mapping[str, Value]) -> int | None:
        """The step after which the unit with these params leaves its main run; None: it is one."""

    @abstractmethod
    def departures(self, params: Mapping[str, Value]) -> Collection[int]:
        """The steps after which branches leave the main run of these params."""

    @property
    @abstractmethod
    def branching(self) -> bool:
        """Whether there are any branches."""


class BranchedRecipes(Branching):
    """Turns the params of main runs and branches into recipes.

    Args:
        swept: the spec.
    """

    def __init__(self, swept: Branched) -> None:
        super().__init__(swept)
        self.branches = swept.branches

    def main(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        return super().of({name: v for name, v in params.items() if name != BRANCH}, source)

    def leaves(self, params: Mapping[str, Value]) -> int | None:
        name = params.get(BRANCH)
        return None if name is None else self.branches[str(name)].at

    def departures(self, params: Mapping[str, Value]) -> Collection[int]:
        del params  # all main runs have the same branches
        return {c.at for c in self.branches.values()}

    @property
    def branching(self) -> bool:
        return bool(self.branches)

    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        main, name = self.main(params, source), params.get(BRANCH)
        return main if name is None else branch(main, self.branches[str(name)])


class BranchPlanner(Planner):
    """Main runs first; as soon as all those of one pack have ended, their branches.

    Args:
        swept: the spec.
        keys: of the sweep.
    """

    listens = True

    def __init__(self, swept: Branched, keys: Keys) -> None:
        self._recipes, self._keys = BranchedRecipes(swept), keys
        self._variants = {name: dict(d) for name, d in swept.recipes.items()}
        mains = ZooPlanner(swept, keys).ask(Grid(swept).total)
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
            for name, cooldown in self._recipes.branches.items():
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
        return len(self._of) * (1 + len(self._recipes.branches))


class Points:
    """Where branches leave main runs, kept among the artifacts of a sweep.

    Args:
        artifacts: of the sweep; none: nothing is kept.
        recipes: of its units.

    Attributes:
        used: whether any unit is a branch.
    """

    def __init__(self, artifacts: Artifacts | None, recipes: Recipes) -> None:
        self._artifacts = artifacts
        self._recipes = recipes if isinstance(recipes, Branching) and recipes.branching else None
        self.used = self._recipes is not None

    def steps(self, unit: Unit) -> tuple[int, ...]:
        """After which steps the run of this unit has to keep a point."""
        if self._recipes is None or self._artifacts is None or self._recipes.leaves(unit.params) is not None:
            return ()
        return tuple(sorted(self._recipes.departures(unit.params)))

    def keep(self, unit: Unit, step: int, state: Mapping[str, Tensor]) -> None:
        """Keep the point of a main run."""
        if self._artifacts is not None and self._recipes is not None:
            file = _file(self._stem(unit), step)
            self._artifacts.keep(file, {name: t.numpy() for name, t in state.items()})

    def begin(self, units: Sequence[Unit]) -> list[dict[str, Tensor]] | None:
        """The points that these branches, which leave after the same step, start from: the last that all of them have.

        None for main runs, and where there is no such point.
        """
        if self._recipes is None or self._artifacts is None:
            return None
        at = self._recipes.leaves(units[0].params)
        if at is None:
            return None
        stems = [self._stem(unit) for unit in units]
        found = self._loaded(stems, at)
        earlier = sorted(self._earlier(stems, at)) if found is None else []
        while found is None and earlier:
            found = self._loaded(stems, earlier.pop())
        return found

    def _loaded(self, stems: Sequence[str], step: int) -> list[dict[str, Tensor]] | None:
        assert self._artifacts is not None
        points = []
        for stem in stems:
            arrays = self._artifacts.load(_file(stem, step))
            if arrays is None:
                return None
            points.append({name: torch.from_numpy(a.copy()) for name, a in arrays.items()})
        return points

    def _earlier(self, stems: Sequence[str], at: int) -> set[int]:
        """Steps before `at` of which every one of these main runs has a point."""
        assert self._artifacts is not None
        kept: dict[str, set[int]] = {stem: set() for stem in stems}
        for file in self._artifacts.files(_FOLDER):
            stem, _, step = Path(file).stem.rpartition("-")
            if stem in kept and int(step) < at:
                kept[stem].add(int(step))
        return set.intersection(*kept.values())

    def _stem(self, unit: Unit) -> str:
        """By the content of the main run's recipe, so that a branch needs no key of another unit."""
        assert self._recipes is not None
        return digest(by_content(self._recipes.main(unit.params).model_dump(mode="json")), size=12)


def _file(stem: str, step: int) -> str:
    return f"{_FOLDER}/{stem}-{step:06d}.safetensors"
