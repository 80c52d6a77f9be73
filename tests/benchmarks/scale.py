"""How many workers a driver feeds: measured at 64 on Ray, simulated with the driver's measured costs up to 10^4.

`python -m tests.benchmarks.scale [--quick] [--json] [--workers N] [--plot FILE]` prints tables and, last, a JSON line.

- `overhead_64_workers`: share of the workers' time outside units of 1 s, with the real driver and real Ray streams from
  64 workers that share few processes and sleep; from when each has ended three units until the first has no work left.
- `saturation_workers`: how many workers one driver feeds before they idle for 5 % of their time, with units of 1 s and
  the site's default shards of 5 s. From a simulation with the driver's measured costs.
- `run` against `simulated`: the same two for several numbers of workers.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import ray

from tests.benchmarks.scale_costs import Costs, loop_costs, ray_costs
from tests.benchmarks.scale_crowd import overhead
from tests.benchmarks.scale_simulation import saturation, simulate

SHARDS = (1.0, 5.0, 20.0, 60.0)  # site.shard_seconds; 5 is the default
WORKERS = (16, 64, 256, 512, 1024, 2048, 3000, 4000, 6000, 8000, 10_000)


def costs_here(quick: bool) -> Costs:
    """The driver's costs, its own and Ray's."""
    shard, row = loop_costs(12_800, 1 if quick else 3)
    turn, worker, message, start = ray_costs((10, 100, 400) if quick else (10, 100, 1000, 3000), 10)
    return Costs(turn, worker, message, shard + start, row)


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
        left.plot(
            list(points), [100 * max(p, 1e-4) for p in points.values()], "k*", ms=11, label="real driver and streams"
        )
    left.axhline(2, color="grey", lw=0.8, ls="--")
    left.text(WORKERS[0], 1.25, "2 %", color="grey", fontsize=8)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="workers",
        ylabel="idle time of the workers, % (0.01: none)",
        ylim=(0.007, 130),
    )
    right.set(xscale="log", xlabel="workers", ylabel="driver busy, %", ylim=(0, 104))
    left.legend(title="simulated, seconds per shard", fontsize=8, title_fontsize=8, loc="upper left")
    left.set_title("Do workers wait for the driver?", fontsize=10)
    right.set_title("How busy is the driver?", fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)


def redraw(line: str, file: Path) -> None:
    """The figure again, from the JSON line of a run."""
    found = json.loads(line)
    curves = {float(s): [tuple(p) for p in points] for s, points in found["curves"].items()}
    plot(curves, {int(w): told["overhead"] for w, told in found["run"].items()}, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few repeats, short runs and simulations")
    parser.add_argument("--workers", type=int, nargs="*", help="run with so many")
    parser.add_argument("--plot", type=Path, help="write the figure here")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    args = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")  # sleepers that wake late would be taken for an idle driver
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    costs = costs_here(args.quick)
    numbers = args.workers if args.workers is not None else [16, 64] if args.quick else [64, 256, 1024, 2048]
    run = {w: overhead(w, 20 if args.quick else 30) for w in numbers}
    if not args.json:
        report({"costs_us": {name: 1e6 * value for name, value in vars(costs).items()}, "run": run})
    ray.shutdown()
    shards = (5.0,) if args.quick else SHARDS
    curves = {s: [(w, (r := simulate(w, 1.0, s, costs, 60.0)).idle, r.busy) for w in WORKERS] for s in shards}
    saturated = {s: saturation(s, costs, 60.0) for s in shards}
    found: dict[str, Any] = {
        "overhead_64_workers": run[64]["overhead"] if 64 in run else None,
        "saturation_workers": saturated[5.0],
        "saturation_by_shard_seconds": saturated,
        "costs_us": {name: 1e6 * value for name, value in vars(costs).items()},
        "run": run,
        "simulated": {w: vars(simulate(w, 1.0, 5.0, costs, 60.0)) for w in numbers},
        "curves": curves,
    }
    if args.plot:
        plot(curves, {w: told["overhead"] for w, told in run.items()}, args.plot)
    if not args.json:
        for s, w in saturated.items():
            print(f"{f'saturation, shards of {s:g} s':>28}  {w:,} workers")
    print(json.dumps(found))


def report(found: dict[str, Any]) -> None:
    for name, value in found["costs_us"].items():
        print(f"{f'driver: per {name}, us':>28}  {value:,.1f}")
    for w, told in found["run"].items():
        print(f"{f'{w} workers':>28}  overhead {told['overhead']:.2%}, driver uses {told['driver']:.0%} of a core")


if __name__ == "__main__":
    main()
