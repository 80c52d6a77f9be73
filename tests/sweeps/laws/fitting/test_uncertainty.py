"""What is said about the uncertainty of parameters, against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from landsweep.sweeps.laws.fitting.uncertainty import Uncertainty
from landsweep.sweeps.laws.power import POWER

THETA = np.array([2.0, 0.5])
NAMES = [p.name for p in POWER.parameters]
LOG = NAMES[0]  # positive, fitted as its logarithm


def known(**changes: object) -> Uncertainty:
    """Two uncorrelated parameters with standard errors 0.1 and 0.02 of their internal coordinates."""
    plain = Uncertainty(POWER, THETA, np.diag([0.1**2, 0.02**2]), None, freedom=7, converged=True)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_by_curvature_intervals_are_students_symmetric_in_the_internal_coordinate() -> None:
    assert POWER.parameters[0].log
    for level in (0.5, 0.95):
        half = student.ppf((1 + level) / 2, 7) * 0.1
        error, low, high = known().interval(LOG, level)
        assert (low, high) == pytest.approx((2 * np.exp(-half), 2 * np.exp(half)), rel=1e-12)
        assert error == pytest.approx(0.2, rel=1e-12)  # d theta = theta d log theta


def test_draws_take_the_place_of_the_curvature() -> None:
    draws = np.column_stack([np.linspace(1, 3, 201), np.full(201, 0.5)])
    drawn = known(draws=draws, at_bound=(LOG,))  # a bootstrap interval holds at a bound, too
    assert drawn.samples() is draws
    assert drawn.interval(LOG, 0.5) == pytest.approx((draws[:, 0].std(ddof=1), 1.5, 2.5))
    band = drawn.band(lambda theta: theta[:, :1] * np.array([[1.0, 10.0]]), level=0.9)
    assert [band[k].tolist() for k in ("value", "low", "high")] == [
        pytest.approx([2, 20]), pytest.approx([1.1, 11]), pytest.approx([2.9, 29])
    ]  # fmt: skip


def test_samples_of_the_curvature_have_its_covariance() -> None:
    phi = np.log(known().samples()[:, 0])
    assert phi.std() == pytest.approx(0.1, rel=0.05) and phi.mean() == pytest.approx(np.log(2), abs=0.01)
    held = known(covariance=np.diag([0.1**2, 0.0]), fixed=(NAMES[1],))
    assert held.samples()[:, 1].tolist() == pytest.approx([0.5] * 2000, rel=1e-12)
    assert "(given)" in held.table()["meaning"].iloc[1] and "(given)" not in held.table()["meaning"].iloc[0]


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert np.isnan(known(at_bound=(LOG,)).interval(LOG)).all()
    assert np.isfinite(known(at_bound=(LOG,)).interval(NAMES[1])).all()
    lost = known(converged=False, draws=np.tile(THETA, (5, 1))).table()
    assert lost[["error", "low", "high"]].isna().all().all() and lost["value"].iloc[0] == 2
    low, high = known(open_low=(LOG,)).interval(LOG)[1:]
    assert low < 1e-200 and high == pytest.approx(known().interval(LOG)[2])
