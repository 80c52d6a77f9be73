"""The sharpness that SAM lowers: the rise of the loss along its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.perturbation import Ball
from landsweep.sweeps.measure.subject import Subject

__all__ = ["SamSharpness"]


class SamSharpness(Ball):
    """L(w + c u) - L(w), with u of length `radius` along the gradient c g (l2) or its signs (linf): one step of SAM.

    Of the mean loss over all samples of the evaluator (arXiv 2010.01412; adaptive: arXiv 2102.11600).
    """

    measure: Literal["sam_sharpness"]

    def columns(self) -> tuple[Column, ...]:
        return (Column("sam_sharpness", "rise of the loss after one step of SAM's ascent"),)

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        scale = self.scale(objective)
        losses, gradients = objective.gradient()
        slopes = scale * gradients
        if self.norm == "linf":
            u = slopes.sign()
        else:
            u = slopes / slopes.norm(dim=1, keepdim=True).clamp(min=torch.finfo(slopes.dtype).tiny)
        rises = objective.losses(objective.weights + self.radius * scale * u) - losses
        yield from (Measured({"sam_sharpness": rise}) for rise in rises.tolist())
