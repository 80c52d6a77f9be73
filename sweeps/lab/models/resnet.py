"""Residual networks for small images (He et al. 2016, arXiv 1512.03385, section 4.2), with or without shortcuts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, Self, cast

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import Field, model_validator
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import InputKind
from landsweep.sweeps.lab.models.base import Dropout, Feature, Size
from landsweep.sweeps.lab.models.ghost import GhostNormalised
from landsweep.sweeps.lab.models.layers import Activation, Norm, activation, norm

__all__ = ["ResNet", "block_sizes", "whole_blocks"]


class ResNet(GhostNormalised):
    """Depth 6n + 2: a convolution, three stages of n basic blocks with width 1, 2, 4 times `width`, and a linear layer.

    The shortcut of a block that changes shape takes every second pixel and pads the new channels with 0 (option A of
    the paper): it has no parameters, so the state dict has the same keys with `skip` on and off. Dropout is
    inside the blocks, between the convolutions (arXiv 1605.07146).
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    sizes: ClassVar[frozenset[Size]] = frozenset(("width", "depth"))
    net: Literal["resnet"]
    depth: int = Field(20, ge=8, description="6n + 2: 8, 14, 20, 32, 44, 56, 110")
    width: int = Field(16, ge=1, description="channels of the first stage")
    skip: bool = Field(True, description="whether blocks have shortcuts")
    activation: Activation = "relu"
    norm: Norm = "batch"
    dropout: Dropout = 0.0

    @model_validator(mode="after")
    def _whole_blocks(self) -> Self:
        whole_blocks(self.depth)
        return self

    def lacks(self, feature: Feature) -> str | None:
        if feature == "branches" and not self.skip:
            return "a resnet without shortcuts has none; set net.skip: true"
        return None

    def residual_blocks(self, depth: int) -> int | None:
        return (depth - 2) // 2 if self.skip else None

    def branch_ends(self) -> frozenset[str]:
        last = "conv2" if self.norm == "none" else "norm2"
        return frozenset([f"{last}.weight", "norm2.bias"]) if self.skip else frozenset()

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        blocks: list[nn.Module] = [_Block(*sizes, self) for sizes in block_sizes(self.depth, self.width)]
        return _Net(shape[0], blocks, 4 * self.width, classes, self)


def block_sizes(depth: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Channels before and after, and stride, of each block: three stages, each with twice the channels of the last."""
    before = width
    for stage in range(3):
        for i in range((depth - 2) // 6):
            after = width * 2**stage
            yield before, after, 2 if stage and i == 0 else 1
            before = after


def whole_blocks(depth: int) -> None:
    """See that a depth is one of three stages of blocks.

    Raises:
        ValueError: it is not.
    """
    if (depth - 2) % 6:
        below = 6 * ((depth - 2) // 6) + 2
        raise ValueError(f"depth must be 6n + 2; the nearest are {below} and {below + 6}")


class _Block(nn.Module):
    def __init__(self, before: int, out: int, stride: int, spec: ResNet) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, out, 3, stride, 1, bias=False)
        self.norm1 = norm(spec.norm, out, shift=True, ghost=spec.ghost)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = norm(spec.norm, out, shift=True, ghost=spec.ghost)
        self.act = activation(spec.activation)
        self.drop = nn.Dropout(spec.dropout)
        self.skip, self.stride, self.new = spec.skip, stride, out - before

    def forward(self, x: Tensor) -> Tensor:
        y = cast(Tensor, self.norm2(self.conv2(self.drop(self.act(self.norm1(self.conv1(x)))))))
        if self.skip:
            y = y + (F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new)) if self.new else x)
        return cast(Tensor, self.act(y))


class _Net(nn.Module):
    def __init__(self, channels: int, blocks: list[nn.Module], last: int, classes: int, spec: ResNet) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, spec.width, 3, 1, 1, bias=False)
        self.norm = norm(spec.norm, spec.width, shift=True, ghost=spec.ghost)
        self.act = activation(spec.activation)
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.act(self.norm(self.conv(x))))
        return cast(Tensor, self.linear(y.mean((2, 3))))
