"""Loss against the mixture of training domains: the mixture shifts the irreducible loss."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid

__all__ = ["MIXTURE_ADDITIVE", "MixtureAdditive", "mixture_points", "powers"]


class MixtureAdditive(Law):
    """L = E + 1 / sum_i C_i h_i^g_i + A / N^alpha + B / D^beta (Shukor et al., arXiv 2507.09404, additive law).

    h_i is the share of domain i in the training data, sum_i h_i = 1; L is the loss on one target domain. The best
    mixture of the additive law is the same for every budget; in the joint law it moves with N and D.
    """

    source = "arXiv 2507.09404"
    output = Quantity("loss", "nats per token", "loss on the target domain")

    def __init__(self, domains: int) -> None:
        self.name = f"mixture_additive:{domains}"  # type: ignore[misc]
        self.formula = "L = E + 1/sum_i Ci hi^gi + A/N^alpha + B/D^beta"  # type: ignore[misc]
        self.domains = domains
        self.inputs = (
            Quantity("N", "parameters", "size of the model"),
            Quantity("D", "tokens", "tokens seen in training"),
            *(Quantity(f"h{i}", "share", f"of domain {i}", positive=False) for i in range(1, domains + 1)),
        )
        self.parameters = (
            Parameter("E", "irreducible loss, nats per token", low=0),
            Parameter("A", "loss of one parameter, nats", log=True),
            Parameter("alpha", "exponent of size", low=0, high=5),
            Parameter("B", "loss of one token, nats", log=True),
            Parameter("beta", "exponent of data", low=0, high=5),
            *(
                p
                for i in range(1, domains + 1)
                for p in (
                    Parameter(f"C{i}", f"help from domain {i}", log=True),
                    Parameter(f"g{i}", f"exponent of its share {i}", log=True, low=1e-2, high=20),
                )
            ),
        )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        size, size_scale, size_exponent = decay(column(theta, 1), column(theta, 2), np.log(x["N"]))
        data, data_scale, data_exponent = decay(column(theta, 3), column(theta, 4), np.log(x["D"]))
        help_, slopes = powers(theta[:, 5:], x, self.domains)
        mixed = 1 / help_
        gradient = [np.ones_like(size), size_scale, size_exponent, data_scale, data_exponent]
        gradient += [-mixed * (slope / help_) for slope in slopes]
        return column(theta, 0) + mixed + size + data, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        shares, exponents = (0.1, 0.4), (0.2, 0.6)
        pairs = [axis for _ in range(self.domains) for axis in ((1.0,), (0.3, 1.0) if self.domains < 4 else (0.5,))]
        vectors = grid(y.min() * np.array([0.3, 0.8]), shares, exponents, shares, exponents, *pairs)
        level = centre(y)
        vectors[:, 1] *= level * centre(x["N"]) ** vectors[:, 2]
        vectors[:, 3] *= level * centre(x["D"]) ** vectors[:, 4]
        vectors[:, 5::2] = 1 / (0.3 * level)
        return vectors

    def example(self) -> tuple[Floats, Points]:
        theta = [1.2, 300.0, 0.33, 900.0, 0.35]
        for i in range(self.domains):
            theta += [1.5 + 2.0 * i, 0.4 + 0.3 * i]
        return np.array(theta), mixture_points(self.domains, 6, 5)


def powers(theta: Floats, x: Points, domains: int) -> tuple[Floats, list[Floats]]:
    """The sum over domains of C_i h_i^g_i with derivatives by C_1, g_1, C_2, ...; a share of 0 adds nothing.

    Args:
        theta: C_1, g_1, C_2, ... [S, 2 domains].
        x: shares h1, h2, ... [n].
        domains: how many.
    """
    total = np.zeros((len(theta), len(x["h1"])))
    slopes = []
    for i in range(domains):
        share = x[f"h{i + 1}"]
        log_share = np.where(share > 0, np.log(np.where(share > 0, share, 1.0)), 0.0)
        power = np.where(share > 0, np.exp(column(theta, 2 * i + 1) * log_share), 0.0)
        total += column(theta, 2 * i) * power
        slopes += [power, column(theta, 2 * i) * power * log_share]
    return total, slopes


def mixture_points(domains: int, sizes: int, horizons: int) -> Points:
    """A study: sizes x horizons x mixtures, among them the pure domains."""
    corners = np.eye(domains)
    drawn = np.random.default_rng(0).dirichlet(np.ones(domains), 12 * domains)
    shares = np.concatenate([corners, np.full((1, domains), 1 / domains), drawn])
    n, d, m = np.meshgrid(np.geomspace(1e8, 1e10, sizes), np.geomspace(1e9, 3e11, horizons), np.arange(len(shares)))
    mixture = shares[m.ravel().astype(int)]
    return {"N": n.ravel(), "D": d.ravel(), **{f"h{i + 1}": mixture[:, i] for i in range(domains)}}


MIXTURE_ADDITIVE = MixtureAdditive(2)
