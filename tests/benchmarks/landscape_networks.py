"""Landscapes of many networks: a session against a bare loop, and `site.shortcuts` against neither.

Run: `python -m tests.benchmarks.landscape_networks [--repeats 9] [--only NAME ...] [--json]`.

For each network all sides evaluate the same points in this process, one thread, one after the other in each repeat;
figures are ratios of processor seconds within a repeat: of the bare loop to the session (`session`), and of the
session to itself with `site.shortcuts` (`shortcuts`). Both should be 1 or more. What a session with shortcuts finds out
at its first points, such as which way is faster, is found out anew in each repeat and not timed. Keys: `session_least`
and `shortcuts_least`, the least medians over the networks. `--quick` takes three repeats and leaves out the slowest
networks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.freed_memory import keep_freed_memory
from landsweep.sweeps.landscape.kind import LandscapeSpec
from tests.benchmarks.landscape import KIND, Bare

_SECONDS = 0.12  # that one side takes in one repeat, about
_CHOICE = 4  # points in which the fastest way is found, two batches each
_PICTURES = "tests.benchmarks.landscape_networks:pictures"
_GREY: dict[str, Any] = {"source": "callable", "path": _PICTURES, "args": {"shape": [1, 28, 28], "n": 256}}
_COLOUR: dict[str, Any] = {"source": "callable", "path": _PICTURES, "args": {"shape": [3, 32, 32], "n": 64}}
_DIGITS: dict[str, Any] = {"source": "digits"}
_TOKENS: dict[str, Any] = {"source": "markov", "context": 32, "train": 256, "test": 256}

NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "perceptron, 64-64, 8 x 8": ({"net": "mlp", "hidden": [64, 64]}, _DIGITS),
    "the same, batch norm": ({"net": "mlp", "hidden": [64, 64], "norm": "batch"}, _DIGITS),
    "perceptron, 512-512, 28 x 28": ({"net": "mlp", "hidden": [512, 512]}, _GREY),
    "the same, batch norm ": ({"net": "mlp", "hidden": [512, 512], "norm": "batch"}, _GREY),
    "cnn, 16-32, 8 x 8": ({"net": "cnn", "channels": [16, 32]}, _DIGITS),
    "cnn, 16-32, batch norm, 28 x 28": ({"net": "cnn", "channels": [16, 32], "norm": "batch"}, _GREY),
    "small_cnn, 28 x 28": ({"net": "small_cnn", "width": 16}, _GREY),
    "cnn_s, 28 x 28": ({"net": "cnn_s"}, _GREY),
    "ResNet-20, 8, 8 x 8": ({"net": "resnet", "depth": 20, "width": 8}, _DIGITS),
    "the same, no norm": ({"net": "resnet", "depth": 20, "width": 8, "norm": "none"}, _DIGITS),
    "the same, layer norm": ({"net": "resnet", "depth": 20, "width": 8, "norm": "layer"}, _DIGITS),
    "ResNet-20, 16, 32 x 32": ({"net": "resnet", "depth": 20, "width": 16}, _COLOUR),
    "ResNet-18, 16, 32 x 32": ({"net": "resnet18", "width": 16}, _COLOUR),
    "ViT, 8 x 8": ({"net": "vit", "patch": 2, "width": 32, "heads": 4, "depth": 2}, _DIGITS),
    "GPT, 32 tokens": ({"net": "gpt", "width": 32, "heads": 4, "depth": 2}, _TOKENS),
}
_SLOW = ("ResNet-20, 16, 32 x 32", "ResNet-18, 16, 32 x 32", "GPT, 32 tokens", "the same, layer norm")


def pictures(shape: list[int], n: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Random pictures of ten classes, n for each split."""
    return {split: (torch.rand(n, *shape), torch.arange(n) % 10) for split in ("train", "test")}


def compare(net: dict[str, Any], data: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Processor seconds per point of all sides, repeat by repeat, and in how many repeats a faster way was taken."""
    fields = {
        "kind": "landscape",
        "name": "benchmark",
        "data": data,
        "models": {"net": {**net, "train": {"epochs": 0}}},
        "evaluators": {"train": {"split": "train", "first": 64 if data is _COLOUR else 256}, "test": {"split": "test"}},
        "axes": {"x": {"linear": [-1, 1, 31]}, "y": {"linear": [-1, 1, 31]}},
    }
    spec = LandscapeSpec.model_validate(fields)
    made: dict[str, Any] = {}
    for step in KIND.preparations(spec):
        made[step.name] = KIND.prepare(spec, step.name, made, Workbench())
    units = KIND.planner(spec).ask(31 * 31)
    points = [(float(u.params["x"] or 0), float(u.params["y"] or 0)) for u in units]
    bare, session = Bare(spec, made), KIND.open(spec, made, Workbench())

    def by_bare(n: int) -> list[float]:
        return bare.run(points[:n])

    def by_session(n: int) -> list[float]:
        return [float(o.metrics["train_loss"] or 0) for o in session.evaluate(units[:n])]

    expected = by_bare(_CHOICE)
    torch.testing.assert_close(torch.tensor(by_session(_CHOICE)), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    count = max(2, min(len(units), int(_SECONDS / seconds(by_bare, 3))))
    found: dict[str, Any] = {"bare": [], "session": [], "shortcuts": [], "taken": 0, "points": count}
    for _ in range(repeats):
        quick = KIND.open(spec, made, Workbench(shortcuts=True))
        taken = [bool(o.metrics["folded"]) for o in quick.evaluate(units[: max(_CHOICE, count)])][-1]
        found["taken"] += taken
        sides: dict[str, Callable[[int], object]] = {
            "bare": by_bare,
            "session": by_session,
            "shortcuts": lambda n, quick=quick: list(quick.evaluate(units[:n])),  # type: ignore[misc] # mypy: default
        }
        for name, run in sides.items():
            found[name].append(seconds(run, count))
    return found


def seconds(run: Callable[[int], object], points: int) -> float:
    """Processor seconds per point."""
    began = time.process_time()
    run(points)
    return (time.process_time() - began) / points


def ratios(found: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Of the bare loop to the session, and of that to itself with shortcuts: median, lowest, highest."""
    pairs = {"session": ("bare", "session"), "shortcuts": ("session", "shortcuts")}
    each = {name: [a / b for a, b in zip(found[x], found[y], strict=True)] for name, (x, y) in pairs.items()}
    return {name: (statistics.median(r), min(r), max(r)) for name, r in each.items()}


def main() -> None:
    """Print the table and, last, one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", nargs="*", help="names of networks, or parts of them")
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--quick", action="store_true", help="three repeats, without the slowest networks")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    names = [n for n in NETWORKS if not (given.quick and n in _SLOW)]
    if given.only:
        names = [n for n in names if any(part in n for part in given.only)]
    all_ratios = {}
    for name in names:
        found = compare(*NETWORKS[name], 3 if given.quick else given.repeats)
        all_ratios[name] = of = ratios(found)
        if not given.json:
            figures = [f"{k} {r[0]:.2f} ({r[1]:.2f} to {r[2]:.2f})" for k, r in of.items()]
            cost = f"{1000 * statistics.median(found['bare']):.2f} ms"
            print(f"{name:34}{cost:>10}  {'  '.join(figures)}  taken {found['taken']}", flush=True)
    line = {f"{k}_least": round(min(r[k][0] for r in all_ratios.values()), 3) for k in ("session", "shortcuts")}
    print(json.dumps({**line, "networks": len(names)}))


if __name__ == "__main__":
    main()
