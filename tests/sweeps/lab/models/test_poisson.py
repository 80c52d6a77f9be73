"""Losses of Poisson's equation: derivatives against autograd, and training that lowers the loss that is given out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch.func import jacrev, vmap

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.losses import LOSSES, sample_losses
from landsweep.sweeps.lab.models.poisson import points, poisson
from tests.sweeps.lab.training.cases import finals, recipe, run


@pytest.mark.parametrize("seed", range(20))
def test_derivatives_and_losses_are_those_of_autograd(seed: int) -> None:
    torch.manual_seed(seed)
    d = 1 + seed % 3
    galerkin, ritz = (poisson(method, d, 7, 2).double() for method in ("galerkin", "ritz"))
    ritz.load_state_dict(galerkin.state_dict())
    x = torch.rand(5, d, dtype=torch.float64)

    def u(point: torch.Tensor) -> torch.Tensor:
        h = point
        for layer in galerkin.hidden:
            h = torch.tanh(layer(h))
        return galerkin.last(h)[0] * (4 * point * (1 - point)).prod()

    value, slope, curvature = vmap(u)(x), vmap(jacrev(u))(x), vmap(jacrev(jacrev(u)))(x)
    for ours, wanted in zip(galerkin.derivatives(x), (value, slope, curvature.diagonal(dim1=1, dim2=2)), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-9, atol=1e-10)
    source = d * math.pi**2 * torch.sin(math.pi * x).prod(1)
    laplace = curvature.diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(galerkin(x)[:, 0], (laplace + source).square())
    torch.testing.assert_close(ritz(x)[:, 0], slope.square().sum(1) / 2 - source * value)
    assert torch.equal(u(torch.zeros(d, dtype=torch.float64)), torch.zeros((), dtype=torch.float64))


def test_the_loss_is_the_mean_of_the_outputs_for_packs_and_alone() -> None:
    outputs = torch.randn(2, 5, 3)
    for targets in (torch.zeros(2, 5, 3), torch.zeros(2, 5, dtype=torch.int64)):
        torch.testing.assert_close(sample_losses("outputs", outputs, targets), outputs.mean(2))
        torch.testing.assert_close(LOSSES["outputs"](outputs[1], targets[1]), outputs[1].mean(1))


def test_both_methods_come_near_the_solution() -> None:
    """Ritz by its energy, -pi^2 / 4 on the square; both by u itself."""
    data = {"source": "callable", "path": "landsweep.sweeps.lab.models.poisson:points", "args": {"train": 200}}
    x = torch.rand(200, 2, generator=torch.Generator().manual_seed(1))
    for method in ("galerkin", "ritz"):
        net = {"net": "own", "function": "landsweep.sweeps.lab.models.poisson:poisson", "args": {"method": method}}
        adam = {"method": "adam", "learning_rate": 0.01}
        recipes = [recipe(0, net=net, data=data, loss="outputs", optimizer=adam, steps=200, batch_size=200)]
        loaded = recipes[0].data.load(Path())
        (state,) = finals(run(recipes, loaded, "loop")).values()
        module = poisson(method)  # type: ignore[arg-type]
        module.load_state_dict(state)
        module.requires_grad_(False)
        error = module.derivatives(x)[0] - torch.sin(math.pi * x).prod(1)
        assert float(error.square().mean().sqrt()) < 0.1
    energy = float(module(torch.from_numpy(points(train=4000)["train"][0]).float()).mean())
    assert energy == pytest.approx(-(math.pi**2) / 4, rel=0.1)
    with pytest.raises(SpecError, match="neither galerkin nor ritz"):
        poisson("finite")  # type: ignore[arg-type]
