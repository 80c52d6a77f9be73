"""AdEMAMix: Adam with a second, slow memory of the gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from landsweep.sweeps.lab.optim.base import Family, Method, Step, decay

__all__ = ["AdEMAMix"]


class AdEMAMix(Method):
    """AdEMAMix (arXiv 2409.03137, algorithm 1), with decoupled weight decay.

    m1 <- b1 m1 + (1 - b1) g     m2 <- b3_t m2 + (1 - b3_t) g     v <- b2 v + (1 - b2) g^2
    w <- (1 - lr wd) w - lr (m1 / (1 - b1^t) + a_t m2) / (sqrt(v / (1 - b2^t)) + eps)

    Over the first `ramp` steps a_t = a t / ramp, and b3_t rises from b1 to b3 so that its half-life grows linearly:
    1 / ln b3_t = (1 - t / ramp) / ln b1 + (t / ramp) / ln b3.
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "beta1", "beta2", "beta3", "alpha", "ramp", "eps"),
    )
    slots: ClassVar[tuple[str, ...]] = ("mean", "slow", "square")
    family: ClassVar[Family | None] = "adam"
    decoupled: ClassVar[bool] = True

    method: Literal["ademamix"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1, description="of the fast memory")
    beta2: float = Field(0.999, ge=0, lt=1, description="of the mean square")
    beta3: float = Field(0.9999, gt=0, lt=1, description="of the slow memory")
    alpha: float = Field(5.0, ge=0, description="weight of the slow memory")
    ramp: int = Field(0, ge=0, description="steps over which alpha and beta3 rise; the paper takes the whole run")
    eps: float = Field(1e-8, gt=0)

    def update(self, step: Step) -> None:
        decay(step)
        grads, slots, c, dtype = step.grads, step.slots, step.c, step.weights.dtype
        share = (step.t / c["ramp"]).clamp(max=1)
        fast, last = c["beta1"].double().log(), c["beta3"].double().log()
        beta3 = torch.exp(1 / ((1 - share) / fast + share / last)).minimum(last.exp())
        mean = slots["mean"].lerp_(grads, 1 - c["beta1"])
        slow = slots["slow"].lerp_(grads, (1 - beta3).to(dtype))
        square = slots["square"].mul_(c["beta2"]).addcmul_(grads * (1 - c["beta2"]), grads)
        left1, left2 = (1 - c[b].double() ** step.t for b in ("beta1", "beta2"))
        root = torch.sqrt(square).mul_(left2.rsqrt().to(dtype)).add_(c["eps"])
        along = mean / left1.to(dtype) + slow * (share * c["alpha"]).to(dtype)
        step.weights.addcmul_(along / root, c["learning_rate"], value=-1)
