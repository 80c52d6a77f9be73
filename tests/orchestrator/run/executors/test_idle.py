"""Units that hang end, with all that waits for them; those that compute in silence do not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import PreparationFailed
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.support.installed import install

IDLE = 3.0  # s
LONG = 3 * IDLE
BUSY = f"import time\nend = time.monotonic() + {LONG}\nwhile time.monotonic() < end: pass\n"

KIND = '''
import threading
from dataclasses import replace
from pathlib import Path
import numpy as np
from landsweep.orchestrator.kind import Preparation
from landsweep.orchestrator.planner import GridPlanner
from landsweep.sweeps.function.kind import FunctionKind

def hang(folder, what, times):
    """Hang so many times in this place, over all workers."""
    for i in range(times):
        try:
            (Path(folder) / f"{what}{i}").touch(exist_ok=False)
        except FileExistsError:
            continue
        threading.Event().wait()

class Session:
    """Computes a pack at once: one that hangs holds up the others."""
    def __init__(self, inner): self._inner = inner
    def evaluate(self, units):
        if any(unit.params["i"] == 2 for unit in units): threading.Event().wait()
        yield from list(self._inner.evaluate(units))

class Packs(GridPlanner):
    def ask(self, n): return [replace(unit, pack="all") for unit in super().ask(n)]

class Kind(FunctionKind):
    name = "hanging"
    def check(self, spec, bench): hang(bench.folder, "check", 1)
    def preparations(self, spec): return (Preparation("ready", 1, pack="all"),)
    def prepare(self, spec, name, have, bench):
        hang(bench.folder, "prepare", spec.version)
        return {"size": np.array([4])}
    def planner(self, spec):
        grid = super().planner(spec)
        return Packs(grid._keys, grid._axes)
    def open(self, spec, prepared, bench): return Session(super().open(spec, prepared, bench))
'''


def _lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _pool() -> None:
    """A pool gives its dead process a successor, and waits for the result of the dead one for ever."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(_killed, [0])


def _stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _busy() -> None:
    exec(BUSY)


def _in_foreign_code() -> None:
    """No other thread of the process can run meanwhile."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        sum(range(50_000_000))


def _child() -> None:
    subprocess.run([sys.executable, "-c", BUSY], check=True)


HANGS: dict[str, Callable[[], None]] = {"lock": _lock, "pool": _pool, "stopped": _stopped}
COMPUTES: dict[str, Callable[[], None]] = {"busy": _busy, "foreign": _in_foreign_code, "child": _child}


def unit(what: str) -> dict[str, float]:
    (HANGS | COMPUTES)[what]()
    return {"y": 1.0}


def orphaned(what: str) -> dict[str, float]:
    """The worker dies, and a process that it forked off keeps its connection to Ray open."""
    if what == "orphaned":
        parent = os.getpid()
        if os.fork() == 0:
            os.setsid()
            os.kill(parent, signal.SIGKILL)
            time.sleep(120)
            os._exit(0)
        time.sleep(60)
    return {"y": 1.0}


def number(i: int) -> dict[str, float]:
    return {"y": float(i)}


def run(
    folder: Path, kind_name: str, function: str, axes: dict[str, list[Any]], version: int = 1
) -> list[dict[str, Any]]:
    kind = kind_named(kind_name)
    data = {
        "kind": "function",
        "name": "idle",
        "function": f"tests.orchestrator.run.executors.test_idle:{function}",
        "axes": axes,
    }
    spec = parse(kind.spec, {**data, "version": version}, "test")
    site = Site(
        workers=2, cpus=0.5, tracking=False, probe_seconds=0, idle_seconds=IDLE, budgets={"timeout": 0, "infra": 2}
    )
    run_sweep(kind, spec, site, folder / "out", folder=folder, watch=QuietWatch())
    table: list[dict[str, Any]] = Ledger.open(Store.at(folder / "out")).rows().to_pylist()
    return table


pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("own_ray")]


def check(rows: list[dict[str, Any]], whats: list[str]) -> None:
    ends = {r["what"]: (r["status"], r["cause"]) for r in rows}
    assert ends == {what: ("failed", "timeout") if what in HANGS else ("ok", None) for what in whats}
    for row in rows:
        if row["what"] in HANGS:
            assert "it hangs: for " in row["error"] and "site.idle_seconds=null" in row["error"]


def test_a_deadlock_ends_and_what_computes_in_silence_does_not(tmp_path: Path) -> None:
    check(run(tmp_path, "function", "unit", {"what": ["lock", "busy"]}), ["lock", "busy"])


def test_a_dead_worker_whose_child_keeps_its_connection_is_noticed(tmp_path: Path) -> None:
    rows = {row["what"]: row for row in run(tmp_path, "function", "orphaned", {"what": ["fine", "orphaned"]})}
    assert rows["fine"]["status"] == "ok"
    assert (rows["orphaned"]["status"], rows["orphaned"]["cause"]) == ("failed", "infra")
    assert "its process has ended, and Ray has not noticed" in rows["orphaned"]["error"]


@pytest.mark.slow
def test_pools_and_stopped_workers_end_and_foreign_code_and_children_do_not(tmp_path: Path) -> None:
    whats = ["pool", "stopped", "foreign", "child"]
    check(run(tmp_path, "function", "unit", {"what": whats}), whats)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a kind that is installed in it."""
    install(tmp_path, "hanging", KIND)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_check_and_preparation_are_tried_again_and_one_of_a_pack_fails_alone(hanging: Path) -> None:
    """Each hangs once; among eight units, computed four at once, one hangs always."""
    rows = run(hanging, "hanging", "number", {"i": list(range(8))}, version=1)
    assert {r["i"]: (r["status"], r["cause"]) for r in rows} == {
        i: ("failed", "timeout") if i == 2 else ("ok", None) for i in range(8)
    }
    assert (hanging / "check0").exists() and (hanging / "prepare0").exists()


@pytest.mark.slow
def test_a_preparation_that_always_hangs_ends_the_run(hanging: Path) -> None:
    (hanging / "check0").touch()
    with pytest.raises(PreparationFailed, match=r"ready: its worker died or hung 3 times. Last: it hangs: for"):
        run(hanging, "hanging", "number", {"i": [0]}, version=99)
