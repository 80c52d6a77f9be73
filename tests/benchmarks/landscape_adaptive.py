"""Adaptive grids against whole ones: how many points they take, and how far their surfaces are apart.

Run: `python -m tests.benchmarks.landscape_adaptive [--tolerance 0.05] [--json]`.

Surfaces of 65 x 65 points: the training loss around a perceptron and two ResNet-20 with and without skip connections,
trained on digits, and known functions. The whole grid is the oracle. For each: the points that the adaptive grid
computed, the largest difference over all points as a share of what log10 of the loss spans, and how many points lie
across one of the 24 inner contour lines of the report's map with no such line beside them (0: all lines are within one
cell). Keys, of the networks: `adaptive_share` and `adaptive_difference`, the largest ones, and `adaptive_across`, the
sum. `--quick` takes smaller networks and fewer samples.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from landsweep.orchestrator.run.freed_memory import keep_freed_memory
from landsweep.sweeps.landscape.colour_scale import Scale
from tests.support.surfaces import FUNCTIONS, across_contours, of_function, of_network, refined

_POINTS = 65


def networks(*, quick: bool) -> dict[str, dict[str, Any]]:
    """The networks, by name."""
    sizes = {"depth": 8, "width": 4} if quick else {"depth": 20, "width": 8}
    return {
        "perceptron": {"net": "mlp", "hidden": [64, 64]},
        "ResNet": {"net": "resnet", **sizes},
        "ResNet without skip connections": {"net": "resnet", **sizes, "skip": False},
    }


def compare(values: NDArray[np.float64], tolerance: float) -> dict[str, float]:
    """An adaptive grid against the whole one."""
    filled, asked = refined(values, tolerance)
    logs = np.log10(values)
    off = np.abs(np.log10(filled.values) - logs)
    levels = Scale.of([values]).levels()[1:-1]
    return {
        "share": len(asked) / values.size,
        "decades": float(np.ptp(logs)),
        "worst": float(off.max()),
        "q99": float(np.quantile(off, 0.99)),
        "difference": float(off.max() / np.ptp(logs)),
        "across": across_contours(values, filled.values, list(levels)),
    }


def main() -> None:
    """Print the table and, last, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tolerance", type=float, default=0.05, help="of the adaptive grid, in decades")
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--quick", action="store_true", help="smaller networks, fewer samples")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    epochs, first = (5, 64) if given.quick else (15, 256)
    found: dict[str, dict[str, float]] = {}
    for name, net in networks(quick=given.quick).items():
        found[name] = compare(of_network(net, _POINTS, epochs=epochs, first=first), given.tolerance)
    functions = {name: compare(of_function(f, _POINTS), given.tolerance) for name, f in FUNCTIONS.items()}
    if not given.json:
        print(f"{'surface':34}{'points':>8}{'decades':>9}{'worst':>8}{'99 %':>8}{'of all':>8}{'across':>8}")
        for name, of in {**found, **functions}.items():
            print(
                f"{name:34}{of['share']:8.1%}{of['decades']:9.2f}{of['worst']:8.4f}{of['q99']:8.4f}"
                f"{of['difference']:8.2%}{of['across']:8.0f}"
            )
    line = {
        "adaptive_share": round(max(of["share"] for of in found.values()), 4),
        "adaptive_difference": round(max(of["difference"] for of in found.values()), 5),
        "adaptive_across": sum(of["across"] for of in found.values()),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
