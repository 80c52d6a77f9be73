"""Units as runs below the sweep's run, in a real SQLite store of MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from landsweep.orchestrator.row import Column, Outcome, RowMaker, Status
from landsweep.orchestrator.tracking.contents import UnitEntry, unit_entries
from landsweep.orchestrator.tracking.mlflow import export
from landsweep.orchestrator.tracking.store import default_uri
from landsweep.orchestrator.unit import Keys
from tests.support.tracking import export_safely

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)  # of mlflow's own imports

HEAD: dict[str, Any] = {"id": "77", "kind": "zoo", "name": "z", "spec": {}, "context": {}, "created": 900.0}
PARAMS = (Column("rate", ""), Column("seed", "", type="int"), Column("method", "", type="text"))


def rows_of(losses: list[float | None], ended: float = 1000.0) -> pd.DataFrame:
    """A row for each loss, None for a failed unit; already in the order of their worth."""
    keys = Keys("zoo", 1, {})
    units = [keys.unit({"rate": 0.1 * i, "seed": i, "method": None if i else "a method"}) for i in range(len(losses))]
    outcomes = [
        Outcome(u.key, {}, Status.failed, "Traceback")
        if x is None
        else Outcome(u.key, {"loss": x, "odd": float("nan")})
        for u, x in zip(units, losses, strict=True)
    ]
    meters = [{"attempt": 1, "ended": ended + i, "seconds": 2.0} for i in range(len(losses))]
    return RowMaker(PARAMS, None).batch(units, outcomes, meters).to_pandas()


def entries(rows: pd.DataFrame, most: int = 500) -> list[UnitEntry]:
    return unit_entries(rows, {c.name: c for c in PARAMS}, most)


def children(uri: str) -> dict[str, Any]:
    """By key, the runs of units."""
    from mlflow.entities import ViewType
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], run_view_type=ViewType.ALL)
    assert {r.info.lifecycle_stage for r in runs} <= {"active"}, "none is left that is only marked as deleted"
    return {r.data.tags["landsweep.unit"]: r for r in runs if "landsweep.unit" in r.data.tags}


def test_places_are_for_the_best_and_a_fifth_for_the_failed() -> None:
    rows = rows_of([1.0, None, 2.0, None, None, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    assert [u.status for u in entries(rows, 10)] == ["ok"] * 8 + ["failed"] * 2
    assert [u.metrics.get("loss") for u in entries(rows, 5)] == [1.0, 2.0, 3.0, 4.0, None]
    assert entries(rows.iloc[:0]) == [] and len(entries(rows)) == 12
    assert entries(rows, 0) == []


def test_units_are_found_again_changed_and_deleted(tmp_path: Path) -> None:
    uri, report = default_uri(tmp_path), tmp_path / "report"
    rows = rows_of([1.0, 3.0, None])
    run_id = export(rows, report, HEAD, {}, uri, units=entries(rows))
    first = children(uri)
    assert {k: r.data.tags["landsweep.status"] for k, r in first.items()} == dict(
        zip(rows["key"], rows["status"], strict=True)
    )
    one = first[rows["key"][0]]
    assert one.data.tags["mlflow.parentRunId"] == run_id
    assert one.data.params == {"rate": "0.0", "seed": "0", "method": "a method"}
    assert one.data.metrics == {"loss": 1.0, "seconds": 2.0}, "nan and what is missing are left out"
    assert (one.info.start_time, one.info.end_time, one.info.status) == (998_000, 1_000_000, "FINISHED")
    assert first[rows["key"][1]].data.params == {"rate": "0.1", "seed": "1"}
    assert first[rows["key"][2]].info.status == "FAILED"

    assert export(rows, report, HEAD, {}, uri, units=entries(rows)) == run_id
    assert {k: dict(r.info) for k, r in children(uri).items()} == {k: dict(r.info) for k, r in first.items()}

    again = rows_of([1.0, 2.5, 0.5], ended=2000.0)
    assert export(again, report, HEAD, {}, uri, units=entries(again, 2)) == run_id
    after = children(uri)
    assert set(after) == set(again["key"][:2]), "the third is no longer among the first"
    assert {k: r.info.run_id for k, r in after.items()} == {k: first[k].info.run_id for k in after}
    assert after[again["key"][1]].data.metrics["loss"] == 2.5


def test_an_export_that_broke_off_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store fails at the second unit: the command says so and ends well, and the next export completes it."""
    from mlflow.tracking import MlflowClient

    uri, rows = default_uri(tmp_path), rows_of([1.0, 3.0, 5.0])
    calls = {"n": 0}
    write = MlflowClient.log_batch

    def failing(self: Any, *args: Any, **given: Any) -> Any:
        calls["n"] += 1
        if calls["n"] == 3:  # the sweep's own, the first unit's, the second unit's
            raise OSError("disk full")
        return write(self, *args, **given)

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_batch", failing)
        run_id, said = export_safely(rows, tmp_path / "report", HEAD, {}, uri, units=entries(rows))
    assert run_id is None and "disk full" in said and "No row is lost" in said
    assert len(children(uri)) == 2
    export(rows, tmp_path / "report", HEAD, {}, uri, units=entries(rows))
    assert {r.data.metrics["loss"] for r in children(uri).values()} == {1.0, 3.0, 5.0}


def test_units_are_renamed_as_others_come_beside_them(tmp_path: Path) -> None:
    """While a sweep runs the first unit is shown alone, with nothing to tell it from."""
    uri, rows = default_uri(tmp_path), rows_of([1.0, 3.0])
    export(rows, tmp_path / "report", HEAD, {}, uri, units=entries(rows.iloc[:1]))
    (alone,) = children(uri).values()
    assert alone.info.run_name == f"ok {rows['key'][0][:8]}"
    export(rows, tmp_path / "report", HEAD, {}, uri, units=entries(rows))
    after = children(uri)
    assert after[rows["key"][0]].info.run_id == alone.info.run_id
    assert [after[key].info.run_name for key in rows["key"]] == [e.name for e in entries(rows)]
    assert after[rows["key"][0]].info.run_name.startswith("rate=0.0, seed=0")


def with_curves(rows: pd.DataFrame, points: int, metrics: int = 1, shift: float = 0.0) -> list[UnitEntry]:
    def series(keys: Sequence[str]) -> pd.DataFrame:
        lines = [(k, i, f"m{m}", i + shift) for k in keys for m in range(metrics) for i in range(points)]
        return pd.DataFrame(lines, columns=["key", "step", "metric", "value"])

    return unit_entries(rows, {c.name: c for c in PARAMS}, 500, series)


def history(uri: str, run: Any, metric: str) -> list[tuple[int, float]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric))


def test_curves_that_were_cut_off_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow writes at most a thousand numbers at once, the tags with the first of them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri, rows = default_uri(tmp_path), rows_of([1.0])
    units = with_curves(rows, points=200, metrics=6)
    write, large = SqlAlchemyStore.log_batch, list[int]()

    def failing(self: Any, run_id: str, metrics: Any, params: Any, tags: Any) -> Any:
        large.append(len(metrics))
        if len(large) > 1 and large[-2] > 900:
            raise OSError("killed here")
        return write(self, run_id, metrics, params, tags)

    with monkeypatch.context() as broken:
        broken.setattr(SqlAlchemyStore, "log_batch", failing)
        assert export_safely(rows, tmp_path / "report", HEAD, {}, uri, units=units)[0] is None
    export(rows, tmp_path / "report", HEAD, {}, uri, units=units)
    (run,) = children(uri).values()
    for m in range(6):
        assert history(uri, run, f"curve/m{m}") == [(i, float(i)) for i in range(200)]


@pytest.mark.parametrize(("metrics", "points"), [(1, 3), (5, 199)])
def test_the_state_of_a_unit_is_written_after_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: int, points: int
) -> None:
    """Wherever the store is killed at a commit, the next export completes the unit; a small unit has one batch."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    rows = rows_of([1.0])
    units = with_curves(rows, points=points, metrics=metrics)
    writes = ("_log_params", "_log_metrics", "_set_tags", "set_tag", "update_run_info")
    written: list[tuple[str, Any]] = []

    def noting(name: str, write: Any, most: int) -> Any:
        def call(self: Any, *args: Any, **given: Any) -> Any:
            if len(written) == most:
                raise OSError("killed here")
            written.append((name, args))
            return write(self, *args, **given)

        return call

    def exported(uri: str, most: int = 10_000) -> bool:
        written.clear()
        with monkeypatch.context() as watched:
            for name in writes:
                watched.setattr(SqlAlchemyStore, name, noting(name, getattr(SqlAlchemyStore, name), most))
            return export_safely(rows, tmp_path / "report", HEAD, {}, uri, units=units)[0] is not None

    assert exported(default_uri(tmp_path / "whole"))
    assert "landsweep.state" in str(written[-1]), "nothing is written after the state"
    steps = len(written)
    if points < 199:
        assert [name for name, _ in written[-4:]] == ["update_run_info", "_log_params", "_log_metrics", "_set_tags"]
    for most in range(steps - 5, steps):
        uri = default_uri(tmp_path / str(most))
        assert not exported(uri, most)
        assert not any("landsweep.state" in r.data.tags for r in children(uri).values())
        assert exported(uri)
        (run,) = children(uri).values()
        assert run.info.status == "FINISHED" and "landsweep.state" in run.data.tags and run.data.params["seed"] == "0"
        for m in range(metrics):
            assert history(uri, run, f"curve/m{m}") == [(i, float(i)) for i in range(points)]


def test_a_unit_that_was_computed_again_keeps_no_point_of_its_old_curve(tmp_path: Path) -> None:
    uri, rows = default_uri(tmp_path), rows_of([1.0, 2.0])
    export(rows, tmp_path / "report", HEAD, {}, uri, units=with_curves(rows, points=9))
    again = rows_of([1.5, 2.0], ended=1000.0)
    units = [with_curves(again, points=4, shift=0.5)[0], with_curves(rows, points=9)[1]]
    export(again, tmp_path / "report", HEAD, {}, uri, units=units)
    runs = children(uri)
    assert history(uri, runs[rows["key"][0]], "curve/m0") == [(i, i + 0.5) for i in range(4)]
    assert history(uri, runs[rows["key"][1]], "curve/m0") == [(i, float(i)) for i in range(9)]
    assert len(runs) == 2 and runs[rows["key"][0]].data.metrics["loss"] == 1.5


def test_two_runs_of_one_unit_become_one(tmp_path: Path) -> None:
    """A process that follows a sweep was killed, and its server made the run all the same, beside the driver's."""
    from mlflow.tracking import MlflowClient

    uri, rows = default_uri(tmp_path), rows_of([1.0])
    export(rows, tmp_path / "report", HEAD, {}, uri, units=entries(rows))
    (run,) = children(uri).values()
    client = MlflowClient(tracking_uri=uri)
    client.create_run(run.info.experiment_id, tags={k: v for k, v in run.data.tags.items() if k != "landsweep.state"})
    export(rows, tmp_path / "report", HEAD, {}, uri, units=entries(rows))
    runs = client.search_runs([run.info.experiment_id], f"tags.`landsweep.unit` = '{rows['key'][0]}'")
    assert len(runs) == 1 and runs[0].data.metrics["loss"] == 1.0


def test_what_is_no_setting_or_number_is_left_out() -> None:
    (entry,) = entries(rows_of([0.25]))
    assert entry.params == {"rate": "0.0", "seed": "0", "method": "a method"} and entry.metrics == {
        "loss": 0.25,
        "seconds": 2.0,
    }
    assert entry.began == 998.0
    assert entry.digest == entries(rows_of([0.25]))[0].digest != entries(rows_of([0.5]))[0].digest
