"""How cost grows with work: processor time and memory against units, columns, points of series, sizes of networks.

`python -m tests.benchmarks.growth [--quick] [--repeats N] [--largest N] [--only NAME ...] [--plot FILE] [--json]`
prints a table and, last, one JSON line.

Each cost is measured at several sizes, each size in a forked process of its own, after the same cost at a small size,
so that nothing is imported while the clock runs. A point is the least processor time of the repeats: other work on the
machine only adds.

- `growth.NAME.exponent`: slope of log(seconds) against log(size) over the sizes of the last decade; 1 is proportional.
- `growth.NAME.memory_exponent`: the same of the memory that the process has grown by, over sizes with 16 MB or more;
  left out where fewer than two sizes take as much.
- `growth.worst_exponent`: the largest of both sorts.
- `growth.NAME.seconds`, `growth.NAME.megabytes`: at the largest size.
- `growth.NAME.command_seconds`, `growth.NAME.command_megabytes`: of the whole command `landsweep NAME` on the largest
  sweep, imports and interpreter counted.

Costs: `units` (a run of no-op units by the engine), `resume` (the same command on the finished sweep), `plan`,
`status`, `verify`, `report`, `load` (rows into pandas), all against units; `columns` (metrics of each of 1,000 units),
`series` (points of each of 10 units), `report_columns`, `report_series`; `landscape` (points of a grid), `zoo`
(models), `measure` (stored models), `search` (trials of a random search), `laws` (rows that a law is fitted to) and
`parameters` (of a network that is trained). `--quick` has one decade, which ends a decade earlier, and repeats once.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from landsweep.orchestrator.run.freed_memory import give_back
from tests.support.costs import in_a_fork, most_resident, of_a_command, resident

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported
LEAST_MEGABYTES = 16.0  # smaller growth says more about allocators than about what is kept
RECIPE = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [8]},
    "optimizer": {"method": "sgd", "learning_rate": 0.1},
    "steps": 5,
    "batch_size": 32,
    "checkpoints": {"last": True},
}  # fmt: skip

MODULES = ("landsweep.interface", "landsweep.orchestrator.commands.cli", "landsweep.orchestrator.report.generic",
           "landsweep.sweeps.lab.training.train", "landsweep.orchestrator.search", "optuna", "plotly.graph_objects",
           "matplotlib.backends.backend_agg", "landsweep.sweeps.laws.fitting.fit")  # fmt: skip

COMMANDS = ("status", "verify", "report")

Prepare = Callable[[int, Path], None]


@dataclass(frozen=True)
class Cost:
    """What is measured.

    Attributes:
        sizes: of the work, rising; the last three are within a decade.
        act: is timed.
        prepare: makes what `act` reads, once for all costs that name it.
        small: size of the unmeasured first time.
    """

    sizes: tuple[int, ...]
    act: Callable[[int, Path], object]
    prepare: Prepare | None = None
    small: int = 10


def noop(i: int, columns: int = 1) -> dict[str, float]:
    """Do nothing; the metrics are there so that a row has some."""
    return {f"y{k}": float(i + k) for k in range(columns)}


def steps(i: int, points: int) -> Iterator[dict[str, float]]:
    """A series of two metrics."""
    for step in range(points):
        yield {"loss": 1.0 / (step + 1 + i), "accuracy": 0.5}


def run(fields: dict[str, Any], where: Path) -> None:
    """The sweep of a spec, in this process, without report and tracking."""
    from landsweep.orchestrator.run.start import run_sweep
    from landsweep.orchestrator.run.sweep import spec_from
    from landsweep.orchestrator.site import Site
    from landsweep.orchestrator.testing.kind_suite import QuietWatch

    kind, spec = spec_from({"name": "growth", **fields}, [], "growth", where.parent)
    site = Site(executor="local", workers=1, tracking=False, probe_seconds=0)
    end = run_sweep(kind, spec, site, where, folder=Path.cwd(), watch=QuietWatch())
    if end.counts.get("failed"):
        raise RuntimeError(f"{end.counts['failed']} units failed")


def function(name: str, units: int, **fixed: int) -> dict[str, Any]:
    """Fields of a function sweep."""
    axes = {"i": {"range": units}}
    return {"kind": "function", "function": f"tests.benchmarks.growth:{name}", "fixed": fixed, "axes": axes}


def command(*words: str) -> None:
    """A command line, in this process; what it prints is dropped."""
    from landsweep.orchestrator.commands.cli import app

    with contextlib.redirect_stdout(io.StringIO()):
        app(list(words), standalone_mode=False)


def units(n: int, folder: Path) -> None:
    run(function("noop", n), folder / f"units-{n}")


def columns(n: int, folder: Path) -> None:
    run(function("noop", 1_000, columns=n), folder / f"columns-{n}")


def series(n: int, folder: Path) -> None:
    run(function("steps", 10, points=n), folder / f"series-{n}")


def plan(n: int, folder: Path) -> None:
    (folder / "plan.json").write_text(json.dumps({"name": "growth", **function("noop", n)}), encoding="utf-8")
    command("plan", str(folder / "plan.json"), f"axes.i.range={n}", "--no-check", "--out", str(folder / "nowhere"))


def read(word: str, made: str, n: int, folder: Path) -> None:
    command(word, str(folder / f"{made}-{n}"))


def load(n: int, folder: Path) -> None:
    from landsweep import load as loaded

    if len(loaded(folder / f"units-{n}").rows) != n:
        raise RuntimeError("rows are missing")


def landscape(n: int, folder: Path) -> None:
    model = {"net": "mlp", "hidden": [16], "train": {"epochs": 1}}
    axes = {"x": {"linear": [-1, 1, n]}, "y": {"values": [0.0]}}
    evaluators = {"train": {"split": "train", "first": 256}}
    fields = {"kind": "landscape", "data": {"source": "digits"}, "models": {"mlp": model}, "axes": axes}
    run(fields | {"evaluators": evaluators}, folder / f"landscape-{n}")


def zoo(n: int, folder: Path) -> None:
    run({"kind": "zoo", "recipe": RECIPE, "backend": "bmm", "seeds": {"range": n}}, folder / f"zoo-{n}")


def measure(n: int, folder: Path) -> None:
    fields = {
        "kind": "measure", "of": [{"sweep": str(folder / f"zoo-{n}")}], "subjects": [{"choose": "each"}],
        "measures": {"loss": {"measure": "losses"}}, "evaluators": {"train": {"split": "train", "first": 256}},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        run(fields, Path(place) / "measure")


def search(n: int, folder: Path) -> None:
    fields = {
        "kind": "search", "function": "tests.benchmarks.growth:bowl", "columns": {"y": {"doc": "height"}},
        "space": {"a": {"uniform": [-1, 1]}, "b": {"uniform": [-1, 1]}}, "goals": [{"minimise": "y"}],
        "sampler": {"method": "random"}, "budget": {"units": n}, "generation": 16,
    }  # fmt: skip
    run(fields, folder / f"search-{n}")


def bowl(a: float, b: float) -> dict[str, float]:
    """Minimum 0 at the origin."""
    return {"y": a * a + b * b}


def laws(n: int, folder: Path) -> None:
    del folder
    from landsweep.sweeps.laws.chinchilla import CHINCHILLA
    from landsweep.sweeps.laws.fitting.fit import fit
    from tests.benchmarks.laws import synthetic

    data = synthetic(n)
    fit(CHINCHILLA, data, starts=CHINCHILLA.starts({}, data["loss"].to_numpy())[::100]).parameters()


def parameters(n: int, folder: Path) -> None:
    recipe = {**RECIPE, "net": {"net": "mlp", "hidden": [n // 75]}, "steps": 30}
    run({"kind": "zoo", "recipe": recipe, "backend": "bmm", "seeds": {"range": 1}}, folder / f"parameters-{n}")


def decades(first: int, last: int) -> tuple[int, ...]:
    """Two sizes per decade.

    Example:
        >>> decades(10, 1000)
        (10, 32, 100, 316, 1000)
    """
    low, high = round(2 * np.log10(first)), round(2 * np.log10(last))
    return tuple(round(10 ** (k / 2)) for k in range(low, high + 1))


def costs(largest: int, quick: bool) -> dict[str, Cost]:
    """All costs, by name."""
    less = 10 if quick else 1
    many = decades(1_000, largest)
    wide, long = (10, 30, 100) if quick else (10, 20, 50, 100, 200), decades(100, 100_000 // less)
    read_units = {w: Cost(many, partial(read, w, "units"), units, many[0]) for w in ("status", "verify", "report")}
    models = decades(32, 3200 // less)
    every = {
        "units": Cost(many, units),
        "resume": Cost(many, units, units, many[0]),
        "plan": Cost(many, plan),
        **read_units,
        "load": Cost(many, load, units, many[0]),
        "columns": Cost(wide, columns, small=2),
        "report_columns": Cost(wide, partial(read, "report", "columns"), columns, wide[0]),
        "series": Cost(long, series),
        "report_series": Cost(long, partial(read, "report", "series"), series, long[0]),
        "landscape": Cost(decades(100, 10_000 // less), landscape),
        "zoo": Cost(models, zoo, small=2),
        "measure": Cost(models, measure, zoo, models[0]),
        "search": Cost(decades(100, 10_000 // less), search, small=20),
        "laws": Cost(decades(100, 100_000 // less), laws),
        "parameters": Cost(decades(10_000, 10_000_000 // less), parameters, small=1_000),
    }
    return {name: replace(cost, sizes=cost.sizes[-3:]) for name, cost in every.items()} if quick else every


def here(cost: Cost, size: int, folder: Path) -> dict[str, float]:
    """Processor seconds of one cost at one size, and the megabytes that this process has grown by."""
    cost.act(cost.small, folder)
    give_back()  # or what the small one has freed is used once more, and counts for nothing
    before = resident()
    began = time.process_time()
    cost.act(size, folder)
    return {"seconds": time.process_time() - began, "megabytes": max(0.0, most_resident() - before)}


def slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of log(value) against log(size) over the sizes of the last decade.

    Example:
        >>> slope([1, 100, 1000], [5.0, 10.0, 1000.0])
        2.0
    """
    last = [(math.log(s), math.log(v)) for s, v in zip(sizes, values, strict=True) if s * 10.5 >= sizes[-1]]
    return round(statistics.linear_regression(*zip(*last, strict=True)).slope, 3)


def measured(chosen: dict[str, Cost], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Least seconds and megabytes of each cost at each of its sizes, in one folder that goes away."""
    for module in MODULES:
        import_module(module)
    gc.freeze()  # or a search for garbage goes through all that was imported, while the clock runs
    gc.set_threshold(100_000, 20, 100)  # as the command line does
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        prepared: set[tuple[Prepare, int]] = set()
        for name, cost in chosen.items():
            points = []
            for size in cost.sizes:
                for n in {cost.small, size}:
                    if cost.prepare is not None and (cost.prepare, n) not in prepared:
                        in_a_fork(partial(made, cost.prepare, n, Path(folder)))
                        prepared.add((cost.prepare, n))
                times = [repeated(cost, size, Path(folder)) for _ in range(repeats)]
                points.append({key: min(t[key] for t in times) for key in times[0]})
            found[name] = {key: [p[key] for p in points] for key in points[0]}
            if name in COMMANDS:
                words = [str(Path(sys.executable).with_name("landsweep")), name, f"units-{cost.sizes[-1]}"]
                found[name] |= {f"command_{key}": [v] for key, v in of_a_command(words, Path(folder), {}).items()}
            line = " ".join(f"{s:,}: {p['seconds']:.3g} s" for s, p in zip(cost.sizes, points, strict=True))
            print(f"{name:>15}  {line}", file=sys.stderr, flush=True)
    return found


def made(prepare: Prepare, size: int, folder: Path) -> dict[str, float]:
    prepare(size, folder)
    return {}


def repeated(cost: Cost, size: int, folder: Path) -> dict[str, float]:
    """One measurement: in the folder of what was prepared, or in an empty one."""
    if cost.prepare is not None:
        return in_a_fork(partial(here, cost, size, folder))
    with tempfile.TemporaryDirectory() as empty:
        return in_a_fork(partial(here, cost, size, Path(empty)))


def summed_up(chosen: dict[str, Cost], found: dict[str, dict[str, list[float]]]) -> dict[str, float]:
    """Exponents, and what the largest size costs."""
    result: dict[str, float] = {}
    for name, cost in chosen.items():
        seconds, megabytes = found[name]["seconds"], found[name]["megabytes"]
        result[f"growth.{name}.exponent"] = slope(cost.sizes, seconds)
        large = [(s, m) for s, m in zip(cost.sizes, megabytes, strict=True) if m >= LEAST_MEGABYTES]
        if len(large) > 1:
            result[f"growth.{name}.memory_exponent"] = slope(*zip(*large, strict=True))
        result |= {f"growth.{name}.{key}": values[-1] for key, values in found[name].items()}
    result["growth.worst_exponent"] = max(value for key, value in result.items() if key.endswith("exponent"))
    return result


def plot(chosen: dict[str, Cost], found: dict[str, dict[str, list[float]]], file: Path) -> None:
    """Cost for each piece of work, against the work: what grows in proportion is level."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    sides = figure.subplots(1, 2)
    engine = ("units", "resume", "plan", "status", "verify", "report", "load")
    for side, title in zip(sides, ("against units of a sweep", "against other work"), strict=True):
        for name, cost in chosen.items():
            if (name in engine) == (side is sides[0]):
                each = [1e6 * t / s for s, t in zip(cost.sizes, found[name]["seconds"], strict=True)]
                side.loglog(cost.sizes, each, "o-", markersize=3, linewidth=1, label=name.replace("_", " "))
        side.set(title=title, xlabel="size of the work")
        side.grid(alpha=0.3)
        side.legend(fontsize=7, frameon=False, ncols=2)
    sides[0].set_ylabel("processor time for each piece, µs")
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--largest", type=int, help="units of the largest sweep")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    options = parser.parse_args()
    largest = options.largest or (10_000 if options.quick else 1_000_000)
    every = costs(largest, options.quick)
    chosen = {name: cost for name, cost in every.items() if not options.only or name in options.only}
    found = measured(chosen, options.repeats or (1 if options.quick else 3))
    result = summed_up(chosen, found)
    if options.plot:
        plot(chosen, found, options.plot)
    if not options.json:
        for name in chosen:
            one = {key.rpartition(".")[2]: value for key, value in result.items() if key.startswith(f"growth.{name}.")}
            print(f"{name:>15}  " + "  ".join(f"{key} {value:.3g}" for key, value in one.items()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
