"""Trainings that must give the same on every device: on a pretend GPU in `make test`, on a real one in `tests/gpu`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from landsweep.sweeps.lab.data import Data, Split
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training import BranchPoint, Checkpoint, Ended, Evaluated, train_pack
from tests.support.pretend import numbers_of
from tests.sweeps.lab.training.cases import OPTIMIZERS, label

PROBES = [{"probe": name} for name in ("activations", "attention", "logits")]
MLP: dict[str, Any] = {"net": {"net": "mlp", "hidden": [6]}}
TEXT = {"source": "markov", "states": 5, "context": 6}
GPT: dict[str, Any] = {"data": TEXT, "net": {"net": "gpt", "width": 8, "heads": 2, "depth": 1}}
CNN: dict[str, Any] = {"net": {"net": "cnn", "channels": [2, 3]}}


IMAGES: dict[str, Any] = {"data": {"source": "callable", "function": f"{__name__}:images"}}
NOISED: dict[str, Any] = {"data": {"source": "denoising", "of": {"source": "digits"}}, "augment": {"noise": "uniform"}}


def images() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Splits of images that are large enough for the networks of published zoos."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.standard_normal((40, 1, 28, 28), np.float32), rng.integers(0, 10, 40)) for name in ("train", "test")
    }


def own_net() -> nn.Module:
    """A network of the user's."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, 10))


def fields(**more: Any) -> dict[str, Any]:
    return {
        "data": {"source": "digits"},
        "optimizer": {"method": "sgd", "momentum": 0.9, "learning_rate": 0.05},
        "steps": 4,
        "batch_size": 8,
        "evaluate": {"every_steps": 2, "first": 12, "start": True},
        **MLP,
        **more,
    }


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"bmm-{label(o)}": ("bmm", {"optimizer": o}) for o in OPTIMIZERS},
    "bmm-mup": ("bmm", {"parametrization": {"scheme": "mup", "base_width": 4}, "optimizer": {"method": "adamw"}}),
    "bmm-dropout": ("bmm", {"net": {"net": "mlp", "hidden": [6], "dropout": 0.2, "norm": "layer"}}),
    "bmm-one-cycle": ("bmm", {"schedule": {"shape": "one_cycle"}}),
    "bmm-clip": ("bmm", {"clip": 0.1, "checkpoints": {"every_steps": 1, "best": "test_loss"}}),
    "bmm-labels": ("bmm", {"label_noise": 0.3, "train_fraction": 0.5, "drop_last": True}),
    "bmm-averages": ("bmm", {"averaging": {"average": "exponential"}, "loss": "mse"}),
    "bmm-double": ("bmm", {"dtype": "float64", "z_loss": 1e-4}),
    "vmap-batch-norm": ("vmap", {"net": {"net": "mlp", "hidden": [6], "norm": "batch"}}),
    "vmap-cnn": ("vmap", {**CNN, "augment": {"shift": 1}}),
    "loop-class": ("loop", {"optimizer": {"method": "class", "name": "torch.optim:AdamW", "learning_rate": 0.01}}),
    "loop-gpt": ("loop", GPT),
    "vmap-gpt-probes": ("vmap", {**GPT, "evaluate": {"probes": PROBES, "first": 12}}),
    "vmap-vit-muon": (
        "vmap",
        {"net": {"net": "vit", "width": 8, "heads": 2, "depth": 1, "patch": 4}, "optimizer": {"method": "muon"}},
    ),
    "loop-resnet18": ("loop", {"net": {"net": "resnet18", "width": 2}, "steps": 2}),
    "loop-fixup": ("loop", {"net": {"net": "fixup_resnet", "depth": 8, "width": 2}, "steps": 2}),
    "loop-zoo-cnn": ("loop", {**IMAGES, "net": {"net": "cnn_s"}, "steps": 2}),
    "conv-small-cnn": ("conv", {**IMAGES, "net": {"net": "small_cnn", "width": 2, "dropout": 0.2}, "steps": 3}),
    "conv-zoo-cnn": ("conv", {**IMAGES, "net": {"net": "cnn_s"}, "steps": 2}),
    "loop-small-cnn": ("loop", {**IMAGES, "net": {"net": "small_cnn", "width": 2}, "steps": 2}),
    "loop-dit": ("loop", {**NOISED, "net": {"net": "dit", "width": 8, "heads": 2, "depth": 1, "patch": 4}}),
    "loop-encdec": ("loop", {"data": {"source": "translation"}, "net": {**GPT["net"], "net": "encdec"}}),
    "loop-lstm": ("loop", {**GPT, "net": {"net": "lstm", "width": 6}}),
    "loop-own": ("loop", {"net": {"net": "own", "function": f"{__name__}:own_net"}}),
    "vmap-sharpness": ("vmap", {"evaluate": {"first": 12, "probes": [{"probe": "sharpness", "first": 8}]}}),
    "bmm-divided-sharpness": (
        "bmm",
        {
            "optimizer": {"method": "adamw"},
            "evaluate": {"first": 12, "probes": [{"probe": "preconditioned_sharpness", "first": 8}]},
        },
    ),
    "vmap-resnet": ("vmap", {"net": {"net": "resnet", "depth": 8, "width": 2}, "steps": 2}),
}


def few(recipe: Recipe) -> Data:
    """A few samples of its data: everything is done there that is done on all of it."""
    data = recipe.data.load(Path())
    splits = {name: Split(s.inputs[:40], s.targets[:40]) for name, s in data.splits.items()}
    return Data(splits, data.classes, data.shape)


def trained(device: str, backend: str, recipe: dict[str, Any], models: int = 3) -> list[Any]:
    recipes = [Recipe.model_validate({**recipe, "seed": seed}) for seed in range(models)]
    branches = () if recipe["optimizer"]["method"] == "class" else (2,)
    events = list(
        train_pack(recipes, few(recipes[0]).to(device), device=device, backend=backend, branch_steps=branches)
    )
    given: list[Any] = []
    for event in events:
        match event:
            case Evaluated() | Ended():
                given.append((type(event).__name__, event.index, event.step, dict(event.metrics)))
            case Checkpoint() | BranchPoint():
                given.append((event.index, event.step, {n: numbers_of(t).tolist() for n, t in event.state.items()}))
    return given


def close(given: Any, expected: Any, relative: float) -> None:
    """Compare what `trained` gave, number by number; gradients that are sums to 0 leave small ones anything."""
    assert type(given) is type(expected)
    if isinstance(given, dict):
        assert given.keys() == expected.keys()
        for name in given:
            close(given[name], expected[name], relative)
    elif isinstance(given, list | tuple):
        assert len(given) == len(expected)
        for a, b in zip(given, expected, strict=True):
            close(a, b, relative)
    elif isinstance(given, float):
        both_nan = math.isnan(given) and math.isnan(expected)
        assert both_nan or math.isclose(given, expected, rel_tol=relative, abs_tol=relative)
    else:
        assert given == expected
