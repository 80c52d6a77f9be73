"""How many devices a model takes: a rule in the spec, since it depends on the model and not on the cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.schema import SHORT
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.unit import Unit, canonical
from landsweep.sweeps.lab.averaging import Latest
from landsweep.sweeps.lab.models import parameter_count
from landsweep.sweeps.lab.optim import NamedClass
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.assembly import layers_of
from landsweep.sweeps.lab.training.backends import GANG_BACKENDS, Fsdp, gang_backend
from landsweep.sweeps.lab.training_units.recipes import Recipes

__all__ = ["Devices", "DevicesSpec", "check_devices", "devices_of", "recipe_devices", "takes_several"]

_COUNTS: dict[str, int] = {}  # parameters by network and data: asked for every unit


class Devices(Section):
    """How many devices train one model together.

    Example:
        >>> rule = Devices(per_parameters=1e9, most=4)
        >>> [rule.of(n) for n in (10**6, 10**9, 15 * 10**8, 10**11)]
        [1, 1, 2, 4]
        >>> [Devices(by_parameters={1e6: 2, 1e9: 8}).of(n) for n in (10**5, 10**6, 10**10)]
        [1, 2, 8]
    """

    model_config = ConfigDict(json_schema_extra={SHORT: [{"type": "integer"}]})

    number: PositiveInt | None = Field(None, description="this many for every model")
    per_parameters: PositiveFloat | None = Field(None, description="one for each such number of parameters, rounded up")
    by_parameters: dict[float, PositiveInt] | None = Field(
        None, description="from how many parameters on, how many devices; one for smaller models"
    )
    most: PositiveInt | None = Field(None, description="never more than this")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        rules = ("number", "per_parameters", "by_parameters")
        if len(given := [n for n in rules if getattr(self, n) is not None]) > 1:
            raise ValueError(f"give one of {', '.join(rules)}, not {' and '.join(given)}")
        return self

    @property
    def by_size(self) -> bool:
        """Whether it depends on a model's parameters."""
        return self.per_parameters is not None or bool(self.by_parameters)

    def of(self, parameters: int) -> int:
        """Devices of a model with this many parameters."""
        devices = self.number or 1
        if self.per_parameters is not None:
            devices = max(1, math.ceil(parameters / self.per_parameters))
        if self.by_parameters:
            devices = max((n for least, n in self.by_parameters.items() if parameters >= least), default=1)
        return min(devices, self.most or devices)


def _from_number(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever was given
    return {"number": value} if isinstance(value, int) and not isinstance(value, bool) else value


DevicesSpec = Annotated[Devices, BeforeValidator(_from_number)]
"""A rule, or a number of devices for every model."""


def devices_of(rule: Devices, recipes: Recipes | None, folder: Path) -> Callable[[Unit], int] | None:
    """Gives how many devices a unit takes; None: each takes one.

    Args:
        rule: of the spec.
        recipes: of the units; None: they are no trainings.
        folder: that relative paths start from.
    """
    if recipes is None or (rule.of(0) == 1 and not rule.by_size):
        return None
    if not rule.by_size:
        return lambda unit: rule.of(0)
    return lambda unit: recipe_devices(rule, recipes.of(unit.params), folder)


def recipe_devices(rule: Devices, recipe: Recipe, folder: Path) -> int:
    """How many devices the model of a recipe takes."""
    return rule.of(_parameters(recipe, folder) if rule.by_size else 0)


def takes_several(rule: Devices, recipe: Recipe) -> bool:
    """Whether the model of a recipe is known to take several devices, before any of its files can be read."""
    sized = not rule.by_size or (recipe.data.dimensions() is not None and not recipe.net.own_code)
    return sized and recipe_devices(rule, recipe, Path()) > 1


def check_devices(rule: Devices, recipes: Iterable[Recipe], backend: str, folder: Path) -> None:
    """Refuse recipes that as many devices as they take can't train together.

    Args:
        rule: of the spec.
        recipes: that stand for all units.
        backend: of the spec.
        folder: that relative paths start from.

    Raises:
        SpecError: a batch has too few samples, or the network can't be trained on parts of a batch.
    """
    for recipe in recipes:
        devices = recipe_devices(rule, recipe, folder)
        if devices > recipe.batch_size:
            raise SpecError(
                f"recipe.batch_size: {recipe.batch_size} samples can't be shared out among the {devices} devices that "
                f"`devices` gives this model; make the batch larger, or set devices.most={recipe.batch_size}"
            )
        if devices > 1:
            way = GANG_BACKENDS[gang_backend(backend)]
            if way is Fsdp and (reason := _not_in_parts(recipe)):
                raise SpecError(f"backend: fsdp can't train this recipe: {reason}; use backend=ddp")
            if lacking := way.lacks(recipe):
                raise SpecError(
                    f"backend: {way.name} can't train this recipe: {lacking}; use backend=ddp or leave it out"
                )
            if reason := way.serves(layers_of(recipe, recipe.data.load(folder), folder)):
                raise SpecError(f"devices: {devices} devices can't train this network together: {reason}")


def _not_in_parts(recipe: Recipe) -> str | None:
    """Why no process may hold only a part of a model's weights; None: it may."""
    method = recipe.optimizer
    if isinstance(method, NamedClass) or not method.elementwise or method.gradients > 1:
        return f"a step of {method.method} needs whole tensors"
    if recipe.evaluate.probes:
        return "probes look at whole models"
    return "the last few weights are averaged" if isinstance(recipe.averaging, Latest) else None


def _parameters(recipe: Recipe, folder: Path) -> int:
    facts = canonical([recipe.net.model_dump(mode="json"), recipe.data.model_dump(mode="json"), str(folder)])
    if facts not in _COUNTS:
        dimensions = recipe.data.dimensions()
        if dimensions is None or recipe.net.own_code:
            _COUNTS[facts] = parameter_count(layers_of(recipe, recipe.data.load(folder), folder))
        else:
            _COUNTS[facts] = parameter_count(recipe.net.skeleton(dimensions.shape, dimensions.outputs))
    return _COUNTS[facts]
