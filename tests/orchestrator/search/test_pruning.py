"""Pruning: it depends on neither order nor resumes, and its verdicts are those of Optuna."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from optuna.trial import TrialState

from landsweep.orchestrator.row import Progress
from landsweep.orchestrator.search import Search, samplers
from tests.orchestrator.search.driven import planner, row_of, search, table

PRUNERS: list[samplers.PrunerSpec] = [
    samplers.Median(method="median", n_startup_trials=4),
    samplers.Halving(method="halving", min_resource=2, reduction_factor=2),
    samplers.Hyperband(method="hyperband", min_resource=2, max_resource=16, reduction_factor=2),
]


def pruned_run(s: Search, rows: Sequence[dict[str, Any]], series: Sequence[Progress], seed: int, stop: int) -> Any:
    """Units report their loss at steps 1 to 16, all at the same time, in an order that `seed` shuffles."""
    p, rng = planner(s), random.Random(seed)
    ended, reports, stopped = list(rows), list(series), dict[str, int]()
    p.report(series)
    for row in rows:
        p.tell(row)
    while not p.exhausted and len(ended) < stop:
        units = p.ask(100)
        running = {u.key: u for u in units}
        for step in range(1, 17):
            for key in rng.sample(sorted(running), len(running)):
                if key not in running:
                    continue
                loss = row_of(running[key], s)["loss"] + 1 / step
                reports.append(Progress(key, step, {"loss": loss, "other": 0.0}))
                for other in p.report([reports[-1]]):
                    stopped.setdefault(other, step)
                if key in stopped and stopped[key] < step:  # it hears of it one step later
                    del running[key]
        for unit in rng.sample(units, len(units)):
            if len(ended) < stop:
                ended.append(row_of(unit, s) | ({"status": "pruned"} if unit.key in stopped else {}))
                p.tell(ended[-1])
    done = {r["key"] for r in ended}
    return ended, [r for r in reports if r.key in done], stopped, p


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda p: p.method)
@pytest.mark.parametrize("seeds", [1, 2])
def test_what_is_pruned_depends_on_neither_order_nor_resumes(pruner: samplers.PrunerSpec, seeds: int) -> None:
    s = search(pruner=pruner, budget=samplers.Budget(units=64), seeds=seeds)
    rows, _, stopped, p = pruned_run(s, [], [], 1, 10**9)
    again, *_, stopped_again, _ = pruned_run(s, [], [], 2, 10**9)
    assert table(rows) == table(again) and stopped == stopped_again
    pruned = [t for t in p.study.get_trials() if t.state is TrialState.PRUNED]
    assert 4 <= len(pruned) < 64 // seeds and len(stopped) == seeds * len(pruned)
    assert all(t.last_step == stopped[u] for t in pruned for u in stopped if t.number == trial_of(rows, u))
    for stop in (11, 30):
        part, series, *_ = pruned_run(s, [], [], 3, stop)
        assert table(pruned_run(s, part, series, 4, 10**9)[0]) == table(rows)


def trial_of(rows: Sequence[Mapping[str, Any]], key: str) -> int:
    return next(int(r["trial"]) for r in rows if r["key"] == key)


def test_pruning_is_optunas_own_where_one_trial_runs_at_a_time() -> None:
    """One trial after another, the verdicts must be those of Optuna's own loop with the same values."""
    import optuna

    s = search(pruner=PRUNERS[1], generation=1, budget=samplers.Budget(units=30))
    rows, _, stopped, p = pruned_run(s, [], [], 1, 10**9)
    study = optuna.create_study(study_name="s", pruner=optuna.pruners.SuccessiveHalvingPruner(2, 2, 0, 0))
    for row in sorted(rows, key=lambda r: r["trial"]):
        study.enqueue_trial({"x": row["x"], "y": row["y"]})
        trial = study.ask({d.name: optuna.distributions.FloatDistribution(-2, 2) for d in s.dimensions})
        at = None
        for step in range(1, 17):
            trial.report(row["loss"] + 1 / step, step)
            if trial.should_prune():
                at = step
                break
        assert at == stopped.get(row["key"])
        study.tell(trial, None if at else row["loss"], state=TrialState.PRUNED if at else None)
    assert [t.state for t in study.get_trials()] == [t.state for t in p.study.get_trials()]
