"""Fine-tuning on a mixture: the loss on one domain by its own samples and by what the others are worth."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["TRANSFERRED_DATA", "TransferredData"]


class TransferredData(Law):
    """L = C (n0 + n + k m^a)^-b + E, the effective data of arXiv 2508.11953 as far as its abstract tells.

    n is the number of samples of the domain itself and m that of all others, whose worth is transferred as k m^a
    samples (arXiv 2102.01293). n0 stands for what pre-training is worth, so that the law holds without any samples.
    """

    name = "transferred_data"
    formula = "L = C (n0 + n + k m^a)^-b + E"
    source = "arXiv 2508.11953"
    inputs = (
        Quantity("n", "samples", "of the domain itself", positive=False),
        Quantity("m", "samples", "of all other domains", positive=False),
    )
    output = Quantity("loss", "nats per token", "loss on the domain after fine-tuning")
    parameters = (
        Parameter("C", "scale of the reducible loss", log=True),
        Parameter("b", "exponent of effective data", log=True, low=1e-3, high=10),
        Parameter("n0", "samples that pre-training is worth", log=True),
        Parameter("k", "worth of the other domains' samples", log=True),
        Parameter("a", "exponent of the other domains' samples", log=True, low=1e-2, high=5),
        Parameter("E", "irreducible loss, nats per token", low=0),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale, exponent, before, worth, power, floor = (column(theta, i) for i in range(6))
        with np.errstate(divide="ignore"):
            log_m = np.log(x["m"])
        others = worth * np.exp(power * log_m)  # 0 where there are none
        total = before + x["n"] + others
        value = np.exp(np.log(scale) - exponent * np.log(total))
        slope = -exponent * value / total
        by_power = slope * np.where(x["m"] > 0, others * np.where(x["m"] > 0, log_m, 0.0), 0.0)
        ones = np.ones_like(value)
        gradient = [value / scale, -value * np.log(total), slope, slope * others / worth, by_power, ones]
        return value + floor, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        most = float(max(x["n"].max(), x["m"].max()))
        floors = y.min() * np.array([0.3, 0.9])
        vectors = grid([1.0], [0.3, 0.8, 2.0], most * np.array([0.01, 0.3]), [0.03, 0.5], [0.5, 1.0], floors)
        vectors[:, 0] = np.maximum(y.max() - vectors[:, 5], 0.01 * y.max()) * vectors[:, 2] ** vectors[:, 1]
        return vectors

    def example(self) -> tuple[Floats, Points]:
        sizes = np.concatenate([[0.0], np.geomspace(50, 5e4, 9)])
        n, m = (values.ravel() for values in np.meshgrid(sizes, sizes))
        return np.array([9.0, 0.45, 300.0, 0.6, 0.8, 1.1]), {"n": n, "m": m}


TRANSFERRED_DATA = TransferredData()
