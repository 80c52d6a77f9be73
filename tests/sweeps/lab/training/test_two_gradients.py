"""Methods that take two gradients of a batch, in whole trainings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.draws import order
from tests.sweeps.lab.training.cases import blobs, digits, distance, finals, recipe, run

CNN = {"net": "cnn", "channels": [4], "norm": "batch"}
SAM = {"method": "sam", "learning_rate": 0.05, "momentum": 0.9, "rho": 0.1}


def by_hand(r: Recipe, data: Data) -> nn.Module:
    """SAM as anyone would write it: momentum is torch's; a second pass leaves running statistics alone."""
    split = data.splits["train"]
    module = r.net.build(data.shape, data.outputs, r.seed)
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    per_epoch = math.ceil(len(split) / r.batch_size)
    for step in range(r.steps or 0):
        epoch, within = divmod(step, per_epoch)
        chosen = order(r.seed, epoch, len(split))[within * r.batch_size :][: r.batch_size]
        gradients(module, r, data, chosen.tolist())
        grads = [p.grad for p in module.parameters() if p.grad is not None]
        size = math.sqrt(sum(float(g.square().sum()) for g in grads))
        before = [p.detach().clone() for p in module.parameters()]
        with torch.no_grad():
            for p, g in zip(module.parameters(), grads, strict=True):
                p.add_(g, alpha=0.1 / size)
        kept = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 0.0
        gradients(module, r, data, chosen.tolist())
        for m, momentum in zip(norms, kept, strict=True):
            m.momentum = momentum
            assert m.num_batches_tracked is not None
            m.num_batches_tracked -= 1
        with torch.no_grad():
            for p, w in zip(module.parameters(), before, strict=True):
                p.copy_(w)
        if r.clip is not None:
            nn.utils.clip_grad_norm_(module.parameters(), r.clip)
        optimizer.step()
    return module


def gradients(module: nn.Module, r: Recipe, data: Data, chosen: list[int]) -> None:
    split = data.splits["train"]
    module.zero_grad()
    torch.autograd.backward(F.cross_entropy(module(split.inputs[chosen]), split.targets[chosen]))


@pytest.mark.parametrize(
    ("backend", "fields"),
    [
        ("loop", {}),
        ("vmap", {}),
        ("bmm", {}),
        ("bmm", {"clip": 0.7}),
        ("loop", {"net": CNN, "steps": 15}),
        ("vmap", {"net": CNN, "steps": 15}),
    ],
)
def test_sam_equals_training_by_hand(backend: str, fields: dict[str, Any]) -> None:
    """Clipping is of the gradient that makes the step; running statistics are those of the first pass."""
    data = blobs() if "net" in fields else digits()
    recipes = [recipe(seed, optimizer=SAM, **fields) for seed in range(2)]
    found = finals(run(recipes, data, backend))
    for i, r in enumerate(recipes):
        assert distance(found[i], by_hand(r, data).state_dict()) < 1e-5


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_both_gradients_see_the_same_dropout(backend: str) -> None:
    """With a radius of 0 SAM is SGD, if nothing is drawn anew in between."""
    net = {"net": "mlp", "hidden": [12], "dropout": 0.4}
    sam = recipe(3, net=net, optimizer={**SAM, "rho": 0.0})
    sgd = recipe(3, net=net, optimizer={"method": "sgd", "learning_rate": 0.05, "momentum": 0.9})
    data = digits()
    assert distance(finals(run([sam], data, backend))[0], finals(run([sgd], data, backend))[0]) == 0
