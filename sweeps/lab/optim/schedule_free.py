"""Schedule-free SGD and AdamW: an average of the weights takes the place of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Coefficients, Method, Slots, Step

__all__ = ["ScheduleFreeAdamW", "ScheduleFreeSgd"]

_BETAS = {"schedule_free_sgd": "momentum", "schedule_free_adamw": "beta1"}


class _ScheduleFree(Method):
    """What both share (arXiv 2405.15682): y, at which gradients are taken, the base's z, and their average x.

    z <- z - lr d     x <- (1 - c) x + c z     y <- (1 - b) z + b x     c = a_t / sum over i <= t of a_i
    a_t = t^r (largest lr so far)^power

    d is the base's direction at y, with weight decay at y. The weights of a training are y; models are evaluated and
    kept at x, which is (y - (1 - b) z) / b. Buffers, such as the statistics of batch normalisation, are those of y.
    """

    columns: ClassVar[Mapping[str, float]] = {"total": 0.0, "peak": 0.0}
    unruled: ClassVar[str] = "its step is that of an average over the training"
    averages: ClassVar[bool] = True

    r: float = Field(0.0, ge=0, description="exponent of the step in the weights of the average")
    power: float = Field(2.0, ge=0, description="exponent of the highest rate so far in the weights of the average")

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout, seed
        return {"base": weights.clone()}

    def evaluated(self, weights: Tensor, slots: Slots, c: Coefficients) -> Tensor:
        return weights + (slots["base"] - weights) * (1 - 1 / c[_BETAS[self.method]])

    def _move(self, step: Step, along: Tensor) -> None:
        """Step all three by a direction [K, P], which is overwritten."""
        slots, c, dtype = step.slots, step.c, step.weights.dtype
        rate, beta = (c[name].double() for name in ("learning_rate", _BETAS[self.method]))
        along.addcmul_(step.weights, c["weight_decay"])
        peak = slots["peak"].copy_(slots["peak"].maximum(rate))
        weight = step.t ** c["r"].double() * peak ** c["power"].double()
        total = slots["total"].add_(weight)
        share = torch.where(total > 0, weight / total, 0.0)
        step.weights.add_((slots["base"] - step.weights) * share.to(dtype))
        step.weights.addcmul_(along, (rate * (beta * (1 - share) - 1)).to(dtype))
        slots["base"].addcmul_(along, c["learning_rate"], value=-1)


class ScheduleFreeSgd(_ScheduleFree):
    """Schedule-free SGD (arXiv 2405.15682, algorithm 1): d = g + wd y. Use a constant rate, perhaps with a warm-up."""

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "momentum", "r", "power")

    method: Literal["schedule_free_sgd"]
    learning_rate: float = Field(1.0, gt=0, description="the highest of the schedule, which should be constant")
    momentum: float = Field(0.9, gt=0, lt=1, description="share of the average in the point of the gradients")

    def update(self, step: Step) -> None:
        self._move(step, step.grads)


class ScheduleFreeAdamW(_ScheduleFree):
    """Schedule-free AdamW (arXiv 2405.15682, section 4): d = g / (sqrt(v / (1 - b2^t)) + eps) + wd y.

    v <- b2 v + (1 - b2) g^2. Use a constant rate, perhaps with a warm-up.
    """

    per_model: ClassVar[tuple[str, ...]] = (*("learning_rate", "weight_decay", "beta1", "beta2", "eps", "r", "power"),)
    slots: ClassVar[tuple[str, ...]] = ("square",)

    method: Literal["schedule_free_adamw"]
    learning_rate: float = Field(2.5e-3, gt=0, description="the highest of the schedule, which should be constant")
    beta1: float = Field(0.9, gt=0, lt=1, description="share of the average in the point of the gradients")
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def update(self, step: Step) -> None:
        grads, c, dtype = step.grads, step.c, step.weights.dtype
        square = step.slots["square"].mul_(c["beta2"]).addcmul_(grads * (1 - c["beta2"]), grads)
        left2 = 1 - c["beta2"].double() ** step.t
        self._move(step, grads.div_(torch.sqrt(square).mul_(left2.rsqrt().to(dtype)).add_(c["eps"])))
