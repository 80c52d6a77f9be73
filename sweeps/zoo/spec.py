"""The spec of a zoo: a base recipe, and what is swept over any of its fields."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.axes import Axis, AxisLike, DefaultedAxisLike, Value
from landsweep.orchestrator.bisection import Bisect
from landsweep.orchestrator.draws import RandomSamples
from landsweep.orchestrator.row import METERS
from landsweep.orchestrator.spec import IsAxis, IsLabel, IsNamedAxis
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.cooldown import Cooldown
from landsweep.sweeps.lab.training_units.kind import TrainedSpec
from landsweep.sweeps.lab.training_units.recipes import SAMPLE, SEED, VARIANT, short_path
from landsweep.sweeps.zoo.target import WorkloadTarget

__all__ = ["BRANCH", "ZooSpec"]

BRANCH = "branch"  # the param that names a unit's branch; none: a main run


class ZooSpec(TrainedSpec):
    """A base recipe and what is swept over its fields."""

    takes_defaults: ClassVar[bool] = True

    kind: Annotated[Literal["zoo"], IsLabel()] = Field("zoo", description="this kind")
    recipe: Recipe = Field(description="the base: what all models share, and the values of fields that nothing sweeps")
    axes: Annotated[dict[str, DefaultedAxisLike], IsAxis()] = Field(
        {}, description="values for fields of the recipe, such as optimizer.learning_rate or net.hidden.0"
    )
    zip: Annotated[tuple[tuple[str, ...], ...], IsAxis()] = Field((), description="groups of axes that move together")
    samples: Annotated[RandomSamples | None, IsAxis()] = Field(
        None, description="random combinations of further fields"
    )
    bisect: Annotated[Bisect | None, IsAxis()] = Field(
        None,
        exclude_if=lambda v: v is None,
        description="for each combination, how far along a further field a condition holds, such as the largest "
        "learning rate that does not diverge; found by halving",
    )
    recipes: Annotated[dict[str, dict[str, Any]], IsNamedAxis()] = Field(
        {}, description="variants by name, each given by its changes to the base recipe"
    )
    seeds: Annotated[AxisLike | Literal["sample"], IsAxis()] = Field(
        Axis(values=(0,)), description="seeds of the models; sample: the number of each random combination is its seed"
    )
    licence: Annotated[str, IsLabel()] = Field("CC-BY-4.0", description="licence of the data set, for its card")
    branches: Annotated[dict[str, Cooldown], IsNamedAxis()] = Field(
        {}, description="cool-downs by name: each main run also gives one model for each of them"
    )
    targets: Annotated[dict[str, WorkloadTarget], IsLabel()] = Field(
        {},
        description="for the report of a benchmark: by workload, the level that the time is counted to; recipes are "
        "then called WORKLOAD/OPTIMIZER, and seeds are studies",
    )

    @property
    def seed_values(self) -> tuple[int, ...] | None:
        """The seeds; None where each random combination has its own."""
        return None if isinstance(self.seeds, str) else tuple(int(s) for s in self.seeds.points() if s is not None)

    def defaults(self) -> dict[str, Value]:
        return {short_path(path): axis.before for path, axis in self.axes.items() if axis.has_default}

    @model_validator(mode="after")
    def _fields_are_swept_once(self) -> Self:
        drawn = list(self.samples.fields) if self.samples else []
        moved = [self.bisect.over] if self.bisect else []
        paths = [short_path(p) for p in (*self.axes, *drawn, *moved)]
        if twice := sorted({p for p in paths if paths.count(p) > 1}):
            raise ValueError(f"{twice} are swept twice; a field can stand under axes, samples or bisect, once")
        if moved and self.branches:
            raise ValueError("bisect: a zoo with branches can't have it; leave one of the two out")
        if SEED in paths:
            raise ValueError("sweep the seed with `seeds`, such as seeds: {range: 5}")
        if taken := sorted({"key", VARIANT, SAMPLE, BRANCH, *(c.name for c in METERS)} & set(paths)):
            raise ValueError(f"{taken} are no fields of a recipe, but columns of the rows")
        if isinstance(self.seeds, str) and self.samples is None:
            raise ValueError("seeds: sample needs `samples`")
        if not isinstance(self.seeds, str) and any(type(s) is not int or s < 0 for s in self.seeds.points()):
            raise ValueError(f"seeds must be whole numbers from 0, got {list(self.seeds.points())}")
        seeds = 1 if self.seed_values is None else len(self.seed_values)
        if self.bisect and (self.bisect.agree or 1) > seeds:
            raise ValueError(f"bisect.agree: {self.bisect.agree} seeds can't agree, each value is tried with {seeds}")
        if (self.branches or self.bisect) and (defaults := list(self.defaults())):
            raise ValueError(
                f"axes.{defaults[0]}: default: a zoo with {'branches' if self.branches else 'bisect'} can't take one; "
                "leave it out, and give this spec another folder with --out"
            )
        return self

    @model_validator(mode="after")
    def _every_workload_has_a_target(self) -> Self:
        if not self.targets:
            return self
        workloads = {name.partition("/")[0] for name in self.recipes if "/" in name}
        if unnamed := [name for name in self.recipes if "/" not in name]:
            raise ValueError(f"with targets, recipes are called WORKLOAD/OPTIMIZER; got {unnamed[0]!r}")
        if workloads != set(self.targets):
            raise ValueError(
                f"targets are of {sorted(self.targets)}, but the recipes' workloads are {sorted(workloads)}"
            )
        return self
