"""Multi-layer perceptrons."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal, cast

from pydantic import Field
from torch import Tensor, nn

from sweeps.lab.data.base import InputKind
from sweeps.lab.models.base import Dropout, Net, Widths
from sweeps.lab.models.layers import Activation, Norm, activation, norm

__all__ = ["Mlp"]


class Mlp(Net):
    """Fully connected layers: linear, normalisation, activation, dropout; at the end linear. Inputs are flattened.

    Keys: `hidden.I.linear.*`, `hidden.I.norm.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("vectors", "images")
    net: Literal["mlp"]
    hidden: Widths = Field((64, 64), description="width of each hidden layer; [] for a linear model")
    activation: Activation = "relu"
    norm: Norm = "none"
    dropout: Dropout = 0.0

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        widths = [math.prod(shape), *self.hidden]
        layers = [_Layer(n, m, self) for n, m in zip(widths[:-1], widths[1:], strict=True)]
        return _Net(layers, nn.Linear(widths[-1], classes))


class _Layer(nn.Module):
    def __init__(self, width: int, out: int, spec: Mlp) -> None:
        super().__init__()
        self.linear = nn.Linear(width, out)
        self.norm = norm(spec.norm, out, flat=True)
        self.act = activation(spec.activation)
        self.drop = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.drop(self.act(self.norm(self.linear(x)))))


class _Net(nn.Module):
    def __init__(self, layers: list[_Layer], out: nn.Linear) -> None:
        super().__init__()
        self.hidden = nn.Sequential(*layers)
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.out(self.hidden(x.flatten(1))))
