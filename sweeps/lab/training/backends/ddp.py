"""Data parallel: each member of a gang computes its part of every batch, and their gradients are added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from landsweep.sweeps.lab.training.backends.loop import Loop
from landsweep.sweeps.lab.training.collective import together

__all__ = ["Ddp", "part_of", "place"]


class Ddp(Loop):
    """The loop on a part of each batch: g = sum over members r of n_r/B g_r, g_r the gradient of r's mean over its n_r.

    Every member holds all weights and makes the same step. A batch of B samples is cut into parts that differ by at
    most one sample, in order, so that the members together see what one alone would. The gradient of all parameters
    is one array already, and is summed by a single all-reduce.
    """

    name: ClassVar[str] = "ddp"
    gang: ClassVar[bool] = True
    rehearses: bool = False  # in this process alone: computes the parts of two members one after the other

    @classmethod
    def serves(cls, module: nn.Module) -> str | None:
        for name, layer in module.named_modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                return f"{name} normalises over the batch, of which each device has only a part"
        return None

    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        if not self.rehearses:
            return self._part(inputs, targets, masks, out, *place())
        halves = [torch.empty_like(out) for _ in range(2)]
        losses = [self._part(inputs, targets, masks, grads, rank, 2) for rank, grads in enumerate(halves)]
        torch.add(*halves, out=out)
        return losses[0] + losses[1]

    def _part(
        self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor, rank: int, size: int
    ) -> Tensor:
        """What a member adds to losses and gradients; all that they come to, unless this is a rehearsal."""
        part, share = part_of(inputs.shape[1], rank, size)
        here = {name: mask[:, part] for name, mask in masks.items()}
        losses = super().gradients(inputs[:, part], targets[:, part], here, out)
        if size > 1:
            out.mul_(share)
            losses = losses * share
            if not self.rehearses:
                with together():
                    dist.all_reduce(out)
                    dist.all_reduce(losses)
        return losses


def place() -> tuple[int, int]:
    """Rank and size: of a process that trains alone 0 and 1."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def part_of(samples: int, rank: int, size: int) -> tuple[slice, float]:
    """A member's part of a batch, and its share of the samples.

    A member for which none is left computes the first sample, which then counts 0.

    Example:
        >>> part_of(5, 0, 2), part_of(5, 1, 2), part_of(1, 0, 2)
        ((slice(0, 2, None), 0.4), (slice(2, 5, None), 0.6), (slice(0, 1, None), 0.0))
    """
    begin, end = rank * samples // size, (rank + 1) * samples // size
    return (slice(begin, end), (end - begin) / samples) if end > begin else (slice(0, 1), 0.0)
