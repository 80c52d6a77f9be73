"""Loss on one domain against the mixture of training domains, at one size and one number of tokens."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity

__all__ = ["MIXTURE_EXPONENTIAL", "MixtureExponential"]


class MixtureExponential(Law):
    """L = E + exp(sum_i t_i h_i) (the mixing law of Ye et al., arXiv 2403.16952).

    h_i is the share of domain i in the training data, sum_i h_i = 1; L is the loss on one domain, of models of one size
    trained for as many tokens. The paper writes E + k exp(sum_i t_i h_i): since the shares sum to 1, log k is contained
    in every t_i. The smaller t_i, the more domain i helps.
    """

    source = "arXiv 2403.16952"
    output = Quantity("loss", "nats per token", "loss on one domain")

    def __init__(self, domains: int) -> None:
        self.name = f"mixture_exponential:{domains}"  # type: ignore[misc]
        self.formula = "L = E + exp(sum_i ti hi)"  # type: ignore[misc]
        self.domains = domains
        places = range(1, domains + 1)
        self.inputs = tuple(Quantity(f"h{i}", "share", f"of domain {i}", positive=False) for i in places)
        self.parameters = (
            Parameter("E", "loss that no mixture falls below, nats per token", low=0),
            *(Parameter(f"t{i}", f"log of the loss above E with domain {i} alone", low=-50, high=50) for i in places),
        )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        shares = np.stack([x[f"h{i + 1}"] for i in range(self.domains)])
        value = np.exp(theta[:, 1:] @ shares)
        slopes = value[:, None, :] * shares
        return theta[:, :1] + value, np.concatenate([np.ones_like(value)[:, None], slopes], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        shares = np.stack([x[f"h{i + 1}"] for i in range(self.domains)], axis=1)
        vectors = []
        for e in y.min() * np.array([0.0, 0.3, 0.6, 0.8, 0.9, 0.97]):
            solved = np.linalg.lstsq(shares, np.log(y - e), rcond=None)[0]  # exact where E is right
            vectors += [np.concatenate([[e], tilt * solved]) for tilt in (0.7, 1.0)]
        return np.array(vectors)

    def example(self) -> tuple[Floats, Points]:
        drawn = np.random.default_rng(0).dirichlet(np.ones(self.domains), 30 * self.domains)
        shares = np.concatenate([np.eye(self.domains), drawn])
        theta = np.array([1.5, *np.linspace(-2.0, 1.0, self.domains)])
        return theta, {f"h{i + 1}": shares[:, i] for i in range(self.domains)}


MIXTURE_EXPONENTIAL = MixtureExponential(2)
