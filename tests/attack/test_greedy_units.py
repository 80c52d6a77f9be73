"""Greedy and hostile units on Ray, all sorts in one sweep: each fails alone or is ok, all others have their rows."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.attack.amounts import attacks, held
from tests.support.cli import LANDSWEEP, write_spec
from tests.support.paths import ROOT

EVERY = 3  # one of so many units is of a hostile sort
MOST_RUNS = 8


def segfault() -> None:
    import ctypes

    ctypes.string_at(0)


def child_that_exits() -> dict[str, float]:
    if os.fork() == 0:
        os._exit(0)
    return {"y": 0.0}


def child_that_returns() -> dict[str, float]:
    os.fork()
    return {"y": 0.0}


def sleepers() -> dict[str, float]:
    for _ in range(30):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    return {"y": 0.0}


def error(size: int) -> None:
    raise ValueError("x" * size)


def all_files_closed() -> dict[str, float]:
    os.closerange(0, 4096)
    return {"y": 0.0}


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def endless_series() -> Iterator[dict[str, float]]:
    for step in itertools.count():
        yield {"step": step, **{f"m{i}": 0.0 for i in range(1000)}}


def without_raylet() -> None:
    (raylet,) = [p for p in psutil.Process().parents() if p.name() == "raylet"]
    raylet.kill()
    signal.pause()


def few_files(hard: int) -> dict[str, float]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, hard))
    return {"y": 0.0}


SORTS: dict[str, Callable[[], Any]] = {
    "exit 0": lambda: os._exit(0),
    "segfault": segfault,
    "abort": os.abort,
    "child that exits": child_that_exits,
    "child that returns": child_that_returns,
    "30 sleepers": sleepers,
    "text of 100 MB": lambda: {"y": "x" * 100_000_000},
    "error of 100 MB": lambda: error(100_000_000),
    "10^5 metrics": lambda: {f"m{i}": 0.0 for i in range(100_000)},
    "own columns 1": lambda: {f"a{i}": 0.0 for i in range(9_000)},
    "own columns 2": lambda: {f"b{i}": 0.0 for i in range(9_000)},
    "own columns 3": lambda: {f"c{i}": 0.0 for i in range(9_000)},
    "all files closed": all_files_closed,
    "few open files": lambda: few_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
    "few open files for good": lambda: few_files(16),
    "SIGSTOP": stopped,
    "endless series": endless_series,
    "kills its raylet": without_raylet,
}
EITHER = {"child that exits", "child that returns", "30 sleepers", "all files closed", "own columns 1", "own columns 2"}
EITHER |= {"own columns 3", "few open files", "few open files for good"}  # of the columns, two are ok
UNITS = EVERY * len(SORTS) + 6


def greedy(i: int) -> Any:
    place, rest = divmod(i, EVERY)
    if rest == 1 and place < len(SORTS):
        return list(SORTS.values())[place]()
    return {"y": float(i)}


@pytest.mark.ray
@attacks(None, full=1)
def test_one_sweep_of_every_greedy_sort(tmp_path: Path, n: int) -> None:
    """The same command, until it ends in order: a unit that kills the raylet ends the run."""
    alone = sum(failed_alone(tmp_path / str(i)) for i in range(n))
    held("greedy units on Ray, of each sort", alone, n * len(SORTS))


def not_all_have_rows(results: Path) -> bool:
    return len(Ledger.open(Store.at(results)).rows()) < UNITS


def failed_alone(folder: Path) -> int:
    """Of how many sorts the unit ended as it must."""
    folder.mkdir()
    function = "tests.attack.test_greedy_units:greedy"
    write_spec(folder, {"kind": "function", "name": "greedy", "function": function, "axes": {"i": {"range": UNITS}}})
    site = ["workers=2", "cpus=0.5", "tracking=false", "probe_seconds=0", "unit_timeout=20", "budgets.driver=0"]
    site += ["budgets.infra=1", "shard_seconds=1"]
    words = [*LANDSWEEP, "run", "spec.yaml", "--out", "out", *(f"site.{word}" for word in site)]
    codes: list[int] = []
    # A call of Ray's between the death of a raylet and our next look ends the process with code 1, in Ray's own code.
    while not codes or codes[-1] == 3 or (codes[-1] == 1 and not_all_have_rows(folder / "out")):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=900)
        codes.append(done.returncode)
        print(codes, done.stderr[-3000:])
        assert len(codes) < MOST_RUNS and "Traceback" not in done.stderr
    assert codes[-1] == 1
    ledger = Ledger.open(Store.at(folder / "out"))
    rows = {row["i"]: row for row in ledger.rows().to_pylist()}
    assert ledger.verify().sound and sorted(rows) == list(range(UNITS))
    hostile = {EVERY * place + 1: sort for place, sort in enumerate(SORTS)}
    others = [row for i, row in rows.items() if i not in hostile]
    assert all((row["status"], float(row["y"])) == ("ok", row["i"]) for row in others)
    assert all(len(row["error"] or "") < 30_000 for row in rows.values())
    ended = {sort: rows[i]["status"] for i, sort in hostile.items()}
    wrong = {sort: status for sort, status in ended.items() if status != "failed" and sort not in EITHER}
    assert not wrong and [ended[f"own columns {i}"] for i in (1, 2, 3)].count("ok") == 2, ended
    return len(ended)
