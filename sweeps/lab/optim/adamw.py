"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.adam import adam_columns, adam_divisor, adam_step
from landsweep.sweeps.lab.optim.base import Coefficients, Family, Method, Slots, Step, decay, shrinkage

__all__ = ["AdamW"]


class AdamW(Method):
    """AdamW (arXiv 1711.05101), as in torch: the decay is lr wd w, so it follows the schedule.

    w <- (1 - lr wd) w, then Adam's step without decay
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    family: ClassVar[Family | None] = "adam"
    decoupled: ClassVar[bool] = True
    preconditioned: ClassVar[bool] = True

    method: Literal["adamw"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    weight_decay: float = Field(1e-2, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def ready(self, c: Coefficients, t: Tensor) -> dict[str, Tensor]:
        return {**adam_columns(c, t), "shrink": shrinkage(c)}

    def update(self, step: Step) -> None:
        decay(step)
        adam_step(step)

    def divisor(self, slots: Slots, c: Coefficients, t: Tensor) -> Tensor:
        return adam_divisor(slots, c, t)
