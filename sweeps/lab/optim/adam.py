"""Adam, with weight decay as part of the gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from sweeps.lab.optim.base import Coefficients, Method, Slots

__all__ = ["Adam", "adam_step"]


class Adam(Method):
    """Adam (arXiv 1412.6980), as in torch.

    g <- g + wd w     m <- b1 m + (1 - b1) g     v <- b2 v + (1 - b2) g^2
    w <- w - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
    """

    rides: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    method: Literal["adam"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def update(self, weights: Tensor, grads: Tensor, slots: Slots, c: Coefficients, t: Tensor) -> None:
        grads.addcmul_(weights, c["weight_decay"])
        adam_step(weights, grads, slots, c, t)


def adam_step(weights: Tensor, grads: Tensor, slots: Slots, c: Coefficients, t: Tensor) -> None:
    """Adam's step without weight decay, in place; arguments as of `Method.update`."""
    mean = slots["mean"].lerp_(grads, 1 - c["beta1"])
    square = slots["square"].mul_(c["beta2"]).addcmul_(grads * (1 - c["beta2"]), grads)
    left1, left2 = (1 - c[b].double() ** t for b in ("beta1", "beta2"))
    root = torch.sqrt(square).mul_(left2.rsqrt().to(weights.dtype)).add_(c["eps"])
    weights.addcmul_(mean / root, (c["learning_rate"] / left1).to(weights.dtype), value=-1)
