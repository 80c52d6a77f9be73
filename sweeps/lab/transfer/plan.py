"""The planner of a transfer sweep: rates of every size, then what is measured at the best one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from orchestrator.axes import Value
from orchestrator.planner import Planner
from orchestrator.unit import Keys, Unit
from sweeps.lab.transfer.recipes import COORDINATES, CURVE, PART, SHARPNESS, SizedRecipes
from sweeps.lab.transfer.search import RateSearch
from sweeps.lab.transfer.spec import TransferSpec
from sweeps.lab.zoo.plan import VARIANT

__all__ = ["TransferPlanner"]


class _Place(NamedTuple):
    arm: str
    size: int
    rate: int
    seed: int


class TransferPlanner(Planner):
    """Proposes units size by size, so that those of equal pack key stand next to each other.

    It listens where the plan depends on rows: an adaptive search, or sharpness at a rate that must be found first.

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
        self.listens = adaptive or self._finding
        self._places = dict(self._known()) if self.listens else {}
        self._asked: set[str] = set()
        self._ready: deque[Unit] = deque(self._fixed())

    @property
    def total(self) -> int | None:
        return None if self.listens else len(self._ready) + len(self._asked)

    @property
    def exhausted(self) -> bool:
        self._refill()
        return not self._ready and not any(search.wants() for search in self._searches.values() if self.listens)

    def ask(self, limit: int) -> list[Unit]:
        self._refill()
        units = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        self._asked.update(u.key for u in units)
        return units

    def tell(self, row: Mapping[str, Any]) -> None:
        key = str(row["key"])
        self._asked.add(key)
        if (place := self._places.get(key)) is not None:
            self._searches[place.arm, place.size].tell(place.rate, place.seed, row.get("loss"))

    def _known(self) -> Iterator[tuple[str, _Place]]:
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
        mark = (arm, size, part)
        if mark not in self._packs:
            self._packs[mark] = self._recipes.of(params).pack_key()
        return self._keys.unit(params, definitions, self._packs[mark])

    def _fixed(self) -> Iterator[Unit]:
        """What does not depend on rows."""
        spec = self._spec
        if not self.listens:
            for (arm, size), search in self._searches.items():
                for r, s in search.wants():
                    yield self._curve(_Place(arm, size, r, s))
        if (check := spec.coordinates) is not None:
            seeds = [int(str(s)) for s in check.seeds.points()]
            for size in check.sizes or spec.sizes:
                for arm in self._arms:
                    yield from (self._unit(arm, size, check.learning_rate, s, COORDINATES) for s in seeds)
        if spec.sharpness is not None and spec.sharpness.learning_rate is not None:
            for size in spec.sizes:
                for arm in self._arms:
                    yield self._unit(arm, size, spec.sharpness.learning_rate, spec.seed_values[0], SHARPNESS)

    def _refill(self) -> None:
        """Units that the rows told so far ask for, and that have not been proposed."""
        if self._ready or not self.listens:
            return
        for (arm, size), search in self._searches.items():
            for r, s in search.wants():
                self._offer(self._curve(_Place(arm, size, r, s)))
        if not self._finding:
            return
        for arm in self._arms:
            base = self._searches[arm, self._spec.sizes[0]]
            best = base.best()
            if best is not None and not base.wants():
                for size in self._spec.sizes:
                    rate = self._spec.rate_values[best]
                    self._offer(self._unit(arm, size, rate, self._spec.seed_values[0], SHARPNESS))

    def _offer(self, unit: Unit) -> None:
        if unit.key not in self._asked:
            self._asked.add(unit.key)
            self._ready.append(unit)
