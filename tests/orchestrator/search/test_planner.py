"""The planner that asks Optuna: what it proposes, what it makes of rows, and that resuming is the same as running."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from optuna.trial import TrialState

from landsweep.orchestrator.search import Goal, samplers
from landsweep.orchestrator.search.study import sampler_of
from landsweep.orchestrator.unit import Unit
from tests.orchestrator.search.driven import SAMPLERS, SPACE, drive, planner, resume, row_of, search, shuffled, table

# Gaussian processes take seconds for each generation
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n == "gp" else n for n in SAMPLERS]


@pytest.mark.parametrize("name", NAMES)
def test_the_order_in_which_units_end_changes_nothing(name: str) -> None:
    s = search(sampler=SAMPLERS[name], seeds=2)
    runs = [drive(s, shuffled(i)) for i in range(2)]
    assert table(runs[0]) == table(runs[1]) and len(runs[0]) == 24


@pytest.mark.parametrize("name", NAMES)
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(name: str) -> None:
    s = search(sampler=SAMPLERS[name], seeds=2)
    whole = table(drive(s))
    for stop in (1, 9, 16, 23):
        assert table(resume(s, drive(s, shuffled(stop), stop), shuffled(7))) == whole


def test_conditional_spaces_resume_too_and_only_what_exists_is_proposed() -> None:
    s = search(SPACE, budget=samplers.Budget(units=40))
    whole = drive(s)
    for row in whole:
        assert (row["method.sgd.momentum"] is None) == (row["method"] != "sgd")
        assert (row["decay"] is None) == (row["method"] != "adam")
        assert row["width"] in range(4, 33, 4) and 1e-4 <= row["rate"] <= 1
    assert {row["method"] for row in whole} == {"sgd", "adam"}
    for stop in (3, 17, 33):
        assert table(resume(s, drive(s, shuffled(stop), stop))) == table(whole)


def test_the_trials_that_ended_stay_when_a_unit_is_computed_again() -> None:
    s = search()
    rows = drive(s)
    again = resume(s, [r for r in rows if r["trial"] != 3])
    assert table(again) == table(rows)


@pytest.mark.parametrize("name", ["tpe", pytest.param("gp", marks=pytest.mark.slow)])
def test_without_generations_workers_never_wait_and_rows_are_kept(name: str) -> None:
    s = search(sampler=SAMPLERS[name], deterministic=False, generation=4)
    part = drive(s, shuffled(1), stop=11)
    whole = resume(s, part, shuffled(2))
    assert table(part)[0] in table(whole) and len({r["trial"] for r in whole}) == 24
    p = planner(s)
    first = p.ask(100)
    assert len(first) == 8, "two generations are open at once"
    p.tell(row_of(first[5], s))
    assert len(p.ask(100)) == 0
    for unit in first[:5]:
        p.tell(row_of(unit, s))
    assert len(p.ask(100)) == 4


@pytest.mark.parametrize("name", ["tpe", "random", "cmaes"])
def test_asking_whether_a_search_is_exhausted_does_not_change_it(name: str) -> None:
    """Units, and trials of the study, are the same whether it is asked all the time or never; also at resume."""
    s = search(sampler=SAMPLERS[name])
    rows = drive(s)
    for count in (0, 5, 8, 24):
        read, never = planner(s), planner(s)
        for row in rows[:count]:
            read.tell(row)
            never.tell(row)
            assert read.exhausted in (True, False)
        assert not read.exhausted and len(read.study.trials) == len(never.study.trials) == 0
        assert [u.key for u in read.ask(99)] == [u.key for u in never.ask(99)]
        assert read.exhausted == never.exhausted >= (count == 24) and len(read.study.trials) == len(never.study.trials)


def test_generations_wait_and_random_search_does_not() -> None:
    p = planner(search())
    first = p.ask(100)
    for unit in first[:-1]:
        p.tell(row_of(unit, search()))
    assert len(first) == 8 and p.ask(100) == [] and not p.exhausted
    p.tell(row_of(first[-1], search()))
    assert len(p.ask(100)) == 8
    everything = planner(search(sampler=SAMPLERS["random"]))
    assert len([u for _ in range(9) for u in everything.ask(100)]) == 24


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({"sampler": samplers.Random()}, True),
        ({"sampler": samplers.Random(), "seeds": 3}, True),
        ({"sampler": samplers.Tpe(n_startup_trials=10_000), "deterministic": False}, False),
    ],
)
def test_a_row_costs_the_same_however_many_trials_are_open(changes: dict[str, Any], free: bool) -> None:
    calls = []
    for running in (64, 640):
        s = search(budget=samplers.Budget(units=3 * running * changes.get("seeds", 1)), generation=running, **changes)
        assert s.free == free
        p = planner(s)
        units = p.ask(running * s.seeds)
        rows = [row_of(u, s) for u in units[: 16 * s.seeds]]
        calls.append(calls_of(lambda p=p, rows=rows: [p.tell(row) for row in rows]))
    assert calls[1] <= 1.1 * calls[0], calls


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("deterministic", [True, False])
def test_what_samplers_share_of_the_space_is_what_each_finds_by_itself(seed: int, deterministic: bool) -> None:
    """Trials end in any order, some of them failed; the space is that of Optuna's own sampler of the trial."""
    s = search(sampler=samplers.Tpe(n_startup_trials=3), deterministic=deterministic, generation=4)
    p, draw = planner(s), random.Random(seed)
    assert sampler_of(s, 0, p._shared)._shared is p._shared  # type: ignore[attr-defined]
    running: list[Unit] = []
    spaces = set()
    while running := [*running, *p.ask(3)]:
        trials = p.study.get_trials(deepcopy=False)
        given, own = (sampler_of(s, 0, shared).infer_relative_search_space(p.study, trials[-1])
                      for shared in (p._shared, None))  # fmt: skip
        assert given == own and list(given) == list(own)
        spaces.add(tuple(given))
        row = row_of(running.pop(draw.randrange(len(running))), s)
        p.tell(row | ({"status": "failed", "loss": None} if draw.random() < 0.2 else {}))
    assert spaces == {(), ("x", "y")}


def calls_of(act: Callable[[], object]) -> int:
    """How many functions are called, each of Python and of C."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "cmaes", "nsga2"])
def test_a_search_finds_what_random_draws_do_not(name: str) -> None:
    budget = samplers.Budget(units=96)
    medians = {}
    for sampler in (name, "random"):
        best = sorted(
            min(r["loss"] for r in drive(search(sampler=SAMPLERS[sampler], budget=budget, seed=seed)))
            for seed in range(3)
        )
        medians[sampler] = best[1]
    assert medians[name] < medians["random"]


def test_start_points_come_first_and_what_they_leave_out_is_drawn() -> None:
    start = ({"x": 1.25, "method": "adam"}, {"x": -1.5})
    rows = {r["trial"]: r for r in drive(search(SPACE, start=start))}
    assert (rows[0]["x"], rows[0]["method"], rows[1]["x"]) == (1.25, "adam", -1.5)
    assert rows[0]["decay"] is not None and rows[0]["rate"] != rows[1]["rate"]


def test_budgets_of_seconds_and_operations_end_a_search() -> None:
    assert len(drive(search(budget=samplers.Budget(seconds=20)))) == 24, "the generation that runs is finished"
    assert len(drive(search(budget=samplers.Budget(seconds=20, units=10)))) == 10
    s = search(budget=samplers.Budget(seconds=9))
    assert table(resume(s, drive(s, shuffled(3), stop=12))) == table(drive(s))
    assert planner(s).total is None and planner(search(seeds=3)).total == 24


def test_a_budget_may_grow() -> None:
    small, large = search(), search(budget=samplers.Budget(units=40))
    assert table(resume(large, drive(small))) == table(drive(large))


def test_diverged_and_failed_units_and_those_without_the_metric() -> None:
    s = search(seeds=2)
    p = planner(s)
    units = p.ask(100)
    for unit in units:
        row = row_of(unit, s)
        if unit.params["trial"] == 0:
            row |= {"status": "diverged", "loss": None if unit.params["seed"] else 0.5}
        if unit.params["trial"] == 1 and unit.params["seed"]:
            row |= {"status": "failed", "loss": None}
        if unit.params["trial"] == 2:
            row |= {"loss": math.nan}
        p.tell(row)
    trials = p.study.get_trials()
    assert [t.state for t in trials[:4]] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.COMPLETE,
        TrialState.COMPLETE,
    ]
    assert [trials[0].value, trials[2].value] == [math.inf, math.inf]
    (a, b) = [row_of(u, s)["loss"] for u in units if u.params["trial"] == 3]
    assert trials[3].value == pytest.approx((a + b) / 2, rel=1e-15)


@pytest.mark.parametrize("value", ["abc", True, None])
def test_a_trial_without_a_number_for_a_goal_has_failed(value: object) -> None:
    """Whatever wrote such a row: the search goes on."""
    s = search(generation=1)
    p = planner(s)
    p.tell({**row_of(p.ask(1)[0], s), "loss": value})
    p.tell(row_of(p.ask(1)[0], s))
    assert [t.state for t in p.study.get_trials()[:2]] == [TrialState.FAIL, TrialState.COMPLETE]


@pytest.mark.parametrize("name", ["tpe", "nsga2", pytest.param("gp", marks=pytest.mark.slow), "random", "qmc"])
def test_several_goals_with_units_that_diverge(name: str) -> None:
    s = search(
        goals=(Goal("loss"), Goal("seconds", minimise=False)), sampler=SAMPLERS[name], budget=samplers.Budget(units=32)
    )
    p = planner(s)
    while not p.exhausted:
        for unit in p.ask(100):
            row = row_of(unit, s) | {"seconds": float(unit.params["y"] or 0)}  # type: ignore[arg-type]
            p.tell(row | ({"status": "diverged", "loss": None} if int(unit.params["trial"] or 0) % 3 == 0 else {}))
    front = [t.values for t in p.study.best_trials]
    assert front
    for (a, b), (c, d) in itertools.permutations(map(tuple, front), 2):
        assert not (a <= c and b >= d and (a, b) != (c, d)), "no point of a front is better than another"
