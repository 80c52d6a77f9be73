"""Activations write over their inputs only where nothing else reads these."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.weight_space.folding import FoldedModule
from landsweep.sweeps.lab.weight_space.in_place import overwriting_activations
from tests.support.small_networks import NETWORKS, network


class Using(nn.Module):
    """A linear layer, an activation, and whatever `use` does with both."""

    def __init__(self, use: Callable[[nn.Module, nn.Module, Tensor], Tensor], act: nn.Module) -> None:
        super().__init__()
        self.linear, self.act, self.use = nn.Linear(4, 4), act, use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self.linear, self.act, x)


KEPT: dict[str, Callable[[nn.Module, nn.Module, Tensor], Tensor]] = {
    "the inputs": lambda linear, act, x: linear(act(x)),
    "a part of the inputs": lambda linear, act, x: linear(x) + act(x[:, :2]).sum(1, keepdim=True),
    "a weight": lambda linear, act, x: linear(x) + act(linear.bias),
    "what is read later": lambda linear, act, x: act(y := linear(x)) + y,
    "a view of what is read later": lambda linear, act, x: act((y := linear(x))[:, :2]).sum(1, keepdim=True) * y,
    "what comes out": lambda linear, act, x: (act(y := linear(x)), y)[1],
}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_read_elsewhere_is_kept(name: str) -> None:
    module = Using(KEPT[name], nn.ReLU()).eval()
    state = {k: t.clone() for k, t in module.state_dict().items()}
    inputs = torch.rand(5, 4) + 1  # all positive: the activation alone would change nothing
    before = inputs.clone()
    assert overwriting_activations(module, inputs) == ()
    assert torch.equal(inputs, before)
    assert all(torch.equal(t, state[k]) for k, t in module.state_dict().items())


@pytest.mark.parametrize("act", [nn.ReLU(), nn.SiLU(), nn.LeakyReLU(), nn.ELU(), nn.SELU(), nn.GELU(), nn.Tanh()])
def test_what_nothing_else_reads_is_written_over(act: nn.Module) -> None:
    module = Using(lambda linear, a, x: a(linear(a(linear(x)))), act).eval()
    names = overwriting_activations(module, torch.randn(5, 4))
    assert names == (("act",) if hasattr(act, "inplace") else ())


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_networks_give_the_same_in_place(name: str) -> None:
    """Bit for bit, and what they are given stays."""
    module, inputs = network(name)
    folded = FoldedModule(module, {})
    with torch.inference_mode():
        expected, before = module(inputs), inputs.clone()
        names = folded.overwriting(inputs)
        assert torch.equal(folded.forward(inputs), expected)
        assert torch.equal(module(inputs), expected), "the module itself is as it was"
    assert torch.equal(inputs, before)
    assert bool(names) is any(isinstance(m, nn.ReLU) for m in module.modules())
