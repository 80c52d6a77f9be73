"""Every law: its gradient, its starts, and whether its intervals hold what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom
from torch.utils.flop_counter import FlopCounterMode

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.annealing import ANNEALING, ANNEALING_CURVES, areas
from landsweep.sweeps.laws.base import Law
from landsweep.sweeps.laws.catalogue import LAWS, law_named
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.simulation import simulate
from landsweep.sweeps.laws.kaplan_steps import KAPLAN_STEPS
from landsweep.sweeps.laws.multi_power import MULTI_POWER
from landsweep.sweeps.laws.steps_batch import STEPS_BATCH
from landsweep.sweeps.laws.wall_clock import transformer_step

ALL = [*LAWS, *map(law_named, ("broken_power:2", "mixture_additive:3", "mixture_joint:3"))]
LARGE = ("broken_power:2", "mixture_joint:2", "mixture_additive:3", "mixture_joint:3")
every_law = pytest.mark.parametrize("law", ALL, ids=lambda law: law.name)
every_law_fitted = pytest.mark.parametrize(
    "law", [pytest.param(w, marks=pytest.mark.slow if w.name in LARGE else (), id=w.name) for w in ALL]
)
NOISE = 1e-3  # of log loss, as between seeds of one recipe


@every_law
def test_the_gradient_is_that_of_the_prediction(law: Law) -> None:
    true, x = law.example()
    x = law.prepare(x)
    random = np.random.default_rng(0)
    theta = true * np.exp(0.01 * random.standard_normal((4, len(true))))
    value, gradient = law.evaluate(theta, x)
    assert value.shape == (4, law.predict(theta, x).shape[1]) and gradient.shape == (4, len(true), value.shape[1])
    assert np.allclose(value, law.predict(theta, x), rtol=1e-12)
    for i in range(len(true)):
        step = 1e-5 * np.maximum(np.abs(theta[:, i]), 1e-3)
        ahead, back = theta.copy(), theta.copy()
        ahead[:, i] += step
        back[:, i] -= step
        slope = (law.predict(ahead, x) - law.predict(back, x)) / (2 * step[:, None])
        scale = np.abs(gradient[:, i]).max(1, keepdims=True)
        assert np.abs(slope - gradient[:, i]).max() <= 1e-5 * scale.max() + 1e-9 * (np.abs(value).max() / step.max())


@every_law_fitted
def test_intervals_hold_the_truth_as_often_as_stated(law: Law) -> None:
    theta, x = law.example()
    found = simulate(law, theta, law.prepare(x), noise=NOISE, runs=200)
    low, high = binom.ppf([5e-5, 1 - 5e-5], 200, 0.95) / 200
    assert found.covered.between(low, high).all(), found.to_string()
    assert (found.bias.abs() <= 0.5 * found.error).all(), found.to_string()


@every_law_fitted
def test_the_laws_own_starts_find_it(law: Law) -> None:
    """From a noisy table with its own starts: an objective no worse than from the truth, and the truth near."""
    theta, x = law.example()
    exact = law.predict(theta[None], law.prepare(x))[0]
    noisy = exact * np.exp(NOISE * np.random.default_rng(1).standard_normal(exact.shape))
    table = pd.DataFrame({**x, law.output.name: noisy})
    found = fit(law, table, objective="least-squares")
    known = fit(law, table, objective="least-squares", starts=theta)
    assert found.converged and not found.convergence.at_bound
    assert found.value <= known.value * (1 + 1e-6)
    for p in law.parameters:
        low, high = found.interval(p.name, 0.9999)
        assert low <= theta[law.index(p.name)] <= high, p.name


@every_law
def test_units_and_sources_are_stated(law: Law) -> None:
    assert law.source.startswith("arXiv") and law.formula and law.__class__.__doc__
    assert all(q.doc for q in (*law.inputs, law.output)) and all(p.doc for p in law.parameters)
    assert len({p.name for p in law.parameters}) == len(law.parameters)
    assert law_named(law.name).parameters == law.parameters
    derived = law.derived(law.example()[0][None])
    assert set(derived) == set(law.meanings)


def test_names_of_families() -> None:
    assert len(law_named("mixture_additive:5").inputs) == 7
    assert len(law_named("mixture_joint:8").parameters) == 37, "as arXiv 2507.09404 counts for eight domains"
    for wrong in ("mixture_additive:0", "mixture_additive:x", "mixture_additive:99", "power:2"):
        with pytest.raises(UsageError, match="there is no law"):
            law_named(wrong)


def test_areas_of_a_schedule_by_their_definition() -> None:
    rates = np.array([3.0, 3.0, 2.0, 1.0, 1.5])
    forward, annealed = areas(rates, 0.9)
    assert forward == pytest.approx([3, 6, 8, 9, 10.5])
    slow = [sum(0.9 ** (t - k) * (rates[k - 1] - rates[k]) for k in range(1, t + 1)) for t in range(5)]
    assert annealed == pytest.approx(np.cumsum(slow))
    assert areas(np.ones(7))[1] == pytest.approx(np.zeros(7))


def test_two_curves_of_the_annealing_law_predict_a_third_schedule() -> None:
    steps = np.arange(10_000)
    peak = 1e-3
    shapes = {
        "cosine": peak * (1 + np.cos(np.pi * steps / 10_000)) / 2,
        "constant": np.full(10_000, peak),
        "wsd": peak * np.clip((10_000 - steps) / 2_000, 0, 1),
    }
    true, at = np.array([2.0, 1.0, 0.2, 0.5]), np.arange(200, 10_000, 200)
    curves = {name: dict(zip(("S1", "S2"), (a[at] for a in areas(r)), strict=True)) for name, r in shapes.items()}
    table = pd.concat(
        [pd.DataFrame({**x, "loss": ANNEALING.predict(true[None], x)[0], "schedule": s}) for s, x in curves.items()]
    )
    found = fit(ANNEALING, table, holdout=["schedule == wsd"])
    assert found.held is not None and found.held.n == len(at) and found.held.worst < 1e-6


def test_a_dense_log_gives_the_areas_of_the_schedule() -> None:
    """Rows of every step are the definition; rows of every 50th, interpolated, are near it."""
    steps = np.arange(3001.0)
    rates = 1e-3 * (1 + np.cos(np.pi * steps / 3000)) / 2
    wanted = areas(rates)
    for every, tolerance in ((1, 1e-12), (50, 2e-3)):
        x = {"curve": np.zeros(len(steps[::every])), "step": steps[::every], "rate": rates[::every]}
        found = ANNEALING_CURVES.prepare(x)
        assert found["S1"] == pytest.approx(wanted[0][::every], rel=tolerance)
        assert found["S2"] == pytest.approx(wanted[1][::every], rel=tolerance, abs=1e-4)


def test_multi_power_of_a_schedule_by_its_definition() -> None:
    """The sum over every step's drop (arXiv 2503.12811), against rows of every step."""
    steps = np.arange(1.0, 401.0)
    rates = np.where(steps <= 100, 1e-2, 1e-2 * (1 - 0.9 * (steps - 100) / 300))
    law, theta = MULTI_POWER, np.array([2.0, 0.5, 0.4, 60.0, 1.5, 0.6, 0.5])
    x = law.prepare({"curve": np.zeros(400), "step": steps, "rate": rates})
    found = law.predict(theta[None], x)[0]
    floor, scale, alpha, gain, speed, beta, gamma = theta
    for t in (50, 150, 399):
        since = np.cumsum(rates[: t + 1][::-1])[::-1]  # from step k on, k included
        drops = [
            (rates[k - 1] - rates[k]) * (1 - (1 + speed * rates[k] ** -gamma * since[k]) ** -beta)
            for k in range(1, t + 1)
        ]
        exact = floor + scale * rates[: t + 1].sum() ** -alpha - gain * sum(drops)
        assert found[t] == pytest.approx(exact, rel=2e-3)


def test_laws_of_curves_take_names_of_runs_and_predict_from_schedules(tmp_path: Path) -> None:
    theta, x = ANNEALING_CURVES.example()
    loss = ANNEALING_CURVES.predict(theta[None], ANNEALING_CURVES.prepare(x))[0]
    names = np.where(x["curve"] == 0, "cosine", "constant")
    table = pd.DataFrame({**x, "curve": names, "loss": loss})
    table.to_csv(tmp_path / "curves.csv", index=False)
    found = fit(ANNEALING_CURVES, tmp_path / "curves.csv", exclude=["step < 1000"])
    assert found.theta == pytest.approx(theta, rel=1e-5)
    assert found.predict(table)["predicted"].to_numpy() == pytest.approx(loss, rel=1e-6)


def test_transformer_step_counts_its_products() -> None:
    """FLOPs against torch's own counter on the same products, forward; training is three times that."""
    layers, d, heads, context, batch, vocabulary = 2, 32, 4, 16, 3, 50
    tokens = batch * context
    with FlopCounterMode(display=False) as counter:
        for _ in range(layers):
            for rows, columns in ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)):
                torch.empty(tokens, rows) @ torch.empty(rows, columns)
            scores = torch.empty(batch * heads, context, d // heads) @ torch.empty(batch * heads, d // heads, context)
            scores @ torch.empty(batch * heads, context, d // heads)
        torch.empty(tokens, d) @ torch.empty(d, vocabulary)
    shapes = [np.array([float(v)]) for v in (layers, d, heads, context, batch, vocabulary)]
    assert transformer_step(*shapes)["flops"][0] == 3 * counter.get_total_flops()


def test_the_law_of_steps_and_batch_solves_its_equation_and_ends_in_that_of_steps() -> None:
    theta, x = STEPS_BATCH.example()
    loss = STEPS_BATCH.predict(theta[None], x)[0]
    scale_n, scale_s, a_n, a_s, batch, a_b = theta
    steps = x["S"] / (1 + batch / loss ** (1 / a_b) / x["B"])
    assert np.allclose(loss, (scale_n / x["N"]) ** a_n + (scale_s / steps) ** a_s, rtol=1e-12)
    large = {**x, "B": np.full_like(x["B"], 1e30)}
    assert np.allclose(STEPS_BATCH.predict(theta[None], large), KAPLAN_STEPS.predict(theta[None, :4], x), rtol=1e-12)
    tiny = {**x, "B": np.full_like(x["B"], 1e-3)}  # far below the critical batch, exponents at their bounds
    for row in ([1e3, 10, 1e-3, 5, 1e9, 0.01], [1e13, 1e6, 5, 1e-3, 1e-9, 10]):
        assert np.isfinite(STEPS_BATCH.predict(np.array([row]), tiny)).all()
