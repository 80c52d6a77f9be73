"""A stacked program is used where it is what each module computes by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from landsweep.sweeps.lab.curvature import Objective, models_at_once, stands_for
from landsweep.sweeps.lab.losses import LOSSES
from tests.support.curvature import CASES


def objective(name: str, modules: list[nn.Module]) -> Objective:
    case = CASES[name]
    return Objective.of(modules, case.inputs, case.targets, LOSSES[case.loss], 100)


def test_how_many_models_pay_depends_on_network_and_samples() -> None:
    assert models_at_once(objective("mlp", [CASES["mlp"].module()])) == 64
    assert models_at_once(objective("cnn_batch_norm", [CASES["cnn_batch_norm"].module()])) == 1
    wide = nn.Sequential(nn.Linear(5, 40_000), nn.ReLU(), nn.Linear(40_000, 3)).double()
    assert 1 <= models_at_once(objective("relu", [wide])) < 8


@pytest.mark.parametrize("name", CASES)
def test_networks_stand_for_each_other(name: str) -> None:
    modules = [CASES[name].module(seed) for seed in range(3)]
    nn.init.constant_(next(modules[2].parameters()), torch.nan)  # which is no difference
    assert stands_for(objective(name, modules), modules)


class _Scaled(nn.Linear):
    """A number of its own, which no state dict holds."""

    def __init__(self, scale: float) -> None:
        super().__init__(5, 3)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * super().forward(x)


class _Branching(nn.Linear):
    """vmap can't do this."""

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        return outputs if outputs.sum().item() > 0 else -outputs


@pytest.mark.parametrize(
    ("build", "stands"),
    [
        (lambda k: _Scaled(1.0), True),
        (lambda k: _Scaled(1.0 + k), False),
        (lambda k: _Branching(5, 3), False),
    ],
    ids=["alike", "unlike", "branching"],
)
def test_networks_that_are_more_than_their_weights_do_not(build: Callable[[int], nn.Module], stands: bool) -> None:
    modules = [build(k).double() for k in range(2)]
    assert stands_for(objective("relu", modules), modules) is stands


def test_some_parameters_alone() -> None:
    given = objective("mlp", [CASES["mlp"].module(seed) for seed in range(2)])
    few = given.only(["2.bias", "0.weight"])
    assert list(few.layout.shapes) == ["0.weight", "2.bias"] and few.weights.shape == (2, 34)
    assert torch.equal(few.losses(), given.losses())
    parts = given.layout.split(given.gradient()[1])
    torch.testing.assert_close(few.gradient()[1], torch.cat([parts["0.weight"].flatten(1), parts["2.bias"]], 1))
