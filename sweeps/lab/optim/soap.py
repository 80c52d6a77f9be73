"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.base import Method, Step, decay

__all__ = ["Soap"]


class Soap(Method):
    """SOAP (arXiv 2409.11321, algorithm 3), each axis of a parameter with a basis Q of its own.

    G' = Q1^T G Q2     M <- b1 M + (1 - b1) G     V <- b2 V + (1 - b2) G'^2
    W <- W - lr sqrt(1 - b2^s) / (1 - b1^s) Q1 ((Q1^T M Q2) / (sqrt(V) + eps)) Q2^T,     then W <- (1 - lr wd) W
    L <- b L + (1 - b) G G^T, and so for the other axis; every `every` steps Q <- qr(L Q), columns by eigenvalue

    The first step only measures: L starts with it and gives the first basis, weights stay; s counts from the second.
    Parameters of one axis, and axes longer than `max_axis`, have no basis. The orthogonalisation is computed in the
    type of the weights; in pytorch_optimizer 4.1.0 it is float32 even where they are float64.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "shampoo_beta", "eps")
    slots: ClassVar[tuple[str, ...]] = ("mean", "square")
    needs_every_step: ClassVar[bool] = True
    steps_alike: ClassVar[bool] = False
    unruled: ClassVar[str] = (
        "the size of its step in singular values depends on the rank of the gradient, so that rates "
        "drift with the width (arXiv 2512.05620)"
    )

    method: Literal["soap"]
    learning_rate: float = Field(3e-3, gt=0, description="the highest of the schedule")
    weight_decay: float = Field(0.01, ge=0)
    beta1: float = Field(0.95, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    shampoo_beta: float = Field(0.95, ge=0, lt=1, description="memory of the matrices that the bases are of")
    every: int = Field(10, ge=1, description="steps between renewals of the bases")
    max_axis: int = Field(10000, ge=1, description="longer axes have no basis")
    eps: float = Field(1e-8, gt=0)

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        del seed
        sizes = {key: layout.shapes[name][axis] for name in layout.shapes for axis, key in self._axes(layout, name)}
        return {f"{what}/{m}": weights.new_zeros(n, n) for m, n in sizes.items() for what in ("gram", "basis")}

    def _axes(self, layout: Layout, name: str) -> list[tuple[int, str]]:
        """The axes of a parameter that have a basis, each with the name of what is kept of it."""
        shape = layout.shapes[name]
        return [(i, f"{name}/{i}") for i, n in enumerate(shape) if len(shape) > 1 and n <= self.max_axis]

    def update(self, step: Step) -> None:
        grads, weights, slots, c, dtype = step.grads, step.weights, step.slots, step.c, step.weights.dtype
        steps = step.made
        if not steps:
            self._measure(step, first=True)
            return
        mean = slots["mean"].lerp_(grads, 1 - c["beta1"])
        square = slots["square"].lerp_(self._turned(step, grads).square(), 1 - c["beta2"])
        left1, left2 = (1 - c[b].double() ** (step.t - 1) for b in ("beta1", "beta2"))
        along = self._turned(step, self._turned(step, mean) / torch.sqrt(square).add_(c["eps"]), back=True)
        weights.addcmul_(along, (c["learning_rate"] * left2.sqrt() / left1).to(dtype), value=-1)
        decay(step)
        self._measure(step, renew=steps % self.every == 0)

    def _turned(self, step: Step, rows: Tensor, *, back: bool = False) -> Tensor:
        """Each parameter of rows [K, P] in its bases, or back from them."""
        turned = rows.clone()
        for name, part in step.layout.split(turned).items():
            x = part
            for axis, key in self._axes(step.layout, name):
                basis = step.slots[f"basis/{key}"]
                x = _along(x, axis, basis.transpose(1, 2) if back else basis)
            part.copy_(x)
        return turned

    def _measure(self, step: Step, *, first: bool = False, renew: bool = False) -> None:
        """Take this step's gradients into the matrices; make the first bases, or renew them."""
        slots, memory = step.slots, step.c["shampoo_beta"][:, :1, None]
        squares = step.layout.split(slots["square"])
        for name, g in step.layout.split(step.grads).items():
            for axis, key in self._axes(step.layout, name):
                flat = g.movedim(axis + 1, 1).flatten(2)
                gram = slots[f"gram/{key}"].lerp_(torch.bmm(flat, flat.transpose(1, 2)), 1 - memory)
                basis = slots[f"basis/{key}"]
                if first:
                    basis.copy_(torch.linalg.eigh(_finite(gram))[1].flip(2))
                elif renew:
                    product = torch.bmm(gram, basis)
                    order = (basis * product).sum(1).argsort(1, descending=True)
                    basis.copy_(torch.linalg.qr(_finite(product.take_along_dim(order[:, None], 2)))[0])
                    places = order.view(len(order), *(-1 if i == axis else 1 for i in range(g.ndim - 1)))
                    squares[name].copy_(squares[name].take_along_dim(places, axis + 1))


def _along(x: Tensor, axis: int, matrices: Tensor) -> Tensor:
    """Multiply an axis of [K, ...] by matrices [K, n, n]: y[..., j, ...] = sum over i of x[..., i, ...] m[i, j]."""
    moved = x.movedim(axis + 1, -1)
    return torch.bmm(moved.reshape(len(x), -1, moved.shape[-1]), matrices).view(moved.shape).movedim(-1, axis + 1)


def _finite(matrices: Tensor) -> Tensor:
    """Matrices of a model that has blown up as 0: decompositions refuse them for the whole stack."""
    whole = torch.isfinite(matrices).all(2, keepdim=True).all(1, keepdim=True)
    return torch.where(whole, matrices, 0.0)
