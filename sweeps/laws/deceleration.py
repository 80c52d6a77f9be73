"""Loss deceleration: learning curves that are two straight lines on logarithmic axes."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, column, grid, two_shares

__all__ = ["DECELERATION", "Deceleration"]


class Deceleration(Law):
    """L(t) = Ld (t / td)^-r0 (1 + (t / td)^(1 / f))^((r0 - rd) f) (Mircea et al., arXiv 2506.05447).

    A broken power law without offset: the loss falls with exponent r0 up to step td and with the smaller rd after it.
    Ld is where the two lines cross, so that for t >> td the loss is Ld (td / t)^rd: later or lower deceleration and a
    larger rd are how larger models win.
    """

    name = "deceleration"
    formula = "L = Ld (t/td)^-r0 (1 + (t/td)^(1/f))^((r0-rd) f)"
    source = "arXiv 2506.05447"
    inputs = (Quantity("t", "steps", "training step, from 1"),)
    output = Quantity("loss", "nats per token", "training loss")
    parameters = (
        Parameter("Ld", "loss at which it decelerates", log=True),
        Parameter("td", "step at which it decelerates", log=True),
        Parameter("r0", "exponent before", low=0, high=10),
        Parameter("rd", "exponent after", low=0, high=10),
        Parameter("f", "width of the break, in log t", log=True, low=1e-3, high=20),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        scale, place, before, after, width = (column(theta, i) for i in range(5))
        ratio = np.log(x["t"]) - np.log(place)
        u = ratio / width
        late, early = width * np.logaddexp(0, u), width * np.logaddexp(0, -u)  # late - early = ratio
        value = np.exp(np.log(scale) + before * early - after * late)
        gradient = [
            value / scale,
            value * (before * expit(-u) + after * expit(u)) / place,
            value * early,
            -value * late,
            value * (before - after) * two_shares(u),
        ]
        return value, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        log_t, log_y = np.log(x["t"]), np.log(y)
        vectors = []
        for place in np.quantile(log_t, (0.1, 0.25, 0.5, 0.75)):
            scale = float(np.interp(place, *_ordered(log_t, log_y)))
            for before, after, width in grid((0.1, 0.5, 1.0), (0.02, 0.1), (0.2, 1.0)):
                vectors.append((np.exp(scale), np.exp(place), before, after, width))
        return np.array(vectors)

    def example(self) -> tuple[Floats, Points]:
        return np.array([3.8, 6e3, 0.45, 0.09, 0.3]), {"t": np.geomspace(1e2, 3e5, 120)}


def _ordered(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(x)
    return x[order], y[order]


DECELERATION = Deceleration()
