"""A small vision transformer (arXiv 2010.11929), with the mean over patches instead of a class token (2205.01580)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from landsweep.sweeps.lab.data.base import Data, InputKind
from landsweep.sweeps.lab.models.layers import token_norm
from landsweep.sweeps.lab.models.transformer import Block, Transformer

__all__ = ["Vit"]


class Vit(Transformer):
    """Patches as tokens, learned positions, blocks, the mean over tokens, a linear layer.

    Keys: `patch.*`, `position.weight`, `blocks.I.*`, `norm.*`, `out.*`.
    """

    takes: ClassVar[tuple[InputKind, ...]] = ("images",)
    net: Literal["vit"]
    patch: int = Field(4, ge=1, description="pixels a side of a patch; must divide height and width of the image")

    def misfit(self, data: Data) -> str | None:
        """As for all networks, and patches must tile the image."""
        general = super().misfit(data)
        if general is None and any(n % self.patch for n in data.shape[1:]):
            return f"has `patch: {self.patch}`, which does not divide the sides of the data's images {list(data.shape)}"
        return general

    def _module(self, shape: tuple[int, ...], classes: int, folder: Path) -> nn.Module:
        del folder
        return _Net(shape, classes, self)


class _Net(nn.Module):
    def __init__(self, shape: tuple[int, ...], classes: int, spec: Vit) -> None:
        super().__init__()
        channels, height, width = shape
        side = spec.patch
        self.patch = nn.Linear(channels * side * side, spec.width)
        self.position = nn.Embedding(height // side * (width // side), spec.width)
        self.drop = nn.Dropout(spec.dropout)
        self.blocks = nn.Sequential(*(Block(spec, causal=False) for _ in range(spec.depth)))
        self.norm = token_norm(spec.norm, spec.width)
        self.out = nn.Linear(spec.width, classes)
        self._side = side

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        side, rows, columns = self._side, height // self._side, width // self._side
        tiles = x.view(n, channels, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
        patches = tiles.reshape(n, rows * columns, channels * side * side)
        places = torch.arange(rows * columns, device=x.device)
        x = self.blocks(self.drop(self.patch(patches) + self.position(places)))
        return cast(Tensor, self.out(self.norm(x).mean(1)))
