"""What the engine itself costs: no-op units through Ray with the durable ledger.

`python -m tests.benchmarks.overhead [--quick] [--units N] [--peer] [--json]` prints a table and, last, one JSON line.

- `units_per_second`: from the first unit handed out to the last commit; Ray is up and the workers are ready before.
- `rss_growth_mb`: growth of the driver's resident memory over the run.
- `files`: in the results folder at the end.
- `resume_seconds`: the same command again on the finished sweep, in a fresh process, interpreter start included.
- `tune_trials_per_second`: Ray Tune with reused actors on no-op trials, in the same Ray.

`--quick` takes a tenth of the units.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import ray

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec, parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch

WORKERS = 2
TUNE_TRIALS = 100


def noop(i: int) -> dict[str, float]:
    """Do nothing; the metric is there so that a row has one."""
    del i
    return {"y": 0.0}


def noop_spec(units: int) -> Spec:
    data = {
        "kind": "function",
        "name": "overhead",
        "function": "tests.benchmarks.overhead:noop",
        "columns": {"y": {"doc": "nothing"}},
        "axes": {"i": {"range": units}},
    }
    return parse(kind_named("function").spec, data, "overhead")


class Timed(QuietWatch):
    """Takes the time between the first unit and the end, and the driver's memory at both."""

    def __init__(self) -> None:
        super().__init__()
        self.began: float | None = None
        self.rss = [0.0, 0.0]

    def show(self, snapshot: Snapshot) -> None:
        rss = psutil.Process().memory_info().rss / 1e6
        if snapshot.phase == "running" and self.began is None:
            self.began, self.rss[0] = time.perf_counter(), rss
        self.rss[1] = max(self.rss[1], rss)


def ours(units: int, folder: Path) -> dict[str, Any]:
    watch = Timed()
    site = Site(workers=WORKERS, tracking=False)
    run_sweep(kind_named("function"), noop_spec(units), site, folder, folder=Path.cwd(), watch=watch)
    ended = time.perf_counter()
    if watch.began is None:
        raise RuntimeError("the run showed no progress")
    return {
        "units_per_second": units / (ended - watch.began),
        "rss_growth_mb": watch.rss[1] - watch.rss[0],
        "files": sum(p.is_file() for p in folder.rglob("*")),
    }


def resume(units: int, folder: Path) -> float:
    code = f"from tests.benchmarks.overhead import *; print(resumed({units}, {str(folder)!r}))"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if done.stdout.strip() != "0":
        raise RuntimeError(f"the resume computed units again: {done.stdout}")
    return time.perf_counter() - began


def resumed(units: int, folder: str) -> int:
    """How many units a second run computes: none."""
    site = Site(workers=WORKERS, tracking=False)
    kind = kind_named("function")
    return run_sweep(kind, noop_spec(units), site, folder, folder=Path.cwd(), watch=QuietWatch()).new


def tune(trials: int) -> float:
    """Trials per second of Ray Tune on no-op trials, its most favourable setting."""
    from ray import tune as ray_tune

    class Noop(ray_tune.Trainable):  # type: ignore[misc] - ray is untyped
        def setup(self, config: dict[str, Any]) -> None:
            pass

        def step(self) -> dict[str, Any]:
            return {"y": 0.0, "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    with tempfile.TemporaryDirectory() as storage:
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(Noop, {"cpu": 1}),
            param_space={"i": ray_tune.grid_search(list(range(trials)))},
            tune_config=ray_tune.TuneConfig(reuse_actors=True),
            run_config=ray_tune.RunConfig(
                storage_path=storage, verbose=0, checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False)
            ),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
    if results.num_errors:
        raise RuntimeError(f"{results.num_errors} of {trials} trials of Ray Tune failed: {results.errors[0]}")
    return trials / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, help="how many (100,000; quick: 10,000)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the units")
    parser.add_argument("--peer", action="store_true", help="measure Ray Tune in the same run")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    args = parser.parse_args()
    units = args.units or (10_000 if args.quick else 100_000)
    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as results:
        folder = Path(results) / "overhead"
        found = ours(units, folder)
        found["resume_seconds"] = resume(units, folder)
    found["tune_trials_per_second"] = tune(TUNE_TRIALS) if args.peer else None
    ray.shutdown()
    if not args.json:
        for name, value in found.items():
            print(f"{name:>24}  {'-' if value is None else f'{value:,.2f}'}")
        if args.peer:
            print(f"{'ratio to Ray Tune':>24}  {found['units_per_second'] / found['tune_trials_per_second']:,.0f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
