"""Kaplan's law of size, steps and batch size: whole learning curves at any batch size."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid

__all__ = ["STEPS_BATCH", "StepsBatch"]

_ROUNDS = 40  # of Newton's method, which comes from below and needs about ten


class StepsBatch(Law):
    """L = (Nc / N)^aN + (Sc / Smin)^aS with Smin = S / (1 + Bcrit / B) and Bcrit = Bstar / L^(1 / aB).

    The laws `kaplan_steps` and `critical_batch` in one (Kaplan et al., arXiv 2001.08361, section 5; arXiv 2403.06563).
    The loss stands on both sides; of the equation's solutions there is one, since the right side falls as it rises.
    """

    name = "steps_batch"
    formula = "L = (Nc/N)^aN + (Sc (1 + Bstar/(B L^(1/aB))) / S)^aS"
    source = "arXiv 2001.08361, arXiv 2403.06563"
    inputs = (
        Quantity("N", "parameters", "size without embeddings"),
        Quantity("S", "steps", "steps of the optimizer"),
        Quantity("B", "tokens", "batch size"),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("Nc", "parameters", log=True),
        Parameter("Sc", "steps", log=True),
        Parameter("aN", "exponent of size", low=1e-3, high=5),
        Parameter("aS", "exponent of steps", low=1e-3, high=5),
        Parameter("Bstar", "critical batch at a loss of 1 nat, tokens", log=True),
        Parameter("aB", "exponent of the critical batch", low=1e-2, high=10),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale_n, scale_s, a_n, a_s, batch, a_b = (column(theta, i) for i in range(6))
        ratio_n, ratio_s = np.log(scale_n) - np.log(x["N"]), np.log(scale_s) - np.log(x["S"])
        ratio_b = np.log(batch) - np.log(x["B"])

        def right_side(log_loss: Floats) -> tuple[Floats, Floats, Floats, Floats]:
            """Its logarithm, log(1 + Bcrit / B), the share of the steps in it, and that times the share of Bcrit."""
            more = np.logaddexp(0, ratio_b - log_loss / a_b)
            right = np.logaddexp(a_n * ratio_n, a_s * (ratio_s + more))
            share = np.exp(a_s * (ratio_s + more) - right)
            return right, more, share, share * a_s * expit(ratio_b - log_loss / a_b)

        log_loss = np.logaddexp(a_n * ratio_n, a_s * ratio_s)  # of an infinite batch: a lower bound
        for _round in range(_ROUNDS):  # u - log(right side at exp u) is concave and rises: no step goes past the root
            right, _, _, by_batch = right_side(log_loss)
            step = (right - log_loss) / (1 + by_batch / a_b)
            log_loss = log_loss + step
            if np.abs(step).max() < 1e-14:
                break
        _, more, share, by_batch = right_side(log_loss)
        gradient = [
            (1 - share) * a_n / scale_n,
            share * a_s / scale_s,
            (1 - share) * ratio_n,
            share * (ratio_s + more),
            by_batch / batch,
            by_batch * log_loss / a_b**2,
        ]
        value = np.exp(log_loss)
        return value, np.stack([value * g / (1 + by_batch / a_b) for g in gradient], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid(
            [0.0], [0.0], (0.05, 0.2, 0.7), (0.1, 0.3, 0.7, 1.5), (0.1, 1.0, 10.0), (0.1, 0.3, 1.0), (0.4, 0.8)
        )
        level, share = centre(y), vectors[:, 6]
        ratio = vectors[:, 4].copy()  # of the critical batch to the middle one
        vectors[:, 0] = centre(x["N"]) * (share * level) ** (1 / vectors[:, 2])
        vectors[:, 1] = centre(x["S"]) / (1 + ratio) * ((1 - share) * level) ** (1 / vectors[:, 3])
        vectors[:, 4] = ratio * centre(x["B"]) * level ** (1 / vectors[:, 5])
        return vectors[:, :6]

    def example(self) -> tuple[Floats, Points]:
        points = np.meshgrid(np.geomspace(1e5, 1e9, 5), np.geomspace(1e3, 1e6, 6), np.geomspace(1e4, 1e8, 5))
        size, steps, batch = (values.ravel() for values in points)
        return np.array([6.5e13, 2.1e3, 0.077, 0.76, 2e8, 0.21]), {"N": size, "S": steps, "B": batch}


STEPS_BATCH = StepsBatch()
