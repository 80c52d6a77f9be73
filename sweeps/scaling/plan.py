"""The plan of a study: which sizes train for how many steps, and, once these have rows, the runs that test the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.unit import Keys, Unit
from landsweep.sweeps.lab.training_units.branch_queue import BranchQueue
from landsweep.sweeps.scaling.branches import Horizons, wsd_of
from landsweep.sweeps.scaling.ladder import Ladder, Size
from landsweep.sweeps.scaling.spec import Limits, ScalingSpec

__all__ = ["PARAMS", "Cell", "Proposal", "ScalingPlanner", "cell_of", "cells", "horizons_of", "units_of"]

Role: TypeAlias = Literal["isoflop", "ladder", "validate"]
PackOf: TypeAlias = Callable[[Mapping[str, Value]], str]
_DIGITS = 6  # of a learning rate: so the last bits of a processor's powers do not change keys

PARAMS = (
    Column("role", "isoflop: one size of a budget; ladder: one of a ratio; validate: not fitted", type="text"),
    Column("budget", "FLOPs that were planned; none in a ladder", "FLOP"),
    Column("width", "of the network, or number of features", type="int"),
    Column("depth", "layers or blocks", type="int"),
    Column("steps", "optimizer steps", type="int"),
    Column("learning_rate", "of the unit, as the rule gives it"),
    Column("seed", "of all random streams", type="int"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One size trained over one horizon.

    Attributes:
        role: why it is trained.
        budget: FLOPs that were planned; None in a ladder.
        size: of the model.
        steps: of the training.
    """

    role: Role
    budget: float | None
    size: Size
    steps: int

    @property
    def flops(self) -> int:
        """Training FLOPs, exactly."""
        return self.steps * self.size.step_flops

    @property
    def tokens(self) -> int:
        """Tokens, or samples, that are seen."""
        return self.steps * self.size.step_tokens


def cell_of(role: Role, budget: float, size: Size) -> Cell:
    """A size trained for a budget, to the nearest step."""
    return Cell(role, budget, size, max(1, round(budget / size.step_flops)))


def cells(spec: ScalingSpec, ladder: Ladder) -> list[Cell]:
    """All sizes and horizons that are fitted, the most expensive first: so no long run begins last.

    Raises:
        SpecError: a budget or a ratio that no size can be trained for within the limits.
    """
    sizes = [ladder.size(width) for width in spec.width_values]
    chosen: list[Cell] = []
    for budget in spec.budget_values:
        allowed = [c for s in sizes if _within(c := cell_of("isoflop", budget, s), spec.limits)]
        if not allowed:
            raise SpecError(
                f"budgets: {budget:.3g} FLOPs can be spent on no size: {_reach(sizes, budget, spec.limits)}"
            )
        chosen += allowed
    for ratio in spec.ratio_values:
        candidates = [Cell("ladder", None, s, max(1, round(ratio * s.parameters / s.step_tokens))) for s in sizes]
        allowed = [c for c in candidates if _within(c, spec.limits)]
        if not allowed:
            steps = ", ".join(f"{c.steps:,}" for c in candidates)
            raise SpecError(
                f"ratios: at {ratio:g} tokens per parameter the sizes take {steps} steps, all outside the limits; "
                "change limits, widths or recipe.batch_size"
            )
        chosen += allowed
    distinct = {(c.role, c.budget, c.size.width, c.steps): c for c in chosen}  # close ratios may give equal steps
    return sorted(distinct.values(), key=lambda c: -c.flops)


def horizons_of(spec: ScalingSpec, fitted: Sequence[Cell]) -> Horizons:
    """The horizons of these cells, and which of them are branches.

    Raises:
        SpecError: the spec asks for branches where there can be none.
    """
    schedule = wsd_of(spec.recipe, spec.rate.horizon != 0) if spec.horizons == "branches" else None
    return Horizons.among(schedule, ((c.size.width, c.steps) for c in fitted))


def _reach(sizes: Sequence[Size], budget: float, limits: Limits) -> str:
    """What the sizes could do with a budget, and what to change."""
    steps = [max(1, round(budget / s.step_flops)) for s in sizes]
    ratios = [n * s.step_tokens / s.parameters for n, s in zip(steps, sizes, strict=True)]
    allowed = f"limits.least_steps is {limits.least_steps}"
    allowed += f", most_steps {limits.most_steps}" if limits.most_steps else ""
    if limits.tokens_per_parameter:
        allowed += ", tokens_per_parameter [{:g}, {:g}]".format(*limits.tokens_per_parameter)
    return (
        f"widths {sizes[0].width} to {sizes[-1].width} would train for {min(steps):,} to {max(steps):,} steps, "
        f"{min(ratios):.3g} to {max(ratios):.3g} tokens per parameter, but {allowed}; "
        "change budgets, widths, limits or recipe.batch_size"
    )


def _within(cell: Cell, limits: Limits) -> bool:
    if cell.steps < limits.least_steps or (limits.most_steps is not None and cell.steps > limits.most_steps):
        return False
    if limits.tokens_per_parameter is None:
        return True
    low, high = limits.tokens_per_parameter
    return low <= cell.tokens / cell.size.parameters <= high


def units_of(
    cell: Cell, spec: ScalingSpec, keys: Keys, factors: Sequence[float], seeds: Sequence[int], pack: PackOf
) -> Iterator[Unit]:
    """A unit for each learning rate and seed of a cell; they can train as one pack."""
    pack_key: str | None = None
    for factor in factors:
        rate = spec.base_rate * factor * spec.rate.multiplier(cell.size.parameters, cell.tokens)
        for seed in seeds:
            params: dict[str, Value] = {
                "role": cell.role,
                "budget": cell.budget,
                "width": cell.size.width,
                "depth": cell.size.depth,
                "steps": cell.steps,
                "learning_rate": float(f"{rate:.{_DIGITS}g}"),
                "seed": seed,
            }
            pack_key = pack(params) if pack_key is None else pack_key
            yield keys.unit(params, pack=pack_key)


def _queue(units: Sequence[Unit], horizons: Horizons) -> BranchQueue[Value]:
    """Runs from their start first; the branches of a width once all its main runs have rows."""
    branches: dict[Value, list[Unit]] = {}
    for unit in units:
        if horizons.leaves(unit.params) is not None:
            branches.setdefault(unit.params["width"], []).append(unit)
    mains = (unit for unit in units if horizons.leaves(unit.params) is None)
    return BranchQueue(mains, lambda u: w if (w := u.params["width"]) in branches else None, branches.__getitem__)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A run that tests the fit: its size and horizon, and the factor on the learning rate."""

    cell: Cell
    factor: float


class ScalingPlanner(Planner):
    """First the runs that are fitted, branches after their main runs; when all have rows, those that test the fit.

    Args:
        spec: of the study.
        keys: of the sweep.
        propose: from the rows, in the order of their keys, to what tests the fit: one for each budget.
        pack: from params to what units must share to train as one pack.

    Attributes:
        fitted: all units that are fitted.
    """

    def __init__(
        self,
        spec: ScalingSpec,
        keys: Keys,
        propose: Callable[[Sequence[Mapping[str, Any]]], Sequence[Proposal]],
        pack: PackOf,
    ) -> None:
        self._spec, self._keys, self._propose, self._pack = spec, keys, propose, pack
        planned = cells(spec, Ladder(spec))
        factors, seeds = spec.factor_values, spec.seed_values
        units = (u for c in planned for u in units_of(c, spec, keys, factors, seeds, pack))
        self.fitted = list({u.key: u for u in units}.values())  # close factors may give equal learning rates
        self._fitted = frozenset(u.key for u in self.fitted)
        self._queue = _queue(self.fitted, horizons_of(spec, planned))
        self._larger: list[Unit] = []  # runs that test the fit and are to be proposed
        self._rows: dict[str, Mapping[str, Any]] = {}
        tests = 0 if spec.validation is None else spec.validation.seeds
        self._tests = {(budget, seed) for budget in spec.test_budgets for seed in seeds[:tests]}
        self._tested: set[tuple[float, int]] = set()  # those that have rows
        self._total = len(self._fitted) + len(self._tests)
        self._proposed = not self._tests
        self.adaptive = self._queue.waits or not self._proposed

    @property
    def total(self) -> int:
        return self._total

    @property
    def exhausted(self) -> bool:
        return self._queue.empty and not self._larger and (self._proposed or self._tests <= self._tested)

    def tell(self, row: Mapping[str, Any]) -> None:
        if row["role"] == "validate":
            self._tested.add((float(row["budget"]), int(row["seed"])))
        elif row["key"] in self._fitted:
            self._rows[row["key"]] = row
            self._queue.tell(row["key"])

    def ask(self, limit: int) -> list[Unit]:
        if units := self._queue.take(limit):
            return units
        if not self._proposed and not self.exhausted and len(self._rows) == len(self._fitted):
            self._proposed = True
            self._larger = list(self._tests_of_the_fit())
        units, self._larger = self._larger[:limit], self._larger[limit:]
        return units

    def _tests_of_the_fit(self) -> Iterator[Unit]:
        """Units that test the fit; none where nothing can be fitted, which the report then says."""
        try:
            proposals = self._propose([self._rows[key] for key in sorted(self._rows)])
        except UsageError:
            self._total = len(self._fitted) + len(self._tested)
            return
        for p in proposals:
            seeds = [seed for budget, seed in sorted(self._tests - self._tested) if budget == p.cell.budget]
            yield from units_of(p.cell, self._spec, self._keys, [p.factor], seeds, self._pack)
