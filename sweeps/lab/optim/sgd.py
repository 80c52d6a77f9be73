"""Stochastic gradient descent with heavy-ball or Nesterov momentum."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from landsweep.sweeps.lab.optim.base import Family, Method, Step

__all__ = ["Sgd", "momentum_step", "sgd_step"]


class Sgd(Method):
    """SGD as in torch: the rate multiplies the velocity (Sutskever et al. 2013), weight decay is added to the gradient.

    g <- g + wd w        v <- mu v + g        w <- w - lr v            (momentum)
                                              w <- w - lr (g + mu v)   (Nesterov)
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "momentum")
    slots: ClassVar[tuple[str, ...]] = ("velocity",)
    family: ClassVar[Family | None] = "sgd"

    method: Literal["sgd"]
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule")
    momentum: float = Field(0.0, ge=0, lt=1)
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def update(self, step: Step) -> None:
        sgd_step(step, nesterov=self.nesterov)


def sgd_step(step: Step, *, nesterov: bool) -> None:
    """The step of SGD with its weight decay, in place."""
    step.grads.addcmul_(step.weights, step.c["weight_decay"])
    momentum_step(step, nesterov=nesterov)


def momentum_step(step: Step, *, nesterov: bool) -> None:
    """The step of SGD without weight decay, in place."""
    grads, c = step.grads, step.c
    velocity = step.slots["velocity"].mul_(c["momentum"]).add_(grads)
    along = grads.addcmul_(velocity, c["momentum"]) if nesterov else velocity
    step.weights.addcmul_(along, c["learning_rate"], value=-1)
