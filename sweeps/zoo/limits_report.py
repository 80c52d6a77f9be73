"""What the report of a zoo with `bisect` says: for each combination, up to where the condition holds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landsweep.orchestrator.axes import Value
from landsweep.orchestrator.bisection import Bisect, Found
from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, plain, words
from landsweep.orchestrator.report.parts import Figure, PageSection, Part, Report, Table
from landsweep.orchestrator.report.values import label, number
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.rules import chosen
from landsweep.sweeps.lab.training_units.recipes import VARIANT
from landsweep.sweeps.zoo.limits import bisection_of
from landsweep.sweeps.zoo.spec import ZooSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["with_limits"]

_TEXT_DIGITS = 3
_STRETCH = 10.0  # from here on a logarithmic axis shows values better


@dataclass(frozen=True, slots=True)
class _Limit:
    """What was found of one combination.

    Attributes:
        params: of the combination.
        found: its end.
    """

    params: Mapping[str, Value]
    found: Found

    @property
    def bracketed(self) -> bool:
        return self.found.state == "bracketed"

    @property
    def span(self) -> tuple[float, float]:
        """Low and high end of where the limit is; of one that is bracketed."""
        assert self.found.holds is not None and self.found.fails is not None
        return min(self.found.holds, self.found.fails), max(self.found.holds, self.found.fails)

    def middle(self, rule: Bisect) -> float:
        """The best guess of the limit."""
        low, high = self.span
        return math.sqrt(low * high) if rule.scale == "log" else (low + high) / 2


def with_limits(report: Report, spec: ZooSpec, rows: pd.DataFrame) -> Report:
    """The report of a zoo with its limits in front; their numbers in the summary, with the brackets as intervals.

    Args:
        report: of all models.
        spec: with `bisect`.
        rows: at least one that has ended.
    """
    rule, bisection = bisection_of(spec)
    failed = (rows["status"] == Status.failed.value).to_numpy(dtype=bool)
    for row, holds, lost in zip(rows.to_dict("records"), chosen(rule.holds, rows), failed, strict=True):
        bisection.tell(_plain(row), None if lost else bool(holds))
    limits = [_Limit(bisection.params(c), bisection.found(c)) for c in bisection.units]
    numbers = {f"{name}limit": one for one in limits if one.bracketed and (name := _name(one)) is not None}
    return replace(
        report,
        sections=[PageSection("Limits", list(_parts(rule, limits))), *report.sections],
        summary={
            **{name: one.middle(rule) for name, one in numbers.items()},
            "limits": float(len(limits)),
            "limits_bracketed": float(sum(one.bracketed for one in limits)),
            **report.summary,
        },
        intervals={**{name: one.span for name, one in numbers.items()}, **report.intervals},
        answer=f"{_answer(rule, limits)} {report.answer}".rstrip(),
        question="Where does it begin to work, and where does it stop?",
        lead="limits",
    )


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as the plan has it: no value is None, not nan."""
    return {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _name(one: _Limit) -> str | None:
    """What stands before `limit` in the summary: nothing, or the recipe where that is all that varies."""
    if not one.params:
        return ""
    return f"{one.params[VARIANT]}." if list(one.params) == [VARIANT] else None


def _answer(rule: Bisect, limits: Sequence[_Limit]) -> str:
    spans = [one.span for one in limits if one.bracketed]
    text = f"{rule.holds} ceases to hold along {rule.over} in {len(spans):,} of {len(limits):,} combinations"
    if not spans:
        return f"{text}."
    ends = [number(end, _TEXT_DIGITS) for end in (min(s[0] for s in spans), max(s[1] for s in spans))]
    return f"{text}, between {ends[0]} and {ends[1]}."


def _parts(rule: Bisect, limits: Sequence[_Limit]) -> Iterator[Part]:
    names = list(limits[0].params)
    varying = [n for n in names if len({one.params[n] for one in limits}) > 1]
    x = next((n for n in varying if _numeric(limits, n)), next(iter(varying), None))
    if x is not None and any(one.bracketed for one in limits):
        caption = (
            f"Up to which {rule.over} the condition {rule.holds} holds, over {x}. A bar reaches from the last value "
            "at which it holds to the first at which it fails."
        )
        yield Figure("limits", caption, _picture(rule, limits, x))
    order = "falls" if rule.between[0] > rule.between[1] else "rises"
    yield Table(
        f"For each combination, as {rule.over} {order}: the last value at which {rule.holds}, the first at which it "
        "does not, and how the search has ended.",
        (*names, "holds at", "fails at", "search"),
        [[*one.params.values(), one.found.holds, one.found.fails, one.found.state] for one in limits],
        name="combinations",
    )


def _numeric(limits: Sequence[_Limit], name: str) -> bool:
    return all(isinstance(one.params[name], int | float) for one in limits)


def _picture(rule: Bisect, limits: Sequence[_Limit], x: str) -> Any:  # noqa: ANN401 - matplotlib has no types
    """The limits over the values of `x`, a line for each combination of the other params; names stand side by side."""
    picture = new_picture()
    plot = picture.add_subplot()
    names = [] if _numeric(limits, x) else list(dict.fromkeys(label(one.params[x]) for one in limits))
    lines: dict[str, list[tuple[float, _Limit]]] = {}
    for one in limits:
        if one.bracketed:
            place = names.index(label(one.params[x])) if names else float(str(one.params[x]))
            lines.setdefault(", ".join(label(v) for n, v in one.params.items() if n != x), []).append((place, one))
    for colour, (name, line) in zip(PALETTE, lines.items(), strict=False):
        places, members = zip(*sorted(line, key=lambda point: point[0]), strict=True)
        middles, spans = np.array([one.middle(rule) for one in members]), np.array([one.span for one in members])
        errors = [middles - spans[:, 0], spans[:, 1] - middles]
        form = "o" if names else "o-"
        plot.errorbar(places, middles, errors, fmt=form, capsize=3, color=colour, label=name or None)
    plot.set(xlabel=words(x), ylabel=words(rule.over), yscale=rule.scale)
    if names:
        plot.set_xticks(range(len(names)), [plain(name) for name in names], rotation=30 if len(names) > 3 else 0)
    else:
        values = [float(str(one.params[x])) for one in limits]
        plot.set_xscale("log" if 0 < _STRETCH * min(values) < max(values) else "linear")
    log_ticks(plot)
    plot.grid(alpha=0.3)
    if len(lines) > 1:
        plot.legend()
    return picture
