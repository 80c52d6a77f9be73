"""Chains of convolutions by hand give what autograd gives, with images of several layouts, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.training import choose
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import Conv, Vmap, rules
from landsweep.sweeps.lab.training.backends.conv import _parts
from landsweep.sweeps.lab.training.dropout import with_masks
from landsweep.sweeps.lab.training.proof import prove_backend
from landsweep.sweeps.lab.training.stack import Stack
from tests.sweeps.lab.training.cases import blobs, distance, ends, finals, recipe, run

CNN: dict[str, Any] = {"net": "cnn", "channels": [4, 6]}
ROUNDING = {torch.float32: 2e-5, torch.float64: 1e-13}


@pytest.fixture(scope="module")
def data() -> Data:
    return blobs(80)


def networks() -> dict[str, list[nn.Module]]:
    """Layers after which an image of 2 x 8 x 8 has become a row, and some linear layers."""
    strided = nn.Conv2d(2, 6, (3, 2), stride=(2, 1), padding=(0, 1))
    grouped = nn.Conv2d(6, 4, 3, dilation=2, padding=1, groups=2, bias=False)
    activations = [layer for kind in rules.RULES for layer in (nn.Conv2d(2, 2, 3, padding=1), kind())]
    return {
        "relu": [
            nn.Conv2d(2, 5, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(5, 7, 3, 2, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        ],
        "shapes": [strided, nn.Tanh(), grouped, nn.LeakyReLU(), nn.AdaptiveAvgPool2d((1, 1))],
        "wide": [nn.Conv2d(2, 16, 3, padding=1), nn.Sigmoid(), nn.Conv2d(16, 32, 3, 2, 1), nn.Identity(), nn.ReLU()],
        "parts": [
            nn.Conv2d(2, 10, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(10, 48, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(48, 96, (3, 2), (3, 2), 1, groups=3, bias=False),
        ],
        "without mean": [nn.ReLU(), nn.Conv2d(2, 3, 3, 3), nn.Dropout(0.0), nn.ReLU(), nn.ReLU()],
        "all activations": activations,
        "pools": [
            nn.Conv2d(2, 4, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Tanh(),
            nn.Conv2d(4, 3, 2),
            nn.MaxPool2d((2, 1), 1, (1, 0), ceil_mode=True),
        ],
    }


def models(name: str, count: int, dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        images = nn.Sequential(*networks()[name])
        width = images(torch.zeros(1, 2, 8, 8)).numel()
        rows = nn.Linear(width, 6), nn.Tanh(), nn.Linear(6, 3, bias=False)
        made.append(with_masks(nn.Sequential(images, nn.Flatten(), *rows)).to(dtype))
    return made


def assert_as_vmap(made: list[nn.Module], inputs: Tensor, targets: Tensor, loss: TrainingLoss) -> None:
    """Losses, gradients and outputs of both, to rounding; the inputs stay as they are."""
    conv, vmap = (kind(Stack(made, "cpu"), made, loss) for kind in (Conv, Vmap))
    given, outs = inputs.clone(), [torch.full_like(conv.stack.weights, torch.nan) for _ in range(2)]
    losses = [b.gradients(inputs, targets, {}, out) for b, out in zip((conv, vmap), outs, strict=True)]
    outputs = [b.outputs(inputs[0]) for b in (conv, vmap)]
    assert torch.equal(inputs, given)
    for ours, theirs in (losses, outs, outputs):
        assert ours.shape == theirs.shape
        assert float((ours - theirs).norm() / theirs.norm()) < ROUNDING[inputs.dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("name", networks())
def test_losses_gradients_and_outputs_are_those_of_vmap(name: str, count: int, dtype: torch.dtype) -> None:
    made = models(name, count, dtype)
    for seed, samples in enumerate((32, 9)):
        source = torch.Generator().manual_seed(seed)
        inputs = torch.randn(count, samples, 2, 8, 8, generator=source, dtype=dtype)
        targets = torch.randint(3, (count, samples), generator=source)
        assert_as_vmap(made, inputs, targets, TrainingLoss("cross_entropy", label_smoothing=0.1 * seed))


def test_parameters_that_do_not_train_get_no_gradient() -> None:
    made = models("relu", 3)
    for module in made:
        module.get_parameter("0.0.weight").requires_grad_(False)
        module.get_parameter("2.bias").requires_grad_(False)
    assert_as_vmap(made, torch.rand(3, 5, 2, 8, 8), torch.zeros(3, 5).long(), TrainingLoss("cross_entropy"))


NO_CHAINS: dict[str, list[nn.Module]] = {
    "a perceptron": [nn.Flatten(), nn.Linear(128, 3)],
    "indices": [nn.Conv2d(2, 3, 3), nn.MaxPool2d(2, return_indices=True), nn.Flatten()],
    "norm": [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten()],
    "selu": [nn.Conv2d(2, 3, 3), nn.SELU(), nn.Flatten()],
    "pooling": [nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten()],
    "edges": [nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Flatten()],
    "same": [nn.Conv2d(2, 3, 3, padding="same"), nn.Flatten()],
    "never flat": [nn.Conv2d(2, 3, 3), nn.ReLU()],
    "other axes": [nn.Conv2d(2, 3, 3), nn.Flatten(2)],
    "rows of images": [nn.Conv2d(2, 3, 3), nn.Linear(6, 6), nn.Flatten()],
    "mean first": [nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 3, 1), nn.Flatten()],
    "subclass": [type("Odd", (nn.Conv2d,), {})(2, 3, 3), nn.Flatten()],
}


@pytest.mark.parametrize("name", NO_CHAINS)
def test_other_networks_are_not_served(name: str) -> None:
    assert Conv.serves(with_masks(nn.Sequential(*NO_CHAINS[name])))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_is_that_of_the_loop_to_rounding(dropout: float, data: Data) -> None:
    """Over ends of epochs, whose last batches are smaller, and with a model that leaves."""
    net = {**CNN, "dropout": dropout}
    recipes = [recipe(seed, rate, net=net, steps=12) for seed, rate in enumerate((0.01, 0.02, 1e30, 0.05))]
    ours, theirs = (run(recipes, data, backend) for backend in ("conv", "loop"))
    assert [end.status for _, end in sorted(ends(ours).items())] == ["ok", "ok", "diverged", "ok"]
    assert max(distance(finals(ours)[i], finals(theirs)[i]) for i in (0, 1, 3)) < 1e-5


def test_a_wrong_rule_is_refused_by_the_proof(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rules.RULES[nn.ReLU]

    def off(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, rules.Pullback]:
        y, pullback = rule(layer, x, alone)
        return y, lambda d: pullback(d) * (1 + 2**-22)

    monkeypatch.setitem(rules.RULES, nn.ReLU, off)
    with pytest.raises(SpecError, match="the gradient of"):
        prove_backend("conv", recipe(net={**CNN, "channels": [4, 5]}), data)


def test_auto_takes_it_for_chains_on_a_processor_only(data: Data) -> None:
    assert {name.partition("@")[0] for name in choose(recipe(net=CNN), data).seconds} == {"loop", "conv"}
    assert Conv.automatic_on == {"cpu"}


def test_a_programs_memory_is_read_after_rows_have_left(data: Data) -> None:
    assembly = assemble([recipe(seed, net=CNN) for seed in range(5)], data, Conv, "cpu", Path())
    inputs, targets = assembly.samples.batch(0)
    keep = torch.tensor([0, 2, 3])
    assembly.program.take(keep)
    assembly.stack.weights.mul_(1.5)
    theirs = Vmap(assembly.stack, assembly.program.modules, assembly.loss)
    outs = [torch.empty_like(assembly.stack.weights) for _ in range(2)]
    pair = [
        b.gradients(inputs[keep], targets[keep], {}, out)
        for b, out in zip((assembly.program, theirs), outs, strict=True)
    ]
    assert torch.allclose(*pair, rtol=1e-5) and float((outs[0] - outs[1]).norm() / outs[1].norm()) < 1e-5


def test_narrow_convolutions_with_strides_are_taken_in_parts() -> None:
    made = [(16, 32, 2, 1), (4, 48, (2, 3), 1), (32, 32, 2, 1), (48, 96, 2, 3), (32, 64, 2, 1), (16, 24, 2, 1)]
    made += [(16, 32, 1, 1), (16, 32, (1, 2), 1), (16, 16, 2, 1)]
    layers = [nn.Conv2d(a, b, 3, stride, groups=groups) for a, b, stride, groups in made]
    assert [_parts(layer) for layer in layers] == [2, 3, 2, 2, 1, 1, 1, 1, 1]


def test_bits_do_not_depend_on_the_pack(data: Data) -> None:
    recipes = [recipe(seed, net={"net": "cnn", "channels": [16, 32]}, steps=4) for seed in range(10)]
    whole, few = finals(run(recipes, data, "conv")), finals(run(recipes[7:], data, "conv"))
    assert all(torch.equal(t, whole[7 + i][name]) for i, state in few.items() for name, t in state.items())
