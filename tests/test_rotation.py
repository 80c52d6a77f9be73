"""Tests that take turns: on any four days in a row each of them runs once."""

from __future__ import annotations

import pytest

from tests.support.rotation import DAY, DAYS, due


@pytest.mark.parametrize("day", [0, 1, 739_000])
def test_each_test_has_its_turn_once(day: int) -> None:
    names = [f"tests/test_a.py::test_b[{i}]" for i in range(400)]
    turns = [[name for name in names if due(name, day + i)] for i in range(DAYS)]
    assert sorted(name for turn in turns for name in turn) == sorted(names)
    assert all(60 < len(turn) < 140 for turn in turns)


@pytest.mark.rotating
@pytest.mark.parametrize("case", range(40))
def test_those_that_are_not_due_count_as_slow(case: int, request: pytest.FixtureRequest) -> None:
    assert (request.node.get_closest_marker("slow") is None) == due(request.node.nodeid, DAY)


@pytest.mark.slow
@pytest.mark.rotating
@pytest.mark.parametrize("case", range(40))
def test_slow_ones_that_are_not_due_count_as_long(case: int, request: pytest.FixtureRequest) -> None:
    assert (request.node.get_closest_marker("long") is None) == due(request.node.nodeid, DAY)
