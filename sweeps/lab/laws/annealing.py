"""Learning curves under any schedule of the learning rate: forward area and annealing area."""

from __future__ import annotations

import numpy as np

from sweeps.lab.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid

__all__ = ["ANNEALING", "Annealing", "areas"]


def areas(rates: Floats, momentum: float = 0.999) -> tuple[Floats, Floats]:
    """Forward area S1 and annealing area S2 after each step.

    Args:
        rates: learning rate of each step [T]; count a warm-up at the peak rate.
        momentum: lambda of the paper: how slowly an annealing step takes effect. Values from 0.99 to 0.9995 fit alike.

    Returns:
        S1_t = sum_{i <= t} eta_i and S2_t = sum_{i <= t} m_i with m_i = lambda m_{i-1} + eta_{i-1} - eta_i, each [T].
    """
    drops = np.concatenate([[0.0], rates[:-1] - rates[1:]])
    moments = np.empty_like(drops)
    held = 0.0
    for i, drop in enumerate(drops):
        held = momentum * held + drop
        moments[i] = held
    return np.cumsum(rates), np.cumsum(moments)


class Annealing(Law):
    """L = L0 + A S1^-alpha - C S2 at each step (Tissue et al., arXiv 2408.11029).

    S1 is the sum of learning rates so far, S2 the annealing area: `areas` computes both from the rates. One or two
    curves determine the law; it then predicts the curve of any other schedule with the same peak rate.
    """

    name = "annealing"
    formula = "L = L0 + A S1^-alpha - C S2"
    source = "arXiv 2408.11029"
    inputs = (
        Quantity("S1", "steps x rate", "forward area: sum of learning rates"),
        Quantity("S2", "steps x rate", "annealing area", positive=False),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("L0", "irreducible loss, nats per token", log=True),
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
        found = grid(y.min() * np.array([0.5, 0.8, 0.95]), [1.0], [0.05, 0.3, 1.0], [0.2, 0.5, 1.0])
        found[:, 1] = np.maximum(centre(y) - found[:, 0], 0.01 * centre(y)) * centre(x["S1"]) ** found[:, 3]
        return found

    def example(self) -> tuple[Floats, Points]:
        steps = np.arange(20_000)
        cosine = 2e-4 * (1 + np.cos(np.pi * steps / 20_000)) / 2
        picked = np.arange(999, 20_000, 500)
        curves = [np.stack(areas(rates))[:, picked] for rates in (cosine, np.full(20_000, 2e-4))]
        forward, annealed = np.concatenate(curves, axis=1)
        return np.array([2.628, 0.430, 0.411, 0.550]), {"S1": forward, "S2": annealed}


ANNEALING = Annealing()
