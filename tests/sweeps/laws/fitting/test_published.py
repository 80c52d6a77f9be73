"""Published fits come out to the digits in which they were published."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from landsweep.sweeps.laws.annealing import ANNEALING, areas
from landsweep.sweeps.laws.chinchilla import CHINCHILLA
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.power import POWER
from tests.sweeps.laws.fitting.published import CHINCHILLA_COLUMNS, EXCLUDED, published, table

pytestmark = published
HOFFMANN = np.array([1.69, 406.4, 410.7, 0.34, 0.28])  # arXiv 2203.15556, table A3


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return pd.read_csv(table("chinchilla_epoch.csv"))


@pytest.fixture(scope="module")
def huber(data: pd.DataFrame) -> Fit:
    return fit(
        CHINCHILLA, data, columns=CHINCHILLA_COLUMNS, exclude=EXCLUDED, bootstrap=8000
    )  # the error of B has heavy tails: 1,000 draws tell it to 12 %


def test_huber(huber: Fit) -> None:
    assert huber.converged and len(huber.residuals) == 240
    assert huber.value == pytest.approx(1.01827e-3, abs=5e-9)
    assert huber.theta == pytest.approx([1.8172, 477.83, 2143.4, 0.3473, 0.3672], rel=1e-9, abs=0.05)
    for got, wanted, digits in zip(huber.theta, (1.8172, 477.83, 2143.4, 0.3473, 0.3672), (4, 2, 1, 4, 4), strict=True):
        assert round(got, digits) == wanted
    assert huber.convergence.starts == 4500 and huber.convergence.agree > 10


def test_least_absolute_deviation(data: pd.DataFrame) -> None:
    found = fit(CHINCHILLA, data, columns=CHINCHILLA_COLUMNS, exclude=EXCLUDED, objective="lad")
    assert found.converged
    for got, wanted, digits in zip(
        found.theta, (1.81684, 481.93, 2085.0, 0.34780, 0.36584), (5, 2, 1, 5, 5), strict=True
    ):
        assert round(got, digits) == wanted
    absolute = np.abs(found.residuals).sum()
    assert absolute - 240 * 1e-6 / 2 <= found.value <= absolute  # smoothed below 1e-6


def test_bootstrap_errors(huber: Fit) -> None:
    lines = huber.parameters().set_index("name")
    wanted = {"E": 0.0255, "A": 123, "B": 1279, "alpha": 0.0152, "beta": 0.0205, "a": 0.020}
    for name, error in wanted.items():
        assert lines.error[name] == pytest.approx(error, rel=0.1), name
    assert lines.value["a"] == pytest.approx(0.513, abs=1e-3)


def test_bootstrap_draws_are_minima_of_their_own(data: pd.DataFrame) -> None:
    """Some draws, fitted again one by one with scipy on counts drawn in the same way, give the same parameters."""
    found = fit(CHINCHILLA, data, columns=CHINCHILLA_COLUMNS, exclude=EXCLUDED, bootstrap=20, seed=3)
    assert found.cases is not None and found.draws is not None
    counts = np.random.default_rng(3).multinomial(240, np.full(240, 1 / 240), 20)
    x, y = found.cases.x, found.cases.y
    for count, draw in zip(counts[:8], found.draws, strict=False):
        oracle = minimize(
            lambda p, c=count: _huber(p, np.log(x["N"]), np.log(x["D"]), np.log(y), c) * 1e3,
            [*np.log(found.theta[:3]), *found.theta[3:]],
            method="Nelder-Mead",
            options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 20_000, "maxfev": 20_000},
        )
        ours = _huber(np.array([*np.log(draw[:3]), *draw[3:]]), np.log(x["N"]), np.log(x["D"]), np.log(y), count)
        assert ours * 1e3 <= oracle.fun * (1 + 1e-7)


def _huber(p: np.ndarray, n: np.ndarray, d: np.ndarray, log_loss: np.ndarray, weights: np.ndarray) -> float:
    e, a, b, alpha, beta = p
    r = np.abs(np.logaddexp(np.logaddexp(a - alpha * n, b - beta * d), e) - log_loss)
    return float((weights * np.where(r < 1e-3, r * r / 2, 1e-3 * (r - 5e-4))).sum())


def test_one_start_at_hoffmanns_numbers_reaches_the_minimum(data: pd.DataFrame, huber: Fit) -> None:
    """A mean instead of the sum, or a loose tolerance, stops at these very numbers (arXiv 2404.10102)."""
    found = fit(CHINCHILLA, data, columns=CHINCHILLA_COLUMNS, exclude=EXCLUDED, starts=HOFFMANN)
    assert found.value == pytest.approx(huber.value, rel=1e-9)
    assert found.theta == pytest.approx(huber.theta, rel=1e-5)


def test_the_fit_does_not_depend_on_the_number_of_copies_of_the_table(data: pd.DataFrame, huber: Fit) -> None:
    """A sum over k copies is k times the sum; solvers with absolute tolerances stop elsewhere."""
    kept = data.sort_values("loss").iloc[:-5]
    few = fit(CHINCHILLA, kept, columns=CHINCHILLA_COLUMNS, starts=HOFFMANN)
    many = fit(CHINCHILLA, pd.concat([kept] * 7), columns=CHINCHILLA_COLUMNS, starts=HOFFMANN)
    assert many.value == pytest.approx(7 * few.value, rel=1e-9)
    assert many.theta == pytest.approx(few.theta, rel=1e-5)


def test_the_exclusion_rule_belongs_to_the_fit(data: pd.DataFrame, huber: Fit) -> None:
    everything = fit(CHINCHILLA, data, columns=CHINCHILLA_COLUMNS)
    assert round(everything["beta"], 3) == 0.453 and round(everything["B"] / 10) == 1285
    assert huber.selection is not None and huber.selection.exclude == ("loss top 5",)
    assert huber.digest != everything.digest


def test_optimal_sizes_of_fifteen_experiments() -> None:
    """arXiv 2406.19146: least squares of log N* on log C, weighted by the variance of log N*."""
    pairs = pd.read_csv(table("porian_optimal_pairs.csv"))
    keys = ["dataset", "hparams", "warmup", "decay", "param_count", "val"]
    experiments = list(pairs.groupby(keys))
    assert len(experiments) == 15
    for key, rows in experiments:
        found = fit(
            POWER, rows, columns={"x": "flops", "y": "n"}, weights="1 / n_star_std ** 2", objective="least-squares",
            exclude=["n missing"],
        )  # fmt: skip
        assert round(found["p"], 4) == round(rows["published_a_weighted"].iloc[0], 4), key


def test_annealing_law_of_a_cosine_and_a_constant_schedule() -> None:
    """arXiv 2408.11029: peak 2e-4, 500 warm-up steps counted at the peak, 20,000 steps, cosine to zero."""
    points = pd.read_csv(table("tissue_annealing.csv"))
    steps = np.arange(20_001)
    cosine = np.where(steps < 500, 2e-4, 1e-4 * (1 + np.cos(np.pi * (steps - 500) / 19_500)))
    curves = {"cosine": areas(cosine), "constant": areas(np.full(20_001, 2e-4))}
    for i, name in enumerate(("S1", "S2")):
        points[name] = [curves[s][i][t] for s, t in zip(points.schedule, points.step, strict=True)]
    found = fit(ANNEALING, points)
    assert found.converged
    for name, wanted in {"L0": 2.628, "A": 0.430, "C": 0.411, "alpha": 0.550}.items():
        assert round(found[name], 3) == wanted, name
    predicted = found.predict(points)["predicted"]
    unexplained = ((points.loss - predicted) ** 2).sum() / ((points.loss - points.loss.mean()) ** 2).sum()
    assert round(1 - unexplained, 4) == 0.9996
