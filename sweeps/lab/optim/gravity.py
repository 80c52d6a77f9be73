"""Gravity: steps that large gradients shorten."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step
from landsweep.sweeps.lab.streams import generator

__all__ = ["Gravity"]


class Gravity(Method):
    """Gravity (arXiv 2101.09192).

    z = g / (1 + (g max|g|)^2)     b_t = (b t + 1) / (t + 2)     u <- b_t u + (1 - b_t) z     w <- w - lr u

    The maximum is over each parameter tensor. u starts from a normal distribution with standard deviation
    alpha / learning_rate (that of the settings, whatever the schedule), drawn by the stream `gravity` of the seed.
    The paper has no weight decay; here it is added to the gradient.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta", "alpha")
    unruled: ClassVar[str] = "its steps shrink for large gradients and grow in proportion for small ones"

    method: Literal["gravity"]
    learning_rate: float = Field(0.1, gt=0, description="the highest of the schedule")
    alpha: float = Field(0.01, ge=0, description="standard deviation of the first steps, in weights")
    beta: float = Field(0.9, ge=0, lt=1, description="memory of the step, as the number of steps grows")

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout
        draws = torch.randn(len(weights), generator=generator(seed, "gravity"), dtype=weights.dtype)
        return {"velocity": draws.to(weights.device) * (self.alpha / self.learning_rate)}

    def update(self, step: Step) -> None:
        grads, c = step.grads, step.c
        grads.addcmul_(step.weights, c["weight_decay"])
        largest = step.layout.spread(step.layout.each(grads.abs(), lambda part: part.amax(1)))
        pulled = grads / (grads * largest).square_().add_(1)
        memory = (c["beta"] * step.t + 1) / (step.t + 2)
        velocity = step.slots["velocity"].lerp_(pulled, (1 - memory).to(grads.dtype))
        step.weights.addcmul_(velocity, c["learning_rate"], value=-1)
