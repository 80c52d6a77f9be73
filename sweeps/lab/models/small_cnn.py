"""The network of the small CNN zoo (Unterthiner et al. 2020, arXiv 2002.11448)."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.base import Dropout, Net, Size
from landsweep.sweeps.lab.models.layers import Activation, activation

__all__ = ["SmallCnn"]


class SmallCnn(Net):
    """Three 3x3 convolutions of stride 2 without padding, activation and dropout after each; mean over pixels; linear.

    4,970 parameters for one channel, ten classes and the published width of 16. Images must have at least 15 pixels a
    side. Keys: `conv1.*` to `conv3.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    sizes: ClassVar[frozenset[Size]] = frozenset(("width",))
    net: Literal["small_cnn"]
    width: int = Field(16, ge=1, description="channels of each convolution")
    activation: Activation = "relu"
    dropout: Dropout = 0.0

    def misfit(self, data: Data) -> str | None:
        """As for all networks, and images must be large enough."""
        general = super().misfit(data)
        if general is None and min(data.shape[1:]) < 15:
            return f"takes images of at least 15 pixels a side, but the data gives {list(data.shape)}"
        return general

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        layers: dict[str, nn.Module] = {}
        for i, channels in enumerate((shape[0], self.width, self.width), 1):
            layers[f"conv{i}"] = nn.Conv2d(channels, self.width, 3, 2)
            layers |= {f"act{i}": activation(self.activation), f"drop{i}": nn.Dropout(self.dropout)}
        ends = {"mean": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "out": nn.Linear(self.width, classes)}
        return nn.Sequential(OrderedDict(layers | ends))
