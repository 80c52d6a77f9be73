"""What every kind must do. Inherit `KindSuite` in a test file and set its `kind`.

The suite runs the example of the kind for real: planner, preparations, workers, ledger, report.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest

from landsweep.orchestrator.report import render
from landsweep.orchestrator.row import METERS, SERIES, RowMaker
from landsweep.orchestrator.run.executors.base import Executor
from landsweep.orchestrator.run.executors.local import LocalExecutor
from landsweep.orchestrator.run.plan import planned
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.chaos import DyingExecutor, StoppingExecutor

__all__ = ["KindSuite", "QuietWatch", "metrics_of", "run_example", "same"]

_AT_ONCE = 10**6  # shard seconds that put all units into few shards


class QuietWatch:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show(self, snapshot: Snapshot) -> None:
        pass


def run_example(
    kind: Any,  # noqa: ANN401 - any kind
    spec: Spec,
    folder: str | Path,
    site: Site | None = None,
    executor: Executor | None = None,
) -> Snapshot:
    """Run a spec into `folder`, in this process unless an executor or a site says otherwise."""
    site = site or Site(executor="local")
    return run_sweep(kind, spec, site, folder, folder=Path.cwd(), watch=QuietWatch(), executor=executor)


def metrics_of(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Key to status, params and metrics of each row: all but the meters, which may differ between runs."""
    table = Ledger.open(Store.at(folder)).rows()
    meters = {f.name for f in table.schema if b"meter" in (f.metadata or {})}
    left_out = {c.name for c in METERS} - {"status"} | meters
    rows = table.drop_columns([c for c in table.column_names if c in left_out]).to_pylist()
    assert len({r["key"] for r in rows}) == len(rows), "a unit has two rows"
    return {r.pop("key"): r for r in rows}


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Equal rows; nan equals nan."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


class KindSuite:
    """Tests of the contract in `landsweep.orchestrator.kind`."""

    kind: ClassVar[Any]
    golden: ClassVar[Path | None] = None  # rows that the example must give
    golden_tolerance: ClassVar[float] = 0.0  # relative
    golden_sample: ClassVar[float] = 0.0  # what one sample on the edge counts for in an accuracy

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
        """The example's results folder and rows, run once for the class."""
        folder = tmp_path_factory.mktemp("example")
        end = run_example(cls.kind, cls.kind.example(), folder)
        assert end.phase == "done"
        return folder, metrics_of(folder)

    def test_the_plan_is_the_same_twice_and_its_keys_are_unique(self) -> None:
        once, twice = (list(planned(self.kind, self.kind.example())) for _ in range(2))
        assert once == twice
        assert len({u.key for u in once}) == len(once) > 0

    def test_the_spec_survives_json(self) -> None:
        spec = self.kind.example()
        again = self.kind.parse(json.loads(json.dumps(spec.model_dump(mode="json"))), "json")
        assert again == spec
        assert again.fingerprint() == spec.fingerprint()

    def test_all_columns_have_names_of_their_own_and_say_what_they_mean(self) -> None:
        spec = self.kind.example()
        columns = [*self.kind.params(spec), *(self.kind.columns(spec) or ())]
        names = RowMaker(self.kind.params(spec), self.kind.columns(spec)).schema().names
        assert len(set(names)) == len(names)
        assert all(c.doc for c in columns)

    def test_every_unit_of_the_example_ends_well(self, reference: tuple[Path, dict[str, dict[str, Any]]]) -> None:
        folder, rows = reference
        first = {u.key for u in planned(self.kind, self.kind.example())}
        adaptive = self.kind.planner(self.kind.example()).adaptive  # then the first units are not all
        assert first <= set(rows) if adaptive else first == set(rows)
        assert set(Sweep.at(folder).keys()) == set(rows)
        assert {r["status"] for r in rows.values()} == {"ok"}

    def test_params_are_in_the_rows(self, reference: tuple[Path, dict[str, dict[str, Any]]]) -> None:
        _, rows = reference
        for unit in planned(self.kind, self.kind.example()):
            for name, value in unit.params.items():
                assert rows[unit.key][name] == value

    @pytest.mark.parametrize("shard_seconds", [1e-9, _AT_ONCE])
    def test_rows_do_not_depend_on_the_shards(
        self, reference: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path, shard_seconds: float
    ) -> None:
        run_example(self.kind, self.kind.example(), tmp_path, Site(executor="local", shard_seconds=shard_seconds))
        assert same(metrics_of(tmp_path), reference[1])

    @pytest.mark.parametrize("seed", range(3))
    def test_dying_workers_lose_and_repeat_nothing(
        self, reference: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path, seed: int
    ) -> None:
        dying = DyingExecutor(LocalExecutor(), share_lost=0.4, seed=seed)
        run_example(self.kind, self.kind.example(), tmp_path, Site(shard_seconds=0.01), dying)
        assert same(metrics_of(tmp_path), reference[1])

    def test_a_second_run_computes_nothing(self, reference: tuple[Path, dict[str, dict[str, Any]]]) -> None:
        folder, rows = reference
        end = run_example(self.kind, self.kind.example(), folder)
        assert (end.new, end.done, end.phase) == (0, len(rows), "done")

    def test_a_stopped_run_goes_on(self, reference: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path) -> None:
        site = Site(executor="local", shard_seconds=1e-9)
        spec, executor = self.kind.example(), StoppingExecutor(1)
        options: dict[str, Any] = {"folder": Path.cwd(), "executor": executor, "stop": executor.enough}
        first = run_sweep(self.kind, spec, site, tmp_path, watch=QuietWatch(), **options)
        assert first.phase == "stopped"
        assert 0 < first.new <= len(reference[1])
        run_example(self.kind, spec, tmp_path)
        assert same(metrics_of(tmp_path), reference[1])

    def test_the_report_is_made_from_rows_alone(
        self, reference: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path
    ) -> None:
        sweep = Sweep(Ledger.open(Store.at(reference[0])))
        for rows in (sweep.rows(), sweep.rows().iloc[:1], sweep.rows().iloc[:0]):
            report = self.kind.report(sweep.spec, rows, sweep.series())
            page = render(report, {"spec": dict(sweep.manifest["spec"])}, rows, sweep.series(), tmp_path)
            assert "<html" in page.read_text(encoding="utf-8")
            assert all(math.isfinite(v) for v in report.summary.values())

    def test_the_report_stands_rows_that_failed(
        self, reference: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path
    ) -> None:
        sweep = Sweep(Ledger.open(Store.at(reference[0])))
        rows = sweep.rows()
        metrics = [c for c in rows.columns if c not in {m.name for m in METERS} | {"key"} | set(self._params())]
        rows[metrics] = rows[metrics].astype(object)  # a column of flags holds no null
        rows.loc[: len(rows) // 2, metrics] = None
        rows["status"] = ["failed" if i <= len(rows) // 2 else "ok" for i in range(len(rows))]
        series = pd.DataFrame({name: [] for name in SERIES.names})
        report = self.kind.report(sweep.spec, rows, series)
        assert render(report, {"spec": dict(sweep.manifest["spec"])}, rows, series, tmp_path).is_file()

    def _params(self) -> list[str]:
        return [c.name for c in self.kind.params(self.kind.example())]

    def test_rows_equal_the_golden_file(self, reference: tuple[Path, dict[str, dict[str, Any]]]) -> None:
        if self.golden is None:
            pytest.skip("this kind has no golden file")
        expected = json.loads(self.golden.read_text(encoding="utf-8"))
        _, rows = reference
        assert set(rows) == set(expected)
        for key, row in expected.items():
            for name, value in row.items():
                if isinstance(value, float):
                    one = self.golden_sample if "accuracy" in name else 0
                    assert rows[key][name] == pytest.approx(value, rel=self.golden_tolerance, abs=one), (key, name)
                else:
                    assert rows[key][name] == value, (key, name)
