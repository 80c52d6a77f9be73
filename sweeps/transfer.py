"""The transfer kind: which learning rate is best in which size, and whether that of a small model serves a large one.

One recipe, in several widths, depths, batch sizes or horizons, at several learning rates, from several seeds, and under
several parametrizations. Beside the curves a coordinate check and the sharpness along training, which explain them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from orchestrator.errors import SpecError
from orchestrator.kind import Arrays, Preparation, SweepKind, Workbench
from orchestrator.report.parts import Report, Table
from orchestrator.row import Column
from orchestrator.unit import Keys
from sweeps.lab.outline import foresee_recipe
from sweeps.lab.tensors import tensor_tables
from sweeps.lab.transfer.plan import TransferPlanner
from sweeps.lab.transfer.recipes import COORDINATES, CURVE, PART, SizedRecipes
from sweeps.lab.transfer.session import TransferSession
from sweeps.lab.transfer.spec import TransferSpec
from sweeps.lab.zoo.choices import calibrated, calibrations, pack_named
from sweeps.lab.zoo.columns import trained_columns
from sweeps.lab.zoo.session import check_recipes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TransferKind", "TransferSpec"]

_JUDGED = (
    Column("loss", "objective at the end, at most that of the initial weights; of diverged models just that"),
    Column("initial_loss", "objective of the initial weights"),
    Column("target_step", "first evaluated step at which the objective was at most the target", type="int"),
)  # fmt: skip


class TransferKind(SweepKind[TransferSpec]):
    """Learning-rate transfer."""

    name: ClassVar[str] = "transfer"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "learning rates over widths, depths, batch sizes or horizons: does the best carry over?"
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

    def deterministic(self, spec: TransferSpec) -> bool:
        """False, as for zoos: training the first model twice could cost hours."""
        del spec
        return False

    def check(self, spec: TransferSpec, bench: Workbench) -> None:
        """Load the data, build every network once, see that the objective is evaluated.

        Raises:
            SpecError: parts of a recipe do not fit; the message names the field.
        """
        recipes = SizedRecipes(spec)
        sized = [recipes.of(params) for params in recipes.sizes()]
        check_recipes(sized, spec.recipe.evaluate.columns(), spec.backend, bench)
        data = sized[0].data.load(bench.folder)
        split = spec.objective.removesuffix("_loss")
        for recipe in sized:
            if split not in (recipe.evaluate.splits or tuple(data.splits)):
                evaluated = list(recipe.evaluate.splits or data.splits)
                raise SpecError(f"objective: {spec.objective} is of no evaluated split; evaluated are {evaluated}")

    def preparations(self, spec: TransferSpec) -> tuple[Preparation, ...]:
        recipes = SizedRecipes(spec)
        each = len(spec.rate_values) * len(spec.seed_values)
        packs: dict[str, int] = {}
        for params in recipes.sizes():
            if params[PART] == CURVE:
                key = recipes.of(params).pack_key()
                packs[key] = packs.get(key, 0) + each
        return calibrations(spec.backend, packs)

    def prepare(self, spec: TransferSpec, name: str, have: Mapping[str, Arrays], bench: Workbench) -> Arrays:
        """Time the back-ends for one pack key."""
        del have
        recipes = SizedRecipes(spec)
        alike = (recipes.of(params) for params in recipes.sizes())
        return calibrated(spec.backend, next(r for r in alike if r.pack_key() == pack_named(name)), bench)

    def open(self, spec: TransferSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> TransferSession:
        return TransferSession(spec, bench, prepared)

    def tensors(self, spec: TransferSpec, bench: Workbench) -> list[Table]:
        recipes = SizedRecipes(spec)
        return tensor_tables((recipes.of(p) for p in recipes.sizes() if p[PART] == CURVE), bench)

    def tracked(self, spec: TransferSpec, rows: pd.DataFrame) -> pd.DataFrame:
        """Models of the curves by loss within their recipe and size; a coordinate check's short runs are left out."""
        from sweeps.lab.ranking import best_of_each

        named = ["recipe"] if spec.recipes else []
        return best_of_each(rows[rows[PART] != COORDINATES], [PART, *named, spec.over], "loss")

    def report(self, spec: TransferSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from sweeps.lab.transfer.report import transfer_report

        return transfer_report(spec, rows, series)
