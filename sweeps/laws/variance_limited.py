"""The variance-limited regime: loss falls with exponent one towards its value at infinite width or data."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["VARIANCE_LIMITED", "VarianceLimited"]


class VarianceLimited(Law):
    """L(x) = Linf + V / x (Bahri et al., arXiv 2102.06701).

    x is the width, where data are the limit, or the number of samples, where the model is. Linf is the loss at
    infinite x of the same data or the same model; it is not the irreducible loss. Compare with `power_offset`, whose
    exponent is free.
    """

    name = "variance_limited"
    formula = "L = Linf + V/x"
    source = "arXiv 2102.06701"
    inputs = (Quantity("x", "width or samples", "what grows"),)
    output = Quantity("loss", "any", "held-out loss")
    parameters = (
        Parameter("Linf", "loss at infinite x", low=0),
        Parameter("V", "loss above it at x = 1", log=True),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        inverse = np.ones_like(column(theta, 0)) / x["x"]
        return column(theta, 0) + column(theta, 1) * inverse, np.stack([np.ones_like(inverse), inverse], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid(y.min() * np.array([0.1, 0.5, 0.9, 0.99]), [1.0])
        vectors[:, 1] = np.maximum(y.max() - vectors[:, 0], 0.01 * y.max()) * x["x"].min()
        return vectors

    def example(self) -> tuple[Floats, Points]:
        return np.array([0.4, 12.0]), {"x": np.geomspace(16, 2048, 40)}


VARIANCE_LIMITED = VarianceLimited()
