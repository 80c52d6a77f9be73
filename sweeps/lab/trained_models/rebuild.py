"""Recipes of trained models from the head of their sweep and their rows: what modules and regeneration start from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.trust import refuse_new_code
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.kind import TrainedKind, TrainedSpec
from landsweep.sweeps.lab.training_units.recipes import Recipes

__all__ = ["Rebuilder"]


class Rebuilder:
    """Gives the recipe of a row; the spec is only read when the first one is asked for.

    Args:
        head: of the sweep, content of `sweep.json`.
    """

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._head = head

    @cached_property
    def _kind(self) -> TrainedKind[Any]:
        kind = kind_named(str(self._head["kind"]))
        if not isinstance(kind, TrainedKind):
            raise UsageError(f"units of the kind {kind.name} are no trained models, so they have no recipes")
        return kind

    @cached_property
    def _spec(self) -> TrainedSpec:
        spec: TrainedSpec = self._kind.parse(self._head["spec"], "sweep.json")
        if spec.recipe is None:
            raise UsageError(f"the units of {spec.name} are no trained models, so they have no recipes")
        return spec

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        return self._kind.params(self._spec)

    @cached_property
    def _recipes(self) -> Recipes:
        return self._kind.recipes(self._spec)

    @property
    def params(self) -> tuple[str, ...]:
        """Names of what was swept."""
        return tuple(column.name for column in self._columns)

    def recipe(self, row: Mapping[str, Any]) -> Recipe:
        """The recipe of the model of a row.

        Raises:
            UsageError: the row lacks something that the spec sweeps, or the sweep trained no models.
            Untrusted: the row names code that the spec does not.
        """
        if missing := [column.name for column in self._columns if column.name not in row]:
            raise UsageError(f"the rows of this zoo lack the columns that its spec sweeps: {', '.join(missing)}")
        params: dict[str, Value] = {}
        for column in self._columns:
            value = row[column.name]
            value = None if not isinstance(value, str) and pd.isna(value) else value
            params[column.name] = int(value) if column.type == "int" and value is not None else value
        recipe = self._recipes.of(params, f"model {row['key']}")  # parsing runs no code that it names
        refuse_new_code(recipe.model_dump(mode="json"), self._head["spec"], f"the row of model {row['key']}")
        return recipe
