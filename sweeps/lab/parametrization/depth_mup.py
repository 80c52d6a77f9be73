"""Depth-muP: muP in the width, residual branches divided by the root of the depth."""

from __future__ import annotations

from typing import Literal

from landsweep.sweeps.lab.optim.base import Family
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor
from landsweep.sweeps.lab.parametrization.base import Growth, Rule
from landsweep.sweeps.lab.parametrization.completep import ResidualScheme, depth_rule

__all__ = ["DepthMup"]


class DepthMup(ResidualScheme):
    """Depth-muP (arXiv 2310.02244): x + f(x) / √d, with d = residual blocks / those of the base.

    Beside muP's rules, Adam's rate in the blocks is divided by √d; SGD's stays.
    """

    scheme: Literal["depth_mup"]

    def rule(self, part: NetTensor, growth: Growth, family: Family) -> Rule:
        return depth_rule(part, growth, family, alpha=0.5)
