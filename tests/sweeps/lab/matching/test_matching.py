"""Matching: a permuted copy comes back, on every family; small problems against all permutations."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.lab.matching.activations import match_activations
from landsweep.sweeps.lab.matching.straight_through import match_straight_through
from landsweep.sweeps.lab.matching.symmetry import find_symmetry, permute
from landsweep.sweeps.lab.matching.weights import match_weights
from tests.support.small_networks import NETWORKS, network


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("match", ["weights", "activations"])
def test_a_permuted_copy_comes_back(name: str, match: str) -> None:
    module, inputs = network(name, samples=64)
    symmetry = find_symmetry(module, inputs[:4])
    state = module.state_dict()
    generator = torch.Generator().manual_seed(3)
    orders = [torch.randperm(u.size, generator=generator) for u in symmetry.units]
    copy = permute(state, symmetry.units, orders)
    if match == "weights":
        found = match_weights(state, copy, symmetry, names(module), generator)
    else:
        other = network(name)[0]
        other.load_state_dict(copy)
        found = match_activations(module, other, symmetry, [inputs])
    back = permute(copy, symmetry.units, found.orders)
    assert all(torch.equal(t, back[k]) for k, t in state.items())


@pytest.mark.parametrize("seed", range(20))
def test_the_objective_never_falls_and_does_not_depend_on_the_order_of_units(seed: int) -> None:
    a, inputs = network("resnet_batch", seed)
    b, _ = network("resnet_batch", seed + 100)
    symmetry = find_symmetry(a, inputs)
    generator = torch.Generator().manual_seed(seed)
    first = match_weights(a.state_dict(), b.state_dict(), symmetry, names(a), generator)
    assert list(first.objective) == sorted(first.objective)
    shuffle = [torch.randperm(u.size, generator=generator) for u in symmetry.units]
    copy = permute(b.state_dict(), symmetry.units, shuffle)
    generator.manual_seed(seed)
    second = match_weights(a.state_dict(), copy, symmetry, names(a), generator)
    assert second.objective == pytest.approx(first.objective, rel=1e-12)


def test_a_network_matches_itself_as_it_is() -> None:
    module, inputs = network("gpt")
    symmetry = find_symmetry(module, inputs)
    generator = torch.Generator().manual_seed(0)
    found = match_weights(module.state_dict(), module.state_dict(), symmetry, names(module), generator)
    assert all(torch.equal(order, torch.arange(len(order))) for order in found.orders)


@pytest.mark.parametrize("seed", range(20))
def test_one_hidden_layer_is_solved_exactly(seed: int) -> None:
    """With one group of units a linear assignment is the whole problem: no permutation gives more."""
    torch.manual_seed(seed)
    a, b = (nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)) for _ in range(2))
    symmetry = find_symmetry(a, torch.randn(4, 3))
    found = match_weights(a.state_dict(), b.state_dict(), symmetry, names(a), torch.Generator())

    def inner(order: tuple[int, ...]) -> float:
        state = permute(b.state_dict(), symmetry.units, [torch.tensor(order)])
        return float(sum((t.double() * state[k].double()).sum() for k, t in a.state_dict().items()))

    best = max(map(inner, itertools.permutations(range(5))))
    assert found.objective[-1] == pytest.approx(best, rel=1e-9)
    assert inner(tuple(found.orders[0].tolist())) == pytest.approx(best, rel=1e-9)


def test_activations_are_correlated_as_numpy_has_it() -> None:
    """Units that answer with other scales and shifts are the same units; a dead one takes what is left."""
    first = nn.Linear(3, 4)
    a = nn.Sequential(first, nn.ReLU(), nn.Linear(4, 2))
    b = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        first.weight[3] = 0
        scale = torch.tensor([2.0, 0.5, 7.0, 1.0])
        b[0].weight.copy_((scale[:, None] * first.weight)[order])
        b[0].bias.copy_((scale * first.bias + 3)[order])
    found = match_activations(a, b, find_symmetry(a, torch.randn(4, 3)), list(torch.randn(100, 3).split(30)))
    assert torch.equal(order[found.orders[0]], torch.arange(4))


def test_units_that_no_layer_writes_have_no_activations() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Parameter(torch.randn(3, 4)), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.relu(x @ self.first))

    module = Bare()
    with pytest.raises(SpecError, match="use `match: weights`"):
        match_activations(module, module, find_symmetry(module, torch.randn(4, 3)), [torch.randn(4, 3)])


def test_straight_through_is_never_worse_than_weight_matching_half_way() -> None:
    torch.manual_seed(0)
    a, b = (nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(2))
    x, y = torch.randn(90, 4), torch.randint(3, (90,))
    for module in (a, b):
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y).backward()
            optimizer.step()
    symmetry = find_symmetry(a, x[:4])
    batches = list(zip(x.split(30), y.split(30), strict=True))
    states = a.state_dict(), b.state_dict()

    @torch.no_grad()
    def middle(orders: tuple[torch.Tensor, ...]) -> float:
        moved = permute(states[1], symmetry.units, orders)
        module = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        module.load_state_dict({k: (t + moved[k]) / 2 for k, t in states[0].items()})
        return float(nn.functional.cross_entropy(module(x), y))

    plain = match_weights(*states, symmetry, names(a), torch.Generator().manual_seed(0))
    scratch = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    loss, draw = LOSSES["cross_entropy"], torch.Generator().manual_seed(0)
    learnt = match_straight_through(scratch, *states, symmetry, batches, loss, draw, steps=30, learning_rate=0.1)
    assert middle(learnt.orders) < middle(plain.orders)
