"""The units of a zoo: a base recipe, and what is swept over any of its fields."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.planner import ListPlanner, check_total, zip_groups
from landsweep.orchestrator.row import Column, param_columns
from landsweep.orchestrator.unit import Keys, Unit, canonical
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training_units.recipes import SAMPLE, SEED, VARIANT, short_path
from landsweep.sweeps.zoo.recipes import ZooRecipes
from landsweep.sweeps.zoo.spec import ZooSpec

__all__ = ["Grid", "ZooPlanner", "evaluated_otherwise", "packs_of"]


class Grid:
    """The combinations of a spec, in a fixed order, and the columns of their params.

    Args:
        spec: of the zoo.

    Raises:
        SpecError: an axis is named twice, or zipped axes do not fit.
    """

    def __init__(self, spec: ZooSpec) -> None:
        self.axes: dict[str, tuple[Value, ...]] = {short_path(p): a.points() for p, a in spec.axes.items()}
        self._moved = "" if spec.bisect is None else short_path(spec.bisect.over)
        if spec.bisect is not None:  # the values between these two follow from rows
            self.axes[self._moved] = spec.bisect.between
        self.samples = spec.samples
        self.variants = tuple(spec.recipes)
        self.seeds = spec.seed_values
        self.groups = zip_groups(self.axes, [[short_path(p) for p in group] for group in spec.zip])

    @property
    def total(self) -> int:
        """How many combinations there are."""
        counts = [len(self.axes[group[0]]) for group in self.groups]
        samples = self.samples.count if self.samples else 1
        return math.prod(counts) * max(1, len(self.variants)) * samples * len(self.seeds or (0,))

    def columns(self) -> tuple[Column, ...]:
        """One for each swept field, by its path in the recipe."""
        values: dict[str, list[Value]] = {}
        docs: dict[str, str] = {}
        if self.variants:
            values[VARIANT], docs[VARIANT] = list(self.variants), "name of the recipe"
        for path, points in self.axes.items():
            values[path], docs[path] = list(points), f"field {path} of the recipe"
        if self.samples is not None:
            values[SAMPLE], docs[SAMPLE] = [0], "number of the random combination"
            for path, edges in self.samples.fields.items():
                name = short_path(path)
                values[name], docs[name] = list(edges), f"field {name} of the recipe, drawn at random"
        values[SEED], docs[SEED] = [0], "of all random streams: initialisation, data order, dropout, noise"
        return param_columns(values, docs)

    def __iter__(self) -> Iterator[dict[str, Value]]:
        points = [list(zip(*(self.axes[name] for name in group), strict=True)) for group in self.groups]
        names = [name for group in self.groups for name in group]
        for variant in self.variants or (None,):
            for combination in itertools.product(*points):
                fixed = dict(zip(names, itertools.chain.from_iterable(combination), strict=True))
                first: dict[str, Value] = {} if variant is None else {VARIANT: variant}
                yield from self._inner({**first, **fixed})

    def _inner(self, outer: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
        for index in range(self.samples.count if self.samples else 1):
            drawn: dict[str, Value] = {}
            if self.samples is not None:
                values = {short_path(p): v for p, v in self.samples.values(index).items()}
                drawn = {SAMPLE: index, **values}
            for seed in (index,) if self.seeds is None else self.seeds:
                yield {**outer, **drawn, SEED: seed}

    def _place(self, name: str) -> str:
        """The place in the spec that sets a field."""
        return "bisect.between" if name == self._moved else f"axes.{name}"

    def trials(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """For each distinct value of each field: a name for messages, and a combination with this value."""
        first = next(iter(self))
        yield "the first combination", first
        for variant in self.variants:
            yield f"recipes.{variant}", {**first, VARIANT: variant}
        for group in self.groups:
            for values in zip(*(self.axes[name] for name in group), strict=True):
                source = ", ".join(f"{self._place(n)}: the value {v!r}" for n, v in zip(group, values, strict=True))
                yield source, {**first, **dict(zip(group, values, strict=True))}
        for source, drawn in self.samples.trials() if self.samples else ():
            yield source, {**first, **{short_path(path): value for path, value in drawn.items()}}


class ZooPlanner(ListPlanner):
    """All combinations, those of equal pack key next to each other.

    Args:
        spec: of the zoo.
        keys: of the sweep.
    """

    def __init__(self, spec: ZooSpec, keys: Keys) -> None:
        grid = Grid(spec)
        definitions = {name: dict(d) for name, d in spec.recipes.items()}
        super().__init__(_ordered(spec, grid, keys, definitions), grid.total)


def _ordered(spec: ZooSpec, grid: Grid, keys: Keys, definitions: Mapping[str, Mapping[str, Any]]) -> Iterator[Unit]:
    """Units grouped by pack key. Lazy: nothing is computed before the first unit is taken."""
    for pack, members in packs_of(spec, grid).items():
        for params in members:
            variant = {VARIANT: definitions[str(params[VARIANT])]} if VARIANT in params else None
            yield keys.unit(params, variant, pack)


def packs_of(spec: ZooSpec, grid: Grid | None = None) -> dict[str, list[dict[str, Value]]]:
    """All combinations by the pack key of their recipes, in the order of the grid.

    Raises:
        SpecError: there are too many combinations.
    """
    grid, recipes = grid or Grid(spec), ZooRecipes(spec)
    check_total(grid.total)
    shaping = _shaping(grid, recipes)
    pack_keys: dict[tuple[Value, ...], str] = {}
    packs: dict[str, list[dict[str, Value]]] = {}
    for params in grid:
        shape = tuple(params.get(name) for name in shaping)
        if shape not in pack_keys:
            pack_keys[shape] = recipes.of(params).pack_key()
        packs.setdefault(pack_keys[shape], []).append(params)
    return packs


def evaluated_otherwise(spec: ZooSpec) -> Iterator[Recipe]:
    """If the spec changes `evaluate`: recipes with all evaluations that units may have; else none."""
    drawn = spec.samples.fields if spec.samples else ()
    paths = [*spec.axes, *drawn, *(path for changes in spec.recipes.values() for path in changes)]
    if any(short_path(p).partition(".")[0] == "evaluate" for p in paths):
        recipes = ZooRecipes(spec)
        yield from (recipes.of(params) for _, params in Grid(spec).trials())


def _shaping(grid: Grid, recipes: ZooRecipes) -> list[str]:
    """The params on which the pack key depends."""
    first = next(iter(grid))
    start = recipes.of(first).pack_key()
    names = {VARIANT} if grid.variants else set()
    for _, params in grid.trials():
        if recipes.of(params).pack_key() != start:
            names |= {name for name, value in params.items() if canonical(value) != canonical(first[name])}
    return sorted(names)
