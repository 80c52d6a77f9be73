"""Laws of learning curves: what lies before the first row, and rates that fall at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.annealing import ANNEALING_CURVES, areas
from landsweep.sweeps.laws.base import Floats
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.points import select
from landsweep.sweeps.laws.fitting.text import fit_text, law_text
from landsweep.sweeps.laws.multi_power import MULTI_POWER
from tests.support import curves_by_steps

PEAK, WARM, STEPS = 3e-4, 2000, 12_000
TRUE = np.array([2.6, 0.65, 0.508, 450.0, 2.2, 0.6, 0.6])


def by_definition(theta: Floats, rates: Floats, warm: int, at: Floats) -> Floats:
    """The loss after some steps (arXiv 2503.12811), every step's drop on its own; `rates` of steps 1, 2, ..."""
    floor, scale, alpha, gain, speed, beta, gamma = theta
    sums = np.cumsum(rates)
    found = []
    for t in at.astype(int):
        k = np.arange(max(warm, 1), t)  # places of the rates after the warm-up, up to step t
        drops = rates[k - 1] - rates[k]
        since = sums[t - 1] - sums[k - 1]
        worth = 1 - (1 + speed * rates[k] ** -gamma * since) ** -beta
        found.append(floor + scale * sums[t - 1] ** -alpha - gain * (drops * worth).sum())
    return np.array(found)


def schedules() -> dict[str, Floats]:
    """Rates of every step after a linear warm-up: constant, cosine to a tenth, and two that fall at once."""
    warm = PEAK * np.arange(1, WARM + 1) / WARM
    rest = np.arange(1, STEPS - WARM + 1)
    shapes = {
        "constant": np.full(STEPS - WARM, PEAK),
        "cosine": PEAK * (0.55 + 0.45 * np.cos(np.pi * rest / (STEPS - WARM))),
        "fall": np.where(WARM + rest < 7000, PEAK, 0.3 * PEAK),
        "deep": np.where(WARM + rest < 5000, PEAK, 0.1 * PEAK),
    }
    return {name: np.concatenate([warm, shape]) for name, shape in shapes.items()}


def logged(every: int, first: int = 2500) -> pd.DataFrame:
    rows = np.arange(first, STEPS + 1, every).astype(float)
    tables = []
    for name, rates in schedules().items():
        loss = by_definition(TRUE, rates, WARM, rows)
        before = rates[: first - 1].sum()
        tables.append(
            pd.DataFrame(
                {"curve": name, "step": rows, "rate": rates[rows.astype(int) - 1], "loss": loss, "before": before}
            )
        )
    return pd.concat(tables, ignore_index=True)


def predicted(table: pd.DataFrame, columns: dict[str, str]) -> Floats:
    cases, _, _ = select(MULTI_POWER, table, columns=columns)
    return MULTI_POWER.predict(TRUE[None], cases.x)[0]


def test_the_sum_of_rates_before_the_first_row_can_be_given() -> None:
    table = logged(50)
    right = predicted(table, {"sum_before": "before"})
    assert np.abs(right - table.loss).max() < 2e-3
    wrong = predicted(table, {})
    assert np.abs(wrong - table.loss).max() > 0.02, "the warm-up counted at the peak"


def test_a_linear_warm_up_by_arithmetic_of_columns_finds_the_exponent() -> None:
    table = logged(100).drop(columns="before")
    given = {"sum_before": f"{PEAK} * {WARM + 1} / 2 + {PEAK} * {2499 - WARM}"}
    start = TRUE * np.array([1, 1.1, 1, 0.9, 1.1, 1, 1])
    found = fit(MULTI_POWER, table, columns=given, starts=start)
    assert found["alpha"] == pytest.approx(0.508, abs=0.01) and found["L0"] == pytest.approx(2.6, abs=0.01)
    assert "begin after step 1" not in fit_text(found)
    silent = fit(MULTI_POWER, table, starts=start)
    assert abs(silent["alpha"] - 0.508) > 0.03
    assert "4 of 4 curves begin after step 1 (the latest at step 2500" in fit_text(silent)
    assert "sum_before" in law_text(MULTI_POWER) and "rate is taken to be constant" in law_text(MULTI_POWER)


def test_a_row_at_the_step_of_a_fall_is_predicted_right() -> None:
    """Rows every 500 steps, two curves of which fall at once at the step of a row."""
    table = logged(500)
    off = np.abs(predicted(table, {"sum_before": "before"}) - table.loss)
    for name, step in (("fall", 7000), ("deep", 5000)):
        curve = table.curve == name
        assert off[curve & (table.step == step)].item() < 1e-6
        assert off[curve].max() < 1e-6
    _, _, selection = select(MULTI_POWER, table, columns={"sum_before": "before"})
    assert "falls at once between steps 6500 and 7000" in selection.notes[0] and "(2 such falls)" in selection.notes[0]


def test_a_fall_between_rows_is_placed_by_a_row_without_a_loss() -> None:
    rates = schedules()["fall"].copy()
    rates[WARM:6700], rates[6700:] = PEAK, 0.3 * PEAK
    rows = np.arange(2500.0, STEPS + 1, 500)
    table = pd.DataFrame({"curve": 0, "step": rows, "rate": rates[rows.astype(int) - 1], "before": rates[:2499].sum()})
    table["loss"] = by_definition(TRUE, rates, WARM, rows)
    more = pd.DataFrame({"curve": [0], "step": [6701.0], "rate": [0.3 * PEAK], "before": table.before[0]})
    table = pd.concat([table, more], ignore_index=True)
    cases, _, _ = select(MULTI_POWER, table, columns={"sum_before": "before"}, exclude=["loss missing"])
    assert MULTI_POWER.predict(TRUE[None], cases.x)[0] == pytest.approx(cases.y, abs=1e-6)


def test_rows_of_every_step_are_the_definition() -> None:
    rates = schedules()["cosine"][:2600]
    rates[2300:] *= 0.2
    rows = np.arange(1.0, len(rates) + 1)
    x = {"curve": np.zeros(len(rows)), "step": rows, "rate": rates}
    exact = by_definition(TRUE, rates, WARM, rows[::100] + 99)
    assert MULTI_POWER.predict(TRUE[None], MULTI_POWER.prepare(x))[0][99::100] == pytest.approx(exact, rel=1e-10)


def test_a_sudden_fall_between_rows_gives_the_annealing_areas_of_its_schedule() -> None:
    rates = np.where(np.arange(4001) < 2000, 1e-3, 1e-4)
    at = np.arange(0, 4001, 250)
    x = {"curve": np.zeros(len(at)), "step": at.astype(float), "rate": rates[at]}
    found = ANNEALING_CURVES.prepare(x)
    forward, annealed = areas(rates)
    assert found["S1"] == pytest.approx(forward[at]) and found["S2"] == pytest.approx(annealed[at])
    late = {k: v[4:] for k, v in x.items()} | {"sum_before": np.full(len(at) - 4, 0.25)}
    assert ANNEALING_CURVES.prepare(late)["S1"] == pytest.approx(forward[at[4:]] - forward[999] + 0.25)


@pytest.mark.parametrize("seed", range(20))
def test_many_curves_at_once_are_what_each_is_step_by_step(seed: int) -> None:
    """Curves of one row and of many, rows in any order, against sums over every step of one curve after the other."""
    x = curves_by_steps.some_curves(curves=1 + seed % 5, rows=(1, 2, 30)[seed % 3], seed=seed, steps=400)
    prepared = ANNEALING_CURVES.prepare(x)
    forward, annealed = curves_by_steps.areas(x)
    assert prepared["S1"] == pytest.approx(np.array(forward), rel=1e-12)
    assert prepared["S2"] == pytest.approx(np.array(annealed), rel=1e-12, abs=1e-15)
    losses, gradient = MULTI_POWER.evaluate(TRUE[None], MULTI_POWER.prepare(x))
    theirs, slopes = curves_by_steps.multi_power_with_derivatives(TRUE.tolist(), curves_by_steps.drops_before_rows(x))
    assert losses[0] == pytest.approx(np.array(theirs), rel=1e-12)
    assert gradient[0] == pytest.approx(np.array(slopes), rel=1e-4, abs=1e-6)


def test_rows_within_one_step_share_its_areas() -> None:
    """Logs that count parts of a step: the rate of the step is that of its last row."""
    at, rates = np.array([3.0, 10.2, 10.7, 20.0]), np.array([1e-3, 8e-4, 6e-4, 1e-4])
    found = ANNEALING_CURVES.prepare({"curve": np.zeros(4), "step": at, "rate": rates})
    forward, annealed = areas(
        np.concatenate([np.full(3, 1e-3), np.linspace(1e-3, 8e-4, 8)[:-1], np.linspace(6e-4, 1e-4, 11)])
    )
    assert found["S1"] == pytest.approx(forward[[3, 10, 10, 20]], rel=1e-12)
    assert found["S2"] == pytest.approx(annealed[[3, 10, 10, 20]], rel=1e-12)


def test_steps_before_the_first_are_refused() -> None:
    x = {"curve": np.zeros(2), "step": np.array([-5.0, 3.0]), "rate": np.full(2, 1e-3)}
    with pytest.raises(UsageError, match="step is -5 in one row"):
        ANNEALING_CURVES.prepare(x)


def test_what_no_schedule_can_be_is_refused() -> None:
    table = logged(500)
    with pytest.raises(UsageError, match=r"the step \d+ of one curve has the rates"):
        select(
            MULTI_POWER,
            table.assign(curve=np.where(table.curve == "fall", "deep", table.curve)).assign(
                rate=lambda t: t.rate * np.where(t.index % 2, 1, 0.5)
            ),
        )
    with pytest.raises(UsageError, match=r"sum_before is from .* within one curve"):
        select(MULTI_POWER, table, columns={"sum_before": "step * rate"})
    with pytest.raises(UsageError, match="sum_before is from -1 to -1"):
        select(MULTI_POWER, table, columns={"sum_before": "0 * step - 1"})
