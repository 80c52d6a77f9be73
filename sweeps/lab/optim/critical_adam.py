"""Adam with critical momenta: it remembers the momenta of its largest gradients."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step, decay

__all__ = ["CriticalAdam"]


class CriticalAdam(Method):
    """Adam with critical momenta (arXiv 2307.09638), as in the authors' code, with decoupled weight decay.

    m <- b1 m + (1 - b1) g     a = m + mean of the kept momenta     v <- b2 v + (1 - b2) a^2
    w <- (1 - lr wd) w - lr / (1 - b1^t) a / (sqrt(v / (1 - b2^t)) + eps)

    Then m is kept, with the size of its gradient as its priority, if fewer than `kept` are, or in the place of the one
    of lowest priority if its own is higher; and all priorities are multiplied by `fading`. The size of a gradient is
    the sum over the tensors of their norms. In the first step nothing moves: the gradient itself is kept, and m is 0.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps", "fading")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    unruled: ClassVar[str] = "which momenta it keeps follows from norms over the whole model"
    elementwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True

    method: Literal["critical_adam"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    fading: float = Field(0.7, ge=0, lt=1, description="factor of all priorities in each step")
    kept: int = Field(5, ge=1, description="momenta that are kept; each takes as much memory as the weights")

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout, seed
        priorities = torch.zeros(self.kept, dtype=torch.float64, device=weights.device)
        return {"momenta": weights.new_zeros(self.kept, len(weights)), "priorities": priorities}

    def update(self, step: Step) -> None:
        decay(step)
        grads, slots, c, dtype = step.grads, step.slots, step.c, step.weights.dtype
        momenta, priorities = slots["momenta"], slots["priorities"]
        size = step.layout.each(grads, lambda part: torch.linalg.vector_norm(part, dim=1)).double().sum(1)
        before, first = (step.t - 1).clamp(max=self.kept), step.t == 1  # [K, 1] each
        mean = slots["mean"].copy_(torch.where(first, 0.0, slots["mean"].lerp(grads, 1 - c["beta1"])))
        added = momenta.sum(1) / before.clamp(min=1).to(dtype)
        along = torch.where(first, 0.0, mean + added)
        square = slots["square"].mul_(c["beta2"]).addcmul_(along * (1 - c["beta2"]), along)

        lowest = priorities.min(1)
        full = before[:, 0] == self.kept
        place = torch.where(full, lowest.indices, before[:, 0].long().clamp(max=self.kept - 1))
        takes = ~full | (size > lowest.values)
        rows = torch.arange(len(place), device=place.device)
        momenta[rows, place] = torch.where(takes[:, None], torch.where(first, grads, mean), momenta[rows, place])
        priorities[rows, place] = torch.where(takes, size, priorities[rows, place])
        priorities.mul_(c["fading"].double())

        left1, left2 = (1 - c[b].double() ** step.t for b in ("beta1", "beta2"))
        root = torch.sqrt(square).mul_(left2.rsqrt().to(dtype)).add_(c["eps"])
        step.weights.addcmul_(along / root, (c["learning_rate"] / left1).to(dtype), value=-1)
