"""Relative flatness of a layer: curvature that no rescaling of layers changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Objective, hutchinson, product_with
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.measures.curvature import ModelCurvature, generators
from landsweep.sweeps.measure.subject import Subject

__all__ = ["RelativeFlatness"]


class RelativeFlatness(ModelCurvature):
    """Sum over rows r, s of a layer's weight matrix W of <W_r, W_s> tr H_rs, with H_rs the block of H of both rows.

    Of Petzka et al. (arXiv 2001.00939). It is the mean of vec(W R)' H vec(W R) over matrices R of random signs, and is
    estimated as such.
    """

    measure: Literal["relative_flatness"]
    layer: str | None = Field(
        None, description="name of the weight matrix, such as `out.weight`; none: the last one of the network"
    )
    products: int = Field(200, ge=10, description="most products of the Hessian and a vector")
    tolerance: float = Field(0.05, ge=0, description="standard error, relative to the value")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("relative_flatness", "estimate of the relative flatness of the layer; small is flat"),
            Column("relative_flatness_se", "its standard error over the random probes"),
            Column("relative_flatness_layer", "name of the layer's weight matrix", type="text"),
        )

    def check(self, subject: Subject) -> None:
        """As for all measures of curvature, and the layer must be a matrix."""
        super().check(subject)
        ((_, objective),) = self.packs([subject])
        self._name(objective)

    def of_pack(self, objective: Objective, subjects: Sequence[Subject]) -> Iterator[Measured]:
        name = self._name(objective)
        layer = objective.only([name])
        w = layer.weights.view(len(layer), *layer.layout.shapes[name])
        product = product_with("hessian", layer)

        def moved(signs: Tensor) -> Tensor:
            moves = torch.bmm(w, signs.view(len(layer), w.shape[2], w.shape[2]))
            back = torch.bmm(w.mT, product(moves.flatten(1)).view_as(w))
            return back.flatten(1)

        like = layer.weights.new_zeros(len(layer), w.shape[2] ** 2)
        found = hutchinson(moved, like, generators(subjects), self.products, self.tolerance)
        for k in range(len(subjects)):
            yield Measured(
                {
                    "relative_flatness": found.trace[k].item(),
                    "relative_flatness_se": found.error[k].item(),
                    "relative_flatness_layer": name,
                }
            )

    def _name(self, objective: Objective) -> str:
        matrices = [n for n in objective.layout.matrices() if len(objective.layout.shapes[n]) == 2]
        name = self.layer or (matrices[-1] if matrices else "")
        if name not in matrices:
            raise SpecError(
                f"layer: {self.layer!r} is the name of no weight matrix of this network; relative flatness is defined "
                f"for matrices alone, and there are {', '.join(matrices) or 'none'}"
            )
        return name
