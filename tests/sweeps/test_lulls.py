"""Sessions of long units yield None now and then, so that what they have reported is not held back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.kind import Workbench, kind_named
from landsweep.orchestrator.row import Outcome, Progress, Status
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.lab.training_units import pack_run
from tests.support.programs import Programs
from tests.support.searches import KIND as SEARCH
from tests.support.searches import tiny_search

WAITING = """
import pathlib, time
def wait(folder):
    end = time.monotonic() + 60
    while not pathlib.Path(folder, "released").exists() and time.monotonic() < end:
        time.sleep(0.01)
    return pathlib.Path(folder, "released").exists()
"""


def released(items: Iterator[Outcome | Progress | None], folder: Path) -> list[Progress]:
    """Progress of a unit that waits for a file, which is made at the first lull after its second report."""
    progress: list[Progress] = []
    for item in items:
        if isinstance(item, Progress):
            progress.append(item)
        elif item is None and len(progress) == 2:
            (folder / "released").touch()
        elif isinstance(item, Outcome):
            assert item.status is Status.ok and item.metrics["went_on"], item
    return progress


def test_a_function_that_has_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = f"""
from landsweep import unit
def f(x):
    unit.report(1, loss=0.5)
    unit.report(2, loss=0.2)
    return {{"went_on": wait({str(tmp_path)!r})}}
"""
    (tmp_path / "users_lull.py").write_text(WAITING + body)
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = kind_named("function")
    spec = parse(kind.spec, {"name": "t", "function": "users_lull:f", "axes": {"x": [1]}}, "test")
    items = kind.open(spec, {}, Workbench(folder=tmp_path)).evaluate(kind.planner(spec).ask(1))
    assert [p.step for p in released(items, tmp_path)] == [1, 2]


def test_a_program_that_has_reported(tmp_path: Path) -> None:
    programs = Programs(tmp_path)
    body = f"""
report(step=1, loss=0.5)
report(step=2, loss=0.2)
report(went_on=wait({str(tmp_path)!r}))
"""
    spec = programs.spec(WAITING + body)
    kind: Any = kind_named("command")
    items = kind.open(spec, {}, programs.bench()).evaluate(kind.planner(spec).ask(1))
    assert [p.step for p in released(items, tmp_path)] == [1, 2]


def test_a_pack_that_has_been_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two evaluations of all of its models; a search passes that on."""
    monkeypatch.setattr(pack_run, "_TURN", -1.0)
    spec = tiny_search()
    units = SEARCH.planner(spec).ask(100)
    lulls: list[int] = []  # how much progress had come before each
    progress = 0
    for item in SEARCH.open(spec, {}, Workbench()).evaluate(units):
        progress += isinstance(item, Progress)
        if item is None:
            lulls.append(progress)
    assert {len(units), 2 * len(units)} <= set(lulls)
