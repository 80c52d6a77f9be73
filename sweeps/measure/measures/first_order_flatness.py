"""First-order flatness: the largest gradient within a ball around the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective, ascend, differentiating
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["FirstOrderFlatness"]

_START = 0.1  # of the radius: at a minimum the gradient is zero, and its length has no slope


class FirstOrderFlatness(ModelCurvature):
    """radius x max |gradient of L| within the l2 ball of this radius around the weights (GAM, arXiv 2303.03108).

    Where the gradient is zero and the loss quadratic, it is radius^2 times the Hessian's largest eigenvalue by
    magnitude. By Auto-PGD from a random point near the weights; the maximum is from below: an ascent may miss it.
    """

    measure: Literal["first_order_flatness"]
    radius: float = Field(0.05, gt=0, description="of the ball")
    steps: int = Field(20, ge=1, description="steps of the ascent")

    def columns(self) -> tuple[Column, ...]:
        return (Column("first_order_flatness", "radius times the largest norm of the gradient in the ball"),)

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        p = objective.layout.size
        draws = torch.stack([torch.randn(p, generator=g, dtype=torch.float64) for g in generators(subjects)])
        start = (_START * self.radius * draws / draws.norm(dim=1, keepdim=True)).to(objective.weights)
        _, highest = ascend(lambda u: _length(objective, objective.weights + u), start, "l2", self.radius, self.steps)
        _, here = objective.gradient()
        largest = highest.maximum(here.norm(dim=1))
        yield from (Measured({"first_order_flatness": value}) for value in (self.radius * largest).tolist())


def _length(objective: Objective, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths of the gradients at weights [K, P], [K], and the gradients of these lengths, H g / |g|."""
    _, gradients = objective.gradient(weights)
    lengths = gradients.norm(dim=1)
    units = gradients / lengths[:, None].clamp(min=torch.finfo(lengths.dtype).tiny)
    leaves, slopes = weights.detach().requires_grad_(), torch.zeros_like(weights)
    with differentiating():
        for x, y in objective.batches():
            losses = objective.each(objective.outputs(leaves, x), y)
            (each,) = torch.autograd.grad(losses.sum(), leaves, create_graph=True)
            if each.requires_grad:
                slopes += torch.autograd.grad(each, leaves, units, materialize_grads=True)[0]
    return lengths, slopes / objective.samples
