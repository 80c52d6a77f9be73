"""Perceptrons by hand: a batched matrix product per layer, forward and backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.models.layers import NoNorm
from landsweep.sweeps.lab.models.plain import misread
from landsweep.sweeps.lab.training.backends.base import Backend
from landsweep.sweeps.lab.training.backends.rules import (
    RULES,
    Pullback,
    alone_with_inputs,
    chain_of,
    losses_through,
)
from landsweep.sweeps.lab.training.dropout import MaskedDropout

__all__ = ["Bmm"]

_aten = torch.ops.aten

_KNOWN = (nn.Flatten, nn.Linear, nn.Identity, NoNorm, nn.LayerNorm, MaskedDropout, *RULES)


class _Room:
    """Memory that the arrays of a step are made in again in the next: new memory costs as much as the arithmetic.

    Args:
        like: an array of the type, and on the device, of those that it is for.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._arrays: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """The array of a name and shape, with whatever was last written into it."""
        if (name, shape) not in self._arrays:
            self._arrays[name, shape] = self._like.new_empty(shape)
        return self._arrays[name, shape]


class Bmm(Backend):
    """A sequence of linear layers, activations, dropout and layer normalisation over [K, B, width].

    A linear layer is Y = X W^T + b with W [K, out, in]; each product is one matrix product per model: a model's bits do
    not depend on K. The backward pass is written out, since autograd's bookkeeping costs as much as the products.

    The network is never called: it is read, so it must be what the types of its layers say, see `misread`.
    """

    name: ClassVar[str] = "bmm"
    knows: ClassVar[frozenset[str]] = frozenset(("micro_batch", "trajectory"))

    @classmethod
    def serves(cls, module: nn.Module) -> str | None:
        if reason := misread(module, _KNOWN):
            return reason
        layers = chain_of(module)
        if not layers or not isinstance(layers[0][1], nn.Flatten):
            return "the first layer must be Flatten"
        for name, layer in layers:
            if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
                return f"{name} flattens other axes than those after the batch"
            if isinstance(layer, nn.LayerNorm) and (
                "bias" not in dict(layer.named_parameters()) or len(layer.normalized_shape) != 1
            ):
                return f"{name} has no weight and bias, or normalises over several axes"
        return None

    def bind(self) -> None:
        self._weights = self.stack.buffers | self.stack.layout.split(self.stack.weights)
        self._layers = chain_of(self.modules[0])
        self._alone = alone_with_inputs(self._layers)
        self._room = _Room(self.stack.weights)
        self._parts: tuple[Tensor, dict[str, Tensor]] | None = None  # of the array that gradients were last wanted in

    def _split(self, out: Tensor) -> dict[str, Tensor]:
        """Views of gradients [K, P] by parameter; mostly of the same memory as in the step before."""
        if self._parts is None or self._parts[0] is not out:
            self._parts = out, self.stack.layout.split(out)
        return self._parts[1]

    @torch.no_grad()
    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        grads = self._split(out)
        x = inputs.flatten(2)

        def step(name: str, layer: nn.Module, x: Tensor, lowest: bool) -> tuple[Tensor, Pullback | None]:
            return self._layer(name, layer, x, masks, grads, lowest=lowest)

        return losses_through(self._layers, x, step, self.loss, targets)

    def _layer(
        self,
        name: str,
        layer: nn.Module,
        x: Tensor,
        masks: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        *,
        lowest: bool,
    ) -> tuple[Tensor, Pullback | None]:
        """Outputs of a layer, and its pullback, which also writes the gradients of its parameters.

        Args:
            name: of the layer.
            layer: of the first model.
            x: inputs [K, B, width].
            masks: of dropout.
            grads: where gradients go, of the parameters that train; empty: nothing does, and there is no dropout.
            lowest: whether nothing below wants a gradient.
        """
        if isinstance(layer, nn.Linear):
            return self._linear(name, layer, x, grads, lowest=lowest)
        if isinstance(layer, nn.LayerNorm):
            return self._layer_norm(name, layer, x, grads)
        if type(layer) in RULES:
            return RULES[type(layer)](layer, x, name in self._alone)
        if isinstance(layer, MaskedDropout) and layer.p and grads:
            mask = masks[f"{name}.dropout_mask"]
            return x * mask, lambda d: d * mask
        return x, None

    def _linear(
        self, name: str, layer: nn.Linear, x: Tensor, grads: Mapping[str, Tensor], *, lowest: bool
    ) -> tuple[Tensor, Pullback]:
        weight = self._weights[f"{name}.weight"]
        k, out, width = weight.shape
        room = self._room if grads else None  # outputs for others to read are new arrays
        y = torch.bmm(x, weight.transpose(1, 2), out=None if room is None else room(f"{name} y", k, x.shape[1], out))
        has_bias = bool(layer.bias is not None)
        if has_bias:
            y += self._weights[f"{name}.bias"][:, None]

        def pullback(d: Tensor) -> Tensor:
            if f"{name}.weight" in grads:  # by a copy: products whose results don't lie together are made one by one
                product = torch.bmm(d.transpose(1, 2), x, out=self._room(f"{name} w", k, out, width))
                grads[f"{name}.weight"].copy_(product)
            if f"{name}.bias" in grads:
                torch.sum(d, 1, out=grads[f"{name}.bias"])
            return d if lowest else torch.bmm(d, weight, out=self._room(f"{name} x", k, d.shape[1], width))

        return y, pullback

    def _layer_norm(
        self, name: str, layer: nn.LayerNorm, x: Tensor, grads: Mapping[str, Tensor]
    ) -> tuple[Tensor, Pullback]:
        shape, weight = list(layer.normalized_shape), self._weights[f"{name}.weight"][:, None]
        plain, mean, rstd = torch.native_layer_norm(x, shape, None, None, layer.eps)

        def pullback(d: Tensor) -> Tensor:
            if f"{name}.weight" in grads:
                grads[f"{name}.weight"].copy_((d * plain).sum(1))
            if f"{name}.bias" in grads:
                grads[f"{name}.bias"].copy_(d.sum(1))
            inner = d * weight
            below: Tensor = _aten.native_layer_norm_backward(
                inner, x, shape, mean, rstd, None, None, [True, False, False]
            )[0]
            return below

        return plain * weight + self._weights[f"{name}.bias"][:, None], pullback

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        x = inputs.flatten(1).expand(len(self.stack), -1, -1)
        for name, layer in self._layers:
            x, _ = self._layer(name, layer, x, {}, {}, lowest=True)
        return x
