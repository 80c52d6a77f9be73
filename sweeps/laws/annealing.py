"""Learning curves under any schedule of the learning rate: forward area and annealing area."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid
from landsweep.sweeps.laws.fitting.curve_rows import SUM_BEFORE, abrupt, curves, given_before, notes

__all__ = ["ANNEALING", "ANNEALING_CURVES", "Annealing", "AnnealingCurves", "areas"]


def areas(rates: Floats, momentum: float = 0.999) -> tuple[Floats, Floats]:
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
        forward, annealed = np.empty_like(x["rate"]), np.empty_like(x["rate"])
        for rows in curves(x):
            at, rates = x["step"][rows].astype(int), x["rate"][rows]
            sudden = np.flatnonzero(abrupt(x["step"][rows], rates) & (np.diff(at) > 1))
            knots = np.insert(at, sudden + 1, at[sudden + 1] - 1), np.insert(rates, sudden + 1, rates[sudden])
            both = areas(np.interp(np.arange(at[-1] + 1), *knots))
            before = given_before(x, rows)
            shift = 0.0 if before is None else before - at[0] * rates[0]
            forward[rows], annealed[rows] = both[0][at] + shift, both[1][at]
        return {"S1": forward, "S2": annealed}

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
