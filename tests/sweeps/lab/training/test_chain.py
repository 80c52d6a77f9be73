"""Chains of convolutions by hand give the bits of vmap and autograd, or are left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.data import Data
from landsweep.sweeps.lab.losses import TrainingLoss
from landsweep.sweeps.lab.training.assembly import assemble
from landsweep.sweeps.lab.training.backends import Vmap, rules
from landsweep.sweeps.lab.training.backends.chain import Chain
from landsweep.sweeps.lab.training.dropout import with_masks
from landsweep.sweeps.lab.training.stack import Stack
from tests.sweeps.lab.training.cases import blobs, finals, recipe, run, same

CNN: dict[str, Any] = {"net": "cnn", "channels": [4, 6]}


@pytest.fixture(scope="module")
def data() -> Data:
    return blobs(80)


def networks() -> dict[str, list[nn.Module]]:
    """Layers after which an image of 2 x 8 x 8 has become a row, and some linear layers."""
    strided = nn.Conv2d(2, 6, (3, 2), stride=(2, 1), padding=(0, 1))
    grouped = nn.Conv2d(6, 4, 3, dilation=2, padding=1, groups=2, bias=False)
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
        "without mean": [nn.ReLU(), nn.Conv2d(2, 3, 3, 3), nn.Dropout(0.0), nn.ReLU(), nn.ReLU()],
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


def by_both(backend: Vmap, inputs: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor]]:
    assert backend._chain is not None
    outs = [torch.full_like(backend.stack.weights, torch.nan) for _ in range(2)]
    given = inputs.clone()
    losses = backend._by_autograd(inputs, targets, {}, outs[0]), backend._chain.gradients(inputs, targets, outs[1])
    assert torch.equal(inputs, given)
    return list(zip(losses, outs, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("name", networks())
def test_losses_and_gradients_have_the_bits_of_vmap(name: str, count: int, dtype: torch.dtype) -> None:
    made = models(name, count, dtype)
    for seed, samples in enumerate((32, 9)):
        source = torch.Generator().manual_seed(seed)
        inputs = torch.randn(count, samples, 2, 8, 8, generator=source, dtype=dtype)
        targets = torch.randint(3, (count, samples), generator=source)
        backend = Vmap(Stack(made, "cpu"), made, TrainingLoss("cross_entropy", label_smoothing=0.1 * seed))
        (losses, grads), (own_losses, own_grads) = by_both(backend, inputs, targets)
        assert torch.equal(losses, own_losses) and torch.equal(grads, own_grads)


def test_parameters_that_do_not_train_get_no_gradient() -> None:
    made = models("relu", 3)
    for module in made:
        module.get_parameter("0.0.weight").requires_grad_(False)
        module.get_parameter("2.bias").requires_grad_(False)
    backend = Vmap(Stack(made, "cpu"), made, TrainingLoss("cross_entropy"))
    (losses, grads), (own_losses, own_grads) = by_both(backend, torch.rand(3, 5, 2, 8, 8), torch.zeros(3, 5).long())
    assert torch.equal(losses, own_losses) and torch.equal(grads, own_grads)


NO_CHAINS: dict[str, list[nn.Module]] = {
    "a perceptron": [nn.Flatten(), nn.Linear(128, 3)],
    "dropout": [nn.Conv2d(2, 3, 3), nn.Dropout(0.5), nn.Flatten()],
    "norm": [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten()],
    "gelu": [nn.Conv2d(2, 3, 3), nn.GELU(), nn.Flatten()],
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
def test_other_networks_are_no_chains(name: str) -> None:
    assert not Chain.reads(with_masks(nn.Sequential(*NO_CHAINS[name])))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that were computed by vmap and autograd."""
    sizes: list[int] = []
    whole = Vmap._by_autograd

    def noted(self: Vmap, inputs: Tensor, *rest: Any) -> Tensor:
        sizes.append(inputs.shape[1])
        return whole(self, inputs, *rest)

    monkeypatch.setattr(Vmap, "_by_autograd", noted)
    return sizes


def trained(data: Data) -> dict[int, Mapping[str, Tensor]]:
    return finals(run([recipe(seed, net=CNN, steps=12) for seed in range(4)], data, "vmap"))


def test_each_size_of_batch_is_tried_once_and_training_has_the_same_bits(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(data)  # which proves the back-end once
    sizes = counted(monkeypatch)
    ours = trained(data)
    assert sorted(sizes) == [16, 32]
    monkeypatch.setattr(Chain, "reads", lambda module: False)
    theirs = trained(data)
    assert len(theirs) == 4 and all(same(ours[i], state) for i, state in theirs.items())
    assert len(sizes) >= 12


def test_where_bits_differ_the_chain_is_left(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rules.RULES[nn.ReLU]

    def off(layer: nn.Module, x: Tensor, alone: bool) -> tuple[Tensor, rules.Pullback]:
        y, pullback = rule(layer, x, alone)
        return y, lambda d: pullback(d) * (1 + 2**-22)

    right = trained(data)
    monkeypatch.setitem(rules.RULES, nn.ReLU, off)
    sizes = counted(monkeypatch)
    assert all(same(right[i], state) for i, state in trained(data).items())
    assert len(sizes) == 12


def test_a_programs_memory_is_read_after_rows_have_left(data: Data) -> None:
    assembly = assemble([recipe(seed, net=CNN) for seed in range(5)], data, Vmap, "cpu", Path())
    inputs, targets = assembly.samples.batch(0)
    keep = torch.tensor([0, 2, 3])
    assembly.program.take(keep)
    assembly.stack.weights.mul_(1.5)
    assert isinstance(assembly.program, Vmap)
    (losses, grads), (own_losses, own_grads) = by_both(assembly.program, inputs[keep], targets[keep])
    assert torch.equal(losses, own_losses) and torch.equal(grads, own_grads)
