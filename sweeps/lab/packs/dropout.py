"""Dropout by explicit masks, so that a model's masks depend on its seed and step and on nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sweeps.lab.packs.draws import counted
from sweeps.lab.recipe import Recipe
from sweeps.lab.streams import stream

__all__ = ["MaskedDropout", "Masks", "with_masks"]


class MaskedDropout(nn.Module):
    """Multiplies by a mask from outside while training; it has no state, so keys of state dicts stay as they are."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.shape: torch.Size | None = None
        self.dropout_mask: Tensor
        self.register_buffer("dropout_mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The input times the mask, [batch, ...]."""
        if not self.training or not self.p:
            return x
        if self.shape is None:
            self.shape = x.shape
        return x * self.dropout_mask


def with_masks(module: nn.Module) -> nn.Module:
    """The module with each nn.Dropout replaced by a `MaskedDropout`."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Dropout | nn.Dropout1d | nn.Dropout2d):
                setattr(parent, name, MaskedDropout(child.p))
    return module


class Masks:
    """Draws the masks of a pack.

    Args:
        modules: of all models, with masks.
        recipes: theirs.
        batch: [B, ...] inputs of one full batch, from which shapes are read.
        dtype: of the activations.
    """

    def __init__(
        self, modules: Sequence[nn.Module], recipes: Sequence[Recipe], batch: Tensor, dtype: torch.dtype
    ) -> None:
        sites = {n: m for n, m in modules[0].named_modules() if isinstance(m, MaskedDropout) and m.p}
        self._shapes: dict[str, torch.Size] = {}
        self._roots = [stream(r.seed, "dropout") for r in recipes]
        self._device, self._dtype = batch.device, dtype
        self._generator = torch.Generator()
        if sites:
            self._shapes = _shapes(modules[0], sites, batch)
        p = [[_p(m, name) for name in sites] for m in modules]
        self._p = torch.tensor(p, dtype=dtype).view(len(modules), len(sites))

    def draw(self, step: int, size: int) -> dict[str, Tensor]:
        """Masks [K, size, ...] by name of the buffer, 0 or 1 / (1 - p).

        Args:
            step: number of the step, from 0.
            size: samples in this batch; the masks of a smaller batch are the first rows of a full one's.
        """
        if not self._shapes:
            return {}
        counts = [math.prod(s) for s in self._shapes.values()]
        draws = torch.empty(len(self._roots), sum(counts), dtype=self._dtype)
        for row, root in zip(draws, self._roots, strict=True):
            torch.rand(len(row), generator=self._generator.manual_seed(counted(root, step)), out=row)
        masks = {}
        for i, (part, (name, shape)) in enumerate(
            zip(torch.split(draws, counts, 1), self._shapes.items(), strict=True)
        ):
            p = self._p[:, i, None]
            kept = (part >= p).to(self._dtype) / (1 - p)
            masks[f"{name}.dropout_mask"] = kept.view(-1, *shape)[:, :size].to(self._device)
        return masks

    def take(self, keep: Sequence[int]) -> None:
        """Keep only these rows."""
        self._roots = [self._roots[k] for k in keep]
        self._p = self._p[list(keep)]


def _p(module: nn.Module, name: str) -> float:
    site: Any = module.get_submodule(name)
    return float(site.p)


def _shapes(module: nn.Module, sites: dict[str, MaskedDropout], batch: Tensor) -> dict[str, torch.Size]:
    """Shape of the input of each site for this batch; the module's buffers stay as they were."""
    kept = {n: b.clone() for n, b in module.named_buffers()}
    training = module.training
    module.train()
    with torch.no_grad():
        module(batch.cpu())
        for name, b in module.named_buffers():
            b.copy_(kept[name])
    module.train(training)
    return {name: site.shape for name, site in sites.items() if site.shape is not None}
