"""The zoo kind: thousands of models from one spec, and the zoo as a data set.

A spec is a base recipe and what is swept over any of its fields: axes, random samples, named recipes, seeds. Models
whose recipes have equal pack keys train as one stacked computation; each of them can be trained again alone, from its
key. `Zoo` reads what came out, without the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from orchestrator.errors import SpecError
from orchestrator.kind import Arrays, Preparation, SweepKind, Workbench
from orchestrator.report.parts import Report, Table
from orchestrator.row import Column
from orchestrator.unit import Keys
from sweeps.lab.tensors import tensor_tables
from sweeps.lab.zoo.choices import calibrated, calibrations
from sweeps.lab.zoo.plan import Grid, Recipes, ZooPlanner
from sweeps.lab.zoo.reader import Member, Zoo
from sweeps.lab.zoo.session import ZooSession, check_recipes
from sweeps.lab.zoo.spec import ZooSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Member", "Zoo", "ZooKind", "ZooSpec"]


_SPLITS = ("train", "test")

_OUTCOME = (
    Column("best_test_accuracy", "highest test accuracy of all evaluations"),
    Column("best_test_loss", "lowest test loss of all evaluations"),
    Column("best_step", "step of the highest test accuracy; where there is none, of the lowest test loss", type="int"),
    Column("steps_done", "optimizer steps made", type="int"),
    Column("epochs_done", "passes through the training data made"),
    Column("gradient_evaluations", "gradients of one batch that were computed", type="int"),
    Column("diverged_step", "steps made when the loss became non-finite", type="int"),
    Column("parameters", "numbers that the network's parameters hold", type="int"),
    Column("split", "part of the zoo itself, by seed: train, val or test", type="text"),
    Column("checkpoints", "labels of the weights that were kept, by step, separated by spaces", type="text"),
)  # fmt: skip
_METERS = (
    Column("backend", "how the pack was computed: loop, vmap, bmm or compiled", type="text", meter=True),
    Column("pack_size", "models that trained as one stacked computation", type="int", meter=True),
    Column("weights_file", "file with the weights", type="text", meter=True),
    Column("weights_pack", "number of the pack in that file", type="int", meter=True),
    Column("weights_slot", "place of the model in the pack", type="int", meter=True),
    Column("weights_checksum", "BLAKE2b (16 bytes) of the file", type="text", meter=True),
)  # fmt: skip


class ZooKind(SweepKind[ZooSpec]):
    """Model zoos."""

    name: ClassVar[str] = "zoo"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "many models from one recipe: axes, random samples and seeds, with weights as a data set"
    spec = ZooSpec

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
        return Grid(spec).columns()

    def columns(self, spec: ZooSpec) -> tuple[Column, ...]:
        losses = []
        for split in dict.fromkeys((*_SPLITS, *(spec.recipe.evaluate.splits or ()))):
            losses.append(Column(f"{split}_loss", f"mean loss of the last evaluation on {split}"))
            losses.append(Column(f"{split}_accuracy", f"share of right samples of the last evaluation on {split}"))
        return (*losses, *_OUTCOME, *_METERS)

    def planner(self, spec: ZooSpec) -> ZooPlanner:
        return ZooPlanner(spec, Keys(self.name, self.version, spec.context()))

    def deterministic(self, spec: ZooSpec) -> bool:
        """False: training the first model twice would cost hours; `landsweep regenerate` does it on demand."""
        del spec
        return False

    def check(self, spec: ZooSpec, bench: Workbench) -> None:
        """Load the data, parse the recipe of every unit, build every network once.

        Raises:
            SpecError: parts of a recipe do not fit; the message names the field.
        """
        check_recipes(spec, bench)

    def preparations(self, spec: ZooSpec) -> tuple[Preparation, ...]:
        return calibrations(spec)

    def prepare(self, spec: ZooSpec, name: str, have: Mapping[str, Arrays], bench: Workbench) -> Arrays:
        """Time the back-ends for one pack key."""
        del have
        return calibrated(spec, name, bench)

    def open(self, spec: ZooSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> ZooSession:
        return ZooSession(spec, bench, prepared)

    def audit(self, spec: ZooSpec, rows: pd.DataFrame, bench: Workbench, n: int) -> list[str]:
        """Evaluate the stored weights of `n` models again; what does not agree with the rows, a line each."""
        from sweeps.lab.zoo.audit import reevaluate

        del spec
        if bench.artifacts is None:
            raise SpecError("--reevaluate reads weights from the results, and this sweep has none")
        return reevaluate(Zoo(bench.artifacts.where), rows, bench, n)

    def tensors(self, spec: ZooSpec, bench: Workbench) -> list[Table]:
        recipes = Recipes(spec)
        return tensor_tables((recipes.of(params) for params in Grid(spec)), bench)

    def report(self, spec: ZooSpec, rows: pd.DataFrame, series: pd.DataFrame) -> Report:
        from sweeps.lab.zoo.report import zoo_report

        return zoo_report([c.name for c in self.params(spec)], rows, series)
