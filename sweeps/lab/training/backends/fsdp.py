"""Fully sharded: each member of a gang holds a part of all weights, and of what the optimizer keeps of them.

torch's distributed tensors are imported by members alone: the import costs as much as a third of that of torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from landsweep.sweeps.lab.arithmetic import arithmetic, backward_arithmetic, wide
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.backends.ddp import Ddp
from landsweep.sweeps.lab.training.collective import passing, together
from landsweep.sweeps.lab.training.stack import Stack

if TYPE_CHECKING:
    from landsweep.sweeps.lab.training.sharded import ShardedStack

__all__ = ["Fsdp"]


class Fsdp(Ddp):
    """FSDP2: the weights of a block are gathered when it computes, and the sum of its gradients is scattered.

    The rows of the stack are this member's part [1, P/n] of weights and gradients, so the optimizer's slots are too.
    Weights are gathered in float32, and autocast rounds them as it does on one device, so that `precision` means the
    same. The gradients of each micro-batch are scattered at once: kept whole until the last one they would take the
    memory that micro-batches are to save.
    """

    name: ClassVar[str] = "fsdp"
    knows: ClassVar[frozenset[str]] = frozenset(("precision", "micro_batch", "recompute", "attention"))
    stack: ShardedStack

    @classmethod
    def lacks(cls, recipe: Recipe) -> str | None:
        if recipe.precision == "fp16":
            return "in fp16 a step is left out when a gradient overflows, which only the device that holds it would see"
        return super().lacks(recipe)

    @classmethod
    def stack_of(
        cls,
        modules: Sequence[nn.Module],
        device: str,
        idle: Collection[str] = (),
        tensors: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> Stack:
        if not dist.is_initialized():
            return Stack(modules, device, idle, tensors)
        from landsweep.sweeps.lab.training.sharded import ShardedStack

        return ShardedStack(modules, device, idle)

    def bind(self) -> None:
        if not dist.is_initialized():
            super().bind()
            return
        from torch.distributed.tensor import DTensor

        self._module = self.stack.module
        self._local = {n: p.to_local() for n, p in self._module.named_parameters() if isinstance(p, DTensor)}
        for name, buffer in self._module.named_buffers():
            if name in self.stack.buffers:
                buffer.data = self.stack.buffers[name][0]

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
        if not dist.is_initialized():
            return super().batch_gradients(inputs, targets, masks, out, samples=samples, micro_batch=micro_batch)
        self._load()
        self._module.train()
        place = self.place()
        own, most = place.count(samples), math.ceil(samples / place.size)
        size = min(micro_batch or most, most)
        losses = out.new_zeros(1)
        for start in range(0, most, size):  # as often at each member, for they gather weights together
            count = max(0, min(start + size, own) - start)
            here = slice(start, start + count) if count else slice(0, 1)
            for name, mask in masks.items():
                self._module.get_buffer(name).data = mask[0, here]
            losses += self._backward(inputs[0, here], targets[:, here], count / samples)
        self.stack.gather_gradients(out)
        return self.total(losses)

    def _backward(self, inputs: Tensor, targets: Tensor, share: float) -> Tensor:
        """What some samples, a share of the batch, add to the gradients in the module, and to the loss [1]."""
        device = inputs.device
        with passing(), torch.enable_grad():
            with arithmetic(self.precision, device):
                outputs = wide(self._module(inputs))
            loss = self.loss(outputs[None], targets).mean()
            with backward_arithmetic(self.precision, device):  # the gradients of members are averaged
                torch.autograd.backward(loss * (share * self.place().size))
        return loss.detach()[None] * share

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        if not dist.is_initialized():
            return super().outputs(inputs)
        from torch.distributed.fsdp import FSDPModule

        self._load()
        with passing(), arithmetic(self.precision, inputs.device):
            outputs = wide(self._module.eval()(inputs))
        for module in self._module.modules():  # or the next pass would use the weights that were gathered for this one
            if isinstance(module, FSDPModule):
                module.reshard()
        return outputs[None]

    def norms(self, rows: Tensor) -> Tensor:
        if not dist.is_initialized():
            return super().norms(rows)
        squares = rows.square().sum(1, keepdim=True)
        with together():
            dist.all_reduce(squares)
        return squares.sqrt()

    def take(self, keep: Tensor) -> None:
        if len(keep) and dist.is_initialized():
            return  # the one model that there is
        super().take(keep)

    def _load(self) -> None:
        """The stack's weights, which the optimizer has changed, into the module's parameters."""
        with torch.no_grad():
            for name, view in self.stack.layout.split(self.stack.weights).items():
                self._local[name].copy_(view[0])
