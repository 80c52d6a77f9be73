"""How the subspace of largest curvature turns along a run, and how much of the gradient lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective, eigenpairs, product_with
from landsweep.sweeps.measure.measures.base import Measured, Of
from landsweep.sweeps.measure.measures.curvature import Curvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["SubspaceDrift"]


class SubspaceDrift(Curvature):
    """Overlap tr(P_s P_t) / k of the Hessian's top subspaces at the checkpoints of a group, in their order.

    It is 1 for equal subspaces and k / P for random ones (arXiv 1812.04754). Curves: `overlap_next`, of each checkpoint
    with the next; `overlap_last`, of each with the last one; `gradient_share`, of the squared gradient in the subspace.
    """

    of: ClassVar[Of] = "group"

    measure: Literal["subspace_drift"]
    top: int = Field(10, ge=1, le=1000, description="eigenvectors of the subspace")
    products: int = Field(200, ge=4, description="most products of the Hessian and a vector, for each checkpoint")
    tolerance: float = Field(1e-3, gt=0, description="of the eigenvectors' residuals, as in `eigenvalues`")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("overlap_next", "mean overlap of the top subspaces of neighbouring checkpoints"),
            Column("overlap_ends", "overlap of the top subspaces of the first and the last checkpoint"),
            Column("overlap_residual", "largest residual of all the subspaces' eigenvectors"),
        )

    def check(self, subject: Subject) -> None:
        """As for all measures of curvature, and a group needs two models."""
        if len(subject.models) < 2:
            raise SpecError(
                f"subspace_drift: needs two checkpoints or more of a run, but a group has {len(subject.models)}"
            )
        super().check(replace(subject, models=subject.models[:1]))

    def compute(self, subjects: Sequence[Subject]) -> Iterator[Measured]:
        for subject in subjects:
            singles = [replace(subject, models=(model,)) for model in subject.models]
            parts = [self._subspaces(objective, few) for few, objective in self.packs(singles)]
            vectors, shares, residuals = (torch.cat(part) for part in zip(*parts, strict=True))
            after = [_overlap(a, b) for a, b in pairwise(vectors)]
            last = [_overlap(a, vectors[-1]) for a in vectors]
            yield Measured(
                {
                    "overlap_next": sum(after) / len(after),
                    "overlap_ends": last[0],
                    "overlap_residual": residuals.max().item(),
                },
                {"overlap_next": after, "overlap_last": last, "gradient_share": shares.tolist()},
            )

    def _subspaces(self, objective: Objective, subjects: Sequence[Subject]) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors [K, k, P], shares of the gradient [K], and residuals [K, k]."""
        _, gradient = objective.gradient()
        top, _, _ = eigenpairs(
            product_with("hessian", objective),
            gradient,
            generators(subjects),
            min(self.top, objective.layout.size),
            products=self.products,
            tolerance=self.tolerance,
        )
        inside = (top.vectors * gradient[:, None]).sum(2).square().sum(1)
        return top.vectors, inside / gradient.square().sum(1), top.residuals


def _overlap(a: Tensor, b: Tensor) -> float:
    return ((a @ b.T).square().sum() / len(a)).item()
