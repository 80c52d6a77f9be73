"""The Chinchilla fit from all 4,500 starts, against a plain loop of scipy's L-BFGS-B over the same starts.

`python -m tests.benchmarks.laws [--quick] [--repeats N] [--json]` prints a table and, last, one JSON line.

The points are the published ones (240 of 245 are fitted) where LANDSWEEP_PUBLISHED_DATA names their folder, else as
many synthetic ones from the published law. Both sides see the same points, starts and objective (sum-Huber, delta 1e-3,
on log-loss), both have analytic gradients, in one process on one core. All times are CPU seconds of this process:
other work on the machine changes them little; set OMP_NUM_THREADS=1.

- `chinchilla_ratio`: seconds of the loop, with scipy's default tolerances, over seconds of `fit`, intervals included.
- `ratio_tight`: the same for a loop whose tolerances are tight enough to reach the minimum from each start.
- `objective`, `objective_scipy`: lowest objective of either side.
- `bootstrap_1000_seconds`: median, after the fit; 1,000 draws.
- `laws.holdout_megabytes`, `laws.holdout_seconds`: the most memory that a process grows by, and its CPU seconds, while
  a law is fitted to 300 rows with 2,000 draws of a bootstrap, judged on 10^5 rows held out, and predicts these.

`--quick` gives both sides every twentieth start.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from landsweep.sweeps.laws.chinchilla import CHINCHILLA
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.fitting.intervals import bootstrap
from landsweep.sweeps.laws.fitting.objective import objective_named
from landsweep.sweeps.laws.fitting.problem import Coordinates, Problem
from tests.support.costs import in_a_fork, most_resident, resident

DELTA = 1e-3
HELD = 100_000
TIGHT = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000, "maxfun": 100_000}


def points() -> pd.DataFrame:
    """N, D and loss of 240 runs."""
    folder = os.environ.get("LANDSWEEP_PUBLISHED_DATA")
    if folder is not None:
        read = pd.read_csv(Path(folder) / "chinchilla_epoch.csv").sort_values("loss").iloc[:-5]
        size = read["Model Size"].to_numpy()
        return pd.DataFrame(
            {"N": size, "D": read["Training FLOP"].to_numpy() / 6 / size, "loss": read["loss"].to_numpy()}
        )
    return synthetic(240)


def loop(data: pd.DataFrame, starts: np.ndarray, options: dict[str, float]) -> tuple[float, float]:
    """Seconds and lowest objective of one L-BFGS-B descent after another."""
    log_n, log_d, log_loss = (np.log(data[c].to_numpy()) for c in ("N", "D", "loss"))

    def objective(p: np.ndarray) -> tuple[float, np.ndarray]:
        a, b, e, alpha, beta = p
        by_size, by_data, floor = np.exp(a - alpha * log_n), np.exp(b - beta * log_d), np.exp(e)
        loss = by_size + by_data + floor
        r = np.log(loss) - log_loss
        size = np.abs(r)
        value = np.where(size <= DELTA, 0.5 * r * r, DELTA * (size - 0.5 * DELTA)).sum()
        psi = np.clip(r, -DELTA, DELTA) / loss
        at, bt = psi * by_size, psi * by_data
        return value, np.array([at.sum(), bt.sum(), psi.sum() * floor, -(at @ log_n), -(bt @ log_d)])

    began = time.process_time()
    with np.errstate(all="ignore"):
        found = [minimize(objective, s, jac=True, method="L-BFGS-B", options=options).fun for s in starts]
    return time.process_time() - began, float(np.nanmin(found))


def ours(data: pd.DataFrame, starts: np.ndarray) -> tuple[float, Fit]:
    began = time.process_time()
    found = fit(CHINCHILLA, data, starts=starts)
    found.parameters()
    return time.process_time() - began, found


def bootstrap_seconds(found: Fit, seed: int) -> float:
    assert found.cases is not None
    coordinates = Coordinates.of(CHINCHILLA)
    problem = Problem(
        CHINCHILLA, found.cases.x, found.cases.y, found.cases.weights, objective_named("huber"), coordinates
    )
    began = time.process_time()
    draws = bootstrap(problem, coordinates.inside(found.theta), found.cases, 1000, seed, np.ones(5, bool))
    replace(found, draws=coordinates.outside(draws)).parameters()
    return time.process_time() - began


def synthetic(n: int) -> pd.DataFrame:
    """N, D and loss of runs that follow the published law, with noise."""
    random = np.random.default_rng(0)
    size, tokens = 10 ** random.uniform(7.7, 10.2, n), 10 ** random.uniform(9, 11.5, n)
    loss = CHINCHILLA.predict(np.array([[1.8172, 482.01, 2085.43, 0.3478, 0.3658]]), {"N": size, "D": tokens})[0]
    return pd.DataFrame({"N": size, "D": tokens, "loss": loss * np.exp(0.01 * random.laplace(size=n))})


def holdout() -> dict[str, float]:
    """Memory and time of hold-out, prediction and bootstrap; in a process of its own, whose peak is theirs."""
    data = synthetic(300 + HELD).assign(row=range(300 + HELD))
    starts = CHINCHILLA.starts({}, data["loss"].to_numpy())[::100]
    fit(CHINCHILLA, data[:600], starts=starts, holdout=["row >= 300"], bootstrap=20)
    before, began = resident(), time.process_time()
    found = fit(CHINCHILLA, data, starts=starts, holdout=["row >= 300"], bootstrap=2000)
    assert found.held is not None and found.held.n == HELD
    found.predict(data[300:])
    return {
        "laws.holdout_megabytes": max(0.0, most_resident() - before),
        "laws.holdout_seconds": time.process_time() - began,
    }


def measure(quick: bool, repeats: int) -> dict[str, Any]:
    data = points()
    starts = CHINCHILLA.starts({}, data["loss"].to_numpy())[:: 20 if quick else 1]
    theirs = np.column_stack([np.log(starts[:, [1, 2, 0]]), starts[:, 3:]])
    times, found = zip(*(ours(data, starts) for _ in range(repeats)), strict=True)
    plain, plain_best = loop(data, theirs, {})
    tight, tight_best = loop(data, theirs, TIGHT)
    draws = [bootstrap_seconds(found[0], seed) for seed in range(repeats)]
    middle = statistics.median(times)
    return {
        "starts": len(starts),
        "fit_seconds": middle,
        "fit_seconds_range": [min(times), max(times)],
        "scipy_seconds": plain,
        "scipy_tight_seconds": tight,
        "chinchilla_ratio": plain / middle,
        "ratio_tight": tight / middle,
        "objective": found[0].value,
        "objective_scipy": min(plain_best, tight_best),
        "bootstrap_1000_seconds": statistics.median(draws),
        "bootstrap_range": [min(draws), max(draws)],
        **in_a_fork(holdout),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every twentieth start")
    parser.add_argument("--repeats", type=int, default=5, help="of the fit and of the bootstrap; the loops run once")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    args = parser.parse_args()
    found = measure(args.quick, args.repeats)
    if not args.json:
        for name, value in found.items():
            print(f"{name:>24}  {value if isinstance(value, list) else f'{value:.9g}'}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
