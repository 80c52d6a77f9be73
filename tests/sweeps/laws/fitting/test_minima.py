"""Which minimum a fit finds, when it says that it has one, and what it says of its intervals where it has none."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.broken_power import BROKEN_POWER
from landsweep.sweeps.laws.chinchilla import CHINCHILLA
from landsweep.sweeps.laws.data_constrained import DATA_CONSTRAINED
from landsweep.sweeps.laws.deceleration import DECELERATION
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.json_file import fields, restore
from landsweep.sweeps.laws.fitting.lack_of_fit import lack_of_fit
from landsweep.sweeps.laws.fitting.objective import objective_named
from landsweep.sweeps.laws.fitting.problem import Coordinates, Problem
from landsweep.sweeps.laws.fitting.text import fit_text
from landsweep.sweeps.laws.loss_to_loss import LOSS_TO_LOSS
from landsweep.sweeps.laws.multi_power import MULTI_POWER
from landsweep.sweeps.laws.power import POWER, POWER_OFFSET
from tests.support.law_tables import chinchilla_table, power_table


@pytest.mark.parametrize(("c", "p"), [(3.0, -0.5), (0.09, 0.5), (1e12, -2.0)])
def test_exact_points_are_converged(c: float, p: float) -> None:
    x = np.geomspace(1, 1e6, 25)
    for objective in ("huber", "lad", "least-squares"):
        found = fit(POWER, pd.DataFrame({"x": x, "y": c * x**p}), objective=objective)
        assert found.converged and found["p"] == pytest.approx(p, rel=1e-12), objective
        assert lack_of_fit(found) is None
    tiny = fit(POWER_OFFSET, pd.DataFrame({"x": x, "loss": 1e-8 * (2 + x**-0.5)}))
    assert tiny.converged and tiny["Linf"] == pytest.approx(2e-8)


@pytest.mark.parametrize(
    ("theta", "points"),
    [
        ([0.5, 3.0, 0.4, 5.663, 612.6, 3.0], np.geomspace(1, 1e3, 405)),
        ([0.5, 3.0, 0.4, 5.663, 612.6, 1.0], np.geomspace(100, 1e6, 405)),
        ([0.5, 3.0, 0.05, 4.2, 90.0, 2.0], np.geomspace(1, 1e5, 405)),
    ],
)
@pytest.mark.slow
def test_a_minimum_at_the_end_of_a_curved_valley_is_found(theta: list[float], points: np.ndarray) -> None:
    loss = BROKEN_POWER.predict(np.array([theta]), {"x": points})[0]
    found = fit(BROKEN_POWER, pd.DataFrame({"x": points, "loss": loss}))
    assert found.converged and found.theta == pytest.approx(theta, rel=1e-4)


def test_a_curved_valley_from_a_far_start() -> None:
    theta, x = DECELERATION.example()
    loss = DECELERATION.predict(theta[None], x)[0]
    found = fit(DECELERATION, pd.DataFrame({**x, "loss": loss}), starts=np.array([[9.0, 3e3, 2.0, 0.5, 3.0]]))
    assert found.converged and found.theta == pytest.approx(theta, rel=1e-6)


def test_without_convergence_nothing_is_said_of_errors() -> None:
    found = fit(CHINCHILLA, chinchilla_table(), bootstrap=20)
    stalled = replace(found, convergence=replace(found.convergence, decrement=1.0))
    lines = stalled.parameters()
    assert lines[["error", "low", "high"]].isna().all().all() and np.isnan(stalled.interval("E")).all()
    assert list(stalled.predict({"N": [1e9], "D": [1e10]})["warning"]) == ["the fit has not converged"]
    assert "NOT CONVERGED" in fit_text(stalled) and "errors and intervals are left out" in fit_text(stalled)
    again = restore(fields(stalled))
    assert not again.converged and again.parameters()["low"].isna().all()


def test_given_parameters_leave_as_many_starts_as_a_fit_without() -> None:
    theta, x = DATA_CONSTRAINED.example()
    loss = DATA_CONSTRAINED.predict(theta[None], x)[0]
    noise = np.exp(0.02 * np.random.default_rng(3).standard_normal(len(loss)))
    table = pd.DataFrame({**x, "loss": loss * noise})
    five = {p.name: float(v) for p, v in zip(DATA_CONSTRAINED.parameters[:5], theta, strict=False)}
    found = fit(DATA_CONSTRAINED, table, fixed=five)
    assert found.convergence.starts >= 256 and found.convergence.agree > 3
    grid = np.array([[*theta[:5], a, b] for a in np.geomspace(1e-2, 1e4, 14) for b in np.geomspace(1e-2, 1e4, 14)])
    many = fit(DATA_CONSTRAINED, table, fixed=five, starts=grid)
    assert found.value <= many.value * (1 + 1e-9)


def test_given_parameters_need_no_points() -> None:
    la = np.array([2.0, 2.5, 3.0])
    table = pd.DataFrame({"La": la, "Lb": 1.1 * (la - 0.5) ** 1.2 + 0.5})
    found = fit(LOSS_TO_LOSS, table, fixed={"Ea": 0.5, "Eb": 0.5})
    assert found["K"] == pytest.approx(1.1, rel=1e-6) and found["kappa"] == pytest.approx(1.2, rel=1e-6)
    one = fit(POWER, power_table(2), fixed={"p": -0.3})
    assert one["c"] == pytest.approx(7, rel=0.1)
    with pytest.raises(UsageError, match="has 3 parameters to fit and needs at least 4 points; 3 of 3"):
        fit(LOSS_TO_LOSS, table, fixed={"Ea": 0.5})


def test_starts_and_bounds_of_ones_own() -> None:
    data = chinchilla_table()
    free = fit(CHINCHILLA, data)
    narrow = fit(CHINCHILLA, data, bounds={"alpha": (0.1, 0.3), "A": (1.0, np.inf)})
    assert narrow["alpha"] == 0.3 and "alpha" in narrow.convergence.at_bound and narrow.value > free.value
    again = restore(fields(narrow))
    assert [(p.low, p.high) for p in again.law.parameters] == [(p.low, p.high) for p in narrow.law.parameters]
    started = fit(CHINCHILLA, data, starts=[{"alpha": 0.3}, {"alpha": 0.4, "beta": 0.3}])
    assert started.value == pytest.approx(free.value, rel=1e-9)
    assert fit(POWER, power_table(), start_count=500).convergence.starts == 500
    for options, complaint in (
        ({"bounds": {"gamma": (0.0, 1.0)}}, "bounds: chinchilla has no parameter 'gamma'"),
        ({"bounds": {"alpha": (7.0, 8.0)}}, "leaves nothing of what chinchilla allows, 0 to 5"),
        ({"bounds": {"alpha": (0.4, 0.4)}}, "fix it"),
        ({"starts": [{"gamma": 1.0}]}, "start: chinchilla has no parameter 'gamma'"),
    ):
        with pytest.raises(UsageError, match=complaint):
            fit(CHINCHILLA, data, **options)  # type: ignore[arg-type]


def _peak(work: object) -> float:
    tracemalloc.start()
    work()  # type: ignore[operator]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def test_memory_does_not_grow_with_the_rows_that_are_held_out() -> None:
    x = np.geomspace(1e3, 1e9, 12_000)
    y = 7 * x**-0.3 * np.exp(0.02 * np.random.default_rng(0).standard_normal(len(x)))
    table = pd.DataFrame({"x": x, "y": y})
    peak = _peak(lambda: fit(POWER, table, holdout=["x > 1e4"], starts=np.array([[7.0, -0.3]])))
    assert peak < 120, f"{peak:.0f} MiB; one array of 2,000 draws of 10,000 points is 153 MiB"


def test_memory_of_curves_that_are_held_out() -> None:
    step = np.arange(50.0, 6001, 50)
    curves = [pd.DataFrame({"curve": c, "step": step, "rate": 3e-4 * (1 - c / 3 * step / 6001)}) for c in range(1, 4)]
    table, theta = pd.concat(curves, ignore_index=True), MULTI_POWER.example()[0]
    x = {name: table[name].to_numpy(float) for name in ("curve", "step", "rate")}
    table["loss"] = MULTI_POWER.predict(theta[None], MULTI_POWER.prepare(x))[0]
    table["loss"] *= np.exp(1e-3 * np.random.default_rng(0).standard_normal(len(table)))
    peak = _peak(lambda: fit(MULTI_POWER, table, holdout=["curve == 3"], starts=theta[None]))
    assert peak < 160, f"{peak:.0f} MiB; one array of 2,000 draws of 120 points with 119 drops is 218 MiB"


@pytest.mark.parametrize("seed", range(20))
def test_repeats_tell_a_law_that_misses_from_one_that_holds(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = np.repeat(np.geomspace(10, 1e5, 12), 4)
    noise = np.exp(0.01 * random.standard_normal(len(x)))
    bent = fit(POWER, pd.DataFrame({"x": x, "y": (0.5 + 3 * x**-0.4) * noise}), objective="least-squares")
    right = fit(POWER, pd.DataFrame({"x": x, "y": 3 * x**-0.4 * noise}), objective="least-squares")
    wrong, fine = lack_of_fit(bent), lack_of_fit(right)
    assert wrong is not None and wrong.freedom == (10, 36) and wrong.doubtful
    assert fine is not None and fine.p > 1e-4
    assert "LACK OF FIT (F(10, 36)" in fit_text(bent) and "do not hold this misfit" in fit_text(bent)


def test_the_test_of_repeats_is_the_textbooks() -> None:
    """Draper and Smith, Applied Regression Analysis: pure error from repeats, the rest is lack of fit."""
    table = pd.DataFrame({"x": [1.0, 1, 2, 2, 4, 8, 8], "y": [3.0, 3.2, 2.1, 2.0, 1.7, 0.9, 1.0]})
    found = fit(POWER, table, objective="least-squares")
    told = lack_of_fit(found)
    log = np.log(table.y)
    pure = float(((log - log.groupby(table.x).transform("mean")) ** 2).sum())
    rest = 2 * found.value - pure
    assert told is not None and told.freedom == (2, 3)
    assert told.statistic == pytest.approx((rest / 2) / (pure / 3), rel=1e-9)


def test_without_repeats_runs_of_signs_tell() -> None:
    x = np.geomspace(10, 1e5, 60)
    noise = np.exp(0.002 * np.random.default_rng(1).standard_normal(60))
    bent = lack_of_fit(fit(POWER, pd.DataFrame({"x": x, "y": (0.5 + 3 * x**-0.4) * noise})))
    right = lack_of_fit(fit(POWER, pd.DataFrame({"x": x, "y": 3 * x**-0.4 * noise})))
    assert bent is not None and bent.test == "runs" and bent.doubtful
    assert right is not None and not right.doubtful


def test_no_rivals_have_no_objectives() -> None:
    """As where no least-squares descent ends at a number."""
    x = {"x": np.geomspace(1, 10, 5)}
    problem = Problem(POWER, x, x["x"], np.ones(5), objective_named("huber"), Coordinates.of(POWER))
    assert problem.values(np.empty((0, 2))).shape == (0,) and problem.values(np.zeros((3, 2))).shape == (3,)


def test_held_out_rows_have_a_mean_error_and_a_share_that_is_explained() -> None:
    data = chinchilla_table(120)
    found = fit(CHINCHILLA, data, holdout=["N > 3e9"])
    held = data[data.N > 3e9]
    residual = np.log(found.predict(held)["predicted"].to_numpy() / held.loss.to_numpy())
    log = np.log(held.loss)
    assert found.held is not None
    assert found.held.mae == pytest.approx(np.abs(residual).mean(), rel=1e-9)
    assert found.held.r2 == pytest.approx(1 - (residual**2).sum() / ((log - log.mean()) ** 2).sum(), rel=1e-9)
    assert "mae " in fit_text(found) and "R2 0.9" in fit_text(found)
