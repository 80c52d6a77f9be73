"""What a pack is made of: the modules of its models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from sweeps.lab.data import Data
from sweeps.lab.packs.dropout import with_masks
from sweeps.lab.recipe import Recipe

__all__ = ["modules_of"]


def modules_of(
    recipes: Sequence[Recipe], data: Data, dtype: torch.dtype, base: Path, *, alone: bool
) -> list[nn.Module]:
    """A module for each recipe; where they need not stand alone, equal networks with equal seeds are one object."""
    made: dict[object, nn.Module] = {}
    modules = []
    for i, recipe in enumerate(recipes):
        mark = i if alone else recipe.model_dump_json(include={"net", "parametrization", "seed"})
        if mark not in made:
            made[mark] = with_masks(recipe.build(data.shape, data.outputs, base).to(dtype))
        modules.append(made[mark])
    return modules
