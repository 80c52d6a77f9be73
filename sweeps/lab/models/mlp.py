"""Multi-layer perceptrons."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from sweeps.lab.models.base import Activation, Net, Norm, activation, norm

__all__ = ["Mlp"]


class Mlp(Net):
    """Fully connected layers: linear, normalisation, activation; at the end linear."""

    net: Literal["mlp"]
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field((64, 64), description="width of each hidden layer")
    activation: Activation = "relu"
    norm: Norm = "none"

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(shape)
        for out in self.hidden:
            layers += [nn.Linear(width, out), norm(self.norm, out, flat=True), activation(self.activation)]
            width = out
        return nn.Sequential(*layers, nn.Linear(width, classes))
