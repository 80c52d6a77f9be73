"""The perceptron of the noise regimes against what one dimension says in closed form, and against one written out."""

from __future__ import annotations

import numpy as np
import pytest

from landsweep.sweeps.function.perceptron import fitted


@pytest.mark.parametrize("draw", range(20))
def test_one_dimension_ends_just_above_the_inverse_of_the_smallest_sample(draw: int) -> None:
    random = np.random.default_rng(draw)
    random.normal(size=(50, 1))
    sizes = np.sqrt(2 * random.gamma(1.0, size=50))
    ended = fitted(50, 0.1, draw, density=1.0, dimensions=1)
    assert 1 / sizes.min() <= float(ended["signal"]) <= 1 / sizes.min() + 0.1 * sizes.max()
    assert ended["noise"] == 0 and ended["time"] == pytest.approx(float(ended["steps"]) * 0.1)


def step_by_step(samples: int, rate: float, draw: int, density: float, dimensions: int) -> tuple[float, int]:
    """First weight and number of steps of plain SGD on the same data."""
    random = np.random.default_rng(draw)
    x = random.normal(size=(samples, dimensions))
    x[:, 0] = np.sqrt(2 * random.gamma((1 + density) / 2, size=samples))
    weights, steps = np.zeros(dimensions), 0
    while (x @ weights < 1).any():
        chosen = x[random.integers(samples)]
        weights = weights + rate * chosen if chosen @ weights < 1 else weights
        steps += 1
    return float(weights[0]), steps


def test_signal_and_steps_are_distributed_as_those_of_plain_steps() -> None:
    draws = range(400)
    ours = np.array([[float(r[k]) for k in ("signal", "steps")] for r in (fitted(12, 0.3, d, 1.0, 4) for d in draws)])
    plain = np.array([step_by_step(12, 0.3, d, 1.0, 4) for d in draws], np.float64)
    apart = np.log(ours) - np.log(plain)  # in pairs: both have the same data
    assert np.all(np.abs(apart.mean(0)) < 3 * apart.std(0) / np.sqrt(len(apart)))
    assert np.all(apart.std(0) / np.sqrt(len(apart)) < 0.05)


def test_samples_that_are_not_fitted_in_time_are_told() -> None:
    assert fitted(500, 1e-4, 0, longest=64)["status"] == "diverged"
