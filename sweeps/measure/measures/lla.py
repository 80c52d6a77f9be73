"""The spectral criteria of loss landscape analysis: how far from convex the loss is around a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Density, Objective, densities, product_with
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["Lla"]


class Lla(ModelCurvature):
    """r_e and K_Hn of the Hessian, by stochastic Lanczos quadrature (arXiv 2412.10146).

    With nodes x and weights w of a run: r_e is |lowest x / highest x|; K_Hn is the sum of |x w|^n over negative nodes
    over the sum of (x w)^n over positive ones; both are means over the runs. K_Hn depends on the number of steps, which
    is therefore a column: compare values of equal steps alone.
    """

    measure: Literal["lla"]
    steps: int = Field(100, ge=2, description="products of a run")
    runs: int = Field(1, ge=1, description="random vectors")
    power: float = Field(0.5, gt=0, description="n of K_Hn")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("lla_re", "mean over the runs of |lowest / highest eigenvalue|; none where the highest is 0"),
            Column("lla_khn", "K_Hn: negative against positive curvature; none where there is no positive one"),
            Column("lla_power", "n of `lla_khn`"),
            Column("lla_steps", "nodes of each run, on which `lla_khn` depends", type="int"),
        )

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        product = product_with("hessian", objective)
        for density in densities(product, objective.weights, generators(subjects), self.steps, self.runs):
            ratio, against = self._criteria(density)
            steps = max(len(nodes) for nodes in density.nodes)
            yield Measured({"lla_re": ratio, "lla_khn": against, "lla_power": self.power, "lla_steps": steps})

    def _criteria(self, density: Density) -> tuple[float | None, float | None]:
        ratios, sums = [], []
        for nodes, weights in zip(density.nodes, density.weights, strict=True):
            if not bool(nodes.isfinite().all()):
                return math.nan, math.nan
            each = (nodes * weights).abs() ** self.power
            ratios.append((nodes[0] / nodes[-1]).abs() if nodes[-1] != 0 else None)
            positive = each[nodes > 0].sum()
            sums.append(each[nodes < 0].sum() / positive if positive > 0 else None)
        return _mean(ratios), _mean(sums)


def _mean(values: Sequence[torch.Tensor | None]) -> float | None:
    known = [v for v in values if v is not None]
    return torch.stack(known).mean().item() if len(known) == len(values) else None
