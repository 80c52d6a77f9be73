"""Kaplan's law of size and data together: when a model of a given size overfits."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid, two_shares

__all__ = ["KAPLAN_JOINT", "KaplanJoint"]


class KaplanJoint(Law):
    """L(N, D) = [(Nc / N)^(aN / aD) + Dc / D]^aD (Kaplan et al., arXiv 2001.08361, equation 1.5).

    For models that are trained until they stop improving on a set of D tokens. Published (table 2): aN 0.076, aD 0.103,
    Nc 6.4e13 parameters without embeddings, Dc 1.8e13 tokens.
    """

    name = "kaplan_joint"
    formula = "L = ((Nc/N)^(aN/aD) + Dc/D)^aD"
    source = "arXiv 2001.08361"
    inputs = (
        Quantity("N", "parameters", "size without embeddings"),
        Quantity("D", "tokens", "size of the training set"),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters: tuple[Parameter, ...] = (
        Parameter("Nc", "parameters", log=True),
        Parameter("Dc", "tokens", log=True),
        Parameter("aN", "exponent of size", low=1e-3, high=5),
        Parameter("aD", "exponent of data", low=1e-3, high=5),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale_n, scale_d, a_n, a_d = (column(theta, i) for i in range(4))
        log_n, log_d = np.log(scale_n) - np.log(x["N"]), np.log(scale_d) - np.log(x["D"])
        by_size, by_data = log_n * a_n / a_d, log_d  # logarithms of the two terms
        inner = np.logaddexp(by_size, by_data)
        value = np.exp(a_d * inner)
        share_n, share_d = np.exp(by_size - inner), np.exp(by_data - inner)
        gradient = [
            value * share_n * a_n / scale_n,
            value * share_d * a_d / scale_d,
            value * share_n * log_n,
            value * (share_d * by_data + two_shares(by_size - by_data)),
        ]
        return value, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        exponents = (0.05, 0.1, 0.2, 0.5, 1.0)
        vectors = grid([0.0], [0.0], exponents, exponents, (0.1, 0.5, 0.9))
        level, share = centre(y), vectors[:, 4]
        a_n, a_d = vectors[:, 2], vectors[:, 3]
        vectors[:, 0] = centre(x["N"]) * (share * level ** (1 / a_d)) ** (a_d / a_n)
        vectors[:, 1] = centre(x["D"]) * (1 - share) * level ** (1 / a_d)
        return vectors[:, :4]

    def example(self) -> tuple[Floats, Points]:
        size, data = np.meshgrid(np.geomspace(1e5, 1e9, 9), np.geomspace(2e7, 2e10, 9))
        return np.array([6.4e13, 1.8e13, 0.076, 0.103]), {"N": size.ravel(), "D": data.ravel()}


KAPLAN_JOINT = KaplanJoint()
