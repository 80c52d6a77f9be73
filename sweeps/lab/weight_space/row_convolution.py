"""Convolutions of images as products of matrices, row by row: the same sums in another order.

Kernels of libraries put channels side by side in a processor's registers, which few channels do not fill. Here samples
stand side by side: activations lie in memory as [height, channels, width, samples], so that the input rows which one
output row depends on are one matrix, and an output row is a sum of as many products as the kernel is wide. No input is
copied for it, and what adds, scales or clips activations keeps them in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["RowConvolution", "row_by_row"]


class RowConvolution(nn.Conv2d):
    """The function of a convolution on the CPU; outputs look like its own, [n, channels, height, width].

    Args:
        layer: one that `row_by_row` allows; its weights are shared.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        channels = layer.in_channels, layer.out_channels
        tall, wide = layer.kernel_size
        super().__init__(*channels, (tall, wide), layer.stride, layer.padding, device="meta")  # type: ignore[arg-type] # torch types arguments and attributes differently
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        (tall, wide), (down, right), (above, left) = self.kernel_size, self.stride, (int(p) for p in self.padding)
        if input.ndim != 4 or not self._fits(input.shape[1], input.shape[2] + 2 * above, input.shape[3] + 2 * left):
            return super().forward(input)  # which says what is wrong, or knows a single image
        rows = _samples_last(input)
        plan = _plan(tuple(input.shape), self.out_channels, (tall, wide), (down, right), (above, left))
        out = rows.new_empty(plan.size)
        out.copy_(rows.new_zeros(()) if self.bias is None else self.bias[:, None, None])
        weight = self.weight.permute(3, 0, 2, 1).contiguous()
        for product in plan.products:
            target, part = product.target.of(out), product.weight.of(weight)
            seen = product.input.of(rows)
            if right > 1:
                seen = seen.flatten(-2)
            if target.ndim == 2:  # of a single row `baddbmm_` would make a copy
                target.addmm_(part, seen)
            else:
                target.baddbmm_(part, seen)
        return out.permute(3, 1, 0, 2)

    def _fits(self, channels: int, height: int, width: int) -> bool:
        return channels == self.in_channels and height >= self.kernel_size[0] and width >= self.kernel_size[1]


def row_by_row(layer: nn.Module) -> bool:
    """Whether `RowConvolution` can take the place of a layer."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.dilation == (1, 1)
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.weight.device.type == "cpu"
    )


def _samples_last(batch: Tensor) -> Tensor:
    """Activations [n, channels, height, width] as [height, channels, width, n] in memory; itself if they lie so."""
    n, channels, height, width = batch.shape
    if batch.is_contiguous():  # of two copies each is quick, where one would jump from number to number
        batch = batch.view(n, -1).t().contiguous().view(channels, height, width, n).permute(3, 0, 1, 2)
    return batch.permute(2, 1, 3, 0).contiguous()


class _View(NamedTuple):
    """A part of a tensor: its size, its stride, and where it begins."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def of(self, whole: Tensor) -> Tensor:
        return whole.as_strided(self.size, self.stride, whole.storage_offset() + self.offset)

    def repeated(self, times: int, step: int) -> _View:
        """With one more axis in front, unless that has length 1."""
        return self if times == 1 else _View((times, *self.size), (step, *self.stride), self.offset)


@dataclass(frozen=True, slots=True)
class _Product:
    """What is added where: target += weight @ input."""

    target: _View
    weight: _View
    input: _View


@dataclass(frozen=True, slots=True)
class _Plan:
    """The products of one convolution, and the size of its output [height, channels, width, samples]."""

    size: tuple[int, int, int, int]
    products: tuple[_Product, ...]


@lru_cache(maxsize=1024)
def _plan(
    shape: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> _Plan:
    n, channels, height, width = shape
    (tall, wide), (down, right), (above, left) = kernel, stride, padding
    high, across = (height + 2 * above - tall) // down + 1, (width + 2 * left - wide) // right + 1
    row, taps = channels * width * n, tall * channels
    products = []
    for first, end, top, bottom in _alike(high, height, tall, down, above):
        many, depth, start = end - first, (bottom - top) * channels, first * down + top - above
        for column in range(wide):
            low, past = _inside(across, width, column - left, right)
            count, begin = past - low, start * row + (low * right + column - left) * n
            target = _View((outputs, count * n), (across * n, 1), (first * outputs * across + low) * n)
            weight = _View((outputs, depth), (taps, 1), column * outputs * taps + top * channels)
            seen = _View((depth, count * n), (width * n, 1), begin)
            if right > 1:
                seen = _View((depth, count, n), (width * n, right * n, 1), begin)
            if count:
                target, weight = target.repeated(many, outputs * across * n), weight.repeated(many, 0)
                products.append(_Product(target, weight, seen.repeated(many, down * row)))
    return _Plan((high, outputs, across, n), tuple(products))


def _alike(count: int, height: int, tall: int, down: int, above: int) -> list[tuple[int, int, int, int]]:
    """Runs of output rows for which the same rows of the kernel are inside the image: (first, end, top, bottom)."""
    runs: list[tuple[int, int, int, int]] = []
    for i in range(count):
        top, bottom = _inside(tall, height, i * down - above, 1)
        if runs and runs[-1][2:] == (top, bottom):
            runs[-1] = (runs[-1][0], i + 1, top, bottom)
        elif bottom > top:
            runs.append((i, i + 1, top, bottom))
    return runs


def _inside(count: int, length: int, offset: int, stride: int) -> tuple[int, int]:
    """Which of `count` places, at offset + stride * i, lie within 0 to length."""
    low = max(0, -(offset // stride))
    return low, max(low, min(count, (length - 1 - offset) // stride + 1))
