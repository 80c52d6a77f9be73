"""The rectified law of fine-tuning: a plateau before the power law."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["RECTIFIED", "Rectified"]


class Rectified(Law):
    """L(D) = B / (Dl + D^beta) + E (Lin et al., arXiv 2402.02314).

    D is the number of fine-tuning samples; Dl, the learned data size, is what pre-training is worth in the same units
    as D^beta. For D^beta << Dl the loss is flat, for D^beta >> Dl it is a power law with offset. The authors' project
    page writes (B / (Dl + D^beta) + E)^alpha; this is that with alpha = 1.
    """

    name = "rectified"
    formula = "L = B/(Dl + D^beta) + E"
    source = "arXiv 2402.02314"
    inputs = (Quantity("D", "samples", "size of the fine-tuning set"),)
    output = Quantity("loss", "nats per token", "loss after fine-tuning")
    parameters = (
        Parameter("B", "scale of the reducible loss", log=True),
        Parameter("Dl", "learned data size, unit of D^beta", log=True),
        Parameter("beta", "exponent of data", log=True, low=1e-3, high=10),
        Parameter("E", "irreducible loss, nats per token", low=0),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale, learned, beta, floor = (column(theta, i) for i in range(4))
        log_d = np.log(x["D"])
        total = np.logaddexp(np.log(learned), beta * log_d)  # logarithm of Dl + D^beta
        value = np.exp(np.log(scale) - total)
        gradient = [value / scale, -value * np.exp(-total), -value * np.exp(beta * log_d - total) * log_d]
        gradient.append(np.ones_like(value))
        return value + floor, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        turns = np.quantile(x["D"], (0.0, 0.25, 0.5, 0.75))
        vectors = grid([1.0], turns, (0.3, 0.6, 1.0, 1.5), y.min() * np.array([0.1, 0.6, 0.95]))
        vectors[:, 1] **= vectors[:, 2]
        smallest = x["D"].min() ** vectors[:, 2]
        vectors[:, 0] = np.maximum(y.max() - vectors[:, 3], 0.01 * y.max()) * (vectors[:, 1] + smallest)
        return vectors

    def example(self) -> tuple[Floats, Points]:
        return np.array([900.0, 400.0, 0.75, 1.2]), {"D": np.geomspace(30, 3e6, 80)}


RECTIFIED = Rectified()
