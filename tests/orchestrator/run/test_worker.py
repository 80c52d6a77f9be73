"""The worker: times, reports, probes and limits of units."""

from __future__ import annotations

import resource
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import DeviceFailed, NotDeterministic
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.row import Outcome, Progress
from landsweep.orchestrator.run.messages import Chunk, Message, Probed
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.support.shards import rows, shard, worker_of

worker = partial(worker_of, __name__)
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
            "function": "tests.orchestrator.run.test_worker:steps",
            "axes": {"x": [3, 4]},
        },
        "test",
    )
    watch, site = QuietWatch(), Site(executor="local", probe_seconds=limit)
    run_sweep(kind, spec, site, tmp_path, folder=tmp_path, watch=watch)
    probes = [line for line in watch.said if "first unit" in line]
    assert (probes == []) if said is None else (len(probes) == 1 and said in probes[0])
    assert Ledger.open(Store.at(tmp_path)).rows().num_rows == 2
