"""The scaling kind: budgets in, laws out, and a larger run that puts the prediction to the test.

A study plans which sizes of a family train for how many steps, from budgets in FLOPs (iso-FLOP) or from ratios of
tokens to parameters, trains them in packs, and fits a law to the rows in its report. Where `validate` asks for it,
the planner then proposes runs larger than all that were fitted, of the size that the fit holds best.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.kind import Arrays, Costed, Costs, Ranked, Session, Workbench
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.unit import Keys
from landsweep.sweeps.lab.training_units.columns import trained_columns
from landsweep.sweeps.lab.training_units.kind import PlannedPack, TrainedKind
from landsweep.sweeps.scaling.checks import check_own_sizes, check_study
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.plan import PARAMS, Proposal, ScalingPlanner, cells
from landsweep.sweeps.scaling.recipes import StudyRecipes
from landsweep.sweeps.scaling.session import COUNTS, FEATURE_COLUMNS, FeatureStudy, TrainedStudy
from landsweep.sweeps.scaling.spec import ScalingSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScalingKind", "ScalingSpec"]


class ScalingKind(TrainedKind[ScalingSpec], Costed[ScalingSpec], Ranked[ScalingSpec]):
    """Scaling-law studies."""

    name: ClassVar[str] = "scaling"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = (
        "sizes and horizons from budgets in FLOPs, a law fitted to them, and a larger run to test it"
    )
    spec = ScalingSpec

    def example(self) -> ScalingSpec:
        """Eight perceptrons that learn from a teacher, and a ninth of the size that the fit holds best."""
        return ScalingSpec.model_validate(
            {
                "kind": "scaling",
                "name": "scaling-example",
                "recipe": {
                    "data": {"source": "teacher_student", "features": 8, "hidden": [16], "train": 2048, "test": 256},
                    "net": {"net": "mlp", "hidden": [4]},
                    "optimizer": {"method": "adam", "learning_rate": 0.03},
                    "batch_size": 64,
                    "evaluate": {"splits": ["test"], "every_steps": 10},
                    "checkpoints": {"last": False},
                },
                "widths": [2, 4, 8, 16],
                "budgets": [2e5, 6e5],
                "limits": {"least_steps": 3},
                "seeds": {"range": 2},
                "validate": {"budgets": [2e6]},
                "bootstrap": 100,
                "backend": "loop",
            }
        )

    def validate(self, spec: ScalingSpec) -> None:
        check_study(spec)

    def check(self, spec: ScalingSpec, bench: Workbench) -> None:
        """Also compare own networks with what their size rule says.

        Raises:
            SpecError: parts of the recipe do not fit, or a network has another size than was declared.
        """
        super().check(spec, bench)
        check_own_sizes(spec, bench.folder)

    def params(self, spec: ScalingSpec) -> tuple[Column, ...]:
        del spec
        return PARAMS

    def columns(self, spec: ScalingSpec) -> tuple[Column, ...]:
        if spec.recipe is None:
            return FEATURE_COLUMNS
        return (*trained_columns(spec.recipe), *COUNTS)

    def planner(self, spec: ScalingSpec) -> ScalingPlanner:
        def propose(rows: Sequence[Mapping[str, Any]]) -> Sequence[Proposal]:
            from landsweep.sweeps.scaling.study import proposals

            return proposals(spec, rows)

        recipes = None if spec.recipe is None else StudyRecipes(spec)

        def pack(params: Mapping[str, Value]) -> str:
            return "" if recipes is None else recipes.of(params).pack_key()

        return ScalingPlanner(spec, Keys(self.name, self.version, spec.context()), propose, pack)

    def recipes(self, spec: ScalingSpec) -> StudyRecipes:
        return StudyRecipes(spec)

    def packs(self, spec: ScalingSpec) -> dict[str, PlannedPack]:
        """Of the runs that are fitted."""
        if spec.recipe is None:
            return {}
        recipes, units = StudyRecipes(spec), len(spec.rates) * len(spec.seeds)
        packs: dict[str, PlannedPack] = {}
        for cell in cells(spec, Ladder(spec)):
            params: dict[str, Value] = {"width": cell.size.width, "steps": cell.steps}
            recipe = recipes.of({**params, "learning_rate": spec.base_rate, "seed": 0})
            packs.setdefault(recipe.pack_key(), PlannedPack(recipe, units))
        return packs

    def open(self, spec: ScalingSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> Session:
        if spec.recipe is None:
            return FeatureStudy(spec)
        return TrainedStudy(spec, prepared, bench)

    def costs(self, spec: ScalingSpec, done: Collection[str], bench: Workbench) -> Costs:
        """Seconds of each size and horizon, from timing single steps of the smaller sizes."""
        from landsweep.sweeps.scaling.costs import study_costs

        return study_costs(spec, [u for u in self.planner(spec).fitted if u.key not in done], bench)

    def tracked(self, spec: ScalingSpec, rows: pd.DataFrame) -> pd.DataFrame:
        """Runs by test loss within their size and horizon: what the law is fitted to comes first."""
        from landsweep.sweeps.lab.training_units.ranking import best_of_each
        from landsweep.sweeps.scaling.study import CELL

        del spec
        return best_of_each(rows, CELL, "test_loss")

    def report(self, spec: ScalingSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.sweeps.scaling.report import study_report

        return study_report(spec, rows, series)
