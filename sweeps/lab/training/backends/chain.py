"""Chains of convolutions by hand: the gradients that `vmap` and autograd give, bit for bit, in less memory.

Images of all models are one array [B, K C, H, W], as vmap has them in its convolutions. Biases, activations and their
gradients are written in place there; vmap makes a new array for each, and a pack's arrays are so large that new memory
costs as much as the arithmetic. What vmap and autograd do in Python takes a tenth of a step more.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.models.layers import NoNorm
from landsweep.sweeps.lab.models.plain import misread
from landsweep.sweeps.lab.training.backends.rules import RULES, Pullback, alone_with_inputs, chain_of
from landsweep.sweeps.lab.training.dropout import MaskedDropout
from landsweep.sweeps.lab.training.stack import Stack

__all__ = ["Chain"]

# How torch rounds the others depends on the layout of an array, which differs from autograd's.
_EXACT: tuple[type[nn.Module], ...] = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid)
_KNOWN = (nn.Conv2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear, nn.Identity, NoNorm, MaskedDropout, *_EXACT)
_aten = torch.ops.aten


class Chain:
    """Convolutions and activations, then perhaps the mean over pixels, then linear layers and activations.

    Args:
        module: of any of the models; `Chain.reads` it.
        stack: of the models.
        loss: of the recipe.
    """

    def __init__(self, module: nn.Module, stack: Stack, loss: TrainingLoss) -> None:
        self._layers = chain_of(module)
        self._alone = alone_with_inputs(self._layers)
        self._weights = stack.buffers | stack.layout.split(stack.weights)
        self._stack, self._loss = stack, loss

    @staticmethod
    def reads(module: nn.Module) -> bool:
        """Whether a network is such a chain, going by its layers."""
        if misread(module, _KNOWN) is not None:
            return False
        layers = [layer for _, layer in chain_of(module)]
        flat = next((i for i, layer in enumerate(layers) if isinstance(layer, nn.Flatten)), 0)
        images, rows = layers[:flat], layers[flat + 1 :]
        return (
            any(isinstance(layer, nn.Conv2d) for layer in images)
            and all(_is_plain(layer) for layer in layers)
            and not any(isinstance(layer, nn.Linear) for layer in images)
            and not any(isinstance(layer, nn.Conv2d | nn.AdaptiveAvgPool2d | nn.Flatten) for layer in rows)
            and not any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in images[:-1])
        )

    @torch.no_grad()
    def gradients(self, inputs: Tensor, targets: Tensor, out: Tensor) -> Tensor:
        """As of `Backend.gradients`, without masks."""
        grads = self._stack.layout.split(out)
        x = inputs.transpose(0, 1).flatten(1, 2)  # [B, K C, H, W]
        tape: list[Pullback] = []
        for name, layer in self._layers:
            x, pullback = self._layer(name, layer, x, grads, lowest=not tape)
            if pullback is not None:
                tape.append(pullback)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            losses = self._loss(leaf, targets).mean(1)
            (d,) = torch.autograd.grad(losses.sum(), leaf)
        for pullback in reversed(tape):
            d = pullback(d)
        return losses.detach()

    def _layer(
        self, name: str, layer: nn.Module, x: Tensor, grads: dict[str, Tensor], *, lowest: bool
    ) -> tuple[Tensor, Pullback | None]:
        """Outputs of a layer, and its pullback, which also writes the gradients of its parameters."""
        if isinstance(layer, nn.Conv2d):
            return self._convolution(name, layer, x, grads, lowest=lowest)
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            return self._mean(x)
        if isinstance(layer, nn.Flatten):
            return self._flatten(x)
        if isinstance(layer, nn.Linear):
            return self._linear(name, layer, x, grads)
        if type(layer) in _EXACT:
            return RULES[type(layer)](layer, x, name in self._alone)
        return x, None

    def _convolution(
        self, name: str, layer: nn.Conv2d, x: Tensor, grads: dict[str, Tensor], *, lowest: bool
    ) -> tuple[Tensor, Pullback]:
        weight = self._weights[f"{name}.weight"].flatten(0, 1)
        groups = len(self._stack) * layer.groups
        settings = layer.stride, cast(tuple[int, ...], layer.padding), layer.dilation
        y = torch.conv2d(x, weight, None, *settings, groups)
        if layer.bias is not None:  # not by the convolution, which sums in another order then
            y += self._weights[f"{name}.bias"].reshape(-1, 1, 1)

        def pullback(d: Tensor) -> Tensor:
            if f"{name}.bias" in grads:
                grads[f"{name}.bias"].copy_(d.sum((0, 2, 3)).view(len(self._stack), -1))
            wanted = [not lowest, f"{name}.weight" in grads, False]
            below, of_weight, _ = _aten.convolution_backward(
                d, x, weight, None, *settings, False, [0, 0], groups, wanted
            )
            if wanted[1]:
                grads[f"{name}.weight"].copy_(of_weight.view_as(self._weights[f"{name}.weight"]))
            return d if lowest else below

        return y, pullback

    def _mean(self, x: Tensor) -> tuple[Tensor, Pullback]:
        b, _, *pixels = x.shape
        images = x.reshape(b, len(self._stack), -1, *pixels).transpose(0, 1)  # [K, B, C, H, W]
        y = images.mean((4, 3), keepdim=True)

        def pullback(d: Tensor) -> Tensor:
            return (d / (pixels[0] * pixels[1])).expand_as(x).contiguous()

        return y.transpose(0, 1).reshape(b, -1, 1, 1), pullback

    def _flatten(self, x: Tensor) -> tuple[Tensor, Pullback]:
        rows = x.reshape(len(x), len(self._stack), -1)  # [B, K, C H W]
        return rows.transpose(0, 1), lambda d: d.transpose(0, 1).reshape(x.shape)

    def _linear(self, name: str, layer: nn.Linear, x: Tensor, grads: dict[str, Tensor]) -> tuple[Tensor, Pullback]:
        weight = self._weights[f"{name}.weight"]
        y = torch.bmm(x, weight.transpose(1, 2))
        if layer.bias is not None:
            y += self._weights[f"{name}.bias"][:, None]

        def pullback(d: Tensor) -> Tensor:
            if f"{name}.weight" in grads:
                grads[f"{name}.weight"].copy_(torch.bmm(x.transpose(1, 2), d).transpose(1, 2))
            if f"{name}.bias" in grads:
                torch.sum(d, 1, out=grads[f"{name}.bias"])
            return torch.bmm(d, weight)

        return y, pullback


def _is_plain(layer: nn.Module) -> bool:
    """Whether the settings of a layer of a known type are those that the chain knows."""
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer.output_size in (1, (1, 1))
    if isinstance(layer, nn.Flatten):
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return not (isinstance(layer, MaskedDropout) and layer.p)
