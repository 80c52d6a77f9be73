"""NAdamW: Adam with Nesterov momentum and decoupled weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field

from landsweep.sweeps.lab.optim.base import Family, Method, Step, decay

__all__ = ["NAdamW"]


class NAdamW(Method):
    """NAdam (Dozat 2016) with the decay of arXiv 1711.05101, as torch's NAdam with decoupled_weight_decay.

    mu_t = b1 (1 - 0.96^(t psi) / 2)     m <- b1 m + (1 - b1) g     v <- b2 v + (1 - b2) g^2
    w <- (1 - lr wd) w
    w <- w - lr ((1 - mu_t) g / (1 - prod mu_1..t) + mu_(t+1) m / (1 - prod mu_1..t+1)) / (sqrt(v / (1 - b2^t)) + eps)
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps", "momentum_decay")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    columns: ClassVar[Mapping[str, float]] = {"product": 1.0}
    family: ClassVar[Family | None] = "adam"
    decoupled: ClassVar[bool] = True

    method: Literal["nadamw"]
    learning_rate: float = Field(2e-3, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    momentum_decay: float = Field(4e-3, ge=0, description="psi: how fast mu rises to beta1")

    def update(self, step: Step) -> None:
        decay(step)
        grads, slots, c, t = step.grads, step.slots, step.c, step.t
        now, following = (c["beta1"].double() * (1 - 0.5 * 0.96 ** (s * c["momentum_decay"])) for s in (t, t + 1))
        product = slots["product"].mul_(now)
        mean = slots["mean"].lerp_(grads, 1 - c["beta1"])
        square = slots["square"].mul_(c["beta2"]).addcmul_(grads * (1 - c["beta2"]), grads)
        left = 1 - c["beta2"].double() ** t
        rate, dtype = c["learning_rate"], step.weights.dtype
        root = torch.sqrt(square / left.to(dtype)).add_(c["eps"])
        step.weights.addcmul_(grads / root, (rate * (1 - now) / (1 - product)).to(dtype), value=-1)
        step.weights.addcmul_(mean / root, (rate * following / (1 - product * following)).to(dtype), value=-1)
