"""Limits by halving: right for any limits, any order of rows and any stop; refusals of what can't be searched."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from landsweep.orchestrator.bisection import Bisect, Bisection, BisectPlanner, Bracket, Number, judge
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.unit import Keys

SEEDS = 3
KEYS = Keys("demo", 1, {})


def search(rule: Bisect, limits: Mapping[str, list[float]], fails_with: Any = None) -> tuple[Bisection, BisectPlanner]:
    """A search over `x` in each group, whose units hold as long as x has not passed their seed's limit."""
    ends = [{"group": g, rule.over: x, "seed": s} for g in limits for x in rule.between for s in range(SEEDS)]
    bisection = Bisection(rule, ends, "seed")
    rising = rule.between[0] < rule.between[1]

    def verdict(row: Mapping[str, Any]) -> bool | None:
        if row["x"] == fails_with:
            return None
        limit = limits[row["group"]][row["seed"]]
        return row["x"] <= limit if rising else row["x"] >= limit

    return bisection, BisectPlanner(bisection, KEYS.unit, verdict)


def run(planner: BisectPlanner, chance: random.Random, most: int = 10_000) -> list[dict[str, Any]]:
    """Rows of all units, in an order that chance decides; at most so many."""
    rows: list[dict[str, Any]] = []
    running: list[dict[str, Any]] = []
    while len(rows) < most and (running or not planner.exhausted):
        running += [{"key": u.key, **u.params} for u in planner.ask(chance.randint(1, 5))]
        if running and chance.random() < 0.7:
            rows.append(running.pop(chance.randrange(len(running))))
            planner.tell(rows[-1])
    return rows


ranges = st.tuples(st.integers(1, 200), st.integers(1, 200)) | st.tuples(
    st.floats(0.001, 1e3, allow_subnormal=False), st.floats(0.001, 1e3, allow_subnormal=False)
)


@given(
    between=ranges.filter(lambda r: r[0] != r[1]),
    shares=st.lists(st.floats(-0.2, 1.2), min_size=2 * SEEDS, max_size=2 * SEEDS),
    scale=st.sampled_from(["log", "linear"]),
    resolution=st.sampled_from([0.01, 0.1, 0.5]),
    agree=st.sampled_from([None, 1, 2, 3]),
    seed=st.integers(0, 10**6),
)
def test_the_limit_is_bracketed_whatever_the_order_of_rows(
    between: tuple[Number, Number], shares: list[float], scale: Any, resolution: float, agree: int | None, seed: int
) -> None:
    chance = random.Random(seed)
    first, last = between
    rule = Bisect(over="x", between=between, holds="y == 1", scale=scale, resolution=resolution, agree=agree)
    places = [first + share * (last - first) for share in shares]
    limits = {"a": places[:SEEDS], "b": places[SEEDS:]}
    bisection, planner = search(rule, limits)
    rows = run(planner, chance)
    assert len({row["key"] for row in rows}) == len(rows)
    for group, of_seeds in limits.items():
        in_order = sorted(of_seeds, reverse=first < last)  # the limit of the seed that passes last comes first
        limit = in_order[(agree or SEEDS) - 1]
        found = bisection.found((group,))
        inside = [first <= limit < last, first >= limit > last][first > last]
        assert (found.state == "bracketed") == inside and not found.wanted
        if inside:
            assert found.holds is not None and found.fails is not None
            low, high = sorted([found.holds, found.fails])
            assert low <= limit <= high and rule.halfway(low, high) is None
            if not rule.whole:
                width = high / low - 1 if scale == "log" else (high - low) / abs(last - first)
                assert width <= resolution * (1 + 1e-4)
            span = math.log(max(between) / min(between)) / math.log1p(resolution) if scale == "log" else 1 / resolution
            tried = len({row["x"] for row in rows if row["group"] == group})
            assert tried <= 2 + max(1, math.ceil(math.log2(max(span, 1))) + 1)

    again, resumed = search(rule, limits)
    for row in chance.sample(rows, len(rows)):
        resumed.tell(row)
    assert resumed.exhausted and not resumed.ask(5)
    assert [again.found((g,)) for g in limits] == [bisection.found((g,)) for g in limits]
    _, stopped = search(rule, limits)
    have = run(stopped, chance, most=len(rows) // 2)
    _, goes_on = search(rule, limits)
    for row in have:
        goes_on.tell(row)
    assert {r["key"] for r in have + run(goes_on, chance)} == {r["key"] for r in rows}


@pytest.mark.parametrize(
    ("limit", "state", "holds", "fails"),
    [(0, "fails at both ends", None, 1), (99, "holds at both ends", 16, None), (5, "bracketed", 5, 6)],
)
def test_ends_that_are_alike_are_said(limit: float, state: str, holds: Number | None, fails: Number | None) -> None:
    bisection, planner = search(Bisect(over="x", between=(1, 16), holds="y == 1"), {"a": [limit] * SEEDS})
    run(planner, random.Random(0))
    assert bisection.found(("a",))[:3] == (state, holds, fails)


def test_a_condition_that_holds_only_at_the_second_end_is_said() -> None:
    bracket = Bracket(Bisect(over="x", between=(1, 16), holds="y == 1"), [0])
    bracket.tell(1, 0, False)
    bracket.tell(16, 0, True)
    assert bracket.found()[:3] == ("holds at the second end only", 16, 1)


def test_units_that_failed_end_a_search_only_where_they_leave_it_open() -> None:
    rule = Bisect(over="x", between=(1, 16), holds="y == 1")
    bisection, planner = search(rule, {"a": [9.0] * SEEDS}, fails_with=4)
    run(planner, random.Random(0))
    assert bisection.found(("a",))[:3] == ("units failed", 1, 16)
    bracket = Bracket(rule.model_copy(update={"agree": 1}), [0, 1])
    for value, verdicts in {1: [True, None], 16: [False, False], 4: [None, True], 8: [None, False]}.items():
        for seed, verdict in enumerate(verdicts):
            bracket.tell(value, seed, verdict)
    assert bracket.found()[:3] == ("units failed", 4, 16), "8 may hold with the seed that failed"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"between": [1, 1]}, "two different numbers"),
        ({"between": [0, 1]}, "must be above 0; or give scale: linear"),
        ({"between": [1e200, 1e300]}, "at most 1e\\+150"),
        ({"between": [1e-300, 1e-200]}, "at least its inverse"),
        ({"between": [1, 10**400], "scale": "linear"}, "at most 1e\\+150"),
        ({"between": [1, float("inf")]}, "finite number"),
        ({"between": [1, 2], "resolution": 0}, "greater than 0"),
    ],
)
def test_ranges_that_can_not_be_halved_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Bisect(over="x", holds="y == 1", **fields)


def test_rules_are_judged_row_by_row_with_the_types_of_their_columns() -> None:
    schema = pa.schema([("status", pa.string()), ("loss", pa.float64()), ("note", pa.string()), ("n", pa.int64())])
    verdict = judge("loss < 1 and status == ok", schema)
    row = {"status": "ok", "loss": 0.5, "note": None, "n": None}
    assert verdict(row) is True and verdict({**row, "loss": None}) is False
    assert verdict({**row, "status": "diverged"}) is False and verdict({**row, "status": "failed"}) is None
    assert judge("note == word", schema)(row) is False and judge("n == 3", schema)({**row, "n": 3}) is True
    for rule, message in (("los < 1", "no column 'los'"), ("loss top 3", "rank all rows"), ("loss", "can't be read")):
        with pytest.raises(UsageError, match=message):
            judge(rule, schema)
