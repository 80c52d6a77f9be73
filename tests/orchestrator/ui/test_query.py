"""Filters and sorting against the same written in plain Python."""

from __future__ import annotations

import json
import math
import operator
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.ui.query import Filter, Order, Query, sampled

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
TEXTS = ["sgd", "Adam", "adamw", "", "ß", "<script>", None]


def table(seed: int, count: int = 60) -> pa.Table:
    draw = random.Random(seed)
    return pa.table(
        {
            "key": pa.array([f"{i:04x}" for i in range(count)]),
            "loss": pa.array([draw.choice([None, math.nan, math.inf, -1.5, 0.0, 0.25, 3.0]) for _ in range(count)]),
            "steps": pa.array([draw.choice([None, -3, 0, 7, 2**60 + 1]) for _ in range(count)], pa.int64()),
            "name": pa.array([draw.choice(TEXTS) for _ in range(count)], pa.string()),
            "good": pa.array([draw.choice([None, True, False]) for _ in range(count)], pa.bool_()),
            "none": pa.nulls(count),
        }
    )


def is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def passes(value: Any, sign: str, wanted: Any) -> bool:
    if sign in ("missing", "present"):
        return is_missing(value) == (sign == "missing")
    if value is None:
        return False
    if sign == "in":
        return value in (wanted, "adamw", "nothing")
    if sign == "contains":
        return str(wanted).lower() in str(value).lower()
    return COMPARE[sign](value, wanted)


CHOICES: dict[str, list[tuple[str, Any]]] = {
    "loss": [("0.25", 0.25), ("-1", -1.0), ("inf", math.inf)],
    "steps": [("7", 7), (str(2**60 + 1), 2**60 + 1), ("0.5", 0.5), ("-2.5", -2.5), ("1e30", 1e30), ("-inf", -math.inf)],
    "good": [("yes", True), ("false", False)],
    "name": [("sgd", "sgd"), ("ADAM", "ADAM"), ("<", "<")],
}


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_those_that_a_plain_loop_gives(seed: int) -> None:
    draw, rows = random.Random(seed), table(seed)
    filters, conditions = [], []
    for column in draw.sample(sorted(CHOICES), draw.randint(0, 3)):
        text, value = draw.choice(CHOICES[column])
        signs = [*COMPARE, "missing", "present"] if column != "good" else ["=", "!=", "missing"]
        sign = draw.choice([*signs, "contains", "in"] if column == "name" else signs)
        given = [column, sign] if sign in ("missing", "present") else [column, sign, text]
        given += ["adamw", "nothing"] if sign == "in" else []
        filters.append(Filter.read(json.dumps(given)))
        conditions.append((column, sign, value))
    plain = rows.to_pylist()
    expected = [i for i, row in enumerate(plain) if all(passes(row[c], s, v) for c, s, v in conditions)]
    by = draw.choice(["loss", "steps", "name", "good"])
    descending = draw.random() < 0.5
    there = [i for i in expected if not is_missing(plain[i][by])]
    there.sort(key=lambda i: plain[i][by].encode() if by == "name" else plain[i][by], reverse=descending)
    found = Query(tuple(filters), (Order(by, descending),)).rows(rows)
    assert found is not None
    order = found.to_pylist()
    assert sorted(order) == expected
    assert [plain[i][by] for i in order[: len(there)]] == [plain[i][by] for i in there]
    assert all(is_missing(plain[i][by]) for i in order[len(there) :])


def test_without_filter_and_order_all_rows_are_given_as_they_are() -> None:
    assert Query().rows(table(0)) is None


def test_equal_rows_keep_their_order_and_a_second_column_decides_first() -> None:
    rows = pa.table({"a": [1, 0, 1, 0], "b": ["x", "y", "w", "v"]})
    one, two = Query(orders=(Order("a"),)), Query(orders=(Order("a"), Order("b")))
    assert [q.rows(rows).to_pylist() for q in (one, two)] == [[1, 3, 0, 2], [3, 1, 2, 0]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("loss < 1", "no list of texts"),
        ('["loss", "like", "1"]', "with one of"),
        ('["loss", "<"]', "with one of"),
        ('["loss", "missing", "1"]', "with one of"),
        ('["loss", "<", 1]', "no list of texts"),
        ("[" * 100_000, "no list of texts"),
    ],
)
def test_filters_that_can_not_be_read_are_refused(given: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Filter.read(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["los", "=", "1"], "no column 'los'"),
        (["loss", "<", "small"], "no number"),
        (["good", "=", "perhaps"], "no flag"),
        (["loss", "contains", "1"], "holds no text"),
    ],
)
def test_filters_that_do_not_fit_the_column_are_refused(given: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Query((Filter.read(json.dumps(given)),)).rows(table(0))


def test_what_is_drawn_holds_both_ends() -> None:
    assert sampled(10, 100).to_pylist() == [*range(10)] and sampled(0, 5).to_pylist() == [0][:0]
    some = sampled(1_000_003, 5_000).to_pylist()
    assert len(some) == 5_000 and some[0] == 0 and some[-1] == 1_000_002 and len(set(some)) == 5_000
