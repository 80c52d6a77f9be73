"""Scaled and centred networks: zero at the start, linear where the scale is large, alike in all back-ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.func import functional_call, jacrev

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.centred import centred
from tests.sweeps.lab.training.cases import finals, recipe, run

NET = {"net": "mlp", "hidden": [6], "activation": "tanh"}


def own(scale: float) -> dict[str, object]:
    args = {"net": NET, "shape": [1, 8, 8], "outputs": 10, "scale": scale}
    return {"net": "own", "function": "landsweep.sweeps.lab.models.centred:centred", "args": args}


def test_the_output_starts_at_zero_and_only_the_weights_train() -> None:
    torch.manual_seed(3)
    module = centred(NET, [5], 2, 7.0)
    x = torch.randn(4, 5)
    assert torch.equal(module(x), torch.zeros(4, 2))
    assert all(p.requires_grad is name.startswith("network.") for name, p in module.named_parameters())
    torch.manual_seed(4)
    other = centred(NET, [5], 2, 7.0)
    assert not torch.equal(other.network.out.weight, module.network.out.weight)  # type: ignore[union-attr]
    with pytest.raises(SpecError, match="0 is not above 0"):
        centred(NET, [5], 2, 0)


def test_a_large_scale_trains_the_linearised_network() -> None:
    """Full-batch descent with the rate times scale^-2 against the same on f's first-order expansion at w0."""
    random = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, n, generator=random, dtype=torch.float64) for n in (5, 2))
    torch.manual_seed(0)
    start = {n: p.detach() for n, p in centred(NET, [5], 2, 1.0).double().network.named_parameters()}

    def outputs(scale: float, linear: bool) -> torch.Tensor:
        torch.manual_seed(0)
        module = centred(NET, [5], 2, scale).double()
        way = {n: torch.zeros_like(p, requires_grad=True) for n, p in start.items()}

        def f(weights: dict[str, torch.Tensor]) -> torch.Tensor:
            return functional_call(module.network, weights, (x,))

        slopes_at_start = jacrev(f)(start)  # name to [samples, outputs, ...]

        def of(way: dict[str, torch.Tensor]) -> torch.Tensor:
            if linear:
                return scale * sum((s * way[n]).flatten(2).sum(2) for n, s in slopes_at_start.items())
            moved = {f"network.{n}": start[n] + w for n, w in way.items()}
            return functional_call(module, moved, (x,))

        for _ in range(30):
            slopes = torch.autograd.grad((of(way) - y).square().mean(), list(way.values()))
            with torch.no_grad():
                for w, slope in zip(way.values(), slopes, strict=True):
                    w -= 0.1 / scale**2 * slope
        return of(way).detach()

    errors = [float((outputs(a, False) - outputs(a, True)).abs().max()) for a in (10.0, 100.0, 1000.0)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2] and errors[2] < 2e-3


def test_back_ends_train_it_alike() -> None:
    recipes = [recipe(seed, net=own(3.0), loss="hinge", steps=4, dtype="float64") for seed in range(2)]
    data = recipes[0].data.load(Path())
    loop, vmap = (finals(run(recipes, data, backend)) for backend in ("loop", "vmap"))
    for index, state in loop.items():
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, vmap[index][key], rtol=1e-9, atol=1e-11)
        assert not torch.equal(state["network.out.weight"], state["start.out.weight"])
