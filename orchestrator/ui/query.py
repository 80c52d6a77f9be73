"""Which rows of a table, in which order: filters and sorting by Arrow, for tables of a million rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.errors import UsageError

__all__ = ["Filter", "Order", "Query", "sampled"]

_COMPARE: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_UNARY = ("missing", "present")
_SIGNS = (*_COMPARE, "contains", "in", *_UNARY)
_FLAGS = {"yes": True, "true": True, "no": False, "false": False}
_WHOLE = re.compile(r"[-+]?\d{1,30}")
_BEYOND = 2**63  # no whole number of a column is so large
_HEAD = 4096  # rows that tell whether a column repeats its texts
_MOST = 50  # filters, and columns to sort by


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition on a column.

    Attributes:
        column: its name.
        sign: `=`, `!=`, `<`, `<=`, `>`, `>=`, `contains` (text, in any case), `in` (text), `missing` or `present`.
        value: as text; nothing is equal to a missing value, nor different from it.
        values: the texts of `in`.
    """

    column: str
    sign: str
    value: str = ""
    values: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: str) -> Filter:
        """From `["loss", "<", "0.5"]`, as it stands in an address.

        Raises:
            UsageError: it has another form.
        """
        parts = _texts(given)
        if len(parts) > 2 and parts[1] == "in":
            return cls(parts[0], "in", values=tuple(parts[2:]))
        if len(parts) not in (2, 3) or parts[1] not in _SIGNS or (len(parts) == 2) != (parts[1] in _UNARY):
            raise UsageError(f'filter {given[:100]!r}: give ["COLUMN", SIGN, "VALUE"] with one of {", ".join(_SIGNS)}')
        return cls(parts[0], parts[1], "".join(parts[2:]))

    def mask(self, table: pa.Table) -> pa.ChunkedArray:
        """Which rows it lets through.

        Raises:
            UsageError: there is no such column, or it holds other values.
        """
        column = _column(table, self.column)
        if self.sign in _UNARY:
            missing = pc.is_null(column, nan_is_null=True)
            return missing if self.sign == "missing" else pc.invert(missing)
        if pa.types.is_null(column.type):
            return pa.chunked_array([pa.array(np.zeros(len(column), bool))])
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if self.sign in ("contains", "in"):
            if not is_text:
                raise UsageError(f"filter {self.column}: it holds no text; compare it by {', '.join(_COMPARE)}")
            if self.sign == "in":
                return pc.is_in(column, value_set=pa.array(self.values, column.type))
            return _contains(column, self.value)
        if is_text:
            return _COMPARE[self.sign](column, self.value)
        if pa.types.is_boolean(column.type):
            return _COMPARE[self.sign](column, self._flag())
        number = self._number()
        if pa.types.is_integer(column.type):
            return _of_whole(column, self.sign, number)
        return _COMPARE[self.sign](column, pa.scalar(float(number)))

    def _flag(self) -> bool:
        try:
            return _FLAGS[self.value.strip().lower()]
        except KeyError:
            raise UsageError(f"filter {self.column}: {self.value[:40]!r} is no flag; give yes or no") from None

    def _number(self) -> int | float:
        text = self.value.strip()
        try:
            return int(text) if _WHOLE.fullmatch(text) else float(text)
        except ValueError:
            raise UsageError(f"filter {self.column}: {text[:40]!r} is no number, and the column holds some") from None


def _contains(column: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    """Which texts contain another one, in any case; of a column that repeats a few texts each is looked at once."""
    head = column.slice(0, _HEAD)
    if len(pc.unique(head)) > len(head) // 8:
        return pc.match_substring(column, text, ignore_case=True)
    encoded = column.dictionary_encode().unify_dictionaries()
    chunks = [
        pc.take(pc.match_substring(chunk.dictionary, text, ignore_case=True), chunk.indices) for chunk in encoded.chunks
    ]
    return pa.chunked_array(chunks, pa.bool_())


def _of_whole(column: pa.ChunkedArray, sign: str, number: int | float) -> pa.ChunkedArray:
    """A column of whole numbers compared with any number, without rounding either."""
    if number != number:
        return pc.equal(column, column) if sign == "!=" else pc.not_equal(column, column)
    if abs(number) >= _BEYOND:  # larger or smaller than all of them
        holds = sign == "!=" or ((sign in ("<", "<=")) == (number > 0) and sign != "=")
        return pc.equal(column, column) if holds else pc.not_equal(column, column)
    whole = math.ceil(number) if sign in ("<", ">=") else math.floor(number)
    if whole != number and sign in ("=", "!="):
        return pc.not_equal(column, column) if sign == "=" else pc.equal(column, column)
    return _COMPARE[sign](column, pa.scalar(whole, pa.int64()))


@dataclass(frozen=True, slots=True)
class Order:
    """A column to sort by; what is missing comes last either way."""

    column: str
    descending: bool = False

    @classmethod
    def read(cls, given: str) -> Order:
        """From `["loss", "descending"]`, as it stands in an address.

        Raises:
            UsageError: it has another form.
        """
        parts = _texts(given)
        if len(parts) != 2 or parts[1] not in ("ascending", "descending"):
            raise UsageError(f'sort {given[:100]!r}: give ["COLUMN", "ascending"] or ["COLUMN", "descending"]')
        return cls(parts[0], parts[1] == "descending")


@dataclass(frozen=True, slots=True)
class Query:
    """What is shown of a table: rows that pass all filters, sorted."""

    filters: tuple[Filter, ...] = ()
    orders: tuple[Order, ...] = ()

    @classmethod
    def read(cls, filters: Sequence[str], orders: Sequence[str]) -> Query:
        """From the parts of an address.

        Raises:
            UsageError: one can't be read, or they are too many.
        """
        if len(filters) > _MOST or len(orders) > _MOST:
            raise UsageError(f"at most {_MOST} filters, and as many columns to sort by, are allowed")
        return cls(tuple(map(Filter.read, filters)), tuple(map(Order.read, orders)))

    def rows(self, table: pa.Table) -> pa.Array | None:
        """Numbers of the rows in order; None: all, as they are.

        Raises:
            UsageError: a filter or a column does not fit the table.
        """
        keep: Any = None
        for one in self.filters:
            mask = one.mask(table)
            keep = mask if keep is None else pc.and_kleene(keep, mask)
        rows = None if keep is None else pc.indices_nonzero(pc.fill_null(keep, False))
        if not self.orders:
            return rows
        by = pa.table({str(i): _sortable(_column(table, o.column), rows) for i, o in enumerate(self.orders)})
        keys = [(str(i), "descending" if o.descending else "ascending") for i, o in enumerate(self.orders)]
        order = pc.sort_indices(by, sort_keys=keys)  # null comes last either way
        return order if rows is None else rows.take(order)


def sampled(count: int, most: int) -> pa.Array:
    """At most this many places out of `count`, at even distances, the first and the last among them."""
    return pa.array(np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.int64)))


def _sortable(column: pa.ChunkedArray, rows: pa.Array | None) -> pa.ChunkedArray:
    """A column for sorting; nan counts as missing, so that it is last in both directions."""
    if rows is not None:
        column = column.take(rows)
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), None, column)
    return pc.cast(column, pa.int8()) if pa.types.is_boolean(column.type) else column


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UsageError(f"there is no column {name[:100]!r}; there are {', '.join(table.column_names)[:1000]}")
    column = table.column(name)
    return column.cast(pa.float32()) if pa.types.is_float16(column.type) else column  # Arrow compares no halves


def _texts(given: str) -> list[str]:
    try:
        parts = json.loads(given)
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or not all(isinstance(p, str) for p in parts):
        raise UsageError(f"{given[:100]!r} is no list of texts in JSON")
    return parts
