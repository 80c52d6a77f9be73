"""Fully sharded: each member of a gang holds a part of all weights, and of what the optimizer keeps of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from landsweep.sweeps.lab.losses import trained_losses
from landsweep.sweeps.lab.training.backends.ddp import Ddp, part_of, place
from landsweep.sweeps.lab.training.collective import together
from landsweep.sweeps.lab.training.sharded import ShardedStack
from landsweep.sweeps.lab.training.stack import Stack

__all__ = ["Fsdp"]


class Fsdp(Ddp):
    """FSDP2: the weights of a block are gathered when it computes, and the sum of its gradients is scattered.

    The rows of the stack are this member's part [1, P/n] of weights and gradients, so the optimizer's slots are too.
    """

    name: ClassVar[str] = "fsdp"
    knows: ClassVar[frozenset[str]] = frozenset()
    stack: ShardedStack

    @classmethod
    def stack_of(cls, modules: Sequence[nn.Module], device: str, idle: Collection[str] = ()) -> Stack:
        return ShardedStack(modules, device, idle) if dist.is_initialized() else Stack(modules, device, idle)

    def bind(self) -> None:
        if not dist.is_initialized():
            super().bind()
            return
        self._module = self.stack.module
        self._local = {n: p.to_local() for n, p in self._module.named_parameters() if isinstance(p, DTensor)}
        for name, buffer in self._module.named_buffers():
            if name in self.stack.buffers:
                buffer.data = self.stack.buffers[name][0]

    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        if self.rehearses or not dist.is_initialized():
            return super().gradients(inputs, targets, masks, out)
        rank, size = place()
        part, share = part_of(inputs.shape[1], rank, size)
        self._load()
        self._module.train()
        for name, mask in masks.items():
            self._module.get_buffer(name).data = mask[0, part]
        with together(), torch.enable_grad():
            outputs = self._module(inputs[0, part])
            loss = trained_losses(self.loss, self.z_loss, outputs[None], targets[:, part]).mean()
            torch.autograd.backward(loss * (share * size))  # the gradients of members are averaged
            losses = loss.detach()[None] * share
            dist.all_reduce(losses)
        self.stack.gather_gradients(out)
        return losses

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        if not dist.is_initialized():
            return super().outputs(inputs)
        self._load()
        with together():
            outputs: Tensor = self._module.eval()(inputs)
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
