"""The standard parametrization: each tensor as its own shape says, one learning rate for all."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.resize import lacking
from landsweep.sweeps.lab.optim.base import Family
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor
from landsweep.sweeps.lab.parametrization.base import Growth, Parametrization, Rule, Size

__all__ = ["Standard"]


class Standard(Parametrization):
    """What a recipe without `parametrization` does. It is here so that an axis over schemes can hold it."""

    scheme: Literal["standard"]
    base_width: Size = Field(1, description="not used")

    def check(self, net: Net) -> str | None:
        if self.zero and net.current_width() is None:
            return f"has `zero`, which needs a width to tell the output layer by, and {lacking(net, 'width')}"
        return None

    def growth(self, net: Net) -> Growth:
        if problem := self.check(net):
            raise SpecError(f"parametrization: {self.scheme} {problem}")
        return Growth()

    def rule(self, part: NetTensor, growth: Growth, family: Family) -> Rule:
        del part, growth, family
        return Rule(init=None)
