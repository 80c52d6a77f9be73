"""Losses class by class."""

from __future__ import annotations

import math
from typing import Literal

import torch

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.predictions import need_classes, outputs_of
from landsweep.sweeps.measure.subject import Subject

__all__ = ["ClassLosses"]


class ClassLosses(AloneMeasure):
    """`class_losses`: mean loss and share of right answers over the samples of each class."""

    measure: Literal["class_losses"] = "class_losses"

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("class_loss_highest", "mean loss of the class where it is highest"),
            Column("class_loss_lowest", "mean loss of the class where it is lowest"),
            Column("class_loss_spread", "standard deviation of the mean losses over the classes"),
            Column("class_highest", "class whose mean loss is highest", type="int"),
            Column("class_accuracy_lowest", "share of right answers in the class where it is lowest"),
        )

    def check(self, subject: Subject) -> None:
        samples = self.samples(subject)
        need_classes(samples, "class_losses")
        if samples.targets.ndim > 1:
            raise SpecError(
                f"class_losses: the samples of the evaluator {samples.name!r} are sequences, which have a class at "
                "every position, so that a sample has no class of its own; leave the measure out"
            )

    def of_one(self, subject: Subject) -> Measured:
        self.check(subject)
        samples = self.samples(subject)
        outputs = outputs_of(subject.models[0].build(), samples)
        losses = samples.loss(outputs, samples.targets).double()
        right = (outputs.argmax(-1) == samples.targets).double()
        counts = torch.bincount(samples.targets, minlength=outputs.shape[-1])
        sums = [torch.zeros(len(counts), dtype=torch.float64, device=counts.device) for _ in range(2)]
        means = [s.index_add(0, samples.targets, v) / counts for s, v in zip(sums, (losses, right), strict=True)]
        there = counts > 0
        loss, accuracy = means[0][there], means[1][there]
        values = {
            "class_loss_highest": float(loss.max()),
            "class_loss_lowest": float(loss.min()),
            "class_loss_spread": float(loss.std(correction=0)),
            "class_highest": int(means[0].where(there, torch.tensor(-math.inf).to(means[0])).argmax()),
            "class_accuracy_lowest": float(accuracy.min()),
        }
        return Measured(values, {"class_loss": means[0].tolist(), "class_accuracy": means[1].tolist()})
