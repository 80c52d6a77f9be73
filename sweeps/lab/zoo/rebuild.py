"""Recipes of models from the head of their zoo and their rows: what modules and regeneration start from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from orchestrator.axes import Value
from orchestrator.errors import UsageError
from orchestrator.spec import parse
from orchestrator.trust import refuse_new_code
from sweeps.lab.recipe import Recipe
from sweeps.lab.zoo.branches import branched_columns
from sweeps.lab.zoo.recipes import Recipes
from sweeps.lab.zoo.spec import ZooSpec
from sweeps.lab.zoo.zoo_recipes import ZooRecipes

__all__ = ["Rebuilder"]


class Rebuilder:
    """Gives the recipe of a row; the spec is only read when the first one is asked for.

    Args:
        head: of the zoo, content of `sweep.json`.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = head

    @cached_property
    def spec(self) -> ZooSpec:
        """Of the zoo."""
        return parse(ZooSpec, self._head["spec"], "sweep.json")

    @cached_property
    def params(self) -> tuple[str, ...]:
        """Names of what was swept."""
        return tuple(c.name for c in self._columns)

    @cached_property
    def _columns(self) -> tuple[Any, ...]:
        return branched_columns(self.spec)

    @cached_property
    def _recipes(self) -> Recipes:
        return ZooRecipes(self.spec)

    def recipe(self, row: Mapping[str, Any]) -> Recipe:
        """The recipe of the model of a row.

        Raises:
            UsageError: the row lacks something that the spec sweeps.
            Untrusted: the row names code that the spec does not.
        """
        if missing := [column.name for column in self._columns if column.name not in row]:
            raise UsageError(f"the rows of this zoo have no column {', '.join(missing)}, which its spec sweeps")
        found: dict[str, Value] = {}
        for column in self._columns:
            value = row[column.name]
            value = None if not isinstance(value, str) and pd.isna(value) else value
            found[column.name] = int(value) if column.type == "int" and value is not None else value
        recipe = self._recipes.of(found, f"model {row['key']}")  # runs no code that it names
        refuse_new_code(recipe.model_dump(mode="json"), self._head["spec"], f"the row of model {row['key']}")
        return recipe
