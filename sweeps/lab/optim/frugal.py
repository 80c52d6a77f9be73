"""FRUGAL: Adam in a part of each matrix that changes, signs of the gradient in the rest."""

from __future__ import annotations

from itertools import accumulate
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from landsweep.sweeps.lab.layout import Layout
from landsweep.sweeps.lab.optim.adam import adam_quotient
from landsweep.sweeps.lab.optim.base import Method, Step, decay
from landsweep.sweeps.lab.streams import counted, stream

__all__ = ["Frugal"]


class Frugal(Method):
    """FRUGAL (arXiv 2411.07837) with AdamW and signSGD: a memory is kept for a share of the columns of a matrix only.

    in the chosen columns   W <- (1 - lr wd) W - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
    in all others           W <- (1 - lr wd) W - lr f sign(G)

    After every `every` steps other columns are drawn; m, v and t then begin anew. A convolution's kernel is a matrix
    with one row per output channel. All parameters that are no matrix, the first and the last matrix and tables of
    embeddings are stepped by AdamW throughout, without a new beginning. Of the paper's projections (singular vectors,
    random ones, random columns, blocks) this is the one on random columns.
    """

    per_model: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", "beta1", "beta2", "eps", "free_factor")
    unruled: ClassVar[str] = "its signs and its Adam step would need rules of their own in one matrix"
    elementwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True
    needs_every_step: ClassVar[bool] = True
    steps_alike: ClassVar[bool] = False

    method: Literal["frugal"]
    learning_rate: float = Field(1e-3, gt=0, description="the highest of the schedule")
    density: float = Field(0.25, ge=0, le=1, description="share of the columns of a matrix that AdamW steps")
    every: int = Field(200, ge=1, description="steps after which other columns are drawn")
    free_factor: float = Field(1.0, ge=0, description="f, of the learning rate in the columns without a memory")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)

    def start(self, weights: Tensor, layout: Layout, seed: int) -> dict[str, Tensor]:
        rest = layout.size - len(layout.places(layout.inner()))
        chosen = sum(kept * rows for _, rows, _, kept in self._matrices(layout))
        sizes = {"mean": rest, "square": rest, "chosen_mean": chosen, "chosen_square": chosen}
        columns = sum(kept for *_, kept in self._matrices(layout))
        return {
            **{name: weights.new_zeros(size) for name, size in sizes.items()},
            "columns": torch.zeros(columns, dtype=torch.int64, device=weights.device),
            "root": torch.tensor([stream(seed, "columns")], device=weights.device),
        }

    def _matrices(self, layout: Layout) -> list[tuple[int, int, int, int]]:
        """Of each matrix: where it begins in a row, its rows and columns, and how many columns are chosen."""
        begins = dict(zip(layout.shapes, [0, *accumulate(layout.sizes)], strict=False))
        sizes = {name: (layout.shapes[name][0], layout.shapes[name].numel()) for name in layout.inner()}
        return [(begins[n], m, size // m, round(self.density * (size // m))) for n, (m, size) in sizes.items()]

    def update(self, step: Step) -> None:
        decay(step)
        slots, grads, c, device = step.slots, step.grads, step.c, step.grads.device
        if step.made % self.every == 0:
            slots["columns"].copy_(self._drawn(step))
            slots["chosen_mean"].zero_()
            slots["chosen_square"].zero_()
        along = torch.sign(grads) * c["free_factor"]
        rest = step.layout.places([n for n in step.layout.shapes if n not in step.layout.inner()]).to(device)
        since = torch.full_like(step.t, step.made % self.every + 1)
        memories = {"mean": slots["chosen_mean"], "square": slots["chosen_square"]}
        for places, kept, t in ((rest.expand(len(grads), -1), slots, step.t), (self._places(step), memories, since)):
            quotient, left1 = adam_quotient(grads.gather(1, places), kept, c, t)
            along.scatter_(1, places, quotient / left1.to(quotient))
        step.weights.addcmul_(along, c["learning_rate"], value=-1)

    def _drawn(self, step: Step) -> Tensor:
        """Columns [K, n] that are chosen from this step on, matrix by matrix."""
        rows = []
        for root in step.slots["root"][:, 0].tolist():
            source = torch.Generator().manual_seed(counted(root, step.made // self.every))
            orders = [(torch.randperm(n, generator=source), kept) for _, _, n, kept in self._matrices(step.layout)]
            rows.append(torch.cat([torch.arange(0), *(order[:kept] for order, kept in orders)]))
        return torch.stack(rows).to(step.grads.device)

    def _places(self, step: Step) -> Tensor:
        """Columns [K, n] of the rows of weights that hold the chosen columns of the matrices."""
        matrices = self._matrices(step.layout)
        parts = torch.split(step.slots["columns"], [kept for *_, kept in matrices], 1)
        places = [step.slots["columns"][:, :0]]
        for (begin, m, n, _), chosen in zip(matrices, parts, strict=True):
            starts = begin + n * torch.arange(m, device=chosen.device)
            places.append((starts[:, None] + chosen[:, None]).flatten(1))
        return torch.cat(places, 1)
