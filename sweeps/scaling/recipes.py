"""From the params of a study's unit to the recipe that is trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from landsweep.orchestrator.axes import Value
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.branching import BranchingRecipes
from landsweep.sweeps.lab.training_units.cooldown import Cooldown, branch
from landsweep.sweeps.lab.training_units.recipes import RecipeFields
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.plan import cells, horizons_of
from landsweep.sweeps.scaling.spec import ScalingSpec

__all__ = ["StudyRecipes"]


class StudyRecipes(BranchingRecipes):
    """Recipes of a study's units.

    Args:
        spec: of the study, with a recipe.
    """

    def __init__(self, spec: ScalingSpec) -> None:
        assert spec.recipe is not None, "the random-feature model has no recipes"
        self._base = RecipeFields(spec.recipe)
        self._ladder = Ladder(spec)
        self._horizons = horizons_of(spec, cells(spec, self._ladder))

    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        at, schedule = self.leaves(params), self._horizons.schedule
        if at is None or schedule is None:
            return self.whole(params, source)
        steps = int(params["steps"] or 0) - at
        return branch(
            self.main(params, source), Cooldown(at=at, steps=steps, decay=schedule.decay, final=schedule.final)
        )

    def whole(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        """The recipe of a run of this horizon that is trained from its start."""
        net = self._ladder.size(int(params["width"] or 0)).net
        assert net is not None, "a recipe has a network"
        fields = self._base.set("optimizer.learning_rate", params["learning_rate"])
        fields = fields.set("net", net.model_dump(mode="json")).set("steps", params["steps"])
        return fields.set("seed", params["seed"]).recipe(source)

    def main(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        if self.leaves(params) is None:
            return self.whole(params, source)
        return self.whole({**params, "steps": self._horizons.main(params)}, source)

    def leaves(self, params: Mapping[str, Value]) -> int | None:
        return self._horizons.leaves(params)

    def departures(self, params: Mapping[str, Value]) -> Collection[int]:
        return self._horizons.departures(params)

    @property
    def branching(self) -> bool:
        """Whether there are any branches."""
        return self._horizons.schedule is not None
