"""One stacked forward pass by torch.func.vmap, one backward pass of the sum over models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from landsweep.sweeps.lab.arithmetic import arithmetic, backward_arithmetic, wide
from landsweep.sweeps.lab.models.layers import NoNorm
from landsweep.sweeps.lab.models.plain import misread
from landsweep.sweeps.lab.training.backends.base import Backend, gradients_of
from landsweep.sweeps.lab.training.dropout import MaskedDropout

__all__ = ["Vmap"]

_ACTIVATIONS = (nn.ReLU, nn.GELU, nn.Tanh, nn.SiLU, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.SELU)
_ROWS = (nn.Flatten, nn.Linear, nn.Identity, NoNorm, MaskedDropout, *_ACTIVATIONS)


class Vmap(Backend):
    """The first model's module, called with the parameters and buffers of all.

    The loss is the sum over models, never the mean: that would divide each model's gradient by K.
    """

    name: ClassVar[str] = "vmap"
    knows: ClassVar[frozenset[str]] = frozenset(("precision", "bf16_weights", "micro_batch", "trajectory"))

    @classmethod
    def exact_rows(cls, module: nn.Module) -> bool:
        """Only of perceptrons: convolutions and normalisations over the batch sum in an order that depends on K."""
        return misread(module, _ROWS) is None

    def bind(self) -> None:
        self._module = self.modules[0].to(self.stack.weights.device)
        self._leaves = self.stack.leaves()
        self._idle = {n: self.stack.buffers[n].detach().requires_grad_() for n in self.stack.layout.idle}

    def _one(self, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self._module, dict(state), (inputs,))
        return outputs

    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        self._module.train()
        state = {**self._leaves, **self.stack.buffers, **self._idle, **masks}
        with arithmetic(self.precision, out.device):
            outputs = wide(vmap(self._one)(state, inputs))
        k = len(outputs)
        losses = self.loss(outputs, targets).mean(1)
        scaled = losses if self.scales is None else losses * self.scales
        with backward_arithmetic(self.precision, out.device):
            grads = gradients_of(scaled.sum(), self._leaves, self._idle)
        torch.cat([g.reshape(k, -1) for g in grads], 1, out=out)
        return losses.detach()

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        self._module.eval()
        with arithmetic(self.precision, inputs.device):
            return wide(vmap(self._one, in_dims=(0, None))({**self._leaves, **self.stack.buffers}, inputs))
