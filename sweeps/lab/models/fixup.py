"""Residual networks without normalisation, by Fixup: scalars in its place, and branches that begin at zero."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from pydantic import Field, model_validator
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import InputKind
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.layers import Activation, activation
from landsweep.sweeps.lab.models.resnet import block_sizes, whole_blocks

__all__ = ["FixupResNet"]


class FixupResNet(Net):
    """The residual network of `resnet` with Fixup (arXiv 1901.09321) in the place of normalisation.

    A block: x -> x + bias2b + scale conv2(act(conv1(x + bias1a) + bias1b) + bias2a), and the activation of that. All
    biases and `scale` are single numbers, which begin at 0 and 1. Of L blocks, conv1 is drawn L^(-1/2) times as large
    as `init` says; conv2 and the linear layer begin at 0, so at first the network gives 0 for each class.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    net: Literal["fixup_resnet"]
    depth: int = Field(20, ge=8, description="6n + 2: 8, 14, 20, 32, 44, 56, 110")
    width: int = Field(16, ge=1, description="channels of the first stage")
    activation: Activation = "relu"

    @model_validator(mode="after")
    def _whole_blocks(self) -> Self:
        whole_blocks(self.depth)
        return self

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        blocks: list[nn.Module] = [_Block(*sizes, self.activation) for sizes in block_sizes(self.depth, self.width)]
        return _Net(shape[0], blocks, 4 * self.width, classes, self)

    @torch.no_grad()
    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        super()._initialise(module, source)
        blocks = (self.depth - 2) // 2
        for name, p in module.named_parameters():
            if name.endswith("conv1.weight"):
                p.mul_(blocks**-0.5)
            elif name.endswith("conv2.weight") or name.startswith("linear."):
                p.zero_()


def _scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.full((), value))


class _Block(nn.Module):
    def __init__(self, before: int, out: int, stride: int, act: Activation) -> None:
        super().__init__()
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = (_scalar(0.0) for _ in range(4))
        self.scale = _scalar(1.0)
        self.conv1 = nn.Conv2d(before, out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.act = activation(act)
        self.stride, self.new = stride, out - before

    def forward(self, x: Tensor) -> Tensor:
        shifted = x + self.bias1a
        y = self.conv2(self.act(self.conv1(shifted) + self.bias1b) + self.bias2a) * self.scale + self.bias2b
        if self.new:
            x = F.pad(shifted[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new))
        return cast(Tensor, self.act(y + x))


class _Net(nn.Module):
    def __init__(self, channels: int, blocks: list[nn.Module], last: int, classes: int, spec: FixupResNet) -> None:
        super().__init__()
        self.bias1, self.bias2 = _scalar(0.0), _scalar(0.0)
        self.conv = nn.Conv2d(channels, spec.width, 3, 1, 1, bias=False)
        self.act = activation(spec.activation)
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.act(self.conv(x) + self.bias1))
        return cast(Tensor, self.linear(y.mean((2, 3)) + self.bias2))
