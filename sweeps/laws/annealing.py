"""Learning curves under any schedule of the learning rate: forward area and annealing area."""

from __future__ import annotations

import math

import numpy as np

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid
from landsweep.sweeps.laws.fitting.curve_rows import SUM_BEFORE, Curves, notes

__all__ = ["ANNEALING", "ANNEALING_CURVES", "Annealing", "AnnealingCurves", "areas"]

_MOMENTUM = 0.999


def areas(rates: Floats, momentum: float = _MOMENTUM) -> tuple[Floats, Floats]:
    """Forward area S1 and annealing area S2 after each step.

    Args:
        rates: learning rate of each step [T]; count a warm-up at the peak rate.
        momentum: lambda of the paper: how slowly an annealing step takes effect. Values from 0.99 to 0.9995 fit alike.

    Returns:
        S1_t = sum_{i <= t} eta_i and S2_t = sum_{i <= t} m_i with m_i = lambda m_{i-1} + eta_{i-1} - eta_i, each [T].
    """
    from scipy.signal import lfilter  # here: it is slow to import, and every scaling spec comes by this file

    drops = np.concatenate([[0.0], rates[:-1] - rates[1:]])
    moments = lfilter([1.0], [1.0, -momentum], drops)
    return np.cumsum(rates), np.cumsum(moments)


class Annealing(Law):
    """L = L0 + A S1^-alpha - C S2 at each step (Tissue et al., arXiv 2408.11029).

    S1 is the sum of learning rates so far, S2 the annealing area: `areas` computes both from the rates. One or two
    curves determine the law; it then predicts the curve of any other schedule with the same peak rate.
    """

    name = "annealing"
    formula = "L = L0 + A S1^-alpha - C S2"
    source = "arXiv 2408.11029"
    inputs: tuple[Quantity, ...] = (
        Quantity("S1", "steps x rate", "forward area: sum of learning rates"),
        Quantity("S2", "steps x rate", "annealing area", positive=False),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("L0", "irreducible loss, nats per token", low=0),
        Parameter("A", "loss at S1 = 1, nats", log=True),
        Parameter("C", "gain of annealing, nats per unit of S2", log=True),
        Parameter("alpha", "exponent of the forward area", low=0, high=10),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        term, by_scale, by_exponent = decay(column(theta, 1), column(theta, 3), np.log(x["S1"]))
        ones = np.ones_like(term)
        gradient = np.stack([ones, by_scale, -x["S2"] * ones, by_exponent], axis=1)
        return column(theta, 0) + term - column(theta, 2) * x["S2"], gradient

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid(y.min() * np.array([0.5, 0.8, 0.95]), [1.0], [0.05, 0.3, 1.0], [0.2, 0.5, 1.0])
        vectors[:, 1] = np.maximum(centre(y) - vectors[:, 0], 0.01 * centre(y)) * centre(x["S1"]) ** vectors[:, 3]
        return vectors

    def example(self) -> tuple[Floats, Points]:
        steps = np.arange(20_000)
        cosine = 2e-4 * (1 + np.cos(np.pi * steps / 20_000)) / 2
        picked = np.arange(999, 20_000, 500)
        curves = [np.stack(areas(rates))[:, picked] for rates in (cosine, np.full(20_000, 2e-4))]
        forward, annealed = np.concatenate(curves, axis=1)
        return np.array([2.628, 0.430, 0.411, 0.550]), {"S1": forward, "S2": annealed}


class AnnealingCurves(Annealing):
    """The law `annealing` for logged curves: rows with `curve`, `step` and `rate` instead of the areas.

    Between two rows of a curve the rate is taken to change linearly; where it falls once, between rows at which it
    stays, at the step of the later row. Before the first row it is taken to be constant, so that a warm-up counts at
    the peak, as in the paper; `sum_before` gives the sum of rates before the first row where that is not wanted. Both
    areas need all rows of a curve up to a point; they are computed before rows are excluded, and rows without a loss
    may bring more of the schedule.
    """

    name = "annealing_curves"
    inputs = (
        Quantity("curve", "", "which rows belong to one run", positive=False, label=True),
        Quantity("step", "steps", "training step, from 0", positive=False),
        Quantity("rate", "", "learning rate at this step", positive=False),
        SUM_BEFORE,
    )

    def prepare(self, x: Points) -> Points:
        curves = Curves.of(x)
        at, rate = np.trunc(curves.step), curves.rate
        if len(at) and at.min() < 0:
            raise UsageError(f"step is {at.min():g} in one row; steps count from 0")
        gap, change = curves.since(at), curves.since(rate)
        faded = -np.expm1(gap * math.log(_MOMENTUM)) / (1 - _MOMENTUM)  # 1 + lambda + ... over the steps of the gap
        once, each = curves.abrupt() | (gap == 0), -change / np.maximum(gap, 1)
        drop = np.where(at > 0, -change, 0.0)  # the first step of all has no drop
        moments = curves.running(np.where(once, drop, each * faded), 1 - (1 - _MOMENTUM) * faded)
        own = np.where(once, drop, each * (gap - _MOMENTUM * faded) / (1 - _MOMENTUM))
        inherited = _MOMENTUM * faded * curves.before(moments)
        annealed = curves.running(np.where(curves.first, 0.0, inherited + own))
        left, before = curves.before(rate), curves.given_before(x)
        gained = np.where(once, (gap - 1) * left + rate, gap * left + change * (gap + 1) / 2)
        begin = (at + 1) * rate if before is None else before[curves.number] + rate
        forward = curves.running(np.where(curves.first, begin, gained))
        step = np.cumsum(curves.first | (gap > 0))
        last = np.searchsorted(step, step, "right") - 1  # rows within one step share what it ends with
        forward, annealed = forward[last], annealed[last]
        return {"S1": curves.in_table(forward), "S2": curves.in_table(annealed)}

    def notes(self, x: Points) -> list[str]:
        return notes(x, peak=True)

    def example(self) -> tuple[Floats, Points]:
        step = np.arange(500, 20_001, 500.0)
        cosine = 2e-4 * (1 + np.cos(np.pi * (step - 500) / 19_500)) / 2
        rates = np.concatenate([cosine, np.full(len(step), 2e-4)])
        curve = np.repeat([0.0, 1.0], len(step))
        return np.array([2.628, 0.430, 0.411, 0.550]), {"curve": curve, "step": np.tile(step, 2), "rate": rates}


ANNEALING = Annealing()
ANNEALING_CURVES = AnnealingCurves()
