"""Third-order sharpness against the whole Hessian at moved weights, and against a closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.losses import LOSSES
from landsweep.sweeps.measure.measures.third_order import ThirdOrder
from tests.support.curvature import CASES, dense, flat, subject, subjects

MEASURE = ThirdOrder(measure="third_order", tolerance=1e-9, products=400)


def moved(module: nn.Module, by: Tensor) -> nn.Module:
    torch.nn.utils.vector_to_parameters(flat(module) + by, module.parameters())
    return module


@pytest.mark.parametrize("name", ["mlp", "mlp_mse", "relu", "cnn_batch_norm", "gpt"])
def test_it_is_the_slope_of_the_largest_eigenvalue_of_whole_hessians(name: str) -> None:
    case = CASES[name]
    (found,) = (m.values for m in MEASURE.compute(subjects(case, 1)))
    values, vectors = torch.linalg.eigh(dense(case, case.module()))
    assert found["third_order_sharpness"] == pytest.approx(float(values[-1]), rel=1e-8)
    assert found["third_order_gap"] == pytest.approx(float(1 - values[-2] / values[-1]), rel=1e-6)
    weights = flat(case.module()).requires_grad_()
    module = case.module()
    names = [n for n, _ in module.named_parameters()]

    def loss(w: Tensor) -> Tensor:
        parts = zip(names, module.parameters(), torch.split(w, [p.numel() for p in module.parameters()]), strict=True)
        outputs = torch.func.functional_call(module, {n: t.view(p.shape) for n, p, t in parts}, (case.inputs,))
        return LOSSES[case.loss](outputs, case.targets).mean()

    (slope,) = torch.autograd.grad(loss(weights), weights)
    eps = 1e-6

    def largest(direction: Tensor, step: float) -> float:
        return float(torch.linalg.eigvalsh(dense(case, moved(case.module(), step * direction)))[-1])

    def derivative(direction: Tensor) -> float:
        step = eps / float(direction.norm())
        return (largest(direction, step) - largest(direction, -step)) / (2 * step)

    assert found["third_order_rate"] == pytest.approx(-derivative(slope.detach()), rel=1e-4, abs=1e-7)
    assert found["third_order_along"] == pytest.approx(abs(derivative(vectors[:, -1])), rel=1e-4, abs=1e-6)
    if name == "mlp":
        each = torch.tensor([derivative(row) for row in torch.eye(len(weights), dtype=torch.float64)])
        assert found["third_order_norm"] == pytest.approx(float(each.norm()), rel=1e-4)
        rate, variance = found["third_order_rate"], found["third_order_variance"]
        assert isinstance(rate, float)
        wanted = 2 * rate / float(each.square().sum())
        assert variance == (pytest.approx(wanted, rel=1e-3) if rate >= 0 else None)


class Product(nn.Module):
    """f(x) = a b x: with squared error and x = 1, y = 0 the loss is a^2 b^2."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([a]).double()), nn.Parameter(torch.tensor([b]).double())

    def forward(self, x: Tensor) -> Tensor:
        return self.a * self.b * x


@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (3.0, 0.5), (1.5, 1.0)])
def test_of_a_product_of_two_weights_it_is_the_closed_form(a: float, b: float) -> None:
    """H = [[2 b^2, 4 a b], [4 a b, 2 a^2]], S = a^2 + b^2 + sqrt((a^2 - b^2)^2 + 16 a^2 b^2)."""
    case = replace(CASES["linear"], inputs=torch.ones(1, 1).double(), targets=torch.zeros(1, 1).double())
    (found,) = (m.values for m in MEASURE.compute([subject(case, Product(a, b))]))
    root = math.sqrt((a * a - b * b) ** 2 + 16 * a * a * b * b)
    s_a = 2 * a + (2 * a * (a * a - b * b) + 16 * a * b * b) / root
    s_b = 2 * b + (-2 * b * (a * a - b * b) + 16 * a * a * b) / root
    assert found["third_order_sharpness"] == pytest.approx(a * a + b * b + root, rel=1e-9)
    assert found["third_order_norm"] == pytest.approx(math.hypot(s_a, s_b), rel=1e-6)
    assert found["third_order_rate"] == pytest.approx(-(2 * a * b * b * s_a + 2 * a * a * b * s_b), rel=1e-6)
    assert found["third_order_variance"] is None


class Twice(torch.autograd.Function):
    """x^3, whose second derivative is a constant to the third."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return Inner.apply(x, g)


class Inner(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(x, g)
        return 3 * x**2 * g

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Tensor, Tensor]:
        x, g = ctx.saved_tensors
        return 6 * x.detach() * g * h, 3 * x**2 * h


class Cube(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(5, 4).double(), nn.Linear(4, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(Twice.apply(self.inner(x)))


def test_a_wrong_third_derivative_is_refused_though_the_second_is_right() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given = subject(CASES["mlp"], Cube())
    with pytest.raises(SpecError, match="third derivative of this network by autograd"):
        list(MEASURE.compute([given]))
