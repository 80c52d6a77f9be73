"""The power-law random-feature model: its phases, its exponents, and the law of its loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid

__all__ = ["RANDOM_FEATURES", "Component", "RandomFeatures", "components", "compute_optimal", "phase"]


@dataclass(frozen=True, slots=True)
class Component:
    """A part of the loss that falls as d^-by_size r^-by_steps.

    Attributes:
        name: `floor` (no model of size d does better), `learned` (F_pp: what population gradient flow has yet to
            learn), `embedded` (F_ac: distorted by the random features), `noise` (K_pp: of the stochastic gradient).
        by_size: exponent of the number of features d.
        by_steps: exponent of the number of steps r.
    """

    name: str
    by_size: float
    by_steps: float


def _check(alpha: float, beta: float) -> None:
    if alpha <= 0 or 2 * (alpha + beta) <= 1:
        raise UsageError(
            f"alpha {alpha:g}, beta {beta:g}: the model needs alpha > 0 and alpha + beta > 1/2 (finite loss)"
        )


def components(alpha: float, beta: float) -> tuple[Component, ...]:
    """What the loss of one-pass SGD on the model is made of (Paquette et al., arXiv 2405.15074).

    Data have variances j^(-2 alpha), the target has coefficients j^-beta. For 2 alpha > 1 the learning rate is
    constant; below, it must fall as d^(2 alpha - 1) with the trace of the covariance, which makes the steps' terms
    depend on d.

    Raises:
        UsageError: the loss of the model is infinite.
    """
    _check(alpha, beta)
    rate = min(0.0, 2 * alpha - 1)  # exponent of the learning rate in d
    terms = [Component("floor", 2 * alpha - max(0.0, 1 - 2 * beta), 0.0)]
    learned = (2 * alpha + 2 * beta - 1) / (2 * alpha)
    terms.append(Component("learned", rate * learned, learned))
    if 2 * alpha > 1 and 2 * beta > 1:
        embedded = 1 - 1 / (2 * alpha)
        terms.append(Component("embedded", 1.0, embedded))
    if 4 * alpha > 1:
        noise = 2 - 1 / (2 * alpha)
        terms.append(Component("noise", rate * (noise - 1), noise))
    return tuple(terms)


def compute_optimal(alpha: float, beta: float) -> tuple[float, float]:
    """Exponents at the best size for a compute budget f = d r: loss ~ f^-first, d ~ f^second.

    With d = f^x the loss falls as f^-y, y being the smallest exponent of all components; a linear program finds the x
    at which y is largest. In each phase this gives the closed form of arXiv 2405.15074.

    Raises:
        UsageError: the loss of the model is infinite.
    """
    lines = [(c.by_size - c.by_steps, c.by_steps) for c in components(alpha, beta)]  # y <= slope x + offset
    below = [[-slope, 1.0] for slope, _ in lines]
    from scipy.optimize import linprog  # here, as it is slow to import

    program = linprog([0.0, -1.0], A_ub=below, b_ub=[offset for _, offset in lines], bounds=[(0, 1), (None, None)])
    return float(program.x[1]), float(program.x[0])


def phase(alpha: float, beta: float) -> str:
    """The phase Ia, Ib, Ic, II, III, IVa or IVb of arXiv 2405.15074: what limits the loss at the best size.

    Ia to Ic: capacity; II: capacity, then embedding of the features; III: embedding, then noise; IV: capacity and
    noise.

    Raises:
        UsageError: the loss of the model is infinite.
    """
    _check(alpha, beta)
    if 2 * alpha > 1:
        if 2 * beta < 1:
            return "Ia"
        return "II" if beta < alpha else "III"
    if 2 * beta < 1:
        return "Ib"
    if 4 * alpha < 1:
        return "Ic"
    return "IVa" if alpha > 1 - np.sqrt(0.5) else "IVb"


class RandomFeatures(Law):
    """The loss of one-pass SGD on the random-feature model (Paquette et al., arXiv 2405.15074), for 2 alpha > 1.

        L(d, r) = c0 d^-(2 alpha - max(0, 1 - 2 beta)) + cp r^-(2 alpha + 2 beta - 1)/(2 alpha)
                  + ce d^-1 r^-(1 - 1/(2 alpha)) + cn r^-(2 - 1/(2 alpha))

    d features, r steps at a constant learning rate. The four terms are `components`; the third is absent for 2 beta <
    1: then give `--fixed ce=0`. Where alpha and beta are known, as in a simulation, fix them as well.
    """

    name = "random_features"
    formula = "L = c0 d^-(2 alpha - max(0, 1 - 2 beta)) + cp r^-p + ce d^-1 r^-e + cn r^-n"
    source = "arXiv 2405.15074"
    inputs = (Quantity("d", "features", "size of the model"), Quantity("r", "steps", "of one-pass SGD"))
    output = Quantity("loss", "any", "population loss")
    parameters = (
        Parameter("alpha", "decay of the data: standard deviations j^-alpha", low=0.5001, high=10),
        Parameter("beta", "decay of the target: coefficients j^-beta", low=-5, high=10),
        Parameter("c0", "scale of the floor", log=True),
        Parameter("cp", "scale of what is not yet learned", log=True),
        Parameter("ce", "scale of the distortion by the features", log=True),
        Parameter("cn", "scale of the gradient's noise", log=True),
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "eta": "loss ~ (d r)^-eta at the best size",
        "xi": "best size ~ (d r)^xi",
    }

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        alpha, beta, floor, learned, embedded, noise = (column(theta, i) for i in range(6))
        log_d, log_r = np.log(x["d"]), np.log(x["r"])
        easy = 2 * beta < 1
        exponents = (
            (np.where(easy, 2 * alpha + 2 * beta - 1, 2 * alpha), 2.0, np.where(easy, 2.0, 0.0), log_d, 0.0),
            ((2 * alpha + 2 * beta - 1) / (2 * alpha), (1 - 2 * beta) / (2 * alpha**2), 1 / alpha, log_r, 0.0),
            (1 - 1 / (2 * alpha), 1 / (2 * alpha**2), 0.0, log_r, log_d),
            (2 - 1 / (2 * alpha), 1 / (2 * alpha**2), 0.0, log_r, 0.0),
        )
        value, by_alpha, by_beta, by_scale = 0.0, 0.0, 0.0, []
        for scale, (exponent, slope_a, slope_b, log_x, shift) in zip(
            (floor, learned, embedded, noise), exponents, strict=True
        ):
            term = np.exp(np.log(scale) - exponent * log_x - shift)
            value, by_alpha, by_beta = value + term, by_alpha - slope_a * log_x * term, by_beta - slope_b * log_x * term
            by_scale.append(term / scale)
        return np.asarray(value), np.stack([by_alpha, by_beta, *by_scale], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid((0.6, 1.0, 1.5), (0.2, 0.6, 0.9, 1.3), [1.0], [1.0], (1e-6, 1.0), (1e-6, 1.0))
        at = {name: np.array([centre(v)]) for name, v in x.items()}
        vectors[:, 2:] *= centre(y) / self.predict(vectors, at)
        return vectors

    def derived(self, theta: Floats) -> dict[str, Floats]:
        pairs = np.array([compute_optimal(a, b) if 2 * (a + b) > 1 else (np.nan, np.nan) for a, b in theta[:, :2]])
        return {"eta": pairs[:, 0], "xi": pairs[:, 1]}

    def example(self) -> tuple[Floats, Points]:
        size, steps = np.meshgrid(np.geomspace(32, 4096, 10), np.geomspace(10, 1e6, 16))
        return np.array([1.0, 0.7, 0.5, 1.0, 2.0, 3.0]), {"d": size.ravel(), "r": steps.ravel()}


RANDOM_FEATURES = RandomFeatures()
