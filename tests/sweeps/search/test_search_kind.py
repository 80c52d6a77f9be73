"""The search kind: real trials in packs, pruned ones among them; kills; best settings that run."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import ray
from optuna.trial import TrialState

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.kind import Workbench, kind_named
from landsweep.orchestrator.row import Outcome, Progress, Status
from landsweep.orchestrator.run.plan import planned
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.search import StudyPlanner, best_points, write_study
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example, same
from landsweep.sweeps.lab.training_units.meters import METERS
from landsweep.sweeps.search.best import best_text
from landsweep.sweeps.search.kind import search_of
from landsweep.sweeps.search.spec import SearchSpec
from landsweep.sweeps.search.table import front_of, trials_of
from tests.support.searches import (
    KIND,
    TINY_RECIPE,
    function_search,
    kind_of,
    tiny_search,
)

EXAMPLE = KIND.example()
SPEEDS = {column.name for column in METERS}  # of two trainings they differ


def rows_of(spec: SearchSpec, folder: Path, **site: Any) -> pd.DataFrame:
    end = run_example(KIND, spec, folder, Site(**({"executor": "local"} | site)))
    assert end.phase == "done"
    return Sweep.at(folder).rows().sort_values(["trial", "seed"], ignore_index=True)


def test_a_pruned_model_leaves_its_pack_and_its_neighbours_are_bitwise_untouched() -> None:
    spec = tiny_search(target={"metric": "test_accuracy", "at_least": 0.5})
    units = list(planned(KIND, spec))

    def train(stop: str | None) -> tuple[dict[str, Outcome], dict[str, list[Progress]]]:
        seen: dict[str, list[Progress]] = {u.key: [] for u in units}
        bench = Workbench(stopped=lambda key: key == stop and len(seen[key]) >= 2)
        ended = {}
        for item in KIND.open(spec, {}, bench).evaluate(units):
            if isinstance(item, Progress):
                seen[item.key].append(item)
            elif item is not None:
                metrics = {name: value for name, value in item.metrics.items() if name not in SPEEDS}
                ended[item.key] = replace(item, seconds=None, metrics=metrics)
        return ended, seen

    alone, _ = train(None)
    pruned, seen = train(units[3].key)
    assert {o.metrics["pack_size"] for o in alone.values()} == {8}
    for unit in units:
        if unit is not units[3]:
            assert pruned[unit.key] == alone[unit.key], "bit for bit"
    outcome = pruned[units[3].key]
    assert outcome.status is Status.pruned and outcome.error == f"stopped after step {outcome.metrics['steps_done']}"
    steps = int(str(outcome.metrics["steps_done"]))
    assert 20 <= steps < 60 and outcome.metrics["flops"] == flops_of(steps)
    assert outcome.metrics["test_loss"] == seen[units[3].key][-1].metrics["test_loss"]


def test_pruned_trials_stop_early_in_a_real_search_and_are_results(tmp_path: Path) -> None:
    spec = tiny_search(
        budget={"units": 48},
        sampler={"method": "random"},
        generation=16,
        pruner={"method": "median", "n_startup_trials": 4},
    )
    rows = rows_of(spec, tmp_path)
    pruned = rows[rows["status"] == "pruned"]
    assert set(rows["status"]) <= {"ok", "pruned", "diverged"} and 4 <= len(pruned) < 32
    assert (pruned["trial"] >= 16).all(), "in the first generation there is nothing to compare with"
    assert (pruned["steps_done"] < 60).any() and (pruned["steps_done"] <= 60).all()
    sweep = Sweep.at(tmp_path)
    planner = sweep.planner()
    assert isinstance(planner, StudyPlanner) and planner.exhausted
    states = {t.number: t.state for t in planner.study.get_trials()}
    assert {n for n, s in states.items() if s is TrialState.PRUNED} >= set(pruned["trial"])
    median = rows[rows["status"] == "ok"]["test_loss"].median()
    assert (pruned["test_loss"] > median).mean() > 0.7
    found = sweep.ledger.verify(sweep.keys())
    assert found.sound and not found.missing and not found.unexpected


def test_steps_to_the_target_and_its_censoring_are_those_of_the_series(tmp_path: Path) -> None:
    spec = tiny_search(
        target={"metric": "test_accuracy", "at_least": 0.6},
        goals=[{"minimise": "steps_to_target"}],
        sampler={"method": "tpe"},
    )
    rows = rows_of(spec, tmp_path)
    series = Sweep.at(tmp_path).series()
    for _, row in rows.iterrows():
        curve = series[(series["key"] == row["key"]) & (series["metric"] == "test_accuracy")].sort_values("step")
        hits = curve[curve["value"] >= 0.6]["step"]
        assert row["target_reached"] == bool(len(hits))
        assert row["steps_to_target"] == (hits.iloc[0] if len(hits) else 60)
    assert rows["target_reached"].any() and not rows["target_reached"].all()


def test_a_goal_may_be_the_best_on_a_split_that_chooses(tmp_path: Path) -> None:
    recipe = TINY_RECIPE | {
        "data": TINY_RECIPE["data"] | {"validation": 100},
        "evaluate": {"every_steps": 10, "splits": ["test", "validation"]},
    }
    spec = tiny_search(recipe=recipe, goals=[{"minimise": "best_validation_loss"}], budget={"units": 4})
    rows, told = rows_of(spec, tmp_path), Sweep.at(tmp_path).series()
    for _, row in rows.iterrows():
        own = told[told["key"] == row["key"]]
        for name, best in (("loss", min), ("accuracy", max)):
            seen = own[own["metric"] == f"validation_{name}"]["value"]
            assert row[f"best_validation_{name}"] == best(seen)
    with pytest.raises(SpecError, match="no metric 'best_validation_loss'"):
        tiny_search(goals=[{"minimise": "best_validation_loss"}])


def flops_of(steps: int) -> float:
    """64-8-10 units, two operations for each weight and sample, three passes, batches of 32.

    The first layer needs no gradient of its inputs. An epoch of 1,400 samples ends with a batch of 24, its 44th.
    """
    return (steps * 32 - 8 * (steps // 44)) * 2.0 * (2 * 64 * 8 + 3 * 8 * 10)


def test_operations_are_counted(tmp_path: Path) -> None:
    rows = rows_of(tiny_search(budget={"flops": 1e7}), tmp_path)
    assert set(rows[rows["status"] == "ok"]["flops"]) == {flops_of(60)}
    assert len(rows) == 8, "the first generation of eight used it up"


def test_a_budget_of_operations_ends_twice_as_soon_with_two_gradients(tmp_path: Path) -> None:
    given = {"recipe": TINY_RECIPE | {"optimizer": {"method": "sam"}}, "generation": 1, "sampler": {"method": "tpe"}}
    rows = rows_of(tiny_search(**given, budget={"flops": 4 * flops_of(60)}), tmp_path)
    assert set(rows["flops"]) == {2 * flops_of(60)} and len(rows) == 2
    assert set(rows["gradient_evaluations"]) == {120}


def test_searches_that_counted_otherwise_are_not_mixed_with_new_ones() -> None:
    assert "flops" in tiny_search().context() and "flops" not in function_search().context()


def test_wherever_a_search_is_cut_the_next_trials_are_the_same(tmp_path: Path) -> None:
    """In the middle of a generation too, where a sampler looks at what it drew for the trials that still run."""
    rows_of(EXAMPLE, tmp_path)
    rows = {row["trial"]: row for row in Ledger.open(Store.at(tmp_path)).rows().to_pylist()}
    for done in range(len(rows)):
        planner = KIND.planner(EXAMPLE)
        for trial in range(done):
            planner.tell(rows[trial])
        asked = {u.params["trial"]: u.key for u in planner.ask(100)}
        assert asked == {trial: rows[trial]["key"] for trial in asked} and asked


def test_killed_with_sigkill_and_run_again_the_rows_are_the_same(tmp_path: Path) -> None:
    whole = rows_of(EXAMPLE, tmp_path / "whole")
    code = (
        "from pathlib import Path; from landsweep.orchestrator.run.start import run_sweep\n"
        "from landsweep.orchestrator.site import Site; from landsweep.orchestrator.testing.chaos import kill_at\n"
        "from landsweep.orchestrator.testing.kind_suite import QuietWatch\n"
        "from landsweep.sweeps.search.kind import SearchKind; kind = SearchKind()\n"
        "run_sweep(kind, kind.example(), Site(executor='local', commit_rows=1, shard_seconds=1e-9), {!r},\n"
        "          folder=Path.cwd(), watch=QuietWatch(), hook=kill_at('after-commit', {}))"
    )
    counts = [0]
    for nth in (3, 4):  # of the commits, one for each shard, whatever the machine's speed
        done = subprocess.run(
            [sys.executable, "-c", code.format(str(tmp_path / "killed"), nth)], capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        counts.append(len(metrics_of(tmp_path / "killed")))
    assert counts == sorted(set(counts)) and counts[-1] < len(whole), "rows are kept, and there is work left"
    rows_of(EXAMPLE, tmp_path / "killed")
    assert same(metrics_of(tmp_path / "killed"), metrics_of(tmp_path / "whole"))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_one_and_two_workers_try_the_same_with_pruning_too(tmp_path: Path) -> None:
    spec = tiny_search(
        recipe={
            **TINY_RECIPE,
            "steps": 3000,
            "evaluate": {"every_steps": 100, "splits": ["test"]},
        },  # a stop takes a moment
        budget={"units": 48},
        generation=16,
        seeds=2,
        sampler={"method": "tpe", "n_startup_trials": 6},
        pruner={"method": "halving", "min_resource": 100, "reduction_factor": 2},
    )
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        runs = [rows_of(spec, tmp_path / f"{n}", executor="ray", workers=n, shard_seconds=0.01) for n in (1, 2)]
    finally:
        ray.shutdown()
    chosen = ["key", "trial", "seed", "optimizer.learning_rate"]
    pd.testing.assert_frame_equal(runs[0][chosen], runs[1][chosen])
    assert any((r["status"] == "pruned").any() for r in runs)


def test_the_best_settings_are_a_spec_that_runs_and_gives_the_same_numbers(tmp_path: Path) -> None:
    spec = tiny_search(seeds=2)
    rows = rows_of(spec, tmp_path / "search")
    means = rows[rows["status"] == "ok"].groupby("trial")["test_loss"].agg(["mean", "count"])
    best = int(means[means["count"] == 2]["mean"].idxmin())
    file = tmp_path / "best.yaml"
    command = [Path(sys.executable).parent / "landsweep"]
    file.write_text(
        subprocess.run([*command, "best", str(tmp_path / "search")], capture_output=True, text=True, check=True).stdout
    )
    assert f"Trial {best} of the search s" in file.read_text()
    out = ["--out", str(tmp_path / "zoo"), "site.executor=local", "site.tracking=false", "backend=bmm"]
    subprocess.run([*command, "run", str(file), *out], check=True, capture_output=True)
    again = Sweep.at(tmp_path / "zoo").rows().sort_values("seed")
    assert list(again["test_loss"]) == list(rows[rows["trial"] == best]["test_loss"]), "bit for bit"
    with pytest.raises(UsageError, match="no trial 99"):
        best_text(spec, rows, 99)


def test_a_function_gets_names_values_and_seeds_and_its_best_call_runs(tmp_path: Path) -> None:
    spec = function_search(seeds=2, budget={"units": 24}, target={"metric": "loss", "at_most": 1.5})
    rows = rows_of(spec, tmp_path / "search")
    for _, row in rows.iterrows():
        assert row["loss"] == row["x"] ** 2 + row["seed"] + 0.1
        assert row["momentum_was"] == (row["method.sgd.momentum"] if row["method"] == "sgd" else 0.0)
        assert row["widths"] in ("[1,2]", "[3]") and row["total"] == 3.0
        reached = [s for s in range(1, 11) if row["x"] ** 2 + row["seed"] + 1 / s <= 1.5]
        assert (row["steps_to_target"], row["target_reached"]) == ((reached or [10])[0], bool(reached))
    trials = trials_of(rows, ["loss"], 2)
    assert len(trials) == 12 and trials["loss"].tolist() == pytest.approx((trials["x"] ** 2 + 0.6).tolist(), rel=1e-15)
    best = parse(kind_named("function").spec, _yaml(best_text(spec, rows)), "best")
    run_example(kind_named("function"), best, tmp_path / "best")
    again = Sweep.at(tmp_path / "best").rows()
    assert again["loss"].mean() == pytest.approx(trials["loss"].min(), rel=1e-15)


def test_the_best_call_has_an_axis_that_an_axis_can_be(tmp_path: Path) -> None:
    layers: dict[str, Any] = {"layers": {"choice": [[8], [16, 16]]}}
    wider = {"function": "tests.support.searches:wide", "seed_argument": None, "budget": {"units": 4}}
    spec = function_search(**wider, space=layers | {"x": {"uniform": [-2, 2]}})
    rows = rows_of(spec, tmp_path / "search")
    best = parse(kind_named("function").spec, _yaml(best_text(spec, rows)), "best")
    run_example(kind_named("function"), best, tmp_path / "best")
    assert list(Sweep.at(tmp_path / "best").rows()["loss"]) == [rows["loss"].min()]
    only = function_search(**wider, space=layers)
    assert _yaml(best_text(only, rows_of(only, tmp_path / "only")))["axes"]["layers"] == [[8]]
    odd = function_search(**wider, space={"layers": {"choice": [[math.inf], [-math.inf]]}})
    with pytest.raises(UsageError, match="an axis holds no nan or inf"):
        best_text(odd, rows_of(odd, tmp_path / "odd"), 0)


def _yaml(text: str) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_units_without_a_number_for_a_goal_fail_alone(tmp_path: Path) -> None:
    space = {"x": {"uniform": [-2, 2]}}
    given: dict[str, Any] = {"function": "tests.support.searches:sometimes", "seed_argument": None, "space": space}
    rows = rows_of(function_search(**given, budget={"units": 24}), tmp_path)
    assert len(rows) == 24
    for kind, error in {
        "none": "the goal loss is not among them; the function gave x_was",
        "text": "'no', no number",
    }.items():
        errors = rows[[kind_of(x) == kind for x in rows["x"]]]["error"]
        assert len(errors) and errors.str.contains(error, regex=False).all()
    assert (rows["status"] == "failed").tolist() == [kind_of(x) != "number" for x in rows["x"]]


def test_fronts_are_those_that_nothing_beats() -> None:
    rows = pd.DataFrame(
        {"trial": range(5), "status": "ok", "seconds": 1.0, "a": [1, 2, 3, 2, math.nan], "b": [5, 3, 4, 3, 0]}
    )
    trials = trials_of(rows, ["a", "b"], 1)
    assert front_of(trials, [("a", True), ("b", True)])["trial"].tolist() == [0, 1, 3]
    assert front_of(trials, [("a", False), ("b", True)])["trial"].tolist() == [2, 1, 3]


def test_studies_go_to_optunas_storages_and_come_back_as_start_points(tmp_path: Path) -> None:
    none = tmp_path / "none.db"
    with pytest.raises(UsageError, match="there is no file"):
        best_points(f"sqlite:///{none}", "s", 1)
    assert not none.exists()
    rows = rows_of(EXAMPLE, tmp_path / "s")
    sweep = Sweep.at(tmp_path / "s")
    planner, url = sweep.planner(), f"sqlite:///{tmp_path}/study.db"
    planner.ask(1)
    assert isinstance(planner, StudyPlanner)
    search = search_of(EXAMPLE)
    assert write_study(planner, search, url, "one") == (24, 24)
    assert write_study(planner, search, url, "one") == (0, 24)
    study = optuna.load_study(study_name="search-example", storage=url)
    values = {t.user_attrs["trial"]: t.value for t in study.get_trials()}
    assert values == dict(zip(rows["trial"], rows["test_loss"], strict=True))
    points = best_points(url, "search-example", 3)
    assert [p["net.hidden.0"] for p in points] == rows.sort_values("test_loss")["net.hidden.0"][:3].tolist()
    spec = EXAMPLE.model_copy(update={"enqueue": tuple(points)})
    first = sorted(planned(KIND, spec), key=lambda u: int(str(u.params["trial"])))
    assert [u.params["net.hidden.0"] for u in first[:3]] == [p["net.hidden.0"] for p in points]
    with pytest.raises(UsageError, match="no study 'other'; it has search-example"):
        best_points(url, "other", 1)
    with pytest.raises(UsageError, match="can't be used"):
        write_study(planner, search, "nonsense://x", "one")
    for t in study.get_trials():
        row = rows[rows["trial"] == t.user_attrs["trial"]].iloc[0]
        assert t.datetime_complete is not None and t.datetime_start is not None
        assert t.datetime_complete.timestamp() == pytest.approx(row["ended"], abs=1e-5)
        assert t.datetime_start.timestamp() == pytest.approx(row["ended"] - row["seconds"], abs=1e-5)


def test_the_password_of_a_storage_that_can_not_be_used_is_not_shown(tmp_path: Path) -> None:
    rows_of(EXAMPLE, tmp_path / "s")
    planner = Sweep.at(tmp_path / "s").planner()
    assert isinstance(planner, StudyPlanner)
    planner.ask(1)
    for url in ("postgresql://ann:cAnArY7xq@h/x", "mysql+none://ann:a/cAnArY7xq@h/x", "redis://:cAnArY7xq@h:x"):
        with pytest.raises(UsageError, match="can't be used") as written:
            write_study(planner, search_of(EXAMPLE), url, "one")
        with pytest.raises(UsageError, match="can't be used") as read:
            best_points(url, "s", 1)
        for said in (str(written.value), str(read.value)):
            assert "cAnArY7xq" not in said and f"the storage {url.partition(':')[0]}://" in said
