"""Smoothly broken power laws: a power law whose exponent changes at breaks."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid, two_shares

__all__ = ["BROKEN_POWER", "BrokenPower"]


class BrokenPower(Law):
    """y = a + b x^-c0 prod_i (1 + (x / d_i)^(1 / f_i))^(-c_i f_i) (Caballero et al., arXiv 2210.14891).

    On logarithmic axes the reducible part has slope -c0 before the first break, -(c0 + c1) after it, and so on; f_i is
    the width of break i in units of log x, small f a sharp one.
    """

    source = "arXiv 2210.14891"
    inputs = (Quantity("x", "any", "size, data, compute or steps"),)
    output = Quantity("loss", "any", "loss or error")

    def __init__(self, breaks: int) -> None:
        self.name = "broken_power" + (f":{breaks}" if breaks > 1 else "")  # type: ignore[misc]
        self.formula = "L = a + b x^-c0 " + " ".join(  # type: ignore[misc]
            f"(1 + (x/d{i})^(1/f{i}))^(-c{i} f{i})" for i in range(1, breaks + 1)
        )
        self.breaks = breaks
        self.parameters = (
            Parameter("a", "irreducible part, unit of y", low=0),
            Parameter("b", "scale of the reducible part", log=True),
            Parameter("c0", "exponent before the first break", low=-10, high=10),
            *(
                p
                for i in range(1, breaks + 1)
                for p in (
                    Parameter(f"c{i}", f"change of exponent at break {i}", low=-10, high=10),
                    Parameter(f"d{i}", f"place of break {i}, unit of x", log=True),
                    Parameter(f"f{i}", f"width of break {i}, in log x", log=True, low=1e-3, high=20),
                )
            ),
        )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        log_x = np.log(x["x"])
        exponent = -column(theta, 2) * log_x
        parts = []
        for i in range(self.breaks):
            c, d, f = (column(theta, 3 + 3 * i + j) for j in range(3))
            u = (log_x - np.log(d)) / f
            soft, share = np.logaddexp(0, u), expit(u)
            exponent = exponent - c * f * soft
            parts += [-f * soft, c * share / d, -c * two_shares(u)]
        reducible = np.exp(np.log(column(theta, 1)) + exponent)
        by_scale = reducible / column(theta, 1)
        gradient = [np.ones_like(by_scale), by_scale, -reducible * log_x, *(reducible * p for p in parts)]
        return column(theta, 0) + reducible, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        places = np.quantile(np.log(x["x"]), np.linspace(0, 1, 2 * self.breaks + 3)[1:-1])
        slopes, changes = (0.1, 0.4, 1.0), (-0.3, 0.3, 1.0)
        if self.breaks > 1:
            slopes, changes = (0.2, 0.8, 0.2), (-0.3, 0.4, 0.4)
        axes: list[list[float]] = [[0.3 * y.min(), 0.95 * y.min()], [1.0], list(slopes)]
        for i in range(self.breaks):
            where = np.exp(places if self.breaks == 1 else places[2 * i : 2 * i + 2])
            axes += [list(changes), list(where), [0.2, 1.0]]
        vectors = np.unique(grid(*axes), axis=0)
        level = self.predict(vectors, {"x": np.array([centre(x["x"])])})[:, 0] - vectors[:, 0]
        vectors[:, 1] = np.maximum(centre(y) - vectors[:, 0], 0.01 * centre(y)) / level
        return vectors

    def example(self) -> tuple[Floats, Points]:
        one = [1.0, 40.0, 0.2, 0.5, 1e4, 0.4]
        points = {"x": np.geomspace(1e1, 1e8, 140)}
        return np.array(one if self.breaks == 1 else [*one, -0.5, 1e6, 0.3]), points


BROKEN_POWER = BrokenPower(1)
