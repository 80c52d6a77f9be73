"""Chains of convolutions by hand, a few models at a time, as one array of images with the channels last in memory.

Images are an array [B, K C, H, W], so that a convolution of K models is one with K times the groups. With channels last
oneDNN reads and writes it as it lies. In vmap's order each convolution first puts the array into an order of its own,
which costs up to four times as much as the products where channels are few (docs/benchmarks.md).

How oneDNN sums depends on the number of groups. So a pack is computed in blocks of one number of models, whatever the
pack's, and a model's bits don't depend on how many train beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.losses import TrainingLoss
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

__all__ = ["Conv"]

_OF_IMAGES = (nn.Conv2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d)
_KNOWN = (*_OF_IMAGES, nn.Flatten, nn.Linear, nn.Identity, NoNorm, MaskedDropout, *RULES)
_MANY, _FEW = 8, 2  # models in a block: many if the largest images of one take at most `_SMALL` bytes
_SMALL = 2**20
_NARROW = 16  # channels
_aten = torch.ops.aten


class Conv(Backend):
    """Convolutions, max-pooling, activations and dropout, perhaps the mean over pixels, then the same of linear layers.

    The network is never called: it is read, so it must be what the types of its layers say, see `misread`.
    """

    name: ClassVar[str] = "conv"
    automatic_on: ClassVar[frozenset[str]] = frozenset(("cpu",))
    knows: ClassVar[frozenset[str]] = frozenset(("micro_batch", "trajectory"))

    @classmethod
    def serves(cls, module: nn.Module) -> str | None:
        if reason := misread(module, _KNOWN):
            return reason
        layers = chain_of(module)
        if odd := next((name for name, layer in layers if not _is_plain(layer)), None):
            return f"{odd} has settings that it does not know"
        kinds = [type(layer) for _, layer in layers]
        if nn.Flatten not in kinds or nn.Conv2d not in kinds:
            return "it takes convolutions, then Flatten, then linear layers"
        images, rows = kinds[: kinds.index(nn.Flatten)], kinds[kinds.index(nn.Flatten) + 1 :]
        if nn.Linear in images or {*_OF_IMAGES, nn.Flatten} & {*rows}:
            return "convolutions must come before Flatten, and linear layers after it"
        if nn.AdaptiveAvgPool2d in images[:-1]:
            return "the mean over pixels must come just before Flatten"
        return None

    @classmethod
    def exact_rows(cls, module: nn.Module) -> bool:
        """Not claimed, though blocks give them: a block of few models would cost as much as a whole one."""
        del module
        return False

    def bind(self) -> None:
        self._layers = chain_of(self.modules[0])
        self._weights = self.stack.buffers | self.stack.layout.split(self.stack.weights)
        self._sizes: dict[torch.Size, int] = {}  # models in a block, by shape of a model's inputs

    @torch.no_grad()
    def gradients(self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], out: Tensor) -> Tensor:
        size, losses = self._size(inputs[0]), []
        for start in range(0, len(inputs), size):
            rows = slice(start, start + size)
            grads = out[rows]
            block = grads if len(grads) == size else out.new_empty(size, out.shape[1])
            models = self._models(rows, size)
            given = models.gradients(
                _filled(inputs[rows], size),
                _filled(targets[rows], size),
                {name: _filled(mask[rows], size) for name, mask in masks.items()},
                self.stack.layout.split(block),
            )
            losses.append(given[: len(grads)])
            if block is not grads:
                grads.copy_(block[: len(grads)])
        return torch.cat(losses)

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        size, count = self._size(inputs), len(self.stack)
        blocks = [self._models(slice(start, start + size), size).outputs(inputs) for start in range(0, count, size)]
        return torch.cat(blocks)[:count]

    def _models(self, rows: slice, size: int) -> _Models:
        return _Models(self._layers, {name: _filled(w[rows], size) for name, w in self._weights.items()}, self.loss)

    def _size(self, inputs: Tensor) -> int:
        """Models in a block, for inputs [B, C, H, W] of each. It decides how sums are rounded, so it is not timed."""
        if inputs.shape not in self._sizes:
            largest = self._models(slice(0, 1), 1).largest_images(inputs)
            self._sizes[inputs.shape] = _MANY if largest <= _SMALL else _FEW
        return self._sizes[inputs.shape]


def _filled(rows: Tensor, size: int) -> Tensor:
    """Rows of a block; where there are too few, with more of the last one."""
    missing = size - len(rows)
    return rows if missing == 0 else torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


class _Models:
    """The networks of a block.

    Args:
        layers: of one of them.
        weights: parameters and buffers by name, [K, ...] each.
        loss: of the recipe.
    """

    def __init__(
        self, layers: Sequence[tuple[str, nn.Module]], weights: Mapping[str, Tensor], loss: TrainingLoss
    ) -> None:
        self._layers, self._weights, self._loss = layers, weights, loss
        self._alone = alone_with_inputs(layers)
        self._count = len(next(iter(weights.values())))

    def gradients(
        self, inputs: Tensor, targets: Tensor, masks: Mapping[str, Tensor], grads: Mapping[str, Tensor]
    ) -> Tensor:
        """Losses [K]; arguments as of `Backend.gradients`, with gradients by name."""
        x = _channels_last(inputs.transpose(0, 1).flatten(1, 2))  # [B, K C, H, W]

        def step(name: str, layer: nn.Module, x: Tensor, lowest: bool) -> tuple[Tensor, Pullback | None]:
            return self._layer(name, layer, x, masks, grads, lowest=lowest)

        return losses_through(self._layers, x, step, self._loss, targets)

    def outputs(self, inputs: Tensor) -> Tensor:
        """Outputs [K, n, ...] for the same inputs [n, ...]."""
        *_, outputs = self._layers_of(inputs)
        return outputs

    def largest_images(self, inputs: Tensor) -> int:
        """Bytes of the largest array of images in a forward pass of inputs [B, C, H, W]."""
        return max(x.nbytes for x in self._layers_of(inputs) if x.ndim == 4)

    def _layers_of(self, inputs: Tensor) -> Iterator[Tensor]:
        x = _channels_last(inputs.repeat(1, self._count, 1, 1))
        yield x
        for name, layer in self._layers:
            x, _ = self._layer(name, layer, x, {}, {}, lowest=True)
            yield x

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
            x: inputs, [B, K C, H, W] or, after Flatten, [K, B, width].
            masks: of dropout; empty: there is none.
            grads: where gradients go, of the parameters that train.
            lowest: whether nothing below wants a gradient.
        """
        if isinstance(layer, nn.Conv2d):
            return self._convolution(name, layer, x, grads, lowest=lowest)
        if isinstance(layer, nn.MaxPool2d):
            return _max_pool(layer, x)
        if isinstance(layer, nn.AdaptiveAvgPool2d):
            return x.mean((2, 3), keepdim=True), lambda d: torch.empty_like(x).copy_(d / (x.shape[2] * x.shape[3]))
        if isinstance(layer, nn.Flatten):
            return self._flatten(x)
        if isinstance(layer, nn.Linear):
            return self._linear(name, layer, x, grads)
        if type(layer) in RULES:
            return RULES[type(layer)](layer, x, name in self._alone)
        if (mask := masks.get(f"{name}.dropout_mask")) is not None:
            mask = mask if x.ndim == 3 else _channels_last(mask.transpose(0, 1).flatten(1, 2))
            return x * mask, lambda d: d * mask
        return x, None

    def _convolution(
        self, name: str, layer: nn.Conv2d, x: Tensor, grads: Mapping[str, Tensor], *, lowest: bool
    ) -> tuple[Tensor, Pullback]:
        weight = self._weights[f"{name}.weight"].flatten(0, 1)
        bias = None if layer.bias is None else self._weights[f"{name}.bias"].flatten()
        settings = layer.stride, cast(tuple[int, ...], layer.padding), layer.dilation
        groups = self._count * layer.groups

        def pullback(d: Tensor) -> Tensor:
            if f"{name}.bias" in grads:
                grads[f"{name}.bias"].copy_(d.sum((0, 2, 3)).view(self._count, -1))
            parts = 1 if lowest else _parts(layer)
            wanted = [not lowest and parts == 1, f"{name}.weight" in grads, False]
            below, of_weight, _ = _aten.convolution_backward(
                d, x, weight, None, *settings, False, [0, 0], groups, wanted
            )
            if wanted[1]:
                grads[f"{name}.weight"].copy_(of_weight.view_as(self._weights[f"{name}.weight"]))
            if lowest:
                return d
            return below if parts == 1 else _sum_of_parts(d, x, weight, settings, groups, parts)

        return torch.conv2d(x, weight, bias, *settings, groups), pullback

    def _flatten(self, x: Tensor) -> tuple[Tensor, Pullback]:
        rows = x.reshape(len(x), self._count, -1)  # [B, K, C H W]
        return rows.transpose(0, 1), lambda d: torch.empty_like(x).copy_(d.transpose(0, 1).reshape(x.shape))

    def _linear(self, name: str, layer: nn.Linear, x: Tensor, grads: Mapping[str, Tensor]) -> tuple[Tensor, Pullback]:
        weight = self._weights[f"{name}.weight"]
        y = torch.bmm(x, weight.transpose(1, 2))
        if layer.bias is not None:
            y += self._weights[f"{name}.bias"][:, None]

        def pullback(d: Tensor) -> Tensor:
            if f"{name}.weight" in grads:
                grads[f"{name}.weight"].copy_(torch.bmm(d.transpose(1, 2), x))
            if f"{name}.bias" in grads:
                torch.sum(d, 1, out=grads[f"{name}.bias"])
            return torch.bmm(d, weight)

        return y, pullback


def _parts(layer: nn.Conv2d) -> int:
    """In how many parts the channels of a convolution's outputs are taken for the gradient by its inputs.

    For strides of 2 and more oneDNN has a kernel for at most 16 channels, with which all parts together take 0.3 to 0.8
    of the time of the whole, but for wider convolutions (docs/decisions/0038).
    """
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    narrow = inputs <= _NARROW or (inputs <= 2 * _NARROW and outputs == 2 * _NARROW)
    return outputs // _NARROW if min(layer.stride) > 1 and narrow and outputs % _NARROW == 0 else 1


def _sum_of_parts(
    d: Tensor, x: Tensor, weight: Tensor, settings: tuple[tuple[int, ...], ...], groups: int, parts: int
) -> Tensor:
    """Gradient by the inputs `x` of a convolution, from that by its outputs: each part is a group of its own."""
    b, channels, *pixels = x.shape
    unread = x.new_empty(b, *pixels, parts * channels).permute(0, 3, 1, 2)  # only its shape and order matter
    each, _, _ = _aten.convolution_backward(
        d, unread, weight, None, *settings, False, [0, 0], groups * parts, [True, False, False]
    )
    first, second, *others = each.permute(0, 2, 3, 1).unflatten(3, (groups, parts, -1)).unbind(4)
    total = first + second
    for part in others:
        total += part
    summed: Tensor = total.flatten(3).permute(0, 3, 1, 2)
    return summed


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _max_pool(layer: nn.MaxPool2d, x: Tensor) -> tuple[Tensor, Pullback]:
    settings = layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode
    y, places = torch.nn.functional.max_pool2d(x, *settings, return_indices=True)
    window = [[n, n] if isinstance(n, int) else n for n in settings[:4]]
    return y, lambda d: _aten.max_pool2d_with_indices_backward(_channels_last(d), x, *window, layer.ceil_mode, places)


def _is_plain(layer: nn.Module) -> bool:
    """Whether the settings of a layer of a known type are those that this back-end knows."""
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    if isinstance(layer, nn.MaxPool2d):
        return not layer.return_indices
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer.output_size in (1, (1, 1))
    return not isinstance(layer, nn.Flatten) or (layer.start_dim, layer.end_dim) == (1, -1)
