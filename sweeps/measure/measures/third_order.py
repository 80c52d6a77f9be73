"""Third-order sharpness: how the largest eigenvalue of the Hessian changes with the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective, eigenpairs, product_with, third_derivative
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["ThirdOrder"]


class ThirdOrder(ModelCurvature):
    """The gradient of the sharpness S, the largest eigenvalue of the Hessian H with eigenvector u, is that of u'Hu.

    With it, training at the edge of stability is described by central flows (arXiv 2410.24206) and self-stabilisation
    (2209.15594): the loss's gradient g raises S at the rate -g'(grad S), and oscillations of variance v along u lower
    it at the rate v |grad S|^2 / 2; v is what makes both equal. S has a gradient only where it is larger than the
    second eigenvalue: see the gap.
    """

    measure: Literal["third_order"]
    products: int = Field(200, ge=4, description="most products of the Hessian and a vector")
    tolerance: float = Field(1e-4, gt=0, description="of the eigenvectors' residuals, as in `eigenvalues`")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("third_order_sharpness", "largest eigenvalue S of the Hessian"),
            Column("third_order_gap", "S minus the second eigenvalue, by S; none where S is not above 0"),
            Column("third_order_norm", "Euclidean norm of the gradient of S in the weights"),
            Column("third_order_along", "third derivative of the loss along the eigenvector, without its sign"),
            Column("third_order_rate", "rate at which S rises along the gradient flow of the loss"),
            Column(
                "third_order_variance",
                "variance of oscillations along the eigenvector that would hold S where it is; none where S falls",
            ),
            Column("third_order_residual", "residual of the eigenvector"),
        )

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        _, slope = objective.gradient()
        top, _, _ = eigenpairs(
            product_with("hessian", objective),
            objective.weights,
            generators(subjects),
            2,
            products=self.products,
            tolerance=self.tolerance,
        )
        u = top.vectors[:, 0]
        third = third_derivative(objective, u)
        square, along, rate = third.square().sum(1), (third * u).sum(1).abs(), -(slope * third).sum(1)
        for k in range(len(subjects)):
            sharpness, second = top.values[k].tolist()
            rises = rate[k].item() >= 0 and square[k].item() > 0
            yield Measured(
                {
                    "third_order_sharpness": sharpness,
                    "third_order_gap": (sharpness - second) / sharpness if sharpness > 0 else None,
                    "third_order_norm": square[k].sqrt().item(),
                    "third_order_along": along[k].item(),
                    "third_order_rate": rate[k].item(),
                    "third_order_variance": (2 * rate[k] / square[k]).item() if rises else None,
                    "third_order_residual": top.residuals[k, 0].item(),
                }
            )
