"""Power laws of one variable, with and without an offset."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid

__all__ = ["POWER", "POWER_OFFSET", "Power", "PowerOffset"]

_EXPONENTS = (-2.0, -1.0, -0.5, -0.2, -0.05, 0.05, 0.2, 0.5, 1.0, 2.0)


class Power(Law):
    """y = c x^p, a line in logarithms; p < 0 for losses, p > 0 for optimal sizes.

    Fitted by least squares of log y with weights 1 / variance it is the estimator of arXiv 2406.19146 for N*(C).
    """

    name = "power"
    formula = "y = c x^p"
    source = "arXiv 1712.00409, arXiv 2406.19146"
    inputs = (Quantity("x", "any", "size, data, compute or steps"),)
    output = Quantity("y", "any", "loss, or what is optimal at x")
    parameters = (
        Parameter("c", "value at x = 1", log=True),
        Parameter("p", "exponent", low=-20, high=20),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        log_x = np.log(x["x"])
        value = np.exp(np.log(column(theta, 0)) + column(theta, 1) * log_x)
        return value, np.stack([value / column(theta, 0), value * log_x], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        middle, level = centre(x["x"]), centre(y)
        return np.array([(level * middle**-p, p) for p in _EXPONENTS])

    def example(self) -> tuple[Floats, Points]:
        return np.array([0.09, 0.5]), {"x": np.geomspace(1e15, 1e20, 30)}


class PowerOffset(Law):
    """L = Linf + (x0 / x)^alpha (Henighan et al., arXiv 2010.14701); Linf is the irreducible loss."""

    name = "power_offset"
    formula = "L = Linf + (x0/x)^alpha"
    source = "arXiv 2010.14701"
    inputs = (Quantity("x", "any", "size, data, compute or steps"),)
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("Linf", "irreducible loss, unit of the loss", low=0),
        Parameter("x0", "where the reducible loss is 1, unit of x", log=True),
        Parameter("alpha", "exponent", low=1e-3, high=20),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        ratio = np.log(column(theta, 1)) - np.log(x["x"])
        alpha = column(theta, 2)
        reducible = np.exp(alpha * ratio)
        by_scale = reducible * alpha / column(theta, 1)
        return column(theta, 0) + reducible, np.stack([np.ones_like(reducible), by_scale, reducible * ratio], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        middle, level, lowest = centre(x["x"]), centre(y), y.min()
        vectors = grid(lowest * np.array([0.01, 0.5, 0.8, 0.95, 0.99]), [0.0], [0.05, 0.1, 0.2, 0.5, 1.0, 2.0])
        vectors[:, 1] = middle * np.maximum(level - vectors[:, 0], 1e-3 * level) ** (1 / vectors[:, 2])
        return vectors

    def example(self) -> tuple[Floats, Points]:
        return np.array([2.0, 5e4, 0.2]), {"x": np.geomspace(1e4, 1e9, 60)}


POWER = Power()
POWER_OFFSET = PowerOffset()
