"""What running units have reported is there for others before their rows are, and gone when they have ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.row import Progress
from landsweep.orchestrator.run.running_curves import RunningCurves
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.ledger.running import MOST_RUNNING, read_running
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.orchestrator.unit import Keys

UNITS = [Keys("demo", 1, {}).unit({"x": x}) for x in range(80)]


def looking(x: int, folder: str) -> Iterator[dict[str, Any]]:
    """Gives a curve, and looks from outside at what is known of itself before it ends."""
    for step in range(4):
        time.sleep(0.03)  # reports are sent at most every 20 ms
        yield {"loss": float(10 * x + step), "step": step}
    seen, losses = [], []
    for step in range(9, 200):  # a busy driver writes later
        time.sleep(0.03)
        yield {"loss": -1.0, "step": step}
        seen = read_running(Store.at(folder))
        losses = [[point["loss"] for point in unit.steps.values()][:4] for unit in seen]
        if losses and len(losses[0]) == 4:
            break
    yield {"loss": 0.0, "step": 200, "saw": json.dumps([[dict(unit.params)["x"] for unit in seen], losses])}


def test_a_running_unit_is_seen_with_its_params_and_its_curve(tmp_path: Path) -> None:
    kind = kind_named("function")
    axes = {"x": [1, 2], "folder": [str(tmp_path)]}
    spec = kind.parse({"name": "seen", "function": f"{__name__}:looking", "axes": axes, "deterministic": False}, "s")
    run_example(kind, spec, tmp_path, Site(executor="local", commit_seconds=1e-6, workers=1))
    rows = Sweep.at(tmp_path).rows()
    assert set(rows["status"]) == {"ok"}
    for x, saw in zip(rows["x"], rows["saw"], strict=True):
        params, losses = json.loads(saw)
        assert params == [x] and losses == [[10.0 * x + step for step in range(4)]]
    assert not (tmp_path / "running.json").exists()


@pytest.fixture
def curves(tmp_path: Path) -> RunningCurves:
    (tmp_path / "running.json").write_text("{of a driver that was killed")
    return RunningCurves(Store.at(tmp_path), 0.0, pytest.fail)


def seen(tmp_path: Path) -> dict[int, list[int]]:
    return {int(str(u.params["x"])): list(u.steps) for u in read_running(Store.at(tmp_path))}


def test_units_that_have_ended_leave_and_what_was_left_behind_is_removed(curves: RunningCurves, tmp_path: Path) -> None:
    assert seen(tmp_path) == {}
    curves.write_if_due(0.0, lambda: UNITS)
    assert not (tmp_path / "running.json").exists()
    curves.take(Progress(unit.key, 1, {"loss": 1.0}) for unit in UNITS)
    curves.write_if_due(1e9, lambda: UNITS)
    assert set(seen(tmp_path)) == set(range(MOST_RUNNING))
    curves.take([Progress(UNITS[0].key, 2, {"loss": 1.0})])
    curves.write_if_due(2e9, lambda: UNITS[:1])
    assert seen(tmp_path) == {0: [1, 2]}
    curves.take([Progress(UNITS[70].key, 5, {"loss": 1.0})])  # there is room now
    curves.write_if_due(3e9, lambda: UNITS)
    assert seen(tmp_path) == {0: [1, 2], 70: [5]}
    curves.ended()
    assert not (tmp_path / "running.json").exists()


def test_long_curves_are_thinned_and_a_new_attempt_begins_anew(curves: RunningCurves, tmp_path: Path) -> None:
    curves.take(Progress(UNITS[0].key, step, {"loss": float(step)}) for step in range(5000))
    curves.write_if_due(1e9, lambda: UNITS)
    steps = seen(tmp_path)[0]
    assert steps == sorted(steps) and steps[0] < 100 and steps[-1] == 4999 and 128 <= len(steps) <= 256
    curves.take([Progress(UNITS[0].key, 0, {"loss": 1.0}), Progress(UNITS[0].key, 0, {"more": 2.0})])
    curves.write_if_due(2e9, lambda: UNITS)
    assert seen(tmp_path) == {0: [0]}
    assert read_running(Store.at(tmp_path))[0].steps == {0: {"loss": 1.0, "more": 2.0}}


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", '{"units": 3}', '{"units": {"k": 3}}', '{"units": {"k": {"params": 1, "steps": []}}}',
        '{"units": {"k": {"params": {"x": []}, "steps": [[1], [1e400, {}], ["a", {}], [2, 3], 5]}}}',
        '{"units": {"k": {"params": {}, "steps": [[1, {"loss": "<b>", "nan": NaN, "big": 1e400, "flag": true}]]}}}',
    ],
)  # fmt: skip
def test_whatever_the_file_holds_only_numbers_are_read(tmp_path: Path, content: str) -> None:
    (tmp_path / "running.json").write_text(content)
    for unit in read_running(Store.at(tmp_path)):
        assert not any(unit.steps.values()) and not unit.params


def test_of_thousands_of_metrics_the_first_ones_are_kept(curves: RunningCurves, tmp_path: Path) -> None:
    """Those of all steps of all units together fit into a file that others read at once."""
    metrics = {"x" * 1000: 0.0, **{f"m{i}": float(i) for i in range(5000)}}
    for step in range(300):
        curves.take(Progress(unit.key, step, metrics) for unit in UNITS[:2])
        curves.take(Progress(unit.key, step, {"late": 1.0, "m0": 7.0}) for unit in UNITS[:2])
    curves.write_if_due(1e9, lambda: UNITS)
    (unit, _) = read_running(Store.at(tmp_path))
    assert 100 < len(unit.steps) <= 256
    assert all(point == {"m0": 7.0, **{f"m{i}": float(i) for i in range(1, 32)}} for point in unit.steps.values())
