"""Prodigy: Adam whose step size follows an estimate of the distance to the solution."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step

__all__ = ["Prodigy"]


class Prodigy(Method):
    """Prodigy (arXiv 2306.06101, algorithm 4), with decoupled weight decay.

    r <- b3 r + (d / d0) d lr <g, w_0 - w>     m <- b1 m + (1 - b1) d g     v <- b2 v + (1 - b2) d^2 g^2
    s <- b3 s + (d / d0) d lr g     d' = max(d, coef r / |s|_1), at most `growth` times d after the first rise
    w <- (1 - d lr wd) w - d lr m / (sqrt(v) + d' eps),     then d <- d'

    The sums r and |s|_1 are over all parameters of a model. With `correct` d lr is multiplied by
    sqrt(1 - b2^t) / (1 - b1^t).
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "beta1", "beta2", "beta3", "eps", "first", "coef", "growth"),
    )
    slots: ClassVar[tuple[str, ...]] = ("mean", "square", "sum")
    unruled: ClassVar[str] = "the length of its step follows from sums over the whole model"

    method: Literal["prodigy"]
    learning_rate: float = Field(1.0, gt=0, description="the highest of the schedule; leave it at 1")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    beta3: float | None = Field(None, ge=0, lt=1, description="memory of the estimate; none: the root of beta2")
    eps: float = Field(1e-8, gt=0)
    first: float = Field(1e-6, gt=0, description="first estimate of the distance")
    coef: float = Field(1.0, gt=0, description="factor of the estimate: the setting to tune, if any")
    growth: float | None = Field(None, gt=1, description="most that the estimate may grow by in a step; none: no limit")
    correct: bool = Field(False, description="correct the start of the means")

    def coefficients(self) -> dict[str, float]:
        settings = {name: getattr(self, name) for name in self.per_model if name != "first"}
        settings["beta3"] = math.sqrt(self.beta2) if self.beta3 is None else self.beta3
        settings["growth"] = math.inf if self.growth is None else self.growth
        return {name: float(value) for name, value in settings.items()}

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout, seed
        distance = torch.full((1,), self.first, dtype=torch.float64, device=weights.device)
        same = {name: distance.clone() for name in ("first", "distance", "highest")}
        return {"origin": weights.clone(), **same, "rise": 0 * distance}

    def update(self, step: Step) -> None:
        grads, weights, slots, dtype = step.grads, step.weights, step.slots, step.weights.dtype
        c = {name: value.double() for name, value in step.c.items()}
        distance, first = slots["distance"].clone(), slots["first"]
        rate = distance * c["learning_rate"]
        if self.correct:
            rate = rate * (1 - c["beta2"] ** step.t).sqrt() / (1 - c["beta1"] ** step.t)
        weight = (distance / first * rate).to(dtype)
        fallen = (grads * (slots["origin"] - weights) * weight).sum(1, keepdim=True)
        rise = slots["rise"].mul_(c["beta3"]).add_(fallen)
        slots["mean"].mul_(step.c["beta1"]).addcmul_(grads, ((1 - c["beta1"]) * distance).to(dtype))
        scaled = grads * distance.to(dtype)
        slots["square"].mul_(step.c["beta2"]).addcmul_(scaled * (1 - step.c["beta2"]), scaled)
        total = slots["sum"].mul_(step.c["beta3"]).addcmul_(grads, weight).abs().sum(1, keepdim=True).double()

        guess = torch.where(total > 0, c["coef"] * rise / total, distance)
        base = torch.where(distance == first, distance.maximum(guess), distance)
        highest = slots["highest"].copy_(slots["highest"].maximum(guess))
        slots["distance"].copy_(highest.minimum(base * c["growth"]))

        weights.mul_((1 - rate * c["weight_decay"]).to(dtype))
        root = torch.sqrt(slots["square"]).add_((slots["distance"] * c["eps"]).to(dtype))
        weights.addcmul_(torch.where(total > 0, slots["mean"] / root, 0.0), rate.to(dtype), value=-1)
