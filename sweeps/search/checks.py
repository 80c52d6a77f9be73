"""What the fields of a search must be together: one thing to compute, settings that it takes, goals that rows have."""

from __future__ import annotations

import inspect
from pathlib import Path

from landsweep.orchestrator.callables import import_callable
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import METERS
from landsweep.orchestrator.search.samplers import CmaEs, Explore, NoPruner
from landsweep.sweeps.lab.callables.calls import check_arguments, check_setup, imported
from landsweep.sweeps.lab.outline import foresee_recipe
from landsweep.sweeps.lab.programs.spec import Program
from landsweep.sweeps.search.spec import SearchSpec
from landsweep.sweeps.search.trials import TRIAL, TrialRecipes, arguments, trial_points

__all__ = ["check_function", "check_search", "goal_metrics", "reported_metrics"]

_TARGET = "steps_to_target"
_TIMES = ("seconds", "cpu_seconds", "peak_memory")
_COLUMNS = {"key", TRIAL, "seed", *(c.name for c in METERS)}  # of every row; settings are columns beside them


def check_search(spec: SearchSpec) -> None:
    """Refuse a search that computes nothing or two things, or whose settings, goals or pruner its trials don't have.

    Raises:
        SpecError: names the field, what was given and what is allowed.
    """
    _check_subject(spec)
    _check_names(spec)
    _check_start(spec)
    _check_edges(spec)
    _check_goals(spec)
    _check_sampler(spec)
    _check_pruner(spec)


def reported_metrics(spec: SearchSpec) -> list[str] | None:
    """Metrics that units report while they run; None: a function's are not known beforehand."""
    if spec.recipe is None:
        return None
    evaluate = spec.recipe.evaluate
    evaluated = [f"{split}_{metric}" for split in evaluate.columns() for metric in ("loss", "accuracy")]
    return [*evaluated, *evaluate.measured(), "batch_loss"]


def goal_metrics(spec: SearchSpec) -> list[str] | None:
    """Names that a goal may have; None: a function's are not known beforehand."""
    of_all = [*_TIMES, *([_TARGET] if spec.target is not None else [])]
    if spec.recipe is None:
        return None if spec.columns is None else [*spec.columns, *of_all]
    evaluate = spec.recipe.evaluate
    evaluated = [name for name in reported_metrics(spec) or () if name != "batch_loss"]
    best = [f"best_{n}" for n in evaluated if not n.startswith("train_") and n not in evaluate.measured()]
    return [*evaluated, *best, "parameters", "flops", "steps_done", *of_all]


def check_function(spec: SearchSpec, folder: Path) -> None:
    """Import the function, and compare its arguments with those that it would be given.

    Args:
        spec: of a search of a function.
        folder: that modules are looked for in, too.

    Raises:
        SpecError: it can't be imported, does not take them, or never reports though a target or a pruner needs it to.
    """
    assert spec.function is not None
    function = imported("function", spec.function, folder)
    if spec.setup is not None:
        check_setup(imported("setup", spec.setup, folder), spec.setup)
    extra = [n for n in (spec.seed_argument, "setup" if spec.setup else None) if n]
    for _, values in trial_points(spec.dimensions()):
        check_arguments(function, spec.function, [*arguments(spec.space, values), *spec.fixed, *extra])
    reports = inspect.isgeneratorfunction(import_callable(spec.function, folder))
    if reports or (spec.target is None and isinstance(spec.pruner, NoPruner)):
        return
    reader = "a target" if isinstance(spec.pruner, NoPruner) else "a pruner"
    raise SpecError(f"{reader} needs metrics while the function runs: let {spec.function} yield them as dicts")


def _check_subject(spec: SearchSpec) -> None:
    """Either a recipe or a function, with no field of the other, and a budget that its trials use up."""
    subjects = [name for name in ("recipe", "function", "command") if getattr(spec, name) is not None]
    if len(subjects) != 1:
        given = f"; given are {' and '.join(subjects)}" if subjects else ""
        raise SpecError(f"a search is of either a `recipe`, a `function` or a `command`{given}")
    foreign = () if spec.function is not None else ("setup", "fixed", "seed_argument")
    if given_fields := [f for f in (*foreign, *(("columns",) if spec.recipe is not None else ())) if getattr(spec, f)]:
        raise SpecError(f"{given_fields} belong to a function; this search has a {subjects[0]}")
    if spec.command is not None:
        _check_command(spec, spec.command)
    elif spec.function is not None and spec.seeds > 1 and spec.seed_argument is None:
        raise SpecError("seeds: to run a function with several seeds, name its argument under `seed_argument`")
    if spec.budget.flops is not None and spec.columns is not None:
        flops = spec.columns.get("flops")
        if flops is None or flops.type not in ("float", "int"):
            raise SpecError(
                "budget.flops: no number `flops` is declared among the columns, so nothing would use this budget up; "
                "declare and report it, or give budget.units or budget.seconds"
            )
    if spec.budget.units is not None and spec.budget.units < spec.seeds:
        raise SpecError(f"budget.units: {spec.budget.units} are not enough for one trial of {spec.seeds} seeds")


def _check_command(spec: SearchSpec, program: Program) -> None:
    """Each setting stands in the command, and each placeholder has a value in every trial."""
    trials = [(source, arguments(spec.space, values)) for source, values in trial_points(spec.dimensions())]
    names = dict.fromkeys(name for _, trial in trials for name in trial)
    if (complaint := program.complaint(names)) is not None:
        raise SpecError(f"command: {complaint}")
    for source, trial in trials:
        if missing := program.missing(trial):
            raise SpecError(
                f"command: {{{missing[0]}}} has no value where {source} is chosen. Put the words that need it into a "
                f"list of their own, such as [--{missing[0]}, '{{{missing[0]}}}'], which is left out there"
            )
    if spec.seeds > 1 and "seed" not in program.names():
        raise SpecError("seeds: to run a program with several seeds, write {seed} into its command")


def _check_names(spec: SearchSpec) -> None:
    """No setting is called as a column that all rows have."""
    if taken := sorted(_COLUMNS & {d.name for d in spec.dimensions()}):
        raise SpecError(f"space: {taken} are columns of the rows, so no setting can have such a name")


def _check_start(spec: SearchSpec) -> None:
    """The first trials could have been drawn."""
    dimensions = {d.name: d for d in spec.dimensions()}
    for i, point in enumerate(spec.start()):
        for name, value in point.items():
            if name not in dimensions:
                raise SpecError(f"enqueue.{i}: there is no setting {name!r}; there are {', '.join(dimensions)}")
            if not dimensions[name].holds(value):
                ends = list(dimensions[name].setting.edges())
                raise SpecError(f"enqueue.{i}.{name}: {value!r} can't be drawn; it is one of, or between, {ends}")


def _check_edges(spec: SearchSpec) -> None:
    """Each extreme value of each setting gives a valid recipe, or arguments without a duplicate."""
    recipes = TrialRecipes(spec) if spec.recipe is not None else None
    for source, values in trial_points(spec.dimensions()):
        if recipes is not None:
            recipes.check(values)
            foresee_recipe(recipes.of(values, source))
        elif twice := sorted(arguments(spec.space, values).keys() & {*spec.fixed, spec.seed_argument}):
            raise SpecError(f"space and fixed or seed_argument give the argument {twice[0]!r} twice; give it once")


def _check_goals(spec: SearchSpec) -> None:
    """Goals are different metrics that rows have, and the same in every run where trials must be."""
    metrics = [g.metric for g in spec.goals]
    if len(set(metrics)) < len(metrics):
        raise SpecError(f"goals: the same metric stands there twice: {', '.join(metrics)}")
    allowed = goal_metrics(spec)
    for name in metrics:
        if name == _TARGET and spec.target is None:
            raise SpecError("goals: steps_to_target needs a `target`, such as {metric: test_accuracy, at_least: 0.9}")
        if allowed is not None and name not in allowed:
            raise SpecError(f"goals: there is no metric {name!r}; there are {', '.join(allowed)}")
    if spec.deterministic and (times := [m for m in metrics if m in _TIMES]):
        raise SpecError(
            f"goals: {times[0]} differs from run to run, so the same search can't give the same trials; "
            "set `deterministic: false`"
        )


def _check_sampler(spec: SearchSpec) -> None:
    """Exploring learns one surface. CMA-ES adapts a covariance of at least two numbers, from several trials at once."""
    if isinstance(spec.sampler, Explore) and len(spec.goals) > 1:
        raise SpecError("sampler: explore learns the surface of one goal; leave the others out of `goals`")
    if not isinstance(spec.sampler, CmaEs):
        return
    numbers = [d for d in spec.dimensions() if d.setting.choice is None and not d.when]
    if len(spec.goals) > 1 or len(numbers) < 2 or spec.generation < 2:
        raise SpecError("sampler: cmaes needs one goal, two numeric settings that always exist, generation > 1")


def _check_pruner(spec: SearchSpec) -> None:
    """A pruner compares one goal, which units report before their end."""
    if isinstance(spec.pruner, NoPruner):
        return
    if len(spec.goals) > 1:
        raise SpecError("pruner: with several goals no trial is worse half-way; leave it out, or give one goal")
    metric, reported = spec.goals[0].metric, reported_metrics(spec)
    if reported is not None and metric not in reported:
        raise SpecError(
            f"pruner: it compares {metric} while units run, but that is not reported; reported are "
            f"{', '.join(reported) or 'none'}"
        )
    if spec.recipe is None:
        return
    evaluate = spec.recipe.evaluate
    if evaluate.every_epochs is None and evaluate.every_steps is None:
        raise SpecError("pruner: the recipe is evaluated only at its end; set evaluate.every_steps, or every_epochs")
