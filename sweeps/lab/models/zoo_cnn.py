"""The two convolutional networks of the model-zoo data set (Schürholt et al. 2022, arXiv 2209.14764)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, cast

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

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
        return _Net(shape, classes, self)


class _Net(nn.Module):
    def __init__(self, shape: tuple[int, ...], classes: int, spec: ZooCnn) -> None:
        super().__init__()
        layout = _LAYOUTS[spec.net]
        first, second, third = layout
        self.conv1 = nn.Conv2d(shape[0], first.channels, first.kernel)
        self.conv2 = nn.Conv2d(first.channels, second.channels, second.kernel)
        self.conv3 = nn.Conv2d(second.channels, third.channels, third.kernel)
        height, width = shape[1:]
        for conv in layout:
            height, width = ((n - conv.kernel + 1) // (2 if conv.pool else 1) for n in (height, width))
        self.linear = nn.Linear(third.channels * height * width, 20)
        self.out = nn.Linear(20, classes)
        self.act = activation(spec.activation)
        self.drop1, self.drop2, self.drop4 = (nn.Dropout(spec.dropout) for _ in range(3))
        self.drop3 = nn.Dropout(spec.dropout) if third.pool else nn.Identity()
        self._pool_third = third.pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(self.act(F.max_pool2d(self.conv1(x), 2)))
        x = self.drop2(self.act(F.max_pool2d(self.conv2(x), 2)))
        x = self.conv3(x)
        x = self.drop3(self.act(F.max_pool2d(x, 2) if self._pool_third else x))
        return cast(Tensor, self.out(self.drop4(self.act(self.linear(x.flatten(1))))))
