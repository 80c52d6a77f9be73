"""Test functions against their closed forms, descent against what is known of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from landsweep.sweeps.function.examples import FUNCTIONS, descend, runs_to_find_all

NAMES = sorted(FUNCTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_minima_are_stationary_lowest_and_positive_definite(name: str) -> None:
    f = FUNCTIONS[name]
    for x, y in f.minima:
        assert math.hypot(*f.gradient(x, y)) < 1e-12
        assert f.value(x, y) == pytest.approx(f.lowest, abs=1e-12)
        hessian = np.array([approx_fprime((x, y), lambda p, i=i: f.gradient(*p)[i], 1e-6) for i in (0, 1)])
        assert np.linalg.eigvalsh((hessian + hessian.T) / 2).min() > 0
    grid = np.array([[f.value(x, y) for x in np.linspace(*f.box[0], 81)] for y in np.linspace(*f.box[1], 81)])
    assert grid.min() >= f.lowest - 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_values(name: str) -> None:
    f = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    for x, y in zip(rng.uniform(*f.box[0], 20), rng.uniform(*f.box[1], 20), strict=True):
        h = 1e-6
        numeric = (
            (f.value(x + h, y) - f.value(x - h, y)) / (2 * h),
            (f.value(x, y + h) - f.value(x, y - h)) / (2 * h),
        )
        assert f.gradient(x, y) == pytest.approx(numeric, rel=1e-5, abs=1e-4)


def test_values_of_the_literature() -> None:
    assert FUNCTIONS["himmelblau"].value(0, 0) == 170
    assert FUNCTIONS["rosenbrock"].value(-1, 1) == 4
    assert FUNCTIONS["rastrigin"].value(1, 1) == pytest.approx(2)
    assert FUNCTIONS["branin"].lowest == pytest.approx(0.397887, abs=1e-6)
    assert FUNCTIONS["six_hump_camel"].lowest == pytest.approx(-1.0316, abs=1e-4)


def test_descent_finds_all_four_minima_of_himmelblau_and_starts_are_shared_by_learning_rates() -> None:
    found = [descend(start, 0.01) for start in range(40)]
    assert {run["minimum"] for run in found} == {0, 1, 2, 3}
    assert all(run["converged"] and run["distance"] < 1e-6 for run in found)  # type: ignore[operator]
    assert descend(3, 0.01) == descend(3, 0.01)
    a, b = descend(5, 1e-12, steps=1), descend(5, 1e-11, steps=1)
    assert (a["x"], a["y"]) == pytest.approx((b["x"], b["y"]), abs=1e-6)


def test_a_minimum_is_found_only_below_two_over_its_curvature() -> None:
    f = FUNCTIONS["branin"]  # largest curvatures 22.3, 11.1 and 11.3: limits 0.090, 0.180 and 0.177
    hessian = np.array([approx_fprime(f.minima[0], lambda p, i=i: f.gradient(*p)[i], 1e-6) for i in (0, 1)])
    limit = 2 / np.linalg.eigvalsh((hessian + hessian.T) / 2).max()
    below, above = (
        {descend(s, lr, "branin", near=1e-6, tolerance=1e-8)["minimum"] for s in range(60)}
        for lr in (0.97 * limit, 1.03 * limit)
    )
    assert below >= {0, 1, 2}
    assert 0 not in above and above >= {1, 2}


def test_too_large_a_learning_rate_diverges_within_a_few_steps() -> None:
    run = descend(0, 1.0)
    assert run["status"] == "diverged"
    assert 1 <= run["steps"] <= 5  # type: ignore[operator]  # cubic growth: the digits triple at each step
    assert set(run) == {"status", "error", "steps"}


def test_an_unknown_function_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: himmelblau, six_hump_camel, branin"):
        descend(0, 0.1, "ackley")


def test_runs_to_find_all_is_the_coupon_collector() -> None:
    assert runs_to_find_all([1.0]) == pytest.approx(1)
    assert runs_to_find_all([0.25] * 4) == pytest.approx(4 * (1 + 1 / 2 + 1 / 3 + 1 / 4))
    p, q = 0.2, 0.5
    assert runs_to_find_all([p, q]) == pytest.approx(1 / p + 1 / q - 1 / (p + q))
    assert runs_to_find_all([0.5, 0.0]) == math.inf
    rng = np.random.default_rng(1)
    shares = [0.1, 0.2, 0.3]
    waits = []
    for _ in range(4000):
        seen: set[int] = set()
        n = 0
        while len(seen) < 3:
            n += 1
            i = int(np.searchsorted(np.cumsum(shares), rng.random()))
            seen |= {i} if i < 3 else set()
        waits.append(n)
    error = np.std(waits) / math.sqrt(len(waits))
    assert abs(np.mean(waits) - runs_to_find_all(shares)) < 4 * error
