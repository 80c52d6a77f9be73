"""Multi-layer perceptrons."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

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
        layers: list[nn.Module] = []
        width = math.prod(shape)
        for out in self.hidden:
            parts = {"linear": nn.Linear(width, out), "norm": norm(self.norm, out, flat=True)}
            ends = {"act": activation(self.activation), "drop": nn.Dropout(self.dropout)}
            layers.append(nn.Sequential(OrderedDict(parts | ends)))
            width = out
        ends = {"hidden": nn.Sequential(*layers), "out": nn.Linear(width, classes)}
        return nn.Sequential(OrderedDict({"flatten": nn.Flatten(), **ends}))
