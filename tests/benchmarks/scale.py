"""How many workers a driver feeds: measured at 64 on Ray, simulated with the driver's measured costs up to 10^4.

`python -m tests.benchmarks.scale [--quick] [--json] [--workers N] [--plot FILE]` prints tables and, last, a JSON line.

- `overhead_64_workers`: share of the workers' time that is not spent in units: 64 Ray actors, units asleep for 1 s,
  from the moment when all of them work until the first one runs out of work. `--workers N`: N actors instead.
- `saturation_workers`: how many workers one driver feeds before they idle for 5 % of their time, with units of 1 s and
  the site's default shards of 5 s. From the simulation.
- `emulated`: idle time under the real run loop, schedule and ledger, with pretended workers in real time, where each
  turn also takes the time that Ray was measured to take. The simulation must agree with it.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from orchestrator.executors.base import Event, Finished, Gave
from orchestrator.executors.streams import sending_interval
from orchestrator.kind import kind_named
from orchestrator.ledger import Ledger, Store
from orchestrator.run import run_sweep
from orchestrator.schedule import Shard
from orchestrator.site import Site
from orchestrator.spec import Spec, parse
from orchestrator.testing.kind_suite import QuietWatch
from orchestrator.worker import Chunk, Work
from tests.benchmarks.scale_costs import Costs, Idle, loop_costs, ray_costs, spec_of
from tests.benchmarks.scale_simulation import saturation, simulate

SHARDS = (1.0, 5.0, 20.0, 60.0)  # site.shard_seconds; 5 is the default
WORKERS = (16, 64, 256, 1024, 2048, 4096, 10_000)


def sleep(i: int, seconds: float) -> dict[str, float]:
    """One unit."""
    time.sleep(seconds)
    return {"y": float(i)}


def sleeping(units: int, seconds: float) -> Spec:
    data = {
        "kind": "function",
        "name": "sleep",
        "function": "tests.benchmarks.scale:sleep",
        "fixed": {"seconds": seconds},
        "columns": {"y": {"doc": "nothing"}},
        "axes": {"i": {"range": units}},
    }
    return parse(kind_named("function").spec, data, "sleep")


def measured(workers: int, seconds_each: int) -> dict[str, float]:
    """The overhead of real actors, from their rows."""
    units = workers * seconds_each
    site = Site(workers=workers, cpus=0.01, threads=1, tracking=False, start_timeout=900)
    with tempfile.TemporaryDirectory() as folder:
        kind = kind_named("function")
        run_sweep(kind, sleeping(units, 1.0), site, folder, folder=Path.cwd(), watch=QuietWatch())
        rows = Ledger.open(Store.at(folder)).rows(["worker", "ended", "seconds"]).to_pandas()
    rows["began"] = rows["ended"] - rows["seconds"]
    per_worker = rows.groupby("worker")
    since, until = float(per_worker["began"].min().max()), float(per_worker["ended"].max().min())
    inside = (rows["ended"].clip(upper=until) - rows["began"].clip(lower=since)).clip(lower=0).sum()
    return {
        "workers": rows["worker"].nunique(),
        "seconds": until - since,
        "overhead": 1 - float(inside) / (rows["worker"].nunique() * (until - since)),
    }


class Pretended(Idle):
    """Workers that keep real time, and a driver that is held up for as long as Ray would hold it up.

    Args:
        workers: how many.
        costs: of Ray alone.
        seconds: after which the sweep is over, whatever is left.
    """

    def __init__(self, workers: int, costs: Costs, seconds: float) -> None:
        super().__init__(workers)
        self._costs = costs
        self._news: list[tuple[float, int, str, Work, int]] = []
        self._queues: dict[str, list[Work]] = {name: [] for name in self._names}
        self._ends: dict[str, float] = {}
        self._numbers = iter(range(10**9))
        self._held: float = 0.0
        self.idle: dict[str, float] = dict.fromkeys(self._names, 0.0)
        self.since = time.monotonic() + seconds
        self.until = self.since + seconds

    def slots(self) -> Sequence[str]:
        return [name for free in (0, 1) for name, queue in self._queues.items() if len(queue) <= free]

    def start(self, worker: str, work: Work) -> None:
        self._held += self._costs.shard
        now = time.monotonic()
        self._queues[worker].append(work)
        if len(self._queues[worker]) == 1:
            if worker in self._ends:
                self.idle[worker] += max(0.0, min(now, self.until) - max(self._ends[worker], self.since))
            self._begin(worker, now)

    def _begin(self, worker: str, at: float) -> None:
        work = self._queues[worker][0]
        units = len(work.units) if isinstance(work, Shard) else 0
        every = max(1, round(sending_interval(len(self._names))))
        for done in range(0, units, every):
            number = next(self._numbers)
            heapq.heappush(self._news, (at + min(units, done + every), number, worker, work, done))
        heapq.heappush(self._news, (at + units, next(self._numbers), worker, work, -1))

    def poll(self, timeout: float) -> Sequence[Event]:
        time.sleep(self._held + self._costs.turn + self._costs.worker * len(self._names))
        self._held = 0.0
        now = time.monotonic()
        if self._news and self._news[0][0] > now:
            time.sleep(min(timeout, self._news[0][0] - now))
        events: list[Event] = []
        every = max(1, round(sending_interval(len(self._names))))
        while self._news and self._news[0][0] <= time.monotonic():
            at, _, worker, work, done = heapq.heappop(self._news)
            self._held += self._costs.message
            if done >= 0 and isinstance(work, Shard):
                part = Shard(work.id, work.units[done : done + every])
                events.append(Gave(work.id, Chunk(self.rows(part), None)))
                continue
            units = len(work.units) if isinstance(work, Shard) else 0
            events.append(Finished(work.id, float(units)))
            self._queues[worker].pop(0)
            self._ends[worker] = at
            if self._queues[worker]:
                self._begin(worker, at)
        return events


def emulated(workers: int, ray_alone: Costs, seconds: float) -> float:
    """Share of idle time of pretended workers under the real loop, with shards of 5 s."""
    import threading

    executor = Pretended(workers, ray_alone, seconds)
    stop = threading.Event()
    threading.Timer(2 * seconds, stop.set).start()
    site = Site(tracking=False, shard_seconds=5)
    units = int(workers * (2 * seconds + 60))
    with tempfile.TemporaryDirectory() as folder:
        run_sweep(
            kind_named("function"),
            spec_of(units),
            site,
            folder,
            folder=Path.cwd(),
            watch=QuietWatch(),
            executor=executor,
            stop=stop,
        )
    return sum(executor.idle.values()) / (workers * seconds)


def costs_here(quick: bool) -> tuple[Costs, Costs]:
    """All costs, and those of Ray alone."""
    shard, row = loop_costs(12_800, 1 if quick else 3)
    turn, worker, message, start = ray_costs((10, 100, 400) if quick else (10, 100, 1000, 3000), 10)
    alone = Costs(turn, worker, message, start, 0.0)
    return Costs(turn, worker, message, shard + start + message, row), alone


def plot(curves: dict[float, list[tuple[int, float, float]]], points: dict[int, float], file: Path) -> None:
    """Idle workers and a busy driver over the number of workers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), sharex=True, constrained_layout=True)
    for shard_seconds, curve in curves.items():
        x = [w for w, _, _ in curve]
        label = f"{shard_seconds:g} s" + (" (default)" if shard_seconds == 5 else "")
        left.plot(x, [100 * max(idle, 1e-4) for _, idle, _ in curve], "o-", ms=3.5, label=label)
        right.plot(x, [100 * busy for _, _, busy in curve], "o-", ms=3.5, label=label)
    if points:
        left.plot(list(points), [100 * max(p, 1e-4) for p in points.values()], "k*", ms=11, label="run, not simulated")
    left.axhline(2, color="grey", lw=0.8, ls="--")
    left.text(WORKERS[0], 2.25, "2 %", color="grey", fontsize=8)
    left.set(xscale="log", yscale="log", xlabel="workers", ylabel="idle time of the workers, %", ylim=(0.009, 130))
    right.set(xscale="log", xlabel="workers", ylabel="driver busy, %", ylim=(0, 104))
    left.legend(title="seconds per shard", fontsize=8, title_fontsize=8)
    left.set_title("Do workers wait for the driver?", fontsize=10)
    right.set_title("How busy is the driver?", fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 real workers, few repeats, short simulations")
    parser.add_argument("--workers", type=int, help="real Ray actors; 0: none")
    parser.add_argument("--plot", type=Path, help="write the figure here")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    args = parser.parse_args()
    seconds = 20.0 if args.quick else 60.0
    workers = args.workers if args.workers is not None else 8 if args.quick else 64
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    costs, alone = costs_here(args.quick)
    real = measured(workers, 20 if args.quick else 30) if workers else None
    ray.shutdown()
    checks = (64, 512) if args.quick else (64, 512, 2048)
    pretended = {w: emulated(w, alone, 10.0 if args.quick else 20.0) for w in checks}
    curves = {
        s: [(w, (r := simulate(w, 1.0, s, costs, seconds)).idle, r.busy) for w in WORKERS]
        for s in ((5.0,) if args.quick else SHARDS)
    }
    saturated = {s: saturation(s, costs, 20.0) for s in curves}
    found: dict[str, Any] = {
        "overhead_64_workers": None if real is None else real["overhead"],
        "saturation_workers": saturated[5.0],
        "real": real,
        "saturation_by_shard_seconds": saturated,
        "costs_us": {name: 1e6 * value for name, value in vars(costs).items()},
        "emulated": pretended,
        "simulated": {w: simulate(w, 1.0, 5.0, costs, 20.0).idle for w in checks},
        "curves": curves,
    }
    if args.plot:
        run = dict(pretended) | ({int(real["workers"]): real["overhead"]} if real else {})
        plot(curves, run, args.plot)
    if not args.json:
        report(found)
    print(json.dumps(found))


def report(found: dict[str, Any]) -> None:
    for name, value in found["costs_us"].items():
        print(f"{f'driver: per {name}, us':>30}  {value:,.1f}")
    if found["real"]:
        real = found["real"]
        print(f"{'overhead of real Ray actors':>30}  {real['overhead']:.2%} on {real['workers']} workers")
    for w, idle in found["emulated"].items():
        print(f"{f'idle with {w} workers':>30}  {idle:.2%} emulated, {found['simulated'][w]:.2%} simulated")
    for s, w in found["saturation_by_shard_seconds"].items():
        print(f"{f'saturation, shards of {s:g} s':>30}  {w:,} workers")
    median = statistics.median(idle for _, idle, _ in found["curves"][5.0])
    print(f"{'median idle, shards of 5 s':>30}  {median:.2%}")


if __name__ == "__main__":
    main()
