"""Networks whose derivatives are wrong in a way that products do not show are refused; right ones are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.curvature import Objective, check_derivatives
from landsweep.sweeps.lab.losses import LOSSES
from tests.support.curvature import CASES


def objective(name: str, module: nn.Module | None = None, seed: int = 0) -> Objective:
    case = CASES[name]
    modules = [module or case.module(seed)]
    return Objective.of(modules, case.inputs, case.targets, LOSSES[case.loss], 100)


@pytest.mark.parametrize("name", CASES)
def test_right_networks_pass(name: str) -> None:
    """Also with kinks, and in single precision."""
    for seed in range(20):
        check_derivatives(objective(name, seed=seed).to(torch.float32 if seed % 2 else torch.float64))


def test_networks_at_a_minimum_or_saturated_pass() -> None:
    """Slopes there are next to nothing, and differences are rounding."""
    case = CASES["linear"]
    module = case.module()
    minimum = Objective.of([module], case.inputs, module(case.inputs).detach(), LOSSES["mse"], 100)
    check_derivatives(minimum)
    sure = CASES["softmax"].module()
    nn.init.constant_(sure.get_parameter("weight"), 0.0)
    with torch.no_grad():
        sure.get_parameter("weight")[0, 0] = 40.0
    inputs = torch.ones(20, 5, dtype=torch.float64)
    check_derivatives(Objective.of([sure], inputs, torch.zeros(20).long(), LOSSES["cross_entropy"], 100))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-8, 1e-6, 1e-4])
def test_units_that_weight_decay_has_erased_are_no_wrong_derivative(scale: float, norm: bool) -> None:
    """Their kinks lie within the steps of the differences, whatever the step."""
    torch.manual_seed(5)
    scaled = nn.BatchNorm1d(12) if norm else nn.Identity()
    linear = nn.Linear(6, 12)
    module = nn.Sequential(linear, scaled, nn.ReLU(), nn.Linear(12, 3)).double().eval()
    with torch.no_grad():
        for parameter in (scaled if norm else linear).parameters():
            parameter[:8] *= scale
    inputs, targets = torch.randn(40, 6, dtype=torch.float64), torch.randint(3, (40,))
    check_derivatives(Objective.of([module], inputs, targets, LOSSES["cross_entropy"], 40))


class _Constant(torch.autograd.Function):
    """A square whose slope is a constant to the second derivative: the Hessian stays symmetric."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.slope = 2 * x.detach()  # type: ignore[attr-defined]
        return x * x

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, g: Tensor) -> Tensor:
        return g * ctx.slope  # type: ignore[attr-defined,no-any-return]


class _Once(_Constant):
    """torch does not raise: it leaves the path out."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, g: Tensor) -> Tensor:
        return g * ctx.slope  # type: ignore[attr-defined,no-any-return]


class _Straight(torch.autograd.Function):
    """Rounding whose gradient is that of the identity."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, g: Tensor) -> Tensor:
        return g


class _Net(nn.Module):
    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.middle = nn.Linear(5, 6), nn.Linear(6, 3), middle

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


def _hooked() -> nn.Module:
    net = _Net(torch.tanh)
    net.last.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * 0.5,))
    return net


@pytest.mark.parametrize(
    ("net", "what"),
    [
        (lambda: _Net(_Constant.apply), "second derivative"),
        (lambda: _Net(_Once.apply), "second derivative"),
        (lambda: _Net(_Straight.apply), "gradient"),
        (lambda: _Net(lambda x: x.tanh() + 0.1 * torch.rand_like(x)), "gradient"),
        (_hooked, "gradient"),
    ],
    ids=["constant", "once", "straight", "random", "hook"],
)
def test_wrong_derivatives_are_refused(net: Callable[[], nn.Module], what: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(SpecError, match=f"the {what} of this network by autograd is not that of its loss"):
        check_derivatives(objective("relu", net().double()).alone(0))


def test_networks_that_are_not_finite_or_know_one_precision_only() -> None:
    broken = CASES["mlp"].module()
    nn.init.constant_(broken.get_parameter("0.weight"), torch.nan)
    check_derivatives(objective("mlp", broken))
    single = torch.randn(6, 6)
    with pytest.raises(SpecError, match="register its constants as buffers"):
        check_derivatives(objective("relu", _Net(lambda x: x @ single)).alone(0).to(torch.float32))
