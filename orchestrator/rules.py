"""Rules that choose rows: `loss top 5`, `C > 1e21`, `schedule == cosine`, `loss missing`. Parsed, never evaluated."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError

__all__ = ["check_readable", "chosen", "chosen_by_any"]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_RULE = re.compile(r"^\s*(?P<column>.+?)\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>[^<>=!]+?)\s*$")
_RANK = re.compile(r"^\s*(?P<column>.+?)\s+(?P<end>top|bottom)\s+(?P<count>\d{1,18})\s*$")
_MISSING = re.compile(r"^\s*(?P<column>.+?)\s+missing\s*$")
_HELP = "give COLUMN < NUMBER (or <= > >= == !=), COLUMN == WORD, COLUMN top COUNT, COLUMN bottom COUNT, COLUMN missing"


def chosen(rule: str, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows [n] a rule chooses; parts joined by ` and ` must all hold.

    `top 5` are the five rows with the highest values; rows that share the last place are all chosen.

    Raises:
        UsageError: the rule can't be read, or names a column that the table lacks.
    """
    # With single blanks: the patterns below would try each way to share out many.
    parts = [_part(part, rule, table) for part in " ".join(rule.split()).split(" and ")]
    return np.asarray(np.logical_and.reduce(parts))


def check_readable(rule: str) -> None:
    """Refuse a rule that can't decide about a single row, before there are any.

    Raises:
        UsageError: it can't be read, or ranks rows.
    """
    for part in " ".join(rule.split()).split(" and "):
        if _RANK.match(part):
            raise UsageError(f"rule {rule!r}: top and bottom rank all rows, but here each row is looked at by itself")
        if not (_MISSING.match(part) or _RULE.match(part)):
            raise UsageError(f"rule {rule!r} can't be read; {_HELP}")


def chosen_by_any(rules: Sequence[str], table: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows [n] at least one rule chooses."""
    rows = np.zeros(len(table), bool)
    for rule in rules:
        rows |= chosen(rule, table)
    return rows


def _part(part: str, rule: str, table: pd.DataFrame) -> NDArray[np.bool_]:
    if match := _MISSING.match(part):
        return np.asarray(_column(match["column"], table, rule).isna(), bool)
    if match := _RANK.match(part):
        return _ranked(_column(match["column"], table, rule), match["end"], int(match["count"]), rule)
    if match := _RULE.match(part):
        column = _column(match["column"], table, rule)
        value = match["value"].strip("'\"")
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        try:
            operand: float | str = float(value) if numeric else value
        except ValueError:
            raise UsageError(f"rule {rule!r}: {value!r} is no number, but {match['column']!r} holds numbers") from None
        if not numeric and match["sign"] not in ("==", "!="):
            raise UsageError(f"rule {rule!r}: {match['column']!r} holds text; only == and != compare text")
        values = column if numeric else column.astype(str)
        return np.asarray(_COMPARE[match["sign"]](values, operand), bool)
    raise UsageError(f"rule {rule!r} can't be read; {_HELP}")


def _ranked(column: pd.Series, end: str, count: int, rule: str) -> NDArray[np.bool_]:
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise UsageError(f"rule {rule!r}: the column holds text, which has no top or bottom")
    ranks = column.rank(method="min", ascending=end == "bottom")
    return np.asarray(ranks <= count, bool)


def _column(name: str, table: pd.DataFrame, rule: str) -> pd.Series:
    name = name.strip("`")
    if name not in table.columns:
        columns = ", ".join(map(str, table.columns))
        raise UsageError(f"rule {rule!r}: there is no column {name!r}; the table has {columns}")
    return table[name]
