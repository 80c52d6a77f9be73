"""The Chinchilla law: loss against parameters and tokens, and the optimal division of a compute budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid

__all__ = ["CHINCHILLA", "Chinchilla"]


class Chinchilla(Law):
    """L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al., arXiv 2203.15556, approach 3).

    N counts parameters, D training tokens, L is the loss in nats per token. The starts are the paper's 4,500. With the
    usual count C = k N D, k = 6 FLOPs per parameter and token, the loss at fixed C is lowest at

        N = G (C / k)^a,  D = (C / k)^b / G,  a = beta / (alpha + beta),  b = alpha / (alpha + beta),
        G = (alpha A / (beta B))^(1 / (alpha + beta)).
    """

    name = "chinchilla"
    formula = "L = E + A/N^alpha + B/D^beta"
    source = "arXiv 2203.15556"
    inputs = (
        Quantity("N", "parameters", "size of the model"),
        Quantity("D", "tokens", "tokens seen in training"),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("E", "irreducible loss, nats per token", low=0),
        Parameter("A", "loss of one parameter, nats", log=True),
        Parameter("B", "loss of one token, nats", log=True),
        Parameter("alpha", "exponent of size", low=0, high=5),
        Parameter("beta", "exponent of data", low=0, high=5),
    )
    meanings: ClassVar[Mapping[str, str]] = {
        "a": "N_opt ~ C^a",
        "b": "D_opt ~ C^b",
        "G": "N_opt = G (C/6)^a, D_opt = (C/6)^b / G",
    }

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        log_n, log_d = np.log(x["N"]), np.log(x["D"])
        gradient = np.empty((*theta.shape, log_n.size))
        size, data = gradient[:, 1], gradient[:, 2]
        np.exp(np.multiply(column(theta, 3), -log_n, out=size), out=size)
        np.exp(np.multiply(column(theta, 4), -log_d, out=data), out=data)
        gradient[:, 0] = 1
        by_size, by_data = column(theta, 1) * size, column(theta, 2) * data
        np.multiply(by_size, -log_n, out=gradient[:, 3])
        np.multiply(by_data, -log_d, out=gradient[:, 4])
        by_size += by_data
        by_size += column(theta, 0)
        return by_size, gradient

    def predict(self, theta: Floats, x: Points) -> Floats:
        size = column(theta, 1) * np.exp(-column(theta, 3) * np.log(x["N"]))
        data = column(theta, 2) * np.exp(-column(theta, 4) * np.log(x["D"]))
        return np.asarray(column(theta, 0) + size + data)

    def starts(self, x: Points, y: Floats) -> Floats:
        del x, y
        scales, offsets, exponents = np.arange(0, 30, 5.0), np.arange(-1, 1.5, 0.5), np.arange(0, 2.5, 0.5)
        return grid(np.exp(offsets), np.exp(scales), np.exp(scales), exponents, exponents)

    def example(self) -> tuple[Floats, Points]:
        budgets, sizes = np.meshgrid(np.geomspace(1e18, 1e22, 12), np.geomspace(0.1, 10, 12), indexing="ij")
        size = 0.1 * np.sqrt(budgets / 6) * sizes
        return np.array([1.8172, 482.01, 2085.43, 0.3478, 0.3658]), {
            "N": size.ravel(), "D": (budgets / 6 / size).ravel()
        }  # fmt: skip

    def derived(self, theta: Floats) -> dict[str, Floats]:
        a, b, g = self._allocation(theta)
        return {"a": a, "b": b, "G": g}

    def optimum(self, theta: Floats, flops: Floats, per_token: float = 6.0) -> dict[str, Floats]:
        """The best size and number of tokens for a compute budget.

        Args:
            theta: parameter vectors [S, P].
            flops: budgets [m], in FLOPs.
            per_token: FLOPs for one parameter and one token; 6 counts a multiplication and an addition, forward once
                and backward twice.

        Returns:
            `N`, `D` and `loss`, each [S, m].
        """
        a, b, g = (v[:, None] for v in self._allocation(theta))
        product = flops / per_token
        size, data = g * product**a, product**b / g
        e, at, bt, alpha, beta = (column(theta, i) for i in range(5))
        return {"N": size, "D": data, "loss": e + at * size**-alpha + bt * data**-beta}

    @staticmethod
    def _allocation(theta: Floats) -> tuple[Floats, Floats, Floats]:
        _, size, data, alpha, beta = theta.T
        total = alpha + beta
        with np.errstate(all="ignore"):  # a draw at the bounds of both exponents has no best size
            return beta / total, alpha / total, (alpha * size / (beta * data)) ** (1 / total)


CHINCHILLA = Chinchilla()
