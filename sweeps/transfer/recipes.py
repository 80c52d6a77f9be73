"""From the params of a unit of a transfer sweep to its recipe: size, learning rate, seed, and what is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.models.resize import resized
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.conflicts import Write, refuse_lost_settings
from landsweep.sweeps.lab.training_units.recipes import SEED, VARIANT, RecipeFields, Recipes, short_path
from landsweep.sweeps.transfer.spec import TransferSpec

__all__ = ["COORDINATES", "CURVE", "PART", "RATE", "SHARPNESS", "SizedRecipes"]

PART, RATE = "part", "learning_rate"
CURVE, COORDINATES, SHARPNESS = "curve", "coordinates", "sharpness"  # values of PART


class SizedRecipes(Recipes):
    """The recipe of each unit.

    Args:
        spec: of the sweep.
    """

    def __init__(self, spec: TransferSpec) -> None:
        self._spec = spec
        self._arms = {name: self._arm(name) for name in spec.recipes}
        if not self._arms:
            self._arms = {"": spec.recipe}
        self._shaped: dict[tuple[Value, ...], dict[str, Any]] = {}

    def _arm(self, name: str) -> Recipe:
        self._check_arm(name)
        fields = RecipeFields(self._spec.recipe)
        for path, value in self._spec.recipes[name].items():
            fields = fields.set(short_path(path), value)
        return fields.recipe(f"recipes.{name}")

    def _check_arm(self, arm: str) -> None:
        """Refuse an arm that sets what the sweep does. A whole network may: other sizes are scaled from its own."""
        over, given = self._spec.over, self._spec.recipes[arm]
        own = over if over.startswith("net.") else f"net.{over}"
        paths = {"batch_size": ["batch_size"], "steps": ["steps", "epochs"]}.get(over, [own])
        writes: list[Write] = [("rates", f"optimizer.{RATE}", 0.0), ("seeds", SEED, 0)]
        writes += [("values", path, 0) for path in paths if path in {short_path(p) for p in given}]
        refuse_lost_settings([*((f"recipes.{arm}", short_path(p), v) for p, v in given.items()), *writes])

    def sizes(self) -> Iterator[dict[str, Value]]:
        """Params of one unit for each recipe, size and part."""
        spec = self._spec
        sizes = {CURVE: spec.sizes}
        if spec.coordinates is not None:
            sizes[COORDINATES] = spec.coordinates.sizes or spec.sizes
        if spec.sharpness is not None:
            sizes[SHARPNESS] = spec.sizes
        for arm in self._arms:
            for part, chosen in sizes.items():
                for size in chosen:
                    yield self.params(arm, size, spec.rate_values[0], 0, part)

    def params(self, arm: str, size: int, rate: float, seed: int, part: str = CURVE) -> dict[str, Value]:
        """Params of a unit; `arm` is the name of a recipe, empty where there is one only."""
        named: dict[str, Value] = {VARIANT: arm} if arm else {}
        return {**named, PART: part, self._spec.over: size, RATE: rate, SEED: seed}

    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        """The recipe of a unit; the fields that its size and part determine are made once and kept."""
        over = self._spec.over
        alike = (params.get(VARIANT, ""), params[PART], params[over])
        if alike not in self._shaped:
            arm = self._arms[str(params.get(VARIANT, ""))]
            fields = self._in_size(arm, int(str(params[over])))
            self._shaped[alike] = {**fields, **self._in_part(fields, str(params[PART]))}
        shaped = self._shaped[alike]
        optimizer = {**shaped["optimizer"], RATE: params[RATE]}
        return parse(Recipe, {**shaped, "optimizer": optimizer, SEED: params[SEED]}, source)

    def _in_size(self, arm: Recipe, size: int) -> dict[str, Any]:
        fields = arm.model_dump(mode="json")
        match self._spec.over:
            case "width":
                return {**fields, "net": resized(arm.net, width=size).model_dump(mode="json")}
            case "depth":
                return {**fields, "net": resized(arm.net, depth=size).model_dump(mode="json")}
            case "steps":
                return {**fields, "steps": size, "epochs": None}
            case "batch_size":
                return {**fields, "batch_size": size}
            case argument:
                net = fields["net"]
                if not arm.net.own_code:
                    raise SpecError(f"over: {argument} is an argument of an own network; {arm.net.family} has a width")
                name = argument.removeprefix("net.args.")
                return {**fields, "net": {**net, "args": {**net["args"], name: size}}}

    def _in_part(self, fields: Mapping[str, Any], part: str) -> dict[str, Any]:
        split = self._spec.objective.removesuffix("_loss")
        no_weights = {"best": None, "last": False}
        coordinates, sharpness = self._spec.coordinates, self._spec.sharpness
        if part == COORDINATES and coordinates is not None:
            probe = {"probe": "activations", "first": coordinates.first}
            evaluate = {"splits": [split], "first": 1, "every_steps": 1, "probes": [probe]}
            return {"steps": coordinates.steps, "epochs": None, "evaluate": evaluate, "checkpoints": no_weights}
        if part == SHARPNESS and sharpness is not None:
            if fields["steps"] is None:
                raise SpecError("sharpness: give the recipe its length in steps, not in epochs")
            every = max(1, math.ceil(fields["steps"] / (sharpness.times - 1)))
            probe = {"probe": "sharpness", "first": sharpness.first, "products": sharpness.products}
            evaluate = {"splits": [split], "every_steps": every, "start": True, "probes": [probe]}
            return {"evaluate": evaluate, "checkpoints": no_weights}
        return {"evaluate": {**fields["evaluate"], "start": True}}  # the initial loss is the score of what diverges
