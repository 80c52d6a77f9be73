"""A study on one worker: trains packs, and counts for each loss what a law needs beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.row import Column, Metric, Outcome, Progress, Status
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.training_units.branching import BEGUN, Points
from landsweep.sweeps.lab.training_units.session import TrainingSession
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.recipes import StudyRecipes
from landsweep.sweeps.scaling.spec import ScalingSpec

__all__ = ["COUNTS", "FEATURE_COLUMNS", "FeatureStudy", "TrainedStudy"]

_REPORTS = 40  # of the risk on the way, evenly in the logarithm of the step


COUNTS = (
    Column("body_parameters", "parameters without embedding and last layer", type="int"),
    Column("tokens", "tokens trained on, or samples where they are no sequences; whole batches", type="int"),
    Column("flops", "of all forward and backward passes: matrix products and convolutions", "FLOP"),
    Column("flops_spent", "of those, what this run computed itself: of a branch its cool-down", "FLOP", meter=True),
)
FEATURE_COLUMNS = (
    Column("test_loss", "expected squared error on new data after the last step"),
    Column("floor", "expected squared error of the best weights of these features"),
    Column("parameters", "number of features", type="int"),
    Column("steps_done", "steps made", type="int"),
    *COUNTS,
)


class TrainedStudy:
    """Trains the units of a shard in packs.

    Args:
        spec: of the study, with a recipe.
        prepared: the back-end and size that was timed for each pack, by name of the preparation.
        bench: of this worker.
    """

    def __init__(self, spec: ScalingSpec, prepared: Mapping[str, Arrays], bench: Workbench) -> None:
        recipes = StudyRecipes(spec)
        points = Points(bench.artifacts, recipes) if recipes.branching else None
        self._training = TrainingSession(spec.backend, recipes, bench, prepared, points)
        self._ladder = Ladder(spec)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """The outcomes of the trainings, with what was counted."""
        widths = {u.key: int(u.params["width"] or 0) for u in units}
        for item in self._training.evaluate(units):
            if not isinstance(item, Outcome) or item.status is Status.failed:
                yield item
                continue
            size, metrics = self._ladder.size(widths[item.key]), dict(item.metrics)
            if self._ladder.declared and size.parameters != metrics["parameters"]:
                raise SpecError(
                    f"shape.own.parameters: gives {size.parameters} for width {size.width}, but the network that was "
                    f"trained has {metrics['parameters']} parameters"
                )
            steps, begun = int(metrics["steps_done"] or 0), int(metrics.pop(BEGUN.name, 0) or 0)
            counts = {
                "body_parameters": size.body,
                "tokens": steps * size.step_tokens,
                "flops": float(steps * size.step_flops),
                "flops_spent": float((steps - begun) * size.step_flops),
            }
            yield replace(item, metrics={**metrics, **counts})


class FeatureStudy:
    """Computes the expected risk of the random-feature model along its training.

    Args:
        spec: of the study, with features.
    """

    def __init__(self, spec: ScalingSpec) -> None:
        assert spec.features is not None, "a study without a recipe has features"
        self._features, self._ladder = spec.features, Ladder(spec)
        self._model = lru_cache(maxsize=8)(spec.features.model)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """One after another."""
        for unit in units:
            yield from self._one(unit)

    def _one(self, unit: Unit) -> Iterator[Outcome | Progress | None]:
        width, steps = int(unit.params["width"] or 0), int(unit.params["steps"] or 0)
        model = self._model(width, int(unit.params["seed"] or 0))
        size = self._ladder.size(width)
        metrics: dict[str, Metric] = {"floor": model.floor, "parameters": width, "body_parameters": width}
        try:
            rate = float(unit.params["learning_rate"] or 0) * model.largest_rate
            risks = model.curve(steps, rate, self._features.batch)
        except UsageError as e:  # the rate is known to be too large before the first step
            yield Outcome(unit.key, {**metrics, "steps_done": 0}, Status.diverged, str(e))
            return
        for step in sorted({round(steps ** (i / (_REPORTS - 1))) for i in range(_REPORTS)}):
            yield Progress(unit.key, step, {"test_loss": float(risks[step])})
        flops = float(steps * size.step_flops)
        done = {"steps_done": steps, "tokens": steps * size.step_tokens, "flops": flops, "flops_spent": flops}
        yield Outcome(unit.key, {**metrics, **done, "test_loss": float(risks[-1])})
