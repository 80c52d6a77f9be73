"""Scalar networks: the end of gradient flow against its integration, and what is proved of gradient descent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from landsweep.sweeps.function.scalar_networks import descend, flow_end, sharpness


def ran(depth: int, times: float, start: int, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    points, steps = [], descend(depth, times, start, **more)
    while True:
        try:
            points.append(next(steps))
        except StopIteration as end:
            return points, end.value


@pytest.mark.parametrize("weights", [[0.5, 1.4], [2.0, 0.3, 0.9], [-0.4, 1.5, 1.2, -0.9], [-0.3, 1.2, 1.1]])
def test_the_flow_ends_where_integration_ends(weights: list[float]) -> None:
    """The last one begins with a negative product: its smallest weight passes through 0."""
    w = np.array(weights)
    flow = solve_ivp(lambda _, v: -(math.prod(v) - 1) * math.prod(v) / v, (0, 200), w, rtol=1e-11, atol=1e-13)
    end = flow_end(w)
    np.testing.assert_allclose(end, flow.y[:, -1], atol=1e-7)
    assert math.prod(end) == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(np.subtract.outer(end**2, end**2), np.subtract.outer(w**2, w**2), atol=1e-12)


def test_a_flow_into_the_saddle_is_refused() -> None:
    with pytest.raises(ValueError, match="ends at 0"):
        flow_end(np.array([0.5, -0.5, 2.0]))
    assert flow_end(np.array([0.5, 0.5])) == pytest.approx([1, 1])  # the same size, but the product is positive


def test_sharpness_is_that_of_finite_differences_and_of_the_closed_form_at_a_minimum() -> None:
    w, h = np.array([0.7, -1.1, 0.4]), 1e-4

    def loss(v: np.ndarray[Any, Any]) -> float:
        return (math.prod(v) - 1) ** 2 / 2

    steps = np.eye(3) * h
    hessian = [
        [(loss(w + a + b) - loss(w + a - b) - loss(w - a + b) + loss(w - a - b)) / (4 * h * h) for a in steps]
        for b in steps
    ]
    assert sharpness(w) == pytest.approx(np.linalg.eigvalsh(np.array(hessian))[-1], rel=1e-6)
    minimum = np.array([2.0, 0.5, 1.0])
    assert sharpness(minimum) == pytest.approx(np.sum(1 / minimum**2))


@pytest.mark.parametrize("depth", [2, 5])
@pytest.mark.parametrize("times", [0.8, 1.1, 1.4])
def test_the_sharpness_of_the_flow_s_end_never_rises(depth: int, times: float) -> None:
    """What arXiv 2305.13064 proves, for rates that are not too far above the edge of stability."""
    for start in range(20):
        points, row = ran(depth, times, start, steps=60)
        gfs = np.array([p["gfs_sharpness"] for p in points])
        assert row["flow_left"] or np.all(np.diff(gfs) <= 1e-10 * gfs[:-1])
        assert row["flow_left"] or row["largest_rise"] < 1e-10
        assert (row["loss_rises"] > 0) == (times > 1)
        assert row["threshold"] == pytest.approx(row["gfs_first"] / times)


def test_a_run_that_leaves_for_infinity_has_diverged() -> None:
    points, row = ran(3, 50.0, 0)
    assert row["status"] == "diverged" and row["steps"] == len(points)
