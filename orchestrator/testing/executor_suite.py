"""What every executor must do. Inherit `ExecutorSuite` in a test file and give it an `executor` fixture.

    class TestMine(ExecutorSuite):
        @pytest.fixture
        def executor(self):
            ex = MyExecutor()
            yield ex
            ex.close()

The suite computes with the installed `function` kind, so workers need nothing but this package.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import ClusterLost
from landsweep.orchestrator.row import Cause
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave, Lost, Refused
from landsweep.orchestrator.run.messages import CheckInput, Chunk, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.unit import Unit

__all__ = ["ExecutorSuite", "act", "collect", "config", "rows", "shard"]

_PATIENCE = 120.0  # seconds until a test gives up on an executor


_RAISED = {
    "raise": RuntimeError("this unit raises on purpose"),
    "memory": MemoryError("no memory, on purpose"),
    "device": RuntimeError("CUDA error: an illegal memory access was encountered, on purpose"),
}


def act(what: str, x: float = 0.0) -> dict[str, Any]:
    """The callable that the suite sweeps: does what its param says."""
    match what:
        case "double":
            return {"y": 2 * x}
        case "unpicklable":

            class LocalError(Exception):
                """Can't be sent to another process: its class has no importable name, and it holds a function."""

                def __init__(self) -> None:
                    super().__init__("unpicklable on purpose")
                    self.payload: Callable[[], None] = lambda: None

            raise LocalError
        case "nan":
            return {"y": float("nan")}
        case "exit":
            os._exit(7)
        case "segfault":
            import ctypes

            ctypes.string_at(0)
        case "hang":
            time.sleep(3600)
    raise _RAISED[what]


def config(**changes: Any) -> WorkerConfig:  # noqa: ANN401 - fields of WorkerConfig
    """A config of the function kind over `act`."""
    spec = {
        "kind": "function",
        "name": "suite",
        "function": "landsweep.orchestrator.testing.executor_suite:act",
        "axes": {"what": ["double"], "x": [0.0]},
    }
    return WorkerConfig(**{"kind": "function", "spec": spec, **changes})


def shard(number: int, whats: Iterable[str]) -> Shard:
    """A shard whose units do these things; their x counts from 0."""
    units = [Unit(f"{number:04x}{i:028x}", {"what": w, "x": float(i)}) for i, w in enumerate(whats)]
    return Shard(number, tuple(units))


def collect(executor: Executor, works: set[int], seconds: float = _PATIENCE) -> list[Event]:
    """Poll until each work has ended; gives all events."""
    events: list[Event] = []
    deadline = time.monotonic() + seconds
    open_works = set(works)
    while open_works:
        assert time.monotonic() < deadline, f"works {open_works} have not ended; events so far: {events[-5:]}"
        executor.free_workers()
        for event in executor.poll(0.2):
            events.append(event)
            if not isinstance(event, Gave):
                open_works.discard(event.work)
    return events


def rows(events: Iterable[Event], work: int) -> dict[str, list[Any]]:
    """All rows that a work gave, as columns."""
    batches = [
        e.message.rows for e in events if isinstance(e, Gave) and e.work == work and isinstance(e.message, Chunk)
    ]
    tables = [pa.Table.from_batches([b]) for b in batches if b is not None]  # their columns may differ
    return pa.concat_tables(tables, promote_options="default").to_pydict() if tables else {"key": []}


class ExecutorSuite:
    """Tests of the contract in `landsweep.orchestrator.run.executors.base`."""

    kills = True  # whether this executor survives the death of a worker

    @pytest.fixture
    def executor(self) -> Executor:
        raise NotImplementedError("override this fixture with your executor")

    def give(self, executor: Executor, *works: Any) -> None:  # noqa: ANN401 - Work
        """Start works as slots become free."""
        deadline = time.monotonic() + _PATIENCE
        for work in works:
            while not (workers := executor.free_workers()):
                assert time.monotonic() < deadline, "no worker has become ready"
                executor.poll(0.1)
            executor.start(workers[0], work)

    def test_rows_come_back_and_the_work_ends_once(self, executor: Executor) -> None:
        executor.open(config())
        self.give(executor, shard(1, ["double"] * 5))
        events = collect(executor, {1})
        assert rows(events, 1)["y"] == [0.0, 2.0, 4.0, 6.0, 8.0]
        assert [type(e) for e in events if not isinstance(e, Gave)] == [Finished]

    def test_bad_units_fail_alone(self, executor: Executor) -> None:
        executor.open(config())
        self.give(executor, shard(1, ["double", "raise", "unpicklable", "nan", "memory", "double"]))
        table = rows(collect(executor, {1}), 1)
        by_key = dict(zip(table["key"], zip(table["status"], table["cause"], strict=True), strict=True))
        assert [by_key[k] for k in sorted(by_key)] == [
            ("ok", None),
            ("failed", "error"),
            ("failed", "error"),
            ("ok", None),
            ("failed", "oom"),
            ("ok", None),
        ]
        errors = dict(zip(table["key"], table["error"], strict=True))
        assert "this unit raises on purpose" in errors[sorted(errors)[1]], "the traceback survives the way"

    def test_input_that_can_not_work_is_refused(self, executor: Executor) -> None:
        wrong = {"kind": "function", "name": "n", "function": "no.such.module:f", "axes": {"x": [1]}}
        executor.open(config(spec=wrong))
        self.give(executor, CheckInput(1))
        (event,) = [e for e in collect(executor, {1}) if not isinstance(e, Gave)]
        assert isinstance(event, Refused)
        assert "no.such.module" in str(event.error)

    def test_shared_arrays_are_taken_at_any_time(self, executor: Executor) -> None:
        executor.open(config())
        executor.share("before", {"a": np.arange(4.0)})
        self.give(executor, shard(1, ["double"]))
        collect(executor, {1})
        executor.share("after", {"a": np.arange(4.0)})
        self.give(executor, shard(2, ["double"]))
        assert len(rows(collect(executor, {2}), 2)["key"]) == 1

    def test_a_dead_worker_loses_only_its_own_work_and_is_replaced(self, executor: Executor) -> None:
        if not self.kills:
            pytest.skip("a unit that kills its process kills this executor too: it lives in the same one")
        executor.open(config())
        for number, poison in ((1, "exit"), (2, "segfault")):
            self.give(executor, shard(number, [poison]))
            events = [e for e in collect(executor, {number}) if not isinstance(e, Gave)]
            assert [(type(e), e.work) for e in events] == [(Lost, number)]
            assert isinstance(events[0], Lost) and events[0].cause is Cause.infra and events[0].began
        self.give(executor, shard(3, ["double"]))
        assert rows(collect(executor, {3}), 3)["y"] == [0.0]

    def test_a_failed_device_ends_its_worker(self, executor: Executor) -> None:
        """What ended before it has rows; nobody else's units come to that worker."""
        executor.open(config())
        self.give(executor, shard(1, ["double", "device", "double"]))
        ends: list[Event] = []
        events: list[Event] = []
        deadline = time.monotonic() + _PATIENCE
        with (
            nullcontext() if self.kills else pytest.raises(ClusterLost, match=r"illegal memory access.* a new process")
        ):
            while not ends:
                assert time.monotonic() < deadline
                events += executor.poll(0.2)
                ends = [e for e in events if not isinstance(e, Gave)]
        assert rows(events, 1)["y"] == [0.0], "of the unit that ended before"
        if not self.kills:
            return
        (lost,) = ends
        assert isinstance(lost, Lost) and lost.cause is Cause.infra and lost.began
        assert "cpu of the worker" in lost.why and "illegal memory access" in lost.why
        self.give(executor, shard(2, ["double"]))
        assert rows(collect(executor, {2}), 2)["y"] == [0.0]

    def test_closing_twice_is_closing_once(self, executor: Executor) -> None:
        executor.open(config())
        self.give(executor, shard(1, ["double"]))
        executor.close()
        executor.close()
        assert executor.workers == 0
