"""Loss and accuracy of a stored model under an evaluator."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.losses import right_answers
from landsweep.sweeps.measure.measures.base import Measure, Measured
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Losses"]


class Losses(Measure):
    """Mean loss with its standard error, and the share of right answers."""

    measure: Literal["losses"]

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("loss", "mean loss over the samples of the evaluator"),
            Column("loss_se", "standard error of `loss` over the samples"),
            Column("accuracy", "share of right answers; none where targets are no classes"),
            Column("samples", "samples that were used", type="int"),
        )

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        for subject in subjects:
            yield self._of_one(subject)

    @torch.inference_mode()
    def _of_one(self, subject: Subject) -> Measured:
        samples, (model,) = self.samples(subject), subject.models
        module = model.build()
        losses, right = [], []
        for inputs, targets in samples.batches():
            outputs = module(inputs)
            losses.append(samples.loss(outputs, targets).double())
            if not targets.is_floating_point():
                right.append(right_answers(outputs, targets))
        each, n = torch.cat(losses), len(samples)
        return Measured(
            {
                "loss": each.mean().item(),
                "loss_se": each.std().item() / math.sqrt(n) if n > 1 else None,
                "accuracy": torch.cat(right).mean().item() if right else None,
                "samples": n,
            }
        )
