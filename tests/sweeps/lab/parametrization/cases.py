"""Recipes under a parametrization, and what it says of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landsweep.sweeps.lab.parametrization import tensor_lines
from landsweep.sweeps.lab.recipe import Recipe

ADAM = {"method": "adam", "learning_rate": 2**-7}
MARKOV = {"source": "markov", "states": 8, "context": 6, "train": 64, "test": 16}


def recipe_of(net: Mapping[str, Any], scheme: Mapping[str, Any] | None, optimizer: Mapping[str, Any] = ADAM) -> Recipe:
    data = MARKOV if net["net"] == "gpt" else {"source": "digits"}
    fields: dict[str, Any] = {"data": data, "net": net, "optimizer": optimizer, "steps": 5}
    return Recipe.model_validate({**fields, "parametrization": scheme, "evaluate": {"splits": ["test"]}})


def tensors_of(recipe: Recipe, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> dict[str, Any]:
    assert recipe.parametrization is not None
    return {t.name: t for t in tensor_lines(recipe.parametrization, recipe.net, recipe.optimizer, shape, classes)}
