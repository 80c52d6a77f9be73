"""Average sharpness: by how much the loss rises when the weights are moved at random."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import generators
from landsweep.sweeps.measure.measures.perturbation import Ball
from landsweep.sweeps.measure.subject import Subject

__all__ = ["AverageSharpness"]


class AverageSharpness(Ball):
    """E L(w + c u) - L(w), with each number of u drawn from N(0, radius^2), or uniformly from +-radius for linf.

    As in arXiv 2302.07011. Each u is used with both signs, which takes the gradient's noise away; the mean stays.
    """

    measure: Literal["average_sharpness"]
    draws: int = Field(50, ge=2, description="random moves, each made forwards and backwards")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("average_sharpness", "mean rise of the loss under random moves of the weights"),
            Column("average_sharpness_se", "its standard error over the draws"),
        )

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        streams = generators(subjects)
        scale, base = self.radius * self.scale(objective), objective.losses().double()
        each = []
        for _ in range(self.draws):
            move = scale * torch.stack([self._draw(objective.layout.size, g) for g in streams]).to(scale)
            both = [objective.losses(objective.weights + sign * move).double() for sign in (1, -1)]
            each.append((both[0] + both[1]) / 2 - base)
        rises = torch.stack(each).cpu()
        mean, error = rises.mean(0), rises.std(0) / math.sqrt(self.draws)
        for k in range(len(subjects)):
            yield Measured({"average_sharpness": mean[k].item(), "average_sharpness_se": error[k].item()})

    def _draw(self, size: int, source: torch.Generator) -> Tensor:
        if self.norm == "l2":
            return torch.randn(size, generator=source, dtype=torch.float64)
        return 2 * torch.rand(size, generator=source, dtype=torch.float64) - 1
