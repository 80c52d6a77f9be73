"""A kind whose units are trainings, as somebody else would add it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from landsweep.orchestrator.axes import AxisLike, Value
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.planner import ListPlanner
from landsweep.orchestrator.row import Column, param_columns
from landsweep.orchestrator.spec import IsAxis
from landsweep.orchestrator.unit import Keys
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.columns import trained_columns
from landsweep.sweeps.lab.training_units.kind import PlannedPack, TrainedKind, TrainedSpec
from landsweep.sweeps.lab.training_units.recipes import RecipeFields, Recipes
from landsweep.sweeps.lab.training_units.session import TrainingSession

__all__ = ["RatesKind"]


class RatesSpec(TrainedSpec):
    kind: Literal["rates"] = "rates"
    recipe: Recipe
    rates: Annotated[AxisLike, IsAxis()]


class RatesRecipes(Recipes):
    def __init__(self, base: Recipe) -> None:
        self._fields = RecipeFields(base)

    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        return self._fields.set("optimizer.learning_rate", params["rate"]).recipe(source)


class RatesKind(TrainedKind[RatesSpec]):
    name: ClassVar[str] = "rates"
    summary: ClassVar[str] = "one recipe at several learning rates"
    spec = RatesSpec

    def example(self) -> RatesSpec:
        recipe = {"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [8]}, "steps": 20}
        return RatesSpec.model_validate({"name": "rates-example", "recipe": recipe, "rates": [0.01, 0.02, 0.1]})

    def params(self, spec: RatesSpec) -> tuple[Column, ...]:
        return param_columns({"rate": list(spec.rates.points())}, {"rate": "learning rate"})

    def columns(self, spec: RatesSpec) -> tuple[Column, ...]:
        return trained_columns(spec.recipe)

    def planner(self, spec: RatesSpec) -> ListPlanner:
        keys = Keys(self.name, self.version, spec.context())
        pack = spec.recipe.pack_key()
        return ListPlanner([keys.unit({"rate": rate}, None, pack) for rate in spec.rates.points()])

    def recipes(self, spec: RatesSpec) -> RatesRecipes:
        return RatesRecipes(spec.recipe)

    def packs(self, spec: RatesSpec) -> dict[str, PlannedPack]:
        return {spec.recipe.pack_key(): PlannedPack(spec.recipe, len(spec.rates.points()))}

    def open(self, spec: RatesSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> TrainingSession:
        return TrainingSession(spec.backend, self.recipes(spec), bench, prepared)
