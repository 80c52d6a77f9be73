"""Kaplan's laws of one variable: loss against size, data or compute, the others being no limit."""

from __future__ import annotations

import numpy as np

from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column

__all__ = ["KAPLAN_COMPUTE", "KAPLAN_DATA", "KAPLAN_SIZE", "KaplanSingle"]


class KaplanSingle(Law):
    """L(X) = (Xc / X)^a (Kaplan et al., arXiv 2001.08361, equations 1.1 to 1.3).

    Published: N without embeddings, a 0.076, Nc 8.8e13 parameters; D, a 0.095, Dc 5.4e13 tokens; C at the best size
    and a small batch, a 0.050, Cc 3.1e8 PF-days (1 PF-day = 8.64e19 FLOPs). The constants of their joint law are
    others.
    """

    formula = "L = (Xc/X)^a"
    source = "arXiv 2001.08361"
    output = Quantity("loss", "nats per token", "held-out loss")

    def __init__(self, name: str, quantity: Quantity, scale: float, exponent: float) -> None:
        self.name = name  # type: ignore[misc]
        x = quantity.name
        self.formula = f"L = ({x}c/{x})^a{x}"  # type: ignore[misc]
        self.inputs = (quantity,)
        self.parameters = (
            Parameter(f"{x}c", f"where the loss is 1 nat, {quantity.unit}", log=True),
            Parameter(f"a{x}", "exponent", low=1e-3, high=5),
        )
        self._published = (scale, exponent)

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        ratio = np.log(column(theta, 0)) - np.log(x[self.inputs[0].name])
        value = np.exp(column(theta, 1) * ratio)
        return value, np.stack([value * column(theta, 1) / column(theta, 0), value * ratio], axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        middle, level = centre(x[self.inputs[0].name]), centre(y)
        return np.array([(middle * level ** (1 / a), a) for a in (0.03, 0.05, 0.1, 0.2, 0.5, 1.0)])

    def example(self) -> tuple[Floats, Points]:
        scale, exponent = self._published
        return np.array([scale, exponent]), {self.inputs[0].name: scale * np.geomspace(1e-11, 1e-5, 30)}


KAPLAN_SIZE = KaplanSingle("kaplan_size", Quantity("N", "parameters", "size without embeddings"), 8.8e13, 0.076)
KAPLAN_DATA = KaplanSingle("kaplan_data", Quantity("D", "tokens", "size of the training set"), 5.4e13, 0.095)
KAPLAN_COMPUTE = KaplanSingle("kaplan_compute", Quantity("C", "FLOPs", "training compute"), 3.1e8 * 8.64e19, 0.050)
