"""SAM and ASAM: the gradient of the worst point nearby."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from landsweep.sweeps.lab.optim.adam import adam_step
from landsweep.sweeps.lab.optim.base import Method, Step, decay
from landsweep.sweeps.lab.optim.sgd import sgd_step

__all__ = ["Sam"]

_BASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # settings and slots of each base
    "sgd": (("momentum",), ("velocity",)),
    "adamw": (("beta1", "beta2", "eps"), ("mean", "square")),
}


class Sam(Method):
    """SAM (arXiv 2010.01412) and, where `adaptive`, ASAM (arXiv 2102.11600): two gradients of one batch per step.

    SAM:    g = grad L(w)     g' = grad L(w + rho g / |g|)               then the base's step from w with g'
    ASAM:   T = |w| + eta     g' = grad L(w + rho T^2 g / |T g|)

    Norms are over all parameters of a model. The base is SGD or AdamW, with their own settings. Both gradients see the
    same batch, dropout and augmentation; statistics of batch normalisation are those of the first. pytorch_optimizer
    4.1.0 computes the norm in float32 whatever the weights are, and its ASAM has eta = 0, so that weights that are 0
    are never moved; the paper takes 0.01.
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "rho", "eta", "momentum", "beta1", "beta2", "eps"),
    )
    gradients: ClassVar[int] = 2
    unruled: ClassVar[str] = (
        "its perturbation has one radius for all tensors, which leaves only the last layer in wide "
        "networks (arXiv 2411.00075)"
    )

    method: Literal["sam"]
    base: Literal["sgd", "adamw"] = Field("sgd", description="whose step is made")
    rho: float = Field(
        0.05, ge=0, description="radius of the neighbourhood; the papers take 0.05 for SAM, 0.5 for ASAM"
    )
    adaptive: bool = Field(False, description="ASAM: a neighbourhood that follows the scale of each weight")
    eta: float = Field(0.01, ge=0, description="of ASAM")
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="of sgd")
    beta1: float = Field(0.9, ge=0, lt=1, description="of adamw")
    beta2: float = Field(0.999, ge=0, lt=1, description="of adamw")
    eps: float = Field(1e-8, gt=0, description="of adamw")

    @model_validator(mode="after")
    def _settings_belong_to_the_base(self) -> Self:
        if self.base == "adamw" and (self.momentum or self.nesterov):
            raise ValueError("momentum and nesterov are of the base sgd; adamw has beta1")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def coefficients(self) -> dict[str, float]:
        shared = ("learning_rate", "weight_decay", "rho", "eta")
        return {name: float(getattr(self, name)) for name in (*shared, *_BASES[self.base][0])}

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        return {name: torch.zeros_like(weights) for name in _BASES[self.base][1]}

    def update(self, step: Step) -> None:
        weights, here = step.weights, step.weights.clone()
        scale = weights.abs().add_(step.c["eta"]) if self.adaptive else weights.new_ones(())
        along = step.grads * scale
        norm = torch.linalg.vector_norm(along, dim=1, keepdim=True)
        weights.addcmul_(along * scale, step.c["rho"] / (norm + 1e-12))
        step.grads.copy_(step.again())
        weights.copy_(here)
        if self.base == "sgd":
            sgd_step(step, nesterov=self.nesterov)
        else:
            decay(step)
            adam_step(step)
