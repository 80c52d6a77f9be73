"""Points per second of a landscape: through the engine with Ray, in a bare loop, with the package loss-landscapes.

Run: `python -m tests.benchmarks.landscape [--side 15] [--repeats 5] [--json]`; about 5 minutes on 2 idle cores.

All sides evaluate the same points of the same ResNet-32 on the same 909 digits (512 train, 397 test; loss and
accuracy of both), one thread each. In each repeat all sides run one after the other, so that a slow minute of the
machine hits all of them; the figures are medians of the repeats. The rate of the engine is that of the time between
the first and the last row, in which all its workers work; start-up is left out. On a machine that others use too,
`cpu_efficiency`, the same ratio from processor seconds, tells more than the ratio of the rates. `folded_ratio` is that
of the rates of the engine with `site.shortcuts` and of the bare loop, `folded_cpu_ratio` that from processor seconds.
`--quick` takes 25 points, each side once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.sweeps.landscape.kind import LandscapeKind, LandscapeSpec

KIND = LandscapeKind()


def grid_spec(side: int) -> LandscapeSpec:
    """A grid of side x side points around a ResNet-32."""
    return LandscapeSpec.model_validate(
        {
            "kind": "landscape",
            "name": "benchmark",
            "data": {"source": "digits"},
            "models": {"net": {"net": "resnet", "depth": 32, "width": 8, "train": {"epochs": 2}}},
            "evaluators": {"train": {"split": "train", "first": 512}, "test": {"split": "test"}},
            "axes": {"x": {"linear": [-1, 1, side]}, "y": {"linear": [-1, 1, side]}},
        }
    )


class Bare:
    """What a careful researcher would write: parameters set in place, data in memory, inference mode."""

    def __init__(self, spec: LandscapeSpec, made: dict[str, Any]) -> None:
        state = {k[6:]: torch.tensor(v) for k, v in made["model-net"].items() if k.startswith("state/")}
        data = spec.data.load(Path())
        self.module: nn.Module = spec.models["net"].make(data.shape, data.outputs, Path())
        self.module.load_state_dict(state)
        self.module.eval()
        self.parameters = list(self.module.parameters())
        self.base = [p.detach().clone() for p in self.parameters]
        names = [k for k, _ in self.module.named_parameters()]
        self.d = [[torch.tensor(made["directions-net-0"][f"{a}/{k}"]) for k in names] for a in "xy"]
        heads = [data.splits[e.split].head(e.first or len(data.splits[e.split])) for e in spec.evaluators.values()]
        self.data = [(head.inputs, head.targets) for head in heads]

    def judge(self, forward: Callable[[Tensor], Tensor]) -> list[float]:
        """Loss and accuracy under all evaluators; of sequences over all their positions."""
        found = []
        for inputs, targets in self.data:
            outputs = forward(inputs).flatten(0, -2)
            classes = targets.flatten()
            found += [F.cross_entropy(outputs, classes).item(), (outputs.argmax(1) == classes).float().mean().item()]
        return found

    def run(self, points: list[tuple[float, float]]) -> list[float]:
        """Train losses at the points."""
        losses = []
        with torch.inference_mode():
            for x, y in points:
                for p, b, dx, dy in zip(self.parameters, self.base, *self.d, strict=True):
                    p.copy_(b).add_(dx, alpha=x).add_(dy, alpha=y)
                losses.append(self.judge(self.module)[0])
        return losses


def peer_of(bare: Bare, side: int) -> Callable[[], object] | None:
    """The same work by loss-landscapes 3.0.6, or None when it is not installed."""
    try:
        import loss_landscapes
        from loss_landscapes.metrics import Metric
    except ImportError:
        print("loss-landscapes is not installed: pip install --no-deps loss-landscapes==3.0.6")
        return None

    class Both(Metric):  # type: ignore[misc]
        def __call__(self, wrapper: Any) -> float:
            return bare.judge(wrapper.forward)[0]

    return lambda: loss_landscapes.random_plane(bare.module, Both(), steps=side, deepcopy_model=True)


class Quiet:
    """A watch that says nothing."""

    def say(self, text: str) -> None: ...
    def show(self, snapshot: Snapshot) -> None: ...


def engine(spec: LandscapeSpec, workers: int, losses: list[float], *, shortcuts: bool = False) -> dict[str, float]:
    """One sweep through Ray: rate while all workers work, wall time in all, processor seconds per point."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        site = Site(workers=workers, cpus=1, threads=1, tracking=False, shard_seconds=2, shortcuts=shortcuts)
        run_sweep(KIND, spec, site, folder, folder=Path(), watch=Quiet())
        wall = time.perf_counter() - began
        rows = Sweep(Ledger.open(Store.at(folder))).rows()
    np.testing.assert_allclose(rows["train_loss"], losses, rtol=1e-3)  # the sides must compute the same
    ended = rows.groupby("worker")["ended"]
    first, last = ended.min().max(), ended.max().min()
    within = int(((rows["ended"] > first) & (rows["ended"] <= last)).sum())
    return {"rate": float(within / (last - first)), "wall": wall, "cpu": float(rows["cpu_seconds"].median())}


def timed(run: Callable[[], object], points: int) -> dict[str, float]:
    """Rate and processor seconds per point of something that runs in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"rate": points / (time.perf_counter() - wall), "cpu": (time.process_time() - cpu) / points}


def measure(side: int, repeats: int) -> dict[str, list[dict[str, float]]]:
    """All sides in turn, several times."""
    torch.set_num_threads(1)
    spec = grid_spec(side)
    made: dict[str, Any] = {}
    for step in KIND.preparations(spec):
        made[step.name] = KIND.prepare(spec, step.name, made, Workbench())
    units = KIND.planner(spec).ask(side * side)
    points = [(float(u.params["x"] or 0), float(u.params["y"] or 0)) for u in units]
    bare, session = Bare(spec, made), KIND.open(spec, made, Workbench())
    losses, peer = bare.run(points), peer_of(bare, side)
    results: dict[str, list[dict[str, float]]] = {}
    for _ in range(repeats):
        results.setdefault("bare loop", []).append(timed(lambda: bare.run(points), len(points)))
        results.setdefault("session, no engine", []).append(timed(lambda: list(session.evaluate(units)), len(points)))
        for workers in (1, 2):
            results.setdefault(f"engine, workers: {workers}", []).append(engine(spec, workers, losses))
        results.setdefault("engine, shortcuts", []).append(engine(spec, 1, losses, shortcuts=True))
        if peer is not None:
            results.setdefault("loss-landscapes", []).append(timed(peer, len(points)))
        print({name: round(runs[-1]["rate"], 2) for name, runs in results.items()}, file=sys.stderr, flush=True)
    return results


def main() -> None:
    """Print the table and, last, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=15, help="points along each axis")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--quick", action="store_true", help="25 points, each side once")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.side, arguments.repeats = 5, 1
    results = measure(arguments.side, arguments.repeats)
    rates = {name: [r["rate"] for r in runs] for name, runs in results.items()}
    cpu = {name: statistics.median(r["cpu"] for r in runs) for name, runs in results.items()}
    if not arguments.json:
        print(f"{'side':24}{'points/s':>10}{'lowest':>10}{'highest':>10}{'CPU ms/point':>14}")
        for name, r in rates.items():
            print(f"{name:24}{statistics.median(r):10.2f}{min(r):10.2f}{max(r):10.2f}{1000 * cpu[name]:14.1f}")
    base = rates["bare loop"]

    def ratio(name: str, other: list[float]) -> float:
        return round(statistics.median(a / b for a, b in zip(rates[name], other, strict=True)), 3)

    one = rates["engine, workers: 1"]
    line = {
        "points_per_second": round(statistics.median(one), 3),
        "bare_points_per_second": round(statistics.median(base), 3),
        "efficiency": ratio("engine, workers: 1", base),
        "folded_ratio": ratio("engine, shortcuts", base),
        "folded_cpu_ratio": round(cpu["bare loop"] / cpu["engine, shortcuts"], 3),
        "scaling_2_workers": ratio("engine, workers: 2", one),
        "peer_ratio": ratio("engine, workers: 1", rates["loss-landscapes"]) if "loss-landscapes" in rates else None,
        "session_efficiency": ratio("session, no engine", base),
        "cpu_efficiency": round(cpu["bare loop"] / cpu["engine, workers: 1"], 3),
        "repeats": arguments.repeats,
        "points": arguments.side**2,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
