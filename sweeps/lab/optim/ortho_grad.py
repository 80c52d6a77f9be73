"""Orthogonal gradients: each tensor's gradient without its part along the tensor."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from landsweep.sweeps.lab.optim.base import Step
from landsweep.sweeps.lab.optim.based import BASE_SETTINGS, Based

__all__ = ["OrthoGrad"]


class OrthoGrad(Based):
    """Orthogonal gradients (arXiv 2501.04697, section 5): a step does not change the length of a tensor to first order.

    h = g - (w.g / |w|^2) w, for each parameter        then the base's step with |g| / |h| h

    The length of the gradient is given back as in the authors' code. Where h is nothing but rounding, such as that of a
    single number, the gradient is 0.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", *BASE_SETTINGS)
    unruled: ClassVar[str] = "no rule is known for gradients without their part along the weights"
    elementwise: ClassVar[bool] = False

    method: Literal["ortho_grad"]

    def update(self, step: Step) -> None:
        weights, grads, layout = step.weights, step.grads, step.layout
        sizes, lengths = (layout.each(rows, _lengths) for rows in (weights, grads))
        along = layout.each(weights * grads, lambda part: part.sum(1)) / sizes.square().clamp(min=1e-30)
        grads.addcmul_(weights, layout.spread(along), value=-1)
        left = layout.each(grads, _lengths)
        rounding = left <= 4 * torch.finfo(grads.dtype).eps * lengths
        grads.mul_(layout.spread(torch.where(rounding, 0.0, lengths / left.clamp(min=1e-30))))
        self.base_step(step)


def _lengths(part: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(part, dim=1)
    return norms
