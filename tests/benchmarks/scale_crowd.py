"""Many workers in few processes: the real driver and real Ray streams, with workers that only sleep."""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ray

from landsweep.orchestrator.commands.follow import Follower
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.row import Outcome, RowMaker
from landsweep.orchestrator.run.executors.ray import RayCluster, RayExecutor
from landsweep.orchestrator.run.messages import Chunk, Work, WorkerConfig
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.schedule import Shard
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.benchmarks.scale_costs import noop_spec

__all__ = ["overhead"]

_PER_PROCESS = 400
UNIT_SECONDS = 1.0


@ray.remote(max_restarts=0, enable_task_events=False)
class _Crowd:
    """Several workers in one process. Each computes its shards one after the other, and a unit is a sleep."""

    def __init__(self, config: WorkerConfig) -> None:
        kind = kind_named(config.kind)
        spec = parse(kind.spec, config.spec, "scale")
        self._maker = RowMaker(kind.params(spec), kind.columns(spec))
        self._interval = config.flush_seconds
        self._one_at_a_time: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ready(self) -> tuple[str, int]:
        return str(ray.get_runtime_context().get_node_id()), os.getpid()

    async def open(self) -> None:
        return None

    async def wait(self) -> None:
        await asyncio.sleep(1e6)

    @ray.method(num_returns="streaming")
    async def run(self, worker: str, work: Work) -> AsyncIterator[Chunk]:
        async with self._one_at_a_time[worker]:
            done, meters, sent = [], [], time.time()
            for unit in work.units if isinstance(work, Shard) else ():
                began = time.time()
                await asyncio.sleep(UNIT_SECONDS)
                ended = time.time()
                done.append(unit)
                meters.append({"attempt": 1, "worker": worker, "ended": ended, "seconds": ended - began})
                if ended - sent >= self._interval or unit is work.units[-1]:  # type: ignore[union-attr]
                    yield Chunk(self._maker.batch(done, [Outcome(u.key, {"y": 0.0}) for u in done], meters), None)
                    done, meters, sent = [], [], ended


class _Method:
    """What a handle's method is to the executor."""

    def __init__(self, call: Any) -> None:
        self.remote = call


class _Member:
    """One worker of a crowd, with the face of an actor of its own."""

    def __init__(self, crowd: Any, name: str) -> None:
        self.hello = _Method(crowd.ready.remote)
        self.open = _Method(crowd.open.remote)
        self.farewell = _Method(crowd.wait.remote)
        self.run = _Method(lambda work: crowd.run.remote(name, work))


class _Crowds(RayCluster):
    """Where so many workers live that not each can have a process."""

    def __init__(self, site: Site, workers: int) -> None:
        super().__init__(site)
        self._crowds: list[Any] = []
        self._count = workers

    def spawn(self, worker: str, config: WorkerConfig) -> Any:
        while len(self._crowds) < math.ceil(self._count / _PER_PROCESS):
            crowd = _Crowd.options(num_cpus=0, max_concurrency=4 * _PER_PROCESS).remote(config)  # type: ignore[attr-defined]
            ray.get(crowd.ready.remote())
            self._crowds.append(crowd)
        return _Member(self._crowds[int(worker[1:]) % len(self._crowds)], worker)

    def kill(self, actor: Any) -> None:
        pass  # it shares its process

    def close(self) -> None:
        for crowd in self._crowds:
            ray.kill(crowd)
        super().close()


class _Load(QuietWatch):
    """The driver's own processor time, from when all work until the end."""

    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers = workers
        self.marks: list[tuple[float, float]] = []

    def show(self, snapshot: Snapshot) -> None:
        if snapshot.phase == "running" and snapshot.new >= 3 * self.workers:
            self.marks.append((time.monotonic(), time.process_time()))


def overhead(workers: int, seconds: int, *, tracking: float = 0.0) -> dict[str, float]:
    """What workers lose with units of 1 s: read from the rows they gave.

    Args:
        workers: how many.
        seconds: of work for each.
        tracking: how often MLflow is brought up to date meanwhile, s; 0: never.

    Returns:
        `overhead`: share of the workers' time outside units, from when each has ended three units until the first has
        nothing left; `driver`: processor seconds of the driver per second.
    """
    units = workers * seconds
    watch = _Load(workers)
    with tempfile.TemporaryDirectory() as folder:
        kind = kind_named("function")
        site = Site(workers=workers, cpus=0.001, tracking=False, start_timeout=600)
        executor = RayExecutor(site, _Crowds(site, workers))
        results = Path(folder) / "sweep"
        followed = Site(tracking_seconds=tracking)
        with Follower(watch, followed, str(results), own=True) as shown:
            run_sweep(kind, noop_spec(units), site, results, folder=Path.cwd(), watch=shown, executor=executor)
            shown.end("done")
        rows = Ledger.open(Store.at(results)).rows(["worker", "ended", "seconds"]).to_pandas().sort_values("ended")
    rows["began"] = rows["ended"] - rows["seconds"]
    since = float(rows.groupby("worker")["ended"].nth(2).max())
    until = float(rows.groupby("worker")["ended"].max().min())
    inside = (rows["ended"].clip(upper=until) - rows["began"].clip(lower=since)).clip(lower=0).sum()
    count = rows["worker"].nunique()
    (t0, c0), (t1, c1) = watch.marks[0], watch.marks[-1]
    return {
        "workers": count,
        "seconds": until - since,
        "overhead": 1 - float(inside) / (count * (until - since)),
        "driver": (c1 - c0) / (t1 - t0),
    }
