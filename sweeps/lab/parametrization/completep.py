"""CompleteP: muP in the width, and residual branches that shrink with the depth."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field

from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.resize import lacking
from landsweep.sweeps.lab.optim.base import Family
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor
from landsweep.sweeps.lab.parametrization.base import Growth, Parametrization, Rule, Size
from landsweep.sweeps.lab.parametrization.mup import mup_rule

__all__ = ["CompleteP", "ResidualScheme", "depth_rule"]


class ResidualScheme(Parametrization):
    """A scheme that scales residual branches, and so needs some."""

    base_depth: Size = Field(description="depth of the network whose settings carry over")

    def check(self, net: Net) -> str | None:
        if net.residual_blocks(net.current_depth() or 1) is None:
            return f"scales residual branches whose number the depth changes, and {lacking(net, 'branches')}"
        return super().check(net)


class CompleteP(ResidualScheme):
    """CompleteP (arXiv 2505.01618): x + d^-alpha f(x), with d = residual blocks / those of the base.

    Beside muP's rules, for all tensors of the blocks: Adam's rate times d^(alpha - 1), its eps times d^-alpha / m.
    Elsewhere eps is divided by m. alpha = 1 is the paper's choice. For SGD, which the paper does not treat, the same
    count of orders gives a rate of d^(2 alpha - 1). Initial weights and weight decay do not depend on the depth.
    """

    scheme: Literal["completep"]
    alpha: float = Field(1.0, ge=0.5, le=1, description="of the branch multiplier d^-alpha")

    def rule(self, part: NetTensor, growth: Growth, family: Family) -> Rule:
        scaled = depth_rule(part, growth, family, self.alpha)
        shrunk = growth.depth**-self.alpha if part.in_block else 1.0
        return replace(scaled, eps=shrunk / growth.width)


def depth_rule(part: NetTensor, growth: Growth, family: Family, alpha: float) -> Rule:
    """The rule of muP, with residual branches times depth^-alpha."""
    by_width = mup_rule(part, growth, family)
    if not part.in_block:
        return by_width
    branch = growth.depth**-alpha if part.ends_branch else 1.0
    power = 2 * alpha - 1 if family == "sgd" else alpha - 1
    rate = by_width.rate * growth.depth**power
    return replace(by_width, multiplier=by_width.multiplier * branch, rate=rate, decay=1 / by_width.rate)
