"""SWAN: normalised and whitened gradients, without a memory, for the matrices; AdamW for the rest."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.adam import adam_quotient
from landsweep.sweeps.lab.optim.base import Method, Step, decay
from landsweep.sweeps.lab.optim.muon import CUBIC, orthogonal

__all__ = ["Swan"]


class Swan(Method):
    """SGD with whitening and normalization (arXiv 2412.13148): of a matrix nothing is kept from step to step.

    N = (G - mean) / deviation, in each row        O = (N N^T)^(-1/2) N        W <- (1 - lr wd) W - lr |N| / |O| O

    O comes from Newton-Schulz iterations, X <- (3 X - X X^T X) / 2, from N over its Frobenius norm. A convolution's
    kernel is a matrix with one row per output channel. Which parameters it serves: all with two axes or more, but for
    the first one, the last one, and tables of embeddings; with `ends` all but the tables. The others get AdamW at the
    same learning rate, since both steps have a root mean square of about 1.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps")
    unruled: ClassVar[str] = "no rule is known for gradients that are normalised row by row"
    elementwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True

    method: Literal["swan"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    rounds: int = Field(10, ge=1, lt=100, description="Newton-Schulz iterations")
    ends: bool = Field(False, description="serve the first and the last matrix too")
    beta1: float = Field(0.9, ge=0, lt=1, description="of all other parameters")
    beta2: float = Field(0.999, ge=0, lt=1, description="of all other parameters")
    eps: float = Field(1e-8, gt=0, description="of all other parameters")

    def _served(self, layout: Layout) -> list[str]:
        return layout.matrices() if self.ends else layout.inner()

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del seed
        others = layout.size - len(layout.places(self._served(layout)))
        return {name: weights.new_zeros(others) for name in ("mean", "square")}

    def update(self, step: Step) -> None:
        decay(step)
        layout, grads, served = step.layout, step.grads, self._served(step.layout)
        along = torch.empty_like(grads)
        alongs, slopes = layout.split(along), layout.split(grads)
        for name in served:
            alongs[name].copy_(self._whitened(slopes[name].flatten(2)).view_as(alongs[name]))
        others = [n for n in layout.shapes if n not in served]
        rest = torch.cat([grads[:, :0], *(slopes[n].flatten(1) for n in others)], 1)
        quotient, left1 = adam_quotient(rest, step.slots, step.c, step.t)
        parts = torch.split(quotient / left1.to(quotient), [slopes[n][0].numel() for n in others], 1)
        for name, part in zip(others, parts, strict=True):
            alongs[name].copy_(part.view_as(alongs[name]))
        step.weights.addcmul_(along, step.c["learning_rate"], value=-1)

    def _whitened(self, matrices: Tensor) -> Tensor:
        """Matrices [K, rows, columns], normalised and whitened; a row that is constant becomes 0."""
        least = torch.finfo(matrices.dtype).tiny
        centred = matrices - matrices.mean(2, keepdim=True)
        unit = centred / centred.abs().amax(2, keepdim=True).clamp(min=least)  # else squares of small ones vanish
        normed = unit / unit.square().mean(2, keepdim=True).sqrt().clamp(min=least)
        white = orthogonal(normed, self.rounds, CUBIC)
        lengths = [torch.linalg.vector_norm(m, dim=(1, 2), keepdim=True) for m in (normed, white)]
        scaled: Tensor = white * (lengths[0] / lengths[1].clamp(min=1e-7))
        return scaled
