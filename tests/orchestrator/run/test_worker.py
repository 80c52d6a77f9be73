"""The worker: times, probes and limits of what units give, and code that tries to take the worker with it."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import DeviceFailed, NotDeterministic
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.row import Outcome, Progress
from landsweep.orchestrator.run.messages import Chunk, Message, Prepare, Probed, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.worker import Worker
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.orchestrator.unit import Unit

CALLS: list[float] = []
SPENT: list[tuple[float, float]] = []  # wall and processor time that a unit measured of itself


def steps(x: float) -> Generator[dict[str, float], None, dict[str, float]]:
    """Works a while in each of five steps, and measures that itself."""
    wall = cpu = 0.0
    for step in range(5):
        began, began_cpu = time.perf_counter(), time.process_time()
        np.linalg.svd(np.random.default_rng(0).normal(size=(80, 80)))
        time.sleep(0.01)
        wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - began_cpu
        yield {"step": step, "y": x}
    SPENT.append((wall, cpu))
    return {"y": x}


def counted(x: float) -> dict[str, float]:
    CALLS.append(x)
    return {"y": float(len(CALLS))}


def counted_steps(x: float) -> Generator[dict[str, float], None, None]:
    for step in range(3):
        CALLS.append(x)
        yield {"step": step, "y": x}


def large(x: float) -> dict[str, Any]:
    """Too much of everything."""
    match int(x):
        case 0:
            return {"text": "x" * 100_000_000}
        case 1:
            raise RuntimeError("x" * 30_000_000)
        case 2:
            return {f"m{i}": 1.0 for i in range(100_000)}
        case 3:
            return {"status": "diverged", "error": "x" * 1_000_000}
        case 4:
            return {"m" * 5000: 1.0}
    return {"text": "short"}


class Stop(BaseException):
    """No Exception."""


def leaves(x: float) -> dict[str, float]:
    match int(x):
        case 0:
            raise Stop("away")
        case 1:
            sys.exit(3)
        case 2:
            raise RuntimeError("plain")
    return {"y": x}


def setup_that_exits() -> None:
    sys.exit("no licence")


def with_setup(x: float, setup: object) -> dict[str, float]:
    return {"y": x}


def worker(function: str, **fields: Any) -> Worker:
    config = {name: fields.pop(name) for name in ("flush_seconds", "probe_seconds") if name in fields}
    spec = {"name": "w", "function": f"tests.orchestrator.run.test_worker:{function}", "axes": {"x": [0.0]}, **fields}
    return Worker(WorkerConfig("function", {"kind": "function", **spec}, **config))


def shard(n: int, *, probe: bool = False) -> Shard:
    return Shard(1, tuple(Unit(f"{i:032x}", {"x": float(i)}) for i in range(n)), probe=probe)


def rows(messages: list[Message]) -> list[dict[str, Any]]:
    batches = [m.rows for m in messages if isinstance(m, Chunk) and m.rows is not None]
    return [row for batch in batches for row in pa.Table.from_batches([batch]).to_pylist()]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    CALLS.clear()
    SPENT.clear()
    yield


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("flush_seconds", [0.0, 0.015, 1e9])  # at each message, now and then, at the end
def test_seconds_of_a_unit_are_its_own_however_often_it_reports(flush_seconds: float, probe: bool) -> None:
    """No less than the unit measures itself, and together no more than the whole without the receiver's time."""
    w = worker("steps", flush_seconds=flush_seconds)
    w.open()
    began, began_cpu = time.perf_counter(), time.process_time()
    theirs = theirs_cpu = 0.0
    messages = []
    for message in w.run(shard(3, probe=probe)):
        messages.append(message)
        received, received_cpu = time.perf_counter(), time.process_time()
        np.linalg.svd(np.ones((60, 60)))
        time.sleep(0.02)  # the receiver takes its time
        theirs += time.perf_counter() - received
        theirs_cpu += time.process_time() - received_cpu
    whole = time.perf_counter() - began - theirs
    whole_cpu = time.process_time() - began_cpu - theirs_cpu
    table = rows(messages)
    own = SPENT[:1] + SPENT[2:] if probe else SPENT  # the second evaluation of a probe is nobody's
    for row, (wall, cpu) in zip(table, own, strict=True):
        assert row["seconds"] >= wall > 0.05
        assert row["cpu_seconds"] >= cpu
    assert sum(r["seconds"] for r in table) <= whole
    assert sum(r["cpu_seconds"] for r in table) <= whole_cpu


def test_times_of_units_that_run_side_by_side_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that advances several units in turn: the time since the last outcome, reports or not."""

    class Turns:
        def evaluate(self, units: Any) -> Iterator[Outcome | Progress]:
            for step in range(3):
                for unit in units:
                    time.sleep(0.01)
                    yield Progress(unit.key, step, {"y": 1.0})
            for unit in units:
                yield Outcome(unit.key, {"y": 1.0})

    w = worker("steps", flush_seconds=0.0)
    monkeypatch.setattr(type(kind_named("function")), "open", lambda *_: Turns())
    messages = []
    for message in w.run(shard(4)):
        messages.append(message)
        time.sleep(0.02)
    seconds = [r["seconds"] for r in rows(messages)]
    assert sum(seconds) >= 12 * 0.01
    assert seconds[0] >= 12 * 0.01, "what had been computed until the first of them ended"


@pytest.mark.parametrize("flush_seconds", [0.0, 0.05])
def test_what_was_reported_at_once_is_sent_while_the_unit_goes_on(
    monkeypatch: pytest.MonkeyPatch, flush_seconds: float
) -> None:
    """So are outcomes before it: a long unit that says nothing holds back no message."""
    sent: list[Progress] = []
    ended: list[str] = []

    class Reports:
        def evaluate(self, units: Any) -> Iterator[Outcome | Progress | None]:
            yield Outcome(units[0].key, {"y": 1.0})
            yield from (Progress(units[1].key, step, {"y": 1.0}) for step in range(3))
            end = time.monotonic() + 30
            while (len(sent), len(ended)) != (3, 1) and time.monotonic() < end:
                yield None
            yield Outcome(units[1].key, {"y": float(len(sent))})

    w = worker("steps", flush_seconds=flush_seconds)
    monkeypatch.setattr(type(kind_named("function")), "open", lambda *_: Reports())
    for message in w.run(shard(2)):
        assert isinstance(message, Chunk)
        sent += message.progress
        ended += [row["key"] for row in rows([message])]
        last = message
    assert len(ended) == 2 and rows([last])[0]["y"] == 3


def few_files(x: float) -> dict[str, float]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    return {"y": float(soft)}


def test_a_limit_of_a_unit_is_lifted_before_the_next() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        given = [row["y"] for row in rows(list(worker("few_files").run(shard(3))))]
        assert min(given) > 40 and resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 40
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_worker_that_a_unit_has_limited_for_good_ends_after_the_units_row(monkeypatch: pytest.MonkeyPatch) -> None:
    w = worker("counted")
    w.open()
    messages: list[Message] = []
    monkeypatch.setattr(resource, "getrlimit", lambda number: (16, 16))
    with pytest.raises(DeviceFailed, match=r"a unit has limited the process of the worker .* its open files to 16"):
        for message in w.run(shard(3)):
            messages.append(message)
    assert [row["status"] for row in rows(messages)] == ["ok"]


@pytest.mark.parametrize("ended", [0, 1])  # units of the shard that had ended before
@pytest.mark.parametrize("flush_seconds", [0.0, 1e9])
def test_a_unit_that_begins_anew_has_its_series_once(
    monkeypatch: pytest.MonkeyPatch, flush_seconds: float, ended: int
) -> None:
    """A session that fails in the middle of several units: each begins anew, alone, and gives its points again."""

    class Fails:
        def evaluate(self, units: Any) -> Iterator[Outcome | Progress]:
            for i, unit in enumerate(units):
                for step in range(3):
                    yield Progress(unit.key, step, {"y": 1.0})
                    if len(units) > 1 and i == ended and step == 1:
                        raise RuntimeError("not together")
                yield Outcome(unit.key, {"y": 1.0})

    w = worker("steps", flush_seconds=flush_seconds)
    monkeypatch.setattr(type(kind_named("function")), "open", lambda *_: Fails())
    messages = list(w.run(shard(3)))
    assert [row["status"] for row in rows(messages)] == ["ok"] * 3
    batches = [m.series for m in messages if isinstance(m, Chunk) and m.series is not None]
    points = pa.Table.from_batches(batches).to_pandas()
    assert len(points) == 9 and not points.duplicated(["key", "step"]).any()


def test_a_first_unit_that_ends_soon_is_evaluated_twice_and_must_agree() -> None:
    with pytest.raises(NotDeterministic, match=r"y: 1\.0, then 2\.0"):
        list(worker("counted").run(shard(3, probe=True)))


def test_a_slow_first_unit_is_evaluated_once_and_that_is_said() -> None:
    messages = list(worker("counted", probe_seconds=0.0).run(shard(3, probe=True)))
    assert CALLS == [0.0, 1.0, 2.0]
    (probed,) = [m for m in messages if isinstance(m, Probed)]
    assert not probed.compared and probed.seconds > 0
    assert [r["y"] for r in rows(messages)] == [1.0, 2.0, 3.0]


def test_reports_of_a_first_unit_come_while_it_runs() -> None:
    """So that it is neither silent to a time limit nor out of a search's reach."""
    messages = worker("counted_steps", flush_seconds=0.0).run(shard(1, probe=True))
    first = next(messages)
    assert isinstance(first, Chunk) and [p.step for p in first.progress] == [0]
    assert len(CALLS) == 1


def test_a_first_unit_that_was_stopped_is_not_evaluated_again() -> None:
    w = worker("counted_steps", flush_seconds=0.0)
    messages = []
    for message in w.run(shard(1, probe=True)):
        messages.append(message)
        w.stop(shard(1).units[0].key)
    (probed,) = [m for m in messages if isinstance(m, Probed)]
    assert not probed.compared and len(CALLS) < 3
    assert [r["status"] for r in rows(messages)] == ["pruned"]


@pytest.mark.parametrize(("limit", "said"), [(0, None), (1e-9, "was not evaluated again"), (60, "with equal results")])
def test_a_run_says_what_the_probe_has_shown(tmp_path: Path, limit: float, said: str | None) -> None:
    kind = kind_named("function")
    spec = parse(
        kind.spec,
        {
            "kind": "function",
            "name": "n",
            "function": "tests.orchestrator.run.test_worker:leaves",
            "axes": {"x": [3, 4]},
        },
        "test",
    )
    watch, site = QuietWatch(), Site(executor="local", probe_seconds=limit)
    run_sweep(kind, spec, site, tmp_path, folder=tmp_path, watch=watch)
    probes = [line for line in watch.said if "first unit" in line]
    assert (probes == []) if said is None else (len(probes) == 1 and said in probes[0])
    assert Ledger.open(Store.at(tmp_path)).rows().num_rows == 2


def test_what_no_table_can_hold_fails_its_unit_with_a_clear_text_or_is_cut() -> None:
    table = rows(list(worker("large").run(shard(6))))
    assert [r["status"] for r in table] == ["failed", "failed", "failed", "diverged", "failed", "ok"]
    assert all(len(r["error"]) < 21_000 for r in table[:5])
    assert "text of 100,000,000 characters; at most 100,000 fit" in table[0]["error"]
    assert "RuntimeError" in table[1]["error"] and "characters left out" in table[1]["error"]
    assert "gave 100,000 metrics; at most 10,000 fit" in table[2]["error"]
    assert "name has 5,000 characters" in table[4]["error"]
    assert table[5]["text"] == "short"


def test_too_many_undeclared_metrics_do_not_make_an_endless_complaint() -> None:
    table = rows(list(worker("large", columns={"text": {"type": "text"}}).run(shard(3))))
    assert all(len(r["error"]) < 21_000 for r in table)


def test_units_that_raise_what_is_no_exception_fail_alone() -> None:
    table = rows(list(worker("leaves").run(shard(5))))
    assert [r["status"] for r in table] == ["failed", "failed", "failed", "ok", "ok"]
    assert "Stop: away" in table[0]["error"] and "SystemExit: 3" in table[1]["error"]


def test_a_keyboard_interrupt_of_the_user_is_not_a_units_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[__name__], "leaves", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            list(worker("leaves").run(shard(2)))
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_keyboard_interrupt_that_no_user_can_have_meant_is_a_units_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a run handles Ctrl-C itself, none reaches a unit."""

    def interrupted(x: float) -> dict[str, float]:
        raise KeyboardInterrupt if x == 0 else GeneratorExit if x == 1 else RuntimeError("plain")

    monkeypatch.setattr(sys.modules[__name__], "leaves", interrupted)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        table = rows(list(worker("leaves").run(shard(3))))
    finally:
        signal.signal(signal.SIGINT, before)
    assert [row["status"] for row in table] == ["failed", "failed", "failed"]
    assert "KeyboardInterrupt" in table[0]["error"] and "GeneratorExit" in table[1]["error"]


def test_a_set_up_function_that_exits_is_an_error_and_not_the_end() -> None:
    with pytest.raises(RuntimeError, match=r"opening the sweep called sys.exit\('no licence'\)"):
        worker("with_setup", setup="tests.orchestrator.run.test_worker:setup_that_exits").open()


def test_a_preparation_that_exits_is_an_error_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(kind_named("function"))
    monkeypatch.setattr(kind, "prepare", lambda *_: sys.exit(0))
    with pytest.raises(RuntimeError, match=r"preparing base called sys.exit\(0\)"):
        list(worker("leaves").run(Prepare(1, "base")))


def test_a_unit_leaves_the_next_one_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = rows(list(worker("wanders").run(shard(4))))
    assert {r["here"] for r in table} == {str(tmp_path)}


def wanders(x: float) -> dict[str, str]:
    """Goes into a folder that it removes."""
    here, gone = Path.cwd(), Path("gone").absolute()
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    return {"here": str(here)}


class Tight:
    """Computes at most so many units at once; a larger number runs out of memory half-way."""

    def __init__(self, fits: int, halvings: int) -> None:
        self.size, self.fits, self.halvings = 8, fits, halvings
        self.tried: list[int] = []

    def evaluate(self, units: Any) -> Iterator[Outcome | Progress]:
        for start in range(0, len(units), self.size):
            pack = units[start : start + self.size]
            self.tried.append(len(pack))
            for unit in pack:
                yield Progress(unit.key, 0, {"y": 1.0})
            if len(pack) > self.fits:
                raise MemoryError(f"{len(pack)} units")
            yield from (Outcome(unit.key, {"y": 1.0}) for unit in pack)


class Saving(Tight):
    def save_memory(self) -> bool:
        self.halvings -= 1
        self.size = max(1, self.size // 2)
        return self.halvings >= 0


@pytest.mark.parametrize(
    ("session", "statuses", "tried"),
    [
        (Saving(2, 9), ["ok"] * 8, [8, 4, 2, 2, 2, 2]),
        (Saving(8, 9), ["ok"] * 8, [8]),
        (Saving(2, 1), ["ok"] * 8, [8, 4, 1, 1, 1, 1, 1, 1, 1, 1]),  # can't get smaller: each alone
        (Tight(1, 0), ["ok"] * 8, [8, 1, 1, 1, 1, 1, 1, 1, 1]),  # knows of no smaller packs
        (Saving(0, 4), ["failed"] * 8, None),
        (Tight(0, 0), ["failed"] * 8, None),
    ],
)
def test_what_does_not_fit_into_memory_is_given_again_in_what_fits(
    monkeypatch: pytest.MonkeyPatch, session: Tight, statuses: list[str], tried: list[int] | None
) -> None:
    w = worker("steps", flush_seconds=1e9)
    monkeypatch.setattr(type(kind_named("function")), "open", lambda *_: session)
    messages = list(w.run(shard(8)))
    table = rows(messages)
    assert [row["status"] for row in table] == statuses
    assert tried is None or session.tried == tried
    assert {row["cause"] for row in table} == ({None} if "ok" in statuses else {"oom"})
    batches = [m.series for m in messages if isinstance(m, Chunk) and m.series is not None]
    assert not pa.Table.from_batches(batches).to_pandas().duplicated(["key", "step"]).any()


def test_units_after_a_failed_device_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as part of the shard nor alone; what ended before keeps its row."""
    seen = []

    class Breaks:
        def evaluate(self, units: Any) -> Iterator[Outcome]:
            for unit in units:
                seen.append(unit.params["x"])
                if unit.params["x"] == 2.0:
                    raise RuntimeError("CUDA error: device-side assert triggered")
                yield Outcome(unit.key, {"y": 1.0})

    w = worker("steps", flush_seconds=1e9)
    monkeypatch.setattr(type(kind_named("function")), "open", lambda *_: Breaks())
    messages: list[Message] = []
    with pytest.raises(DeviceFailed, match=r"cpu of the worker .* has failed: CUDA error: device-side assert"):
        for message in w.run(shard(5)):
            messages.append(message)
    assert seen == [0.0, 1.0, 2.0]
    assert [row["x"] for row in rows(messages)] == [0.0, 1.0]
