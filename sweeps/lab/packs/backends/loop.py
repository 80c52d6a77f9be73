"""The reference back-end: one module after the other, as anyone would write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from sweeps.lab.packs.backends.base import Backend
from sweeps.lab.packs.losses import trained_losses

__all__ = ["Loop"]


class Loop(Backend):
    """Each model by its own module, whose parameters and buffers are views of the stack."""

    name: ClassVar[str] = "loop"
    own_modules: ClassVar[bool] = True

    def bind(self) -> None:
        self._leaves = []
        views = self.stack.layout.split(self.stack.weights)
        for k, module in enumerate(self.modules):
            module.to(self.stack.weights.device)
            parameters = dict(module.named_parameters())
            for name, p in parameters.items():
                p.data = views[name][k]
            for name, b in module.named_buffers():
                if name in self.stack.buffers:
                    b.data = self.stack.buffers[name][k]
            self._leaves.append(list(parameters.values()))

    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        losses = []
        for k, module in enumerate(self.modules):
            module.train()
            for name, mask in masks.items():
                module.get_buffer(name).data = mask[k]
            loss = trained_losses(self.loss, self.z_loss, module(inputs[k])[None], targets[k : k + 1]).mean()
            grads = torch.autograd.grad(loss, self._leaves[k])
            torch.cat([g.reshape(-1) for g in grads], out=out[k])
            losses.append(loss.detach())
        return torch.stack(losses)

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        for module in self.modules:
            module.eval()
        return torch.stack([module(inputs) for module in self.modules])
