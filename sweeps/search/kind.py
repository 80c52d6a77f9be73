"""The search kind: settings of a recipe, a function or a program, chosen by Optuna, judged by one goal or several.

A trial is one choice of settings; it is computed with one seed or more, and each of these is a unit. Trials that can
train as packs do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.kind import Arrays, Ranked, Session, Workbench
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.row import Column, param_columns
from landsweep.orchestrator.search.space import Dimension
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.lab.programs.checks import check_program
from landsweep.sweeps.lab.training_units.columns import trained_columns
from landsweep.sweeps.lab.training_units.kind import PlannedPack, TrainedKind
from landsweep.sweeps.search.checks import check_function, check_search
from landsweep.sweeps.search.spec import SearchSpec
from landsweep.sweeps.search.trials import TRIAL, TrialRecipes, recipes_by_pack

if TYPE_CHECKING:
    import pandas as pd

    from landsweep.orchestrator.search import Search

__all__ = ["SearchKind", "SearchSpec", "search_of"]

_FLOPS = Column("flops", "of all forward and backward passes: matrix products and convolutions", "FLOP")
_TARGET = (
    Column("steps_to_target", "steps after which the target was first met; not met: all steps", type="int"),
    Column("target_reached", "whether the target was met; if not, steps_to_target is a lower bound", type="bool"),
)


def search_of(spec: SearchSpec) -> Search:
    """What the planner is asked for."""
    from landsweep.orchestrator.search import Goal, Search

    return Search(
        name=spec.name,
        dimensions=spec.dimensions(),
        goals=tuple(Goal(g.metric, g.minimise is not None) for g in spec.goals),
        sampler=spec.sampler,
        pruner=spec.pruner,
        budget=spec.budget,
        generation=spec.generation,
        seeds=spec.seeds,
        deterministic=spec.deterministic,
        seed=spec.search_seed,
        start=spec.start(),
    )


class SearchKind(TrainedKind[SearchSpec], Ranked[SearchSpec]):
    """Searches over settings."""

    name: ClassVar[str] = "search"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "settings of a recipe, a function or a program, chosen by Optuna for one goal or several"
    spec = SearchSpec

    def example(self) -> SearchSpec:
        """Two optimizers with settings of their own, small perceptrons on the digits."""
        return SearchSpec.model_validate(
            {
                "name": "search-example",
                "recipe": {
                    "data": {"source": "digits"},
                    "net": {"net": "mlp", "hidden": [8]},
                    "steps": 40,
                    "batch_size": 32,
                    "evaluate": {"every_steps": 20},
                },
                "space": {
                    "optimizer": {
                        "choice": {
                            "sgd": {
                                "learning_rate": {"log_uniform": [0.001, 1]},
                                "momentum": {"uniform": [0, 0.95], "step": 0.05},
                            },
                            "adam": {"learning_rate": {"log_uniform": [0.0001, 0.1]}},
                        }
                    },
                    "net.hidden.0": {"integer": [4, 16], "step": 4},
                },
                "goals": [{"minimise": "test_loss"}],
                "target": {"metric": "test_accuracy", "at_least": 0.6},
                "sampler": {"method": "tpe", "n_startup_trials": 6},
                "budget": {"units": 24},
                "generation": 8,
                "enqueue": [{"optimizer": "sgd", "optimizer.sgd.learning_rate": 0.1}],
                "backend": "bmm",
            }
        )

    def validate(self, spec: SearchSpec) -> None:
        check_search(spec)

    def params(self, spec: SearchSpec) -> tuple[Column, ...]:
        columns = [Column(TRIAL, "number of the trial", type="int")]
        for d in spec.dimensions():
            columns.append(_column(d))
        return (*columns, Column("seed", "of all random streams of the unit", type="int"))

    def columns(self, spec: SearchSpec) -> tuple[Column, ...] | None:
        target = _TARGET if spec.target is not None else ()
        if spec.recipe is not None:
            otherwise = any(name.partition(".")[0] == "evaluate" for name in spec.space)
            others = recipes_by_pack(spec).values() if otherwise else ()
            return (*trained_columns(spec.recipe, others), _FLOPS, *target)
        if spec.columns is None:
            return None
        return (*(Column(name, c.doc, c.unit, c.type) for name, c in spec.columns.items()), *target)

    def planner(self, spec: SearchSpec) -> Planner:
        from landsweep.orchestrator.search import StudyPlanner

        keys = Keys(self.name, self.version, spec.context())
        recipes = TrialRecipes(spec) if spec.recipe is not None else None

        def units(number: int, values: Mapping[str, Value]) -> Sequence[Unit]:
            pack = recipes.of(values).pack_key() if recipes is not None else ""
            return [keys.unit({TRIAL: number, **values, "seed": seed}, pack=pack) for seed in range(spec.seeds)]

        return StudyPlanner(search_of(spec), units)

    def recipes(self, spec: SearchSpec) -> TrialRecipes:
        return TrialRecipes(spec)

    def packs(self, spec: SearchSpec) -> dict[str, PlannedPack]:
        if spec.recipe is None:
            return {}
        units = spec.generation * spec.seeds
        return {key: PlannedPack(recipe, units) for key, recipe in recipes_by_pack(spec).items()}

    def light(self, spec: SearchSpec) -> bool:
        return spec.recipe is None

    def in_words(self, spec: SearchSpec) -> list[str]:
        goals = ", ".join(f"{'minimise' if goal.minimise else 'maximise'} {goal.metric}" for goal in spec.goals)
        names = ", ".join(dimension.name for dimension in spec.dimensions())
        return [*super().in_words(spec), f"Optuna's sampler {spec.sampler.method} chooses {names}, to {goals}."]

    def check(self, spec: SearchSpec, bench: Workbench) -> None:
        """Load the data and build a network for each pack key; or import the function, or look for the program.

        Raises:
            SpecError: parts of a recipe do not fit, a function does not take its arguments, or a program is not there.
        """
        if spec.command is not None:
            check_program(spec.command, bench.folder)
        elif spec.recipe is None:
            check_function(spec, bench.folder)
        else:
            super().check(spec, bench)

    def open(self, spec: SearchSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> Session:
        from landsweep.sweeps.search.session import CodeTrials, RecipeTrials

        return CodeTrials(spec, bench) if spec.recipe is None else RecipeTrials(spec, prepared, bench)

    def tracked(self, spec: SearchSpec, rows: pd.DataFrame) -> pd.DataFrame:
        """Units by the first goal; pruned ones after those that ran to their end."""
        goal = spec.goals[0]
        if goal.metric not in rows:
            return rows
        ended = rows.assign(_ended=rows["status"] == "ok")
        order = ended.sort_values(["_ended", goal.metric], ascending=[False, goal.minimise is not None], kind="stable")
        return order.drop(columns="_ended")

    def report(self, spec: SearchSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.sweeps.search.report import search_report

        return search_report(spec, search_of(spec), rows, series)


def _column(d: Dimension) -> Column:
    doc = f"setting {d.name}" + (f", where {', '.join(d.when)} is chosen so" if d.when else "")
    if d.setting.choice is not None:
        (column,) = param_columns({d.name: d.setting.options()}, {d.name: doc})
        return column
    return Column(d.name, doc, type="int" if d.setting.whole else "float")
