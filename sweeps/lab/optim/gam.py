"""GAM: the gradient of a point where loss and gradient norm are both high."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.optim.base import Step
from landsweep.sweeps.lab.optim.based import BASE_SETTINGS, Based

__all__ = ["Gam"]


class Gam(Based):
    """Gradient norm aware minimization (arXiv 2303.03108), as in the authors' code: four gradients of one batch.

    g0 = grad L(w)                                  g1 = grad L(w + rho g0 / |g0|)
    w2 = w + rho_norm (g1 - g0) / |g1 - g0|         g2 = grad L(w2)         g3 = grad L(w2 + rho g2 / |g2|)

    Their differences are gradients of the gradient's norm. The base's step is made from w with

    h - gamma (p - (p.h / |h|^2) h)        h = g1 + g3        p = g0 + g2

    which leaves the loss out of what lowers the norm. The factors of the sums are 1, as in the authors' code; a step is
    thus about twice as long as one of SGD. Norms are over all parameters of a model.
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "rho", "rho_norm", "gamma"),
        *BASE_SETTINGS,
    )
    own: ClassVar[tuple[str, ...]] = ("rho", "rho_norm", "gamma")
    unruled: ClassVar[str] = "its perturbations have one radius for all tensors"

    method: Literal["gam"]
    rho: float = Field(0.1, ge=0, description="radius of the steps along the gradient")
    rho_norm: float = Field(0.02, ge=0, description="radius of the step along the gradient of the norm")
    gamma: float = Field(0.1, ge=0, description="share that is taken off the part of p which is orthogonal to h")

    @property
    def gradients(self) -> int:
        return 4

    def update(self, step: Step) -> None:
        weights, here, c = step.weights, step.weights.clone(), step.c
        old = step.grads
        weights.add_(_unit(old) * c["rho"])
        new = step.again()
        weights.copy_(here).add_(_unit(new - old) * c["rho_norm"])
        far = step.again()
        weights.add_(_unit(far) * c["rho"])
        new += step.again()
        old += far
        along = _unit(new)
        across = old - (old * along).sum(1, keepdim=True) * along
        step.grads.copy_(new.addcmul_(across, c["gamma"], value=-1))
        weights.copy_(here)
        self.base_step(step)


def _unit(rows: Tensor) -> Tensor:
    """Rows [K, P] of length 1; a row of zeros stays one."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / (norms + 1e-12)
