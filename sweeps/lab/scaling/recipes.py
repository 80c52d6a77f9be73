"""From the params of a study's unit to the recipe that is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.axes import Value
from sweeps.lab.scaling.ladder import Ladder
from sweeps.lab.scaling.plan import Planned
from sweeps.lab.zoo.plan import Recipes, SingleRecipe

__all__ = ["StudyRecipes"]


class StudyRecipes(Recipes):
    """Recipes of a study's units.

    Args:
        plan: the spec, with a recipe.
        backend: of the spec.

    Attributes:
        base: what a session of the zoo needs of a spec.
    """

    def __init__(self, plan: Planned, backend: str) -> None:
        assert plan.recipe is not None, "the random-feature model has no recipes"
        self.base = SingleRecipe(plan.recipe, backend)
        super().__init__(self.base)
        self._ladder = Ladder(plan)
        self._recipe = plan.recipe

    def data(self, params: Mapping[str, Value]) -> dict[str, Any]:
        """The recipe's fields, not yet checked."""
        net = self._ladder.size(int(params["width"] or 0)).net
        assert net is not None, "a recipe has a network"
        found = super().data({"optimizer.learning_rate": params["learning_rate"]})
        return {**found, "net": net.model_dump(mode="json"), "steps": params["steps"], "seed": params["seed"]}
