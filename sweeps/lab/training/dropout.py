"""Dropout by explicit masks, so that a model's masks depend on its seed and step and on nothing beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.plain import altered
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.streams import stream
from landsweep.sweeps.lab.training.draws import counted

__all__ = ["MaskedDropout", "Masks", "mask_names", "with_masks"]


class MaskedDropout(nn.Module):
    """Dropout that is handed its mask, [batch, ...], while training, instead of drawing one.

    It adds nothing to a state dict, so that checkpoints load into the network as its author wrote it.

    Args:
        p: probability that an activation becomes 0.
        spared: how many of an input's last axes share one draw: 0 for single activations; more for whole channels.
    """

    def __init__(self, p: float, spared: Callable[[int], int] = lambda ndim: 0) -> None:
        super().__init__()
        self.p = p
        self.spared = spared
        self.shapes: list[tuple[int, ...]] = []
        self.dropout_mask: Tensor
        self.register_buffer("dropout_mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The input times the mask, [batch, ...]."""
        if not self.training or not self.p:
            return x
        if not self.dropout_mask.ndim:  # no mask yet: shapes are being read
            shared = self.spared(x.ndim)
            self.shapes.append((*x.shape[: x.ndim - shared], *[1] * shared))
        return x * self.dropout_mask


_SPARED: dict[type[nn.Module], Callable[[int], int]] = {
    nn.Dropout: lambda ndim: 0,
    nn.Dropout1d: lambda ndim: ndim - 2 if ndim > 2 else 1,  # torch takes two axes as channels and length
    nn.Dropout2d: lambda ndim: ndim - 2,
    nn.Dropout3d: lambda ndim: ndim - 2,
}


def with_masks(module: nn.Module) -> nn.Module:
    """The module with each plain dropout layer replaced by a `MaskedDropout`; subclasses and layers with hooks stay."""
    by_layer: dict[int, MaskedDropout] = {}  # a layer that has two names in a module is still one afterwards
    for path, layer in list(module.named_modules(remove_duplicate=False)):
        if path and type(layer) in _SPARED and altered(path, layer) is None:
            parent, _, name = path.rpartition(".")
            masked = by_layer.setdefault(
                id(layer), MaskedDropout(float(getattr(layer, "p", 0.0)), _SPARED[type(layer)])
            )
            setattr(module.get_submodule(parent), name, masked)
    return module


def mask_names(module: nn.Module) -> frozenset[str]:
    """Names of the buffers that hold masks."""
    return frozenset(f"{n}.dropout_mask" for n, m in module.named_modules() if isinstance(m, MaskedDropout))


class Masks:
    """Draws the masks of a pack.

    Args:
        modules: of all models, with masks.
        recipes: theirs.
        batch: [B, ...] inputs of one full batch, from which shapes are read.
        dtype: of the activations.
        reader: a module that may be called for that; None: the first one.

    Raises:
        SpecError: a layer is used twice in one pass.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        recipes: Sequence[Recipe],
        batch: Tensor,
        dtype: torch.dtype,
        reader: nn.Module | None = None,
    ) -> None:
        sites = {n: m for n, m in modules[0].named_modules() if isinstance(m, MaskedDropout) and m.p}
        self._shapes: dict[str, torch.Size] = {}
        self._roots = [stream(r.seed, "dropout") for r in recipes]
        self._device, self._dtype, self._full = batch.device, dtype, len(batch)
        self._generator = torch.Generator()
        if sites:
            self._shapes = _shapes(modules[0] if reader is None else reader, sites, batch)
        p = [[_p(m, name) for name in sites] for m in modules]  # models of one pack may differ in it
        self._p = torch.tensor(p, dtype=dtype).view(len(modules), len(sites))

    @property
    def any(self) -> bool:
        """Whether there is anything to be drawn."""
        return bool(self._shapes)

    def draw(self, step: int, size: int) -> dict[str, Tensor]:
        """Masks [K, size, ...] by name of the buffer; each entry is 0 or 1 / (1 - p).

        Args:
            step: number of the step, from 0.
            size: samples in this batch; the masks of a smaller batch are the first rows of a full one's.
        """
        if not self._shapes:
            return {}
        if size < self._full and (odd := [n for n, s in self._shapes.items() if s[0] != self._full]):
            raise SpecError(
                f"net: the dropout layer {odd[0]} does not have samples along its first axis, so it can't take the "
                f"smaller last batch of {size}; set drop_last, or a batch_size that divides the samples"
            )
        # One draw for all layers of a model, so that its generator is seeded once in a step, not once for each layer.
        # A full batch is drawn even where this one is smaller, so that a mask does not depend on the batch's size.
        counts = [math.prod(s) for s in self._shapes.values()]
        draws = torch.empty(len(self._roots), sum(counts), dtype=self._dtype)
        for row, root in zip(draws, self._roots, strict=True):
            torch.rand(len(row), generator=self._generator.manual_seed(counted(root, step)), out=row)
        masks = {}
        for i, (part, (name, shape)) in enumerate(
            zip(torch.split(draws, counts, 1), self._shapes.items(), strict=True)
        ):
            p = self._p[:, i, None]
            mask = (part >= p).to(self._dtype) / (1 - p)
            masks[f"{name}.dropout_mask"] = mask.view(-1, *shape)[:, :size].to(self._device)
        return masks

    def take(self, keep: Sequence[int]) -> None:
        """Keep only these rows."""
        self._roots = [self._roots[k] for k in keep]
        self._p = self._p[list(keep)]


def _p(module: nn.Module, name: str) -> float:
    site: Any = module.get_submodule(name)
    return float(site.p)


def _shapes(module: nn.Module, names: Collection[str], batch: Tensor) -> dict[str, torch.Size]:
    """Shape of the mask of each site for this batch; the module's buffers stay as they were.

    Raises:
        SpecError: a site is used twice in one pass.
    """
    layers = dict(module.named_modules())
    sites = {name: site for name in names if isinstance(site := layers[name], MaskedDropout)}
    for site in sites.values():
        site.shapes.clear()  # it may have made a pass before, to see how it behaves
    before = {n: b.clone() for n, b in module.named_buffers()}
    training = {m: m.training for m in module.modules()}
    module.train()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        module(batch.cpu())
        for name, b in module.named_buffers():
            if name in before:
                b.copy_(before[name])
    for part, mode in training.items():
        part.training = mode
    if twice := [name for name, site in sites.items() if len(site.shapes) > 1]:
        raise SpecError(
            f"net: the dropout layer {twice[0]} is used more than once in a pass, where one mask would drop the same "
            "places each time; give each place an nn.Dropout of its own"
        )
    return {name: torch.Size(site.shapes[0]) for name, site in sites.items() if site.shapes}
