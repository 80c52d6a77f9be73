"""Barriers between pairs of stored models: 40 x 40 MLPs, each pair on the line of 25 points.

`python -m tests.benchmarks.pairs [--quick] [--json]` prints a table and, last, one JSON line.

The models are MLPs of two hidden layers of 64 units with random weights, for what is timed does not depend on whether
they were trained; the samples are the 1,400 first digits. Units are computed as a sweep computes them, by the measure
itself, in two processes of one thread.

- `pairs_seconds`: wall seconds for 1,600 pairs without matching.
- `pairs_matched_seconds`: the same after weight matching.
- `pairs_cpu_seconds`, `pairs_matched_cpu_seconds`: processor seconds of each of the two processes, on average: what the
  wall seconds are where nothing else runs.

`--quick` takes 8 x 8 models and scales up.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from sklearn.datasets import load_digits

from landsweep.sweeps.lab.models.mlp import Mlp
from landsweep.sweeps.measure.measures.barrier import Barrier
from landsweep.sweeps.measure.subject import StoredModel, Subject
from tests.support.subjects import samples_of, stored_model

SIDE, QUICK, WORKERS = 40, 8, 2


def models(count: int, first: int) -> list[StoredModel]:
    """Networks of one architecture, by seed."""
    net = Mlp(net="mlp", hidden=(64, 64))
    return [stored_model(net.build((64,), 10, seed), key=str(seed)) for seed in range(first, first + count)]


def share(side: int, worker: int, match: str) -> tuple[int, float]:
    """How many pairs one worker has measured, every second row of the matrix, and its processor seconds."""
    torch.set_num_threads(1)
    digits = load_digits()
    inputs = torch.tensor(digits.data[:1400] / 16, dtype=torch.float32)
    samples = samples_of(inputs, torch.tensor(digits.target[:1400]), batch_size=1400)
    left, right = models(side, 0), models(side, side)
    pairs = [
        Subject((a, b), {"train": samples}, (inputs,), seed=i * side + j)
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if i % WORKERS == worker
    ]
    start = time.process_time()
    return sum(1 for _ in Barrier(match=match).compute(pairs)), time.process_time() - start


def seconds(side: int, match: str) -> tuple[float, float]:
    """Wall and processor seconds for side x side pairs, without the start of the processes."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        list(pool.map(share, [2, 2], range(WORKERS), [match] * WORKERS))  # imports, first calls
        start = time.perf_counter()
        done = list(pool.map(share, [side] * WORKERS, range(WORKERS), [match] * WORKERS))
        wall = time.perf_counter() - start
    assert sum(count for count, _ in done) == side * side
    return wall, sum(cpu for _, cpu in done) / WORKERS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    options = parser.parse_args()
    side = QUICK if options.quick else SIDE
    scale = (SIDE / side) ** 2
    figures = {}
    for name, match in (("pairs", "none"), ("pairs_matched", "weights")):
        wall, cpu = seconds(side, match)
        figures |= {f"{name}_seconds": wall * scale, f"{name}_cpu_seconds": cpu * scale}
    if not options.json:
        for name, value in figures.items():
            print(f"{name:24} {value:8.1f} s for {SIDE} x {SIDE} pairs, {1000 * value / SIDE**2:.1f} ms each")
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
