"""Numbers that a claim compares: statistics of columns, with what they are in each draw."""

from __future__ import annotations

import ast
import operator
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.arithmetic import Expression, Floats, Resolver, compute, name_of
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.draws import Draws
from landsweep.orchestrator.report.tables import numbers

__all__ = ["Quantities"]

Statistic: TypeAlias = Callable[..., float]
Mask: TypeAlias = NDArray[np.bool_]

_NORMAL = 1.959964  # the 97.5th percentile of a standard normal distribution
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Quantities:
    """Gives the numbers of one claim.

    Every number is an array: first its value, then its value in each draw.

    Attributes:
        expression: of the claim.
        rows: the table that statistics are of.
        draws: of its rows.
        summary: numbers of the report.
        intervals: 95 % intervals of some of them, from which their draws are made; others are the same in all draws.
        units: how many different values are drawn from for each number, in the order in which they were asked; for a
            number with an interval, as many as there are draws.
    """

    expression: Expression
    rows: pd.DataFrame
    draws: Draws
    summary: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    units: list[int]

    def of(self, node: ast.expr) -> Floats:
        """A number and what it is in each draw, [1 + draws].

        Raises:
            UsageError: something in it is unknown, or can't be compared.
        """
        resolver = Resolver(self._summary, self._statistic, self._refused)
        return np.broadcast_to(compute(self.expression, node, resolver), (1 + self.draws.count,))

    def _summary(self, name: str) -> Floats:
        if name in self.summary:
            return self._drawn(name, *self.intervals.get(name, (np.nan, np.nan)))
        if name in self.rows:
            raise UsageError(f"{name!r} is a column; name a statistic of it, such as mean({name})")
        listed = ", ".join(self.summary) or "none"
        raise UsageError(f"there is no number {name!r} in the summary of the report; it has {listed}")

    def _drawn(self, name: str, low: float, high: float) -> Floats:
        """A number and draws from a normal distribution with a width to each side that gives its interval."""
        value = self.summary[name]
        if not (np.isfinite(low) and np.isfinite(high)):
            self.units.append(1)
            return np.full(1 + self.draws.count, value)
        self.units.append(self.draws.count)
        deviates = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(self.draws.count) / _NORMAL
        widths = np.where(deviates > 0, high - value, value - low)
        return np.concatenate([[value], value + deviates * widths])

    def _refused(self) -> UsageError:
        return UsageError(
            f"{self.expression.text!r}: allowed are numbers, names of the summary, + - * / **, brackets, abs, log, "
            f"log10, exp, sqrt, and {', '.join(STATISTICS)} of columns"
        )

    def _statistic(self, function: str, arguments: Sequence[ast.expr]) -> Floats | None:
        if function == "abs" and len(arguments) == 1:
            return np.abs(self.of(arguments[0]))
        if function not in STATISTICS:
            return None
        count, statistic = STATISTICS[function]
        if len(arguments) not in (count, count + 1):
            raise UsageError(f"{function} takes {FORMS[function]}, and, to choose rows, a condition")
        mask = self._condition(arguments[count]) if len(arguments) > count else np.ones(len(self.rows), bool)
        if function == "share":
            columns = [self._condition(arguments[0]).astype(np.float64)]
        else:
            columns = [self._column(argument) for argument in arguments[:count]]
        for values in columns:
            mask = mask & ~np.isnan(values)
        self.units.append(len(np.unique(self.draws.groups[mask])))
        return np.array([statistic(*(v[places] for v in columns)) for places in self._selections(mask)])

    def _selections(self, mask: Mask) -> list[NDArray[np.intp]]:
        """Positions of the rows that a condition chooses: of all rows, then of each draw."""
        return [np.flatnonzero(mask), *(places[mask[places]] for places in self.draws)]

    def _column(self, node: ast.expr) -> Floats:
        """A column of numbers, or arithmetic of columns, [rows]."""
        resolver = Resolver(self._numbers, lambda function, arguments: None, self._refused)
        return np.broadcast_to(compute(self.expression, node, resolver), (len(self.rows),))

    def _numbers(self, name: str) -> Floats:
        values = self._values(name)
        if _is_text(values):
            raise UsageError(f"{name!r} holds text, which has no mean; it can stand in a condition: {name} == '...'")
        return numbers(values)

    def _values(self, name: str) -> pd.Series:
        if name not in self.rows:
            listed = ", ".join(map(str, self.rows.columns))
            raise UsageError(f"there is no column {name!r}; the rows have {listed}")
        return self.rows[name]

    def _condition(self, node: ast.expr) -> Mask:
        """Which rows a condition chooses: comparisons joined by `and`."""
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            return np.asarray(np.logical_and.reduce([self._condition(part) for part in node.values]), bool)
        if not isinstance(node, ast.Compare) or len(node.ops) != 1 or type(node.ops[0]) not in _COMPARE:
            raise UsageError(
                f"{self.expression.text!r}: a condition compares a column with a value by == != < <= > >=, and "
                "several are joined by `and`"
            )
        left, sign, right = node.left, node.ops[0], node.comparators[0]
        name = name_of(left, self.expression.quoted)
        if name is not None and isinstance(right, ast.Constant) and isinstance(right.value, str | bool):
            return self._equals(name, sign, right.value)
        with np.errstate(invalid="ignore"):
            return np.asarray(_COMPARE[type(sign)](self._column(left), self._column(right)), bool)

    def _equals(self, name: str, sign: ast.cmpop, value: str | bool) -> Mask:
        values = self._values(name)
        if not isinstance(sign, ast.Eq | ast.NotEq):
            raise UsageError(f"{name!r} is compared with {value!r}; only == and != compare text and flags")
        if isinstance(value, str) and not _is_text(values):
            raise UsageError(f"{name!r} holds no text, but is compared with {value!r}; write the value without quotes")
        equal = np.array([cell == value for cell in values], bool)
        return equal if isinstance(sign, ast.Eq) else ~equal


def _is_text(values: pd.Series) -> bool:
    present = values.dropna()
    return bool(len(present)) and isinstance(present.iloc[0], str)


def _at_min(column: Floats, by: Floats) -> float:
    """The value of a column at which the mean of another one is lowest."""
    if not len(column):
        return np.nan
    values, places = np.unique(column, return_inverse=True)
    means = np.bincount(places, by) / np.bincount(places)
    return float(values[np.argmin(means)])


def _lowest_mean(column: Floats, over: Floats) -> float:
    """The lowest of the means of a column, one for each value of another: its mean at the best setting."""
    if not len(column):
        return np.nan
    places = np.unique(over, return_inverse=True)[1]
    return float((np.bincount(places, column) / np.bincount(places)).min())


def _slope(y: Floats, x: Floats) -> float:
    """Slope of the line through the points by least squares."""
    if len(np.unique(x)) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return np.nan
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))


def _spearman(x: Floats, y: Floats) -> float:
    """Rank correlation; ties have their mean rank."""
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return np.nan
    return float(pd.Series(x).rank().corr(pd.Series(y).rank()))


def _quantile(values: Floats, share: Floats) -> float:
    return float(np.quantile(values, np.clip(share[0], 0, 1))) if len(values) else np.nan


def _of_some(statistic: Callable[[Floats], Any]) -> Statistic:
    return lambda values: float(statistic(values)) if len(values) else np.nan


STATISTICS: Mapping[str, tuple[int, Statistic]] = {
    "mean": (1, _of_some(np.mean)),
    "median": (1, _of_some(np.median)),
    "min": (1, _of_some(np.min)),
    "max": (1, _of_some(np.max)),
    "std": (1, lambda values: float(np.std(values, ddof=1)) if len(values) > 1 else np.nan),
    "share": (1, _of_some(np.mean)),
    "count": (1, lambda values: float(len(values))),
    "quantile": (2, _quantile),
    "spearman": (2, _spearman),
    "slope": (2, _slope),
    "at_min": (2, _at_min),
    "lowest_mean": (2, _lowest_mean),
}
"""Name to the number of columns that a statistic takes, and the statistic; rows without a value are left out."""

FORMS: Mapping[str, str] = {
    **dict.fromkeys(("mean", "median", "min", "max", "std", "count"), "a column"),
    "share": "a condition",
    "quantile": "a column and a share from 0 to 1",
    "spearman": "two columns",
    "slope": "a column and the one that it depends on",
    "at_min": "a column and the one whose mean is to be lowest",
    "lowest_mean": "a column and the one over whose values its lowest mean is looked for",
}
"""What each statistic takes."""
