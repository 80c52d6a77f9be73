"""A sweep as it is exported to MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from landsweep.orchestrator.row import Cause, Column, Outcome, RowMaker, Status
from landsweep.orchestrator.tracking.contents import UnitEntry
from landsweep.orchestrator.tracking.tracker import State, View, show_safely, tracker_of
from landsweep.orchestrator.unit import Keys

PARAMS = (Column("x", "", type="int"),)
HEAD: dict[str, Any] = {
    "id": "0123abcd",
    "kind": "function",
    "name": "demo",
    "fingerprint": "f" * 16,
    "spec": {
        "kind": "function",
        "name": "demo",
        "description": "a demo",
        "function": "a:b",
        "fixed": {"steps": 5, "deep": {"a%b": "y" * 7000}},
        "axes": {"x": {"range": [0, 4], "values": None, "threshold": 0.001}},
    },
    "context": {"function": "a:b", "fixed": {"steps": 5, "deep": {"a%b": "y" * 7000}}},
    "versions": {"python": "3.11", "torch": None},
    "git_commit": "abc",
    "host": "here",
    "command": ["run", "demo.yaml"],
    "created": 900.0,
    "params": PARAMS,
}


def tracked_rows(losses: list[float | None]) -> pd.DataFrame:
    """A row for each loss; None is a failed unit."""
    keys = Keys("function", 1, {})
    units = [keys.unit({"x": i}) for i in range(len(losses))]
    outcomes = [
        Outcome(u.key, {}, Status.failed, "Traceback ...", Cause.error)
        if loss is None
        else Outcome(u.key, {"loss": loss, "note": "7"})
        for u, loss in zip(units, losses, strict=True)
    ]
    meters = [{"attempt": 1, "ended": 1000.0 + i, "seconds": 1.0, "cpu_seconds": 1.0} for i in range(len(losses))]
    return RowMaker(PARAMS, None).batch(units, outcomes, meters).to_pandas()


def export_safely(
    rows: pd.DataFrame,
    report: Path,
    head: Mapping[str, Any],
    summary: Mapping[str, float],
    uri: str,
    units: Sequence[UnitEntry] = (),
) -> tuple[str | None, str]:
    """Show the end of a sweep; gives the id of its run, None where that failed, and what a user is told."""
    where = {"where": str(report.parent), **head}
    said = show_safely(tracker_of(uri), View(where, State.finished, rows, units, summary, report=report))
    words = said.split()
    return (words[2] if words[:2] == ["MLflow", "run"] else None), said
