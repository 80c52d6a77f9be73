"""What a pack computes: against training by hand, autograd, single modules and the loop."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.lab.training.draws import order
from tests.sweeps.lab.training.cases import (
    CNN,
    blobs,
    digits,
    distance,
    ends,
    finals,
    recipe,
    run,
    same,
)


@pytest.fixture(scope="module")
def data() -> Data:
    return digits()


def by_hand(r: Recipe, data: Data, steps: int) -> nn.Module:
    """Training as anyone would write it, with torch's own module, loss and optimizer."""
    split = data.splits["train"]
    module = r.net.build(data.shape, data.outputs, r.seed)
    optimizer = torch.optim.SGD(module.parameters(), r.optimizer.learning_rate, momentum=0.9)
    per_epoch = math.ceil(len(split) / r.batch_size)
    for step in range(steps):
        epoch, within = divmod(step, per_epoch)
        chosen = order(r.seed, epoch, len(split))[within * r.batch_size :][: r.batch_size]
        loss = F.cross_entropy(module(split.inputs[chosen]), split.targets[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return module


@pytest.mark.parametrize("backend", ["loop", "vmap", "bmm"])
def test_equals_training_by_hand(backend: str, data: Data) -> None:
    """100 steps over the ends of epochs, whose last batches are smaller."""
    recipes = [recipe(seed, lr, steps=100) for seed, lr in enumerate((0.01, 0.03, 0.1))]
    found = finals(run(recipes, data, backend))
    for i, r in enumerate(recipes):
        assert distance(found[i], by_hand(r, data, 100).state_dict()) < 1e-5


@pytest.mark.parametrize("net", [CNN, {**CNN, "norm": "layer"}, {"net": "resnet", "depth": 8, "width": 2}])
def test_networks_with_buffers_equal_training_by_hand(net: dict[str, Any]) -> None:
    images = blobs()
    recipes = [recipe(seed, lr, net=net, steps=20) for seed, lr in enumerate((0.003, 0.01, 0.02))]
    for backend in ("loop", "vmap"):
        found = finals(run(recipes, images, backend))
        for i, r in enumerate(recipes):
            assert distance(found[i], by_hand(r, images, 20).state_dict()) < 1e-5


@pytest.mark.parametrize(
    "activation", ["relu", "gelu", "tanh", "silu", "sigmoid", "leaky_relu", "elu", "selu", "identity"]
)
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_written_out_gradients_are_those_of_autograd(activation: str, norm: str, data: Data) -> None:
    """In double precision, after steps that all layers took part in."""
    net = {"net": "mlp", "hidden": [9, 7], "activation": activation, "norm": norm}
    recipes = [recipe(s, 0.1, net=net, dtype="float64", steps=5) for s in range(2)]
    if activation == "selu":
        with pytest.raises(SpecError, match="no rule for SELU"):
            run(recipes, data, "bmm")
        return
    found, wanted = finals(run(recipes, data, "bmm")), finals(run(recipes, data, "loop"))
    assert all(distance(found[i], wanted[i]) < 1e-13 for i in wanted)
    assert distance(wanted[0], wanted[1]) > 1e-3


TOKENS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"source": "markov"}, {"net": "gpt", "width": 16, "depth": 1, "heads": 2, "dropout": 0.1}),
    ({"source": "digits"}, {"net": "vit", "patch": 4, "width": 16, "depth": 1, "heads": 2, "dropout": 0.1}),
    ({"source": "sparse_parity"}, {"net": "mlp", "hidden": [8]}),
    ({"source": "teacher_student"}, {"net": "mlp", "hidden": [8]}),
]


@pytest.mark.parametrize(("source", "net"), TOKENS, ids=lambda x: x.get("net", x.get("source")))
def test_all_kinds_of_data_train_stacked(source: dict[str, Any], net: dict[str, Any]) -> None:
    more = {"data": source, "net": net, "steps": 5, "batch_size": 8}
    recipes = [recipe(s, 0.01, evaluate={"splits": ["test"], "first": 20}, **more) for s in range(3)]
    loaded = recipes[0].data.load(Path())
    loop, stacked = run(recipes, loaded, "loop"), run(recipes, loaded, "vmap")
    for i in range(3):
        assert distance(finals(loop)[i], finals(stacked)[i]) < 1e-5
        assert ends(loop)[i].metrics == pytest.approx(dict(ends(stacked)[i].metrics), rel=1e-4)


def test_clipping_bounds_the_first_step(data: Data) -> None:
    """With plain SGD the first step is rate x clipped gradient."""
    optimizer = {"method": "sgd", "learning_rate": 0.1}
    recipes = [recipe(0, optimizer=optimizer, steps=1, clip=c) for c in (None, 0.25, 1e9)]
    found = finals(run(recipes, data, "bmm"))
    start = recipes[0].net.build(data.shape, data.outputs, 0).state_dict()
    moved = [math.sqrt(sum(float((found[i][k] - start[k]).square().sum()) for k in start)) for i in range(3)]
    assert moved[1] == pytest.approx(0.1 * 0.25, rel=1e-4)
    assert moved[0] > 0.1 * 0.25 and same(found[0], found[2])


def test_noisy_labels_are_what_a_model_learns_and_is_judged_by(data: Data) -> None:
    """A linear model can't fit random labels, nor know the right ones from all wrong ones."""
    events = run([recipe(0, label_noise=n, epochs=12, steps=None, evaluate={}) for n in (0, 1)], data, "bmm")
    clean, noisy = (ends(events)[i].metrics for i in (0, 1))
    assert clean["train_accuracy"] > 0.9 and clean["test_accuracy"] > 0.9
    assert noisy["test_accuracy"] < 0.1, "all labels are wrong, so a model that learns them is below chance"


def test_metrics_are_those_of_the_module(data: Data) -> None:
    events = run([recipe(5, evaluate={})], data, "bmm")
    module = recipe(5).net.build(data.shape, data.outputs, 5)
    module.load_state_dict(dict(finals(events)[0]))
    module.eval()
    for name, split in data.splits.items():
        with torch.no_grad():
            outputs = module(split.inputs)
        wanted = float(F.cross_entropy(outputs, split.targets))
        assert ends(events)[0].metrics[f"{name}_loss"] == pytest.approx(wanted, rel=1e-5)
        right = float((outputs.argmax(1) == split.targets).double().mean())
        assert ends(events)[0].metrics[f"{name}_accuracy"] == right


def test_regression_trains_in_all_back_ends() -> None:
    r = recipe(0, data={"source": "teacher_student"}, steps=50, lr=0.01)
    loaded = r.data.load(Path())
    first = ends(run([recipe(0, data={"source": "teacher_student"}, steps=0)], loaded, "loop"))[0].metrics["test_loss"]
    found = [finals(run([r], loaded, b)) for b in ("loop", "vmap", "bmm")]
    assert all(distance(found[0][0], f[0]) < 1e-5 for f in found)
    over = ends(run([r], loaded, "bmm"))[0].metrics
    assert over["test_loss"] < first and "test_accuracy" not in over


def test_any_optimizer_class_trains_in_the_loop(data: Data) -> None:
    named = {"method": "class", "name": "torch.optim:SGD", "args": {"momentum": 0.9}, "learning_rate": 0.05}
    found = finals(run([recipe(0, optimizer=named)], data, "auto"))
    assert distance(found[0], finals(run([recipe(0)], data, "loop"))[0]) < 1e-6
    lamb = {"method": "class", "name": "pytorch_optimizer:Lamb", "learning_rate": 0.01}
    assert ends(run([recipe(0, optimizer=lamb)], data, "auto"))[0].metrics["test_accuracy"] > 0.3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_compiled_equals_the_loop(data: Data) -> None:
    recipes = [recipe(s, lr, net={"net": "mlp", "hidden": [8]}, steps=40) for s, lr in enumerate((0.01, 0.1))]
    compiled, loop = finals(run(recipes, data, "compiled")), finals(run(recipes, data, "loop"))
    assert all(distance(compiled[i], loop[i]) < 1e-5 for i in loop)
