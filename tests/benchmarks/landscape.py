"""Points per second of a landscape: through the engine with Ray, in a bare loop, with the package loss-landscapes.

Run: `python -m tests.benchmarks.landscape [--side 15] [--repeats 5] [--json]`; about 5 minutes on 2 idle cores.

All sides evaluate the same points of the same ResNet-32 on the same 909 digits (512 train, 397 test; loss and
accuracy of both), one thread each. In each repeat all sides run one after the other, so that a slow minute of the
machine hits all of them; the figures are medians of the repeats. The rate of the engine is that of the time between
the first and the last row, in which all its workers work; start-up is left out. On a machine that others use too,
ratios of processor seconds tell more than those of rates: `cpu_efficiency` of the engine, `session_efficiency` of a
session without the engine and `folded_ratio` of one with `site.shortcuts` (with its lowest and highest), each against
the bare loop. `folded_taken` says whether a faster way was taken at all; the points in which it is found are not timed.
`--quick` takes 9 points, five times, without the engine and loss-landscapes.
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
from landsweep.orchestrator.run.freed_memory import keep_freed_memory
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.sweeps.landscape.kind import LandscapeKind, LandscapeSpec

KIND = LandscapeKind()
_CHOICE = 4  # points in which a session finds the fastest way


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
    if first >= last:
        raise SystemExit(f"{len(rows)} points are too few: the workers never worked at the same time; raise --side")
    within = int(((rows["ended"] > first) & (rows["ended"] <= last)).sum())
    return {"rate": float(within / (last - first)), "wall": wall, "cpu": float(rows["cpu_seconds"].median())}


def timed(run: Callable[[], object], points: int) -> dict[str, float]:
    """Rate and processor seconds per point of something that runs in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"rate": points / (time.perf_counter() - wall), "cpu": (time.process_time() - cpu) / points}


class Sides:
    """All that is measured, on the points of one grid."""

    def __init__(self, side: int) -> None:
        self.spec = spec = grid_spec(side)
        made: dict[str, Any] = {}
        for step in KIND.preparations(spec):
            made[step.name] = KIND.prepare(spec, step.name, made, Workbench())
        self.units = KIND.planner(spec).ask(side * side)
        self.points = [(float(u.params["x"] or 0), float(u.params["y"] or 0)) for u in self.units]
        self.bare = Bare(spec, made)
        self.session, self.quick = (KIND.open(spec, made, Workbench(shortcuts=on)) for on in (False, True))
        self.losses, self.peer = self.bare.run(self.points), peer_of(self.bare, side)
        self.taken = [bool(o.metrics["folded"]) for o in self.quick.evaluate(self.units[:_CHOICE])][-1]

    def alone(self) -> dict[str, dict[str, float]]:
        """Sides in this process, one after the other."""
        n = len(self.points)
        return {
            "bare loop": timed(lambda: self.bare.run(self.points), n),
            "session, no engine": timed(lambda: list(self.session.evaluate(self.units)), n),
            "session, shortcuts": timed(lambda: list(self.quick.evaluate(self.units)), n),
        }

    def others(self) -> dict[str, dict[str, float]]:
        """The engine and the peer."""
        found = {f"engine, workers: {n}": engine(self.spec, n, self.losses) for n in (1, 2)}
        found["engine, shortcuts"] = engine(self.spec, 1, self.losses, shortcuts=True)
        if self.peer is not None:
            found["loss-landscapes"] = timed(self.peer, len(self.points))
        return found


def summary(results: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """The line of JSON: medians of ratios within a repeat."""

    def ratios(one: str, other: str, figure: str) -> list[float]:
        pairs = [(r[one][figure], r[other][figure]) for r in results if one in r and other in r]
        return sorted(round(a / b, 3) for a, b in pairs)

    folded = ratios("bare loop", "session, shortcuts", "cpu")
    line: dict[str, Any] = {
        "session_efficiency": statistics.median(ratios("bare loop", "session, no engine", "cpu")),
        "folded_ratio": statistics.median(folded),
        "folded_ratio_lowest": folded[0],
        "folded_ratio_highest": folded[-1],
    }
    further = {
        "efficiency": ("engine, workers: 1", "bare loop", "rate"),
        "cpu_efficiency": ("bare loop", "engine, workers: 1", "cpu"),
        "scaling_2_workers": ("engine, workers: 2", "engine, workers: 1", "rate"),
        "engine_folded_cpu_ratio": ("bare loop", "engine, shortcuts", "cpu"),
        "peer_ratio": ("engine, workers: 1", "loss-landscapes", "rate"),
    }
    return line | {key: statistics.median(found) for key, of in further.items() if (found := ratios(*of))}


def main() -> None:
    """Print the table and, last, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=15, help="points along each axis")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--quick", action="store_true", help="9 points, five times, without engine and peer")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    sides, results = Sides(3 if given.quick else given.side), []
    for _ in range(5 if given.quick else given.repeats):
        results.append(sides.alone() | ({} if given.quick else sides.others()))
        print({name: round(run["rate"], 2) for name, run in results[-1].items()}, file=sys.stderr, flush=True)
    if not given.json:
        print(f"{'side':24}{'points/s':>10}{'lowest':>10}{'highest':>10}{'CPU ms/point':>14}")
        for name in results[0]:
            rates, cpu = ([r[name][figure] for r in results] for figure in ("rate", "cpu"))
            spread = f"{statistics.median(rates):10.2f}{min(rates):10.2f}{max(rates):10.2f}"
            print(f"{name:24}{spread}{1000 * statistics.median(cpu):14.1f}")
    print(
        json.dumps(
            {**summary(results), "folded_taken": sides.taken, "repeats": len(results), "points": len(sides.points)}
        )
    )


if __name__ == "__main__":
    main()
