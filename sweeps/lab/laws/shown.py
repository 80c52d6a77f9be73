"""Fits and laws as text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from sweeps.lab.laws.base import Law
from sweeps.lab.laws.compare import comparison
from sweeps.lab.laws.outcome import Fit

__all__ = [
    "comparison_text",
    "fit_text",
    "law_fields",
    "law_text",
    "laws_text",
    "profiles",
    "profiles_text",
    "table_text",
]

_ILL = 1e8  # condition numbers beyond it are pointed out


def table_text(header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Columns of text, numbers to the right."""
    cells = [[_cell(v) for v in line] for line in lines]
    widths = [max(len(c) for c in column) for column in zip(header, *cells, strict=True)]
    right = [all(isinstance(line[i], int | float) for line in lines) for i in range(len(header))]

    def row(values: Sequence[str]) -> str:
        return "  ".join(
            v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)
        ).rstrip()

    return "\n".join([row(header), *(row(c) for c in cells)])


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def fit_text(fit: Fit) -> str:
    """Everything that is reported about one fit."""
    selection, convergence = fit.selection, fit.convergence
    lines = [f"{fit.law.name}: {fit.law.formula}  ({fit.law.source})"]
    if selection is not None:
        parts = [f"{len(fit.residuals)} of {selection.rows} rows fitted"]
        parts += [f"{selection.excluded} excluded ({', '.join(selection.exclude)})"] if selection.exclude else []
        parts += [f"{selection.held} held out ({', '.join(selection.holdout)})"] if selection.holdout else []
        lines.append("; ".join(parts) + f"; digest {fit.digest}")
    lines.append(f"objective {fit.objective.text}: {fit.value:.9g}")
    lines.append(
        f"{'converged' if fit.converged else 'NOT CONVERGED'}: {convergence.agree} of the {convergence.finished} best "
        f"among {convergence.starts} starts reach this minimum; largest gradient {convergence.gradient:.1e}, one more "
        f"step would gain {max(convergence.decrement, 0):.1e}"
    )
    table = fit.parameters()
    numbers = [tuple(line) for line in table.itertuples(index=False)]
    how = f"bootstrap, {len(fit.draws)} draws" if fit.draws is not None else "curvature"
    lines += ["", table_text(("parameter", "value", "std. error", "95 % low", "95 % high", "meaning"), numbers)]
    lines += ["", f"errors and intervals: {how}; root mean square residual {fit.rmse:.4g}"]
    if fit.held is not None:
        held = fit.held
        lines.append(
            f"held out: {held.n} points, rmse {held.rmse:.4g}, bias {held.bias:+.4g}, worst {held.worst:.4g}, "
            f"{held.covered:.0%} inside their 95 % interval"
        )
    if convergence.at_bound:
        lines.append(
            f"warning: {', '.join(convergence.at_bound)} at a bound or without influence; "
            "only a bootstrap interval means anything there"
        )
    groups, free = None if fit.cases is None else fit.cases.group_count, len(fit.law.parameters) - len(fit.fixed)
    if fit.draws is not None and groups is not None and groups <= free:
        lines.append(
            f"warning: the bootstrap drew {groups} groups for {free} fitted parameters; its intervals are too narrow"
        )
    if convergence.condition > _ILL:
        lines.append(
            f"warning: the points determine only combinations of the parameters (condition {convergence.condition:.0e})"
        )
    return "\n".join(lines)


def profiles(fit: Fit) -> dict[str, tuple[float | None, float | None]]:
    """The 95 % interval of each fitted parameter from its profile; None where the end was not reached."""
    found = {}
    for p in fit.law.parameters:
        if p.name not in (*fit.fixed, *fit.convergence.at_bound):
            low, high = fit.profiled(p.name)
            found[p.name] = (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
    return found


def profiles_text(fit: Fit) -> str:
    """The same as a table."""
    lines = [(name, *("open" if end is None else end for end in ends)) for name, ends in profiles(fit).items()]
    return table_text(("profile", "95 % low", "95 % high"), lines)


def comparison_text(fits: Sequence[Fit]) -> str:
    """Several fits, the best on held-out points first."""
    table = comparison(fits).drop(columns="formula")
    return table_text(list(table.columns), [tuple(line) for line in table.astype(object).itertuples(index=False)])


def laws_text(laws: Sequence[Law]) -> str:
    """A line for each law."""
    lines = [(law.name, law.formula, ", ".join(q.name for q in (*law.inputs, law.output)), law.source) for law in laws]
    return table_text(("law", "formula", "columns", "source"), lines)


def law_text(law: Law) -> str:
    """A law's formula, columns with units, and parameters."""
    columns = [(q.name, q.unit, q.doc) for q in (*law.inputs, law.output)]
    parameters = [(p.name, "> 0" if p.log else f"{p.low:g} to {p.high:g}", p.doc) for p in law.parameters]
    return "\n".join(
        [
            f"{law.name}: {law.formula}  ({law.source})",
            "",
            table_text(("column", "unit", "meaning"), columns),
            "",
            table_text(("parameter", "bounds", "meaning"), parameters),
        ]
    )


def law_fields(law: Law) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "name": law.name,
        "formula": law.formula,
        "source": law.source,
        "inputs": [{"name": q.name, "unit": q.unit, "doc": q.doc} for q in law.inputs],
        "output": {"name": law.output.name, "unit": law.output.unit, "doc": law.output.doc},
        "parameters": [{"name": p.name, "doc": p.doc} for p in law.parameters],
    }
