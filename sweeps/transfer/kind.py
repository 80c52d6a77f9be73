"""The transfer kind: which learning rate is best in which size, and whether that of a small model serves a large one.

One recipe, in several widths, depths, batch sizes or horizons, at several learning rates, from several seeds, and under
several parametrizations. Beside the curves a coordinate check and the sharpness along training, which explain them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Arrays, Ranked, Workbench
from landsweep.orchestrator.report.parts import Report
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.unit import Keys
from landsweep.sweeps.lab.outline import foresee_recipe
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.columns import trained_columns
from landsweep.sweeps.lab.training_units.kind import PlannedPack, TrainedKind
from landsweep.sweeps.transfer.plan import TransferPlanner
from landsweep.sweeps.transfer.recipes import COORDINATES, CURVE, PART, SizedRecipes
from landsweep.sweeps.transfer.session import TransferSession
from landsweep.sweeps.transfer.spec import TransferSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TransferKind", "TransferSpec"]

_JUDGED = (
    Column("loss", "objective at the end, at most that of the initial weights; of diverged models just that"),
    Column("initial_loss", "objective of the initial weights"),
    Column("target_step", "first evaluated step at which the objective was at most the target", type="int"),
)  # fmt: skip


class TransferKind(TrainedKind[TransferSpec], Ranked[TransferSpec]):
    """Learning-rate transfer."""

    name: ClassVar[str] = "transfer"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "whether the best learning rate carries over to other widths, depths, batches or horizons"
    spec = TransferSpec

    def example(self) -> TransferSpec:
        """Two widths under two parametrizations, five rates."""
        mup = {"parametrization": {"scheme": "mup", "base_width": 8}}
        return TransferSpec.model_validate(
            {
                "kind": "transfer",
                "name": "transfer-example",
                "recipe": {
                    "data": {"source": "digits"},
                    "net": {"net": "mlp", "hidden": [8, 8]},
                    "optimizer": {"method": "adam"},
                    "steps": 12,
                    "batch_size": 64,
                    "evaluate": {"splits": ["train"], "every_steps": 6},
                    "checkpoints": {"last": False},
                },
                "values": [8, 16],
                "rates": {"log2": [-10, -2, 5]},
                "recipes": {"standard": {}, "mup": mup},
                "seeds": [0, 1],
                "coordinates": {"learning_rate": 0.05, "seeds": [0]},
                "sharpness": {"learning_rate": 0.01, "times": 3, "first": 64, "products": 6},
                "backend": "bmm",
            }
        )

    def validate(self, spec: TransferSpec) -> None:
        """Make every recipe in every size once, so that a width that can't be is refused before any work."""
        recipes = SizedRecipes(spec)
        for params in recipes.sizes():
            foresee_recipe(recipes.of(params))

    def params(self, spec: TransferSpec) -> tuple[Column, ...]:
        named = (Column("recipe", "name of the recipe", type="text"),) if spec.recipes else ()
        return (
            *named,
            Column(PART, "what the unit is for: curve, coordinates or sharpness", type="text"),
            Column(spec.over, f"{spec.over} of the network or its training", type="int"),
            Column("learning_rate", "highest of the schedule; that of the base, which a parametrization scales"),
            Column("seed", "of all random streams: initialisation, data order, dropout, noise", type="int"),
        )

    def columns(self, spec: TransferSpec) -> tuple[Column, ...]:
        recipes = SizedRecipes(spec)
        return (*_JUDGED, *trained_columns(spec.recipe, (recipes.of(params) for params in recipes.sizes())))

    def planner(self, spec: TransferSpec) -> TransferPlanner:
        return TransferPlanner(spec, Keys(self.name, self.version, spec.context()))

    def recipes(self, spec: TransferSpec) -> SizedRecipes:
        return SizedRecipes(spec)

    def packs(self, spec: TransferSpec) -> dict[str, PlannedPack]:
        """Of the curves; what explains them is a few steps, or one model of a size, and is not worth timing."""
        recipes, each = SizedRecipes(spec), len(spec.rate_values) * len(spec.seed_values)
        packs: dict[str, PlannedPack] = {}
        for params in recipes.sizes():
            if params[PART] == CURVE:
                recipe = recipes.of(params)
                pack = packs.get(key := recipe.pack_key(), PlannedPack(recipe, 0))
                packs[key] = PlannedPack(pack.recipe, pack.units + each)
        return packs

    def planned_recipes(self, spec: TransferSpec) -> Iterator[Recipe]:
        """Every recipe in every size, those of the coordinate check and of the sharpness too."""
        recipes = SizedRecipes(spec)
        return (recipes.of(params) for params in recipes.sizes())

    def check(self, spec: TransferSpec, bench: Workbench) -> None:
        """Load the data, build every network once, see that the objective is evaluated.

        Raises:
            SpecError: parts of a recipe do not fit; the message names the field.
        """
        super().check(spec, bench)
        splits = list(spec.recipe.data.load(bench.folder).splits)
        split = spec.objective.removesuffix("_loss")
        for recipe in self.planned_recipes(spec):
            evaluated = list(recipe.evaluate.splits or splits)
            if split not in evaluated:
                raise SpecError(f"objective: {spec.objective} is of no evaluated split; evaluated are {evaluated}")

    def open(self, spec: TransferSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> TransferSession:
        return TransferSession(spec, bench, prepared)

    def tracked(self, spec: TransferSpec, rows: pd.DataFrame) -> pd.DataFrame:
        """Models of the curves by loss within their recipe and size; a coordinate check's short runs are left out."""
        from landsweep.sweeps.lab.training_units.ranking import best_of_each

        named = ["recipe"] if spec.recipes else []
        return best_of_each(rows[rows[PART] != COORDINATES], [PART, *named, spec.over], "loss")

    def report(self, spec: TransferSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from landsweep.sweeps.transfer.report import transfer_report

        return transfer_report(spec, rows, series)
