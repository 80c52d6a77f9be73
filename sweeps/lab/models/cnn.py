"""A small convolutional network without shortcuts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from landsweep.sweeps.lab.data.base import InputKind
from landsweep.sweeps.lab.models.base import Dropout, Size, Widths
from landsweep.sweeps.lab.models.ghost import GhostNormalised
from landsweep.sweeps.lab.models.layers import Activation, Norm, activation, norm
from landsweep.sweeps.lab.models.ratios import scaled

__all__ = ["Cnn"]


class Cnn(GhostNormalised):
    """3x3 convolutions, each but the first halving the image; then the mean over pixels and a linear layer.

    Keys: `layers.I.conv.*`, `layers.I.norm.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    sizes: ClassVar[frozenset[Size]] = frozenset(("width",))
    net: Literal["cnn"]
    channels: Widths = Field((16, 32), min_length=1, description="of each convolution")
    activation: Activation = "relu"
    norm: Norm = "none"
    dropout: Dropout = 0.0

    def current_width(self) -> int | None:
        return self.channels[0]

    def fields_for(self, sizes: Mapping[Size, int]) -> dict[str, object]:
        return {"channels": scaled("channels", self.channels, sizes["width"])}

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        layers: list[nn.Module] = []
        before = shape[0]
        for i, out in enumerate(self.channels):
            parts = {
                "conv": nn.Conv2d(before, out, 3, 2 if i else 1, 1),
                "norm": norm(self.norm, out, ghost=self.ghost),
            }
            ends = {"act": activation(self.activation), "drop": nn.Dropout(self.dropout)}
            layers.append(nn.Sequential(OrderedDict(parts | ends)))
            before = out
        ends = {"mean": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "out": nn.Linear(before, classes)}
        return nn.Sequential(OrderedDict({"layers": nn.Sequential(*layers), **ends}))
