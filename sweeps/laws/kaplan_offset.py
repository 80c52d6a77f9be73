"""Kaplan's law of size and data with an irreducible loss."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Parameter, Points, column
from landsweep.sweeps.laws.kaplan_joint import KaplanJoint

__all__ = ["KAPLAN_OFFSET", "KaplanOffset"]


class KaplanOffset(KaplanJoint):
    """L(N, D) = E + [(Nc / N)^(aN / aD) + Dc / D]^aD: equation 1.5 of arXiv 2001.08361 with an irreducible loss.

    The paper has no E, and says itself that its power laws must end; with E the exponents are those of the reducible
    loss and larger than the published ones. With E fixed at 0 it is the law `kaplan_joint`.
    """

    name = "kaplan_offset"
    formula = "L = E + ((Nc/N)^(aN/aD) + Dc/D)^aD"
    parameters: tuple[Parameter, ...] = (
        *KaplanJoint.parameters,
        Parameter("E", "irreducible loss, nats per token", low=0),
    )

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        value, gradient = super().evaluate(theta[:, :4], x)
        return column(theta, 4) + value, np.concatenate([gradient, np.ones_like(value)[:, None]], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        by_floor = []
        for floor in (0.0, 0.5 * float(y.min()), 0.9 * float(y.min())):
            without_floor = super().starts(x, y - floor)
            by_floor.append(np.column_stack([without_floor, np.full(len(without_floor), floor)]))
        return np.concatenate(by_floor)

    def example(self) -> tuple[Floats, Points]:
        _, x = super().example()
        return np.array([2e9, 3e11, 0.35, 0.4, 1.7]), x


KAPLAN_OFFSET = KaplanOffset()
