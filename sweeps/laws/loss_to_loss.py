"""Loss to loss: the same models, trained or tested on other data."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["LOSS_TO_LOSS", "LossToLoss"]


class LossToLoss(Law):
    """L_b = K (L_a - E_a)^kappa + E_b, a shifted power law (Brandfonbrener et al., arXiv 2411.12925).

    L_a and L_b are losses of the same models, or of models of equal compute, on two data sets. E_a and E_b are their
    irreducible losses, taken from a fit of each set where there is one: `--fixed "Ea=1.7,Eb=2.1"`.
    """

    name = "loss_to_loss"
    formula = "Lb = K (La - Ea)^kappa + Eb"
    source = "arXiv 2411.12925"
    inputs = (Quantity("La", "nats per token", "loss on the first data"),)
    output = Quantity("Lb", "nats per token", "loss on the second data")
    parameters = (
        Parameter("K", "scale", log=True),
        Parameter("kappa", "exponent", log=True, low=1e-2, high=20),
        Parameter("Ea", "irreducible loss on the first data, nats per token", low=0),
        Parameter("Eb", "irreducible loss on the second data, nats per token", low=0),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale, kappa, first, second = (column(theta, i) for i in range(4))
        with np.errstate(invalid="ignore", divide="ignore"):  # beyond the irreducible loss there is no prediction: nan
            log_rest = np.log(x["La"] - first)
            power = np.exp(kappa * log_rest)
            value = scale * power
            gradient = [power, value * log_rest, -value * kappa / (x["La"] - first), np.ones_like(value)]
        return value + second, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        shares = (0.0, 0.5, 0.8, 0.95)
        vectors = grid([1.0], (0.5, 1.0, 2.0), x["La"].min() * np.array(shares), y.min() * np.array(shares))
        rest = np.exp(np.mean(np.log(x["La"] - vectors[:, 2:3]), axis=1))
        vectors[:, 0] = np.mean(y - vectors[:, 3:4], axis=1) / rest ** vectors[:, 1]
        return vectors

    def example(self) -> tuple[Floats, Points]:
        return np.array([1.1, 1.3, 1.7, 1.4]), {"La": 1.7 + np.geomspace(0.06, 4, 120)}


LOSS_TO_LOSS = LossToLoss()
