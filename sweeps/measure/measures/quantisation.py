"""Quantisation: what fewer bits for the weights do to the loss, and what derivatives say of it beforehand."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.weight_space.quantisation import quantised, weight_names
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.subject import Subject
from landsweep.sweeps.measure.weight_changes import Perturbed

__all__ = ["Quantisation"]


class Quantisation(AloneMeasure):
    """`quantisation`: weights rounded to the nearest of 2^bits - 1 values, symmetric, with one scale for each tensor.

    The largest absolute weight of a tensor is the largest value. The change of the loss is measured, and predicted by
    the gradient, by gradient and Hessian, and by the integral of the gradient along the straight path, which becomes
    the change itself with many points and says how much of it comes from each tensor. All of it is in float64.
    """

    measure: Literal["quantisation"] = "quantisation"
    bits: int = Field(8, ge=2, le=16, description="for each weight")
    tensors: tuple[str, ...] | None = Field(
        None, min_length=1, description="patterns of names of parameters; null: all of two or more dimensions"
    )
    path_points: int = Field(8, ge=1, le=64, description="points of the integral along the path (Gauss-Legendre)")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("quantisation_loss_change", "loss with quantised weights less the loss without"),
            Column("quantisation_gradient", "that change as the gradient predicts it"),
            Column("quantisation_hessian", "that change as gradient and Hessian predict it"),
            Column("quantisation_path", "that change as the integral of the gradient along the path gives it"),
            Column("quantisation_error", "norm of the change of the quantised tensors by their norm"),
            Column("quantisation_accuracy", "share of right answers with quantised weights; none without classes"),
        )

    def of_one(self, subject: Subject) -> Measured:
        model = Perturbed.of(subject, self.samples(subject))
        names = weight_names(model.layout.shapes, self.tensors, "quantisation.tensors")
        changes = self._changes(model, names)
        whole = torch.stack(list(changes.values())).sum(0)
        first = {name: _dot(model.gradient, change) for name, change in changes.items()}
        hessian_times = model.hessian()
        own = {name: _dot(change, hessian_times(change)) / 2 for name, change in changes.items()}
        path = self._path(model, whole, changes)
        norm = float(torch.cat([model.layout.split(model.weights)[name].flatten() for name in names]).norm())
        values = {
            "quantisation_loss_change": model.measured(whole),
            "quantisation_gradient": sum(first.values()),
            "quantisation_hessian": sum(first.values()) + _dot(whole, hessian_times(whole)) / 2,
            "quantisation_path": sum(path.values()),
            "quantisation_error": float(whole.norm()) / norm if norm else None,
            "quantisation_accuracy": model.accuracy(whole),
        }
        curves = {
            "quantisation_loss_change_of_tensors": [model.measured(change) for change in changes.values()],
            "quantisation_gradient_of_tensors": list(first.values()),
            "quantisation_hessian_of_tensors": [first[name] + own[name] for name in changes],
            "quantisation_path_of_tensors": list(path.values()),
        }
        return Measured(values, curves)

    def _changes(self, model: Perturbed, names: list[str]) -> dict[str, Tensor]:
        """What happens to the weights [1, P] when one tensor alone is quantised, for each of them."""
        changes = {}
        for name in names:
            change = torch.zeros_like(model.weights)
            weight = model.layout.split(model.weights)[name]
            model.layout.split(change)[name].copy_(quantised(weight, self.bits) - weight)
            changes[name] = change
        return changes

    def _path(self, model: Perturbed, whole: Tensor, changes: dict[str, Tensor]) -> dict[str, float]:
        """The integral of gradient times change over the path to all quantised weights, for each tensor."""
        points, weights = np.polynomial.legendre.leggauss(self.path_points)
        total = torch.zeros_like(whole)
        for point, weight in zip(points, weights, strict=True):
            total += weight / 2 * model.gradient_at((point + 1) / 2 * whole)
        return {name: _dot(total, change) for name, change in changes.items()}


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())
