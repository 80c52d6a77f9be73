"""A small convolutional network without shortcuts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, cast

from pydantic import Field
from torch import Tensor, nn

from sweeps.lab.data.base import InputKind
from sweeps.lab.models.base import Dropout, Net, Widths
from sweeps.lab.models.layers import Activation, Norm, activation, norm

__all__ = ["Cnn"]


class Cnn(Net):
    """3x3 convolutions, each but the first halving the image; then the mean over pixels and a linear layer.

    Keys: `layers.I.conv.*`, `layers.I.norm.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    net: Literal["cnn"]
    channels: Widths = Field((16, 32), min_length=1, description="of each convolution")
    activation: Activation = "relu"
    norm: Norm = "none"
    dropout: Dropout = 0.0

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        before = [shape[0], *self.channels[:-1]]
        layers = [
            _Layer(n, m, 1 if i == 0 else 2, self) for i, (n, m) in enumerate(zip(before, self.channels, strict=True))
        ]
        return _Net(layers, nn.Linear(self.channels[-1], classes))


class _Layer(nn.Module):
    def __init__(self, before: int, out: int, stride: int, spec: Cnn) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, out, 3, stride, 1)
        self.norm = norm(spec.norm, out)
        self.act = activation(spec.activation)
        self.drop = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.drop(self.act(self.norm(self.conv(x)))))


class _Net(nn.Module):
    def __init__(self, layers: list[_Layer], out: nn.Linear) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.out(self.layers(x).mean((2, 3))))
