"""Parts of transfer sweeps against closed forms: the search for rates, curves, drift, coordinate checks, laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from landsweep.sweeps.transfer.coordinate_check import coordinate_check
from landsweep.sweeps.transfer.curve import RateCurve, drift, penalty, sensitivity
from landsweep.sweeps.transfer.optimum_laws import critical_batch, rate_law
from landsweep.sweeps.transfer.rate_search import RateSearch

RATES = np.linspace(-12.0, -2.0, 21)


def searched(losses: np.ndarray, *, adaptive: bool = True) -> tuple[RateSearch, dict[tuple[int, int], float]]:
    """Run a search over losses [R, S] to its end; gives it, and what it has asked for."""
    search, asked = RateSearch(*losses.shape, adaptive=adaptive), {}
    while wants := search.wants():
        for rate, seed in wants:
            assert (rate, seed) not in asked
            asked[rate, seed] = float(losses[rate, seed])
            search.tell(rate, seed, asked[rate, seed])
    return search, asked


def curve_of(asked: dict[tuple[int, int], float], shape: tuple[int, int], rates: np.ndarray) -> RateCurve:
    table = np.full(shape, np.nan)
    for place, loss in asked.items():
        table[place] = loss
    there = np.isfinite(table).any(1)
    return RateCurve(rates[there], table[there])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # timings never decide a test
@given(
    falls=st.lists(st.floats(0.01, 2), min_size=0, max_size=20),
    rises=st.lists(st.floats(0.01, 2), min_size=0, max_size=20),
    seeds=st.integers(1, 3),
)
def test_where_the_loss_falls_and_then_rises_the_adaptive_search_ends_as_the_grid(
    falls: list[float], rises: list[float], seeds: int
) -> None:
    left = np.cumsum([0.0, *falls])[::-1]
    means = np.concatenate([left, np.cumsum(rises)]) + 0.1
    if len(means) < 3:
        return
    losses = means[:, None] * np.linspace(0.9, 1.1, seeds)
    rates = np.arange(len(means), dtype=float)
    search, asked = searched(losses)
    full = RateCurve(rates, losses).optimum()
    found = curve_of(asked, losses.shape, rates).optimum()
    assert search.best() == len(falls)
    assert found.point == full.point and found.bracketed == full.bracketed
    if full.bracketed:
        assert found.rate == full.rate


def test_the_adaptive_search_needs_at_most_half_the_models() -> None:
    for seeds in (1, 3):
        for best in range(len(RATES)):
            losses = (np.arange(len(RATES)) - best - 0.2)[:, None] ** 2 + np.zeros(seeds)
            _, asked = searched(losses)
            _, everything = searched(losses, adaptive=False)
            assert len(everything) == len(RATES) * seeds
            assert len(asked) <= len(everything) / 2, best


def test_noise_moves_the_search_on_until_the_lowest_mean_has_neighbours() -> None:
    """The first seed prefers another rate than the mean does."""
    losses = (np.arange(9) - 5.0)[:, None] ** 2 + np.zeros(3)
    losses[:, 0] = (np.arange(9) - 3.0) ** 2
    search, asked = searched(losses)
    best = search.best()
    assert best == int(losses.mean(1).argmin())
    assert all((r, s) in asked for r in (best - 1, best, best + 1) for s in range(3))


def test_models_that_failed_end_a_search_too() -> None:
    search = RateSearch(9, 2, adaptive=True)
    while wants := search.wants():
        for place in wants:
            search.tell(*place, None)
    assert search.best() == 0


def test_the_optimum_of_a_parabola_is_its_vertex_whatever_the_spacing() -> None:
    rates = np.array([-9.0, -7.5, -7.0, -5.0, -4.0])
    best = RateCurve(rates, (0.3 + 0.7 * (rates + 6.6) ** 2)[:, None]).optimum()
    assert best.rate == pytest.approx(-6.6) and best.point == -7 and best.bracketed


def test_an_optimum_at_an_end_is_no_number() -> None:
    for losses in ([1.0, 2, 3], [3.0, 2, 1], [2.0], [np.nan, np.nan, np.nan]):
        best = RateCurve(np.arange(len(losses), dtype=float), np.array(losses)[:, None]).optimum()
        assert not best.bracketed and math.isnan(best.rate)


def test_a_rate_that_few_seeds_have_judged_does_not_decide() -> None:
    losses = np.array([[3.0, 3, 3], [2, 2, 2], [0.1, np.nan, np.nan], [1, 1, 1], [4, 4, 4]])
    assert RateCurve(np.arange(5.0), losses).optimum().point == 3


def quadratic(best: float, seeds: tuple[float, ...] = (0.0,)) -> RateCurve:
    return RateCurve(RATES, np.array([[(r - best - s) ** 2 + 0.1 for s in seeds] for r in RATES]))


def test_drift_is_the_slope_of_the_optima_and_its_interval_that_of_the_seeds() -> None:
    exact = drift({w: quadratic(-5 - math.log2(w / 64)) for w in (64, 128, 256, 512)})
    assert exact.slope == pytest.approx(-1) and exact.spread == pytest.approx(3)
    assert math.isnan(exact.interval[0])  # one seed says nothing of noise
    curves = {w: quadratic(-4 - 0.5 * math.log2(w / 64), (-0.3, 0.0, 0.3)) for w in (64, 128, 256)}
    same = drift(curves)
    assert same.slope == pytest.approx(-0.5)
    assert same.interval == pytest.approx((-0.5, -0.5))  # seeds shift all widths alike: paired
    noisy = dict(curves)
    noisy[256] = quadratic(-5, (0.9, 0.0, -0.9))
    low, high = drift(noisy).interval
    assert low < -0.6 and high > -0.4
    assert drift({64: curves[64]}).sizes == 1 and math.isnan(drift({64: curves[64]}).slope)


def test_drift_of_a_sweep_that_has_not_got_far_in_one_size() -> None:
    """The second size was trained with the first seed only: draws of others say nothing of it."""
    first, second = quadratic(-4, (-0.1, 0.0, 0.1)), quadratic(-5, (0.0, 0.0, 0.0))
    second.losses[:, 1:] = np.nan
    found = drift({64: first, 128: second})
    assert found.slope == pytest.approx(-1) and found.sizes == 2
    assert found.interval[0] >= -1.11 and found.interval[1] <= -0.89


def test_the_penalty_is_what_the_first_sizes_rate_costs() -> None:
    found = penalty({w: quadratic(-5 - math.log2(w / 64)) for w in (64, 128, 256)})
    assert found == pytest.approx({64: 0.0, 128: 1.0, 256: 4.0})
    assert all(math.isnan(v) for v in penalty({64: quadratic(-20), 128: quadratic(-6)}).values())


def test_sensitivity_of_a_ramp_and_of_what_diverges() -> None:
    """min(|x|, 1) over [-2, 2] has mean 3/4; a curve that stays at its lowest has none."""
    x = np.linspace(-2, 2, 401)
    assert sensitivity(RateCurve(x, np.abs(x)[:, None] * 1.0), 1.0) == pytest.approx(0.75, abs=1e-4)
    assert sensitivity(RateCurve(x, np.full((401, 1), 0.3)), 1.0) == 0


def test_slopes_of_activations_are_fitted_layer_by_layer_and_step_by_step() -> None:
    def model(width: int, factor: float) -> dict[tuple[str, int], float]:
        first = {("in", t): 2.0 * factor for t in range(4)}
        return first | {("out", t): factor * 0.0 if t == 0 else factor * width ** (0.5 * t) for t in range(4)}

    check = coordinate_check({w: [model(w, f) for f in (0.5, 1.0, 2.0)] for w in (64, 128, 256, 512)})
    assert check.layers == ("in", "out") and check.steps == (0, 1, 2, 3)
    np.testing.assert_allclose(check.slopes[0], 0, atol=1e-12)
    np.testing.assert_allclose(check.slopes[1, 1:], [0.5, 1.0, 1.5])
    assert math.isnan(check.slopes[1, 0]) and check.largest == pytest.approx(1.5) and check.verdict == "fail"
    flat = coordinate_check({w: [{("in", 1): 1.0 * w**0.05}] for w in (64, 128, 256)})
    assert flat.verdict == "pass" and flat.largest == pytest.approx(0.05)
    fine = {("in", 1): 1.0, ("out", 1): 1.0, ("in", 2): 1.0, ("out", 2): 1.0}
    ended = {place: value for place, value in fine.items() if place[1] == 1}
    for broken in ({**fine, ("out", 1): math.inf}, {**fine, ("out", 2): math.nan}, ended):
        assert coordinate_check({64: [fine], 128: [broken]}).verdict == "fail"
        assert coordinate_check({64: [broken], 128: [fine]}).verdict == "fail"
    assert coordinate_check({64: [fine], 128: [fine]}).verdict == "pass"
    assert coordinate_check({w: [{("in", 1): w**0.2}] for w in (64, 128)}).verdict == "unclear"
    for power, verdict in ((-0.5, "pass"), (0.5, "fail")):  # attention scores may shrink, not grow
        scores = {w: [{("blocks.0.scores", 1): w**power, ("out", 1): 1.0}] for w in (64, 128)}
        assert coordinate_check(scores).verdict == verdict


def test_a_power_law_of_the_best_rate_is_found_again_with_its_interval() -> None:
    """Slope and Student's t interval of a line in logarithms, written out."""
    sizes = np.array([6e7, 2e8, 1e9, 4e9])
    exact = rate_law(list(1.79 * sizes**-0.713), list(sizes))
    assert exact is not None
    assert (exact["c"], exact["p"]) == pytest.approx((1.79, -0.713)) and exact.rmse == pytest.approx(0, abs=1e-9)
    x, y = np.log([1.0, 2, 4, 8, 16]), np.log([0.1, 0.06, 0.024, 0.013, 0.006])
    found = rate_law([*np.exp(y), math.nan], [*np.exp(x), 32])
    line = stats.linregress(x, y)
    assert found is not None and found["p"] == pytest.approx(line.slope)
    half = stats.t.ppf(0.975, 3) * line.stderr
    assert found.interval("p") == pytest.approx((line.slope - half, line.slope + half), rel=1e-6)
    assert rate_law([0.1, 0.2, math.nan], [1, 2, 3]) is None
    assert rate_law([0.1, 0.2, 0.3], [2, 2, 2]) is None


def test_the_critical_batch_size_is_found_again_with_its_interval() -> None:
    batches = [8, 32, 128, 512, 2048]
    found = critical_batch([*batches, 4096], [*(50 * (1 + 200 / b) for b in batches), math.nan])
    assert found is not None and (found["critical"], found["least"]) == pytest.approx((200, 50))
    noise = np.random.default_rng(0).normal(0, 0.1, (200, len(batches)))
    fits = [
        critical_batch(batches, [50 * (1 + 200 / b) * math.exp(e) for b, e in zip(batches, row, strict=True)])
        for row in noise
    ]
    inside = [low <= 200 <= high for fit in fits if fit is not None for low, high in [fit.interval("critical")]]
    assert len(inside) == 200 and 0.9 <= np.mean(inside) <= 0.99
    assert critical_batch([8, 32, 128], [10, 40, 80]) is None, "steps rise with the batch size"
    assert critical_batch([8, 32], [40, 20]) is None, "two points say nothing of the error"
