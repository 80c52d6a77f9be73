"""SWATS: Adam at first, and SGD from the step on at which its rate is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field

from landsweep.sweeps.lab.optim.base import Method, Step

__all__ = ["Swats"]


class Swats(Method):
    """SWATS (arXiv 1712.07628, algorithm 1).

    First Adam: p = -lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps), w <- w + p. The rate r = p.p / -p.g would make
    SGD's step, projected on p, as long as p; its mean is s <- b2 s + (1 - b2) r. As soon as, after the first step,
    |s / (1 - b2^t) - r| < tolerance, SGD takes over with the rate S = s / (1 - b2^t) of that step:
    u <- b1 u + g, w <- w - (1 - b1) S u. From there on the schedule scales S as it scaled the learning rate.

    Weight decay is added to the gradient. All parameters of a model are one vector and change over together, as in the
    paper. pytorch_optimizer 4.1.0 measures r tensor by tensor, changes all over when the first one is ready, takes the
    tolerance relative to r, and adds 1e-15 under the root; it is the same for a single tensor up to the change.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps", "tolerance")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square", "velocity")
    columns: ClassVar[Mapping[str, float]] = {"rate": 0.0, "share": 0.0}  # share: S in learning rates; 0 while Adam
    unruled: ClassVar[str] = (
        "it changes from Adam to SGD, whose rules differ, with a rate that is measured over the whole model"
    )

    method: Literal["swats"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-9, gt=0)
    tolerance: float = Field(1e-9, gt=0, description="how close the rate must be to its mean for the change to SGD")

    def update(self, step: Step) -> None:
        grads, slots, c, dtype = step.grads, step.slots, step.c, step.weights.dtype
        grads.addcmul_(step.weights, c["weight_decay"])
        changed = slots["share"] > 0
        mean = slots["mean"].lerp_(grads, 1 - c["beta1"])
        square = slots["square"].mul_(c["beta2"]).addcmul_(grads * (1 - c["beta2"]), grads)
        left1, left2 = (1 - c[b].double() ** step.t for b in ("beta1", "beta2"))
        now = c["learning_rate"].double()
        adam = mean / torch.sqrt(square).add_(c["eps"]) * -(now * left2.sqrt() / left1).to(dtype)
        velocity = torch.where(changed, slots["velocity"] * c["beta1"] + grads, 0.0)
        slots["velocity"].copy_(velocity)
        sgd = velocity * -((1 - c["beta1"].double()) * slots["share"] * now).to(dtype)
        step.weights.add_(torch.where(changed, sgd, adam))

        along = -(adam * grads).sum(1, keepdim=True).double()
        rate = adam.square().sum(1, keepdim=True).double() / along
        measurable = ~changed & (along != 0)
        slots["rate"].copy_(torch.where(measurable, slots["rate"].lerp(rate, 1 - c["beta2"].double()), slots["rate"]))
        guess = slots["rate"] / left2
        ready = measurable & (step.t > 1) & (guess > 0) & ((guess - rate).abs() < c["tolerance"])
        slots["share"].copy_(torch.where(ready, guess / now, slots["share"]))
