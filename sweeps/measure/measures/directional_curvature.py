"""Curvature along one direction in weight space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Matrix, Objective, check_matrix, product_with
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["DirectionalCurvature"]


class DirectionalCurvature(ModelCurvature):
    """d'Hd / d'd along a direction d: the gradient (of SGD's step), its signs (of a sign method's), weights, random.

    Along an optimizer's step it is the directional sharpness of arXiv 2306.00204.
    """

    measure: Literal["directional_curvature"]
    matrix: Matrix = Field("hessian", description="hessian, ggn, empirical_fisher or sampled_fisher; see `eigenvalues`")
    along: Literal["gradient", "sign", "weights", "random"] = Field("gradient", description="the direction")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("directional_curvature", "curvature d'Hd / d'd along the direction; none where d is 0"),
            Column("directional_slope", "slope g'd / |d| of the loss along the direction; none where d is 0"),
        )

    def refuse(self, objective: Objective) -> None:
        check_matrix(self.matrix, objective)

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        _, gradients = objective.gradient()
        d = self._direction(objective, gradients, subjects)
        square = d.square().sum(1)
        curvature = (d * product_with(self.matrix, objective)(d)).sum(1) / square
        slope = (gradients * d).sum(1) / square.sqrt()
        for k, some in enumerate((square != 0).tolist()):
            values = {"directional_curvature": curvature[k].item(), "directional_slope": slope[k].item()}
            yield Measured(values if some else dict.fromkeys(values))

    def _direction(self, objective: Objective, gradients: Tensor, subjects: Sequence[Subject]) -> Tensor:
        match self.along:
            case "gradient":
                return gradients
            case "sign":
                return gradients.sign()
            case "weights":
                return objective.weights
            case "random":
                size = objective.layout.size
                draws = [torch.randn(size, generator=g, dtype=torch.float64) for g in generators(subjects)]
                return torch.stack(draws).to(gradients)
