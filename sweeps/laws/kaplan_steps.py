"""Kaplan's law of size and steps: learning curves of models that see each token once."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid

__all__ = ["KAPLAN_STEPS", "KaplanSteps"]


class KaplanSteps(Law):
    """L(N, S) = (Nc / N)^aN + (Sc / S)^aS (Kaplan et al., arXiv 2001.08361, equation 1.6).

    S is the least number of steps, as if trained far above the critical batch: S = steps / (1 + B_crit(L) / B), see
    the law `critical_batch`. Published (table 3): aN 0.077, aS 0.76, Nc 6.5e13 parameters without embeddings, Sc 2.1e3
    steps; these differ from the constants of the laws of one variable and of size and data.
    """

    name = "kaplan_steps"
    formula = "L = (Nc/N)^aN + (Sc/S)^aS"
    source = "arXiv 2001.08361"
    inputs = (Quantity("N", "parameters", "size without embeddings"), Quantity("S", "steps", "least number of steps"))
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("Nc", "parameters", log=True),
        Parameter("Sc", "steps", log=True),
        Parameter("aN", "exponent of size", low=1e-3, high=5),
        Parameter("aS", "exponent of steps", low=1e-3, high=5),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale_n, scale_s, a_n, a_s = (column(theta, i) for i in range(4))
        log_n, log_s = np.log(scale_n) - np.log(x["N"]), np.log(scale_s) - np.log(x["S"])
        by_size, by_steps = np.exp(a_n * log_n), np.exp(a_s * log_s)
        gradient = [by_size * a_n / scale_n, by_steps * a_s / scale_s, by_size * log_n, by_steps * log_s]
        return by_size + by_steps, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid([0.0], [0.0], (0.05, 0.1, 0.3, 1.0), (0.1, 0.3, 0.7, 1.5), (0.3, 0.7, 0.95))
        level, share = centre(y), vectors[:, 4]
        vectors[:, 0] = centre(x["N"]) * (share * level) ** (1 / vectors[:, 2])
        vectors[:, 1] = centre(x["S"]) * ((1 - share) * level) ** (1 / vectors[:, 3])
        return vectors[:, :4]

    def example(self) -> tuple[Floats, Points]:
        size, steps = np.meshgrid(np.geomspace(1e5, 1e9, 9), np.geomspace(1e3, 1e6, 9))
        return np.array([6.5e13, 2.1e3, 0.077, 0.76]), {"N": size.ravel(), "S": steps.ravel()}


KAPLAN_STEPS = KaplanSteps()
