"""Recipes that the tests of packs share, and what comes out of training them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import Checkpoint, Ended, Evaluated, TrainingEvent, train_pack

CNN = {"net": "cnn", "channels": [4], "norm": "batch"}
SGD = {"method": "sgd", "momentum": 0.9}
OPTIMIZERS: list[dict[str, Any]] = [
    *({"method": m, "learning_rate": 0.003} for m in ("adam", "adamw", "rmsprop", "lion", "nadamw")),
    *({"method": m, "learning_rate": 0.003} for m in ("ademamix", "grams", "swats", "gravity", "stable_spam")),
    {"method": "sgdw", "learning_rate": 0.05, "weight_decay": 0.01, "momentum": 0.9},
    {"method": "adamw_independent", "learning_rate": 0.003, "weight_decay": 0.01},
    {"method": "sam", "learning_rate": 0.05, "momentum": 0.9},
    {"method": "sam", "base": "adamw", "adaptive": True, "learning_rate": 0.003},
    {"method": "muon", "learning_rate": 0.02, "ends": True},
    {"method": "soap", "learning_rate": 0.003, "every": 5},
    *({"method": "dog", "first_step": 1e-3, "layerwise": layerwise} for layerwise in (False, True)),
    {"method": "momo", "learning_rate": 1.0, "estimate": True},
    {"method": "momo_adam", "learning_rate": 0.01, "estimate": True},
    {"method": "prodigy", "first": 1e-3},
    {"method": "dadapt_adam", "first": 1e-3},
    {"method": "schedule_free_sgd", "learning_rate": 0.05},
    {"method": "schedule_free_adamw", "learning_rate": 0.003},
    {"method": "critical_adam", "learning_rate": 0.003, "kept": 2},
    {"method": "swan", "learning_rate": 0.003, "ends": True},
    {"method": "frugal", "learning_rate": 0.003, "density": 0.3, "every": 5},
    {"method": "gam", "learning_rate": 0.05, "momentum": 0.9},
    {"method": "entropy_sgd", "learning_rate": 0.7, "walk": 3, "noise": 0.01},
    {"method": "ortho_grad", "learning_rate": 0.05, "momentum": 0.9},
    {"method": "u_dog", "first_step": 1e-3},
    {"method": "induced_metric", "learning_rate": 0.05},
    {"method": "egn", "learning_rate": 0.3},
]
"""Every stacked method but sgd, which all other tests train with."""


def label(optimizer: Mapping[str, Any]) -> str:
    marks = ("base", "layerwise")
    return "-".join([optimizer.get("name", optimizer["method"]), *(m for m in marks if optimizer.get(m))])


def recipe(seed: int = 0, lr: float = 0.05, **fields: Any) -> Recipe:
    data: dict[str, Any] = {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [16]},
        "optimizer": {**SGD, "learning_rate": lr},
        "steps": 30,
        "batch_size": 32,
        "evaluate": {"splits": ["test"]},
        "seed": seed,
    }
    return Recipe.model_validate({**data, **fields})


def digits() -> Data:
    return recipe().data.load(Path())


def blobs(n: int = 96) -> Data:
    """Small images in three classes: for convolutions, which are slow."""
    g = torch.Generator().manual_seed(0)
    targets = torch.arange(n) % 3
    inputs = torch.randn(n, 1, 8, 8, generator=g) + targets[:, None, None, None]
    return Data.of({"train": Split(inputs, targets), "test": Split(inputs[:33], targets[:33])})


def run(recipes: Sequence[Recipe], data: Data, backend: str, **more: Any) -> list[TrainingEvent]:
    return list(train_pack(recipes, data, backend=backend, **more))


def finals(events: Sequence[TrainingEvent]) -> dict[int, Mapping[str, Tensor]]:
    return {e.index: e.state for e in events if isinstance(e, Checkpoint) and e.label == "last"}


def ends(events: Sequence[TrainingEvent]) -> dict[int, Ended]:
    found = [e for e in events if isinstance(e, Ended)]
    assert len({e.index for e in found}) == len(found)
    return {e.index: e for e in found}


def seen(events: Sequence[TrainingEvent], index: int) -> list[tuple[int, dict[str, float]]]:
    return [(e.step, dict(e.metrics)) for e in events if isinstance(e, Evaluated) and e.index == index]


def told(events: Sequence[TrainingEvent]) -> list[str]:
    """What a consumer learns, but for times; as text, since NaN is not equal to itself."""
    marks: list[object] = []
    for e in events:
        match e:
            case Evaluated():
                marks.append((e.index, e.step, dict(e.metrics)))
            case Checkpoint():
                marks.append((e.index, e.step, e.label))
            case Ended():
                marks.append((e.index, e.status, e.step, e.error, dict(e.metrics)))
    return sorted(map(repr, marks))


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def as_kept(state: Mapping[str, NDArray[Any]], file: Path) -> Mapping[str, NDArray[Any]]:
    """A state as it comes back from a file."""
    from safetensors.numpy import load_file, save_file

    save_file(dict(state), file)
    return load_file(file)
