"""The reference back-end: one module after the other, as anyone would write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from sweeps.lab.packs.backends.base import Backend
from sweeps.lab.packs.losses import trained_losses
from sweeps.lab.streams import restart, seeded

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
        for k, module in self._each():
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
        return torch.stack([module(inputs) for _, module in self._each()])

    def _each(self) -> Iterator[tuple[int, nn.Module]]:
        """The modules, each with the global random states at its own seed; they are given back at the end."""
        if self.seeds is None:
            yield from enumerate(self.modules)
            return
        device = self.stack.weights.device
        with seeded(0, device):
            for k, (module, seed) in enumerate(zip(self.modules, self.seeds(), strict=True)):
                restart(seed, device)
                yield k, module
