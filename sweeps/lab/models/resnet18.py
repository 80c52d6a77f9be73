"""ResNet-18 for small images, of any width: the network of the phase-transition zoos (arXiv 2504.18072)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, cast

from pydantic import Field
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import InputKind
from landsweep.sweeps.lab.models.base import Dropout, Size
from landsweep.sweeps.lab.models.ghost import GhostNormalised
from landsweep.sweeps.lab.models.layers import Activation, Norm, activation, norm

__all__ = ["ResNet18"]


class ResNet18(GhostNormalised):
    """A 3x3 stem of stride 1 without pooling, then two basic blocks each of width 1, 2, 4, 8 times `width`.

    Shortcuts that change the shape are 1x1 convolutions with normalisation (option B of arXiv 1512.03385). With batch
    normalisation, three channels and ten classes 11,420 parameters at width 2 and 11,173,962 at width 64. Dropout is
    inside the blocks, between the convolutions (arXiv 1605.07146).
    Keys: `conv.*`, `norm.*`, `blocks.I.{conv1,norm1,conv2,norm2,shortcut.conv,shortcut.norm}.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    sizes: ClassVar[frozenset[Size]] = frozenset(("width",))
    net: Literal["resnet18"]
    width: int = Field(64, ge=1, description="channels of the first stage")
    activation: Activation = "relu"
    norm: Norm = "batch"
    dropout: Dropout = 0.0

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        blocks = []
        before = self.width
        for stage in range(4):
            out = self.width * 2**stage
            blocks += [_Block(before, out, 2 if stage else 1, self), _Block(out, out, 1, self)]
            before = out
        return _Net(shape[0], blocks, nn.Linear(before, classes), self)


class _Shortcut(nn.Module):
    def __init__(self, before: int, out: int, stride: int, spec: ResNet18) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, out, 1, stride, bias=False)
        self.norm = norm(spec.norm, out, shift=True, ghost=spec.ghost)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(self.conv(x)))


class _Block(nn.Module):
    def __init__(self, before: int, out: int, stride: int, spec: ResNet18) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, out, 3, stride, 1, bias=False)
        self.norm1 = norm(spec.norm, out, shift=True, ghost=spec.ghost)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = norm(spec.norm, out, shift=True, ghost=spec.ghost)
        self.shortcut = _Shortcut(before, out, stride, spec) if before != out else nn.Identity()
        self.act = activation(spec.activation)
        self.drop = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(self.act(self.norm1(self.conv1(x))))
        return cast(Tensor, self.act(self.norm2(self.conv2(y)) + self.shortcut(x)))


class _Net(nn.Module):
    def __init__(self, channels: int, blocks: list[_Block], out: nn.Linear, spec: ResNet18) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, spec.width, 3, 1, 1, bias=False)
        self.norm = norm(spec.norm, spec.width, shift=True, ghost=spec.ghost)
        self.act = activation(spec.activation)
        self.blocks = nn.Sequential(*blocks)
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.act(self.norm(self.conv(x))))
        return cast(Tensor, self.out(y.mean((2, 3))))
