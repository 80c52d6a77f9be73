"""Whether claims hold, from the rows and the summary of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from landsweep.orchestrator.arithmetic import Floats
from landsweep.orchestrator.claim import Claim, Comparison, Outcome, Verdict, comparisons
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.draws import Draws
from landsweep.orchestrator.report.parts import PageSection, Table
from landsweep.orchestrator.report.quantities import Quantities
from landsweep.orchestrator.report.values import number
from landsweep.orchestrator.row import Column

__all__ = ["check_claims", "claims_section", "in_short", "judge"]

Intervals: TypeAlias = Mapping[str, tuple[float, float]]

_LEVEL = (2.5, 97.5)  # percentiles of an interval
_FINITE = 0.9  # of the draws, at least
_DIGITS = 3


def judge(
    claims: Iterable[Claim],
    rows: pd.DataFrame,
    summary: Mapping[str, float],
    intervals: Intervals | None = None,
) -> list[Verdict]:
    """A verdict for each claim.

    A claim is held where its 95 % bootstrap interval lies on the right side, not held where it lies on the wrong one,
    and undecided where it crosses the line, or where nothing is known of the spread.

    Args:
        claims: of a spec.
        rows: as `readable_rows` gives them; units that failed count for nothing.
        summary: of the report.
        intervals: 95 % intervals of some of its numbers.
    """
    ended = rows[rows["status"] != "failed"].reset_index(drop=True) if "status" in rows else rows
    return [_verdict(claim, ended, summary, intervals or {}) for claim in claims]


def check_claims(claims: Sequence[Claim], columns: Sequence[Column]) -> None:
    """Refuse claims about columns that the rows will not have, or that compare text with numbers.

    Args:
        claims: of a spec.
        columns: of params and metrics.

    Raises:
        UsageError: begins with the claim's place in the spec.
    """
    examples = {"float": 1.0, "int": 1.0, "bool": True, "text": "text"}
    rows = pd.DataFrame({c.name: [examples[c.type]] for c in columns})
    for i, claim in enumerate(claims):
        try:
            _compared(claim, rows, _AnyNumber(rows.columns), {})
        except UsageError as e:
            raise UsageError(f"claims.{i}.holds: {e}") from e


def in_short(verdicts: Sequence[Verdict]) -> str:
    """How many claims there are of each outcome, such as `2 held, 1 undecided`."""
    counts = Counter(v.outcome for v in verdicts)
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])


def claims_section(verdicts: Sequence[Verdict]) -> PageSection:
    """The claims as the first part of a report."""
    lines = [[v.outcome.value, v.claim.says, v.numbers, v.reason, v.claim.source, v.claim.scale] for v in verdicts]
    header = ("verdict", "claim", "numbers [95 % interval]", "basis", "source", "what differs from it")
    caption = "A claim is undecided where the interval of a difference crosses 0."
    return PageSection(
        "Claims", [f"Of {len(lines)} claims: {in_short(verdicts)}.", Table(caption, header, lines, name="claims")]
    )


class _AnyNumber(dict[str, float]):
    """The summary of a report that is not made yet: it may hold any name that is no column."""

    def __init__(self, columns: Collection[str]) -> None:
        super().__init__()
        self._columns = columns

    def __contains__(self, name: object) -> bool:
        return name not in self._columns

    def __missing__(self, name: str) -> float:
        return 1.0


def _verdict(claim: Claim, rows: pd.DataFrame, summary: Mapping[str, float], intervals: Intervals) -> Verdict:
    try:
        compared, draws, units = _compared(claim, rows, summary, intervals)
    except UsageError as e:
        return Verdict(claim, Outcome.undecided, "-", str(e))
    texts = [f"{_text(left, claim)} {c.sign} {_text(right, claim)}" for c, left, right in compared]
    outcomes = [_decided(claim, c, left, right, units) for c, left, right in compared]
    basis = "exact" if claim.exact else _basis(units, draws)
    for outcome in (Outcome.not_held, Outcome.undecided):  # one that fails decides
        for decided, reason in outcomes:
            if decided is outcome:
                return Verdict(claim, outcome, " and ".join(texts), reason or basis)
    return Verdict(claim, Outcome.held, " and ".join(texts), basis)


def _basis(units: int, draws: Draws) -> str:
    """What the intervals rest on."""
    return "intervals of the report" if units >= draws.count else f"drawn over {units:,} {draws.basis}"


def _compared(
    claim: Claim, rows: pd.DataFrame, summary: Mapping[str, float], intervals: Intervals
) -> tuple[list[tuple[Comparison, Floats, Floats]], Draws, int]:
    """Each comparison with the values of both sides, what was drawn, and how many different ones of it at least."""
    expression, parts = comparisons(claim.holds)
    draws = Draws(rows, claim.over)
    quantities = Quantities(expression, rows, draws, summary, intervals, [])
    sides = [(part, quantities.of(part.left), quantities.of(part.right)) for part in parts]
    return sides, draws, min(quantities.units, default=0)


def _decided(claim: Claim, compared: Comparison, left: Floats, right: Floats, units: int) -> tuple[Outcome, str]:
    """The outcome of one comparison, and why it is undecided."""
    with np.errstate(invalid="ignore"):
        apart = left - right if compared.sign in (">", ">=") else right - left  # above 0 where it holds
    equal_holds = "=" in compared.sign
    if np.isnan(apart[0]):
        return Outcome.undecided, "the value is no number"
    if claim.exact:
        return (Outcome.held if apart[0] > 0 or (equal_holds and apart[0] == 0) else Outcome.not_held), ""
    if units < 2:
        return Outcome.undecided, (
            "one value alone says nothing of its spread; repeat it with more seeds, or, if it has none, set exact: true"
        )
    drawn = apart[1:][~np.isnan(apart[1:])]
    if len(drawn) < _FINITE * len(apart[1:]):
        return Outcome.undecided, "in too many draws the value is no number"
    low, high = np.percentile(drawn, _LEVEL, method="nearest")
    if low > 0 or (equal_holds and low == 0):
        return Outcome.held, ""
    if high < 0 or (not equal_holds and high == 0):
        return Outcome.not_held, ""
    return (
        Outcome.undecided,
        f"the interval of the difference, {number(low, _DIGITS)} to {number(high, _DIGITS)}, holds 0",
    )


def _text(values: Floats, claim: Claim) -> str:
    value, drawn = float(values[0]), values[1:][~np.isnan(values[1:])]
    if claim.exact or not len(drawn) or (drawn == value).all():
        return number(value, _DIGITS + 1)
    low, high = (float(q) for q in np.percentile(drawn, _LEVEL, method="nearest"))
    return f"{number(value, _DIGITS + 1)} [{number(low, _DIGITS)}, {number(high, _DIGITS)}]"
