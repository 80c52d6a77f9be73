"""The spec of a search: what is computed, which of its fields are chosen, what is sought, how, and for how long."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.canonical import Value, plain
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import METERS
from landsweep.orchestrator.search.samplers import Budget, CmaEs, NoPruner, PrunerSpec, SamplerSpec, Tpe
from landsweep.orchestrator.search.space import Dimension, Setting, flat
from landsweep.orchestrator.spec import IsAxis, IsLabel, Section
from landsweep.sweeps.lab.callables.calls import check_arguments, check_setup, imported
from landsweep.sweeps.lab.callables.columns import ColumnSpec
from landsweep.sweeps.lab.outline import foresee_recipe
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.kind import TrainedSpec
from landsweep.sweeps.search.trials import TRIAL, TrialRecipes, arguments, trial_points

__all__ = ["GoalSpec", "SearchSpec", "Target"]

_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
_TARGET = "steps_to_target"
_TIMES = ("seconds", "cpu_seconds", "peak_memory")
_OWN = {"key", TRIAL, "seed", *(c.name for c in METERS)}


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

    metric: str = Field(description="of an evaluation, such as test_accuracy")
    at_least: float | None = Field(None, description="reached when the metric is no less")
    at_most: float | None = Field(None, description="or when it is no more")

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a target is either `at_least` or `at_most` a value")
        return self

    def reached(self, value: float) -> bool:
        """Whether a value is good enough; nan is not."""
        return value >= self.at_least if self.at_least is not None else value <= float(self.at_most or 0.0)


class SearchSpec(TrainedSpec):
    """A recipe or a function, and the settings that are searched."""

    kind: Annotated[Literal["search"], IsLabel()] = Field("search", description="this kind")
    recipe: Recipe | None = Field(None, description="what is trained; the settings of `space` are set in it")
    function: str | None = Field(None, pattern=_PATH, description="or a callable, as of the kind `function`")
    version: int = Field(1, description="of the function: raise it when it gives other results")
    setup: str | None = Field(None, pattern=_PATH, description="runs once per worker, see the kind `function`")
    fixed: dict[str, Any] = Field({}, description="further arguments of the function")
    seed_argument: str | None = Field(None, description="the function's argument that gets the seed: 0, 1, ...")
    columns: Annotated[dict[str, ColumnSpec] | None, IsLabel()] = Field(None, description="the function's metrics")
    space: dict[str, Setting] = Field(
        min_length=1, description="field of the recipe, or argument of the function, to its distribution"
    )
    goals: tuple[GoalSpec, ...] = Field(min_length=1, description="several give a Pareto front")
    target: Target | None = Field(None, description="a level; its columns are steps_to_target and target_reached")
    sampler: SamplerSpec = Tpe()
    pruner: PrunerSpec = NoPruner()
    budget: Annotated[Budget, IsAxis()] = Field(
        description="units, seconds or flops, and in_vain (100): so many trials in a row that fail, or add nothing to "
        "seconds or flops, end the search too. It may grow"
    )
    seeds: int = Field(1, ge=1, description="a trial is computed with the seeds 0, 1, ... and judged by the mean")
    generation: int = Field(32, ge=1, description="trials that are asked for at once; they train as packs")
    deterministic: bool = Field(
        True,
        description="a generation begins when the last has ended: the same trials whatever order units end in. "
        "Without it workers never wait. qmc, cmaes and nsga2 always wait",
    )
    search_seed: int = Field(0, ge=0, description="of the sampler")
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
        return {**super().context(), **counting}

    def dimensions(self) -> tuple[Dimension, ...]:
        """The settings, each after those that it depends on."""
        return flat(self.space)

    def start(self) -> tuple[dict[str, Value], ...]:
        """The first trials, as the planner takes them."""
        return tuple({name: plain(value) for name, value in point.items()} for point in self.enqueue)

    @model_validator(mode="after")
    def _one_thing_is_computed(self) -> Self:
        if (self.recipe is None) == (self.function is None):
            raise ValueError("a search is of either a `recipe` or a `function`")
        if self.recipe is not None:
            if given := [f for f in ("setup", "fixed", "seed_argument", "columns") if getattr(self, f)]:
                raise ValueError(f"{given} belong to a function; this search has a recipe")
        elif self.seeds > 1 and self.seed_argument is None:
            raise ValueError("seeds: to run a function with several seeds, name its argument under `seed_argument`")
        if self.budget.flops is not None and self.columns is not None:
            flops = self.columns.get("flops")
            if flops is None or flops.type not in ("float", "int"):
                raise ValueError(
                    "budget.flops: the function declares no number `flops` among its columns, so nothing would use "
                    "this budget up; declare and return it, or give budget.units or budget.seconds"
                )
        if self.budget.units is not None and self.budget.units < self.seeds:
            raise ValueError(f"budget.units: {self.budget.units} are not enough for one trial of {self.seeds} seeds")
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> Self:
        dimensions = {d.name: d for d in self.dimensions()}
        if taken := sorted(_OWN & dimensions.keys()):
            raise ValueError(f"space: {taken} are columns of the rows, so no setting can be called so")
        for i, point in enumerate(self.start()):
            for name, value in point.items():
                if name not in dimensions:
                    raise ValueError(f"enqueue.{i}: there is no setting {name!r}; there are {', '.join(dimensions)}")
                if not dimensions[name].holds(value):
                    ends = list(dimensions[name].setting.edges())
                    raise ValueError(f"enqueue.{i}.{name}: {value!r} can't be drawn; it is one of, or between, {ends}")
        recipes = TrialRecipes(self) if self.recipe is not None else None
        for told, values in trial_points(tuple(dimensions.values())):
            if recipes is not None:
                recipes.check(values)
                foresee_recipe(recipes.of(values, told))
            elif twice := sorted(arguments(self.space, values).keys() & {*self.fixed, self.seed_argument}):
                raise ValueError(f"space and fixed or seed_argument give the argument {twice[0]!r} twice; give it once")
        return self

    @model_validator(mode="after")
    def _goals_fit(self) -> Self:
        metrics = [g.metric for g in self.goals]
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"goals: the same metric stands there twice: {', '.join(metrics)}")
        known = self.metrics()
        for name in metrics:
            if name == _TARGET and self.target is None:
                raise ValueError(
                    "goals: steps_to_target needs a `target`, such as {metric: test_accuracy, at_least: 0.9}"
                )
            if known is not None and name not in known:
                raise ValueError(f"goals: there is no metric {name!r}; there are {', '.join(known)}")
        if self.deterministic and (slow := [m for m in metrics if m in _TIMES]):
            raise ValueError(
                f"goals: {slow[0]} differs from run to run, so the same search can't give the same trials; "
                "set `deterministic: false`"
            )
        return self

    @model_validator(mode="after")
    def _sampler_and_pruner_fit(self) -> Self:
        if isinstance(self.sampler, CmaEs):
            numbers = [d for d in self.dimensions() if d.setting.choice is None and not d.when]
            if len(self.goals) > 1 or len(numbers) < 2 or self.generation < 2:
                raise ValueError(
                    "sampler: cmaes needs one goal, two numeric settings that always exist, generation > 1"
                )
        if isinstance(self.pruner, NoPruner):
            return self
        if len(self.goals) > 1:
            raise ValueError("pruner: with several goals no trial is worse half-way; leave it out, or give one goal")
        metric, told = self.goals[0].metric, self.reported()
        if told is not None and metric not in told:
            raise ValueError(
                f"pruner: it compares {metric} while units run, but that is not reported; reported are "
                f"{', '.join(told) or 'none'}"
            )
        seen = self.recipe.evaluate if self.recipe is not None else None
        if seen is not None and seen.every_epochs is None and seen.every_steps is None:
            raise ValueError(
                "pruner: the recipe is evaluated only at its end; set evaluate.every_steps, or every_epochs"
            )
        return self

    def reported(self) -> list[str] | None:
        """Metrics that units report while they run; None: a function's are not known beforehand."""
        if self.recipe is None:
            return None
        seen = self.recipe.evaluate
        return [*(f"{s}_{m}" for s in seen.columns() for m in ("loss", "accuracy")), *seen.measured(), "batch_loss"]

    def metrics(self) -> list[str] | None:
        """Names that a goal may have; None: a function's are not known beforehand."""
        more = [*_TIMES, *([_TARGET] if self.target is not None else [])]
        if self.recipe is None:
            return None if self.columns is None else [*self.columns, *more]
        told = (self.reported() or [])[:-1]
        best = [f"best_{n}" for n in told if not n.startswith("train_") and n not in self.recipe.evaluate.measured()]
        return [*told, *best, "parameters", "flops", "steps_done", *more]

    def check_function(self, folder: Path) -> None:
        """Import the function, and compare its arguments with those that it would be given.

        Raises:
            SpecError: it can't be imported, does not take them, or never reports though a pruner waits for it.
        """
        assert self.function is not None
        function = imported("function", self.function, folder)
        if self.setup is not None:
            check_setup(imported("setup", self.setup, folder), self.setup)
        extra = [n for n in (self.seed_argument, "setup" if self.setup else None) if n]
        for _, values in trial_points(self.dimensions()):
            check_arguments(function, self.function, [*arguments(self.space, values), *self.fixed, *extra])
        follows = self.target is not None or not isinstance(self.pruner, NoPruner)
        if follows and not inspect.isgeneratorfunction(import_callable(self.function, folder)):
            what = "a target" if isinstance(self.pruner, NoPruner) else "a pruner"
            raise SpecError(f"{what} needs metrics while the function runs: let {self.function} yield them as dicts")
