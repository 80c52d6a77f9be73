"""The vmap back-end compiled as one program: opt-in, since compiling takes tens of seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from landsweep.sweeps.lab.training.backends.vmap import Vmap
from landsweep.sweeps.lab.weight_space.batch_norm import running_layers

__all__ = ["Compiled"]


class Compiled(Vmap):
    """`vmap` of gradient and loss of one model, through torch.compile; evaluation stays as in `vmap`."""

    name: ClassVar[str] = "compiled"
    knows: ClassVar[frozenset[str]] = frozenset(("micro_batch",))
    compiles: ClassVar[bool] = True

    @classmethod
    def serves(cls, module: nn.Module) -> str | None:
        return "batch normalisation changes its buffers while it trains" if running_layers(module) else None

    @classmethod
    def exact_rows(cls, module: nn.Module) -> bool:
        """Never: each number of rows is compiled anew, into other loops."""
        del module
        return False

    def bind(self) -> None:
        super().bind()
        self._program = torch.compile(vmap(grad_and_value(self._loss)), dynamic=False)

    def _loss(self, weights: Mapping[str, Tensor], others: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self.loss(self._one({**weights, **others}, x)[None], y[None]).mean()

    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        self._module.train()
        weights = {n: w.detach() for n, w in self._leaves.items()}
        grads, losses = self._program(weights, {**self.stack.buffers, **masks}, inputs, targets)
        torch.cat([grads[n].reshape(len(out), -1) for n in weights], 1, out=out)
        result: Tensor = losses
        return result
