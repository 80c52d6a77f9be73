"""Steps against batch size: below the critical one they halve as the batch doubles, above it they stay."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column

__all__ = ["STEPS_TO_TARGET", "StepsToTarget"]

_STARTS = (0.01, 0.1, 1.0, 10.0, 100.0)  # critical batch sizes, in the middle of those that were tried


class StepsToTarget(Law):
    """S = Smin (1 + Bcrit / B): equation 2.7 of arXiv 1812.06162, (S / Smin - 1)(E / Emin - 1) = 1 with E = S B.

    At the batch size Bcrit twice the least steps and twice the least samples are needed.
    """

    name = "steps_to_target"
    formula = "steps = least (1 + critical / batch)"
    source = "arXiv 1812.06162"
    inputs = (Quantity("batch", "samples", "batch size"),)
    output = Quantity("steps", "steps", "until the target was reached, at the best rate")
    parameters = (
        Parameter("least", "steps at an infinite batch size", log=True),
        Parameter("critical", "critical batch size, samples", log=True),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        least, share = column(theta, 0), 1 / x["batch"]
        grown = 1 + column(theta, 1) * share
        return least * grown, np.stack([np.broadcast_to(grown, (len(theta), len(share))), least * share], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        middle = centre(x["batch"])
        return np.array([(centre(y) / (1 + s), s * middle) for s in _STARTS])

    def example(self) -> tuple[Floats, Points]:
        return np.array([50.0, 200.0]), {"batch": np.geomspace(8, 2048, 9)}


STEPS_TO_TARGET = StepsToTarget()
