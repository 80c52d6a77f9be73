"""Continual pre-training: the loss on a domain while a pre-trained model moves to new data."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.annealing import areas
from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid

__all__ = ["CONTINUAL", "Continual"]


class Continual(Law):
    """L = L0 + A (S1p + S1c)^-alpha - Cp S2p - Cc S2c + B (1 - (1 + E S1c)^-beta) (Wang et al., arXiv 2505.07796).

    S1 and S2 are the forward and annealing areas (see the law `annealing`) of pre-training, p, and of continual
    training, c. The last term is the shift of distribution, a power law of the forward area: B > 0 on the old domain,
    which is forgotten, B < 0 on the new one; with 1 + E S1c in it, it is 0 where continual training begins.
    """

    name = "continual"
    formula = "L = L0 + A (S1p+S1c)^-alpha - Cp S2p - Cc S2c + B (1 - (1 + E S1c)^-beta)"
    source = "arXiv 2505.07796"
    inputs = (
        Quantity("S1p", "steps x rate", "forward area of pre-training"),
        Quantity("S2p", "steps x rate", "annealing area of pre-training", positive=False),
        Quantity("S1c", "steps x rate", "forward area of continual training, 0 before it", positive=False),
        Quantity("S2c", "steps x rate", "annealing area of continual training", positive=False),
    )
    output = Quantity("loss", "nats per token", "loss on the old or on the new domain")
    parameters = (
        Parameter("L0", "irreducible loss, nats per token", low=0),
        Parameter("A", "loss at area 1, nats", log=True),
        Parameter("alpha", "exponent of the forward area", low=0, high=10),
        Parameter("Cp", "gain of annealing in pre-training, nats per unit of area"),
        Parameter("Cc", "gain of annealing in continual training, nats per unit of area"),
        Parameter("B", "shift between the distributions, nats"),
        Parameter("E", "how fast the shift comes, per unit of area", log=True),
        Parameter("beta", "exponent of the shift", log=True, low=1e-3, high=20),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        floor, scale, alpha, gain_p, gain_c, shift, speed, beta = (column(theta, i) for i in range(8))
        term, by_scale, by_exponent = decay(scale, alpha, np.log(x["S1p"] + x["S1c"]))
        reach = speed * x["S1c"]
        remaining = np.exp(-beta * np.log1p(reach))
        gone = -np.expm1(-beta * np.log1p(reach))
        ones = np.ones_like(term)
        gradient = [
            ones,
            by_scale,
            by_exponent,
            -x["S2p"] * ones,
            -x["S2c"] * ones,
            gone,
            shift * beta * remaining / (1 + reach) * x["S1c"],
            shift * remaining * np.log1p(reach),
        ]
        value = floor + term - gain_p * x["S2p"] - gain_c * x["S2c"] + shift * gone
        return value, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        reach = max(float(x["S1c"].max()), 1e-12)
        shifts = y.std() * np.array([-2.0, -0.5, 0.5, 2.0])
        vectors = grid(
            y.min() * np.array([0.5, 0.9]),
            [1.0],
            [0.2, 0.5],
            [0.3],
            [0.3],
            shifts,
            np.array([1.0, 30.0]) / reach,
            [0.3, 1],
        )
        rise = np.maximum(centre(y) - vectors[:, 0], 0.01 * centre(y))
        vectors[:, 1] = rise * centre(x["S1p"] + x["S1c"]) ** vectors[:, 2]
        return vectors

    def example(self) -> tuple[Floats, Points]:
        points = []
        for steps, peak, anneal_p, anneal_c in (
            (8000, 2e-4, 0, 1),
            (12000, 2e-4, 1, 0),
            (16000, 4e-4, 1, 1),
            (9000, 3e-4, 0, 0),
        ):
            before, after = (_rates(steps, peak, bool(a)) for a in (anneal_p, anneal_c))
            (s1p, s2p), (s1c, s2c) = areas(before), areas(after)
            at = np.arange(499, steps, 500)
            zero = np.zeros(len(at))
            points.append(np.stack([s1p[at], s2p[at], zero, zero]))
            late = np.unique(np.concatenate([np.geomspace(10, steps - 1, 20).astype(int), at]))
            full = np.ones(len(late))
            points.append(np.stack([s1p[-1] * full, s2p[-1] * full, s1c[late], s2c[late]]))
        s1p, s2p, s1c, s2c = np.concatenate(points, axis=1)
        return np.array([2.2, 0.5, 0.5, 0.4, 0.3, 0.35, 30.0, 0.5]), {"S1p": s1p, "S2p": s2p, "S1c": s1c, "S2c": s2c}


def _rates(steps: int, peak: float, anneal: bool) -> Floats:
    share = np.arange(steps) / steps
    return peak * np.where(share < 0.6, 1.0, (1 - share) / 0.4) if anneal else np.full(steps, peak)


CONTINUAL = Continual()
