"""Muon: momentum made orthogonal, for the matrices between input and output; AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Family, Method, Step

__all__ = ["CUBIC", "Muon", "orthogonal"]

_QUINTIC = (3.4445, -4.7750, 2.0315)  # of Jordan et al.: steep at 0, so that five rounds are enough
CUBIC = (1.5, -0.5, 0.0)
"""Newton-Schulz iterations that end at singular values of 1; small ones grow by half in each round."""


class Muon(Method):
    """Muon (Jordan et al. 2024; with weight decay and `match` as in arXiv 2502.16982).

    B <- mu B + (1 - mu) G     U = (1 - mu) G + mu B (Nesterov)     O = orthogonal(U)
    W <- (1 - lr wd) W - lr s O     s = sqrt(max(1, rows / columns)), or 0.2 sqrt(max(rows, columns)) with `match`

    A convolution's kernel is a matrix with one row per output channel. Which parameters it serves: all with two axes
    or more, but for the first one, the last one, and tables of embeddings; with `ends` all but the tables. The others
    get AdamW with a learning rate of their own, on the same schedule. A perceptron with one hidden layer has no
    matrix between the first and the last one: there Muon without `ends` is AdamW.

    The rounds are computed in the type of the weights; torch's Muon and pytorch_optimizer's compute them in bfloat16.
    """

    per_model: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "weight_decay", "momentum", "adamw_learning_rate", "adamw_weight_decay"),
        *("beta1", "beta2", "eps"),
    )
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    family: ClassVar[Family | None] = "spectral"
    elementwise: ClassVar[bool] = False
    scaled: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "adamw_weight_decay", "eps")
    decoupled: ClassVar[bool] = True

    method: Literal["muon"]
    learning_rate: float = Field(0.02, gt=0, description="of the matrices; the highest of the schedule")
    momentum: float = Field(0.95, ge=0, lt=1, description="of the matrices")
    nesterov: bool = True
    rounds: int = Field(5, ge=1, lt=100, description="Newton-Schulz iterations")
    match: bool = Field(False, description="steps as long as AdamW's, so that its settings can be taken over")
    ends: bool = Field(False, description="serve the first and the last matrix too")
    adamw_learning_rate: float = Field(3e-4, gt=0, description="of all other parameters, on the same schedule")
    adamw_weight_decay: float = Field(0.0, ge=0, description="of all other parameters")
    beta1: float = Field(0.9, ge=0, lt=1, description="of all other parameters")
    beta2: float = Field(0.95, ge=0, lt=1, description="of all other parameters")
    eps: float = Field(1e-10, gt=0, description="of all other parameters")

    def coefficients(self) -> dict[str, float]:
        share = self.adamw_learning_rate / self.learning_rate
        settings = {name: float(getattr(self, name)) for name in self.per_model if name != "adamw_learning_rate"}
        return {**settings, "adamw_share": share}

    def families(self, layout: Layout) -> Mapping[str, Family | None]:
        served = self._served(layout)
        return {name: "spectral" if name in served else "adam" for name in layout.shapes}

    def settings(self, family: Family | None) -> tuple[float, float]:
        if family == "adam":
            return self.adamw_learning_rate, self.adamw_weight_decay
        return self.learning_rate, self.weight_decay

    def length(self, rows: float, columns: float) -> float:
        return 0.2 * math.sqrt(max(rows, columns)) if self.match else math.sqrt(max(1.0, rows / columns))

    def _served(self, layout: Layout) -> list[str]:
        return layout.matrices() if self.ends else layout.inner()

    def update(self, step: Step) -> None:
        c, layout, dtype = step.c, step.layout, step.weights.dtype
        served = self._served(layout)
        decays, others, eps = (self._each(step, name) for name in ("weight_decay", "adamw_weight_decay", "eps"))
        left1, left2 = (1 - c[b].double() ** step.t for b in ("beta1", "beta2"))
        rate1 = (c["adamw_share"] / left1).to(dtype)
        means, squares = layout.split(step.slots["mean"]), layout.split(step.slots["square"])
        along, shrinkage = torch.empty_like(step.weights), torch.empty_like(step.weights)
        alongs, shrinkages = layout.split(along), layout.split(shrinkage)
        for name, g in layout.split(step.grads).items():
            flat, mean, out = g.flatten(1), means[name].view(len(g), -1), alongs[name].view(len(g), -1)
            if name in served:
                mean.lerp_(flat, 1 - c["momentum"])
                update = flat.lerp(mean, c["momentum"]) if self.nesterov else mean
                matrices = update.view(len(g), g.shape[1], -1)
                out.copy_(orthogonal(matrices, self.rounds).flatten(1) * self.length(*matrices.shape[1:]))
                shrinkages[name].view(len(g), -1).copy_(decays[name].flatten(1))
                continue
            mean.lerp_(flat, 1 - c["beta1"])
            square = squares[name].view(len(g), -1).lerp_(flat.square(), 1 - c["beta2"])
            root = torch.sqrt(square).mul_(left2.rsqrt().to(dtype)).add_(eps[name].flatten(1))
            out.copy_(mean / root * rate1)
            shrinkages[name].view(len(g), -1).copy_(others[name].flatten(1) * c["adamw_share"])
        step.weights.mul_(1 - c["learning_rate"] * shrinkage)
        step.weights.addcmul_(along, c["learning_rate"], value=-1)

    @staticmethod
    def _each(step: Step, name: str) -> dict[str, Tensor]:
        """A coefficient of every parameter, [K, *shape]: a parametrization may give each tensor one of its own."""
        return step.layout.split(step.c[name].expand_as(step.weights))


def orthogonal(matrices: Tensor, rounds: int = 5, factors: tuple[float, float, float] = _QUINTIC) -> Tensor:
    """Roughly U V^T of each matrix U S V^T: its singular values are brought near 1, by default to within about 0.3.

    X <- a X + (b X X^T + c (X X^T)^2) X, after X is divided by its Frobenius norm.

    Args:
        matrices: [K, rows, columns].
        rounds: how often.
        factors: a, b and c.
    """
    a, b, c = factors
    tall = matrices.shape[1] > matrices.shape[2]
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), keepdim=True)
    x = (matrices.transpose(1, 2) if tall else matrices) / norms.clamp(min=1e-7)
    for _ in range(rounds):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = a * x + torch.bmm(b * gram + c * torch.bmm(gram, gram), x)
    return x.transpose(1, 2) if tall else x
