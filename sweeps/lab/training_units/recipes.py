"""From a unit's params to the recipe that is trained: the interface of every trained kind, and fields set by path."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, get_origin

from pydantic import BaseModel

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.recipe import Recipe

__all__ = ["SAMPLE", "SEED", "VARIANT", "RecipeFields", "Recipes", "short_path", "shorter_first"]

VARIANT, SAMPLE, SEED = "recipe", "sample", "seed"  # params that are no paths: name of a recipe, number, seed

_TAGS = {"source", "net", "method", "shape", "scheme"}


class Recipes(ABC):
    """The recipes of a sweep's units."""

    @abstractmethod
    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        """The recipe of the unit with these params.

        Args:
            params: of the unit.
            source: what to call the recipe in a message.

        Raises:
            SpecError: a field is unknown, or its value is not allowed.
        """


class RecipeFields:
    """The fields of a recipe before they are checked, each set by its path: a value, so setting one gives another.

    Fields that have their defaults in the base are left out. So a new tag, such as `optimizer.method`, does not keep
    the settings of the alternative that it replaces; the objects on the way to a path are filled in.

    Args:
        base: whose fields are set.

    Example:
        >>> net = {"net": "mlp", "hidden": [8, 8]}
        >>> base = Recipe.model_validate({"data": {"source": "digits"}, "net": net, "steps": 9})
        >>> RecipeFields(base).set("net.hidden.0", 4).set("seed", 2).recipe().net.hidden
        (4, 8)
    """

    def __init__(self, base: Recipe) -> None:
        self._fields = _changed_fields(base)
        self._full: dict[str, Any] = base.model_dump(mode="json")

    def set(self, path: str, value: object) -> Self:
        """These fields with another value at a path such as `optimizer.learning_rate` or `net.hidden.0`.

        Raises:
            SpecError: the path goes through something that has no fields, or past the end of a list.
        """
        result = copy.copy(self)
        result._fields = _replaced(self._fields, self._full, path.split("."), value, path)
        return result

    def set_all(self, values: Mapping[str, object]) -> Self:
        """These fields with a value at each path, shorter paths first: a field after the object that it stands in."""
        result = self
        for path in shorter_first(values):
            result = result.set(path, values[path])
        return result

    def recipe(self, source: str = "recipe") -> Recipe:
        """The recipe with these fields.

        Args:
            source: what to call it in a message.

        Raises:
            SpecError: a field is unknown, or its value is not allowed.
        """
        return parse(Recipe, self._fields, source)


def short_path(path: str) -> str:
    """The path of a field inside the recipe, with or without `recipe.` in front."""
    return path.removeprefix("recipe.")


def shorter_first(paths: Iterable[str]) -> list[str]:
    """Paths in an order in which a field comes after every object that it stands in."""
    return sorted(paths, key=lambda path: path.count("."))


def _replaced(place: Any, default: Any, parts: Sequence[str], value: object, path: str) -> Any:  # noqa: ANN401 - nested
    part, *rest = parts
    if isinstance(place, list):
        if not part.isdigit() or int(part) >= len(place):
            raise SpecError(f"{path}: {part!r} must be a position from 0 to {len(place) - 1} of the list {place}")
        here = int(part)
        inner = value if not rest else _replaced(place[here], None, rest, value, path)
        return [*place[:here], inner, *place[here + 1 :]]
    if not isinstance(place, Mapping):
        raise SpecError(f"{path}: there is {place!r} where {part!r} should be a field")
    below = default.get(part) if isinstance(default, Mapping) else None
    if not rest:
        return {**place, part: value}
    start = place.get(part, below)
    return {**place, part: _replaced({} if start is None else start, below, rest, value, path)}


def _changed_fields(model: BaseModel) -> dict[str, Any]:
    """The fields that differ from their defaults, and the tags that tell alternatives apart."""
    fields: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if get_origin(info.annotation) is Literal and isinstance(value, str) and name in _TAGS:
            fields[name] = value
        elif isinstance(value, BaseModel):
            fields[name] = _changed_fields(value)
        elif value != info.get_default(call_default_factory=True):
            fields[name] = model.model_dump(mode="json", include={name})[name]
    return fields
