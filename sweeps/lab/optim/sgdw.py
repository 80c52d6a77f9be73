"""SGDW: SGD with a weight decay that is no part of the gradient."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from landsweep.sweeps.lab.optim.base import Method, Step, independent_decay
from landsweep.sweeps.lab.optim.sgd import momentum_step

__all__ = ["Sgdw"]


class Sgdw(Method):
    """SGDW (arXiv 1711.05101, algorithm 1), whose weight decay does not depend on the learning rate.

    v <- mu v + g     w <- (1 - s wd) w - lr v                (momentum)
                      w <- (1 - s wd) w - lr (g + mu v)       (Nesterov)

    s is the multiplier of the schedule, and lr is s times the learning rate. In the paper the velocity holds lr; here
    lr multiplies it, as in `sgd` and in pytorch_optimizer, which is the same while the rate is constant.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "momentum")
    slots: ClassVar[tuple[str, ...]] = ("velocity",)
    unruled: ClassVar[str] = "its weight decay does not follow the learning rate"
    decoupled: ClassVar[bool] = True

    method: Literal["sgdw"]
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule")
    weight_decay: float = Field(0.0, ge=0, lt=1, description="share of each weight that a step at the peak takes off")
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def coefficients(self) -> dict[str, float]:
        return {**super().coefficients(), "peak": self.learning_rate}

    def update(self, step: Step) -> None:
        independent_decay(step)
        momentum_step(step, nesterov=self.nesterov)
