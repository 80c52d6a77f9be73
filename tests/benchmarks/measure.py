"""Measures of many stored models against what does the same one model at a time, side by side.

`python -m tests.benchmarks.measure [--quick] [--json]` prints a table and, last, one JSON line.

- `hessian_pack_ratio`: seconds for the largest eigenvalue of the Hessian of MLPs of 1.2k parameters (digits, 256
  samples, trained for 200 steps) by the measure `eigenvalues`, one call for each model, over one call for all 64.
- `hessian_peer_ratio`: seconds for a model by PyHessian's algorithm over those of a model in that one call. The
  algorithm is written anew here: eager, power iteration on a graph of the gradient that is kept; it stops where its
  residual is the one that the measure gives for the same model.

All sides in turn, `--repeats` times, in processor seconds of one thread; ratios are medians of those within a repeat.
`--quick` takes fewer models and repeats.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from landsweep.sweeps.lab.data.digits import Digits
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.measure.measures.eigenvalues import Eigenvalues
from landsweep.sweeps.measure.subject import Samples, StoredModel, Subject

SAMPLES, STEPS, WIDTH = 256, 200, 16


def trained(seed: int, inputs: Tensor, targets: Tensor) -> nn.Module:
    """An MLP after some steps of SGD."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    for _ in range(STEPS):
        chosen = torch.randint(0, len(inputs), (32,))
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(module(inputs[chosen]), targets[chosen]))
        optimizer.step()
    return module.eval()


def subject_of(module: nn.Module, samples: Samples, seed: int) -> Subject:
    state = module.state_dict()

    def build() -> nn.Module:
        new = nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
        new.load_state_dict(state)
        return new.eval()

    return Subject((StoredModel(str(seed), "last", None, {}, state, build),), {"train": samples}, (), seed)


def power_iteration(module: nn.Module, samples: Samples, count: int, tolerance: float) -> tuple[list[float], int]:
    """PyHessian's way to the largest eigenvalues by magnitude, and how many products it took."""
    parameters = list(module.parameters())
    loss = F.cross_entropy(module(samples.inputs), samples.targets)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    found: list[list[Tensor]] = []
    values, products = [], 0
    for _ in range(count):
        v = _unit([torch.randn_like(p) for p in parameters])
        for _ in range(10_000):
            v = _unit(_deflated(v, found))
            w = torch.autograd.grad(gradients, parameters, grad_outputs=v, retain_graph=True)
            products += 1
            value = sum(float((a * b).sum()) for a, b in zip(v, w, strict=True))
            residual = sum(float((b - value * a).square().sum()) for a, b in zip(v, w, strict=True)) ** 0.5
            if residual <= tolerance * abs(value):
                break
            v = _unit(list(w))
        found.append(v)
        values.append(value)
    return values, products


def _unit(v: list[Tensor]) -> list[Tensor]:
    length = sum(float(part.square().sum()) for part in v) ** 0.5
    return [part / length for part in v]


def _deflated(v: list[Tensor], found: list[list[Tensor]]) -> list[Tensor]:
    for known in found:
        along = sum(float((a * b).sum()) for a, b in zip(v, known, strict=True))
        v = [a - along * b for a, b in zip(v, known, strict=True)]
    return v


def eigenvalues(models: int, alone: int, repeats: int, top: int = 1) -> dict[str, float]:
    """Seconds of a model together, alone, and by the peer; and what each found."""
    split = Digits(source="digits").load(Path()).splits["train"]
    inputs, targets = split.inputs[:SAMPLES], split.targets[:SAMPLES]
    samples = Samples("train", inputs, targets, LOSSES["cross_entropy"], SAMPLES)
    modules = [trained(seed, split.inputs, split.targets) for seed in range(models)]
    subjects = [subject_of(m, samples, seed) for seed, m in enumerate(modules)]
    measure = Eigenvalues(measure="eigenvalues", top=top)
    found = list(measure.compute(subjects))
    seconds: dict[str, list[float]] = {"pack": [], "loop": [], "peer": []}
    products = []
    for _ in range(repeats):
        began = time.process_time()
        list(measure.compute(subjects))
        seconds["pack"].append((time.process_time() - began) / models)
        began = time.process_time()
        for subject in subjects[:alone]:
            list(measure.compute([subject]))
        seconds["loop"].append((time.process_time() - began) / alone)
        began = time.process_time()
        products = []
        for k in range(alone):
            worst = max(
                float(found[k].values[f"residual_{i}"] / found[k].values[f"eigenvalue_{i}"]) for i in range(1, top + 1)
            )  # type: ignore[operator]
            values, n = power_iteration(modules[k], samples, top, worst)
            products.append(n)
            for i, value in enumerate(values, 1):
                ours = float(found[k].values[f"eigenvalue_{i}"])  # type: ignore[arg-type]
                assert abs(value - ours) <= 0.05 * ours, f"model {k}: {value} and {ours}"
        seconds["peer"].append((time.process_time() - began) / alone)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [(a / p, b / p) for p, a, b in zip(seconds["pack"], seconds["loop"], seconds["peer"], strict=True)]
    return {
        "pack_ratio": statistics.median(a for a, _ in ratios),
        "peer_ratio": statistics.median(b for _, b in ratios),
        "pack_ms": 1e3 * medians["pack"],
        "loop_ms": 1e3 * medians["loop"],
        "peer_ms": 1e3 * medians["peer"],
        "products": statistics.mean(int(f.values["eigenvalue_products"]) for f in found),  # type: ignore[arg-type]
        "peer_products": statistics.mean(products),
        "residual": statistics.median(float(f.values["residual_1"] / f.values["eigenvalue_1"]) for f in found),  # type: ignore[operator]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer models and repeats, below 50 s")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    parser.add_argument("--repeats", type=int, help="of each side (5; quick: 3)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    repeats = given.repeats or (3 if given.quick else 5)
    one = eigenvalues(64, 16 if given.quick else 64, repeats)
    keys = {"hessian_pack_ratio": one["pack_ratio"], "hessian_peer_ratio": one["peer_ratio"]}
    if not given.json:
        for name, value in one.items():
            print(f"{name:>14} {value:10.3g}")
    print(json.dumps(keys))


if __name__ == "__main__":
    main()
