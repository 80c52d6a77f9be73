"""The spectral density of the curvature: its bulk, and what stands out of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.row import Column, Metric
from landsweep.sweeps.lab.curvature import Density, Matrix, Objective, check_matrix, densities, product_with
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Spectrum"]

_KNOWN = 1e-2  # a node is an eigenvalue where its residual is no more than this share of it


class Spectrum(ModelCurvature):
    """Spectral density of the Hessian or another curvature matrix, by stochastic Lanczos quadrature.

    Its nodes and weights are the curves `nodes` and `weights`, of all runs together, in rising order; the weights sum
    to 1. Nothing is smoothed. With full re-orthogonalisation the outermost nodes are eigenvalues without ghost copies
    (of one of multiplicity n, 1 to n are seen). That is how outliers are counted: the nodes that are known as
    eigenvalues, the largest first, are cut where the ratio of one to the next is largest, if it is at least `gap`; what
    is above the cut are outliers, the curve `outliers`, what is below is the bulk.
    """

    measure: Literal["spectrum"]
    matrix: Matrix = Field("hessian", description="hessian, ggn, empirical_fisher or sampled_fisher; see `eigenvalues`")
    steps: int = Field(80, ge=2, description="products of a run, and nodes of its quadrature")
    runs: int = Field(4, ge=1, description="random vectors")
    among: int = Field(30, ge=2, description="outliers are looked for among so many of the largest eigenvalues")
    gap: float = Field(1.5, gt=1, description="ratio of neighbouring eigenvalues that parts outliers from the bulk")
    zero: float = Field(
        1e-6, ge=0, description="nodes nearer to 0 than this share of the largest magnitude are taken for 0"
    )

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("spectrum_mean", "mean of the eigenvalues"),
            Column("spectrum_mean_se", "standard error of `spectrum_mean` over the runs; none of one run"),
            Column("spectrum_lowest", "lowest node"),
            Column("spectrum_highest", "highest node"),
            Column("spectrum_negative", "share of the eigenvalues that is below zero"),
            Column("spectrum_outliers", "eigenvalues above the largest gap; 0: no gap is wide enough", type="int"),
            Column("spectrum_gap", "ratio of the eigenvalues at the largest gap; none where fewer than two are known"),
            Column("spectrum_bulk", "root mean square of the nodes that are no outliers, weighted"),
            Column("spectrum_products", "products of the matrix and a vector that the spectrum took", type="int"),
        )

    def refuse(self, objective: Objective) -> None:
        check_matrix(self.matrix, objective)

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        product = product_with(self.matrix, objective)
        for density in densities(product, objective.weights, generators(subjects), self.steps, self.runs):
            nodes = torch.cat(density.nodes)
            weights = torch.cat(density.weights) / len(density.weights)
            order = nodes.argsort()
            nodes, weights = nodes[order], weights[order]
            if not bool(nodes.isfinite().all()):
                unknown: dict[str, Metric] = {c.name: math.nan if c.type == "float" else None for c in self.columns()}
                yield Measured({**unknown, "spectrum_products": len(nodes)})
                continue
            outliers, gap, edge = self._outliers(density)
            curves = {"nodes": nodes.tolist(), "weights": weights.tolist()}
            curves |= {"outliers": outliers.tolist()} if len(outliers) else {}
            values = {
                **self._summary(density, nodes, weights, edge),
                "spectrum_outliers": len(outliers),
                "spectrum_gap": gap,
            }
            yield Measured({c.name: values[c.name] for c in self.columns()}, curves)

    def _summary(self, density: Density, nodes: Tensor, weights: Tensor, edge: float) -> dict[str, Metric]:
        means = density.moments(1)
        below = nodes < -self.zero * nodes.abs().max()
        inner = nodes <= edge
        mass = weights[inner].sum()
        return {
            "spectrum_mean": means.mean().item(),
            "spectrum_mean_se": means.std().item() / math.sqrt(len(means)) if len(means) > 1 else None,
            "spectrum_lowest": nodes[0].item(),
            "spectrum_highest": nodes[-1].item(),
            "spectrum_negative": weights[below].sum().item(),
            "spectrum_bulk": ((weights * nodes**2)[inner].sum() / mass).sqrt().item() if mass > 0 else None,
            "spectrum_products": len(nodes),
        }

    def _outliers(self, density: Density) -> tuple[Tensor, float | None, float]:
        """The largest first; the ratio at the gap; and the value in it, infinite where there are none."""
        known = [
            nodes[(residuals <= _KNOWN * nodes) & (nodes > 0)]
            for nodes, residuals in zip(density.nodes, density.residuals, strict=True)
        ]
        falling = max(known, key=len).flip(0)[: self.among]
        if len(falling) < 2:
            return falling[:0], None, math.inf
        ratios = falling[:-1] / falling[1:]
        at = int(ratios.argmax())
        gap = ratios[at].item()
        if gap < self.gap:
            return falling[:0], gap, math.inf
        return falling[: at + 1], gap, (falling[at] * falling[at + 1]).sqrt().item()
