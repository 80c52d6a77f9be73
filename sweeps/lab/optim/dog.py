"""DoG and L-DoG: a step size from distance over gradients."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step

__all__ = ["Dog"]


class Dog(Method):
    """DoG and, where `layerwise`, L-DoG (arXiv 2302.12022): nothing to tune, but meant to be averaged over steps.

    r_t = max(first_step (1 + |w_0|), max over i <= t of |w_i - w_0|)
    w <- w - lr r_t / sqrt(sum over i <= t of |g_i|^2 + eps) g_t

    Norms are over all parameters of a model, or over each of them (`layerwise`). Weight decay is added to the
    gradient. The learning rate stays at 1 unless the schedule says otherwise; give the recipe an `averaging`.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "first_step", "eps")
    unruled: ClassVar[str] = "the length of its step follows from norms over the whole model"

    method: Literal["dog"]
    learning_rate: float = Field(1.0, gt=0, description="the highest of the schedule; leave it at 1")
    layerwise: bool = Field(False, description="L-DoG: each parameter with a step size of its own")
    first_step: float = Field(
        1e-6, gt=0, description="length of the first step, in 1 + |w_0|; 1e-4 with batch normalisation"
    )
    eps: float = Field(1e-8, gt=0)

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del seed
        distance = self.first_step * (1 + self._norms(weights[None], layout)[0])
        return {"origin": weights.clone(), "distance": distance, "total": torch.full_like(distance, self.eps)}

    def _norms(self, rows: Tensor, layout: Layout) -> Tensor:
        """Norms [K, 1], or [K, T] of each parameter, as float64."""
        if self.layerwise:
            return layout.each(rows, lambda part: torch.linalg.vector_norm(part, dim=1)).double()
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return norms.double()

    def update(self, step: Step) -> None:
        grads, weights, slots, layout = step.grads, step.weights, step.slots, step.layout
        grads.addcmul_(weights, step.c["weight_decay"])
        far = slots["distance"]
        far.copy_(far.maximum(self._norms(weights - slots["origin"], layout)))
        total = slots["total"].add_(self._norms(grads, layout).square())
        size = (far / total.sqrt()).to(weights.dtype)
        weights.addcmul_(grads * (layout.spread(size) if self.layerwise else size), step.c["learning_rate"], value=-1)
