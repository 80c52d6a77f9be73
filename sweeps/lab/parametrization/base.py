"""What all parametrizations share: how much a net has grown, and a rule for each of its tensors."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.spec import Section
from landsweep.sweeps.lab.models.base import Net
from landsweep.sweeps.lab.models.resize import lacking
from landsweep.sweeps.lab.optim.base import Family
from landsweep.sweeps.lab.parametrization.anatomy import NetTensor

__all__ = ["Growth", "Parametrization", "Rule"]

Size = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class Growth:
    """How much larger a network is than its base.

    Attributes:
        width: width / base width.
        depth: residual blocks / those of the base.
        head: size of an attention head / that of the base.
    """

    width: float = 1.0
    depth: float = 1.0
    head: float = 1.0


@dataclass(frozen=True, slots=True)
class Rule:
    """How one tensor is drawn and trained, as factors of what holds at the base size.

    The network uses multiplier * tensor. `init` None: the tensor is drawn as its own shape says, whatever the base.
    `decay` None: one over the rate, so that their product stays.
    """

    init: float | None = 1.0
    multiplier: float = 1.0
    rate: float = 1.0
    decay: float | None = None
    eps: float = 1.0


class Parametrization(Section):
    """How initialisation, learning rates and weight decay of each tensor depend on the network's size.

    At the base size every scheme is the standard one: all factors are 1. A subclass per file, told apart by `scheme`.
    """

    scheme: str
    base_width: Size = Field(description="width of the first hidden layer of the network whose settings carry over")
    base_depth: Size | None = Field(None, description="depth of that network; none: as deep as this one")
    base_heads: Size | None = Field(None, description="its attention heads; none: as many as this one")
    decay_exponent: float = Field(
        1.0, description="weight decay grows as the rate falls, to this power; 1 keeps rate times decay, 0 the decay"
    )
    zero: tuple[Literal["output", "query"], ...] = Field(
        (),
        description="tensors that start at 0: they hide errors in the first step, so coordinate checks leave it empty",
    )

    @abstractmethod
    def rule(self, part: NetTensor, growth: Growth, family: Family) -> Rule:
        """The rule of one tensor, before `decay_exponent` and `zero`.

        Args:
            part: the tensor.
            growth: how much larger the network is than that of the base sizes.
            family: how the optimizer's step on this tensor depends on its gradient.
        """

    def check(self, net: Net) -> str | None:
        """Why this scheme can't be used for a network; None where it can."""
        width, heads = net.current_width(), net.attention_heads()
        if width is None:
            return f"needs a width to compare with base_width, and {lacking(net, 'width')}"
        if self.base_depth is not None and _blocks(net) is None:
            return f"has a base_depth, but {net.family} has no residual blocks to count; leave it out"
        if self.base_depth is not None and not net.residual_blocks(self.base_depth):
            return f"has base_depth {self.base_depth}, at which {net.family} has no residual block; give a larger one"
        if heads is not None:
            return self._odd_heads(width, heads)
        if self.base_heads is not None:
            return f"has base_heads, but {net.family} has no attention; leave it out"
        return None

    def _odd_heads(self, net_width: int, net_heads: int) -> str | None:
        """Why the base can't have its number of heads, and which numbers it can have."""
        heads, width, head = self.base_heads or net_heads, self.base_width, net_width // net_heads
        if width % heads == 0:
            return None
        whose = f"base_heads: {heads} does" if self.base_heads else f"the network's {heads} heads do"
        if width % head == 0:
            cure = f"base_heads: {width // head} gives it heads as wide as the network's, {head}"
        else:
            cure = f"base_heads may be {', '.join(str(n) for n in range(1, width + 1) if width % n == 0)}"
        return f"has base_width {width}, which {whose} not divide; {cure}"

    def growth(self, net: Net) -> Growth:
        """How much larger the network is than the base."""
        if problem := self.check(net):
            raise SpecError(f"parametrization: {self.scheme} {problem}")
        width = (net.current_width() or 0) / self.base_width
        depth = 1.0
        if self.base_depth is not None:
            depth = (_blocks(net) or 0) / (net.residual_blocks(self.base_depth) or 1)
        heads = net.attention_heads() or 1
        return Growth(width, depth, width * (self.base_heads or heads) / heads)

    def rules(self, part: NetTensor, growth: Growth, family: Family, length: float = 1.0) -> Rule:
        """The whole rule of one tensor, whose steps have grown by `length` beside what the rule gives them."""
        plain = self.rule(part, growth, family)
        zero = ("output" in self.zero and part.role == "output") or ("query" in self.zero and part.query)
        init = 0.0 if zero else plain.init
        decay = (1 / plain.rate if plain.decay is None else plain.decay) * length
        return replace(plain, init=init, rate=plain.rate / length, decay=decay**self.decay_exponent)


def _blocks(net: Net) -> int | None:
    depth = net.current_depth()
    return None if depth is None else net.residual_blocks(depth)
