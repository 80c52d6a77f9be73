"""The optimal learning rate and batch against size and horizon."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid

__all__ = ["OPTIMAL_BATCH", "OPTIMAL_RATE", "OptimalSetting"]


class OptimalSetting(Law):
    """y = c N^p D^q: what is best for a model of N parameters, trained for D tokens.

    Published for the learning rate: 1.79 N^-0.713 D^0.307, N without vocabulary (arXiv 2503.04715), and p -0.23, q
    -0.32 (arXiv 2409.19913); they disagree even in the sign of q, because one tunes the batch along and the other
    does not. For the batch in tokens: 0.58 D^0.571 (arXiv 2503.04715), `--fixed p=0`. Give the optimum of each (N, D)
    as a row, from a parabola through the bracketed minimum, never a bare argmin of a coarse grid.
    """

    formula = "y = c N^p D^q"
    source = "arXiv 2409.19913, arXiv 2503.04715"
    inputs = (
        Quantity("N", "parameters", "size of the model"),
        Quantity("D", "tokens", "horizon: tokens of the whole run"),
    )

    def __init__(self, name: str, output: Quantity, published: tuple[float, float, float]) -> None:
        self.name = name  # type: ignore[misc]
        self.output = output
        self.formula = f"{output.name} = c N^p D^q"  # type: ignore[misc]
        self.parameters = (
            Parameter("c", f"value at N = D = 1, {output.unit}", log=True),
            Parameter("p", "exponent of size", low=-5, high=5),
            Parameter("q", "exponent of the horizon", low=-5, high=5),
        )
        self._published = published

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        log_n, log_d = np.log(x["N"]), np.log(x["D"])
        value = np.exp(np.log(column(theta, 0)) + column(theta, 1) * log_n + column(theta, 2) * log_d)
        return value, np.stack([value / column(theta, 0), value * log_n, value * log_d], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid([1.0], (-1.0, -0.3, 0.0, 0.5), (-0.5, 0.0, 0.5))
        vectors[:, 0] = centre(y) * centre(x["N"]) ** -vectors[:, 1] * centre(x["D"]) ** -vectors[:, 2]
        return vectors

    def example(self) -> tuple[Floats, Points]:
        size, tokens = np.meshgrid(np.geomspace(6e7, 1e9, 5), np.geomspace(2e9, 1e11, 5))
        return np.array(self._published), {"N": size.ravel(), "D": tokens.ravel()}


OPTIMAL_RATE = OptimalSetting("optimal_rate", Quantity("rate", "", "optimal learning rate"), (1.79, -0.713, 0.307))
OPTIMAL_BATCH = OptimalSetting("optimal_batch", Quantity("batch", "tokens", "optimal batch"), (0.58, 0.0, 0.571))
