"""Ghost batch normalisation: each part of a batch as a batch of its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from landsweep.sweeps.lab.models import Net, NetSpec
from landsweep.sweeps.lab.models.layers import GhostNorm1d, GhostNorm2d
from landsweep.sweeps.lab.training.micro_batches import cannot_split
from landsweep.sweeps.lab.weight_space.folding import FoldedModule, foldable
from tests.sweeps.lab.training.cases import digits, finals, recipe, run

NETS: list[dict[str, Any]] = [
    {"net": "mlp", "hidden": [6]},
    {"net": "cnn", "channels": [4, 6]},
    {"net": "resnet", "depth": 8, "width": 2},
    {"net": "resnet18", "width": 2},
]


def build(spec: dict[str, Any]) -> nn.Module:
    return TypeAdapter[Net](NetSpec).validate_python({"norm": "batch", **spec}).build((1, 8, 8), 10, 0)


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3 + 1


@pytest.mark.parametrize(("ghost", "sizes"), [(8, [8, 8, 8, 8]), (15, [16, 16]), (5, [6, 6, 5, 5, 5, 5]), (64, [32])])
def test_each_ghost_is_normalised_alone_and_the_statistics_take_in_one_after_the_other(
    ghost: int, sizes: list[int]
) -> None:
    """Algorithm 1 of the paper, written out: running mean (1 - eta)^n m + sum of eta (1 - eta)^(n - i) m_i."""
    for module, x in ((GhostNorm1d(3, ghost), batch(32, 3)), (GhostNorm2d(3, ghost), batch(32, 3, 4, 4))):
        module.double()
        given = module(x)
        axes = [d for d in range(x.ndim) if d != 1]
        view = (1, 3, *[1] * (x.ndim - 2))
        mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
        wanted = []
        for part in x.split(sizes):
            m, v = part.mean(axes), part.var(axes, correction=0)
            wanted.append((part - m.view(view)) / (v.view(view) + module.eps).sqrt())
            mean = 0.9 * mean + 0.1 * m
            variance = 0.9 * variance + 0.1 * part.var(axes)
        torch.testing.assert_close(given, torch.cat(wanted), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(module.running_mean, mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(module.running_var, variance, rtol=1e-12, atol=1e-12)


def test_of_one_whole_batch_it_is_batch_normalisation() -> None:
    ours, plain, x = GhostNorm1d(3, 32).double(), nn.BatchNorm1d(3).double(), batch(32, 3)
    assert torch.equal(ours(x), plain(x)) and torch.equal(ours.running_var, plain.running_var)  # type: ignore[arg-type]
    ours.eval(), plain.eval()
    assert torch.equal(ours(x[:1]), plain(x[:1]))


@pytest.mark.parametrize("spec", NETS, ids=lambda s: s["net"])
def test_keys_and_draws_are_those_of_batch_normalisation(spec: dict[str, Any]) -> None:
    ghost, plain = build({**spec, "ghost": 4}), build(spec)
    assert list(ghost.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ghost.parameters(), plain.parameters(), strict=True))
    assert any(isinstance(m, GhostNorm1d | GhostNorm2d) for m in ghost.modules())
    assert "normalises over the whole batch" in str(cannot_split(ghost))


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_ghosts_of_another_normalisation_are_refused(norm: str) -> None:
    with pytest.raises(ValidationError, match=f"norm is {norm}; set norm: batch or leave ghost out"):
        build({"net": "mlp", "norm": norm, "ghost": 8})
    with pytest.raises(ValidationError):
        build({"net": "mlp", "ghost": 1})


def test_left_out_it_changes_no_identity() -> None:
    net = TypeAdapter[Net](NetSpec).validate_python({"net": "mlp", "norm": "batch"})
    assert "ghost" not in net.model_dump(mode="json")


@pytest.mark.parametrize("spec", NETS[:2], ids=lambda s: s["net"])
def test_all_back_ends_train_it_alike(spec: dict[str, Any]) -> None:
    net = {**spec, "norm": "batch", "ghost": 16}
    recipes = [recipe(seed, net=net, steps=3, batch_size=50, dtype="float64") for seed in range(2)]
    loop, vmap = (finals(run(recipes, digits(), backend)) for backend in ("loop", "vmap"))
    for index, state in loop.items():
        for name, tensor in state.items():
            torch.testing.assert_close(tensor, vmap[index][name], rtol=1e-9, atol=1e-11)


def test_it_folds_into_the_layer_before_it() -> None:
    module = build({"net": "cnn", "channels": [4, 6], "ghost": 4}).double()
    x = batch(12, 1, 8, 8)
    module(x)
    module.eval()
    pairs = foldable(module, x)
    assert len(pairs) == 2
    folded = FoldedModule(module, pairs)
    folded.fold()
    torch.testing.assert_close(folded.forward(x), module(x), rtol=1e-10, atol=1e-10)
