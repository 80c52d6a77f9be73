"""RMSprop, with momentum on the scaled gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.base import Coefficients, Family, Method, Slots, Step

__all__ = ["RmsProp"]


class RmsProp(Method):
    """RMSprop (Tieleman and Hinton 2012; with momentum as in arXiv 1308.0850), as in torch: eps outside the root.

    g <- g + wd w     v <- a v + (1 - a) g^2     b <- mu b + g / (sqrt(v) + eps)     w <- w - lr b
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "momentum", "alpha", "eps")
    slots: ClassVar[tuple[str, ...]] = ("square", "velocity")
    family: ClassVar[Family | None] = "adam"
    preconditioned: ClassVar[bool] = True

    method: Literal["rmsprop"]
    learning_rate: float = Field(1e-2, gt=0, description="the highest of the schedule")
    momentum: float = Field(0.0, ge=0, lt=1)
    alpha: float = Field(0.99, ge=0, lt=1, description="memory of the mean square")
    eps: float = Field(1e-8, gt=0)

    def update(self, step: Step) -> None:
        grads, slots, c = step.grads, step.slots, step.c
        grads.addcmul_(step.weights, c["weight_decay"])
        square = slots["square"].mul_(c["alpha"]).addcmul_(grads * (1 - c["alpha"]), grads)
        velocity = slots["velocity"].mul_(c["momentum"]).add_(grads / torch.sqrt(square).add_(c["eps"]))
        step.weights.addcmul_(velocity, c["learning_rate"], value=-1)

    def divisor(self, slots: Slots, c: Coefficients, t: Tensor) -> Tensor:
        del t
        return torch.sqrt(slots["square"]).add_(c["eps"])
