"""What a turn of the driver costs, measured on its own code: the run loop without Ray, Ray's part without the loop."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from scipy.optimize import nnls

from landsweep.orchestrator.kind import Arrays, kind_named
from landsweep.orchestrator.row import Outcome, RowMaker
from landsweep.orchestrator.run.executors.base import Event, Executor, Finished, Gave
from landsweep.orchestrator.run.executors.ray import RayCluster, RayExecutor
from landsweep.orchestrator.run.messages import Chunk, Work, WorkerConfig
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec, parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch

__all__ = ["Costs", "Idle", "loop_costs", "noop_spec", "ray_costs"]


@dataclass(frozen=True)
class Costs:
    """Seconds of the driver's one thread.

    Attributes:
        turn: of one turn of the loop, whatever it finds.
        worker: more for each worker, in each turn: looking through slots and streams.
        message: of one message of rows.
        shard: of one shard: cut, sent, finished.
        row: of one row, its share of commits included.
    """

    turn: float
    worker: float
    message: float
    shard: float
    row: float


def unit(i: int) -> dict[str, float]:
    """Never called: the executors here only pretend."""
    return {"y": float(i)}


def noop_spec(units: int) -> Spec:
    data = {
        "kind": "function",
        "name": "scale",
        "function": "tests.benchmarks.scale_costs:unit",
        "columns": {"y": {"doc": "nothing"}},
        "axes": {"i": {"range": units}},
    }
    return parse(kind_named("function").spec, data, "scale")


class Idle(Executor):
    """Workers that need no time and no Ray: what a sweep costs then is the loop, the schedule and the ledger.

    Args:
        workers: how many there seem to be.
        unit_seconds: how long each unit is said to have taken.
    """

    def __init__(self, workers: int, unit_seconds: float = 1.0) -> None:
        self._names = [f"w{i}" for i in range(workers)]
        self._seconds = unit_seconds
        self._free: deque[str] = deque(self._names)
        self._busy: list[tuple[str, Work]] = []
        self.shards = 0
        self._maker: RowMaker | None = None

    def open(self, config: WorkerConfig) -> None:
        kind = kind_named(config.kind)
        spec = parse(kind.spec, config.spec, "scale")
        self._maker = RowMaker(kind.params(spec), kind.columns(spec))

    def share(self, name: str, arrays: Arrays) -> None:
        pass

    def free_workers(self) -> Sequence[str]:
        return list(self._free)

    def start(self, worker: str, work: Work) -> None:
        self._free.popleft()
        self._busy.append((worker, work))

    def poll(self, timeout: float) -> Sequence[Event]:
        events: list[Event] = []
        for worker, work in self._busy:
            if isinstance(work, Shard):
                self.shards += 1
                events.append(Gave(work.id, Chunk(self.rows(work), None)))
                events.append(Finished(work.id, len(work.units) * self._seconds))
            else:
                events.append(Finished(work.id, 0.0))
            self._free.append(worker)
        self._busy.clear()
        return events

    def rows(self, shard: Shard) -> pa.RecordBatch:
        if self._maker is None:
            raise RuntimeError("not open")
        began = time.process_time()
        outcomes = [Outcome(u.key, {"y": 0.0}) for u in shard.units]
        meters = [{"attempt": 1, "worker": "w", "ended": 0.0, "seconds": 1.0} for _ in shard.units]
        batch = self._maker.batch(shard.units, outcomes, meters)
        self.aside += time.process_time() - began  # a worker's work, not the driver's
        return batch

    aside = 0.0

    def stop(self, key: str) -> None:
        pass

    @property
    def workers(self) -> int:
        return len(self._names)

    def close(self) -> None:
        pass


def loop_costs(units: int, repeats: int) -> tuple[float, float]:
    """Seconds per shard and per row of run loop, schedule and ledger: a line through several shard sizes."""
    points: list[tuple[float, float, float]] = []
    for _ in range(repeats):
        for shard_seconds in (1, 4, 16, 64):
            executor = Idle(64)
            site = Site(tracking=False, shard_seconds=shard_seconds)
            with tempfile.TemporaryDirectory() as folder:
                kind, spec = kind_named("function"), noop_spec(units)
                began = time.process_time()
                run_sweep(kind, spec, site, folder, folder=Path.cwd(), watch=QuietWatch(), executor=executor)
                spent = time.process_time() - began - executor.aside
            points.append((executor.shards, units, spent))
    table = np.array(points)
    (shard, row), _ = nnls(table[:, :2], table[:, 2])
    return float(shard), float(row)


@ray.remote(max_restarts=0)
class _Pretender:
    """Any number of workers in one process. A shard with units brings a message for each at once, one without none."""

    async def hello(self) -> tuple[str, int]:
        return str(ray.get_runtime_context().get_node_id()), os.getpid()

    async def open(self) -> None:
        return None

    async def farewell(self) -> None:
        await asyncio.sleep(3600)

    @ray.method(num_returns="streaming")
    async def run(self, work: Shard) -> AsyncIterator[Chunk]:
        chunk = Chunk(_batch(5), None)
        for _ in work.units:
            yield chunk
        if not work.units:
            await asyncio.sleep(3600)
            yield chunk


class _Pretended(RayCluster):
    """All workers are one actor."""

    def __init__(self, site: Site, pretender: Any) -> None:
        super().__init__(site)
        self._pretender = pretender

    def spawn(self, worker: str, config: WorkerConfig) -> Any:
        return self._pretender

    def kill(self, actor: Any) -> None:
        pass


def ray_costs(sizes: Sequence[int], repeats: int) -> tuple[float, float, float, float]:
    """Seconds per turn, per worker in each turn, per message and per start, of `RayExecutor` on real streams.

    A turn is `free_workers` and `poll` while no worker has news.
    """
    ray.init(address="local", logging_level=logging.ERROR)
    pretender: Any = _Pretender.options(max_concurrency=5 * max(sizes) + 10, num_cpus=0).remote()  # type: ignore[attr-defined]
    turns, starts = {}, []
    for size in sizes:
        executor = _opened(pretender, size)
        idle = [Shard(i, ()) for i in range(2 * size)]
        began = time.perf_counter()
        for worker, shard in zip(executor.free_workers(), idle, strict=True):
            executor.start(worker, shard)
        starts.append((time.perf_counter() - began) / len(idle))
        turns[size] = min(_turn(executor) for _ in range(repeats))  # other work on the machine only adds
        executor.close()
    (turn, worker), _ = nnls(np.array([[1.0, n] for n in turns]), np.array(list(turns.values())))
    message = max(0.0, float(_message_seconds(pretender) - turn - worker))
    ray.kill(pretender)
    ray.shutdown()
    return float(turn), float(worker), message, min(starts)


def _opened(pretender: Any, workers: int) -> RayExecutor:
    """With workers whose sessions are open: each has answered a first shard."""
    site = Site(workers=workers, cpus=0.1, start_timeout=1e9, idle_seconds=None)
    executor = RayExecutor(site, _Pretended(site, pretender))
    executor.open(WorkerConfig("function", {}))
    while len(free := executor.free_workers()) < 2 * workers:
        executor.poll(1)
    for i, worker in enumerate(free[:workers]):
        executor.start(worker, Shard(-i - 1, tuple(spec_units(1))))
    finished = 0
    while finished < workers:
        finished += sum(isinstance(event, Finished) for event in executor.poll(1))
    return executor


def _turn(executor: RayExecutor) -> float:
    began = time.perf_counter()
    executor.free_workers()
    executor.poll(0)
    return time.perf_counter() - began


def _message_seconds(pretender: Any) -> float:
    """Of a turn of one worker whose next message is there."""
    blocks, size = 20, 50
    executor = _opened(pretender, 1)
    executor.start("w0", Shard(0, tuple(spec_units(blocks * size))))
    time.sleep(3)  # all are there, so that taking them is all that is measured
    blocks_of = [[_turn(executor) for _ in range(size)] for _ in range(blocks)]
    executor.close()
    return min(map(sum, blocks_of)) / size


def spec_units(n: int) -> list[Any]:
    kind, spec = kind_named("function"), noop_spec(n)
    return list(kind.planner(spec).ask(n))


def _batch(rows: int) -> pa.RecordBatch:
    kind, spec = kind_named("function"), noop_spec(rows)
    maker = RowMaker(kind.params(spec), kind.columns(spec))
    units = spec_units(rows)
    return maker.batch(units, [Outcome(u.key, {"y": 0.0}) for u in units], [{"attempt": 1} for _ in units])
