"""What the models of a pack have reached: their metrics, the best of each so far, and the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends import Backend
from landsweep.sweeps.lab.training.evaluation import Evaluator
from landsweep.sweeps.lab.training.events import Best, Checkpoint, Evaluated, ModelEvent
from landsweep.sweeps.lab.training.stepper import under

__all__ = ["BestMetrics", "Scores"]


class BestMetrics:
    """The best finite value of each loss and accuracy of one model, and the step at which it was first reached."""

    def __init__(self) -> None:
        self._best: dict[str, Best] = {}

    def report(self, step: int, metrics: Mapping[str, float]) -> frozenset[str]:
        """Take in the metrics of an evaluation; gives the names of those that are better than all before."""
        improved = {n for n, v in metrics.items() if n.endswith(("_loss", "_accuracy")) and self._improves(n, v)}
        self._best |= {name: Best(metrics[name], step) for name in improved}
        return frozenset(improved)

    def _improves(self, name: str, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if name not in self._best:
            return True
        return value < self._best[name].value if name.endswith("_loss") else value > self._best[name].value

    def values(self) -> dict[str, Best]:
        """By the names of the metrics."""
        return dict(self._best)


class Scores:
    """Measures the models of a pack, by row, and remembers by model what they have reached.

    Args:
        recipe: any of the pack: it says by which metric the best weights are kept.
        evaluator: of the pack.
        rows: how many rows the pack has.
        device: of the losses.
    """

    def __init__(self, recipe: Recipe, evaluator: Evaluator, rows: int, device: torch.device) -> None:
        self._evaluator = evaluator
        self._metric = recipe.checkpoints.best
        self._last: dict[int, Mapping[str, float]] = {}
        self._best: dict[int, BestMetrics] = {}
        self._weights: dict[int, Checkpoint] = {}
        self._sums = torch.zeros(rows, dtype=torch.float64, device=device)  # of batch losses since the last evaluation
        self._summed = 0

    def add(self, losses: Tensor) -> None:
        """Take in the losses [K] of a batch, for `batch_loss`."""
        self._sums += losses
        self._summed += 1

    def start_batch_loss(self) -> None:
        """Let `batch_loss` be the mean over the steps from here on."""
        self._sums.zero_()
        self._summed = 0

    def measure(
        self, backend: Backend, rates: Sequence[float], divisor: Callable[[], Tensor | None]
    ) -> list[dict[str, float]]:
        """Metrics of each row, as in `Evaluated`; `batch_loss` starts anew.

        Args:
            backend: holds the weights to evaluate at.
            rates: learning rate of each row in the last step.
            divisor: as for `Evaluator`.
        """
        metrics = self._evaluator(backend, divisor)
        if self._summed:
            for row, mean, rate in zip(metrics, (self._sums / self._summed).tolist(), rates, strict=True):
                row |= {"batch_loss": mean, "learning_rate": rate}
        self.start_batch_loss()
        return metrics

    def report(self, evaluation: Evaluated) -> bool:
        """Remember an evaluation; whether the weights that it is of are the best so far, by the checkpoint policy.

        Raises:
            SpecError: the policy goes by a metric that the evaluation does not have.
        """
        self._last[evaluation.index] = evaluation.metrics
        improved = self._best.setdefault(evaluation.index, BestMetrics()).report(evaluation.step, evaluation.metrics)
        if self._metric is None:
            return False
        if self._metric not in evaluation.metrics:
            has = ", ".join(evaluation.metrics)
            raise SpecError(f"checkpoints.best: there is no metric {self._metric!r}; there are {has}")
        return self._metric in improved

    def keep(self, checkpoint: Checkpoint) -> None:
        """Keep the best weights of a model until it ends: its own copy, since others' may be given up earlier."""
        state = {name: t.clone() for name, t in checkpoint.state.items()}
        self._weights[checkpoint.index] = replace(checkpoint, state=state)

    def last(self, index: int) -> dict[str, float]:
        """Metrics of a model's last evaluation; empty before the first."""
        return dict(self._last.get(index, {}))

    def best(self, index: int) -> dict[str, Best]:
        """The best values of a model so far."""
        return self._best[index].values() if index in self._best else {}

    def best_weights(self, index: int) -> Checkpoint | None:
        """The best weights of a model, which are forgotten; None where none were kept."""
        return self._weights.pop(index, None)

    def take(self, rows: Sequence[int]) -> None:
        """Keep only these rows; models are remembered."""
        self._sums = self._sums[torch.tensor(rows, device=self._sums.device)]

    def header(self) -> dict[str, Any]:
        """What a saved state holds of it, for JSON; the evaluations themselves are among the events."""
        best: dict[str, list[float]] = {}
        for i, weights in self._weights.items():
            assert self._metric is not None, "weights are kept only where the policy names a metric"
            best[str(i)] = [self.best(i)[self._metric].value, weights.step, weights.epoch]
        return {"summed": self._summed, "best": best}

    def tensors(self) -> dict[str, Tensor]:
        """What a saved state holds of it, by name."""
        weights = {f"best/{i}/{n}": t for i, best in self._weights.items() for n, t in best.state.items()}
        return {"sums": self._sums, **weights}

    def load(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor], events: Iterable[ModelEvent]) -> None:
        """Become what `header` and `tensors` described, after these events."""
        for event in events:
            if isinstance(event, Evaluated):
                self.report(event)
        self._sums, self._summed = tensors["sums"].to(self._sums.device), header["summed"]
        for name, (_, step, epoch) in header["best"].items():
            self.keep(Checkpoint(int(name), step, epoch, "best", under(f"best/{name}/", tensors)))
