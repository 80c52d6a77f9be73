"""All that wants a GPU, in one run of less than eight minutes: tests, then figures.

`python -m tests.benchmarks.gpu [--quick] [--dry] [--out FILE]`: `make bench-gpu`. Prints what it does and how much of
its time is left; ends with one JSON line and, in FILE, the same and a section for `docs/benchmarks.md`. `--quick`
leaves out the tests and takes tiny sizes, on the CPU where there is no GPU; `--dry` does so on the CPU in any case, so
that the script is known to work before a GPU is lent.

- tests: `tests/gpu`, in a process of its own.
- packs: models/s of one step, steps/s and share of the device's peak, by network and number of models.
- graphs: seconds of a step by its own launches and by a CUDA graph, and what capturing costs.
- landscape: points/s of a session against a bare loop over the same weights.
- gpt: tokens/s and share of peak of a recipe's language model against a plain loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch.func import functional_call

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.storage.ledger import Ledger
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.device import device_name, settle
from landsweep.sweeps.lab.flops import count
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import BACKENDS
from landsweep.sweeps.lab.training.calibrate import shortest_step
from landsweep.sweeps.lab.training.graphs import StepGraph, step_by_step
from landsweep.sweeps.lab.training.stepper import Stepper
from landsweep.sweeps.lab.training_units.meters import peak_of
from landsweep.sweeps.landscape.kind import LandscapeKind
from tests.benchmarks.big_model import paces, recipe_of
from tests.support.paths import ROOT

SECONDS = 470.0
TESTS = 150.0  # of these, for the tests
NETS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "mlp, 1.2k": ("bmm", {"net": "mlp", "hidden": [16]}, (1, 8, 8)),
    "mlp, 10k": ("bmm", {"net": "mlp", "hidden": [96, 32]}, (1, 8, 8)),
    "cnn": ("vmap", {"net": "cnn_s"}, (1, 28, 28)),
    "cnn, channels last": ("conv", {"net": "cnn_s"}, (1, 28, 28)),
    "resnet-20": ("vmap", {"net": "resnet", "depth": 20, "width": 16}, (3, 32, 32)),
}
SIZES = (1, 16, 128, 512, 2048)


class Clock:
    """Says what begins, and how much time is left."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        return self._end - time.monotonic()

    def begins(self, what: str) -> bool:
        print(f"[{self.left():5.0f} s left] {what}", flush=True)
        return self.left() > 0


def images(shape: tuple[int, ...], n: int = 256) -> Data:
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randn(n, *shape, generator=generator), torch.arange(n) % 10)
    return Data.of({"train": split, "test": split}, 10)


def packs(clock: Clock, device: str, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Packs of each network, until they do not fit or the time is up."""
    for label, (backend, net, shape) in NETS.items():
        recipe = Recipe.model_validate(
            {"data": {"source": "digits"}, "net": net, "optimizer": {"method": "adamw"}, "steps": 64, "batch_size": 32}
        )
        data = images(shape).to(device)
        flops = 32 * count(recipe.net, shape, 10).training
        peak = peak_of(device_name(device), "float32")
        for size in sizes:
            if not clock.begins(f"packs: {label}, {size} models"):
                return
            try:
                recipes = [recipe.model_copy(update={"seed": seed}) for seed in range(size)]
                seconds = shortest_step(BACKENDS[backend], recipes, data, device=device, base=Path(), steps=8)
            except torch.OutOfMemoryError:
                break
            share = None if peak is None else size * flops / seconds / peak
            yield {"net": label, "models": size, "model_steps_per_second": size / seconds, "share_of_peak": share}


def graphs(clock: Clock, device: str, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Steps of small packs, least of five runs of 32 each, in turn; without a GPU by their own launches alone."""
    for label in ("mlp, 1.2k", "mlp, 10k", "cnn"):
        backend, net, shape = NETS[label]
        fields = {"data": {"source": "digits"}, "net": net, "optimizer": {"method": "adamw"}, "batch_size": 32}
        recipe = Recipe.model_validate({**fields, "steps": 1000})
        for size in sizes:
            if not clock.begins(f"graphs: {label}, {size} models"):
                return
            recipes, data = [recipe.model_copy(update={"seed": seed}) for seed in range(size)], images(shape).to(device)
            stepper = Stepper(assemble(recipes, data, BACKENDS[backend], device, Path()), recipes, data, 1000)
            losses, graph, capture = step_by_step(stepper, 8, ()), None, None
            if device != "cpu":
                began = time.perf_counter()
                graph = StepGraph(stepper, (), losses[0])
                capture = time.perf_counter() - began
            taken: dict[str, list[float]] = {"launched": [], "captured": []}
            for _ in range(5):
                taken["launched"].append(_seconds(lambda s=stepper: step_by_step(s, 32, ())))
                if graph is not None:
                    taken["captured"].append(_seconds(lambda g=graph: g.make(32)))
            least = {name: min(each) / 32 if each else None for name, each in taken.items()}
            yield {"net": label, "models": size, **least, "capture": capture}


def _seconds(steps: Callable[[], list[torch.Tensor]]) -> float:
    """How long some steps take until their last losses are known."""
    began = time.perf_counter()
    steps()[-1].tolist()
    return time.perf_counter() - began


def landscape(device: str, points: int) -> dict[str, float]:
    """Points/s of a session, by its rows, and of a bare loop over the same network and samples."""
    kind = LandscapeKind()
    example = kind.example()
    axes = {"x": {"linear": [-1, 1, points]}, "y": {"linear": [0, 1, 2]}}
    spec = kind.parse({**example.model_dump(mode="json"), "axes": axes}, "spec")
    with tempfile.TemporaryDirectory() as place:
        site = Site(executor="local", gpus=0 if device == "cpu" else 1, tracking=False)
        run_sweep(kind, spec, site, Path(place) / "landscape", folder=ROOT, watch=QuietWatch())
        rows = Ledger.open(Store.at(str(Path(place) / "landscape"))).rows(["seconds"])
        ours = statistics.median(rows.column("seconds").to_pylist())
    net = Recipe.model_validate({"data": {"source": "digits"}, "net": {"net": "mlp", "hidden": [16]}, "steps": 1})
    data = net.data.load(Path()).to(device)
    module = net.build(data.shape, data.outputs).to(device).eval()
    batches = [(data.splits["train"].inputs[:256], data.splits["train"].targets[:256])]
    batches.append((data.splits["test"].inputs, data.splits["test"].targets))
    weights = {name: p.detach() for name, p in module.named_parameters()}
    direction = {name: torch.randn_like(p) for name, p in weights.items()}
    began = time.perf_counter()
    for i in range(points):
        at = {name: w + 1e-3 * i * direction[name] for name, w in weights.items()}
        with torch.no_grad():
            for x, y in batches:
                outputs = functional_call(module, at, (x,))
                float(F.cross_entropy(outputs, y)), float((outputs.argmax(1) == y).double().mean())
    return {"points_per_second": 1 / ours, "bare_points_per_second": points / (time.perf_counter() - began)}


def gpt(device: str, *, dry: bool) -> dict[str, float | None]:
    """A decoder of about 100 million parameters in bf16."""
    size = {"width": 64, "depth": 1, "batch": 2, "context": 8, "steps": 2} if dry else {}
    large = {"width": 768, "depth": 14, "batch": 16, "context": 1024, "steps": 20}
    recipe = recipe_of(**{**large, **size}, precision="bf16")
    pace = paces(recipe, device, repeats=1 if dry else 3)
    context = size.get("context", 1024)
    per_token = count(recipe.net, (context,), 256).training / context
    peak = peak_of(device_name(device), "bf16")
    return {
        "parameters": pace.parameters,
        "tokens_per_second": pace.ours,
        "plain_tokens_per_second": pace.plain,
        "loop_ratio": pace.ratio,
        "mfu": None if peak is None else pace.ours * per_token / peak,
    }


def tested(seconds: float) -> str:
    """The last line of `tests/gpu`."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"not done in {seconds:.0f} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "; ".join([*lines, (done.stdout.strip().splitlines() or ["nothing"])[-1]])


def section(figures: dict[str, Any]) -> str:
    """The figures for docs/benchmarks.md."""
    lines = [f"On one {figures['device']}, torch {figures['torch']}: tests {figures['tests']}.", ""]
    lines += ["| network | models | model steps/s | share of peak |", "|---|---|---|---|"]
    for row in figures["packs"]:
        share = "" if row["share_of_peak"] is None else f"{row['share_of_peak']:.1%}"
        lines.append(f"| {row['net']} | {row['models']:,} | {row['model_steps_per_second']:,.0f} | {share} |")
    lines += ["", "| network | models | a step launched, µs | as a CUDA graph, µs | capturing, ms |"]
    lines.append("|---|---|---|---|---|")
    for row in figures["graphs"]:
        units = {"launched": 1e6, "captured": 1e6, "capture": 1e3}
        cells = ["" if row[name] is None else f"{row[name] * unit:,.0f}" for name, unit in units.items()]
        lines.append(f"| {row['net']} | {row['models']:,} | {' | '.join(cells)} |")
    text = ", ".join(f"{name} {value:.4g}" for name, value in figures["gpt"].items() if value is not None)
    return "\n".join([*lines, "", f"GPT in bf16: {text}.", ""])


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny, without the tests")
    parser.add_argument("--dry", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--out", type=Path, help="where the JSON goes; the section beside it as .md")
    given = parser.parse_args(arguments)
    tiny = given.dry or given.quick
    device = "cpu" if given.dry or (given.quick and not torch.cuda.is_available()) else "cuda:0"
    settle(Workbench(device, torch.get_num_threads()))
    clock = Clock(SECONDS)
    figures: dict[str, Any] = {"device": device_name(device), "torch": torch.__version__}
    parts: dict[str, Callable[[], Any]] = {
        "tests": lambda: "not run" if tiny else tested(TESTS),
        "gpt": lambda: gpt(device, dry=tiny),
        "landscape": lambda: landscape(device, 2 if tiny else 200),
        "graphs": lambda: list(graphs(clock, device, (2,) if tiny else (16, 128, 512))),
        "packs": lambda: list(packs(clock, device, (1, 2) if tiny else SIZES)),
    }
    for name, part in parts.items():
        if not clock.begins(name):
            break
        figures[name] = part()
    print(json.dumps(figures))
    if given.out is not None:
        given.out.write_text(json.dumps(figures, indent=1) + "\n")
        given.out.with_suffix(".md").write_text(section(figures))
    return figures


if __name__ == "__main__":
    main()
