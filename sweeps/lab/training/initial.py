"""Initial weights of many models of one network, drawn into one module: to build one for each would take longer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.streams import generator

__all__ = ["Model", "drawn"]

_Key = TypeVar("_Key")
_FEW = 3  # models of one network: fewer are built one by one, since two modules are needed anyway


@dataclass(frozen=True, slots=True)
class Model:
    """A model at its start.

    Attributes:
        module: its network, with masks for dropout; the weights in it may be those of another model.
        tensors: parameters and buffers by name.
    """

    module: nn.Module
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """The model whose weights are those in its module."""
        return cls(module, _tensors(module))


def drawn(
    recipes: Mapping[_Key, Recipe], data: Data, base: Path, module_of: Callable[[Recipe], nn.Module], dtype: torch.dtype
) -> dict[_Key, Model]:
    """Initial models of those recipes for which no module of their own has to be built; bits as those of `module_of`.

    Constructing a module takes four times as long as drawing the weights of a small one. The first model of each
    network is also built by itself, last of all and from another module. Where its bits differ, what the network's
    `draw` does depends on more than the recipe, so none of its models is among the results; neither are networks of
    the user's code, nor weights that depend on the data.

    Args:
        recipes: of one pack.
        data: of all.
        base: folder that relative paths start from.
        module_of: builds the module of one recipe, with its weights.
        dtype: of the weights.
    """
    networks: dict[str, list[_Key]] = defaultdict(list)
    for key, recipe in recipes.items():
        if not recipe.net.own_code and recipe.grad_init is None:
            networks[recipe.net.model_dump_json(exclude={"init"})].append(key)
    models: dict[_Key, Model] = {}
    for keys in networks.values():
        if len(keys) < _FEW:
            continue
        first, *others = keys
        drawing = _Drawing(recipes[others[-1]], data, base, dtype)  # with another seed than the first one has
        tensors = {key: drawing(recipes[key]) for key in (*others, first)}
        module = module_of(recipes[first])
        if _equal(tensors[first], _tensors(module)):
            models |= {key: Model(module, tensors[key]) for key in keys}
    return models


class _Drawing:
    """Draws the initial tensors of models whose networks differ in nothing but `init`.

    Args:
        recipe: any of them.
        data: of all.
        base: folder that relative paths start from.
        dtype: of what is drawn.
    """

    def __init__(self, recipe: Recipe, data: Data, base: Path, dtype: torch.dtype) -> None:
        self._shape, self._outputs, self._dtype = data.shape, data.outputs, dtype
        self._module = recipe.net.undrawn(self._shape, self._outputs, generator(recipe.seed, "init"), base)
        self._tensors = _tensors(self._module)
        self._undrawn = [t.clone() for t in self._tensors.values()]

    @torch.no_grad()
    def __call__(self, recipe: Recipe) -> dict[str, Tensor]:
        """Parameters and buffers of a recipe's model, by name; new ones."""
        torch._foreach_copy_(list(self._tensors.values()), self._undrawn)
        recipe.draw(self._module, self._shape, self._outputs)
        return {
            name: t.to(self._dtype, copy=True) if t.is_floating_point() else t.clone()
            for name, t in self._tensors.items()
        }


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach() for name, t in (*module.named_buffers(), *module.named_parameters())}


def _equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    """Whether all of our tensors are among theirs, which also hold masks, with equal values."""
    return all(name in theirs and torch.equal(t, theirs[name]) for name, t in ours.items())
