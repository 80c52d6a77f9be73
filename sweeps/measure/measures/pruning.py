"""Pruning: what the loss is when the least important weights are 0."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.orchestrator.row import Column
from landsweep.sweeps.lab.curvature import Product, signs
from landsweep.sweeps.lab.streams import generator
from landsweep.sweeps.lab.weight_space.quantisation import weight_names
from landsweep.sweeps.measure.measures.alone import AloneMeasure
from landsweep.sweeps.measure.measures.base import Measured
from landsweep.sweeps.measure.subject import Subject
from landsweep.sweeps.measure.weight_changes import Perturbed

__all__ = ["Pruning"]


class Pruning(AloneMeasure):
    """`pruning`: loss with a share of the weights alone, without training again.

    Weights go in order of importance: their magnitude, or h w^2 / 2 with h the diagonal of the Hessian (optimal brain
    damage, LeCun et al. 1989), which is estimated by random signs: the mean of z * Hz. Of equal ones the first in the
    tensor goes first. All of it is in float64.
    """

    measure: Literal["pruning"] = "pruning"
    density: float = Field(0.5, gt=0, le=1, description="share of the weights that stay")
    by: Literal["magnitude", "hessian"] = Field("magnitude", description="what makes a weight important")
    scope: Literal["global", "layer"] = Field("global", description="one order for all tensors, or one for each")
    tensors: tuple[str, ...] | None = Field(
        None, min_length=1, description="patterns of names of parameters; null: all of two or more dimensions"
    )
    probes: int = Field(64, ge=1, description="random vectors for the diagonal; with by: hessian")

    def columns(self) -> tuple[Column, ...]:
        return (
            Column("pruning_loss", "loss of the pruned model"),
            Column("pruning_loss_change", "pruning_loss less the loss of the model itself"),
            Column("pruning_hessian", "that change as gradient and Hessian predict it"),
            Column("pruning_diagonal", "that change as the Hessian's estimated diagonal alone predicts it"),
            Column("pruning_accuracy", "share of right answers of the pruned model; none without classes"),
            Column("pruning_density", "share of the weights that stayed, of the tensors that are pruned"),
        )

    def of_one(self, subject: Subject) -> Measured:
        model = Perturbed.of(subject, self.samples(subject))
        names = weight_names(model.layout.shapes, self.tensors, "pruning.tensors")
        hessian_times = model.hessian()
        saliency = self._saliency(model, hessian_times, subject.seed)
        stays = self._stays(model.layout.split(saliency), names)
        change = torch.zeros_like(model.weights)
        for name, part in model.layout.split(change).items():
            if name in stays:
                part.copy_(-model.layout.split(model.weights)[name] * ~stays[name])
        rise = model.measured(change)
        predicted = float((change * (model.gradient + hessian_times(change) / 2)).sum())
        kept, total = sum(int(s.sum()) for s in stays.values()), sum(s.numel() for s in stays.values())
        values = {
            "pruning_loss": model.loss + rise,
            "pruning_loss_change": rise,
            "pruning_hessian": predicted,
            "pruning_diagonal": float(saliency[change != 0].sum()) if self.by == "hessian" else None,
            "pruning_accuracy": model.accuracy(change),
            "pruning_density": kept / total,
        }
        return Measured(values, {"pruning_density_of_tensors": [float(s.double().mean()) for s in stays.values()]})

    def _saliency(self, model: Perturbed, hessian_times: Product, seed: int) -> Tensor:
        """How important each weight is, [1, P]."""
        if self.by == "magnitude":
            return model.weights.abs()
        diagonal, draws = torch.zeros_like(model.weights), generator(seed, "probes")
        for _ in range(self.probes):
            z = signs([draws], model.weights)
            diagonal += z * hessian_times(z) / self.probes
        return diagonal * model.weights.square() / 2

    def _stays(self, saliency: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
        """Which weights of each tensor stay, [1, ...]."""
        if self.scope == "layer":
            return {name: self._best(saliency[name].flatten()).view_as(saliency[name]) for name in names}
        flat = self._best(torch.cat([saliency[name].flatten() for name in names]))
        parts = torch.split(flat, [saliency[name].numel() for name in names])
        return {name: part.view_as(saliency[name]) for name, part in zip(names, parts, strict=True)}

    def _best(self, saliency: Tensor) -> Tensor:
        order = torch.argsort(saliency, stable=True)
        stays = torch.ones_like(saliency, dtype=torch.bool)
        stays[order[: len(saliency) - round(self.density * len(saliency))]] = False
        return stays
