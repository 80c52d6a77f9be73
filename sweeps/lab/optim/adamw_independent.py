"""AdamW as its paper has it: with a weight decay that does not depend on the learning rate."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.adam import adam_columns, adam_divisor, adam_step
from landsweep.sweeps.lab.optim.base import Coefficients, Method, Slots, Step, independent_decay

__all__ = ["IndependentAdamW"]


class IndependentAdamW(Method):
    """AdamW (arXiv 1711.05101, algorithm 2; the independent weight decay of arXiv 2309.14322).

    w <- (1 - s wd) w, then Adam's step without decay

    s is the multiplier of the schedule. `adamw` decays by lr wd instead, as torch does: there a higher learning rate
    needs a smaller wd for the same decay.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    unruled: ClassVar[str] = "its weight decay does not follow the learning rate"
    decoupled: ClassVar[bool] = True
    preconditioned: ClassVar[bool] = True

    method: Literal["adamw_independent"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    weight_decay: float = Field(1e-5, ge=0, lt=1, description="share of each weight that a step at the peak takes off")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def coefficients(self) -> dict[str, float]:
        return {**super().coefficients(), "peak": self.learning_rate}

    def ready(self, c: Coefficients, t: Tensor) -> dict[str, Tensor]:
        return adam_columns(c, t)

    def update(self, step: Step) -> None:
        independent_decay(step)
        adam_step(step)

    def divisor(self, slots: Slots, c: Coefficients, t: Tensor) -> Tensor:
        return adam_divisor(slots, c, t)
