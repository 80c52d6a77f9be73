"""The plan of a study: which sizes train for how many steps, and, once these have rows, the runs that test the fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from orchestrator.axes import Axis, Value
from orchestrator.errors import SpecError, UsageError
from orchestrator.planner import Planner
from orchestrator.row import Column
from orchestrator.unit import Keys, Unit
from sweeps.lab.scaling.branches import Horizons, Waiting, wsd_of
from sweeps.lab.scaling.ladder import Family, Ladder, Size

__all__ = [
    "PARAMS",
    "Cell",
    "Limited",
    "Planned",
    "Proposal",
    "Rated",
    "ScalingPlanner",
    "Tested",
    "cell_of",
    "cells",
    "checked_plan",
    "horizons_of",
    "units_of",
]

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


class Limited(Protocol):
    """See `sweeps.lab.scaling.spec.Limits`."""

    @property
    def least_steps(self) -> int: ...
    @property
    def most_steps(self) -> int | None: ...
    @property
    def tokens_per_parameter(self) -> tuple[float, float] | None: ...


class Rated(Protocol):
    """See `sweeps.lab.scaling.spec.Rate`."""

    @property
    def horizon(self) -> float: ...
    def multiplier(self, parameters: float, tokens: float) -> float: ...


class Tested(Protocol):
    """See `sweeps.lab.scaling.spec.Validate`."""

    @property
    def budgets(self) -> Axis: ...
    @property
    def seeds(self) -> int: ...


class Planned(Family, Protocol):
    """What a study's spec says about its units."""

    @property
    def budgets(self) -> Axis | None: ...
    @property
    def ratios(self) -> Axis | None: ...
    @property
    def limits(self) -> Limited: ...
    @property
    def horizons(self) -> str: ...
    @property
    def rate(self) -> Rated: ...
    @property
    def rates(self) -> Axis: ...
    @property
    def seeds(self) -> Axis: ...
    @property
    def validation(self) -> Tested | None: ...
    @property
    def base_rate(self) -> float: ...


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


def cells(plan: Planned, ladder: Ladder) -> list[Cell]:
    """All sizes and horizons that are fitted, the most expensive first: so no long run begins last.

    Raises:
        SpecError: a budget or a ratio that no size can be trained for within the limits.
    """
    sizes = [ladder.size(int(w)) for w in _numbers(plan.widths)]
    found: list[Cell] = []
    for budget in _numbers(plan.budgets):
        there = [c for s in sizes if _within(c := cell_of("isoflop", budget, s), plan.limits)]
        if not there:
            raise SpecError(
                f"budgets: {budget:.3g} FLOPs can be spent on no size: {_reach(sizes, budget, plan.limits)}"
            )
        found += there
    for ratio in _numbers(plan.ratios):
        made = [Cell("ladder", None, s, max(1, round(ratio * s.parameters / s.step_tokens))) for s in sizes]
        there = [c for c in made if _within(c, plan.limits)]
        if not there:
            steps = ", ".join(f"{c.steps:,}" for c in made)
            raise SpecError(
                f"ratios: at {ratio:g} tokens per parameter the sizes take {steps} steps, all outside the limits; "
                "change limits, widths or recipe.batch_size"
            )
        found += there
    return sorted(found, key=lambda c: -c.flops)


def horizons_of(plan: Planned, found: Sequence[Cell]) -> Horizons:
    """The horizons of these cells, and which of them are branches.

    Raises:
        SpecError: the spec asks for branches where there can be none.
    """
    schedule = wsd_of(plan.recipe, plan.rate.horizon != 0) if plan.horizons == "branches" else None
    return Horizons.among(schedule, ((c.size.width, c.steps) for c in found))


def _reach(sizes: Sequence[Size], budget: float, limits: Limited) -> str:
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


def _within(cell: Cell, limits: Limited) -> bool:
    if cell.steps < limits.least_steps or (limits.most_steps is not None and cell.steps > limits.most_steps):
        return False
    if limits.tokens_per_parameter is None:
        return True
    low, high = limits.tokens_per_parameter
    return low <= cell.tokens / cell.size.parameters <= high


def checked_plan(plan: Planned, least_points: int) -> None:
    """See that the plan has enough different runs for the law, and that those that test it are larger.

    Raises:
        SpecError: naming what was planned and what is needed.
    """
    fitted = cells(plan, Ladder(plan))
    horizons_of(plan, fitted)
    if len(fitted) < least_points:
        raise SpecError(
            f"the plan has {len(fitted)} sizes and horizons, but the law needs at least {least_points}: "
            "one more than it has parameters; add widths, budgets or ratios"
        )
    if plan.validation is not None:
        largest = fitted[0].flops
        for budget in _numbers(plan.validation.budgets):
            if budget <= largest:
                raise SpecError(
                    f"validate.budgets: {budget:.3g} FLOPs is not above the largest run that is fitted, "
                    f"{largest:.3g} FLOPs"
                )


def _numbers(axis: Axis | None) -> list[float]:
    return [] if axis is None else [float(v) for v in axis.points() if v is not None]


def units_of(
    cell: Cell, plan: Planned, keys: Keys, factors: Sequence[float], seeds: Sequence[int], pack: PackOf
) -> Iterator[Unit]:
    """A unit for each learning rate and seed of a cell; they can train as one pack."""
    together: str | None = None
    for factor in factors:
        rate = plan.base_rate * factor * plan.rate.multiplier(cell.size.parameters, cell.tokens)
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
            together = pack(params) if together is None else together
            yield keys.unit(params, pack=together)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A run that tests the fit: its size and horizon, and the factor on the learning rate."""

    cell: Cell
    factor: float


class ScalingPlanner(Planner):
    """First the runs that are fitted, branches after their main runs; when all have rows, those that test the fit.

    Args:
        plan: the spec.
        keys: of the sweep.
        propose: from the rows, in the order of their keys, to what tests the fit: one for each budget.
        pack: from params to what units must share to train as one pack.

    Attributes:
        fitted: all units that are fitted.
    """

    def __init__(
        self,
        plan: Planned,
        keys: Keys,
        propose: Callable[[Sequence[Mapping[str, Any]]], Sequence[Proposal]],
        pack: PackOf,
    ) -> None:
        self._plan, self._keys, self._propose, self._pack = plan, keys, propose, pack
        factors, self._seeds = _numbers(plan.rates), [int(s) for s in _numbers(plan.seeds)]
        found = cells(plan, Ladder(plan))
        self.fitted = [u for c in found for u in units_of(c, plan, keys, factors, self._seeds, pack)]
        self._fitted = frozenset(u.key for u in self.fitted)
        self._queue, self._waiting = Waiting.of(self.fitted, horizons_of(plan, found))
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._tested: set[tuple[float, int]] = set()  # budget and seed of runs that test the fit and have rows
        self._wanted = _wanted(plan, self._seeds)
        self._tests = len(self._wanted)
        self._proposed = not self._wanted
        self.listens = bool(self._waiting) or not self._proposed

    @property
    def total(self) -> int:
        return len(self._fitted) + self._tests

    @property
    def exhausted(self) -> bool:
        self._pass_over()
        return not self._queue and not self._waiting and (self._proposed or self._wanted <= self._tested)

    def tell(self, row: Mapping[str, Any]) -> None:
        if row["role"] == "validate":
            self._tested.add((float(row["budget"]), int(row["seed"])))
        elif row["key"] in self._fitted:
            self._rows[row["key"]] = row
            self._queue.extend(self._waiting.hear(row["key"], int(row["width"])))

    def ask(self, limit: int) -> list[Unit]:
        self._pass_over()
        if not self._queue and not self.exhausted and len(self._rows) == len(self._fitted):
            self._proposed = True
            self._queue.extend(self._larger())
        return [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]

    def _pass_over(self) -> None:
        """Units with rows that were told before they were asked for."""
        while self._queue and self._queue[0].key in self._rows:
            self._queue.popleft()

    def _larger(self) -> Iterator[Unit]:
        """Units that test the fit; none where nothing can be fitted, which the report then says."""
        try:
            proposals = self._propose([self._rows[key] for key in sorted(self._rows)])
        except UsageError:
            self._tests = len(self._tested)
            return
        for p in proposals:
            seeds = [s for b, s in sorted(self._wanted - self._tested) if b == p.cell.budget]
            yield from units_of(p.cell, self._plan, self._keys, [p.factor], seeds, self._pack)


def _wanted(plan: Planned, seeds: Sequence[int]) -> set[tuple[float, int]]:
    """Budget and seed of each run that tests the fit."""
    tested = plan.validation
    return set() if tested is None else {(b, s) for b in _numbers(tested.budgets) for s in seeds[: tested.seeds]}
