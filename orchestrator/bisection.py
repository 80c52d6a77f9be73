"""Up to where a condition holds along one field: found by halving, for each combination of all other fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import pyarrow as pa
from pydantic import Field, model_validator

from landsweep.orchestrator.canonical import Value
from landsweep.orchestrator.planner import RowsPlanner
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.spec import Section
from landsweep.orchestrator.unit import Unit

__all__ = ["Bisect", "BisectPlanner", "Bisection", "Bracket", "Found", "Number", "judge"]

Number: TypeAlias = int | float
State: TypeAlias = Literal[
    "bracketed", "holds at both ends", "fails at both ends", "holds at the second end only", "units failed", "not ended"
]

_LARGEST = 1e150  # so that the product of two values is still a number
_DIGITS = 6  # of a value between two others: so the last bits of a processor's logarithm do not matter


class Bisect(Section):
    """A field, two values of it between which a condition ceases to hold, and how closely that place is found."""

    over: str = Field(description="the field that is moved; no axis and no sample may set it")
    between: tuple[Number, Number] = Field(
        description="a value at which the condition should hold, and one at which it should fail; either may be the "
        "larger one. Two whole numbers: only whole numbers are tried"
    )
    holds: str = Field(
        description="the condition, a rule over the columns of a row: train_accuracy == 1, or status == ok and loss < 1"
    )
    scale: Literal["log", "linear"] = Field("log", description="log: halve ratios, so both values are above 0")
    resolution: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="where to stop: log: the two values differ by at most this share of the smaller one; linear: of "
        "their first distance",
    )
    agree: int | None = Field(
        None,
        ge=1,
        description="how many seeds must agree that it holds at a value; by default all",
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        first, last = self.between
        if first == last:
            raise ValueError(f"between: give two different numbers, got {list(self.between)}")
        if self.scale == "log" and min(self.between) <= 0:
            raise ValueError(f"between: {list(self.between)} must be above 0; or give scale: linear")
        if max(map(abs, self.between)) > _LARGEST or (self.scale == "log" and min(self.between) < 1 / _LARGEST):
            raise ValueError(f"between: at most {_LARGEST:g}, and with scale: log at least its inverse, can be halved")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return all(type(end) is int for end in self.between)

    def halfway(self, a: Number, b: Number) -> Number | None:
        """The value to try between two others; None when they are close enough.

        Example:
            >>> Bisect(over="width", between=(1, 64), holds="loss < 1").halfway(4, 64)
            16
            >>> Bisect(over="rate", between=(0, 1), holds="loss < 1", scale="linear").halfway(0.5, 0.55) is None
            True
        """
        low, high = min(a, b), max(a, b)
        if self.scale == "log":
            close, middle = high <= (1 + self.resolution) * low, math.sqrt(low * high)
        else:
            first, last = self.between
            close, middle = high - low <= self.resolution * abs(last - first), (low + high) / 2
        value = round(middle) if self.whole else float(f"{middle:.{_DIGITS}g}")
        return None if close or not low < value < high else value


class Found(NamedTuple):
    """What is known of one combination.

    Attributes:
        state: `bracketed` where the two values are close enough; otherwise why they are not.
        holds: the last value, on the way from the first end, at which the condition holds; None if none is known.
        fails: the first one at which it fails; None if none is known.
        wanted: values that must be known for the next step; none once the search has ended.
    """

    state: State
    holds: Number | None
    fails: Number | None
    wanted: tuple[Number, ...] = ()


class Bracket:
    """The search of one combination of all other fields.

    Args:
        rule: what is searched.
        seeds: with which each value is tried.
    """

    def __init__(self, rule: Bisect, seeds: Sequence[Value]) -> None:
        self._rule, self._seeds = rule, tuple(seeds)
        self._verdicts: dict[Number, dict[Value, bool | None]] = {}

    def tell(self, value: Number, seed: Value, verdict: bool | None) -> None:
        """Note whether the condition holds at a value with a seed; None: the unit failed, so it is not known."""
        self._verdicts.setdefault(value, {})[seed] = verdict

    def found(self) -> Found:
        """What is known now. It does not depend on the order in which rows came."""
        first, last = self._rule.between
        ends = {end: self._verdict(end) for end in (first, last)}
        if wanted := tuple(end for end, verdict in ends.items() if verdict == "open"):
            return Found("not ended", None, None, wanted)
        if "failed" in ends.values():
            return Found("units failed", None, None)
        if ends[first] == "no":
            if ends[last] == "no":
                return Found("fails at both ends", None, first)
            return Found("holds at the second end only", last, first)
        if ends[last] == "yes":
            return Found("holds at both ends", last, None)
        holds, fails = first, last
        while (value := self._rule.halfway(holds, fails)) is not None:
            verdict = self._verdict(value)
            if verdict == "open":
                return Found("not ended", holds, fails, (value,))
            if verdict == "failed":
                return Found("units failed", holds, fails)
            holds, fails = (value, fails) if verdict == "yes" else (holds, value)
        return Found("bracketed", holds, fails)

    def _verdict(self, value: Number) -> Literal["yes", "no", "open", "failed"]:
        """Of all seeds together, once each has its row: so that a stop leaves no value with some of them."""
        verdicts = self._verdicts.get(value, {})
        known = [verdicts[seed] for seed in self._seeds if seed in verdicts]
        needed = self._rule.agree or len(self._seeds)
        if len(known) < len(self._seeds):
            return "open"
        if known.count(True) >= needed:
            return "yes"
        return "no" if known.count(False) > len(known) - needed else "failed"


class Bisection:
    """The searches of all combinations.

    Args:
        rule: what is searched.
        ends: params of the units at both ends.
        seed: name of the param that tells apart units that are tried at the same value.
    """

    def __init__(self, rule: Bisect, ends: Iterable[Mapping[str, Value]], seed: str) -> None:
        self._over, self._seed = rule.over, seed
        first = rule.between[0]
        self.units: dict[tuple[Value, ...], list[dict[str, Value]]] = {}  # by combination: one for each seed
        for params in ends:
            self._names = [name for name in params if name not in (rule.over, seed)]
            if params[rule.over] == first:
                self.units.setdefault(self._combination(params), []).append(dict(params))
        self._brackets = {c: Bracket(rule, [u[seed] for u in units]) for c, units in self.units.items()}

    def _combination(self, params: Mapping[str, Value]) -> tuple[Value, ...]:
        return tuple(params[name] for name in self._names)

    def tell(self, row: Mapping[str, Any], verdict: bool | None) -> tuple[Value, ...]:
        """Note whether the condition holds in a row (None: not known, for its unit failed); gives its combination."""
        combination = self._combination(row)
        if combination in self._brackets:  # others are of a plan that was larger
            self._brackets[combination].tell(row[self._over], row[self._seed], verdict)
        return combination

    def params(self, combination: tuple[Value, ...]) -> dict[str, Value]:
        """The params that all units of a combination share."""
        return dict(zip(self._names, combination, strict=True))

    def found(self, combination: tuple[Value, ...]) -> Found:
        """What is known of a combination."""
        return self._brackets[combination].found()

    def wanted(self, combination: tuple[Value, ...]) -> Iterator[dict[str, Value]]:
        """Params of the units that the next step of a combination needs."""
        for value in self.found(combination).wanted:
            yield from ({**params, self._over: value} for params in self.units[combination])


class BisectPlanner(RowsPlanner):
    """Proposes both ends of each combination, then value after value between them.

    Args:
        bisection: of the sweep.
        unit: makes the unit with these params.
        verdict: says of a row what `judge` does.
    """

    def __init__(
        self,
        bisection: Bisection,
        unit: Callable[[Mapping[str, Value]], Unit],
        verdict: Callable[[Mapping[str, Any]], bool | None],
    ) -> None:
        self._bisection, self._unit, self._verdict = bisection, unit, verdict
        self._open = dict.fromkeys(bisection.units)
        super().__init__(self.wanted())

    def wanted(self) -> Iterator[Unit]:
        for combination in self._open:
            yield from map(self._unit, self._bisection.wanted(combination))

    def waits(self) -> bool:
        return bool(self._open)

    def take_in(self, row: Mapping[str, Any]) -> None:
        combination = self._bisection.tell(row, self._verdict(row))
        if combination in self._open and not self._bisection.found(combination).wanted:
            del self._open[combination]


def judge(rule: str, schema: pa.Schema) -> Callable[[Mapping[str, Any]], bool | None]:
    """Says whether a rule holds in a row; None for that of a unit that failed.

    Args:
        rule: over the columns of a row.
        schema: of the rows.

    Raises:
        UsageError: the rule can't be read, or names a column that rows will not have.
    """
    from landsweep.orchestrator.rules import check_readable, chosen  # here: they bring pandas

    check_readable(rule)
    chosen(rule, schema.empty_table().to_pandas())

    def verdict(row: Mapping[str, Any]) -> bool | None:
        if row["status"] == Status.failed.value:
            return None
        return bool(chosen(rule, pa.Table.from_pylist([dict(row)], schema).to_pandas())[0])

    return verdict
