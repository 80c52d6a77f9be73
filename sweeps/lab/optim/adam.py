"""Adam, with weight decay as part of the gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.base import Coefficients, Family, Method, Slots, Step

__all__ = ["Adam", "adam_divisor", "adam_quotient", "adam_step"]


class Adam(Method):
    """Adam (arXiv 1412.6980), as in torch.

    g <- g + wd w     m <- b1 m + (1 - b1) g     v <- b2 v + (1 - b2) g^2
    w <- w - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    family: ClassVar[Family | None] = "adam"
    preconditioned: ClassVar[bool] = True

    method: Literal["adam"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def update(self, step: Step) -> None:
        step.grads.addcmul_(step.weights, step.c["weight_decay"])
        adam_step(step)

    def divisor(self, slots: Slots, c: Coefficients, t: Tensor) -> Tensor:
        return adam_divisor(slots, c, t)


def adam_divisor(slots: Slots, c: Coefficients, t: Tensor) -> Tensor:
    """(1 - b1^t) (sqrt(v / (1 - b2^t)) + eps), the preconditioner of arXiv 2207.14484."""
    left1, left2 = (1 - c[b].double() ** t for b in ("beta1", "beta2"))
    root = (slots["square"].double() / left2).sqrt() + c["eps"].double()
    return (left1 * root).to(slots["square"])


def adam_step(step: Step) -> None:
    """Adam's step without weight decay, in place."""
    along, left1 = adam_quotient(step.grads, step.slots, step.c, step.t)
    step.weights.addcmul_(along, (step.c["learning_rate"] / left1).to(along), value=-1)


def adam_quotient(grads: Tensor, slots: Slots, c: Coefficients, t: Tensor) -> tuple[Tensor, Tensor]:
    """What Adam steps along, m / (sqrt(v / (1 - b2^t)) + eps), [K, n]; and 1 - b1^t, [K, 1], which divides it too.

    Args:
        grads: [K, n]; overwritten.
        slots: `mean` and `square`, [K, n] each, in place.
        c: as in `Step`.
        t: [K, 1] of float64: number of this step, from 1.
    """
    mean = slots["mean"].lerp_(grads, 1 - c["beta1"])
    square = slots["square"].mul_(c["beta2"]).addcmul_(grads * (1 - c["beta2"]), grads)
    left1, left2 = (1 - c[b].double() ** t for b in ("beta1", "beta2"))
    # The gradients' memory is used again: new arrays of a pack cost as much as the arithmetic.
    root = torch.sqrt(square, out=grads).mul_(left2.rsqrt().to(grads)).add_(c["eps"])
    return torch.div(mean, root, out=root), left1
