"""Trace, Frobenius norm and diagonal of the curvature, by random probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import (
    Matrix,
    Objective,
    check_matrix,
    hutch_plus_plus,
    hutchinson,
    product_with,
    xtrace,
)
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Trace"]


class Trace(ModelCurvature):
    """Trace of the Hessian or another curvature matrix of the mean loss, with its standard error.

    `hutchinson` stops, after at least 10 probes, when the standard error is small enough, and gives norms too.
    `xtrace` (arXiv 2301.07825) and `hutch_plus_plus` (Meyer et al. 2021) use all their products, and need fewer where
    few eigenvalues are large; of the two, xtrace needs fewer, but its standard error may be low by a third.
    """

    measure: Literal["trace"]
    matrix: Matrix = Field("hessian", description="hessian, ggn, empirical_fisher or sampled_fisher; see `eigenvalues`")
    method: Literal["hutchinson", "hutch_plus_plus", "xtrace"] = Field(
        "hutchinson", description="how the trace is estimated"
    )
    products: int = Field(200, ge=10, description="most products of the matrix and a vector")
    tolerance: float = Field(0.05, ge=0, description="hutchinson: standard error, relative to the trace")

    def columns(self) -> tuple[Column, ...]:
        only = "; none but with hutchinson"
        return (
            Column("trace", "estimate of the trace of the curvature matrix"),
            Column("trace_se", "standard error of `trace` over the random probes"),
            Column("frobenius", "root of an estimate of the sum of the matrix' squared entries" + only),
            Column("diagonal_norm", "root of an unbiased estimate of the sum of the squared diagonal" + only),
            Column("trace_products", "products of the matrix and a vector that the trace took", type="int"),
        )

    def refuse(self, objective: Objective) -> None:
        check_matrix(self.matrix, objective)

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        product = product_with(self.matrix, objective)
        if self.method == "hutchinson":
            found = hutchinson(product, objective.weights, generators(subjects), self.products, self.tolerance)
        else:
            estimate = xtrace if self.method == "xtrace" else hutch_plus_plus
            found = estimate(product, objective.weights, generators(subjects), self.products)
        norms = self.method == "hutchinson"
        for k in range(len(subjects)):
            yield Measured(
                {
                    "trace": found.trace[k].item(),
                    "trace_se": found.error[k].item(),
                    "frobenius": found.frobenius[k].item() if norms else None,
                    "diagonal_norm": found.diagonal[k].item() if norms else None,
                    "trace_products": int(found.products[k]),
                }
            )
