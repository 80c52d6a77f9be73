"""The convex bound against its formula written out, closed forms, published figures, and a function it holds for."""

from __future__ import annotations

import math
import runpy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.schedule_bound import bound, bounds_along
from landsweep.sweeps.lab.schedules import Schedule, ScheduleSpec
from tests.support.paths import ROOT

SHAPES: dict[str, dict[str, Any]] = {
    "constant": {"shape": "constant"},
    "cosine": {"shape": "cosine"},
    "linear": {"shape": "linear"},
    "wsd": {"shape": "wsd", "cooldown": 0.2, "decay": "linear"},
    "wsd-sqrt": {"shape": "wsd", "cooldown": 0.2, "decay": "1-sqrt"},
}
LONG = 5000


def of(**fields: Any) -> Schedule:
    made: Schedule = TypeAdapter(ScheduleSpec).validate_python(fields)
    return made


def written_out(n: Sequence[float], g: Sequence[float], distance: float, rate: float) -> float:
    """Theorem 1 of arXiv 2501.18965, sum by sum."""
    steps, total = range(len(n)), sum(n)
    last = 0.0
    for k in steps[:-1]:
        tail = n[k:]
        last += n[k] / sum(n[k + 1 :]) * sum(a * a * b * b for a, b in zip(tail, g[k:], strict=True)) / sum(tail)
    mean = sum((n[t] * g[t]) ** 2 for t in steps) / total
    return distance**2 / (2 * rate * total) + rate / 2 * (mean + last)


@pytest.mark.parametrize("name", SHAPES)
def test_is_the_formula(name: str) -> None:
    schedule = of(**SHAPES[name], warmup=0.1)
    n = [schedule.multiplier(s, 60) for s in range(60)]
    g = [1 + math.sin(s) / 2 for s in range(60)]
    found = bound(schedule, 60, distance=3.0, gradient=g)
    for rate in (0.01, found.best_rate, 2.0):
        assert found.at(rate) == pytest.approx(written_out(n, g, 3.0, rate), rel=1e-12)
    assert found.least == pytest.approx(found.at(found.best_rate), rel=1e-12)
    assert found.least < min(found.at(0.99 * found.best_rate), found.at(1.01 * found.best_rate))


def test_a_constant_rate_has_a_closed_form() -> None:
    for horizon in (1, 2, 100, LONG):
        found = bound(of(shape="constant"), horizon, gradient=2.0)
        harmonic = sum(1 / k for k in range(1, horizon))
        assert found.last == pytest.approx(harmonic * 4 / 2, rel=1e-9)
        assert found.least * math.sqrt(horizon) == pytest.approx(2 * math.sqrt(1 + harmonic), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "rate", "exponent"),
    [
        ("linear", 2.00, -0.498),
        ("cosine", 2.06, -0.498),
        ("wsd", 2.16, -0.496),
        ("wsd-sqrt", 2.13, -0.497),
        ("constant", 3.18, -0.554),
    ],
)
def test_published_figures(name: str, rate: float, exponent: float) -> None:
    """The least bound times sqrt(T), and how the best base rate falls with the horizon."""
    assert bound(of(**SHAPES[name]), LONG).least * math.sqrt(LONG) == pytest.approx(rate, abs=0.01)
    horizons = (500, 1000, 2000, 5000, 10000)
    best = [bound(of(**SHAPES[name]), t).best_rate for t in horizons]
    slope = np.polyfit(np.log(horizons), np.log(best), 1)[0]
    assert slope == pytest.approx(exponent, abs=0.002)


def test_cool_downs() -> None:
    """At wsd's own best rate the best cool-down takes 0.42 of the run; where the rate is tuned too, all of it."""
    lengths = [i / 50 for i in range(1, 51)]
    each = [bound(of(shape="wsd", decay="linear", cooldown=c), LONG) for c in lengths]
    wsd, cosine = bound(of(**SHAPES["wsd"]), LONG), bound(of(**SHAPES["cosine"]), LONG)
    assert wsd.best_rate / cosine.best_rate == pytest.approx(0.529, abs=1e-3)
    assert lengths[int(np.argmin([b.at(wsd.best_rate) for b in each]))] == pytest.approx(0.42, abs=0.021)
    assert lengths[int(np.argmin([b.least for b in each]))] == 1.0


@pytest.mark.parametrize("name", SHAPES)
def test_it_holds(name: str) -> None:
    """Subgradient descent on |w_1|, which has gradients of norm 1, never ends above the bound."""
    for horizon in (3, 10, 57, 200):
        schedule = of(**SHAPES[name])
        found = bound(schedule, horizon)
        for rate in np.geomspace(found.best_rate / 30, 30 * found.best_rate, 13):
            w = 1.0
            for step in range(horizon - 1):
                w -= rate * schedule.multiplier(step, horizon) * np.sign(w)
            assert abs(w) <= found.at(rate)


def test_along_a_run() -> None:
    schedule = of(shape="wsd", cooldown=0.25)
    found = bounds_along(schedule, 40, 0.3)
    assert found[-1] == pytest.approx(bound(schedule, 40).at(0.3))
    assert found[9] == pytest.approx(bound([1.0] * 10, 10).at(0.3))
    assert (np.diff(found[31:]) < 0).all() and found[-1] < 0.85 * found[29]
    ends = bounds_along(of(shape="step", at=[0.5], factor=0.0), 10, 0.3)
    assert np.isnan(ends).tolist() == [False] * 5 + [True] * 5


@pytest.mark.parametrize(
    ("schedule", "horizon", "said"),
    [([1.0], 0, "at least 1"), ([1.0], 2, "1 multipliers for 2 steps"), ([1.0, 0.0], 2, "above 0 in the last step")],
)
def test_what_has_no_bound_is_refused(schedule: list[float], horizon: int, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        bound(schedule, horizon)


def test_the_picture_has_a_curve_for_each_schedule() -> None:
    script = runpy.run_path(str(ROOT / "docs/figures/schedule_bound.py"))
    curves = {name: (0.1, np.linspace(2, 1, script["STEPS"] // script["EVERY"])) for name in script["SCHEDULES"]}
    theory, practice = script["bound_picture"](curves).axes
    assert len(theory.lines) == len(practice.lines) == 4
    ends = {line.get_label(): line.get_ydata()[-1] for line in theory.lines}
    assert all(label.endswith(f"{end:.3f}") for label, end in ends.items())
