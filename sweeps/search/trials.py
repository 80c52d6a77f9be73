"""From the values of a trial to what is computed: a recipe, or the arguments of a function."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from landsweep.orchestrator.canonical import Value, decoded, plain
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.search.space import Dimension, Setting, is_setting
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.conflicts import refuse_lost_settings, refuse_set_seed
from landsweep.sweeps.lab.training_units.recipes import SEED, RecipeFields, Recipes, shorter_first
from landsweep.sweeps.search.spec import SearchSpec

__all__ = ["TRIAL", "Space", "TrialRecipes", "arguments", "recipes_by_pack", "trial_points"]

TRIAL = "trial"
_TAGS = {"optimizer": "method", "schedule": "shape", "net": "net", "data": "source"}
_MOST_PACKS = 64  # that are timed before the search begins; further ones are timed where they come up

Space = Mapping[str, Setting]


def _changes(space: Space, values: Mapping[str, Value]) -> dict[str, Any]:
    """For each path of a recipe the value that a trial gives it: a number, a text, or a whole object."""
    return {name: _built(name, s, values) for name, s in space.items() if name in values}


def _built(name: str, setting: Setting, values: Mapping[str, Value]) -> Any:  # noqa: ANN401 - whatever a field holds
    """The value of a field: as drawn, or of a choice with sub-spaces the object that was chosen.

    `optimizer: sgd` with `optimizer.sgd.momentum: 0.9` gives `{"method": "sgd", "momentum": 0.9}`.
    """
    if not isinstance(setting.choice, Mapping):
        return values[name]
    branch = str(values[name])
    tag = _TAGS.get(name.rsplit(".", 1)[-1])
    built: dict[str, Any] = {tag: branch} if tag else {}
    for inner, value in setting.choice[branch].items():
        path = f"{name}.{branch}.{inner}"
        if is_setting(value):
            if path in values:
                built[inner] = _built(path, Setting.model_validate(value), values)
        else:
            built[inner] = value
    return built


def arguments(space: Space, values: Mapping[str, Value]) -> dict[str, Any]:
    """The arguments of a function: of a choice with sub-spaces its name, and what it brings as arguments beside it.

    Raises:
        SpecError: two settings give one argument.
    """
    given: dict[str, Any] = {}
    for name, setting in space.items():
        if name in values:
            of_setting = _spread(name, name, setting, values)
            if twice := sorted(given.keys() & of_setting.keys()):
                raise SpecError(f"space.{name} gives the argument {twice[0]}, which another setting gives too")
            given |= of_setting
    return given


def _spread(name: str, path: str, setting: Setting, values: Mapping[str, Value]) -> dict[str, Any]:
    """A setting as arguments, sub-spaces beside it: `method="sgd", momentum=0.9`, the same as `_built` of a recipe."""
    settings: dict[str, Any] = {name: values[path]}
    if isinstance(setting.choice, Mapping):
        branch = str(values[path])
        for inner, value in setting.choice[branch].items():
            below = f"{path}.{branch}.{inner}"
            if not is_setting(value):
                settings[inner] = value
            elif below in values:
                settings |= _spread(inner, below, Setting.model_validate(value), values)
    elif setting.choice is not None:
        settings[name] = setting.chosen(values[path])
    return settings


class TrialRecipes(Recipes):
    """Turns the params of a search's unit into its recipe.

    Args:
        spec: of a search of a recipe.
    """

    def __init__(self, spec: SearchSpec) -> None:
        assert spec.recipe is not None, "a search of a function has no recipes"
        self._base, self._space = RecipeFields(spec.recipe), spec.space

    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        settings = {path: decoded(value) for path, value in self._settings(params).items()}
        fields = self._base.set_all(settings)
        return (fields.set(SEED, params[SEED]) if SEED in params else fields).recipe(source)

    def check(self, params: Mapping[str, Value]) -> None:
        """Whether no setting overwrites another one, or the seed.

        Raises:
            SpecError: one would.
        """
        settings = self._settings(params)
        writes = [(f"space.{path}", path, settings[path]) for path in shorter_first(settings)]
        refuse_set_seed(writes)
        refuse_lost_settings(writes)

    def _settings(self, params: Mapping[str, Value]) -> dict[str, Value]:
        return {path: plain(value) for path, value in _changes(self._space, params).items()}


def trial_points(dimensions: Sequence[Dimension]) -> Iterator[tuple[str, dict[str, Value]]]:
    """For each extreme value of each setting a trial that has it, and what to call it in a message."""
    of = {d.name: d for d in dimensions}
    for d in dimensions:
        for value in d.setting.edges():
            yield f"space.{d.name}: the value {value!r}", _filled(dimensions, _forced(of, d, value))


def _forced(of: Mapping[str, Dimension], d: Dimension, value: Value) -> dict[str, Value]:
    """The value of a setting, and of those that it depends on one value each with which it exists."""
    values = {d.name: value}
    for parent, allowed in d.when.items():
        values = {**_forced(of, of[parent], allowed[0]), **values}
    return values


def _filled(dimensions: Sequence[Dimension], forced: Mapping[str, Value]) -> dict[str, Value]:
    """A trial with these values, and the first extreme of every other setting that exists in it.

    Dimensions come after those that they depend on, so one pass settles which exist.
    """
    values: dict[str, Value] = {}
    for d in dimensions:
        if d.active(values):
            values[d.name] = forced.get(d.name, d.setting.edges()[0])
    return values


def recipes_by_pack(spec: SearchSpec) -> dict[str, Recipe]:
    """A recipe for each pack key that the choices of a space lead to, as far as they are not too many."""
    dimensions = spec.dimensions()
    choices = [d for d in dimensions if d.setting.choice is not None]
    recipes, by_pack = TrialRecipes(spec), dict[str, Recipe]()
    points = [values for _, values in trial_points(dimensions)]
    if math.prod(len(d.setting.edges()) for d in choices) <= _MOST_PACKS:
        for picked in itertools.product(*(d.setting.edges() for d in choices)):
            points.append(_filled(dimensions, dict(zip((d.name for d in choices), picked, strict=True))))
    for values in points:
        recipe = recipes.of(values)
        by_pack.setdefault(recipe.pack_key(), recipe)
    return dict(itertools.islice(by_pack.items(), _MOST_PACKS))
