"""Laws of learning curves, all curves at once, against a script's way: one curve after the other.

`python -m tests.benchmarks.curves [--quick] [--repeats N] [--json]`. Processor seconds of one thread, sides in turn,
ratios of medians. The script's side is `tests/support/curves_by_steps.py`; that both give the same numbers is asserted
first, to 1e-10, since plain sums over 20,000 steps are rounded so often.

- `laws.multi_power_ratio`: losses and their derivatives at 8 parameter vectors: a loop over rows, with derivatives by
  differences, as optimizers take them that are given none, over `MULTI_POWER.evaluate`.
- `laws.multi_power_prepare_ratio`: finding the drops of the rate before each row, once per fit.
- `laws.annealing_ratio`: both areas at each row, by a loop over all steps.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from landsweep.sweeps.laws.annealing import ANNEALING_CURVES
from landsweep.sweeps.laws.multi_power import MULTI_POWER
from tests.support.curves_by_steps import (
    areas,
    drops_before_rows,
    multi_power_with_derivatives,
    some_curves,
)

VECTORS = np.array([2.8, 0.6, 0.45, 500.0, 2.0, 0.6, 0.6]) * np.linspace(0.9, 1.1, 8)[:, None]


def sides(curves: int, rows: int) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """For each ratio the script's way and ours, of which the numbers are compared here.

    Args:
        curves: how many.
        rows: of each, about; its schedule has 20,000 steps.
    """
    x = some_curves(curves, rows, seed=0)
    scripted, prepared = drops_before_rows(x), MULTI_POWER.prepare(x)
    losses, gradients = MULTI_POWER.evaluate(VECTORS, prepared)
    for theta, loss, gradient in zip(VECTORS.tolist(), losses, gradients, strict=True):
        theirs, slopes = multi_power_with_derivatives(theta, scripted)
        np.testing.assert_allclose(loss, theirs, rtol=1e-10)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-6)
    for ours, other in zip(ANNEALING_CURVES.prepare(x).values(), areas(x), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-15)
    return {
        "laws.multi_power_ratio": (
            lambda: [multi_power_with_derivatives(theta, scripted) for theta in VECTORS.tolist()],
            lambda: MULTI_POWER.evaluate(VECTORS, prepared),
        ),
        "laws.multi_power_prepare_ratio": (lambda: drops_before_rows(x), lambda: MULTI_POWER.prepare(x)),
        "laws.annealing_ratio": (lambda: areas(x), lambda: ANNEALING_CURVES.prepare(x)),
    }


def seconds(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 curves instead of 100")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    options = parser.parse_args()
    result: dict[str, float] = {}
    for name, pair in sides(10 if options.quick else 100, 60).items():
        times = [[seconds(side) for side in pair] for _ in range(options.repeats)]
        script, ours = (statistics.median(side) for side in zip(*times, strict=True))
        result[name] = round(script / ours, 2)
        if not options.json:
            print(f"{name:>32}  script {script:.4g} s, ours {ours:.4g} s, ratio {script / ours:.1f}")
            print(f"{'':>32}  single pairs {', '.join(f'{a / b:.1f}' for a, b in sorted(times))}")
    print(json.dumps({**result, "repeats": options.repeats, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
