"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from landsweep.sweeps.lab.optim.base import Family, Method, Step, decay

__all__ = ["Lion"]


class Lion(Method):
    """Lion (arXiv 2302.06675, algorithm 2), with decoupled weight decay.

    w <- (1 - lr wd) w     w <- w - lr sign(b1 m + (1 - b1) g)     m <- b2 m + (1 - b2) g
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2")
    slots: ClassVar[tuple[str, ...]] = ("mean",)
    family: ClassVar[Family | None] = "adam"
    decoupled: ClassVar[bool] = True

    method: Literal["lion"]
    learning_rate: float = Field(1e-4, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1, description="of the step")
    beta2: float = Field(0.99, ge=0, lt=1, description="of the memory")

    def update(self, step: Step) -> None:
        decay(step)
        grads, mean, c = step.grads, step.slots["mean"], step.c
        sign = torch.sign(mean * c["beta1"] + grads * (1 - c["beta1"]))
        step.weights.addcmul_(sign, c["learning_rate"], value=-1)
        mean.mul_(c["beta2"]).addcmul_(grads, 1 - c["beta2"])
