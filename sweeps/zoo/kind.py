"""The zoo kind: thousands of models from one spec, and the zoo as a data set.

A spec is a base recipe and what is swept over any of its fields: axes, random samples, named recipes, seeds. Models
whose recipes have equal pack keys train as one stacked computation; each of them can be trained again alone, from its
key. `Zoo` reads what came out and needs no running sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Auditable, Ranked, Workbench
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.row import Column, RowMaker
from landsweep.orchestrator.unit import Keys
from landsweep.sweeps.lab.outline import foresee_recipe
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.branching import BEGUN, Points
from landsweep.sweeps.lab.training_units.columns import trained_columns
from landsweep.sweeps.lab.training_units.kind import PlannedPack, TrainedKind
from landsweep.sweeps.lab.training_units.recipes import short_path
from landsweep.sweeps.lab.training_units.session import TrainingSession
from landsweep.sweeps.zoo.branches import BranchPlanner, branched_columns
from landsweep.sweeps.zoo.defaults import refuse_wrong_defaults
from landsweep.sweeps.zoo.limits import limits_planner
from landsweep.sweeps.zoo.plan import Grid, ZooPlanner, evaluated_otherwise, packs_of
from landsweep.sweeps.zoo.recipes import ZooRecipes
from landsweep.sweeps.zoo.spec import BRANCH, ZooSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ZooKind", "ZooSpec"]


class ZooKind(TrainedKind[ZooSpec], Auditable[ZooSpec], Ranked[ZooSpec]):
    """Model zoos."""

    name: ClassVar[str] = "zoo"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "many models from one recipe: axes, random samples and seeds, with weights as a data set"
    spec = ZooSpec
    again: ClassVar[str] = "landsweep regenerate {folder} {key}"

    def example(self) -> ZooSpec:
        """Sixteen small perceptrons on the digits."""
        return ZooSpec.model_validate(
            {
                "kind": "zoo",
                "name": "zoo-example",
                "recipe": {
                    "data": {"source": "digits"},
                    "net": {"net": "mlp", "hidden": [8]},
                    "optimizer": {"method": "sgd", "momentum": 0.9},
                    "steps": 40,
                    "batch_size": 32,
                    "evaluate": {"every_steps": 20},
                    "checkpoints": {"at_steps": [0, 20]},
                },
                "axes": {"net.hidden.0": [4, 8], "optimizer.learning_rate": [0.01, 0.1]},
                "seeds": {"range": 4},
                "backend": "bmm",
            }
        )

    def params(self, spec: ZooSpec) -> tuple[Column, ...]:
        return branched_columns(spec)

    def columns(self, spec: ZooSpec) -> tuple[Column, ...]:
        begun = (BEGUN,) if spec.branches else ()
        return (*trained_columns(spec.recipe, evaluated_otherwise(spec)), *begun)

    def planner(self, spec: ZooSpec) -> Planner:
        keys = Keys(self.name, self.version, spec.context(), spec.defaults())
        if spec.bisect is not None:
            return limits_planner(spec, keys, RowMaker(self.params(spec), self.columns(spec)).schema())
        return BranchPlanner(spec, keys) if spec.branches else ZooPlanner(spec, keys)

    def validate(self, spec: ZooSpec) -> None:
        """Make a recipe with each value of each field once, to find a wrong one before any work."""
        recipes = ZooRecipes(spec)
        places = {short_path(path): "samples.draw" for path in (spec.samples.fields if spec.samples else ())}
        if spec.bisect is not None:
            places[short_path(spec.bisect.over)] = "bisect.over"
        for name, params in Grid(spec).trials():
            recipes.check(params, places)
            foresee_recipe(recipes.of(params, name))
            for branch in spec.branches:
                recipes.of({**params, BRANCH: branch}, f"{name}, branch {branch}")
        refuse_wrong_defaults(spec)
        if spec.bisect is not None:
            self.planner(spec)

    def recipes(self, spec: ZooSpec) -> ZooRecipes:
        return ZooRecipes(spec)

    def packs(self, spec: ZooSpec) -> dict[str, PlannedPack]:
        recipes = ZooRecipes(spec)
        return {key: PlannedPack(recipes.of(units[0]), len(units)) for key, units in packs_of(spec).items()}

    def planned_recipes(self, spec: ZooSpec) -> Iterator[Recipe]:
        """The recipe of every main run, since values that are valid alone may not fit together."""
        recipes = ZooRecipes(spec)
        return (recipes.of(params, f"the recipe with {dict(params)}") for params in Grid(spec))

    def open(self, spec: ZooSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> TrainingSession:
        recipes = ZooRecipes(spec)
        points = Points(bench.artifacts, recipes) if spec.branches else None
        return TrainingSession(spec.backend, recipes, bench, prepared, points)

    def audit(self, spec: ZooSpec, rows: pd.DataFrame, bench: Workbench, n: int) -> list[str]:
        """Evaluate the stored weights of `n` models again; a line for each that disagrees with its row."""
        from landsweep.sweeps.lab.trained_models.model_files import ModelFiles
        from landsweep.sweeps.lab.trained_models.reader import Zoo
        from landsweep.sweeps.zoo.audit import reevaluate

        del spec
        if bench.artifacts is None:
            raise SpecError("--reevaluate reads weights from the results, and this sweep has none")
        models = ModelFiles(bench.artifacts.where, trust=bench.trust, whole=False)  # `verify` names what is damaged
        return reevaluate(Zoo(models), rows, bench, n)

    def tracked(self, spec: ZooSpec, rows: pd.DataFrame) -> pd.DataFrame:
        """Models by test accuracy, or by loss if targets are no classes."""
        from landsweep.sweeps.zoo.report import metric_of

        del spec
        metric = metric_of(rows)
        return rows.sort_values(metric, ascending=metric.endswith("loss"), kind="stable") if metric in rows else rows

    def report(self, spec: ZooSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.sweeps.zoo.report import zoo_report

        names = {"recipe": tuple(spec.recipes), "branch": tuple(spec.branches)}
        report = zoo_report([c.name for c in self.params(spec)], rows, series, names)
        ended = rows[rows["status"].isin(["ok", "diverged"])] if len(rows) else rows
        if spec.bisect is not None and len(ended):
            from landsweep.sweeps.zoo.limits_report import with_limits

            report = with_limits(report, spec, rows)
        if not spec.targets or not len(ended):
            return report
        from landsweep.sweeps.zoo.algoperf_report import with_targets

        return with_targets(report, ended, series, spec.targets)
