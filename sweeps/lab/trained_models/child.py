"""Children of stored models: networks that start from a checkpoint of another sweep, whole or pruned.

A recipe names them as an own network, `{net: own, function: "landsweep.sweeps.lab.trained_models.child:child"}`. So a
child has its own data, optimizer, schedule and seed, like any model.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.storage.store import Store
from landsweep.sweeps.lab.trained_models.refs import SweepRef, place_of, zoo_of

__all__ = ["Mask", "child", "prune"]

Scope = Literal["global", "layer"]


class Mask(nn.Module):
    """Of a pruned weight: what the network computes with is the weight times the mask, in training too."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def child(
    sweep: str,
    where: str,
    *,
    folder: Path,
    label: str = "last",
    weights: str | None = None,
    density: float = 1.0,
    scope: Scope = "global",
    frozen: Sequence[str] = (),
    **values: float | str,
) -> nn.Module:
    """A stored model as the beginning of another training.

    Args:
        sweep: results folder, relative to `folder` or absolute, or a URL.
        where: rule that one model fits; `{name}` stands for the value of that name.
        folder: of the spec; filled in.
        label: of the checkpoint.
        weights: checksum that its weights must have; None: any.
        density: share of the weights that are kept; see `prune`.
        scope: where they are compared.
        frozen: patterns of names of parameters that do not train, such as `hidden.*`; each must fit some.
        values: what stands in `where`, such as `seed=3` for `where="seed == {seed}"`, so that axes can go over it.

    Raises:
        SpecError: not one model fits, it has other weights than were asked for, or a setting fits nothing in it.
    """
    ref = SweepRef(sweep=sweep, where=_filled(where, values), checkpoints=(label,))
    stored, checksum = _stored(ref, folder, _state_of(place_of(ref, folder)))
    if weights is not None and checksum != weights:
        raise SpecError(f"weights: the model at {label} of {sweep} has the checksum {checksum}, not {weights}")
    module = copy.deepcopy(stored)
    for pattern in frozen:
        chosen = [p for name, p in module.named_parameters() if fnmatchcase(name, pattern)]
        if not chosen:
            some = ", ".join(name for name, _ in module.named_parameters())
            raise SpecError(f"frozen: {pattern!r} fits no parameter of the model; it has {some}")
        for parameter in chosen:
            parameter.requires_grad_(False)
    if density < 1:
        prune(module, density, scope)
    return module.train()


def _state_of(place: str) -> tuple[bytes, tuple[tuple[str, int], ...]]:
    """What tells that a sweep is another one or that models were trained again: its facts; files and sizes of rows."""
    store = Store.at(place)
    try:
        facts = store.read("sweep.json")
    except FileNotFoundError:  # a published zoo has none
        facts = b""
    return facts, tuple(store.list("rows") or store.list(""))


@lru_cache(maxsize=8)  # a pack builds each of its networks several times
def _stored(ref: SweepRef, folder: Path, state: tuple[bytes, tuple[tuple[str, int], ...]]) -> tuple[nn.Module, str]:
    """The network of the one model that a ref stands for, with its weights, and their checksum.

    Args:
        ref: not pinned.
        folder: of the spec.
        state: of the sweep; another one is read anew.
    """
    del state
    model = ref.pinned(folder).single()
    return zoo_of(ref, folder)[model.key].module(model.label), model.weights


def prune(module: nn.Module, density: float, scope: Scope = "global") -> None:
    """Put the smallest weights to 0, where they stay while it is trained.

    Only weights with two axes or more are pruned, neither biases nor normalisations nor embeddings. Of n weights
    round(density n) are kept, by magnitude; of equal ones those that come first.

    Args:
        module: changed in place: a `Mask` is registered as a parametrization of each pruned weight.
        density: share that is kept, above 0.
        scope: `global`: of all these weights together; `layer`: of each tensor.

    Raises:
        SpecError: the share is not above 0 and at most 1, or there is nothing to prune.
    """
    if not 0 < density <= 1:
        raise SpecError(f"density: {density:g} is not above 0 and at most 1")
    layers = [m for m in module.modules() if not isinstance(m, nn.Embedding)]
    pairs = [(m, w) for m in layers if (w := m._parameters.get("weight")) is not None and w.ndim >= 2]
    if not pairs:
        raise SpecError("density: the network has no weights with two axes, so there is nothing to prune")
    sizes = [w.detach().abs().flatten() for _, w in pairs]
    groups = [torch.cat(sizes)] if scope == "global" else sizes
    kept = torch.cat([_largest(group, round(density * len(group))) for group in groups])
    for (layer, weight), mask in zip(pairs, torch.split(kept, [len(s) for s in sizes]), strict=True):
        shaped = mask.view_as(weight).to(weight.dtype)
        with torch.no_grad():
            weight.mul_(shaped)
        parametrize.register_parametrization(layer, "weight", Mask(shaped))


def _largest(sizes: Tensor, count: int) -> Tensor:
    """Which of them [n] are the `count` largest, as True or False."""
    order = torch.argsort(sizes, descending=True, stable=True)
    chosen = torch.zeros(len(sizes), dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen


def _filled(where: str, values: dict[str, float | str]) -> str:
    """The rule with values in place of their names.

    Raises:
        SpecError: a name has no value, or a value no place.
    """
    names = set(re.findall(r"{(\w+)}", where))
    if lacking := sorted(names - values.keys()):
        raise SpecError(f"where: {where!r} has {{{lacking[0]}}}, which has no value; give {lacking[0]} beside it")
    if spare := sorted(values.keys() - names):
        raise SpecError(f"{spare[0]} is neither an argument nor in where: {where!r}; write {{{spare[0]}}} there")
    return re.sub(r"{(\w+)}", lambda match: str(values[match[1]]), where)
