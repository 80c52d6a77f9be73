"""Units that end or rob the process in which a whole sweep runs, without Ray: none of it looks like success."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.attack.amounts import attacks
from tests.attack.folders import landsweep
from tests.support.cli import write_spec
from tests.support.paths import ROOT

KEPT: list[Any] = []


def replaced(i: int) -> dict[str, float]:
    os.execl("/bin/true", "true")


def swallowed(i: int) -> dict[str, float]:
    try:
        os._exit(0)
    except Exception:  # noqa: BLE001 - as careless code has it
        return {"y": float(i)}


def closed(i: int) -> dict[str, float]:
    os.closerange(0, 3)
    return {"y": float(i)}


def closed_and_taken(i: int) -> dict[str, float]:
    """Its own files get the numbers of the standard streams."""
    os.closerange(0, 3)
    KEPT.extend(Path(f"own-{n}").open("w") for n in range(3))  # noqa: SIM115
    return {"y": float(i)}


def redirected(i: int) -> dict[str, float]:
    with Path("own-0").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    return {"y": float(i)}


def child(i: int) -> dict[str, float]:
    """What a child does with its own process is its own affair."""
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    program = os.fork()
    if program == 0:
        os.execv(sys.executable, [sys.executable, "-c", "raise SystemExit(4)"])
    codes = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in (pid, program)]
    return {"y": float(i), "codes": float(10 * codes[0] + codes[1])}


ENDS: dict[str, Callable[[int], Any]] = {
    "exit 0": lambda i: os._exit(0),
    "exit 3": lambda i: os._exit(3),
    "replaced": replaced,
    "swallowed": swallowed,
}
ROBS: dict[str, Callable[[int], Any]] = {
    "closed": closed, "closed and taken": closed_and_taken, "redirected": redirected, "child": child
}  # fmt: skip


SORTS = list((ENDS | ROBS).values())


def unit(i: int) -> Any:
    """Every second unit is of an evil sort."""
    return SORTS[i // 2](i) if i % 2 else {"y": float(i)}


def exits_from_a_thread(i: int) -> dict[str, float]:
    if i == 1:
        threading.Thread(target=os._exit, args=(0,)).start()
        time.sleep(60)
    return {"y": float(i)}


def ran(folder: Path, function: str, units: int = 4, **fixed: Any) -> tuple[int, str, list[dict[str, Any]]]:
    spec = {"kind": "function", "name": "ends", "function": function, "fixed": fixed, "axes": {"i": {"range": units}}}
    write_spec(folder, spec)
    words = ("run", "spec.yaml", "--out", "r", "site.executor=local", "site.tracking=false", "site.probe_seconds=0")
    done = landsweep(*words, cwd=folder, env={"PYTHONPATH": str(ROOT)})
    rows = Ledger.open(Store.at(folder / "r")).rows().to_pylist()
    return done.returncode, done.stderr, sorted(rows, key=lambda row: row["i"])


@attacks(1, full=1)
def test_a_unit_that_ends_or_robs_the_process_harms_no_other(tmp_path: Path, n: int) -> None:
    for i in range(n):
        (tmp_path / str(i)).mkdir()
        harms_no_other(tmp_path / str(i))


def harms_no_other(folder: Path) -> None:
    code, said, rows = ran(folder, "tests.attack.test_ends:unit", 2 * len(SORTS))
    assert code == 1 and f"{len(ENDS)} failed" in said and "report:" in said, said
    ends = range(1, 2 * len(ENDS), 2)
    assert [row["i"] for row in rows if row["status"] != "ok"] == [*ends]
    assert all("which would have ended the whole sweep" in rows[i]["error"] for i in ends)
    assert all(row["y"] == row["i"] for row in rows if row["status"] == "ok")
    assert all(not path.read_text() for path in folder.glob("own-*")), "nothing of ours is in its files"
    assert rows[-1]["codes"] == 74.0, "children end as they like"


def test_a_thread_that_ends_the_process_does_not_end_it_well(tmp_path: Path) -> None:
    write_spec(tmp_path, {"kind": "function", "name": "ends", "axes": {"i": {"range": 4}},
                          "function": "tests.attack.test_ends:exits_from_a_thread"})  # fmt: skip
    words = ("run", "spec.yaml", "--out", "r", "site.executor=local", "site.tracking=false", "site.probe_seconds=0")
    done = landsweep(*words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 1 and "so the sweep ends" in done.stderr and "done:" not in done.stderr, done.stderr


def endless(i: int, metrics: int) -> Iterator[dict[str, float]]:
    values = {f"m{n}": float(i) for n in range(metrics)}
    step = 0
    while i == 1 or step < 3:
        yield {"step": step, **values}
        step += 1


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [9_000, 5_000])
def test_a_series_without_end_fails_its_unit_alone(tmp_path: Path, metrics: int) -> None:
    code, said, rows = ran(tmp_path, "tests.attack.test_ends:endless", metrics=metrics)
    assert code == 1, said
    assert [row["status"] for row in rows] == ["ok", "failed", "ok", "ok"]
    assert "more than 1,000,000 points" in rows[1]["error"]
