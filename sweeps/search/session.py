"""A search on one worker: trainings, calls or programs, and the columns that only a search's goals need."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.kind import Arrays, Session, Workbench
from landsweep.orchestrator.row import Cause, Metric, Outcome, Progress, Status
from landsweep.orchestrator.search.samplers import NoPruner
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.callables.calls import call_setup
from landsweep.sweeps.lab.callables.results import missing_goal
from landsweep.sweeps.lab.callables.session import CallableSession
from landsweep.sweeps.lab.flops import training_flops
from landsweep.sweeps.lab.programs.attempt import Wanted
from landsweep.sweeps.lab.programs.session import ProgramSession
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.calendar import Calendar, samples_seen
from landsweep.sweeps.lab.training_units.session import DataSets, TrainingSession
from landsweep.sweeps.search.spec import SearchSpec, Target
from landsweep.sweeps.search.trials import TrialRecipes, arguments

__all__ = ["CodeTrials", "RecipeTrials"]

_NOT_REPORTED = {"seconds", "cpu_seconds", "peak_memory", "steps_to_target"}  # columns that rows get elsewhere


class _Watched:
    """Follows what units report, to say after how many steps the target was reached."""

    def __init__(self, inner: Session, target: Target | None) -> None:
        self._inner = inner
        self._target = target
        self._hit: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """What the inner session gives, the rows with the columns of the target."""
        for item in self._inner.evaluate(units):
            if isinstance(item, Progress):
                self._follow(item)
                yield item
            elif item is None or item.status is Status.failed:
                yield item
            else:
                yield replace(item, metrics={**item.metrics, **self._reached(item)})

    def _follow(self, p: Progress) -> None:
        """Note the step, and whether the target is reached for the first time."""
        self._last[p.key] = p.step
        value = p.metrics.get(self._target.metric, math.nan) if self._target is not None else math.nan
        if self._target is not None and p.key not in self._hit and self._target.reached(value):
            self._hit[p.key] = p.step

    def _reached(self, outcome: Outcome) -> dict[str, Metric]:
        """Steps to the target. One that was not reached is censored: the whole length, and a flag that says so."""
        if self._target is None:
            return {}
        hit = self._hit.pop(outcome.key, None)
        whole = self.length(outcome.key)
        self._last.pop(outcome.key, None)
        return {"steps_to_target": whole if hit is None else hit, "target_reached": hit is not None}

    def length(self, key: str) -> int:
        """Steps of a whole training; of a function those that it has reported."""
        return self._last.get(key, 0)


class CodeTrials(_Watched):
    """Calls a function, or starts a program, with the settings of a trial.

    Args:
        spec: of the search.
        bench: of this worker.
    """

    def __init__(self, spec: SearchSpec, bench: Workbench) -> None:
        super().__init__(_program(spec, bench) if spec.command is not None else _callable(spec, bench), spec.target)
        self._spec = spec
        self._seed = "seed" if spec.command is not None else spec.seed_argument

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """One call or process for each unit; one that gives no number for a goal fails."""
        goals = _reported_goals(self._spec)
        for item in super().evaluate([Unit(u.key, self._arguments(u)) for u in units]):
            if isinstance(item, Outcome) and item.status is Status.ok:
                problem = missing_goal(goals, item.metrics, "function")
                item = replace(item, status=Status.failed, error=problem, cause=Cause.error) if problem else item
            yield item

    def _arguments(self, unit: Unit) -> dict[str, Metric]:
        seed = {self._seed: unit.params["seed"]} if self._seed is not None else {}
        return {**arguments(self._spec.space, unit.params), **seed}


def _reported_goals(spec: SearchSpec) -> tuple[str, ...]:
    """The goals that a function or program must give itself."""
    return tuple(g.metric for g in spec.goals if g.metric not in _NOT_REPORTED)


def _callable(spec: SearchSpec, bench: Workbench) -> CallableSession:
    assert spec.function is not None
    fixed = dict(spec.fixed)
    if spec.setup is not None:
        fixed["setup"] = call_setup(import_callable(spec.setup, bench.folder), bench)
    return CallableSession(import_callable(spec.function, bench.folder), fixed, None, spec.types, bench)


def _program(spec: SearchSpec, bench: Workbench) -> ProgramSession:
    assert spec.command is not None
    goals = _reported_goals(spec)
    series = () if isinstance(spec.pruner, NoPruner) else goals[:1]
    target = () if spec.target is None else (spec.target.metric,)
    return ProgramSession(spec.command, spec.types, bench, Wanted(goals, (*series, *target)))


class RecipeTrials(_Watched):
    """Trains the models of trials in packs.

    Args:
        spec: of the search.
        prepared: the back-end and size that was timed for each pack, by name of the preparation.
        bench: of this worker.
    """

    def __init__(self, spec: SearchSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> None:
        self._recipes = TrialRecipes(spec)
        super().__init__(TrainingSession(spec.backend, self._recipes, bench, prepared), spec.target)
        self._data = DataSets(bench)
        self._bench = bench
        self._flops: dict[str, int] = {}
        self._running: dict[str, Recipe] = {}

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """The rows of a zoo, with the operations that they took."""
        self._running = {u.key: self._recipes.of(u.params) for u in units}
        for item in super().evaluate(units):
            if isinstance(item, Outcome) and item.status is not Status.failed:
                recipe, steps = self._running[item.key], int(item.metrics.get("steps_done") or 0)
                seen = samples_seen(recipe, self._samples(recipe), steps)
                yield replace(item, metrics={**item.metrics, "flops": float(self._sample_flops(recipe) * seen)})
            else:
                yield item

    def length(self, key: str) -> int:
        recipe = self._running[key]
        return Calendar.of(recipe, self._samples(recipe)).total

    def _samples(self, recipe: Recipe) -> int:
        return max(1, round(len(self._data.of(recipe).splits[recipe.split]) * recipe.train_fraction))

    def _sample_flops(self, recipe: Recipe) -> int:
        key = recipe.pack_key()
        if key not in self._flops:
            self._flops[key] = training_flops(recipe, self._data.of(recipe), self._bench.folder)
        return self._flops[key]
