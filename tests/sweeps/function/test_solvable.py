"""Solvable systems against closed forms."""

from __future__ import annotations

import pytest

from landsweep.sweeps.function.solvable import (
    linear_stability,
    phase_exponents,
    schedule,
    separable_minima,
    step_time,
)
from landsweep.sweeps.laws.random_features import compute_optimal


@pytest.mark.parametrize("batch", [1, 4, 16])
@pytest.mark.parametrize("rate", [0.5, 1.9, 2.1])
def test_equal_samples_are_one_variable_whose_second_moment_is_known(batch: int, rate: float) -> None:
    found = linear_stability(16, rate, batch)
    factor = (1 - rate) ** 2 + rate**2 * (16 / batch - 1) / 16
    assert found["radius"] == pytest.approx(factor) and found["stable"] == (factor < 1)
    assert found["coherence"] == pytest.approx(16) and found["sharpness"] == pytest.approx(1)
    assert found["gradient_descent"] == (rate < 2)


@pytest.mark.parametrize("coherent", [1, 2, 8])
def test_a_problem_that_is_told_unstable_is(coherent: int) -> None:
    every = [linear_stability(coherent, rate, 1, draw=d) for rate in (0.5, 2.0, 8.0, 32.0) for d in range(3)]
    assert any(one["told_unstable"] for one in every)
    assert not any(one["told_unstable"] and one["stable"] for one in every)


def test_descent_ends_in_the_minimum_whose_signs_it_has() -> None:
    every = [separable_minima(start, 3, 0.1) for start in range(60)]
    found = [one for one in every if "status" not in one]  # a few leave the box
    assert len(found) > 50
    assert all(one["converged"] for one in found) and {one["minimum"] for one in found} == set(range(8))
    for one in found:
        raised = bin(int(one["minimum"])).count("1")  # each positive coordinate costs about 0.2
        assert one["value"] == pytest.approx(-0.3 + 0.2 * raised, abs=0.03)
        assert one["global_minimum"] == (raised == 0)


def test_the_bound_of_a_linear_schedule_is_that_of_the_paper() -> None:
    linear = schedule("linear", 5000)
    assert round(linear["scaled_bound"], 2) == 2.0 and round(linear["scaled_rate"], 2) == 1.0


def test_measured_exponents_stand_beside_those_of_theory() -> None:
    found = phase_exponents(1.0, 0.3, ambient=512)
    assert found["phase"] == "Ia" and (found["theory"], found["size_theory"]) == compute_optimal(1.0, 0.3)
    assert float(found["measured"]) == pytest.approx(float(found["theory"]), abs=0.15)


def test_a_step_is_counted_by_its_products() -> None:
    found = step_time(16, 2, 4, repeat=0, steps=2)
    assert found["flops"] == 3 * 2 * 4 * 16 * 16 * 2 and found["moved"] == 3 * 2 * (256 + 2 * 64)
    assert found["step_seconds"] >= 0
