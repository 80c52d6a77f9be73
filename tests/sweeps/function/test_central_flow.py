"""The central flow: gradient flow below the edge, closed forms at it, and gradient descent on a small network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from landsweep.sweeps.function.central_flow import central_flow, complementary, follow


def valley(w: Tensor) -> Tensor:
    """s(x) y^2 / 2 - x with a sharpness of s = 1 + x: going down the valley makes it sharper."""
    x, y = w
    return (1 + x) * y**2 / 2 - x


def test_below_the_edge_it_is_gradient_flow() -> None:
    curvatures = torch.tensor([0.5, 3.0], dtype=torch.float64)
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    points = list(central_flow(lambda w: (curvatures * w**2).sum() / 2, start, 0.1, 20, substeps=20))
    assert len(points) == 21 and all(p.oscillating == 0 and p.predicted == p.loss for p in points)
    exact = start * torch.exp(-0.1 * curvatures * 20)
    torch.testing.assert_close(points[-1].weights, exact, rtol=3e-3, atol=3e-4)


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_in_a_valley_it_stays_at_the_edge_with_the_oscillation_that_holds_it_there(rate: float) -> None:
    """There dx/dt = -rate (-1 + v / 2) = 0: a variance of v = 2, and a mean loss of -x + s v / 2 with s = 2 / rate."""
    start = torch.tensor([2 / rate - 2.0, 0.0], dtype=torch.float64)
    points = list(central_flow(valley, start, rate, round(4 / rate), substeps=4))
    last, edge = points[-1], 2 / rate
    assert last.sharpness == pytest.approx(edge, rel=1e-9) and last.oscillating == 1
    assert float(last.weights[0]) == pytest.approx(edge - 1, rel=1e-9)
    assert last.predicted - last.loss == pytest.approx(edge * 2 / 2, rel=1e-6)
    assert max(p.sharpness for p in points) <= edge * (1 + 1e-9)


def test_gradient_descent_in_the_valley_has_that_variance() -> None:
    """Its y circles about a mean square of 2."""
    rate, w = 0.1, torch.tensor([19.0, 1.42], dtype=torch.float64)
    squares = []
    for _ in range(200):
        w = w - rate * torch.func.grad(valley)(w)
        squares.append(float(w[1]) ** 2)
    assert np.mean(squares) == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_complementary_matrices(k: int) -> None:
    """Both semi-definite, and orthogonal: the conditions of the optimum, of 20 random problems."""
    random = torch.Generator().manual_seed(k)
    for _ in range(20):
        pairs = torch.randn(k, k, 9, generator=random, dtype=torch.float64)
        pairs = ((pairs + pairs.transpose(0, 1)) / 2).reshape(k * k, 9)
        c = torch.randn(k, k, generator=random, dtype=torch.float64)
        c = ((c + c.T) / 2).reshape(-1)
        x = complementary(c, pairs @ pairs.T, rounds=5000)
        y = (c + pairs @ pairs.T @ x).view(k, k)
        size = float(x.abs().max()) + 1
        assert float(torch.linalg.eigvalsh(x.view(k, k))[0]) >= -1e-9 * size
        assert float(torch.linalg.eigvalsh(y)[0]) >= -1e-4 * size
        assert abs(float((x.view(k, k) * y).sum())) <= 1e-4 * size


def ran(**settings: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    points, steps = [], follow(**settings)
    while True:
        try:
            points.append(next(steps))
        except StopIteration as end:
            return points, end.value


def test_below_the_edge_all_three_paths_are_one() -> None:
    points, row = ran(rate=0.01, steps=10)
    assert row["loss_rises"] == 0 and row["oscillating"] == 0 and row["top_sharpness"] < 1
    assert row["central_error"] == row["gradient_error"] < 0.02
    assert row["loss_error"] < 0.01 and [p["step"] for p in points] == [5, 9]


def test_a_rate_that_diverges_is_told() -> None:
    _, row = ran(rate=1e8, steps=60)
    assert row["status"] == "diverged" and "lower the rate" in row["error"]
