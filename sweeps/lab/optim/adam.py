"""Adam, with weight decay as part of the gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.base import Coefficients, Family, Method, Slots, Step

__all__ = ["Adam", "adam_columns", "adam_divisor", "adam_quotient", "adam_step"]


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

    def ready(self, c: Coefficients, t: Tensor) -> dict[str, Tensor]:
        return adam_columns(c, t)

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


def adam_columns(c: Coefficients, t: Tensor) -> dict[str, Tensor]:
    """What Adam's steps of these numbers need of their coefficients; arguments and shapes as of `Method.ready`."""
    dtype = c["eps"].dtype
    # Step by step: how torch rounds a power may depend on where in an array it stands.
    left1, left2 = (1 - torch.stack([c[b].double() ** each for each in t]) for b in ("beta1", "beta2"))
    return {
        "mean": 1 - c["beta1"],
        "square": 1 - c["beta2"],
        "root": left2.rsqrt().to(dtype),
        "rate": (c["learning_rate"] / left1).to(dtype),
    }


def adam_step(step: Step) -> None:
    """Adam's step without weight decay, in place."""
    columns = step.ready
    if not columns:
        made = adam_columns(step.c, step.t[None])
        columns = {name: column[0] if column.ndim == 3 else column for name, column in made.items()}
    along = _quotient(step.grads, step.slots, columns, step.c, step.shared.get("beta2"))
    step.weights.addcmul_(along, columns["rate"], value=-1)


def adam_quotient(grads: Tensor, slots: Slots, c: Coefficients, t: Tensor) -> tuple[Tensor, Tensor]:
    """What Adam steps along, m / (sqrt(v / (1 - b2^t)) + eps), [K, n]; and 1 - b1^t, [K, 1], which divides it too.

    Args:
        grads: [K, n]; overwritten.
        slots: `mean` and `square`, [K, n] each, in place.
        c: as in `Step`.
        t: [K, 1] of float64: number of this step, from 1.
    """
    left1, left2 = (1 - c[b].double() ** t for b in ("beta1", "beta2"))
    columns = {"mean": 1 - c["beta1"], "square": 1 - c["beta2"], "root": left2.rsqrt().to(grads)}
    return _quotient(grads, slots, columns, c), left1


def _quotient(
    grads: Tensor, slots: Slots, columns: Coefficients, c: Coefficients, beta2: float | None = None
) -> Tensor:
    """M / (sqrt(v / (1 - b2^t)) + eps), [K, n], in the gradients' memory.

    Args:
        grads: [K, n].
        slots: as above.
        columns: of `adam_columns`, [K, 1] each.
        c: as in `Step`.
        beta2: of all models, where they share it; then one pass over the memory is left out.
    """
    mean = slots["mean"].lerp_(grads, columns["mean"])
    square = slots["square"]
    if beta2 is None:
        square.mul_(c["beta2"]).addcmul_(grads * columns["square"], grads)
    else:
        square.mul_(beta2).addcmul_(grads, grads, value=1 - beta2)
    # The gradients' memory is used again: new arrays of a pack cost as much as the arithmetic.
    root = torch.sqrt(square, out=grads).mul_(columns["root"]).add_(c["eps"])
    return torch.div(mean, root, out=root)
