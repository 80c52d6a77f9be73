"""Lottery-ticket ensembling: a wide network averages sub-networks, so its variance falls as one over the width."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["TICKET_ENSEMBLING", "TicketEnsembling"]


class TicketEnsembling(Law):
    """L(N, k) = bias + V / (N k) (Liu and Tegmark, arXiv 2310.02258).

    Each network of width N holds a number of winning tickets in proportion to N; their outputs are averaged, and by the
    central limit theorem the squared error falls as 1 / N, whatever the dimension of the input. Averaging the outputs
    of k networks of width N then does what one of width k N does: the law is tested by fitting k = 1 and holding out
    k > 1. Set k to 1 where networks are not averaged. The paper's own law is L ~ 1 / N of single networks; `bias` and k
    are added here. A later version of the paper calls its theory questionable and lets the measurements stand.
    """

    name = "ticket_ensembling"
    formula = "L = bias + V/(N k)"
    source = "arXiv 2310.02258"
    inputs = (
        Quantity("N", "neurons", "width of a network"),
        Quantity("k", "networks", "how many are averaged"),
    )
    output = Quantity("loss", "any", "mean squared error, mean over seeds")
    parameters = (
        Parameter("bias", "error of infinitely many tickets", low=0),
        Parameter("V", "variance of one ticket, times tickets per neuron", log=True),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        inverse = np.ones_like(column(theta, 0)) / (x["N"] * x["k"])
        return column(theta, 0) + column(theta, 1) * inverse, np.stack([np.ones_like(inverse), inverse], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        vectors = grid(y.min() * np.array([0.01, 0.5, 0.9]), [1.0])
        vectors[:, 1] = np.maximum(y.max() - vectors[:, 0], 0.01 * y.max()) * (x["N"] * x["k"]).min()
        return vectors

    def example(self) -> tuple[Floats, Points]:
        width, networks = np.meshgrid(np.geomspace(8, 1024, 8), (1.0, 2.0, 4.0, 8.0))
        return np.array([1e-4, 0.5]), {"N": width.ravel(), "k": networks.ravel()}


TICKET_ENSEMBLING = TicketEnsembling()
