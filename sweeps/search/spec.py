"""The spec of a search: what is computed, which of its fields are chosen, what is sought, how, and for how long."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.canonical import Value, plain
from landsweep.orchestrator.search.samplers import Budget, NoPruner, PrunerSpec, SamplerSpec, Tpe
from landsweep.orchestrator.search.space import Dimension, Setting, flat
from landsweep.orchestrator.spec import IsAxis, IsLabel, Section
from landsweep.sweeps.lab.callables.columns import ColumnSpec
from landsweep.sweeps.lab.programs.spec import Program
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.kind import TrainedSpec

__all__ = ["GoalSpec", "SearchSpec", "Target"]

_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class GoalSpec(Section):
    """What is better: less, or more, of a metric."""

    minimise: str | None = Field(None, description="a column of the rows, such as test_loss, parameters or seconds")
    maximise: str | None = Field(None, description="or a column of which more is better, such as test_accuracy")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.minimise is None) == (self.maximise is None):
            raise ValueError("a goal is either `minimise: METRIC` or `maximise: METRIC`")
        return self

    @property
    def metric(self) -> str:
        """Name of the column."""
        return str(self.minimise or self.maximise)


class Target(Section):
    """A level to reach; the rows then say after how many steps it was, and whether."""

    metric: str = Field(description="metric of an evaluation, such as test_accuracy")
    at_least: float | None = Field(None, description="reached when the metric is at least this")
    at_most: float | None = Field(None, description="or when it is at most this")

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a target is either `at_least` or `at_most` a value")
        return self

    def reached(self, value: float) -> bool:
        """Whether a value is good enough; nan is not."""
        return value >= self.at_least if self.at_least is not None else value <= float(self.at_most or 0.0)


class SearchSpec(TrainedSpec):
    """A recipe, a function or a program, and the settings that are searched."""

    kind: Annotated[Literal["search"], IsLabel()] = Field("search", description="this kind")
    recipe: Recipe | None = Field(None, description="what is trained; the settings of `space` are set in it")
    function: str | None = Field(None, pattern=_PATH, description="or a callable, as in the kind `function`")
    command: Program | None = Field(
        None, description="or a program, as in the kind `command`; {name} stands for a setting, {seed} for 0, 1, ..."
    )
    version: int = Field(1, description="version of the function or program: raise it when its results change")
    setup: str | None = Field(None, pattern=_PATH, description="runs once per worker, see the kind `function`")
    fixed: dict[str, Any] = Field({}, description="further arguments of the function")
    seed_argument: str | None = Field(None, description="the function's argument that gets the seed: 0, 1, ...")
    columns: Annotated[dict[str, ColumnSpec] | None, IsLabel()] = Field(
        None, description="metrics of the function or program"
    )
    space: dict[str, Setting] = Field(
        min_length=1,
        description="distributions of fields of the recipe, arguments of the function, or {names} in the command",
    )
    goals: tuple[GoalSpec, ...] = Field(min_length=1, description="several give a Pareto front")
    target: Target | None = Field(None, description="a level to reach; gives steps_to_target and target_reached")
    sampler: SamplerSpec = Tpe()
    pruner: PrunerSpec = NoPruner()
    budget: Annotated[Budget, IsAxis()] = Field(
        description="units, seconds or flops; in_vain (100): the search also ends after this many trials in a row that "
        "failed, or added nothing to seconds or flops. It may grow"
    )
    seeds: int = Field(1, ge=1, description="a trial is computed with the seeds 0, 1, ... and judged by the mean")
    generation: int = Field(32, ge=1, description="how many trials are proposed at once; they train as packs")
    deterministic: bool = Field(
        True,
        description="a generation begins when the last has ended: the same trials whatever order units end in. "
        "Without it workers never wait. qmc, cmaes and nsga2 always wait",
    )
    search_seed: int = Field(0, ge=0, description="seed of the sampler")
    enqueue: tuple[dict[str, Any], ...] = Field((), description="the first trials; settings left out are drawn")

    @model_validator(mode="before")
    @classmethod
    def _weights_are_not_kept(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
        """A search keeps no weights unless it is asked to."""
        recipe = data.get("recipe") if isinstance(data, dict) else None
        if isinstance(recipe, dict) and "checkpoints" not in recipe:
            return {**data, "recipe": {**recipe, "checkpoints": {"last": False}}}
        return data

    def context(self) -> dict[str, Any]:
        """All that rows depend on; of a recipe also how `flops` is counted, which decides where a budget ends.

        In rows without this entry `flops` was three forward passes for each step, a whole batch and one gradient each.
        """
        counting = {} if self.recipe is None else {"flops": "all passes and gradients, by samples"}
        context = {**super().context(), **counting}
        del context["command"]
        return context if self.command is None else {**context, "command": self.command.identity()}

    @property
    def types(self) -> dict[str, str] | None:
        """Types of the declared columns; None when any metric is allowed."""
        return None if self.columns is None else {name: c.type for name, c in self.columns.items()}

    def dimensions(self) -> tuple[Dimension, ...]:
        """The settings, each after those that it depends on."""
        return flat(self.space)

    def start(self) -> tuple[dict[str, Value], ...]:
        """The first trials, as the planner takes them."""
        return tuple({name: plain(value) for name, value in point.items()} for point in self.enqueue)
