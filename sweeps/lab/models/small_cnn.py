"""The network of the small CNN zoo (Unterthiner et al. 2020, arXiv 2002.11448)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, cast

from pydantic import Field
from torch import Tensor, nn

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
        return _Net(shape[0], classes, self)


class _Net(nn.Module):
    def __init__(self, channels: int, classes: int, spec: SmallCnn) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, spec.width, 3, 2)
        self.conv2 = nn.Conv2d(spec.width, spec.width, 3, 2)
        self.conv3 = nn.Conv2d(spec.width, spec.width, 3, 2)
        self.act = activation(spec.activation)
        self.drop1, self.drop2, self.drop3 = (nn.Dropout(spec.dropout) for _ in range(3))
        self.out = nn.Linear(spec.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop1(self.act(self.conv1(x)))
        x = self.drop2(self.act(self.conv2(x)))
        x = self.drop3(self.act(self.conv3(x)))
        return cast(Tensor, self.out(x.mean((2, 3))))
