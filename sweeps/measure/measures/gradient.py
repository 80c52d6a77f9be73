"""The gradient of the loss: its length, and how much of it lies in the directions of largest curvature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective, eigenpairs, product_with
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Gradient"]


class Gradient(ModelCurvature):
    """Norm of the gradient g of the mean loss, its share |P g|^2 / |g|^2 in the Hessian's top subspace, and g'Hg.

    P projects on the eigenvectors of the `top` largest eigenvalues, by sign (arXiv 1812.04754).
    """

    measure: Literal["gradient"]
    top: int = Field(10, ge=0, le=1000, description="eigenvectors of the subspace; 0: the gradient alone is measured")
    products: int = Field(200, ge=4, description="most products of the Hessian and a vector")
    tolerance: float = Field(1e-3, gt=0, description="of the eigenvectors' residuals, as in `eigenvalues`")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("gradient_norm", "Euclidean norm of the gradient of the mean loss"),
            Column("gradient_share", "share of the squared gradient in the top subspace; none if the gradient is 0"),
            Column("gradient_curvature", "curvature g'Hg / g'g along the gradient; none if it is 0"),
            Column("gradient_residual", "largest residual of the subspace's eigenvectors"),
            Column("gradient_products", "products of the Hessian and a vector that were taken", type="int"),
        )

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        _, gradient = objective.gradient()
        square = gradient.square().sum(1)
        product = product_with("hessian", objective)
        curvature = (gradient * product(gradient)).sum(1)
        top, _, used = eigenpairs(
            product,
            gradient,
            generators(subjects),
            min(self.top, objective.layout.size),
            products=self.products,
            tolerance=self.tolerance,
        )
        inside = (top.vectors * gradient[:, None]).sum(2).square().sum(1)
        for k in range(len(subjects)):
            some, any_ = bool(square[k] != 0), self.top > 0
            yield Measured(
                {
                    "gradient_norm": square[k].sqrt().item(),
                    "gradient_share": (inside[k] / square[k]).item() if some and any_ else None,
                    "gradient_curvature": (curvature[k] / square[k]).item() if some else None,
                    "gradient_residual": top.residuals[k].max().item() if any_ else None,
                    "gradient_products": int(used[k]) + 1,
                }
            )
