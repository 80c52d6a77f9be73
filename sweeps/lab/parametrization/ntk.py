"""The neural-tangent parametrization: weights of order 1, each layer divided by the root of its inputs."""

from __future__ import annotations

from typing import Literal

from sweeps.lab.optim.base import Family
from sweeps.lab.parametrization.anatomy import Part
from sweeps.lab.parametrization.base import Growth, Parametrization, Rule

__all__ = ["Ntk"]


class Ntk(Parametrization):
    """NTK parametrization (arXiv 1806.07572): in wide networks the features stop to change.

    With m = width / base width: tensors whose inputs grow keep the base's initial deviation and are multiplied by
    1/√m. SGD's rate is the same for all. Adam's step on such a tensor moves a layer's outputs by √m times its rate, so
    its rate there is 1/√m (as in arXiv 2407.05872 for aligned updates).
    """

    scheme: Literal["ntk"]

    def rule(self, part: Part, growth: Growth, family: Family) -> Rule:
        if not part.grows_in:
            return Rule()
        shrunk = growth.width**-0.5
        return Rule(multiplier=shrunk, rate=shrunk if family == "adam" else 1.0)
