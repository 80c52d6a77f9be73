"""The fitter on tables whose right answer is known; what it refuses, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.catalogue import law_named
from landsweep.sweeps.laws.chinchilla import CHINCHILLA
from landsweep.sweeps.laws.fitting.allocation import allocation
from landsweep.sweeps.laws.fitting.compare import comparison
from landsweep.sweeps.laws.fitting.fit import fit, fit_cases
from landsweep.sweeps.laws.fitting.json_file import load_fit, save_fit
from landsweep.sweeps.laws.fitting.objective import Objective, objective_named
from landsweep.sweeps.laws.fitting.points import Cases
from landsweep.sweeps.laws.fitting.text import fit_text
from landsweep.sweeps.laws.power import POWER, POWER_OFFSET
from tests.support.law_tables import TRUE, chinchilla_table, power_table


def test_least_squares_of_a_power_law_is_linear_regression() -> None:
    data = power_table()
    found = fit(POWER, data, objective="least-squares")
    oracle = linregress(np.log(data.x), np.log(data.y))
    assert found["p"] == pytest.approx(oracle.slope, rel=1e-10)
    assert np.log(found["c"]) == pytest.approx(oracle.intercept, rel=1e-10)
    lines = found.parameters().set_index("name")
    assert lines.error["p"] == pytest.approx(oracle.stderr, rel=1e-8)
    assert lines.error["c"] / found["c"] == pytest.approx(oracle.intercept_stderr, rel=1e-8)


def test_profiles_of_a_linear_problem_are_the_curvature_intervals_with_normal_quantiles() -> None:
    found = fit(POWER, power_table(), objective="least-squares")
    error = found.parameters().set_index("name").error["p"]
    low, high = found.profiled("p")
    assert (low, high) == pytest.approx((found["p"] - 1.95996 * error, found["p"] + 1.95996 * error), abs=0.02 * error)


def test_a_profile_ends_at_a_bound_that_it_reaches() -> None:
    data = pd.DataFrame({"x": np.geomspace(1, 1e4, 30)})
    data["loss"] = (4 / data.x) ** 0.5 * np.exp(0.02 * np.random.default_rng(0).standard_normal(30))
    found = fit(POWER_OFFSET, data, objective="least-squares")
    low, high = found.profiled("Linf")
    assert low == 0 and 0 < high < 0.02
    low, high = found.profiled("x0")
    assert low < found["x0"] < high and low < 4 < high


def test_given_parameters_lie_within_their_bounds_and_leave_something_to_fit() -> None:
    every = {p.name: float(v) for p, v in zip(CHINCHILLA.parameters, TRUE, strict=True)}
    cases: list[tuple[dict[str, float], str]] = [
        ({"E": -1.0}, "E of chinchilla must be a number from 0 to inf; got -1"),
        ({"A": 0.0}, "A of chinchilla must be above 0"),
        ({"alpha": 6.0}, "from 0 to 5; got 6"),
        (every, "nothing is left"),
    ]
    for fixed, told in cases:
        with pytest.raises(UsageError, match=told):
            fit(CHINCHILLA, chinchilla_table(), fixed=fixed)


def test_a_bootstrap_of_groups_needs_several() -> None:
    data = power_table().assign(one=1, two=[0, 1] * 15, many=range(30))
    with pytest.raises(UsageError, match="belong to one group"):
        fit(POWER, data, bootstrap=10, group="one")
    assert "drew 2 groups for 2 fitted parameters" in fit_text(fit(POWER, data, bootstrap=10, group="two"))
    assert "groups for" not in fit_text(fit(POWER, data, bootstrap=10, group="two", fixed={"p": -0.3}))
    assert "groups for" not in fit_text(fit(POWER, data, bootstrap=10, group="many"))


def test_weights_are_those_of_the_squared_residuals() -> None:
    data = power_table()
    data["w"] = np.arange(1, 31)
    repeated = data.loc[data.index.repeat(data.w)]
    weighted = fit(POWER, data, weights="w", objective="least-squares")
    assert weighted.theta == pytest.approx(fit(POWER, repeated, objective="least-squares").theta, rel=1e-9)


@pytest.mark.parametrize("objective", ["huber", "lad", "least-squares"])
def test_all_objectives_recover_the_law(objective: str) -> None:
    found = fit(CHINCHILLA, chinchilla_table(), objective=objective)
    assert found.converged
    for name, true in zip(["E", "alpha", "beta"], TRUE[[0, 3, 4]], strict=True):
        assert found[name] == pytest.approx(true, rel=0.08)


def test_the_objective_is_a_sum_and_its_gradient_vanishes() -> None:
    """Not a mean: 80 points from one bad start end where the gradient, by finite differences, is nothing."""
    data = chinchilla_table(noise=0.02)
    found = fit(CHINCHILLA, data, starts=np.array([1.69, 406.4, 410.7, 0.34, 0.28]))
    x = {"N": data.N.to_numpy(), "D": data.D.to_numpy()}

    def total(theta: np.ndarray) -> float:
        r = np.abs(np.log(CHINCHILLA.predict(theta[None], x)[0] / data.loss))
        return float(np.where(r <= 1e-3, r**2 / 2, 1e-3 * (r - 5e-4)).sum())

    assert found.value == pytest.approx(total(found.theta), rel=1e-12)
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6 * found.theta[i]
        slope = (total(found.theta + step) - total(found.theta - step)) / 2e-6  # by log parameter
        assert abs(slope) < 1e-5 * found.value
    assert found.value == pytest.approx(fit(CHINCHILLA, data).value, rel=1e-10)


def test_noise_free_points_give_the_law_back() -> None:
    assert fit(CHINCHILLA, chinchilla_table(noise=0)).theta == pytest.approx(TRUE, rel=1e-6)


def test_no_irreducible_loss_is_found_at_its_bound() -> None:
    random = np.random.default_rng(0)
    size, tokens = 10 ** random.uniform(2, 5, 60), 10 ** random.uniform(3, 6, 60)
    loss = (5 / size**0.4 + 80 / tokens**0.6) * np.exp(0.005 * random.standard_normal(60))
    found = fit(CHINCHILLA, pd.DataFrame({"N": size, "D": tokens, "loss": loss}), bootstrap=100)
    assert found.converged and found["E"] == 0 and found.convergence.at_bound == ("E",)
    assert found.theta[1:] == pytest.approx([5, 80, 0.4, 0.6], rel=0.05)
    low, high = found.interval("E")
    assert low == 0 and 0 < high < 0.01


def test_points_that_do_not_determine_the_law_are_reported() -> None:
    """All runs at one ratio of tokens to parameters: E and the sum of both terms are all there is to know."""
    size = np.geomspace(1e7, 1e10, 40)
    loss = CHINCHILLA.predict(np.array([[1.8, 400.0, 900.0, 0.35, 0.35]]), {"N": size, "D": 20 * size})[0]
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(40))
    found = fit(CHINCHILLA, pd.DataFrame({"N": size, "D": 20 * size, "loss": loss * noise}))
    assert found.convergence.condition > 1e8 or found.convergence.at_bound
    assert found.predict({"N": [3e8], "D": [6e9]})["predicted"][0] == pytest.approx(
        float(
            CHINCHILLA.predict(
                np.array([[1.8, 400.0, 900.0, 0.35, 0.35]]), {"N": np.array([3e8]), "D": np.array([6e9])}
            )[0, 0]
        ),
        rel=3e-3,
    )
    flat = fit(POWER_OFFSET, pd.DataFrame({"x": np.geomspace(1, 1e4, 20), "loss": np.full(20, 2.0)}))
    assert flat["Linf"] == pytest.approx(2) and "x0" in flat.convergence.at_bound


def test_a_race_of_few_starts_finds_what_the_race_of_all_finds() -> None:
    data = chinchilla_table()
    best = fit(CHINCHILLA, data)
    everything = CHINCHILLA.starts({}, data.loss.to_numpy())
    few = fit(CHINCHILLA, data, starts=np.random.default_rng(0).permutation(everything)[:120])  # none is left out
    assert few.convergence.finished == 120 and best.convergence.finished == 128
    assert few.value == pytest.approx(best.value, rel=1e-9)


def test_linear_residuals_of_measurements_that_may_be_negative() -> None:
    x = np.geomspace(1, 1e3, 40)
    data = pd.DataFrame({"x": x, "loss": 0.5 + (20 / x) ** 0.7 - 1.5 * (x > 900)})
    with pytest.raises(UsageError, match="not positive"):
        fit(POWER_OFFSET, data)
    found = fit(POWER_OFFSET, data.iloc[:-3], objective=Objective("least-squares", np.inf, log=False))
    assert found.theta == pytest.approx([0.5, 20, 0.7], rel=1e-6)


def test_groups_widen_the_intervals_when_runs_share_their_noise() -> None:
    random = np.random.default_rng(1)
    curve = power_table(24)
    shared = pd.concat([curve.assign(y=curve.y * np.exp(0.1 * random.standard_normal()), seed=s) for s in range(12)])
    alone = fit(POWER, shared, bootstrap=300, objective="least-squares").parameters().set_index("name")
    together = fit(POWER, shared, bootstrap=300, group="seed", objective="least-squares").parameters().set_index("name")
    # a common factor of each of 12 runs has a standard error of 0.1 / sqrt(12) in log c
    assert together.error["c"] / 7 == pytest.approx(0.1 / np.sqrt(12), rel=0.45)
    assert together.error["p"] < alone.error["p"]  # and leaves the slope alone


def test_fixed_parameters_stay_and_have_no_error() -> None:
    found = fit(CHINCHILLA, chinchilla_table(), fixed={"alpha": 0.35, "beta": 0.37})
    lines = found.parameters().set_index("name")
    assert (found["alpha"], found["beta"]) == (0.35, 0.37)
    assert lines.error["alpha"] == 0 and lines.error["E"] > 0
    assert found["E"] == pytest.approx(1.8, rel=0.01)


def test_held_out_rows_are_predicted_and_not_fitted() -> None:
    data = chinchilla_table(120)
    found = fit(CHINCHILLA, data, holdout=["N > 3e9"])
    fewer = fit(CHINCHILLA, data[data.N <= 3e9])
    assert found.theta == pytest.approx(fewer.theta, rel=1e-9) and found.digest == fewer.digest
    held = data[data.N > 3e9]
    residual = np.log(fewer.predict(held)["predicted"] / held.loss.to_numpy())
    assert found.held is not None and found.held.n == len(held)
    assert found.held.rmse == pytest.approx(float(np.sqrt((residual**2).mean())), rel=1e-6)
    assert found.held.rmse < 0.01 and found.held.covered > 0.8


def test_laws_are_compared_on_points_that_none_has_seen() -> None:
    x = np.geomspace(1e3, 1e9, 60)
    data = pd.DataFrame({"x": x, "loss": 1.5 + (1e4 / x) ** 0.4})
    data["y"] = data.loss
    table = comparison([fit(law, data, holdout=["x > 1e8"]) for law in (POWER, POWER_OFFSET)])
    assert list(table.law) == ["power_offset", "power"]
    assert table.held_out_rmse[0] < 1e-6 < table.held_out_rmse[1]


def test_a_file_gives_the_same_predictions(tmp_path: Path) -> None:
    found = fit(CHINCHILLA, chinchilla_table(), bootstrap=50, exclude=["loss top 2"], holdout=["N > 8e9"])
    save_fit(found, tmp_path / "fit.json")
    read = load_fit(tmp_path / "fit.json")
    points = {"N": [1e9, 1e14], "D": [1e10, 1e10]}
    pd.testing.assert_frame_equal(read.predict(points), found.predict(points))
    pd.testing.assert_frame_equal(read.parameters(), found.parameters())
    assert read.selection == found.selection and read.held == found.held and read.digest == found.digest
    stored = json.loads((tmp_path / "fit.json").read_text())
    assert stored["selection"]["exclude"] == ["loss top 2"] and stored["objective"]["delta"] == 1e-3
    (tmp_path / "broken.json").write_text('{"format": 1}')
    with pytest.raises(UsageError, match=r"broken\.json holds no fit"):
        load_fit(tmp_path / "broken.json")


def test_far_predictions_carry_a_warning() -> None:
    found = fit(CHINCHILLA, chinchilla_table())
    far = 150 * found.ranges["N"][1]
    told = found.predict({"N": [1e9, far], "D": [1e10, 1e10]})["warning"]
    assert list(told) == ["", "N is 150x the largest fitted value"]


def test_allocation_minimises_the_loss_at_fixed_compute() -> None:
    found = fit(CHINCHILLA, chinchilla_table(), bootstrap=200)
    best = allocation(found, [1e18, 1e21])
    for i, flops in enumerate((1e18, 1e21)):
        sizes = best.N[i] * np.geomspace(0.5, 2, 2001)
        losses = CHINCHILLA.predict(found.theta[None], {"N": sizes, "D": flops / 6 / sizes})[0]
        assert sizes[losses.argmin()] == pytest.approx(best.N[i], rel=1e-3)
        assert losses.min() == pytest.approx(best.loss[i], rel=1e-9)
        assert best.N[i] * best.D[i] * 6 == pytest.approx(flops)
        assert best.N_low[i] < best.N[i] < best.N_high[i]
    assert allocation(found, [1e26]).warning[0]
    with pytest.raises(UsageError, match="positive number of FLOPs"):
        allocation(found, [-1.0])
    with pytest.raises(UsageError, match="fit the law chinchilla"):
        allocation(fit(POWER, power_table()), [1e20])


@pytest.mark.parametrize(
    ("change", "options", "complaint"),
    [
        ({}, {"exclude": ["N > 0"]}, r"needs at least 6 points; 0 of 80 rows are left after exclusion \(80\)"),
        ({}, {"exclude": ["loss top 75"]}, "needs at least 6 points; 5 of 80"),
        ({"loss": -1.0}, {}, "loss is -1 in row 0 and not positive in 80 rows.*--exclude 'loss <= 0'"),
        ({"loss": np.nan}, {}, "loss is missing or infinite in 80 rows.*--exclude 'loss missing'"),
        ({}, {"columns": {"N": "params"}}, "no numeric column 'params'; the table has N, D, loss"),
        ({}, {"exclude": ["loss ~ 5"]}, "can't be read; give COLUMN < NUMBER"),
        ({}, {"exclude": ["lss > 5"]}, "no column 'lss'; the table has N, D, loss"),
        ({}, {"objective": "l2"}, "objective 'l2' is unknown; give one of huber, lad, least-squares"),
        ({}, {"fixed": {"gamma": 1.0}}, "no parameter 'gamma'; it has E, A, B, alpha, beta"),
        ({}, {"group": "seed"}, "no column 'seed'"),
        ({}, {"weights": "0 * N"}, r"weights \(0 \* N\) is 0 in row 0"),
    ],
)
def test_bad_input_is_named(change: dict[str, float], options: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        fit(CHINCHILLA, chinchilla_table().assign(**change), **options)  # type: ignore[arg-type]


def test_bad_names_and_points() -> None:
    with pytest.raises(UsageError, match=r"there is no law 'chincilla' \(near it: chinchilla"):
        law_named("chincilla")
    with pytest.raises(UsageError, match="belongs to the objective huber"):
        objective_named("lad", delta=1e-2)
    found = fit(POWER, power_table())
    with pytest.raises(UsageError, match="predicts from x; x is not given"):
        found.predict({"N": [1.0]})
    with pytest.raises(UsageError, match="x must be positive"):
        found.predict({"x": [0.0]})


@pytest.mark.parametrize("objective", ["huber", pytest.param("lad", marks=pytest.mark.slow)])
def test_robust_curvature_intervals_hold_the_truth_as_often_as_stated(objective: str) -> None:
    """Huber's delta is far below the noise here: the density of residuals around zero decides the interval."""
    x, theta = {"x": np.geomspace(1e3, 1e9, 60)}, np.array([7.0, -0.3])
    exact, covered = POWER.predict(theta[None], x)[0], 0
    for seed in range(200):
        y = exact * np.exp(0.02 * np.random.default_rng(seed).standard_normal(60))
        found = fit_cases(POWER, Cases(x, y, np.ones(60), None), objective_named(objective), starts=theta)
        low, high = found.interval("p")
        covered += low <= -0.3 <= high
    assert 0.89 <= covered / 200 <= 0.995  # of 200 at 95 %, all but one in ten thousand
