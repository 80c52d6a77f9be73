"""U-DoG: an accelerated method whose step sizes are distance over gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Coefficients, Method, Slots, Step

__all__ = ["UDog"]


class UDog(Method):
    """U-DoG (arXiv 2404.00666): UniXGrad (arXiv 1910.13857) with the step sizes of DoG. Two gradients of one batch.

    r_t = max(first_step (1 + |w_0|), max over k <= t of |x_k - w_0| and |y_k - w_0|)     a_t = (r_0 + ... + r_t) / r_t
    w(z) = (sum over k < t of a_k r_k x_(k+1) + a_t r_t z) / (sum over k <= t of a_k r_k)
    m_t = grad L(w(y_t))          x_(t+1) = y_t - lr a_t r_t / sqrt(Gx) m_t
    g_t = grad L(w(x_(t+1)))      y_(t+1) = y_t - lr a_t r_t / sqrt(Gy) g_t

    Gy = eps + sum over k <= t of a_k^2 |g_k - m_k|^2 + max over k <= t of a_k^2 |m_k|^2, and Gx the same with the sum
    over k < t. The sum is UniXGrad's; where that adds 1, which presumes a scale, the largest a^2 |m|^2 stands here. The
    paper's own sums were not at hand when this was written, so its guarantees are not claimed for this rule.

    Models are evaluated and kept at w(x_(t+1)). Weight decay is added to both gradients, at the points that they are
    taken at. Norms are over all parameters of a model.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "first_step", "eps")
    columns: ClassVar[Mapping[str, float]] = {"travelled": 0.0, "total": 0.0, "changes": 0.0, "largest": 0.0}
    unruled: ClassVar[str] = "the length of its step follows from norms over the whole model"
    elementwise: ClassVar[bool] = False
    averages: ClassVar[bool] = True

    method: Literal["u_dog"]
    learning_rate: float = Field(1.0, gt=0, description="the highest of the schedule; leave it at 1")
    first_step: float = Field(1e-6, gt=0, description="length of the first step, in 1 + |w_0|")
    eps: float = Field(1e-8, gt=0)

    @property
    def gradients(self) -> int:
        return 2

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del layout, seed
        distance = self.first_step * (1 + torch.linalg.vector_norm(weights)).double().reshape(1)
        return {"origin": weights.clone(), "lead": weights.clone(), "mean": weights.clone(), "distance": distance}

    def evaluated(self, weights: Tensor, slots: Slots, c: Coefficients) -> Tensor:
        del weights, c
        return slots["mean"].clone()

    def update(self, step: Step) -> None:
        weights, slots, dtype = step.weights, step.slots, step.weights.dtype
        lead, mean, far = slots["lead"], slots["mean"], slots["distance"]
        share = slots["travelled"] + far  # a r of this step
        a = share / far
        size = step.c["learning_rate"].double() * share
        first = step.grads.addcmul_(weights, step.c["weight_decay"])
        largest = slots["largest"].copy_(slots["largest"].maximum(_square(first) * a.square()))
        sums = step.c["eps"].double() + largest
        ahead = lead - first * (size / (sums + slots["changes"]).sqrt()).to(dtype)
        slots["total"].add_(share)
        mean.add_((ahead - mean) * (share / slots["total"]).to(dtype))
        weights.copy_(mean)
        second = step.again().addcmul_(weights, step.c["weight_decay"])
        changes = slots["changes"].add_(_square(second - first) * a.square())
        lead.sub_(second * (size / (sums + changes).sqrt()).to(dtype))
        slots["travelled"].copy_(share)
        for point in (ahead, lead):
            far.copy_(far.maximum(_square(point - slots["origin"]).sqrt()))
        share = slots["travelled"] + far
        weights.copy_(mean + (lead - mean) * (share / (slots["total"] + share)).to(dtype))


def _square(rows: Tensor) -> Tensor:
    """Squared norms [K, 1] of rows [K, P], as float64."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return norms.double().square()
