"""The two convolutional networks of the model-zoo data set (Schürholt et al. 2022, arXiv 2209.14764)."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from torch import nn

from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.base import Dropout, Net
from landsweep.sweeps.lab.models.layers import Activation, activation

__all__ = ["ZooCnn"]


class _Conv(NamedTuple):
    channels: int
    kernel: int
    pool: bool


_LAYOUTS = {
    "cnn_s": (_Conv(8, 5, True), _Conv(6, 5, True), _Conv(4, 2, False)),
    "cnn_l": (_Conv(16, 3, True), _Conv(32, 3, True), _Conv(15, 3, True)),
}
_SMALLEST = {"cnn_s": 20, "cnn_l": 22}


class ZooCnn(Net):
    """Three convolutions without padding, with 2x2 max-pooling before the activation; linear layers of 20, `classes`.

    cnn_s: 8 of 5x5 with pooling, 6 of 5x5 with pooling, 4 of 2x2. On 28x28 images with ten classes 2,464 parameters for
    one channel, 2,864 for three. cnn_l: 16, 32, 15 of 3x3, each with pooling; 10,853 parameters on 3x32x32. Dropout
    follows each activation, but in cnn_s not the third convolution's. The published initialisations are
    `unit_uniform`, `normal`, `kaiming_uniform` and `kaiming_normal`, with `bias: 0.01`.
    Keys: `conv1.*` to `conv3.*`, `linear.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    net: Literal["cnn_s", "cnn_l"]
    activation: Activation = "tanh"
    dropout: Dropout = 0.0

    def misfit(self, data: Data) -> str | None:
        """As for all networks, and images must be large enough."""
        general = super().misfit(data)
        if general is None and min(data.shape[1:]) < _SMALLEST[self.net]:
            return (
                f"takes images of at least {_SMALLEST[self.net]} pixels a side, but the data gives {list(data.shape)}"
            )
        return general

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        layers: dict[str, nn.Module] = {}
        before, (height, width) = shape[0], shape[1:]
        for i, conv in enumerate(_LAYOUTS[self.net], 1):
            layers[f"conv{i}"] = nn.Conv2d(before, conv.channels, conv.kernel)
            height, width, before = height - conv.kernel + 1, width - conv.kernel + 1, conv.channels
            if conv.pool:
                layers[f"pool{i}"], height, width = nn.MaxPool2d(2), height // 2, width // 2
            layers[f"act{i}"] = activation(self.activation)
            if conv.pool:
                layers[f"drop{i}"] = nn.Dropout(self.dropout)
        rows = {"flatten": nn.Flatten(), "linear": nn.Linear(before * height * width, 20)}
        ends = {"act4": activation(self.activation), "drop4": nn.Dropout(self.dropout), "out": nn.Linear(20, classes)}
        return nn.Sequential(OrderedDict(layers | rows | ends))
