"""Induced metric: SGD that slows down where the loss, drawn as a surface over the weights, is steep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.base import Method, Step, decay

__all__ = ["InducedMetric"]


class InducedMetric(Method):
    """SGD in the metric of the loss surface (arXiv 2509.03594), as in the authors' code.

    The surface (w, sqrt(xi) f(w)) has the metric 1 + xi grad f grad f^T, whose inverse along the gradient is a factor:

    v <- b v + (1 - b) xi |g|^2      m <- a m + (1 - a) g      w <- (1 - lr wd) w - lr r m / (1 - a^t)

    r = 1 / (1 + V), V being v / (1 - b^t), where f is the loss (`surface: loss`). Where f is its logarithm,
    r = L / (L^2 + V) with the loss L of the batch. `surface: rms` divides gradients by the root s of an average of
    their squares, as RMSprop: |g|^2 becomes the sum of g^2 / s, and m is divided by s. a = `momentum`, b = `beta`.
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "momentum", "xi", "beta"),
        *("beta2", "eps"),
    )
    columns: ClassVar[Mapping[str, float]] = {"trace": 0.0}
    unruled: ClassVar[str] = "its step is damped by the gradient of the whole model"
    elementwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True

    method: Literal["induced_metric"]
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule")
    surface: Literal["loss", "log_loss", "rms"] = Field("loss", description="what is drawn over the weights")
    momentum: float = Field(0.9, ge=0, lt=1)
    xi: float = Field(0.1, ge=0, description="height of the surface, squared; 0: plain SGD with an averaged gradient")
    beta: float = Field(0.8, ge=0, lt=1, description="of the average of the squared norms")
    beta2: float = Field(0.99, ge=0, lt=1, description="of the average of squares, of rms")
    eps: float = Field(1e-8, gt=0, description="of rms")

    @property
    def needs_positive_loss(self) -> bool:
        return self.surface == "log_loss"

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        names = ("mean", "square") if self.surface == "rms" else ("mean",)
        return {**super().fresh(weights), **{name: torch.zeros_like(weights) for name in names}}

    def update(self, step: Step) -> None:
        decay(step)
        grads, slots, c, dtype = step.grads, step.slots, step.c, step.weights.dtype
        squares = grads.square()
        root = None
        if self.surface == "rms":
            slots["square"].mul_(c["beta2"]).addcmul_(squares, 1 - c["beta2"])
            left2 = 1 - c["beta2"].double() ** step.t
            root = (slots["square"] / left2.to(dtype)).sqrt_().add_(c["eps"])
            squares /= root
        beta, momentum = c["beta"].double(), c["momentum"].double()
        size = c["xi"].double() * squares.sum(1, keepdim=True).double()
        trace = slots["trace"].mul_(beta).add_((1 - beta) * size) / (1 - beta**step.t)
        mean = slots["mean"].mul_(c["momentum"]).addcmul_(grads, 1 - c["momentum"])
        factor = _damping(trace, step.losses.double() if self.needs_positive_loss else None) / (1 - momentum**step.t)
        along = mean if root is None else mean / root
        step.weights.addcmul_(along, (c["learning_rate"].double() * factor).to(dtype), value=-1)


def _damping(trace: Tensor, losses: Tensor | None) -> Tensor:
    """By what steps are multiplied, [K, 1]: of the loss, or, where losses are given, of its logarithm."""
    if losses is None:
        return 1 / (1 + trace)
    whole = losses.square() + trace
    return torch.where(whole > 0, losses / whole, 0.0)  # a loss of 0 without a slope is a place to stay
