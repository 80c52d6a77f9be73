"""D-Adaptation: Adam whose step size follows a lower bound of the distance to the solution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step

__all__ = ["DAdaptAdam"]


class DAdaptAdam(Method):
    """Adam with D-Adaptation (arXiv 2301.07733, algorithm 5), with decoupled weight decay.

    h = d lr     b = sqrt(b2)     r <- b r + (1 - b) h <g, s / (sqrt(v) + eps)>
    m <- b1 m + (1 - b1) h g     v <- b2 v + (1 - b2) g^2     s <- b s + (1 - b) h g
    w <- (1 - h wd) w - m / (sqrt(v) + eps)     d <- max(d, min(r / ((1 - b) |s|_1), growth d))

    The sums <., .> and |s|_1 are over all parameters of a model. With `correct` h is multiplied by
    sqrt(1 - b2^t) / (1 - b1^t).
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "beta1", "beta2", "eps", "first", "growth"),
    )
    slots: ClassVar[tuple[str, ...]] = ("mean", "square", "sum")
    columns: ClassVar[Mapping[str, float]] = {"rise": 0.0}
    unruled: ClassVar[str] = "the length of its step follows from sums over the whole model"
    elementwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True

    method: Literal["dadapt_adam"]
    learning_rate: float = Field(1.0, gt=0, description="the highest of the schedule; leave it at 1")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    first: float = Field(1e-6, gt=0, description="first estimate of the distance")
    growth: float | None = Field(None, gt=1, description="most that the estimate may grow by in a step; none: no limit")
    correct: bool = Field(False, description="correct the start of the means")

    def coefficients(self) -> dict[str, float]:
        settings = {name: getattr(self, name) for name in self.per_model if name != "first"}
        settings["growth"] = math.inf if self.growth is None else self.growth
        return {name: float(value) for name, value in settings.items()}

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout, seed
        return {"distance": torch.full((1,), self.first, dtype=torch.float64, device=weights.device)}

    def update(self, step: Step) -> None:
        grads, weights, slots, dtype = step.grads, step.weights, step.slots, step.weights.dtype
        c = {name: value.double() for name, value in step.c.items()}
        distance, root2 = slots["distance"], c["beta2"].sqrt()
        rate = distance * c["learning_rate"]
        if self.correct:
            rate = rate * (1 - c["beta2"] ** step.t).sqrt() / (1 - c["beta1"] ** step.t)
        before = torch.sqrt(slots["square"]).add_(step.c["eps"])
        along = rate * (grads * (slots["sum"] / before)).sum(1, keepdim=True).double()
        slots["mean"].mul_(step.c["beta1"]).addcmul_(grads, ((1 - c["beta1"]) * rate).to(dtype))
        slots["square"].mul_(step.c["beta2"]).addcmul_(grads * (1 - step.c["beta2"]), grads)
        total = slots["sum"].mul_(root2.to(dtype)).addcmul_(grads, ((1 - root2) * rate).to(dtype))
        length = total.abs().sum(1, keepdim=True).double()
        known = length > 0  # else all gradients so far were 0, and nothing moves
        slots["rise"].copy_(torch.where(known, slots["rise"].lerp(along, 1 - root2), slots["rise"]))
        guess = torch.where(known, slots["rise"] / ((1 - root2) * length), 0.0)
        distance.copy_(torch.where(rate > 0, distance.maximum(guess.minimum(distance * c["growth"])), distance))
        weights.mul_(torch.where(known, 1 - rate * c["weight_decay"], 1.0).to(dtype))
        moved = slots["mean"] / torch.sqrt(slots["square"]).add_(step.c["eps"])
        weights.sub_(torch.where(known, moved, 0.0))
