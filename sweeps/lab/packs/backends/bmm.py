"""Perceptrons by hand: a batched matrix product per layer, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from sweeps.lab.packs.backends.base import Backend
from sweeps.lab.packs.dropout import MaskedDropout
from sweeps.lab.packs.losses import sample_losses

__all__ = ["Bmm"]

_POINTWISE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.ReLU: torch.relu,
    nn.Tanh: torch.tanh,
    nn.Sigmoid: torch.sigmoid,
    nn.SiLU: F.silu,
}


class Bmm(Backend):
    """A sequence of linear layers, activations, dropout and layer normalisation over [K, B, width].

    A linear layer is Y = X W^T + b with W [K, out, in]; each product is one matrix product per model: a model's bits do
    not depend on K.
    """

    name: ClassVar[str] = "bmm"
    row_exact = True

    @classmethod
    def serves(cls, module: nn.Module) -> str | None:
        layers = [layer for _, layer in _layers("", module)]
        known = (nn.Flatten, nn.Linear, nn.Identity, nn.GELU, nn.LayerNorm, MaskedDropout, *_POINTWISE)
        if unknown := [type(layer).__name__ for layer in layers if not isinstance(layer, known)]:
            return f"it has no rule for {unknown[0]}"
        return None if isinstance(layers[0], nn.Flatten) else "the first layer must be Flatten"

    def bind(self) -> None:
        self._leaves = self.stack.leaves()
        self._layers = _layers("", self.modules[0])

    def _forward(self, x: Tensor, masks: Mapping[str, Tensor], *, training: bool) -> Tensor:
        for name, layer in self._layers:
            if isinstance(layer, nn.Linear):
                weight = self._leaves[f"{name}.weight"].transpose(1, 2)
                product = torch.bmm(x, weight) if x.ndim == 3 and len(x) > 1 else torch.matmul(x, weight)
                x = product if layer.bias is None else product + self._leaves[f"{name}.bias"][:, None]
            elif isinstance(layer, nn.LayerNorm):
                x = F.layer_norm(x, layer.normalized_shape, None, None, layer.eps)
                x = x * self._leaves[f"{name}.weight"][:, None] + self._leaves[f"{name}.bias"][:, None]
            elif isinstance(layer, nn.GELU):
                x = F.gelu(x, approximate=layer.approximate)
            elif isinstance(layer, MaskedDropout):
                x = x * masks[f"{name}.dropout_mask"] if training and layer.p else x
            elif type(layer) in _POINTWISE:
                x = _POINTWISE[type(layer)](x)
        return x

    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        outputs = self._forward(inputs.flatten(2), masks, training=True)
        k = len(outputs)
        losses = sample_losses(self.loss, outputs.flatten(0, 1), targets.flatten(0, 1)).view(k, -1).mean(1)
        grads = torch.autograd.grad(losses.sum(), list(self._leaves.values()))
        torch.cat([g.reshape(k, -1) for g in grads], 1, out=out)
        return losses.detach()

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        k = len(self.stack)
        return self._forward(inputs.flatten(1).expand(k, -1, -1), {}, training=False)


def _layers(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers of nested sequences, in order, by their full names."""
    if not isinstance(module, nn.Sequential):
        return [(name, module)]
    children = ((f"{name}.{n}" if name else n, child) for n, child in module.named_children())
    return [layer for n, child in children for layer in _layers(n, child)]
