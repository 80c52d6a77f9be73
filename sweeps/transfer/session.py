"""A transfer sweep on one worker: trains its models, and scores each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from landsweep.orchestrator.kind import Arrays, Workbench
from landsweep.orchestrator.row import Metric, Outcome, Progress, Status
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.training_units.session import TrainingSession
from landsweep.sweeps.transfer.recipes import CURVE, PART, SizedRecipes
from landsweep.sweeps.transfer.spec import TransferSpec

__all__ = ["TransferSession", "score"]


def score(final: float | None, initial: float | None, *, diverged: bool) -> float | None:
    """The loss that a learning rate is judged by: never above that of the initial weights (arXiv 2309.14322).

    Args:
        final: objective at the end of training.
        initial: objective of the initial weights; None where it is not known.
        diverged: whether a loss became non-finite on the way.

    Example:
        >>> score(0.1, 2.3, diverged=False), score(7.0, 2.3, diverged=False), score(0.1, 2.3, diverged=True)
        (0.1, 2.3, 2.3)
    """
    if initial is None or not math.isfinite(initial):
        return None
    if diverged or final is None or not math.isfinite(final):
        return initial
    return min(final, initial)


class TransferSession:
    """Trains the units of a shard, those of the curves packed, the others one by one.

    Args:
        spec: of the sweep.
        bench: of this worker.
        prepared: the back-end and size that was timed for each pack, by name of the preparation.
    """

    def __init__(self, spec: TransferSpec, bench: Workbench, prepared: Mapping[str, Arrays] = {}) -> None:
        self._spec = spec
        recipes = SizedRecipes(spec)
        self._curves = TrainingSession(spec.backend, recipes, bench, prepared)
        # Four steps, or one model of a size: timing back-ends would take longer than the training.
        alone = "loop" if spec.backend == "auto" else spec.backend
        self._others = TrainingSession(alone, recipes, bench)

    def evaluate(self, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        """The outcomes of the trainings, with the columns that judge a learning rate."""
        curves = [u for u in units if u.params[PART] == CURVE]
        others = [u for u in units if u.params[PART] != CURVE]
        for session, chosen in ((self._curves, curves), (self._others, others)):
            if chosen:
                yield from self._judged(session, chosen)

    def _judged(self, session: TrainingSession, units: Sequence[Unit]) -> Iterator[Outcome | Progress | None]:
        initial: dict[str, float] = {}
        reached: dict[str, int] = {}
        for event in session.evaluate(units):
            if event is None:
                yield None
                continue
            key = event.key
            if isinstance(event, Progress):
                loss = event.metrics.get(self._spec.objective, math.nan)
                if event.step == 0:
                    initial[key] = loss
                if self._spec.target is not None and loss <= self._spec.target:
                    reached.setdefault(key, event.step)
                yield event
                continue
            last = event.metrics.get(self._spec.objective)
            final = float(last) if isinstance(last, float | int) else None
            start = initial.get(key)
            loss_of_rate = score(final, start, diverged=event.status is Status.diverged)
            scores: dict[str, Metric] = {"loss": loss_of_rate, "initial_loss": start, "target_step": reached.get(key)}
            yield replace(event, metrics={**event.metrics, **scores})
