"""Units that start processes, and units that change the process they run in."""

from __future__ import annotations

import inspect
import locale
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.support.cli import LOCAL, command, write_spec

PATIENCE = 120.0  # s; a hang ends the unit, and the test fails


def square(x: int) -> int:
    return x * x


def _pool() -> float:
    for _ in range(10):  # a pool ends its processes by signals, at any moment of their lives
        with multiprocessing.Pool(2) as pool:
            total = sum(pool.map(square, range(4)))
    return total


def _futures() -> float:
    with ProcessPoolExecutor(2) as executor:
        return sum(executor.map(square, range(4)))


def _spawn() -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return sum(pool.map(square, range(4)))


def _joblib() -> float:
    return float(sum(Parallel(n_jobs=2, backend="multiprocessing")(delayed(square)(k) for k in range(4))))


def _terminated() -> float:
    """Processes that are ended before they have done anything."""
    for _ in range(20):
        process = multiprocessing.get_context("fork").Process(target=signal.pause)
        process.start()
        process.terminate()
        process.join()
    return float(process.exitcode or 0)


def _subprocess() -> float:
    return float(subprocess.run([sys.executable, "-c", "print(14)"], capture_output=True).stdout)


def _fork(child: Callable[[], object]) -> float:
    """How a forked child ended; in the child itself what `child` gives."""
    if (pid := os.fork()) == 0:
        child()
        return -1.0
    return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


CHILDREN: dict[str, tuple[Callable[[], float], float]] = {  # what a unit does, and what it must give
    "pool": (_pool, 14.0),
    "futures": (_futures, 14.0),
    "spawn": (_spawn, 14.0),
    "joblib": (_joblib, 14.0),
    "terminated": (_terminated, float(-signal.SIGTERM)),
    "subprocess": (_subprocess, 14.0),
    "fork exits": (lambda: _fork(lambda: sys.exit(3)), 3.0),
    "fork returns": (lambda: _fork(lambda: None), 0.0),
    "fork raises": (lambda: _fork(lambda: 1 / 0), 1.0),
}
EXPECTED = {what: value for what, (_, value) in CHILDREN.items()}


def children(what: str, i: int) -> dict[str, float]:
    return {"y": CHILDREN[what][0]()}


def forking_steps(i: int) -> Generator[dict[str, float], None, dict[str, float]]:
    """The child of the second step reports, too."""
    yield {"step": 0, "y": 0.0}
    pid = os.fork()
    yield {"step": 1, "y": 1.0}
    if not pid:
        return {"y": -1.0}
    return {"y": float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))}


def swept(function: str, axes: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "kind": "function",
        "name": "p",
        "function": f"tests.orchestrator.run.executors.test_processes:{function}",
        "axes": axes,
    } | fields


def run(data: dict[str, Any], folder: Path, **site: Any) -> list[dict[str, Any]]:
    kind = kind_named("function")
    where = Site(**{"workers": 2, "cpus": 0.5, "unit_timeout": PATIENCE, "tracking": False, **site})
    run_sweep(kind, parse(kind.spec, data, "test"), where, folder, folder=Path.cwd(), watch=QuietWatch())
    table: list[dict[str, Any]] = Ledger.open(Store.at(folder)).rows().to_pylist()
    return table


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("own_ray")
def test_processes_that_units_start_end_and_speak_for_nobody_on_ray(tmp_path: Path) -> None:
    table = run(swept("children", {"what": list(EXPECTED), "i": [0, 1]}), tmp_path / "a")
    assert [(r["what"], r["status"], r["y"], r["error"]) for r in table if r["y"] != EXPECTED[r["what"]]] == []
    assert len(table) == 2 * len(EXPECTED)
    steps = run(swept("forking_steps", {"i": [0, 1, 2]}), tmp_path / "b")
    assert [r["y"] for r in steps] == [0.0, 0.0, 0.0]


def test_processes_that_units_start_end_and_speak_for_nobody_in_this_process(tmp_path: Path) -> None:
    quiet = [what for what in EXPECTED if what != "fork raises"]  # that one prints its traceback
    write_spec(tmp_path, swept("children", {"what": quiet, "i": [0, 1]}))
    done = command("run", "spec.yaml", *LOCAL, "--out", "out", cwd=tmp_path, timeout=PATIENCE)
    assert done.stderr.count("done: ") == 1, "one line at the end, and none from a child"
    table = Ledger.open(Store.at(tmp_path / "out")).rows().to_pylist()
    assert {r["what"]: r["y"] for r in table} == {what: EXPECTED[what] for what in quiet}


def sets_handler(i: int) -> dict[str, float]:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    return {"y": float(i)}


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("own_ray")
def test_a_unit_that_sets_a_signal_handler_on_ray_is_told_why_it_can_not(tmp_path: Path) -> None:
    (row,) = run(swept("sets_handler", {"i": [1]}), tmp_path, workers=1)
    assert row["status"] == "failed"
    assert "only works in main thread" in row["error"] and "compute with site.executor=local" in row["error"]


def lower(number: int) -> None:
    resource.setrlimit(number, (3, resource.getrlimit(number)[1]))


def ask_for_alarm() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


LIMITS: dict[str, Callable[[], object]] = {
    "size of files": lambda: lower(resource.RLIMIT_FSIZE),
    "open files": lambda: lower(resource.RLIMIT_NOFILE),
    "seconds": lambda: lower(resource.RLIMIT_CPU),
    "access of files": lambda: os.umask(0o777),
    "alarm": ask_for_alarm,
    "depth of calls": lambda: sys.setrecursionlimit(len(inspect.stack(0)) + 20),
}


def changes(how: str) -> dict[str, float]:
    """Changes what the whole process has once."""
    match how:
        case "folder":
            os.chdir("/")
        case "removed folder":
            Path("gone").mkdir()
            os.chdir("gone")
            Path.cwd().rmdir()
        case "environment":
            os.environ.clear()
            os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:1"
        case "stdout":
            sys.stdout = None  # type: ignore[assignment]
        case "stderr closed":
            sys.stderr.close()
        case "warnings":
            warnings.simplefilter("error")
        case "numpy":
            np.seterr(all="raise")
            locale.setlocale(locale.LC_ALL, "C.UTF-8")
        case "signals":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case _:
            LIMITS[how]()
    return {"y": 1.0}


def changing_steps(i: int) -> Generator[dict[str, float], None, dict[str, float]]:
    """What a unit has changed is still so when it goes on."""
    os.chdir("/tmp")
    os.environ["MINE"] = "1"
    for step in range(3):
        yield {"step": step, "y": 1.0}
        assert os.environ["MINE"] == "1" and str(Path.cwd()) == str(Path("/tmp").resolve())
    return {"y": 2.0}


HOW = ["folder", "removed folder", "environment", "stdout", "stderr closed", "warnings", "numpy", "signals"]
HOW += LIMITS


def test_what_units_change_of_this_process_does_not_hurt_the_driver(tmp_path: Path) -> None:
    """Results and tracking are named by relative paths, and report and MLflow are written after the units."""
    write_spec(tmp_path, swept("changes", {"how": HOW}))
    done = command("run", "spec.yaml", "--site", "local", "--out", "out", cwd=tmp_path)
    assert f"{len(HOW)} units ({len(HOW)} ok)" in done.stderr
    page, sweep = (tmp_path / "out" / name for name in ("report/index.html", "sweep.json"))
    assert page.stat().st_mode == sweep.stat().st_mode, "the access that files had before the units"
    assert (tmp_path / "mlflow.db").is_file() and "MLflow run" in done.stderr
    write_spec(tmp_path, swept("changing_steps", {"i": [0, 1]}))
    done = command("run", "spec.yaml", *LOCAL, "site.commit_seconds=0.001", "--out", "steps", cwd=tmp_path)
    assert "2 units (2 ok)" in done.stderr


def limits_for_good(i: int, number: int) -> dict[str, float]:
    if i == 1:
        resource.setrlimit(number, (3, 3))
    return {"y": float(i)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["NOFILE", "FSIZE"])
def test_a_unit_that_spoils_the_process_of_the_driver_fails_alone_in_the_end(name: str, tmp_path: Path) -> None:
    """Each run that it ends is remembered. Whoever may raise hard limits again (CAP_SYS_RESOURCE) loses nothing."""
    number = int(getattr(resource, f"RLIMIT_{name}"))
    write_spec(tmp_path, swept("limits_for_good", {"i": [0, 1, 2]}, fixed={"number": number}))
    words = ("run", "spec.yaml", *LOCAL, "--out", "out")
    codes = []
    while not codes or codes[-1] == 3:
        done = command(*words, cwd=tmp_path, check=None)
        codes.append(done.returncode)
        assert len(codes) < 9, done.stderr
    rows = {row["i"]: row for row in Ledger.open(Store.at(tmp_path / "out")).rows().to_pylist()}
    assert [rows[i]["status"] for i in range(3)] == ["ok", "failed" if codes[-1] else "ok", "ok"]


kept: list[Any] = []  # for as long as the process lives


def takes_all(i: int) -> dict[str, float]:
    """The unit 0 frees its files, 1 keeps them, and 2 says that its device has failed."""
    opened = kept if i == 1 else []
    while i < 2:
        opened.append(open(os.devnull, "rb", 0))  # noqa: PTH123, SIM115 - until it raises
    if i == 2:
        raise RuntimeError("CUDA error: device-side assert triggered")
    return {"y": float(i)}


@pytest.mark.slow
def test_units_that_leave_no_files_or_no_device_to_the_driver_fail_alone_in_the_end(tmp_path: Path) -> None:
    write_spec(tmp_path, swept("takes_all", {"i": {"range": 4}}))
    codes = []
    while not codes or codes[-1] == 3:
        done = command("run", "spec.yaml", *LOCAL, "--out", "out", cwd=tmp_path, check=None)
        codes.append(done.returncode)
        assert len(codes) < 16, done.stderr
    rows = {row["i"]: row for row in Ledger.open(Store.at(tmp_path / "out")).rows().to_pylist()}
    assert [rows[i]["status"] for i in range(4)] == ["failed", "failed", "failed", "ok"]
    assert "Too many open files" in rows[0]["error"] and "the driver or its Ray died" in rows[1]["error"]


def lowers_a_hard_limit(i: int) -> dict[str, float]:
    """As somebody who may not raise it again, which root may."""
    if i == 1:
        resource.setrlimit(resource.RLIMIT_AS, (2**45, 2**45))
        change = resource.setrlimit

        def refusing(number: int, limits: tuple[int, int]) -> None:
            if limits[1] != resource.getrlimit(number)[1]:
                raise ValueError("not allowed to raise maximum limit")
            change(number, limits)

        resource.setrlimit = refusing  # type: ignore[assignment]
    return {"y": float(i)}


def test_a_hard_limit_that_stays_low_is_said_once(tmp_path: Path) -> None:
    write_spec(tmp_path, swept("lowers_a_hard_limit", {"i": {"range": 6}}))
    done = command("run", "spec.yaml", *LOCAL, "site.shard_seconds=0.001", "--out", "out", cwd=tmp_path)
    assert "6 units (6 ok)" in done.stderr
    said = "has lowered the hard limit RLIMIT_AS of this process from unlimited to 35,184,372,088,832 for good"
    assert " ".join(done.stderr.split()).count(said) == 1


def never_ends(what: str) -> dict[str, float]:
    """Leaves something that waits for ever, or leaves as only a process may."""
    match what:
        case "thread":
            threading.Thread(target=threading.Event().wait).start()
        case "pool of threads":
            ThreadPoolExecutor(1).submit(threading.Event().wait)
        case "interrupt":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
    return {"y": 1.0}


def test_what_a_unit_leaves_or_raises_does_not_keep_or_end_the_driver(tmp_path: Path) -> None:
    whats = ["thread", "interrupt", "pool of threads", "generator", "nothing"]
    write_spec(tmp_path, swept("never_ends", {"what": whats}))
    done = command("run", "spec.yaml", *LOCAL, "--out", "out", cwd=tmp_path, check=1)
    assert "5 units (2 failed, 3 ok)" in done.stderr
    rows = {row["what"]: row for row in Ledger.open(Store.at(tmp_path / "out")).rows().to_pylist()}
    assert {what: row["status"] for what, row in rows.items() if row["status"] == "failed"} == {
        "interrupt": "failed",
        "generator": "failed",
    }
    assert "KeyboardInterrupt" in rows["interrupt"]["error"] and "GeneratorExit" in rows["generator"]["error"]
