"""Stable-SPAM: Adam on gradients whose spikes and norms are tamed, with a memory that is cleared now and then."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Family, Method, Step, decay

__all__ = ["StableSpam"]


class StableSpam(Method):
    """Stable-SPAM (arXiv 2502.17055, algorithm 1), with decoupled weight decay; norms and maxima of each parameter.

    x <- th x + (1 - th) max|g|       where |g| > x' = x / (1 - th^t):   g <- g x' / max|g|
    n <- y1 n + (1 - y1) |g|          q <- y2 q + (1 - y2) |g|^2
    g <- g / |g| n / (1 - y1^t) / (sqrt(q / (1 - y2^t)) + eps)          and then Adam's step on this g

    At every `reset`-th step Adam's memories and its count of steps start anew. A parameter whose gradient is all zeros
    stays where it is.
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "beta1", "beta2", "gamma1", "gamma2", "theta", "eps"),
    )
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    family: ClassVar[Family | None] = "adam"
    elementwise: ClassVar[bool] = False
    scaled: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")  # tamed gradients have a norm of about 1
    decoupled: ClassVar[bool] = True

    method: Literal["stable_spam"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    gamma1: float = Field(0.7, ge=0, lt=1, description="memory of the norm")
    gamma2: float = Field(0.9, ge=0, lt=1, description="memory of the squared norm")
    theta: float = Field(0.999, ge=0, lt=1, description="memory of the largest entry")
    reset: int = Field(1000, ge=2, description="steps between clearings of Adam's memories")
    eps: float = Field(1e-8, gt=0)

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del seed
        return {name: weights.new_zeros(len(layout.shapes)) for name in ("largest", "norm", "norm2")}

    def update(self, step: Step) -> None:
        decay(step)
        c, dtype, since = step.c, step.weights.dtype, step.t.remainder(self.reset)
        since = torch.where(step.t < self.reset, step.t, since + 1)  # the clearing step counts as the first one
        cleared = (step.t.remainder(self.reset) == 0).to(dtype)
        grads, alive = self._tamed(step)
        kept1, kept2 = c["beta1"] * (1 - cleared), c["beta2"] * (1 - cleared)
        mean, square = step.slots["mean"], step.slots["square"]
        mean.copy_(torch.where(alive, mean * kept1 + grads * (1 - c["beta1"]), mean * (1 - cleared)))
        square.copy_(torch.where(alive, square * kept2 + grads.square() * (1 - c["beta2"]), square * (1 - cleared)))
        left1, left2 = (1 - c[b].double() ** since for b in ("beta1", "beta2"))
        root = torch.sqrt(square).mul_(left2.rsqrt().to(dtype)).add_(c["eps"])
        along = torch.where(alive, mean / root, 0.0)
        step.weights.addcmul_(along, (c["learning_rate"] / left1).to(dtype), value=-1)

    def _tamed(self, step: Step) -> tuple[Tensor, Tensor]:
        """Gradients [K, P] without spikes and with steady norms, and whether those of a parameter are not all 0."""
        c, layout, dtype = step.c, step.layout, step.weights.dtype
        left = {name: (1 - c[name].double() ** step.t).to(dtype) for name in ("theta", "gamma1", "gamma2")}
        size = step.grads.abs()
        top = layout.each(size, lambda part: part.amax(1))
        limit = step.slots["largest"].lerp_(top, 1 - c["theta"]) / left["theta"]
        over = size > layout.spread(limit)
        grads = torch.where(over, step.grads * layout.spread(limit / top), step.grads)
        norms = layout.each(grads, lambda part: torch.linalg.vector_norm(part, dim=1))
        alive = norms > 0
        for name, value, memory in (("norm", norms, c["gamma1"]), ("norm2", norms.square(), c["gamma2"])):
            slot = step.slots[name]
            slot.copy_(torch.where(alive, slot.lerp(value, 1 - memory), slot))
        root = torch.sqrt(step.slots["norm2"] / left["gamma2"]) + c["eps"]
        scale = step.slots["norm"] / left["gamma1"] / root / norms
        return grads * layout.spread(torch.where(alive, scale, 1.0)), layout.spread(alive)
