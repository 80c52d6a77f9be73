"""Methods that find another gradient for the step of a base: SGD or AdamW with their own settings."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from landsweep.sweeps.lab.optim.adam import adam_step
from landsweep.sweeps.lab.optim.base import Method, Step, decay
from landsweep.sweeps.lab.optim.sgd import sgd_step

__all__ = ["BASE_SETTINGS", "Based"]

_BASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # settings and slots of each base
    "sgd": (("momentum",), ("velocity",)),
    "adamw": (("beta1", "beta2", "eps"), ("mean", "square")),
}
BASE_SETTINGS = ("momentum", "beta1", "beta2", "eps")
"""Fields of the bases that may differ between the models of a pack."""


class Based(Method):
    """What these methods share.

    Attributes:
        own: names of the method's own coefficients.
    """

    own: ClassVar[tuple[str, ...]] = ()

    base: Literal["sgd", "adamw"] = Field("sgd", description="whose step is made")
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    nesterov: bool = Field(False, description="of sgd")
    beta1: float = Field(0.9, ge=0, lt=1, description="of adamw")
    beta2: float = Field(0.999, ge=0, lt=1, description="of adamw")
    eps: float = Field(1e-8, gt=0, description="of adamw")

    @model_validator(mode="after")
    def _settings_belong_to_the_base(self) -> Self:
        if self.base == "adamw" and (self.momentum or self.nesterov):
            raise ValueError("momentum and nesterov are of the base sgd; adamw has beta1")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    def coefficients(self) -> dict[str, float]:
        names = ("learning_rate", "weight_decay", *self.own, *_BASES[self.base][0])
        return {name: float(getattr(self, name)) for name in names}

    def fresh(self, weights: Tensor) -> dict[str, Tensor]:
        return {name: torch.zeros_like(weights) for name in _BASES[self.base][1]}

    def base_step(self, step: Step) -> None:
        """The step of the base with `step.grads`, in place."""
        if self.base == "sgd":
            sgd_step(step, nesterov=self.nesterov)
        else:
            decay(step)
            adam_step(step)
