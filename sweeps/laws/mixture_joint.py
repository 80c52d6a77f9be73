"""Loss against the mixture of training domains: the mixture also sets what size and data are worth."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, grid
from landsweep.sweeps.laws.mixture_additive import mixture_points, powers

__all__ = ["MIXTURE_JOINT", "MixtureJoint"]


class MixtureJoint(Law):
    """L = E + 1 / sum_i C_i h_i^g_i + A_h / N^alpha + B_h / D^beta (Shukor et al., arXiv 2507.09404, joint law).

    A_h = (sum_i a_i h_i)^ga and B_h = (sum_i b_i h_i)^gb; h_i is the share of domain i, and L the loss on one target
    domain. With k domains that is 5 + 4 k parameters, 37 for eight as the paper counts.
    """

    source = "arXiv 2507.09404"
    output = Quantity("loss", "nats per token", "loss on the target domain")

    def __init__(self, domains: int) -> None:
        self.name = f"mixture_joint:{domains}"  # type: ignore[misc]
        self.formula = "L = E + 1/sum_i Ci hi^gi + (sum_i ai hi)^ga/N^alpha + (sum_i bi hi)^gb/D^beta"  # type: ignore[misc]
        self.domains = domains
        places = range(1, domains + 1)
        self.inputs = (
            Quantity("N", "parameters", "size of the model"),
            Quantity("D", "tokens", "tokens seen in training"),
            *(Quantity(f"h{i}", "share", f"of domain {i}", positive=False) for i in places),
        )
        self.parameters = (
            Parameter("E", "irreducible loss, nats per token", low=0),
            Parameter("alpha", "exponent of size", low=0, high=5),
            Parameter("beta", "exponent of data", low=0, high=5),
            Parameter("ga", "exponent of the mixed scale of size", log=True, low=1e-2, high=20),
            Parameter("gb", "exponent of the mixed scale of data", log=True, low=1e-2, high=20),
            *(Parameter(f"a{i}", f"scale of size in domain {i}", log=True) for i in places),
            *(Parameter(f"b{i}", f"scale of data in domain {i}", log=True) for i in places),
            *(
                p
                for i in places
                for p in (
                    Parameter(f"C{i}", f"help from domain {i}", log=True),
                    Parameter(f"g{i}", f"exponent of its share {i}", log=True, low=1e-2, high=20),
                )
            ),
        )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        k = self.domains
        floor, alpha, beta, power_a, power_b = (column(theta, i) for i in range(5))
        shares = np.stack([x[f"h{i + 1}"] for i in range(k)])
        size, size_slopes = _mixed(theta[:, 5 : 5 + k], power_a, shares, alpha, np.log(x["N"]))
        data, data_slopes = _mixed(theta[:, 5 + k : 5 + 2 * k], power_b, shares, beta, np.log(x["D"]))
        help_, slopes = powers(theta[:, 5 + 2 * k :], x, k)
        mixed = 1 / help_
        gradient = [np.ones_like(size), size_slopes[0], data_slopes[0], size_slopes[1], data_slopes[1]]
        gradient += [*size_slopes[2:], *data_slopes[2:], *(-mixed * (slope / help_) for slope in slopes)]
        return floor + mixed + size + data, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        k, level, exponents = self.domains, centre(y), (0.2, 0.6)
        vectors = grid(
            y.min() * np.array([0.3, 0.8]), exponents, exponents, (0.5, 1.0, 2.0), (0.5, 1.0, 2.0), *[(1.0,)] * (2 * k),
            *[(1.0,), (0.5,)] * k,
        )  # fmt: skip
        for name, exponent, power, first in (("N", 1, 3, 5), ("D", 2, 4, 5 + k)):
            scale = 0.2 * level * centre(x[name]) ** vectors[:, exponent]
            vectors[:, first : first + k] = (scale ** (1 / vectors[:, power]))[:, None]
        vectors[:, 5 + 2 * k :: 2] = 1 / (0.3 * level)
        return vectors

    def example(self) -> tuple[Floats, Points]:
        k = self.domains
        theta = [1.2, 0.33, 0.35, 1.4, 0.7, *np.linspace(40, 90, k), *np.linspace(3e4, 8e3, k)]
        for i in range(k):
            theta += [1.5 + 2.0 * i, 0.4 + 0.3 * i]
        return np.array(theta), mixture_points(k, 6, 6)


def _mixed(
    scales: Floats, power: Floats, shares: Floats, exponent: Floats, log_x: Floats
) -> tuple[Floats, list[Floats]]:
    """The term (sum_i a_i h_i)^power x^-exponent, and its derivatives by exponent, power, a_1, a_2, ..."""
    inner = scales @ shares
    value = np.exp(power * np.log(inner) - exponent * log_x)
    return value, [-value * log_x, value * np.log(inner), *(value * (power * share / inner) for share in shares)]


MIXTURE_JOINT = MixtureJoint(2)
