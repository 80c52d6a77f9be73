"""The planner of a transfer sweep: rates of every size, then what is measured at the best one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.planner import RowsPlanner
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.lab.training_units.recipes import VARIANT
from landsweep.sweeps.transfer.rate_search import RateSearch
from landsweep.sweeps.transfer.recipes import COORDINATES, CURVE, PART, SHARPNESS, SizedRecipes
from landsweep.sweeps.transfer.spec import TransferSpec

__all__ = ["TransferPlanner"]


class _Place(NamedTuple):
    """Where a model of the curves stands: its recipe, its size, and the positions of its rate and its seed."""

    arm: str
    size: int
    rate: int
    seed: int


class TransferPlanner(RowsPlanner):
    """Proposes units size by size, so that those of equal pack key stand next to each other.

    It hears rows where the plan depends on them: an adaptive search, or sharpness at a rate that must be found first.

    Args:
        spec: of the sweep.
        keys: of the sweep.
    """

    def __init__(self, spec: TransferSpec, keys: Keys) -> None:
        self._spec, self._keys = spec, keys
        self._recipes = SizedRecipes(spec)
        self._packs: dict[tuple[Value, ...], str] = {}
        self._arms = tuple(spec.recipes) or ("",)
        adaptive = spec.planner == "adaptive"
        rates, seeds = len(spec.rate_values), len(spec.seed_values)
        self._searches = {
            (arm, size): RateSearch(rates, seeds, adaptive=adaptive) for size in spec.sizes for arm in self._arms
        }
        self._finding = spec.sharpness is not None and spec.sharpness.learning_rate is None
        self.adaptive = adaptive or self._finding
        self._places = dict(self._curve_places()) if self.adaptive else {}
        super().__init__(self._fixed())
        self._total = None if self.adaptive else len(self._ready)

    @property
    def total(self) -> int | None:
        return self._total

    def wanted(self) -> Iterator[Unit]:
        if self.adaptive:
            yield from self._on_curves()
            yield from self._at_the_best()

    def waits(self) -> bool:
        return self.adaptive and any(search.wants() for search in self._searches.values())

    def take_in(self, row: Mapping[str, Any]) -> None:
        if (place := self._places.get(str(row["key"]))) is not None:
            self._searches[place.arm, place.size].tell(place.rate, place.seed, row.get("loss"))

    def _curve_places(self) -> Iterator[tuple[str, _Place]]:
        for arm, size in self._searches:
            for r in range(len(self._spec.rate_values)):
                for s in range(len(self._spec.seed_values)):
                    place = _Place(arm, size, r, s)
                    yield self._curve(place).key, place

    def _curve(self, place: _Place) -> Unit:
        return self._unit(place.arm, place.size, self._spec.rate_values[place.rate], self._spec.seed_values[place.seed])

    def _unit(self, arm: str, size: int, rate: float, seed: int, part: str = CURVE) -> Unit:
        params = self._recipes.params(arm, size, rate, seed, part)
        definitions: dict[str, object] = {VARIANT: dict(self._spec.recipes[arm])} if arm else {}
        if part == COORDINATES and self._spec.coordinates is not None:
            definitions[PART] = self._spec.coordinates.model_dump(mode="json", include={"steps", "first"})
        if part == SHARPNESS and self._spec.sharpness is not None:
            definitions[PART] = self._spec.sharpness.model_dump(mode="json", exclude={"learning_rate"})
        alike = (arm, size, part)
        if alike not in self._packs:
            self._packs[alike] = self._recipes.of(params).pack_key()
        return self._keys.unit(params, definitions, self._packs[alike])

    def _fixed(self) -> Iterator[Unit]:
        """Units that are planned whatever the rows say."""
        spec = self._spec
        if not self.adaptive:
            yield from self._on_curves()
        if (check := spec.coordinates) is not None:
            seeds = [int(str(s)) for s in check.seeds.points()]
            for size in check.sizes or spec.sizes:
                for arm in self._arms:
                    yield from (self._unit(arm, size, check.learning_rate, s, COORDINATES) for s in seeds)
        if spec.sharpness is not None and spec.sharpness.learning_rate is not None:
            for size in spec.sizes:
                for arm in self._arms:
                    yield self._unit(arm, size, spec.sharpness.learning_rate, spec.seed_values[0], SHARPNESS)

    def _on_curves(self) -> Iterator[Unit]:
        for (arm, size), search in self._searches.items():
            for r, s in search.wants():
                yield self._curve(_Place(arm, size, r, s))

    def _at_the_best(self) -> Iterator[Unit]:
        """Sharpness of every size at the first one's best rate, once the search for that rate has ended."""
        sizes, seed = self._spec.sizes, self._spec.seed_values[0]
        for arm in self._arms if self._finding else ():
            search = self._searches[arm, sizes[0]]
            best = search.best()
            if best is not None and not search.wants():
                for size in sizes:
                    yield self._unit(arm, size, self._spec.rate_values[best], seed, SHARPNESS)
