"""Packs against the plain loop, and a zoo against Ray Tune, side by side in one run; one thread per worker.

`python -m tests.benchmarks.zoo [--quick] [--json]` prints a table and, last, one JSON line.

- `speedup_mlp_1k`, `speedup_mlp_10k`, `speedup_cnn`: processor time per step of one model of an nn.Module trained with
  a torch.optim optimizer, over that of `train_pack` with the back-end and size that calibration chose; building of
  networks included on both sides, evaluation and calibration on neither. Digits, batch 32, momentum SGD, a learning
  rate, a seed and an order of its own for each model. With `_adamw` at the end: the same with AdamW.
- `tune_reuse_ratio`, `tune_default_ratio`: models per second of a zoo of 256 MLPs (1.2k parameters, 600 steps) in two
  Ray workers over those of Ray Tune with one trial per model, with and without `reuse_actors` (without it on 16
  models). Both are timed from the moment when the first model can train; `..._with_start` from the command on, so
  that a few seconds of starting two workers and importing torch count on both sides. Ray itself runs already.
- `zoo_1024_seconds`: 1,024 MLPs x 600 steps in two workers, with weights, metrics and index on disk.

`--quick` measures the speedups.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.freed_memory import keep_freed_memory
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import Spec, parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import choose, train_pack

WORKERS = 2
CASES: dict[str, dict[str, Any]] = {
    "mlp_1k": {"net": "mlp", "hidden": [16]},
    "mlp_10k": {"net": "mlp", "hidden": [128]},
    "cnn": {"net": "cnn", "channels": [16, 32]},
}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"method": "sgd", "learning_rate": 0.01, "momentum": 0.9},
    "adamw": {"method": "adamw", "learning_rate": 0.001},
    "adamw_fused": {"method": "adamw", "learning_rate": 0.001},
}
MEASURED = (*itertools.product(CASES, ("sgd", "adamw")), ("mlp_10k", "adamw_fused"))
STEPS = 600
SEQUENTIAL = 4  # models of the loop that is compared with, per repetition


def recipe(seed: int, net: dict[str, Any], steps: int, method: str = "sgd") -> Recipe:
    optimizer = OPTIMIZERS[method]
    data = {
        "data": {"source": "digits"},
        "net": net,
        "optimizer": {**optimizer, "learning_rate": optimizer["learning_rate"] * (1 + seed % 8)},
        "fused_step": method == "adamw_fused",
        "steps": steps,
        "batch_size": 32,
        "evaluate": {"splits": ["test"], "first": 1},
        "seed": seed,
    }
    return Recipe.model_validate(data)


def module_of(net: dict[str, Any]) -> nn.Module:
    """The same network as anyone would write it."""
    if net["net"] == "mlp":
        (width,) = net["hidden"]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    a, b = net["channels"]
    convolutions = (nn.Conv2d(1, a, 3, padding=1), nn.ReLU(), nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU())
    return nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(b, 10))


def train_alone(net: dict[str, Any], data: Data, rate: float, seed: int, steps: int, method: str = "sgd") -> nn.Module:
    """One model, in the plain way."""
    torch.manual_seed(seed)
    module = module_of(net)
    optimizer: torch.optim.Optimizer
    if method == "sgd":
        optimizer = torch.optim.SGD(module.parameters(), rate, momentum=0.9)
    else:
        optimizer = torch.optim.AdamW(module.parameters(), rate)
    inputs, targets = data.splits["train"].inputs, data.splits["train"].targets
    made = 0
    while made < steps:
        for chosen in torch.randperm(len(inputs)).split(32)[: steps - made]:
            loss = F.cross_entropy(module(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            made += 1
    return module


def speedup(name: str, method: str, steps: int, repeats: int) -> dict[str, float | str]:
    """Medians over the repetitions, which alternate between the two sides; the ratio is that of neighbours in time."""
    net = CASES[name]
    first = recipe(0, net, steps, method)
    data = first.data.load(Path())
    began = time.process_time()
    choice = choose(first, data)
    calibration = time.process_time() - began
    models = max(choice.size, SEQUENTIAL)
    recipes = [recipe(i, net, steps, method) for i in range(models)]
    ours, theirs = [], []
    for _ in range(repeats):
        began = time.process_time()
        for seed in range(SEQUENTIAL):
            train_alone(net, data, 5 * OPTIMIZERS[method]["learning_rate"], seed, steps, method)
        middle = time.process_time()
        for start in range(0, models, choice.size):
            for _ in train_pack(recipes[start : start + choice.size], data, backend=choice.backend):
                pass
        theirs.append((middle - began) / SEQUENTIAL / steps)
        ours.append((time.process_time() - middle) / models / steps)
    ratios = [t / o for t, o in zip(theirs, ours, strict=True)]
    return {
        "speedup": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "sequential_us": 1e6 * statistics.median(theirs),
        "pack_us": 1e6 * statistics.median(ours),
        "choice": choice.label,
        "calibration_s": calibration,
    }


def zoo_spec(name: str, models: int, steps: int) -> Spec:
    """Evaluated on both splits every 200 steps, weights kept at the end."""
    one = recipe(0, CASES["mlp_1k"], steps).model_dump(mode="json", exclude={"seed"}, exclude_defaults=True)
    one |= {"evaluate": {"every_steps": 200}}
    data = {"kind": "zoo", "name": name, "recipe": one, "seeds": {"range": models}}
    return parse(kind_named("zoo").spec, data, name)


class Clock(QuietWatch):
    """Notes when the first model could begin to train: workers are up, data are loaded, packs are timed."""

    began: float | None = None

    def show(self, snapshot: Snapshot) -> None:
        if self.began is None and snapshot.phase == "running":
            self.began = time.perf_counter()


def zoo_seconds(models: int, steps: int) -> tuple[float, float]:
    """Until the last commit: from the command on, start of workers included, and from the first model on."""
    with tempfile.TemporaryDirectory() as results:
        began, clock = time.perf_counter(), Clock()
        site = Site(workers=WORKERS, tracking=False)
        run_sweep(
            kind_named("zoo"), zoo_spec("zoo", models, steps), site, Path(results), folder=Path.cwd(), watch=clock
        )
        now = time.perf_counter()
        if clock.began is None:
            raise RuntimeError("the sweep never ran")
        return now - began, now - clock.began


def tune_seconds(trials: int, *, reuse: bool) -> tuple[float, float]:
    """Of Ray Tune, one trial per model, torch.optim inside: from the command on, and from the first trial's step on."""
    from ray import tune as ray_tune

    net = CASES["mlp_1k"]

    class Trial(ray_tune.Trainable):  # type: ignore[misc] - ray is untyped
        def setup(self, config: dict[str, Any]) -> None:
            torch.set_num_threads(1)
            self.data = recipe(0, net, 1).data.load(Path())
            self.config = config

        def step(self) -> dict[str, Any]:
            module = train_alone(net, self.data, self.config["rate"], self.config["seed"], STEPS)
            split = self.data.splits["test"]
            with torch.no_grad():
                right = (module(split.inputs).argmax(1) == split.targets).float().mean()
            return {"accuracy": float(right), "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Tune keeps a trial of which nothing is kept for an error."""

        def load_checkpoint(self, checkpoint: Any) -> None: ...

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.config = new_config
            return True

    with tempfile.TemporaryDirectory() as storage:
        tuner = ray_tune.Tuner(
            ray_tune.with_resources(Trial, {"cpu": 1}),
            param_space={"seed": ray_tune.grid_search(list(range(trials))), "rate": 0.05},
            tune_config=ray_tune.TuneConfig(reuse_actors=reuse),
            run_config=ray_tune.RunConfig(storage_path=storage, verbose=0),
        )
        began = time.perf_counter()
        found = tuner.fit()
        if found.num_errors or len(found) != trials:
            raise RuntimeError(f"{found.num_errors} of Ray Tune's {trials} trials failed")
        first = min(r.metrics["timestamp"] - r.metrics["time_total_s"] for r in found)
        return time.perf_counter() - began, time.time() - first


def compare_zoos() -> dict[str, float]:
    import ray

    ray.init(address="local", num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    try:
        ours, reuse = zoo_seconds(256, STEPS), tune_seconds(256, reuse=True)
        default = tune_seconds(16, reuse=False)
        return {
            "zoo_models_per_second": 256 / ours[1],
            "tune_reuse_models_per_second": 256 / reuse[1],
            "tune_default_models_per_second": 16 / default[1],
            "tune_reuse_ratio": reuse[1] / ours[1],
            "tune_reuse_ratio_with_start": reuse[0] / ours[0],
            "tune_default_ratio": default[1] / 16 / (ours[1] / 256),
            "tune_default_ratio_with_start": default[0] / 16 / (ours[0] / 256),
            "zoo_1024_seconds": zoo_seconds(1024, STEPS)[0],
        }
    finally:
        ray.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only packs against the plain loop")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found: dict[str, Any] = {}
    for name, method in MEASURED:
        measured = speedup(name, method, *((60, 5) if args.quick else (400, 7)))
        key = f"speedup_{name}" + ("" if method == "sgd" else f"_{method}")
        found[key] = measured["speedup"]
        if not args.json:
            said = ", ".join(f"{k} {v if isinstance(v, str) else f'{v:.3g}'}" for k, v in measured.items())
            print(f"{key:>28}  {said}", flush=True)
    if not args.quick:
        zoos = compare_zoos()
        found |= {k: v for k, v in zoos.items() if "models_per_second" not in k}
        if not args.json:
            for name, value in zoos.items():
                print(f"{name:>32}  {value:,.2f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
