"""Claims: what the rows of a sweep should show, as comparisons that can be computed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from pydantic import Field, field_validator

from landsweep.orchestrator.arithmetic import Expression, parsed
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.section import Section

__all__ = ["Claim", "Comparison", "Outcome", "Verdict", "comparisons"]

_LONGEST = 1_000  # characters of an expression
_SIGNS: dict[type[ast.cmpop], Sign] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_FORM = (
    "write comparisons by < <= > >= of numbers, joined by `and`, such as "
    "mean(test_loss, recipe == 'sam') < mean(test_loss, recipe == 'sgd')"
)

Sign: TypeAlias = Literal["<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of two numbers.

    Attributes:
        left: what stands before the sign.
        sign: how they are compared.
        right: what stands after it.
    """

    left: ast.expr
    sign: Sign
    right: ast.expr


class Claim(Section):
    """A sentence about the results of a sweep, and the comparison that decides it."""

    says: str = Field(min_length=1, description="the claim in words")
    holds: str = Field(
        description="comparisons of numbers, joined by `and`; of columns of the rows by mean, median, min, max, std, "
        "quantile, share, count, spearman, slope, at_min and lowest_mean, and of numbers of the report's summary"
    )
    source: str = Field("", description="where the claim is made: arXiv id, section or figure")
    scale: str = Field("", description="what differs from the source: size, data, steps")
    over: str | None = Field(
        None,
        description="column whose values are resampled for the intervals; by default `seed`, then `draw`, where they "
        "vary, else single rows",
    )
    exact: bool = Field(False, description="the numbers have no spread: counts, closed forms")

    @field_validator("holds")
    @classmethod
    def _can_be_read(cls, holds: str) -> str:
        try:
            comparisons(holds)
        except UsageError as e:
            raise ValueError(str(e)) from None
        return holds


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    held = "held"
    not_held = "not held"
    undecided = "undecided"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the numbers say of one claim.

    Attributes:
        claim: as the spec has it.
        outcome: held, not held, or undecided.
        numbers: the compared numbers with their intervals.
        reason: why it is undecided, or what the intervals rest on.
    """

    claim: Claim
    outcome: Outcome
    numbers: str
    reason: str

    def in_words(self) -> str:
        """In one line."""
        return f"{self.outcome.value}: {self.claim.says}"

    def fields(self) -> dict[str, str]:
        """For programs, with stable names."""
        return {
            "says": self.claim.says,
            "verdict": self.outcome.value,
            "numbers": self.numbers,
            "basis": self.reason,
            "holds": self.claim.holds,
            "source": self.claim.source,
            "scale": self.claim.scale,
        }


def _zero(node: ast.expr) -> bool:
    """Whether a number stands there that is 0, whatever the rows are."""
    if isinstance(node, ast.UnaryOp):
        return _zero(node.operand)
    return isinstance(node, ast.Constant) and node.value == 0


def comparisons(holds: str) -> tuple[Expression, tuple[Comparison, ...]]:
    """The comparisons of a claim, all of which must hold; `a < b < c` are two.

    Raises:
        UsageError: the text can't be read, or holds something else.
    """
    expression = parsed(holds, _LONGEST)
    if expression is None:
        raise UsageError(f"{holds!r} can't be read; {_FORM}")
    tree = expression.tree
    if any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div) and _zero(n.right) for n in ast.walk(tree)):
        raise UsageError(f"{holds!r} divides by zero; divide by a number other than 0, or by one that is computed")
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    compared: list[Comparison] = []
    for part in parts:
        if not isinstance(part, ast.Compare) or any(type(op) not in _SIGNS for op in part.ops):
            raise UsageError(f"{holds!r} is no comparison; {_FORM}")
        sides = [part.left, *part.comparators]
        signs = [_SIGNS[type(op)] for op in part.ops]
        compared += [Comparison(a, sign, b) for a, sign, b in zip(sides, signs, sides[1:], strict=False)]
    return expression, tuple(compared)
