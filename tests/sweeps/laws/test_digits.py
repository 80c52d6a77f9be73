"""Every law to nearly all digits, also at extreme parameters: against its formula in 60 decimal digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pandas as pd
import pytest

from landsweep.sweeps.laws.base import Floats, Law
from landsweep.sweeps.laws.catalogue import LAWS, law_named
from landsweep.sweeps.laws.data_constrained import DATA_CONSTRAINED
from landsweep.sweeps.laws.fitting.fit import fit
from landsweep.sweeps.laws.fitting.problem import Coordinates
from landsweep.sweeps.laws.fitting.text import fit_text

D = Decimal
Reference = Callable[[Sequence[Decimal], dict[str, Any]], Sequence[Decimal]]
"""The terms whose sum is the prediction at one point."""


def _broken(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    value = t[1] * x["x"] ** -t[2]
    for c, d, f in zip(t[3::3], t[4::3], t[5::3], strict=True):
        value *= (1 + (x["x"] / d) ** (1 / f)) ** (-c * f)
    return t[0], value


def _deceleration(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    scale, place, before, after, width = t
    ratio = x["t"] / place
    return (scale * ratio**-before * (1 + ratio ** (1 / width)) ** ((before - after) * width),)


def _constrained(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    e, a, b, alpha, beta, worth_n, worth_d = t
    optimal = (alpha * a / (beta * b)) ** (1 / alpha) * x["U"] ** (beta / alpha)
    unique_n, unique_d = min(x["N"], optimal), min(x["U"], x["D"])
    size = unique_n * (1 + worth_n * (1 - (-(x["N"] / unique_n - 1) / worth_n).exp()))
    data = unique_d * (1 + worth_d * (1 - (-(x["D"] / unique_d - 1) / worth_d).exp()))
    return e, a * size**-alpha, b * data**-beta


def _continual(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    floor, scale, alpha, gain_p, gain_c, shift, speed, beta = t
    gone = shift * (1 - (1 + speed * x["S1c"]) ** -beta)
    return floor, scale * (x["S1p"] + x["S1c"]) ** -alpha, -gain_p * x["S2p"], -gain_c * x["S2c"], gone


def _multi(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    floor, scale, alpha, gain, speed, beta, gamma = t
    falls = [
        -gain * d * (1 - (1 + speed * r**-gamma * s) ** -beta)
        for d, r, s in zip(x["drops"], x["after"], x["since"], strict=True)
    ]
    return floor, scale * x["S1"] ** -alpha, *falls


def _mixed(t: Sequence[Decimal], x: dict[str, Any]) -> Decimal:
    shares = [x[f"h{i + 1}"] for i in range(len(t) // 2)]
    return 1 / sum((c * h**g for c, g, h in zip(t[::2], t[1::2], shares, strict=True) if h), D(0))


def _joint(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    k = (len(t) - 5) // 4
    shares = [x[f"h{i + 1}"] for i in range(k)]
    a, b = (sum((s * h for s, h in zip(t[i : i + k], shares, strict=True)), D(0)) for i in (5, 5 + k))
    return t[0], a ** t[3] * x["N"] ** -t[1], b ** t[4] * x["D"] ** -t[2], _mixed(t[5 + 2 * k :], x)


def _features(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    alpha, beta, floor, learned, embedded, noise = t
    d, r = x["d"], x["r"]
    return (
        floor * d ** -(2 * alpha - max(D(0), 1 - 2 * beta)),
        learned * r ** (-(2 * alpha + 2 * beta - 1) / (2 * alpha)),
        embedded / d * r ** -(1 - 1 / (2 * alpha)),
        noise * r ** -(2 - 1 / (2 * alpha)),
    )


def _steps_batch(t: Sequence[Decimal], x: dict[str, Any]) -> Sequence[Decimal]:
    """The equation for the loss solved by Newton's method in its logarithm, from below."""
    sized = (t[0] / x["N"]) ** t[2]

    def right(u: Decimal) -> tuple[Decimal, Decimal, Decimal]:
        more = t[4] / x["B"] * (-u / t[5]).exp()
        stepped = (t[1] * (1 + more) / x["S"]) ** t[3]
        return (sized + stepped).ln(), stepped, stepped / (sized + stepped) * t[3] * more / (1 + more) / t[5]

    u = (sized + (t[1] / x["S"]) ** t[3]).ln()
    for _round in range(200):
        log, _, slope = right(u)
        step = (log - u) / (1 + slope)
        u += step
        if abs(step) < D("1e-50"):
            break
    return sized, right(u)[1]


REFERENCES: dict[str, Reference] = {
    "power": lambda t, x: (t[0] * x["x"] ** t[1],),
    "power_offset": lambda t, x: (t[0], (t[1] / x["x"]) ** t[2]),
    "kaplan_size": lambda t, x: ((t[0] / x["N"]) ** t[1],),
    "kaplan_data": lambda t, x: ((t[0] / x["D"]) ** t[1],),
    "kaplan_compute": lambda t, x: ((t[0] / x["C"]) ** t[1],),
    "kaplan_joint": lambda t, x: (((t[0] / x["N"]) ** (t[2] / t[3]) + t[1] / x["D"]) ** t[3],),
    "kaplan_offset": lambda t, x: (t[4], ((t[0] / x["N"]) ** (t[2] / t[3]) + t[1] / x["D"]) ** t[3]),
    "task_sigmoid": lambda t, x: (t[1], t[0] / (1 + (t[2] * (x["L"] - t[3])).exp())),
    "mixture_exponential:2": lambda t, x: (t[0], (t[1] * x["h1"] + t[2] * x["h2"]).exp()),
    "kaplan_steps": lambda t, x: ((t[0] / x["N"]) ** t[2], (t[1] / x["S"]) ** t[3]),
    "critical_batch": lambda t, x: (t[0] / x["loss"] ** (1 / t[1]),),
    "steps_to_target": lambda t, x: (t[0] * (1 + t[1] / x["batch"]),),
    "chinchilla": lambda t, x: (t[0], t[1] * x["N"] ** -t[3], t[2] * x["D"] ** -t[4]),
    "data_constrained": _constrained,
    "mixture_additive:2": lambda t, x: (
        t[0], _mixed(t[5:], x), t[1] * x["N"] ** -t[2], t[3] * x["D"] ** -t[4]
    ),
    "mixture_joint:2": _joint,
    "broken_power": _broken,
    "broken_power:2": _broken,
    "deceleration": _deceleration,
    "annealing": lambda t, x: (t[0], t[1] * x["S1"] ** -t[3], -t[2] * x["S2"]),
    "annealing_curves": lambda t, x: (t[0], t[1] * x["S1"] ** -t[3], -t[2] * x["S2"]),
    "multi_power": _multi,
    "continual": _continual,
    "transferred_data": lambda t, x: (t[0] * (t[2] + x["n"] + t[3] * x["m"] ** t[4]) ** -t[1], t[5]),
    "rectified": lambda t, x: (t[0] / (t[1] + x["D"] ** t[2]), t[3]),
    "loss_to_loss": lambda t, x: (t[0] * (x["La"] - t[2]) ** t[1], t[3]),
    "optimal_rate": lambda t, x: (t[0] * x["N"] ** t[1] * x["D"] ** t[2],),
    "optimal_batch": lambda t, x: (t[0] * x["N"] ** t[1] * x["D"] ** t[2],),
    "variance_limited": lambda t, x: (t[0], t[1] / x["x"]),
    "resolution_limited": lambda t, x: (t[0] * x["x"] ** (-4 / t[1]),),
    "random_features": _features,
    "ticket_ensembling": lambda t, x: (t[0], t[1] / (x["N"] * x["k"])),
    "steps_batch": _steps_batch,
    "two_stacks": lambda t, x: (t[0] * x["Ne"] ** -t[1] * x["Nd"] ** -t[2], t[3]),
    "wall_clock": lambda t, x: (t[0], t[1] * x["flops"], t[2] * x["moved"]),
}  # fmt: skip
every_law = pytest.mark.parametrize("law", [*LAWS, law_named("broken_power:2")], ids=lambda law: law.name)


def extreme(law: Law, seed: int, count: int = 8) -> Floats:
    """Parameter vectors [count, P]: the example's with some far away, at a bound or tiny."""
    random, coordinates = np.random.default_rng(seed), Coordinates.of(law)
    true = np.tile(coordinates.inside(law.example()[0][None]), (count, 1))
    wild = coordinates.inside(law.example()[0][None]) + random.choice([-30, -12, 5, 12, 30], true.shape)
    low, high = np.maximum(coordinates.low, -20), np.minimum(coordinates.high, 20)
    linear = np.where(random.random(true.shape) < 0.5, random.uniform(low, high, true.shape), 1e-9)
    moved = np.where(coordinates.log, wild, linear)
    phi = np.where(random.random(true.shape) < 0.4, moved, true)
    return coordinates.outside(np.clip(phi, coordinates.low, coordinates.high))


def at(x: dict[str, Any], place: int) -> dict[str, Any]:
    return {k: D(float(v[place])) if v.ndim == 1 else [D(float(w)) for w in v[place]] for k, v in x.items()}


@every_law
@pytest.mark.parametrize("seed", range(3))
def test_predictions_and_slopes_at_extreme_parameters(law: Law, seed: int) -> None:
    """To 1e-10 of the largest term; slopes by differences of 1e-25 in 60 digits, in units of parameter and term."""
    theta = extreme(law, seed)
    x = dict(law.prepare(law.example()[1]))
    if law.name == "loss_to_loss":
        theta[:, 2] = np.minimum(theta[:, 2], 0.999 * x["La"].min())
    n = len(next(iter(x.values())))
    places = np.random.default_rng(seed).choice(n, 4, replace=False)
    some = {k: v[places] for k, v in x.items()}
    with np.errstate(all="ignore"):
        values, slopes = law.evaluate(theta, some)
        assert np.allclose(values, law.predict(theta, some), rtol=1e-12, equal_nan=True)
    checked = 0
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 60, 10**9, -(10**9)
        for s, j in np.ndindex(values.shape):
            t, point = [D(float(v)) for v in theta[s]], at(some, j)
            terms = REFERENCES[law.name](t, point)
            size = max(abs(term) for term in terms)
            if not D("1e-280") < size < D("1e280"):
                continue
            assert abs(D(float(values[s, j])) - sum(terms)) <= D("1e-10") * size, (theta[s], point)
            for i, value in enumerate(t):
                step = abs(value) * D("1e-25") or D("1e-25")
                ahead = REFERENCES[law.name]([*t[:i], value + step, *t[i + 1 :]], point)
                slope = (sum(ahead) - sum(terms)) / step
                unit = size / max(abs(value), D("1e-9"))
                if abs(slope) < D("1e280") and np.isfinite(slopes[s, i, j]):
                    assert abs(D(float(slopes[s, i, j])) - slope) <= D("1e-9") * max(unit, abs(slope)), (i, theta[s])
            checked += 1
    assert checked >= 8


def repeated(worth: float) -> tuple[pd.DataFrame, Floats]:
    theta, x = DATA_CONSTRAINED.example()
    theta = np.array([*theta[:5], worth, worth])
    return pd.DataFrame({**x, "loss": DATA_CONSTRAINED.predict(theta[None], x)[0]}), theta


def test_a_worth_beyond_all_repetitions_changes_nothing_and_is_reported() -> None:
    """1 - exp(-x / R) by subtraction is 0, x / R or 2 x / R for R around 1e16; the law is constant there."""
    table, theta = repeated(1e9)
    x = {name: table[name].to_numpy() for name in ("N", "D", "U")}
    far = np.tile(theta, (3, 1))
    far[:, 5:] = [[1e9], [1e16], [1e17]]
    values = DATA_CONSTRAINED.predict(far, x)
    assert np.ptp(values, axis=0).max() < 1e-6 * values.min()
    noisy = table.assign(loss=table.loss * np.exp(1e-3 * np.random.default_rng(0).standard_normal(len(table))))
    told = fit(DATA_CONSTRAINED, noisy, starts=theta)
    either = (*told.convergence.at_bound, *told.convergence.open_high)
    assert {"RN", "RD"} <= set(either)
    assert "RN" in (text := fit_text(told)).partition("warning")[2] and "RD" in text.partition("warning")[2]
    for name in ("RN", "RD"):
        assert np.isnan(told.interval(name)).all() or told.interval(name)[1] > 9e8
