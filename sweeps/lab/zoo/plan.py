"""The units of a zoo: a base recipe, and what is swept over any of its fields."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, get_origin

from pydantic import BaseModel

from orchestrator.axes import Axis, Value
from orchestrator.canonical import decoded
from orchestrator.errors import SpecError
from orchestrator.planner import ListPlanner
from orchestrator.row import Column, param_columns
from orchestrator.spec import parse
from orchestrator.unit import Keys, Unit, canonical
from sweeps.lab.recipe import Recipe
from sweeps.lab.zoo.conflicts import Write, refuse_lost_settings
from sweeps.lab.zoo.draws import Samples

__all__ = ["Grid", "Recipes", "SingleRecipe", "Swept", "ZooPlanner", "evaluated_otherwise", "packs_of", "short_path"]

_TAGS = {"source", "net", "method", "shape", "scheme"}
VARIANT, SAMPLE, SEED = "recipe", "sample", "seed"


class Swept(Protocol):
    """What a zoo's spec says about its units; see `sweeps.zoo.ZooSpec`."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def axes(self) -> Mapping[str, Axis]: ...
    @property
    def zip(self) -> Sequence[Sequence[str]]: ...
    @property
    def samples(self) -> Samples | None: ...
    @property
    def recipes(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def seed_values(self) -> tuple[int, ...] | None: ...


class SingleRecipe:
    """A recipe alone, as sessions and `Recipes` read a zoo's spec: for kinds that set its fields in their own way.

    Attributes:
        recipe: the base.
        backend: how packs are computed.
    """

    axes: Mapping[str, Axis] = {}
    zip: Sequence[Sequence[str]] = ()
    samples: Samples | None = None
    recipes: Mapping[str, Mapping[str, Any]] = {}
    seed_values: tuple[int, ...] | None = None

    def __init__(self, recipe: Recipe, backend: str) -> None:
        self.recipe = recipe
        self.backend = backend


def short_path(path: str) -> str:
    """The path of a field inside the recipe, with or without `recipe.` in front."""
    return path.removeprefix("recipe.")


class Recipes:
    """Turns a unit's params into its recipe.

    Args:
        swept: the spec.
    """

    def __init__(self, swept: Swept) -> None:
        self._base: dict[str, Any] = _lean(swept.recipe)
        self._full: dict[str, Any] = swept.recipe.model_dump(mode="json")
        self._variants = swept.recipes

    def data(self, params: Mapping[str, Value]) -> dict[str, Any]:
        """The recipe's fields, not yet checked. Shorter paths are set first: a field after its whole object."""
        data = dict(self._base)
        if VARIANT in params:
            for path, value in self._variants[str(params[VARIANT])].items():
                data = self._set(data, short_path(path), value)
        for path in _in_order(params):
            data = self._set(data, path, decoded(params[path]))
        return {**data, SEED: params[SEED]} if SEED in params else data

    def check(self, params: Mapping[str, Value], parts: Mapping[str, str] = {}) -> None:
        """Whether nothing that a part of the spec sets is overwritten by another part.

        Args:
            params: of a unit.
            parts: in which part of the spec a param stands; one that is not among them stands in `axes`.

        Raises:
            SpecError: something would be.
        """
        writes: list[Write] = []
        if VARIANT in params:
            who = f"recipes.{params[VARIANT]}"
            writes += [(who, short_path(p), v) for p, v in self._variants[str(params[VARIANT])].items()]
        writes += [(f"{parts.get(p, 'axes')}.{p}", p, params[p]) for p in _in_order(params)]
        if lost := [who for who, path, _ in writes if path == SEED]:
            raise SpecError(f"{lost[0]} sets the seed, which `seeds` would overwrite; give the seeds there")
        refuse_lost_settings(writes)

    def of(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        """The recipe of the unit with these params.

        Raises:
            SpecError: a field is unknown, or its value is not allowed.
        """
        return parse(Recipe, self.data(params), source)

    def main(self, params: Mapping[str, Value], source: str = "recipe") -> Recipe:
        """The recipe of the run that the unit with these params leaves, where it is a branch; else its own."""
        return self.of(params, source)

    def _set(self, data: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
        """A copy with one field set; objects on the way that the base leaves to their defaults are filled in."""
        new: dict[str, Any] = _replaced(data, self._full, path.split("."), value, path)
        return new


def _in_order(params: Mapping[str, Value]) -> list[str]:
    """The fields among the params, shorter paths first."""
    return sorted((p for p in params if p not in (VARIANT, SAMPLE, SEED)), key=lambda p: p.count("."))


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


def _lean(model: BaseModel) -> dict[str, Any]:
    """The fields that differ from their defaults, and the tags that tell alternatives apart.

    So that an axis over a tag (`optimizer.method`) does not leave the other method's settings behind.
    """
    found: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if get_origin(info.annotation) is Literal and isinstance(value, str) and name in _TAGS:
            found[name] = value
        elif isinstance(value, BaseModel):
            found[name] = _lean(value)
        elif value != info.get_default(call_default_factory=True):
            found[name] = model.model_dump(mode="json", include={name})[name]
    return found


class Grid:
    """The combinations that a spec names, in a fixed order, and the columns of their params.

    Args:
        swept: the spec.

    Raises:
        SpecError: an axis is named twice, or zipped axes do not fit.
    """

    def __init__(self, swept: Swept) -> None:
        self.axes: dict[str, tuple[Value, ...]] = {short_path(p): a.points() for p, a in swept.axes.items()}
        self.samples = swept.samples
        self.variants = tuple(swept.recipes)
        self.seeds = swept.seed_values
        self.groups = _grouped(self.axes, [[short_path(p) for p in group] for group in swept.zip])

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
            for path, draw in self.samples.draw.items():
                name = short_path(path)
                values[name], docs[name] = list(draw.edges()), f"field {name} of the recipe, drawn at random"
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

    def trials(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """For each distinct value of each field a combination with it, and what to call it in a message."""
        first = next(iter(self))
        yield "the first combination", first
        for variant in self.variants:
            yield f"recipes.{variant}", {**first, VARIANT: variant}
        for group in self.groups:
            for values in zip(*(self.axes[name] for name in group), strict=True):
                told = ", ".join(f"axes.{n}: the value {v!r}" for n, v in zip(group, values, strict=True))
                yield told, {**first, **dict(zip(group, values, strict=True))}
        for path, draw in self.samples.draw.items() if self.samples else ():
            for value in draw.edges():
                yield f"samples.draw.{path}: the value {value!r}", {**first, short_path(path): value}


def _grouped(axes: Mapping[str, Sequence[Value]], zipped: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    of: dict[str, tuple[str, ...]] = {}
    for group in zipped:
        for name in group:
            if name not in axes:
                raise SpecError(f"zip names {name!r}, which is not an axis; the axes are {list(axes)}")
            if name in of:
                raise SpecError(f"zip names the axis {name!r} twice; an axis can move with one group only")
            of[name] = tuple(group)
        if len({len(axes[name]) for name in group}) > 1:
            lengths = ", ".join(f"{name}: {len(axes[name])}" for name in group)
            raise SpecError(f"zipped axes must have equally many values; got {lengths}")
    return list(dict.fromkeys(of.get(name, (name,)) for name in axes))


class ZooPlanner(ListPlanner):
    """All combinations, those of equal pack key next to each other.

    Args:
        swept: the spec.
        keys: of the sweep.
    """

    def __init__(self, swept: Swept, keys: Keys) -> None:
        grid = Grid(swept)
        definitions = {name: dict(d) for name, d in swept.recipes.items()}
        super().__init__(_ordered(swept, grid, keys, definitions), grid.total)


def _ordered(swept: Swept, grid: Grid, keys: Keys, definitions: Mapping[str, Mapping[str, Any]]) -> Iterator[Unit]:
    """Units by pack key, those of the first key first. Lazy: nothing is computed before the first unit is asked for."""
    for pack, members in packs_of(swept, grid).items():
        for params in members:
            variant = {VARIANT: definitions[str(params[VARIANT])]} if VARIANT in params else None
            yield keys.unit(params, variant, pack)


def packs_of(swept: Swept, grid: Grid | None = None) -> dict[str, list[dict[str, Value]]]:
    """All combinations by the pack key of their recipes, in the order of the grid."""
    grid, recipes = grid or Grid(swept), Recipes(swept)
    shaping = _shaping(grid, recipes)
    known: dict[tuple[Value, ...], str] = {}
    packs: dict[str, list[dict[str, Value]]] = {}
    for params in grid:
        mark = tuple(params.get(name) for name in shaping)
        if mark not in known:
            known[mark] = recipes.of(params).pack_key()
        packs.setdefault(known[mark], []).append(params)
    return packs


def evaluated_otherwise(swept: Swept) -> Iterator[Recipe]:
    """Recipes with all evaluations that units may have, where the base's is changed; none where it is not."""
    drawn = swept.samples.draw if swept.samples else ()
    paths = [*swept.axes, *drawn, *(path for changes in swept.recipes.values() for path in changes)]
    if any(short_path(p).partition(".")[0] == "evaluate" for p in paths):
        recipes = Recipes(swept)
        yield from (recipes.of(params) for _, params in Grid(swept).trials())


def _shaping(grid: Grid, recipes: Recipes) -> list[str]:
    """The params on which the pack key depends: those whose values give it more than one value."""
    first = next(iter(grid))
    start = recipes.of(first).pack_key()
    found = {VARIANT} if grid.variants else set()
    for _, params in grid.trials():
        if recipes.of(params).pack_key() != start:
            found |= {name for name, value in params.items() if canonical(value) != canonical(first[name])}
    return sorted(found)
