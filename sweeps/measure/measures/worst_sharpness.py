"""Worst-case sharpness: by how much the loss can rise within a ball around the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective, ascend
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import generators
from landsweep.sweeps.measure.measures.perturbation import Ball
from landsweep.sweeps.measure.subject import Subject

__all__ = ["WorstSharpness"]

_START = 0.01  # of the radius


class WorstSharpness(Ball):
    """max L(w + c u) - L(w) over u in a ball, for each part of `part` samples, and the mean of the parts.

    As in arXiv 2302.07011, by Auto-PGD in the scaled coordinates u, from a random point a hundredth of the radius away
    (at a minimum there is no slope to climb); the maximum is from below: an ascent may miss it. Parts that are shorter
    count by their samples.
    """

    measure: Literal["worst_sharpness"]
    steps: int = Field(20, ge=1, description="steps of an ascent")
    starts: int = Field(1, ge=1, description="ascents from other points, of which the best counts")
    part: int | None = Field(128, ge=1, description="samples of a part; none: all samples at once")
    normalise_logits: bool = Field(
        False, description="whether outputs are centred and divided by their length before the loss"
    )

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("worst_sharpness", "largest rise of the loss that was found in the ball, mean over parts"),
            Column("worst_sharpness_sd", "its standard deviation over parts; none of one part"),
            Column("worst_sharpness_parts", "parts of the samples", type="int"),
        )

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        if self.normalise_logits:
            loss = objective.loss
            objective = replace(objective, loss=lambda outputs, targets: loss(_normalised(outputs), targets))
        size = self.part or objective.samples
        starts = range(0, objective.samples, size)
        shape = (self.starts, objective.layout.size)
        draws = torch.stack([torch.randn(shape, generator=g, dtype=torch.float64) for g in generators(subjects)], 1)
        near = (_START * self.radius * draws / draws.norm(dim=2, keepdim=True)).to(objective.weights)
        rises = torch.stack([self._rise(objective.part(at, at + size), near) for at in starts], 1).double().cpu()
        counts = torch.tensor([min(size, objective.samples - at) for at in starts], dtype=torch.float64)
        means = (rises * counts).sum(1) / counts.sum()
        spread = (((rises - means[:, None]).square() * counts).sum(1) / counts.sum()).sqrt()
        several = len(starts) > 1
        for k in range(len(subjects)):
            yield Measured(
                {
                    "worst_sharpness": means[k].item(),
                    "worst_sharpness_sd": spread[k].item() if several else None,
                    "worst_sharpness_parts": len(starts),
                }
            )

    def _rise(self, objective: Objective, near: Tensor) -> Tensor:
        """Largest rises [K] from any of the points [starts, K, P]."""
        scale = self.scale(objective)

        def climb(u: Tensor) -> tuple[Tensor, Tensor]:
            losses, gradients = objective.gradient(objective.weights + scale * u)
            return losses, scale * gradients

        ascents = [ascend(climb, start, self.norm, self.radius, self.steps)[1] for start in near]
        highest = torch.stack(ascents).amax(0)
        rises = (highest - objective.losses()).clamp(min=0)
        return torch.where(highest.isfinite(), rises, torch.nan)


def _normalised(outputs: Tensor) -> Tensor:
    centred = outputs - outputs.mean(-1, keepdim=True)
    lengths: Tensor = centred.norm(dim=-1, keepdim=True)
    return centred / lengths.clamp(min=1e-10)
