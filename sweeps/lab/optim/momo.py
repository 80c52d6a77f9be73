"""MoMo and MoMo-Adam: step sizes from a model of the loss."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step

__all__ = ["Momo", "MomoAdam"]


class Momo(Method):
    """MoMo (arXiv 2305.07583, algorithm 1): momentum with a step no longer than the loss can still fall.

    d <- b d + (1 - b) g     f <- b f + (1 - b) L     y <- b y + (1 - b) <g, w>       (each starts as its first value)
    t = min(lr, ((1 + lr wd) (f - L* - y) + <d, w>)_+ / |d|^2)     w <- (w - t d) / (1 + lr wd)

    `lowest` is L*, a lower bound of the loss. With `estimate` it is raised step by step (section 4 of the paper) and is
    never below `lowest`: before the step, if (1 + lr wd) L* > h' = (1 + lr wd) (f - y) + <d, w>, to half of
    h' / (1 + lr wd); after it, to f + <d, w> - y - t |d|^2 / 2.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta", "lowest")
    slots: ClassVar[tuple[str, ...]] = ("mean",)
    unruled: ClassVar[str] = "the length of its step follows from the loss and norms over the whole model"

    method: Literal["momo"]
    learning_rate: float = Field(1.0, gt=0, description="the longest step; the highest of the schedule")
    beta: float = Field(0.9, ge=0, lt=1)
    lowest: float = Field(0.0, description="a lower bound of the loss; the first one where it is estimated")
    estimate: bool = Field(False, description="raise the lower bound while training")

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout, seed
        return _scalars(weights, self.lowest)

    def update(self, step: Step) -> None:
        first = step.t == 1
        memory = torch.where(first, 0.0, step.c["beta"].double())
        mean = step.slots["mean"].lerp_(step.grads, (1 - memory).to(step.grads.dtype))
        longest = _model_step(step, memory, mean, mean, torch.ones_like(step.t), estimate=self.estimate)
        _walk(step, mean, longest)


class MomoAdam(Method):
    """MoMo-Adam (arXiv 2305.07583, algorithm 2): the same in Adam's norm, with D = sqrt(v / (1 - b2^t)) + eps.

    d <- b1 d + (1 - b1) g     v <- b2 v + (1 - b2) g^2     f <- b1 f + (1 - b1) L     y <- b1 y + (1 - b1) <g, w>
    q = 1 - b1^t     t = min(lr / q, ((1 + lr wd) (f - q L* - y) + <d, w>)_+ / <d, d / D>)
    w <- (w - t d / D) / (1 + lr wd)
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps", "lowest")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    unruled: ClassVar[str] = "the length of its step follows from the loss and norms over the whole model"

    method: Literal["momo_adam"]
    learning_rate: float = Field(1e-2, gt=0, description="the longest step; the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    lowest: float = Field(0.0, description="a lower bound of the loss; the first one where it is estimated")
    estimate: bool = Field(False, description="raise the lower bound while training")

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout, seed
        return _scalars(weights, self.lowest)

    def update(self, step: Step) -> None:
        grads, c = step.grads, step.c
        mean = step.slots["mean"].lerp_(grads, 1 - c["beta1"])
        square = step.slots["square"].mul_(c["beta2"]).addcmul_(grads * (1 - c["beta2"]), grads)
        left1, left2 = (1 - c[b].double() ** step.t for b in ("beta1", "beta2"))
        along = mean / torch.sqrt(square).mul_(left2.rsqrt().to(grads.dtype)).add_(c["eps"])
        longest = _model_step(step, c["beta1"].double(), mean, along, left1, estimate=self.estimate)
        _walk(step, along, longest)


def _scalars(weights: Tensor, lowest: float) -> dict[str, Tensor]:
    """What both keep of one model beside arrays: mean loss, mean of <g, w>, and the lower bound."""
    zero = torch.zeros(1, dtype=torch.float64, device=weights.device)
    return {"loss": zero, "product": zero.clone(), "bound": torch.full_like(zero, lowest)}


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True).double()


def _model_step(step: Step, memory: Tensor, mean: Tensor, along: Tensor, left: Tensor, *, estimate: bool) -> Tensor:
    """Length t of the step, [K, 1] of float64, and the lower bound for the next one.

    Args:
        step: before the weights are changed.
        memory: share of the old that stays in mean values, [K, 1].
        mean: of the gradients, [K, P].
        along: which way the step goes, [K, P]: the mean, or the mean over D.
        left: what correction of the start leaves, [K, 1]: 1 where there is none.
        estimate: whether the lower bound is raised.
    """
    weights, slots, c = step.weights, step.slots, step.c
    loss = slots["loss"].lerp_(step.losses.double(), 1 - memory)
    product = slots["product"].lerp_(_dot(step.grads, weights), 1 - memory)
    here, norm = _dot(mean, weights), _dot(mean, along)
    rate = c["learning_rate"].double()
    grown = 1 + rate * c["weight_decay"]
    bound = slots["bound"]
    if estimate:
        cap = grown * (loss - product) + here
        bound.copy_(torch.where(cap < grown * left * bound, (cap / (2 * grown * left)).maximum(c["lowest"]), bound))
    fall = (grown * (loss - left * bound - product) + here).clamp(min=0)
    length = torch.where(norm > 0, (fall / norm).minimum(rate / left), 0.0)
    if estimate:
        bound.copy_(((loss + here - product - length * norm / 2) / left).maximum(c["lowest"]))
    return length


def _walk(step: Step, along: Tensor, length: Tensor) -> None:
    """The step, and weight decay by division, in place."""
    step.weights.addcmul_(along, length.to(along.dtype), value=-1)
    step.weights.div_(1 + step.c["learning_rate"] * step.c["weight_decay"])
