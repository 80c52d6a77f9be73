"""Eigenvalues of the curvature at both ends of the spectrum, with what each is worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Matrix, Objective, check_matrix, eigenpairs, product_with
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Eigenvalues"]


class Eigenvalues(ModelCurvature):
    """Largest and smallest eigenvalues, by sign, of the Hessian or another curvature matrix of the mean loss.

    By Lanczos with full re-orthogonalisation; an eigenvalue of multiplicity n is given n times. A residual is the
    length of H v - value v for the vector v of length 1 that was found: some eigenvalue lies no further from the value.
    """

    measure: Literal["eigenvalues"]
    matrix: Matrix = Field(
        "hessian",
        description="hessian; ggn: generalised Gauss-Newton, of cross entropy the Fisher matrix of labels drawn from "
        "the model; empirical_fisher: mean of g g' over the gradients g of single samples; sampled_fisher: the same "
        "with labels that are drawn from the model, one for each sample",
    )
    top: int = Field(1, ge=1, le=1000, description="how many of the largest")
    lowest: int = Field(0, ge=0, le=1000, description="how many of the smallest")
    products: int = Field(200, ge=4, description="most products of the matrix and a vector")
    tolerance: float = Field(
        1e-3, gt=0, description="of residuals, relative to the eigenvalue, or to 1 % of the largest where that is more"
    )
    layers: bool = Field(
        False, description="whether the largest of each layer's block become curves too, `layer/NAME`, rank by rank"
    )

    def columns(self) -> tuple[Column, ...]:
        return (
            *(
                Column(f"eigenvalue_{i}", f"{_nth(i)}largest eigenvalue of the curvature matrix, by sign")
                for i in _ranks(self.top)
            ),
            *(Column(f"residual_{i}", f"residual of eigenvalue_{i}") for i in _ranks(self.top)),
            *(
                Column(f"lowest_{i}", f"{_nth(i)}smallest eigenvalue of the curvature matrix, by sign")
                for i in _ranks(self.lowest)
            ),
            *(Column(f"lowest_residual_{i}", f"residual of lowest_{i}") for i in _ranks(self.lowest)),
            Column("eigenvalue_products", "products of the matrix and a vector that eigenvalues took", type="int"),
        )

    def refuse(self, objective: Objective) -> None:
        check_matrix(self.matrix, objective)

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        product = product_with(self.matrix, objective)
        top, lowest, used = eigenpairs(
            product,
            objective.weights,
            generators(subjects),
            self.top,
            self.lowest,
            products=self.products,
            tolerance=self.tolerance,
        )
        layers = self._of_layers(objective, subjects) if self.layers else {}
        parts = (top.values, top.residuals, lowest.values, lowest.residuals)
        names = [c.name for c in self.columns()]
        for k in range(len(subjects)):
            values = [
                value if rank < objective.layout.size else None  # there are no more eigenvalues than weights
                for part in parts
                for rank, value in enumerate(part[k].tolist())
            ]
            curves = {name: each[k] for name, each in layers.items()}
            yield Measured(dict(zip(names, [*values, int(used[k])], strict=True)), curves)

    def _of_layers(self, objective: Objective, subjects: Sequence[Subject]) -> dict[str, list[list[float]]]:
        """Name of a layer to the largest eigenvalues [K][top] of the block of its parameters."""
        layers: dict[str, list[str]] = {}
        for name in objective.layout.shapes:
            layers.setdefault(name.rpartition(".")[0] or name, []).append(name)
        curves = {}
        for layer, names in layers.items():
            block = objective.only(names)
            product = product_with(self.matrix, block)
            top, _, _ = eigenpairs(
                product,
                block.weights,
                generators(subjects),
                min(self.top, block.layout.size),
                products=self.products,
                tolerance=self.tolerance,
            )
            curves[f"layer/{layer}"] = top.values.tolist()
        return curves


def _ranks(count: int) -> range:
    return range(1, count + 1)


def _nth(rank: int) -> str:
    if rank == 1:
        return ""
    ending = "th" if rank % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending} "
