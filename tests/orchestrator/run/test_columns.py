"""Columns of all units together: units that would make too many fail alone, and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.row import METERS, Outcome, Status
from landsweep.orchestrator.run import buffer, columns
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.orchestrator.unit import Unit
from tests.support.paths import ROOT

FIXED = 2 + len(METERS)  # key, the param i, and the meters


def of_its_own(i: int) -> dict[str, float]:
    """Every third unit has names of its own; the others share one."""
    own = {f"own {i} {j}": float(j) for j in range(10)} if i % 3 == 0 else {}
    return {"shared": float(i), **own}


def run(folder: Path, units: int, site: Site) -> list[dict[str, object]]:
    kind = kind_named("function")
    function = f"{__name__}:of_its_own"
    data = {"kind": "function", "name": "own", "function": function, "axes": {"i": {"range": units}}}
    run_sweep(kind, parse(kind.spec, data, "test"), site, folder, folder=ROOT, watch=QuietWatch())
    ledger = Ledger.open(Store.at(folder))
    assert ledger.verify().sound
    return sorted(ledger.rows().to_pylist(), key=lambda row: row["i"])


@pytest.mark.parametrize("shard_seconds", [0.001, 10], ids=["one by one", "all in one message"])
def test_units_that_would_make_too_many_columns_fail_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_seconds: float
) -> None:
    monkeypatch.setattr(columns, "_MOST", FIXED + 21)
    monkeypatch.setattr(columns, "_ALWAYS", 0)
    site = Site(executor="local", tracking=False, shard_seconds=shard_seconds, commit_seconds=0.01)
    rows = run(tmp_path, 12, site)
    assert [row["status"] for row in rows] == ["ok"] * 6 + ["failed", "ok", "ok", "failed", "ok", "ok"]
    assert {row["cause"] for row in rows if row["status"] == "failed"} == {"error"}
    error = str(rows[6]["error"])
    assert "10 metrics that no unit before it has (own 6 0, own 6 1, own 6 2, ...)" in error
    assert f"has {FIXED + 21} columns and may have {FIXED + 21}" in error and "yield what differs as a series" in error
    assert not any(name.startswith(("own 6", "own 9")) for name in rows[0])
    assert [row["shared"] for row in rows] == [None if i in (6, 9) else i for i in range(12)]
    assert rows[3]["own 3 9"] == 9.0

    more = run(tmp_path, 18, site)  # a new driver knows what is there
    assert more[:12] == rows
    assert [row["status"] for row in more[12:]] == ["failed", "ok", "ok"] * 2


def test_large_sweeps_may_have_fewer_columns_but_never_fewer_than_a_thousand() -> None:
    assert [columns.most_columns(n) for n in (None, 0, 10_000, 40_000, 10**6)] == [20_000, 20_000, 20_000, 5_000, 1_000]


def test_a_message_holds_so_many_cells_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "_CELLS", 100)
    waiting = buffer.Buffer()
    for i in range(4):
        assert not waiting.full
        waiting.add(Unit(str(i), {}), Outcome(str(i), {f"m{i} {j}": 0.0 for j in range(8)}, status=Status.ok), {})
    assert waiting.full, "4 rows of 32 columns"
    waiting.clear()
    assert not waiting.full and waiting == buffer.Buffer()
