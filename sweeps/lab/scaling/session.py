"""A study on one worker: the zoo's training, with the counts that a law needs beside each loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.kind import Arrays, Workbench
from orchestrator.row import Column, Metric, Outcome, Progress, Status
from orchestrator.unit import Unit
from sweeps.lab.scaling.ladder import Ladder
from sweeps.lab.scaling.plan import Planned
from sweeps.lab.scaling.recipes import StudyRecipes
from sweeps.lab.zoo.session import ZooSession

__all__ = ["COUNTS", "FEATURE_COLUMNS", "FeatureStudy", "TrainedStudy"]

_REPORTS = 40  # of the risk on the way, evenly in the logarithm of the step
_BEAT = 1000  # steps between two looks whether the unit should stop

COUNTS = (
    Column("body_parameters", "parameters without embedding and last layer", type="int"),
    Column("tokens", "tokens, or samples where they are no sequences, that were trained on", type="int"),
    Column("flops", "of all forward and backward passes: matrix products and convolutions", "FLOP"),
)
FEATURE_COLUMNS = (
    Column("test_loss", "expected squared error on new data after the last step"),
    Column("floor", "expected squared error of the best weights of these features"),
    Column("parameters", "number of features", type="int"),
    Column("steps_done", "steps made", type="int"),
    Column("diverged_step", "steps made when the risk became non-finite", type="int"),
    *COUNTS,
)


class TrainedStudy:
    """Trains the units of a shard in packs.

    Args:
        plan: the spec, with a recipe.
        backend: of the spec.
        prepared: what was timed for the packs.
        bench: of this worker.
    """

    def __init__(self, plan: Planned, backend: str, prepared: Mapping[str, Arrays], bench: Workbench) -> None:
        recipes = StudyRecipes(plan, backend)
        self._inner = ZooSession(recipes.base, bench, prepared, recipes)
        self._ladder = Ladder(plan)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress]:
        """The rows of a zoo, with what was counted."""
        widths = {u.key: int(u.params["width"] or 0) for u in units}
        for item in self._inner.evaluate(units):
            if isinstance(item, Progress) or item.status is Status.failed:
                yield item
                continue
            size, steps = self._ladder.size(widths[item.key]), int(item.metrics["steps_done"] or 0)
            counted = {
                "body_parameters": size.body,
                "tokens": steps * size.step_tokens,
                "flops": float(steps * size.step_flops),
            }
            yield replace(item, metrics={**item.metrics, **counted})


class FeatureStudy:
    """Computes the risk of the random-feature model along its training.

    Args:
        plan: the spec, with features.
        bench: of this worker.
    """

    def __init__(self, plan: Planned, bench: Workbench) -> None:
        assert plan.features is not None, "a study without a recipe has features"
        self._features, self._bench, self._ladder = plan.features, bench, Ladder(plan)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress]:
        """One after another."""
        for unit in units:
            yield from self._one(unit)

    def _one(self, unit: Unit) -> Iterator[Outcome | Progress]:
        width, steps = int(unit.params["width"] or 0), int(unit.params["steps"] or 0)
        spectrum = self._features.spectrum(width, int(unit.params["seed"] or 0))
        told = {round(steps ** (i / (_REPORTS - 1))) for i in range(_REPORTS)}
        risk, step = math.nan, 0
        for step, risk in enumerate(
            itertools.islice(spectrum.risks(float(unit.params["learning_rate"] or 0)), steps + 1)
        ):
            if step in told:
                yield Progress(unit.key, step, {"test_loss": risk})
            if not math.isfinite(risk) or (step % _BEAT == 0 and self._bench.stopped(unit.key)):
                break
        size, lost = self._ladder.size(width), not math.isfinite(risk)
        metrics: dict[str, Metric] = {
            "test_loss": None if lost else risk,
            "floor": spectrum.floor,
            "parameters": width,
            "steps_done": step,
            "diverged_step": step if lost else None,
            "body_parameters": width,
            "tokens": step * size.step_tokens,
            "flops": float(step * size.step_flops),
        }
        if lost:
            yield Outcome(unit.key, metrics, Status.diverged, f"the risk became non-finite after {step} steps")
        else:
            yield Outcome(unit.key, metrics)
