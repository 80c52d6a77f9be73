"""The random-feature model: phases against their closed forms, the expected curve against SGD, exponents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.random_features import components, compute_optimal, phase
from landsweep.sweeps.laws.random_features_model import draw_model

CLOSED: dict[str, Callable[[float, float], tuple[float, float]]] = {  # loss and size, arXiv 2405.15074
    "Ia": lambda a, b: ((1 - 1 / (2 * a + 1)) * (1 + b / a - 1 / (2 * a)), 1 / (2 * a + 1)),
    "Ib": lambda a, b: (a + b - 0.5, 0.5),
    "Ic": lambda a, b: (
        a * (2 * a + 2 * b - 1) / (a * (3 - 2 * b) + 2 * b - 1),
        (1 - 2 * (a + b)) / (2 * (a * (2 * b - 3) - 2 * b + 1)),
    ),
    "II": lambda a, b: ((2 * a + 2 * b - 1) / (2 * (a + b)), b / (a + b)),
    "III": lambda a, b: ((4 * a - 1) / (4 * a), 0.5),
    "IVa": lambda a, b: (a, 0.5),
    "IVb": lambda a, b: (
        (1 - 2 * a) * (2 * a + 2 * b - 1) / (2 * (2 * b - a - 2 * a * b)),
        (a - b) / (2 * a * b + a - 2 * b),
    ),
}


def test_balanced_components_give_the_closed_form_of_every_phase() -> None:
    seen = set()
    for alpha, beta in np.random.default_rng(0).uniform((0.05, 0.05), (1.5, 1.8), (300, 2)):
        if 2 * (alpha + beta) <= 1.05:
            continue
        found = phase(alpha, beta)
        seen.add(found)
        assert compute_optimal(alpha, beta) == pytest.approx(CLOSED[found](alpha, beta), abs=1e-9), (alpha, beta, found)
    assert seen == set(CLOSED)


def test_published_examples() -> None:
    assert compute_optimal(1.0, 0.3) == pytest.approx((0.533, 0.333), abs=1e-3)
    assert compute_optimal(1.0, 0.7) == pytest.approx((0.706, 0.412), abs=1e-3)
    assert compute_optimal(1.0, 1.3) == pytest.approx((0.75, 0.5))


def test_models_of_infinite_loss_are_refused() -> None:
    for function in (components, compute_optimal, phase):
        with pytest.raises(UsageError, match="alpha \\+ beta > 1/2"):
            function(0.2, 0.2)
    with pytest.raises(UsageError, match="0 < features < components"):
        draw_model(1.0, 0.3, 64, 64)
    with pytest.raises(UsageError, match="SGD diverges"):
        draw_model(1.0, 0.3, 8, 64).curve(10, 5.0)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_expected_curve_is_the_mean_of_sgd(batch: int) -> None:
    model = draw_model(0.8, 0.6, 10, 60, seed=1)
    rate, steps, runs = 0.25 * model.largest_rate, 40, 3000
    losses = model.train(steps, rate, runs, seed=2, batch=batch)
    error = losses.std(0, ddof=1) / np.sqrt(runs)
    expected = model.curve(steps, rate, batch)
    assert np.abs(losses.mean(0) - expected)[1:] == pytest.approx(0, abs=5 * error.max())
    assert (np.abs(losses.mean(0) - expected)[1:] <= 4.5 * error[1:]).all()
    assert losses[:, 0] == pytest.approx(expected[0])


def test_the_curve_without_noise_is_below_and_meets_it_for_small_rates() -> None:
    model = draw_model(1.0, 0.7, 16, 128)
    steps = np.arange(51.0)
    rate = 0.2 * model.largest_rate
    assert (model.forcing(steps, rate) <= model.curve(50, rate) + 1e-15).all()
    slow = 1e-4 * model.largest_rate
    assert model.forcing(steps, slow) == pytest.approx(model.curve(50, slow), rel=1e-4)


def slope(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.3), (1.0, 0.7)])
def test_exponent_of_the_floor(alpha: float, beta: float) -> None:
    sizes = np.array([96, 128, 192, 256, 384])
    floors = [np.mean([draw_model(alpha, beta, d, 4 * d, seed=s).floor for s in range(6)]) for d in sizes]
    assert slope(sizes, np.array(floors)) == pytest.approx(-components(alpha, beta)[0].by_size, abs=0.1)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.3), (0.8, 0.4)])
def test_exponent_of_what_is_not_yet_learned(alpha: float, beta: float) -> None:
    model = draw_model(alpha, beta, 400, 3200, seed=0)
    steps = np.geomspace(30, 3000, 20)
    rest = model.forcing(steps, 0.3 * model.largest_rate) - model.floor
    assert slope(steps, rest) == pytest.approx(-components(alpha, beta)[1].by_steps, abs=0.1)


@pytest.mark.parametrize("alpha", [0.8, 1.0])
def test_exponent_of_the_noise_of_the_gradient(alpha: float) -> None:
    model = draw_model(alpha, 1.3, 400, 3200, seed=0)
    steps = np.geomspace(30, 1000, 15)
    noise = next(c for c in components(alpha, 1.3) if c.name == "noise")
    assert slope(steps, model.kernel(steps, 0.3 * model.largest_rate)) == pytest.approx(-noise.by_steps, abs=0.1)


def test_the_curve_is_the_forcing_convolved_with_the_kernel() -> None:
    """P(t) = F(t) + sum_{s<t} K(t - 1 - s) P(s), the Volterra equation of arXiv 2405.15074."""
    model = draw_model(0.9, 0.6, 20, 100)
    rate, steps = 0.3 * model.largest_rate, np.arange(30.0)
    curve, forcing, kernel = model.curve(29, rate), model.forcing(steps, rate), model.kernel(steps, rate)
    for t in range(30):
        assert curve[t] == pytest.approx(forcing[t] + kernel[:t][::-1] @ curve[:t], rel=1e-12)
