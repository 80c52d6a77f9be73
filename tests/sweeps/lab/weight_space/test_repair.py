"""REPAIR: hidden units get the statistics that were asked for; the ends stay what they are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from landsweep.sweeps.lab.weight_space.repair import Repair, unit_statistics
from tests.support.small_networks import network

LAYERS = {
    "mlp": ["hidden.0.linear", "hidden.1.linear", "hidden.2.linear"],
    "cnn": ["layers.0.conv", "layers.1.conv", "layers.2.conv"],
}


@pytest.mark.parametrize("name", LAYERS)
def test_statistics_are_those_of_torch_over_samples_and_positions(name: str) -> None:
    module, inputs = network(name, samples=20)
    layer = LAYERS[name][0]
    (statistics,) = unit_statistics(module, [layer], list(inputs.split(7))).values()
    with torch.no_grad():
        x = module.get_submodule(layer)(inputs).double().movedim(1, 0).flatten(1)
    assert torch.allclose(statistics.mean, x.mean(1))
    assert torch.allclose(statistics.deviation, x.std(1, correction=0), rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("t", [0.25, 0.5])
def test_every_layer_gets_mean_and_deviation_between_the_ends(name: str, t: float) -> None:
    (a, inputs), (b, _) = network(name, 0, samples=50), network(name, 1)
    layers = LAYERS[name]
    ends = [unit_statistics(m, layers, [inputs]) for m in (a, b)]
    merged = copy.deepcopy(a)
    other = b.state_dict()
    mixed = {k: (1 - t) * v + t * other[k] if v.is_floating_point() else v for k, v in a.state_dict().items()}
    merged.load_state_dict(mixed)
    repair = Repair(merged, layers, [inputs])
    repair.fit(*ends, t)
    after = unit_statistics(merged, layers, [inputs])  # its hooks run after those of the correction
    for layer in layers:
        mean = (1 - t) * ends[0][layer].mean + t * ends[1][layer].mean
        deviation = (1 - t) * ends[0][layer].deviation + t * ends[1][layer].deviation
        assert torch.allclose(after[layer].mean, mean, atol=1e-5)
        assert torch.allclose(after[layer].deviation, deviation, rtol=1e-2, atol=3e-3)
    repair.close()
    assert all(not m._forward_hooks for m in merged.modules())


def test_at_the_ends_nothing_changes() -> None:
    (a, inputs), (b, _) = network("mlp", 0, samples=50), network("mlp", 1)
    layers = LAYERS["mlp"]
    ends = [unit_statistics(m, layers, [inputs]) for m in (a, b)]
    for t, end in ((0.0, a), (1.0, b)):
        module = copy.deepcopy(end)
        before = module(inputs)
        repair = Repair(module, layers, [inputs])
        repair.fit(*ends, t)
        assert torch.allclose(module(inputs), before, atol=1e-5)
        repair.close()


def test_scale_lost_by_averaging_comes_back_exactly() -> None:
    """Two orthogonal linear layers of standard normal outputs: the mean has deviation 1/sqrt(2), REPAIR makes it 1."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    inputs = (inputs - inputs.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(inputs.T.cov(correction=0))).T
    layers = [nn.Sequential(nn.Linear(2, 1, bias=False)).double() for _ in range(3)]
    for module, row in zip(layers, ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]), strict=True):
        module[0].weight.data = torch.tensor([row], dtype=torch.float64)
    ends = [unit_statistics(m, ["0"], [inputs]) for m in layers[:2]]
    assert float(unit_statistics(layers[2], ["0"], [inputs])["0"].deviation) == pytest.approx(0.5**0.5, rel=1e-9)
    repair = Repair(layers[2], ["0"], [inputs])
    repair.fit(*ends, 0.5)
    assert float(unit_statistics(layers[2], ["0"], [inputs])["0"].deviation) == pytest.approx(1, rel=2e-5)
