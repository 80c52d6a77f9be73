"""Planners: the product of axes, zips, and laziness."""

from __future__ import annotations

import itertools

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.planner import GridPlanner, ListPlanner
from landsweep.orchestrator.unit import Keys, Unit

KEYS = Keys("k", 1, {})


def test_the_product_runs_its_last_axis_fastest() -> None:
    axes = {"a": (1, 2), "b": ("x", "y", "z")}
    units = GridPlanner(KEYS, axes).ask(100)
    assert [tuple(u.params.values()) for u in units] == list(itertools.product((1, 2), ("x", "y", "z")))
    assert len({u.key for u in units}) == 6


def test_zipped_axes_move_together() -> None:
    planner = GridPlanner(KEYS, {"lr": (1, 2, 3), "seed": (0, 1), "wd": (10, 20, 30)}, zipped=[["lr", "wd"]])
    assert planner.total == 6
    pairs = {(u.params["lr"], u.params["wd"]) for u in planner.ask(100)}
    assert pairs == {(1, 10), (2, 20), (3, 30)}


@pytest.mark.parametrize(
    ("zipped", "complaint"),
    [([["a", "c"]], "not an axis"), ([["a", "b"]], "equally many"), ([["a"], ["a"]], "twice")],
)
def test_zips_that_can_not_be(zipped: list[list[str]], complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        GridPlanner(KEYS, {"a": (1, 2), "b": (1, 2, 3)}, zipped)


def test_a_finer_grid_keeps_the_keys_of_the_coarser() -> None:
    from landsweep.orchestrator.axes import Axis

    coarse = {u.key for u in GridPlanner(KEYS, {"x": Axis(linear=(-1, 1, 11)).points()}).ask(1000)}
    fine = {u.key for u in GridPlanner(KEYS, {"x": Axis(linear=(-1, 1, 101)).points()}).ask(1000)}
    assert coarse < fine and len(fine - coarse) == 90


def test_asking_is_lazy_and_ends() -> None:
    taken = []

    def units() -> object:
        for i in itertools.count():
            taken.append(i)
            yield Unit(str(i), {})

    planner = ListPlanner(units())  # type: ignore[arg-type]
    assert [u.key for u in planner.ask(3)] == ["0", "1", "2"]
    assert len(taken) == 3 and not planner.exhausted
    short = ListPlanner([Unit("a", {})])
    assert len(short.ask(5)) == 1 and short.exhausted and short.ask(5) == []
