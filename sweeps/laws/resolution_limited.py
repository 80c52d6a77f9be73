"""The resolution-limited regime: the exponent tells the dimension of the data."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid

__all__ = ["RESOLUTION_LIMITED", "ResolutionLimited"]

_SMOOTHNESS = 4.0


class ResolutionLimited(Law):
    """L(x) = c x^(-4 / d) (Bahri et al., arXiv 2102.06701; Sharma and Kaplan, arXiv 2004.10802).

    x is the number of samples or of parameters, whichever is the limit; d is the dimension of the manifold of the
    data. The 4 holds for piecewise linear models and a loss that is quadratic near its minimum. It is a bound: data
    that are smoother than assumed give a larger exponent and so an apparent d below the true one.
    """

    name = "resolution_limited"
    formula = "L = c x^(-4/d)"
    source = "arXiv 2102.06701, arXiv 2004.10802"
    inputs = (Quantity("x", "samples or parameters", "what grows"),)
    output = Quantity("loss", "any", "held-out loss above the irreducible one")
    parameters = (
        Parameter("c", "loss at x = 1", log=True),
        Parameter("d", "dimension of the data", log=True, low=0.1, high=1e4),
    )
    meanings = {"alpha": "exponent 4/d"}  # noqa: RUF012 - never changed

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        log_x, d = np.log(x["x"]), column(theta, 1)
        value = np.exp(np.log(column(theta, 0)) - _SMOOTHNESS / d * log_x)
        return value, np.stack([value / column(theta, 0), value * log_x * _SMOOTHNESS / d**2], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid([1.0], (1, 2, 4, 8, 16, 64))
        vectors[:, 0] = centre(y) * centre(x["x"]) ** (_SMOOTHNESS / vectors[:, 1])
        return vectors

    def derived(self, theta: Floats) -> dict[str, Floats]:
        return {"alpha": _SMOOTHNESS / theta[:, 1]}

    def example(self) -> tuple[Floats, Points]:
        return np.array([3.0, 7.0]), {"x": np.geomspace(1e2, 1e6, 30)}


RESOLUTION_LIMITED = ResolutionLimited()
