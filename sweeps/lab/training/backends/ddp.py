"""Data parallel: each member of a gang computes its part of every batch, and their gradients are added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch.distributed as dist
from torch import Tensor, nn

from landsweep.sweeps.lab.training.backends.loop import Loop
from landsweep.sweeps.lab.training.collective import together
from landsweep.sweeps.lab.training.place import ALONE, Place

__all__ = ["Ddp"]


class Ddp(Loop):
    """The loop on a part of each batch: g = sum over members r of n_r/B g_r, g_r the gradient of r's mean over its n_r.

    Every member holds all weights and makes the same step. The gradient of all parameters is one array already, and is
    summed by a single all-reduce, after all micro-batches.
    """

    name: ClassVar[str] = "ddp"
    gang: ClassVar[bool] = True

    @classmethod
    def serves(cls, module: nn.Module) -> str | None:
        for name, layer in module.named_modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                return f"{name} normalises over the batch, of which each device has only a part"
        return None

    @classmethod
    def place(cls) -> Place:
        return Place(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE

    def batch_gradients(
        self,
        inputs: Tensor,
        targets: Tensor,
        masks: Mapping[str, Tensor],
        out: Tensor,
        *,
        samples: int,
        micro_batch: int | None = None,
    ) -> Tensor:
        losses = super().batch_gradients(inputs, targets, masks, out, samples=samples, micro_batch=micro_batch)
        if self.place() == ALONE:
            return losses
        share = self.place().share(samples)
        self.total(out.mul_(share))
        return self.total(losses * share)

    def total(self, sums: Tensor) -> Tensor:
        """As of `Backend`, in place."""
        if self.place() != ALONE:
            with together():
                dist.all_reduce(sums)
        return sums
