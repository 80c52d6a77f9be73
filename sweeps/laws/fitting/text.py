"""Fits and laws as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from inspect import cleandoc
from typing import Any

from landsweep.orchestrator.report.columns_text import columns_text
from landsweep.sweeps.laws.base import Law
from landsweep.sweeps.laws.fitting.compare import comparison
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.laws.fitting.lack_of_fit import lack_of_fit
from landsweep.sweeps.laws.fitting.tables import SWEEP_ROWS

__all__ = [
    "by_text",
    "comparison_text",
    "fit_text",
    "law_fields",
    "law_text",
    "laws_text",
    "profiles",
    "profiles_text",
]

_ILL = 1e8  # condition numbers beyond it are pointed out


def fit_text(fit: Fit) -> str:
    """Everything that is reported about one fit."""
    selection, convergence = fit.selection, fit.convergence
    lines = [f"{fit.law.name}: {fit.law.formula}  ({fit.law.source})"]
    if selection is not None:
        parts = [f"{len(fit.residuals)} of {selection.rows} rows fitted"]
        parts += [f"{selection.excluded} excluded ({', '.join(selection.exclude)})"] if selection.exclude else []
        if SWEEP_ROWS in selection.exclude:
            parts.append("--every-status fits rows of other statuses too")
        parts += [f"{selection.held} held out ({', '.join(selection.holdout)})"] if selection.holdout else []
        lines.append("; ".join(parts) + f"; digest {fit.digest}")
        lines += [f"note: {note}" for note in selection.notes]
    lines.append(f"objective {fit.objective.text}: {fit.value:.9g}")
    lines.append(
        f"{'converged' if fit.converged else 'NOT CONVERGED'}: {convergence.agree} of the {convergence.finished} best "
        f"among {convergence.starts} starts reach this minimum; largest gradient {convergence.gradient:.1e}, one more "
        f"step would gain {max(convergence.decrement, 0):.1e}"
    )
    table = fit.parameters()
    numbers = [tuple(line) for line in table.itertuples(index=False)]
    how = f"bootstrap, {len(fit.draws)} draws" if fit.draws is not None else "curvature"
    lines += ["", columns_text(("parameter", "value", "std. error", "95 % low", "95 % high", "meaning"), numbers)]
    lines += ["", f"errors and intervals: {how}; root mean square residual {fit.rmse:.4g}"]
    if (tested := lack_of_fit(fit)) is not None:
        lines.append(tested.text)
    if fit.held is not None:
        held = fit.held
        lines.append(
            f"held out: {held.n} points, rmse {held.rmse:.4g}, mae {held.mae:.4g}, R2 {held.r2:.4g}, "
            f"bias {held.bias:+.4g}, worst {held.worst:.4g}, {held.covered:.0%} inside their 95 % interval"
        )
    return "\n".join([*lines, *(f"warning: {warning}" for warning in _warnings(fit))])


def _warnings(fit: Fit) -> Iterator[str]:
    """What the numbers of a fit do not mean, as sentences."""
    convergence = fit.convergence
    if not fit.converged:
        yield (
            "the descent has not come to rest, so errors and intervals are left out; give more starts (--starts 2000), "
            "one of your own (--start), or narrower --bounds"
        )
    elif convergence.agree == 1 and convergence.finished > 1:
        yield (
            f"one of {convergence.finished} descents alone reaches this minimum; there may be a lower one. Give more "
            "starts, such as --starts 2000"
        )
    if convergence.at_bound:
        yield (
            f"{', '.join(convergence.at_bound)} at a bound or without influence; "
            "only a bootstrap interval means anything there"
        )
    for names, end in ((convergence.open_low, "small"), (convergence.open_high, "large")):
        if inside := [name for name in names if name not in convergence.at_bound]:
            yield f"the points do not say how {end} {', '.join(inside)} may be: any {end} value does as well"
    groups, free = None if fit.cases is None else fit.cases.group_count, len(fit.law.parameters) - len(fit.fixed)
    if fit.draws is not None and groups is not None and groups <= free:
        yield f"the bootstrap drew {groups} groups for {free} fitted parameters; its intervals are too narrow"
    if convergence.condition > _ILL:
        yield f"the points determine only combinations of the parameters (condition {convergence.condition:.0e})"


def profiles(fit: Fit) -> dict[str, tuple[float | None, float | None]]:
    """The 95 % interval of each fitted parameter from its profile; None where the end was not reached."""
    intervals: dict[str, tuple[float | None, float | None]] = {}
    for p in fit.law.parameters:
        if p.name not in (*fit.fixed, *fit.convergence.at_bound):
            low, high = fit.profiled(p.name)
            intervals[p.name] = (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
    return intervals


def profiles_text(fit: Fit) -> str:
    """The same as a table."""
    lines = [(name, *("open" if end is None else end for end in ends)) for name, ends in profiles(fit).items()]
    return columns_text(("profile", "95 % low", "95 % high"), lines)


def comparison_text(fits: Sequence[Fit]) -> str:
    """Several fits, the best on held-out points first."""
    table = comparison(fits).drop(columns="formula")
    return columns_text(list(table.columns), [tuple(line) for line in table.astype(object).itertuples(index=False)])


def by_text(by: str, fits: Mapping[str, Sequence[Fit]]) -> str:
    """The parameters of each group's fits, a table for each law."""
    blocks = []
    for same in zip(*fits.values(), strict=True):
        header = [by, "n", *(p.name for p in same[0].law.parameters), "rmse", "held-out rmse", "converged"]
        lines = [
            (value, len(f.residuals), *map(float, f.theta), f.rmse, None if f.held is None else f.held.rmse,
             "yes" if f.converged else "NO")
            for value, f in zip(fits, same, strict=True)
        ]  # fmt: skip
        blocks.append(f"{same[0].law.name}\n{columns_text(header, lines)}")
    return "\n\n".join(blocks)


def laws_text(laws: Sequence[Law]) -> str:
    """A line for each law."""
    lines = [(law.name, law.formula, ", ".join(q.name for q in (*law.inputs, law.output)), law.source) for law in laws]
    return columns_text(("law", "formula", "columns", "source"), lines)


def law_text(law: Law) -> str:
    """A law's formula and what it says and assumes, its columns with units, and its parameters."""
    columns = [(q.name, q.unit, q.doc + (" (may be absent)" if q.optional else "")) for q in (*law.inputs, law.output)]
    parameters = [(p.name, "> 0" if p.log else f"{p.low:g} to {p.high:g}", p.doc) for p in law.parameters]
    return "\n".join(
        [
            f"{law.name}: {law.formula}  ({law.source})",
            "",
            cleandoc(law.__doc__ or ""),
            "",
            columns_text(("column", "unit", "meaning"), columns),
            "",
            columns_text(("parameter", "bounds", "meaning"), parameters),
        ]
    )


def law_fields(law: Law) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "name": law.name,
        "formula": law.formula,
        "source": law.source,
        "about": cleandoc(law.__doc__ or ""),
        "inputs": [{"name": q.name, "unit": q.unit, "doc": q.doc, "optional": q.optional} for q in law.inputs],
        "output": {"name": law.output.name, "unit": law.output.unit, "doc": law.output.doc},
        "parameters": [{"name": p.name, "doc": p.doc} for p in law.parameters],
    }
