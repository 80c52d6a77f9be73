"""The numbers of a report: metrics, counts, times, headlines of errors, tables as files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from landsweep.orchestrator.report.parts import PageSection, Report, Table
from landsweep.orchestrator.report.tables import counts, headline, metric_table, times
from landsweep.orchestrator.row import Column, Status
from tests.orchestrator.report.demo_page import TRACEBACK, shown, table


def test_tables_with_a_name_are_files_with_all_digits(tmp_path: Path) -> None:
    rows, head = table([{"x": 1}], [{"loss": 1.0}])
    part = Table("c", ["a", "b", "c"], [[1 / 3, None, "x,y"], [math.nan, True, "z"]], name="some optima", digits=3)
    page = shown(rows, head, tmp_path, Report([PageSection("S", [part])]))
    assert "0.333" in page.words and "0.3333" not in page.words
    file = tmp_path / "report" / "tables" / "some-optima.csv"
    assert file.read_text(encoding="utf-8") == 'a,b,c\n0.3333333333333333,,"x,y"\n,True,z\n'
    assert "tables/some-optima.csv" in page.sources
    shown(rows, head, tmp_path)
    assert not file.exists(), "tables of the report before are gone"


def test_the_table_of_metrics_against_numpy() -> None:
    values = [1.0, 2.0, 4.0, math.nan, math.inf]
    rows, _ = table([{"x": i} for i in range(6)], [*({"m": v} for v in values), {}], {5: (Status.diverged, "x")})
    found = metric_table(rows, [Column("m", "meaning", "s")])
    assert found is not None
    expected = (7 / 3, float(np.std([1, 2, 4], ddof=1)), 1.0, 2.0, 4.0)
    assert list(found.lines[0]) == ["m [s]", "meaning", 3, 2, *map(pytest.approx, expected)]


def test_counts_and_times() -> None:
    bad = {0: (Status.failed, "x"), 1: (Status.diverged, "y")}
    rows, _ = table([{"x": i} for i in range(4)], [{}] * 4, bad)
    assert counts(rows, 10) == {"ok": 2, "diverged": 1, "failed": 1, "failed: error": 1, "not yet run": 6}
    rows["ended"] = [100.0, 101.0, 5000.0, 5001.0]  # resumed after a pause of more than an hour
    rows["seconds"] = [1.0, 1.0, 1.0, 1.0]
    found = times(rows)
    assert found["unit_seconds"] == 4
    assert found["elapsed_seconds"] == 4, "the pause does not count"
    assert found["units_per_second"] == 1
    assert times(rows.iloc[:0]) == {}


def test_headlines_of_errors() -> None:
    assert headline(TRACEBACK) == "ValueError: <b>bad</b>"
    assert headline(f"member 1 of 2: {TRACEBACK}") == "member 1 of 2: ValueError: <b>bad</b>"
    assert headline("worker died (signal 11)\nmore") == "worker died (signal 11)"
    chained = "During handling of the above exception, another exception occurred:"
    two = f"{TRACEBACK}\n{chained}\n\n{TRACEBACK.replace('ValueError', 'KeyError')}"
    assert headline(two) == "KeyError: <b>bad</b>"
    assert headline(TRACEBACK.rstrip() + "\nsecond line of the message\n  third") == "ValueError: <b>bad</b>"
    assert headline(None) == headline(float("nan")) == "no message"
