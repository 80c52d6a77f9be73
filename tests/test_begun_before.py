"""Sweeps that an earlier version began go on with this one: `golden/begun` holds one of each kind, stopped on the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrator.kind import kind_named
from orchestrator.ledger import Ledger, Store
from orchestrator.testing.kind_suite import metrics_of, run_example
from orchestrator.unit import canonical

BEGUN = sorted((Path(__file__).parent / "golden" / "begun").iterdir())


@pytest.mark.parametrize("begun", BEGUN, ids=lambda p: p.name)
def test_a_sweep_of_an_earlier_version_goes_on(begun: Path, tmp_path: Path) -> None:
    """It keeps its rows, computes the others, and ends as a sweep that this version ran alone."""
    shutil.copytree(begun, tmp_path / "sweep")
    kind = kind_named(begun.name)
    spec = kind.example()
    before = metrics_of(tmp_path / "sweep")
    end = run_example(kind, spec, tmp_path / "sweep")
    assert before and end.new == end.done - len(before) > 0
    after = metrics_of(tmp_path / "sweep")
    run_example(kind, spec, tmp_path / "alone")
    alone = metrics_of(tmp_path / "alone")
    if not kind.planner(spec).listens:  # what a planner that listens proposes depends on the last bits of its rows
        assert after.keys() == alone.keys()
    assert len(after) == len(alone)
    for key, row in before.items():
        assert canonical({name: after[key][name] for name in row}) == canonical(row), "a row of before is as it was"
    assert Ledger.open(Store.at(tmp_path / "sweep")).verify(list(after)).sound
