"""What it costs a driver that MLflow follows its sweep: its processor time with and without.

`python -m tests.benchmarks.tracking [--quick] [--workers 64] [--seconds 40] [--repeats 3]` prints one JSON line.

- `driver_alone`, `driver_tracked`: processor seconds of the driver per second, for each repeat, in turn;
- `tracking_share`: median of the differences, as a share of one core. MLflow is brought up to date every 5 s, twelve
  times as often as by default. The process that does this has its own processor time, which is not part of it;
- `workers_slowed`: median of how much less of their time the workers spend in units, for each pair of runs.

`--quick` takes one pair of runs of 16 workers and 10 s.
"""

from __future__ import annotations

import argparse
import json
import statistics

import ray

from tests.benchmarks.scale_crowd import overhead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pair of short runs of few workers")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--repeats", type=int)
    args = parser.parse_args()
    usual = (16, 10, 1) if args.quick else (64, 40, 3)
    workers, seconds, repeats = (
        given or by_default for given, by_default in zip((args.workers, args.seconds, args.repeats), usual, strict=True)
    )
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    pairs = [(overhead(workers, seconds), overhead(workers, seconds, tracking=5.0)) for _ in range(repeats)]
    measured = {
        "driver_alone": [alone["driver"] for alone, _ in pairs],
        "driver_tracked": [tracked["driver"] for _, tracked in pairs],
        "tracking_share": statistics.median(tracked["driver"] - alone["driver"] for alone, tracked in pairs),
        "workers_slowed": statistics.median(tracked["overhead"] - alone["overhead"] for alone, tracked in pairs),
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
