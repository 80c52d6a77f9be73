"""Disagreement: how unlike the predictions of two models are."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured, Of
from landsweep.sweeps.measure.predictions import class_predictions, need_classes
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Disagreement"]


class Disagreement(AloneMeasure):
    """`disagreement`: share of samples that two models put into unlike classes, and distance of their probabilities.

    Of sequences each position counts as a sample. The Jensen-Shannon divergence of a sample is the mean of the
    Kullback-Leibler divergences of both predictions from their mean: 0 for the same ones, ln 2 for disjoint ones.
    """

    of: ClassVar[Of] = "pair"
    unlike: ClassVar[bool] = True

    measure: Literal["disagreement"] = "disagreement"

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("disagreement", "share of samples that the two models put into unlike classes"),
            Column("disagreement_of_errors", "share of unlike classes among samples that either gets wrong"),
            Column("js_divergence", "Jensen-Shannon divergence of predicted probabilities, mean over samples", "nat"),
        )

    def check(self, subject: Subject) -> None:
        need_classes(self.samples(subject), "disagreement")

    def of_one(self, subject: Subject) -> Measured:
        samples = self.samples(subject)
        first, targets = class_predictions(subject.models[0].build(), samples, "disagreement")
        second, _ = class_predictions(subject.models[1].build(), samples, "disagreement")
        guesses = first.argmax(1), second.argmax(1)
        unlike = (guesses[0] != guesses[1]).double()
        wrong = (guesses[0] != targets) | (guesses[1] != targets)
        values = {
            "disagreement": float(unlike.mean()),
            "disagreement_of_errors": float(unlike[wrong].mean()) if bool(wrong.any()) else None,
            "js_divergence": float(_jensen_shannon(first, second).mean()),
        }
        return Measured(values)


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Divergence [m] of distributions given by their logarithms [m, classes]."""
    mean = torch.logaddexp(p, q) - torch.log(torch.tensor(2.0, dtype=p.dtype))
    parts = [torch.where(a.exp() > 0, a.exp() * (a - mean), torch.zeros_like(a)).sum(1) for a in (p, q)]
    return (parts[0] + parts[1]) / 2
