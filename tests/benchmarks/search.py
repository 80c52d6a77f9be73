"""A packed search against Optuna's own loop, side by side in one run; one thread, one worker.

`python -m tests.benchmarks.search [--quick] [--json]` prints a table and, last, one JSON line.

256 trials over four settings of Adam (learning rate, beta1, beta2, weight decay) of a perceptron of 64-32-10 units on
the digits, 2,000 steps of 32 samples at a rate that falls as a cosine, judged by the test loss. Theirs:
`study.optimize(n_jobs=1)` with Optuna's TPE, nn.Module, torch.optim.Adam, CosineAnnealingLR. Ours: the search kind in
this process, generations of 16. Both minimise the same function: one seed gives both the same initial weights and
order of samples, and the benchmark stops where one trial's loss differs by more than 0.1 %.

- `trials_ratio`: our trials per second over theirs, median over the seeds; from the first call to the last commit on
  our side, timing of the back-ends included.
- `best_loss_ratio`: our lowest test loss over theirs, median over the seeds; at most 1 is as good.
- `sampler_share`: share of our time that Optuna took.

The table also shows the ratio of processor times, which other work on the machine disturbs less. `--quick` runs one
seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.planner import Planner
from landsweep.orchestrator.run.executors.local import LocalExecutor
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.search import StudyPlanner
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Ended, train_pack
from landsweep.sweeps.lab.training.draws import order
from landsweep.sweeps.search.kind import SearchKind, SearchSpec

TRIALS, STEPS, GENERATION, STARTUP = 256, 2000, 16, 32
RECIPE: dict[str, Any] = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [32]},
    "optimizer": {"method": "adam"},
    "schedule": {"shape": "cosine"},
    "steps": STEPS,
    "batch_size": 32,
    "evaluate": {"splits": ["test"]},
}
RANGES = {"learning_rate": (1e-5, 1.0), "beta1": (0.5, 0.999), "beta2": (0.9, 0.9999), "weight_decay": (1e-7, 1e-1)}
LOG = ("learning_rate", "weight_decay")


def spec(seed: int, trials: int) -> SearchSpec:
    space = {f"optimizer.{n}": {"log_uniform" if n in LOG else "uniform": list(r)} for n, r in RANGES.items()}
    recipe = {**RECIPE, "seed": seed}
    given: dict[str, Any] = {"name": "bench", "recipe": recipe, "space": space, "goals": [{"minimise": "test_loss"}]}
    given |= {"sampler": {"method": "tpe", "n_startup_trials": STARTUP}, "budget": {"units": trials}}
    return SearchKind().parse({**given, "generation": GENERATION, "search_seed": seed}, "bench")


class Watched(SearchKind):
    """The search kind, whose planner can be looked at afterwards."""

    made: list[StudyPlanner]

    def planner(self, spec: SearchSpec) -> Planner:
        planner = super().planner(spec)
        assert isinstance(planner, StudyPlanner)
        self.made.append(planner)
        return planner


def ours(seed: int, trials: int) -> tuple[float, float, float, float]:
    """Seconds, seconds of the processor, lowest loss, and seconds of the sampler."""
    kind, site = Watched(), Site(executor="local", tracking=False)
    kind.made = []
    with tempfile.TemporaryDirectory() as folder:
        began, processor = time.perf_counter(), time.process_time()
        run_sweep(
            kind, spec(seed, trials), site, folder, folder=Path.cwd(), watch=QuietWatch(), executor=LocalExecutor()
        )
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
        rows = Sweep.at(folder).rows()
    assert len(rows) == trials and set(rows["status"]) <= {"ok", "diverged"}
    return seconds, processor, float(rows["test_loss"].min()), max(p.sampler_seconds for p in kind.made)


def train(data: Data, settings: dict[str, float], seed: int) -> float:
    """One trial in the plain way: its test loss."""
    module: nn.Module = Recipe.model_validate({**RECIPE, "seed": seed}).build(data.shape, data.outputs)
    betas = (settings["beta1"], settings["beta2"])
    optimizer = torch.optim.Adam(
        module.parameters(), settings["learning_rate"], betas=betas, weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, RECIPE["steps"])
    inputs, targets = data.splits["train"].inputs, data.splits["train"].targets
    made = epoch = 0
    while made < RECIPE["steps"]:
        for chosen in torch.split(order(seed, epoch, len(inputs)), 32)[: RECIPE["steps"] - made]:
            loss = F.cross_entropy(module(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            made += 1
        epoch += 1
    test = data.splits["test"]
    with torch.no_grad():
        return float(F.cross_entropy(module(test.inputs), test.targets))


def theirs(seed: int, trials: int, data: Data) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, and lowest loss of Optuna's own loop."""

    def objective(trial: optuna.Trial) -> float:
        return train(data, {n: trial.suggest_float(n, *r, log=n in LOG) for n, r in RANGES.items()}, seed)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=STARTUP, seed=seed))
    began, processor = time.perf_counter(), time.process_time()
    study.optimize(objective, n_trials=trials, n_jobs=1)
    return time.perf_counter() - began, time.process_time() - processor, float(study.best_value)


def same_function(data: Data) -> None:
    """Stop where both sides do not minimise the same function."""
    settings = {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 1e-4}
    recipe = Recipe.model_validate({**RECIPE, "seed": 3, "optimizer": {"method": "adam", **settings}})
    (ours,) = (e.metrics["test_loss"] for e in train_pack([recipe], data, backend="loop") if isinstance(e, Ended))
    plain = train(data, settings, 3)
    if abs(ours / plain - 1) > 1e-3:
        raise SystemExit(f"the trial of one setting has test loss {ours} here and {plain} there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of one training")
    args = parser.parse_args()
    torch.set_num_threads(1)
    RECIPE["steps"] = args.steps
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = Recipe.model_validate(RECIPE).data.load(Path())
    kind_named("search")  # imports on neither side
    same_function(data)
    rates, losses, shares = [], [], []
    for seed in range(1 if args.quick else 5):
        seconds, processor, loss, sampler = ours(seed, args.trials)
        plain, plain_processor, plain_loss = theirs(seed, args.trials, data)
        rates.append(plain / seconds)
        losses.append(loss / plain_loss)
        shares.append(sampler / seconds)
        if not args.json:
            print(
                f"seed {seed}: ours {args.trials / seconds:6.1f} trials/s, best {loss:.4f}, sampler {sampler:.2f} of "
                f"{seconds:.1f} s; theirs {args.trials / plain:6.1f} trials/s, best {plain_loss:.4f}; "
                f"ratio {rates[-1]:.2f}, of processor times {plain_processor / processor:.2f}; "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    found = {"trials_ratio": rates, "best_loss_ratio": losses, "sampler_share": shares}
    if not args.json:
        for name, values in found.items():
            print(f"{name:>16}  median {statistics.median(values):.3f}  ({min(values):.3f} to {max(values):.3f})")
    print(json.dumps({name: statistics.median(values) for name, values in found.items()}))


if __name__ == "__main__":
    main()
