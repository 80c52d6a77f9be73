"""What must hold of a results folder whatever has happened to the processes that wrote it."""

from __future__ import annotations

from pathlib import Path

from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import metrics_of


def assert_undisturbed(folder: Path | str, units: int) -> None:
    rows = metrics_of(folder)
    assert sorted((r["i"], r["square"], r["root"], r["status"]) for r in rows.values()) == [
        (i, float(i * i), i**0.5, "ok") for i in range(units)
    ]
    series = Ledger.open(Store.at(folder)).series().to_pylist()
    place = {key: r["i"] for key, r in rows.items()}
    assert sorted((place[s["key"]], s["step"], s["metric"], s["value"]) for s in series) == [
        (i, step, "half", i / 2 + step) for i in range(units) for step in (0, 1)
    ]
    sweep = Sweep(Ledger.open(Store.at(folder)))
    found = sweep.ledger.verify(sweep.keys())
    assert found.sound and not found.missing, found


def verified(folder: Path) -> bool:
    sweep = Sweep(Ledger.open(Store.at(folder)))
    found = sweep.ledger.verify(sweep.keys())
    return found.sound and not found.missing
