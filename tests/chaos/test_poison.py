"""Units that take the driver, or its Ray, with them: the same command, typed again, ends with that unit failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from landsweep.orchestrator.run.driver_deaths import FILE
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.support.cli import LANDSWEEP, write_spec
from tests.support.paths import ROOT

MOST_RUNS = 12


def deadly(i: int, what: str, culprit: int) -> dict[str, float]:
    """The unit `culprit` kills the driver or a process of its Ray."""
    if i == culprit:
        if what == "itself":
            os.kill(os.getpid(), signal.SIGKILL)
        _named(what).kill()
        signal.pause()
    return {"y": float(i)}


def _named(what: str) -> psutil.Process:
    """The driver of this worker, or a process of its Ray."""
    (raylet,) = [p for p in psutil.Process().parents() if p.name() == "raylet"]
    driver = raylet.parent()
    assert driver is not None
    return driver if what == "driver" else next(p for p in driver.children() if what.startswith(p.name()))


def ends(folder: Path, what: str, units: int, *site: str) -> list[int]:
    """Exit codes of the same command, until it ends in order."""
    axes = {"i": {"range": units}}
    data: dict[str, Any] = {"kind": "function", "name": "p", "function": "tests.chaos.test_poison:deadly", "axes": axes}
    write_spec(folder, data | {"fixed": {"what": what, "culprit": units // 2}})
    codes: list[int] = []
    while not codes or codes[-1] not in (0, 1, 2):
        assert len(codes) < MOST_RUNS, codes
        done = subprocess.run(
            [*LANDSWEEP, "run", "spec.yaml", "--out", "out", "site.tracking=off", *site],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
        sys.stderr.write(done.stderr)
        codes.append(done.returncode)
    return codes


def assert_failed_alone(folder: Path, units: int) -> None:
    rows = Ledger.open(Store.at(folder / "out")).rows().to_pylist()
    assert sorted((r["i"], r["status"]) for r in rows) == [
        (i, "failed" if i == units // 2 else "ok") for i in range(units)
    ]
    (failed,) = [r for r in rows if r["status"] == "failed"]
    assert failed["cause"] == "infra" and "site.budgets.driver is" in failed["error"]
    assert not (folder / "out" / FILE).exists()


@pytest.mark.parametrize("shard_seconds", [1e-9, 5])
def test_a_unit_that_kills_the_driver_fails_alone_at_last(tmp_path: Path, shard_seconds: float) -> None:
    site = ["--site", "local", f"site.shard_seconds={shard_seconds}", "site.budgets.driver=0"]
    codes = ends(tmp_path, "itself", 40, *site)
    assert codes[-1] == 1 and set(codes[:-1]) == {-signal.SIGKILL}
    assert_failed_alone(tmp_path, 40)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("what", ["driver", "raylet", "gcs_server"])
def test_a_unit_that_kills_a_process_of_ray_fails_alone_at_last(tmp_path: Path, what: str) -> None:
    codes = ends(tmp_path, what, 30, "site.workers=2", "site.budgets.driver=0", "site.probe_seconds=0")
    assert codes[-1] == 1 and set(codes[:-1]) == {-signal.SIGKILL if what == "driver" else 3}, codes
    assert_failed_alone(tmp_path, 30)
