"""SAM and ASAM: the gradient of the worst point nearby."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from landsweep.sweeps.lab.optim.base import Step
from landsweep.sweeps.lab.optim.based import BASE_SETTINGS, Based

__all__ = ["Sam"]


class Sam(Based):
    """SAM (arXiv 2010.01412) and, where `adaptive`, ASAM (arXiv 2102.11600): two gradients of one batch per step.

    SAM:    g = grad L(w)     g' = grad L(w + rho g / |g|)               then the base's step from w with g'
    ASAM:   T = |w| + eta     g' = grad L(w + rho T^2 g / |T g|)

    Norms are over all parameters of a model. The base is SGD or AdamW, with their own settings. Both gradients see the
    same batch, dropout and augmentation; statistics of batch normalisation are those of the first. pytorch_optimizer
    4.1.0 computes the norm in float32 whatever the weights are, and its ASAM has eta = 0, so that weights that are 0
    are never moved; the paper takes 0.01.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "rho", "eta", *BASE_SETTINGS)
    own: ClassVar[tuple[str, ...]] = ("rho", "eta")
    unruled: ClassVar[str] = (
        "its perturbation has one radius for all tensors, which leaves only the last layer in wide "
        "networks (arXiv 2411.00075)"
    )

    method: Literal["sam"]
    rho: float = Field(
        0.05, ge=0, description="radius of the neighbourhood; the papers take 0.05 for SAM, 0.5 for ASAM"
    )
    adaptive: bool = Field(False, description="ASAM: a neighbourhood that follows the scale of each weight")
    eta: float = Field(0.01, ge=0, description="of ASAM")

    @property
    def gradients(self) -> int:
        return 2

    def update(self, step: Step) -> None:
        weights, here = step.weights, step.weights.clone()
        scale = weights.abs().add_(step.c["eta"]) if self.adaptive else weights.new_ones(())
        along = step.grads * scale
        norm = torch.linalg.vector_norm(along, dim=1, keepdim=True)
        weights.addcmul_(along * scale, step.c["rho"] / (norm + 1e-12))
        step.grads.copy_(step.again())
        weights.copy_(here)
        self.base_step(step)
