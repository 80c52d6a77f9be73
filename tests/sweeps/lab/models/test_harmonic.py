"""The harmonic loss: its definition, in trainings, and where it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.losses import sample_losses
from landsweep.sweeps.lab.models.harmonic import Distances
from tests.sweeps.lab.training.cases import digits, finals, recipe, run

HARMONIC = {"net": "mlp", "hidden": [8], "harmonic": 3.0}


@pytest.mark.parametrize("seed", range(20))
def test_cross_entropy_of_distances_is_the_harmonic_loss(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    layer = Distances(4, 3, exponent=2.5).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, 4, generator=source))
    features, classes = torch.randn(6, 4, generator=source, dtype=torch.float64), torch.arange(6) % 3
    losses = sample_losses("cross_entropy", layer(features)[None], classes[None])[0].detach()
    for x, y, loss in zip(features, classes.tolist(), losses.tolist(), strict=True):
        shares = [float((x - w).norm()) ** -2.5 for w in layer.weight.detach()]
        assert loss == pytest.approx(-float(torch.tensor(shares[y] / sum(shares)).double().log()), rel=1e-5)
    with torch.no_grad():  # at a centre the loss is next to 0, and its slope finite
        x = layer.weight[1:2].detach().clone().requires_grad_()
    value = sample_losses("cross_entropy", layer(x)[None], torch.tensor([[1]])).sum()
    assert float(value.detach()) < 1e-6 and bool(torch.isfinite(torch.autograd.grad(value, x)[0]).all())


def test_of_a_transformer_each_position_is_measured_against_the_tokens_centres() -> None:
    """Outputs of two positions by hand, from the features before the last layer; and it trains, stacked as alone."""
    net = {"net": "gpt", "width": 8, "heads": 2, "depth": 1, "harmonic": 2.0}
    text = {"source": "markov", "states": 5, "context": 6, "train": 64, "test": 32}
    each = [recipe(s, data=text, net=net, steps=2, dtype="float64") for s in range(2)]
    data = each[0].data.load(Path())
    module = each[0].build(data.shape, data.outputs).double()
    found: list[torch.Tensor] = []
    module.get_submodule("norm").register_forward_hook(lambda _, __, features: found.append(features))
    tokens = data.splits["train"].inputs[:2]
    outputs = module(tokens).detach()
    centres = module.get_parameter("out.weight").detach()
    for i, j in ((0, 0), (1, 5)):
        apart = torch.stack([(found[0][i, j].detach() - c).norm() for c in centres])
        torch.testing.assert_close(outputs[i, j], -2 * apart.log(), rtol=1e-9, atol=1e-9)
    loop, vmap = (finals(run(each, data, backend)) for backend in ("loop", "vmap"))
    for index, state in loop.items():
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, vmap[index][key], rtol=1e-9, atol=1e-11)
    with pytest.raises(Exception, match=r"leave net\.harmonic out"):
        recipe(data=text, net=net, parametrization={"scheme": "mup", "base_width": 8})


def test_it_trains_in_every_back_end_that_calls_networks() -> None:
    each = [recipe(s, net=HARMONIC, steps=2, dtype="float64") for s in range(2)]
    loop, vmap = (finals(run(each, digits(), backend)) for backend in ("loop", "vmap"))
    for index, state in loop.items():
        assert "out.bias" not in state
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, vmap[index][key], rtol=1e-9, atol=1e-11)
    with pytest.raises(SpecError, match="no rule for Distances"):
        run(each, digits(), "bmm")


def test_no_parametrization_has_rules_for_it() -> None:
    with pytest.raises(Exception, match=r"leave net\.harmonic out"):
        recipe(net=HARMONIC, parametrization={"scheme": "mup", "base_width": 8})
