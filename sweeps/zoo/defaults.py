"""Axes that are added to a zoo with models: whether the base recipe has what their `default` says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.canonical import canonical
from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.training_units.recipes import VARIANT
from landsweep.sweeps.zoo.plan import Grid
from landsweep.sweeps.zoo.recipes import ZooRecipes
from landsweep.sweeps.zoo.spec import ZooSpec

__all__ = ["refuse_wrong_defaults"]


def refuse_wrong_defaults(spec: ZooSpec) -> None:
    """Refuse a default that changes the recipe of a model: existing models were trained without it.

    Raises:
        SpecError: names the axis and a combination.
    """
    recipes = ZooRecipes(spec)
    for params, names in _of_before(spec):
        recipe = recipes.of(params)
        for left_out in [*([name] for name in names), names]:
            if recipes.of({k: v for k, v in params.items() if k not in left_out}) != recipe:
                shown = ", ".join(f"axes.{name}: default: {params[name]!r}" for name in left_out)
                raise SpecError(
                    f"{shown} is not what the recipe has without this axis, of the model with {dict(params)}; existing "
                    "models would be mistaken for others. Give the value of the base recipe"
                )


def _of_before(spec: ZooSpec) -> Iterator[tuple[dict[str, Value], list[str]]]:
    """Combinations with defaults, and which these are: one for each that differs in a field near a default.

    What a field is when nothing sets it depends on what stands around it (another optimizer has another learning
    rate), so that fields of other sections need not be gone through.
    """
    defaults = {name: canonical(value) for name, value in spec.defaults().items()}
    if not defaults:
        return
    sections = {name.partition(".")[0] for name in defaults}
    done: set[str] = set()
    for params in Grid(spec):
        names = [name for name, text in defaults.items() if canonical(params[name]) == text]
        near = canonical(_near(params, sections))
        if names and near not in done:
            done.add(near)
            yield params, names


def _near(params: Mapping[str, Value], sections: set[str]) -> dict[str, Value]:
    return {name: v for name, v in params.items() if name == VARIANT or name.partition(".")[0] in sections}
