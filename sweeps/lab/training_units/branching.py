"""Units that are branches: cool-downs that leave a main run, and the points from which they start.

A main unit keeps a point for each of its branches in `points/`; a branch unit starts there. If a point is missing or
damaged, the branch starts from the latest earlier intact one, or else from the beginning: the bits are the same.
The folder is not needed once a sweep is complete.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.unit import Unit, digest
from landsweep.sweeps.lab.identity import by_content
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.recipes import Recipes

__all__ = ["BEGUN", "BranchingRecipes", "Points"]

BEGUN = Column("begun_at", "step from which it trained itself: of a branch, that of its point", type="int", meter=True)
_FOLDER = "points"


class BranchingRecipes(Recipes):
    """Recipes of units of which some are branches: they leave the main run of another unit."""

    @abstractmethod
    def main(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        """The recipe of the main run that the unit with these params leaves; for a main run, its own recipe.

        Raises:
            SpecError: as `of`.
        """

    @abstractmethod
    def leaves(self, params: Mapping[str, Value]) -> int | None:
        """The step after which the unit with these params leaves its main run; None for a main run."""

    @abstractmethod
    def departures(self, params: Mapping[str, Value]) -> Collection[int]:
        """The steps after which branches leave the main run of these params."""


class Points:
    """The points at which branches leave main runs, stored among the artifacts of a sweep.

    Args:
        artifacts: of the sweep; None: nothing is kept.
        recipes: of its units.
    """

    def __init__(self, artifacts: Artifacts | None, recipes: BranchingRecipes) -> None:
        self._artifacts, self._recipes = artifacts, recipes

    def main(self, unit: Unit) -> Recipe:
        """The recipe of the main run that this unit leaves; for a main run, its own recipe."""
        return self._recipes.main(unit.params)

    def steps(self, unit: Unit) -> tuple[int, ...]:
        """The steps after which the run of this unit has to keep a point."""
        if self._artifacts is None or self._recipes.leaves(unit.params) is not None:
            return ()
        return tuple(sorted(self._recipes.departures(unit.params)))

    def keep(self, unit: Unit, step: int, state: Mapping[str, Tensor]) -> None:
        """Keep the point of a main run."""
        if self._artifacts is not None:
            file = _file(self._stem(unit), step)
            self._artifacts.keep(file, {name: t.numpy() for name, t in state.items()})

    def begin(self, units: Sequence[Unit]) -> list[dict[str, Tensor]] | None:
        """The points from which these branches of one step start: the latest that all of them have.

        None for main runs, and if there is no such point.
        """
        at = self._recipes.leaves(units[0].params)
        if self._artifacts is None or at is None:
            return None
        stems = [self._stem(unit) for unit in units]
        points = self._loaded(self._artifacts, stems, at)
        earlier = sorted(self._earlier(self._artifacts, stems, at)) if points is None else []
        while points is None and earlier:
            points = self._loaded(self._artifacts, stems, earlier.pop())
        return points

    @staticmethod
    def _loaded(artifacts: Artifacts, stems: Sequence[str], step: int) -> list[dict[str, Tensor]] | None:
        points = []
        for stem in stems:
            arrays = artifacts.load(_file(stem, step))
            if arrays is None:
                return None
            points.append({name: torch.from_numpy(a.copy()) for name, a in arrays.items()})
        return points

    @staticmethod
    def _earlier(artifacts: Artifacts, stems: Sequence[str], at: int) -> set[int]:
        """The steps before `at` for which each of these main runs has a point."""
        steps: dict[str, set[int]] = {stem: set() for stem in stems}
        for file in artifacts.files(_FOLDER):
            stem, _, step = Path(file).stem.rpartition("-")
            if stem in steps and int(step) < at:
                steps[stem].add(int(step))
        return set.intersection(*steps.values())

    def _stem(self, unit: Unit) -> str:
        """Name of the main run's files: a digest of its recipe, so a branch needs no key of another unit."""
        return digest(by_content(self.main(unit).model_dump(mode="json")), size=12)


def _file(stem: str, step: int) -> str:
    return f"{_FOLDER}/{stem}-{step:06d}.safetensors"
