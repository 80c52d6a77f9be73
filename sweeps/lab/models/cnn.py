"""A small convolutional network without shortcuts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from sweeps.lab.models.base import Activation, Net, Norm, activation, norm

__all__ = ["Cnn"]


class Cnn(Net):
    """3x3 convolutions, each but the first halving the image; then the mean over pixels and a linear layer."""

    net: Literal["cnn"]
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field((16, 32), min_length=1, description="of each convolution")
    activation: Activation = "relu"
    norm: Norm = "none"

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        layers: list[nn.Module] = []
        before = shape[0]
        for i, out in enumerate(self.channels):
            conv = nn.Conv2d(before, out, 3, stride=1 if i == 0 else 2, padding=1)
            layers += [conv, norm(self.norm, out), activation(self.activation)]
            before = out
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
