"""A small diffusion transformer (arXiv 2212.09748): images with noise to a velocity, under the time of the noise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.layers import token_norm
from landsweep.sweeps.lab.models.transformer import Block, Transformer

__all__ = ["Dit"]

_FASTEST = 1000.0  # of the waves that a time is given as, in radians over its whole range


class Dit(Transformer):
    """Patches as tokens, learned positions, blocks that follow the time (adaLN-Zero), a linear layer for each patch.

    The last channel of an input is the time, the same at all pixels; outputs are those of `denoising` data, one for
    each pixel of the other channels. A block shifts and scales what its normalisations give, and scales what it adds,
    by linear functions of the embedded time. These and the last layer begin at 0, so a new network gives 0. Beside the
    paper's, normalisations keep trained scales and shifts of their own, there are no class labels, and the last
    normalisation does not follow the time.
    Keys: `patch.*`, `position.weight`, `time.I.*`, `blocks.I.*`, `norm.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    net: Literal["dit"]
    patch: int = Field(2, ge=1, description="pixels a side of a patch; must divide height and width of the image")

    def misfit(self, data: Data) -> str | None:
        """As for all networks; patches must tile the image, and targets be as many as pixels, without the time's."""
        general = super().misfit(data)
        if general is not None:
            return general
        if any(n % self.patch for n in data.shape[1:]):
            return f"has `patch: {self.patch}`, which does not divide the sides of the data's images {list(data.shape)}"
        channels, height, width = data.shape
        numbers = (channels - 1) * height * width
        if data.classes or data.outputs != numbers:
            what = f"{data.classes} classes" if data.classes else f"{data.outputs} numbers"
            return f"predicts {numbers} numbers, one for each pixel and channel but the time's, not {what}"
        return None

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del classes, folder
        return _Net(shape, self)

    def _initialise(self, module: nn.Module, source: torch.Generator) -> None:
        super()._initialise(module, source)
        assert isinstance(module, _Net)
        with torch.no_grad():
            for layer in (module.out, *(b.modulation for b in module.blocks if isinstance(b, _TimedBlock))):
                layer.weight.zero_()
                layer.bias.zero_()


class _TimedBlock(Block):
    def __init__(self, spec: Dit) -> None:
        super().__init__(spec, causal=False)
        self.modulation = nn.Linear(spec.width, 6 * spec.width)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Tokens [n, tokens, width] under the embedded time [n, width]."""
        assert time is not None, "it follows the time"
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(time).unsqueeze(1).chunk(6, -1)
        x = x + gate1 * self.drop1(self.merge(self._attention(self.norm1(x) * (1 + scale1) + shift1)))
        inner = self.norm2(x) * (1 + scale2) + shift2
        return cast(Tensor, x + gate2 * self.drop2(self.down(self.act(self.up(inner)))))


class _Net(nn.Module):
    def __init__(self, shape: tuple[int, ...], spec: Dit) -> None:
        super().__init__()
        channels, height, width = shape[0] - 1, shape[1], shape[2]
        side = spec.patch
        self.patch = nn.Linear(channels * side * side, spec.width)
        self.position = nn.Embedding(height // side * (width // side), spec.width)
        self.time = nn.Sequential(nn.Linear(spec.width, spec.width), nn.SiLU(), nn.Linear(spec.width, spec.width))
        self.silu = nn.SiLU()
        self.drop = nn.Dropout(spec.dropout)
        self.blocks = nn.ModuleList(_TimedBlock(spec) for _ in range(spec.depth))
        self.norm = token_norm(spec.norm, spec.width)
        self.out = nn.Linear(spec.width, channels * side * side)
        self._side, self._width = side, spec.width

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        side, rows, columns = self._side, height // self._side, width // self._side
        channels -= 1
        time = self.silu(self.time(_waves(x[:, -1, 0, 0], self._width)))
        tiles = x[:, :-1].reshape(n, channels, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        places = torch.arange(rows * columns, device=x.device)
        y = self.drop(self.patch(tiles.reshape(n, rows * columns, channels * side * side)) + self.position(places))
        for block in self.blocks:
            y = block(y, time)
        tiles = self.out(self.norm(y)).view(n, rows, columns, channels, side, side).permute(0, 3, 1, 4, 2, 5)
        return cast(Tensor, tiles.reshape(n, channels * height * width))


def _waves(times: Tensor, width: int) -> Tensor:
    """Times [n] as cosines and sines [n, width] of frequencies from 1 to `_FASTEST`, evenly in the logarithm."""
    half = (width + 1) // 2
    steps = torch.arange(half, device=times.device, dtype=times.dtype) / max(half - 1, 1)
    angles = times.unsqueeze(-1) * torch.exp(steps * math.log(_FASTEST))
    return torch.cat([angles.cos(), angles.sin()], -1)[..., :width]
