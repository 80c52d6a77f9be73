"""From any table to the points of a fit: columns, units, exclusions, groups, and a digest of what was used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.rules import chosen_by_any
from landsweep.sweeps.laws.base import Floats, Law, Points, Quantity
from landsweep.sweeps.laws.fitting.expressions import evaluate
from landsweep.sweeps.laws.fitting.tables import with_numbers

__all__ = ["Cases", "Selection", "select"]


@dataclass(frozen=True, slots=True)
class Cases:
    """The points that a law is fitted to, or judged on.

    Attributes:
        x: inputs, each with first dimension n.
        y: measurements [n].
        weights: [n].
        groups: number of the group of each point [n]; None without groups.
    """

    x: Points
    y: Floats
    weights: Floats
    groups: NDArray[np.int64] | None

    @property
    def group_count(self) -> int | None:
        """How many groups the points belong to; None without groups."""
        return None if self.groups is None else len(np.unique(self.groups))

    def take(self, rows: NDArray[np.bool_]) -> Cases:
        """Those points alone."""
        groups = None if self.groups is None else self.groups[rows]
        return Cases({k: v[rows] for k, v in self.x.items()}, self.y[rows], self.weights[rows], groups)

    def digest(self) -> str:
        """Digest of names and numbers: two fits with equal digests used the same points."""
        sha = hashlib.sha256(json.dumps(sorted(self.x)).encode())
        for array in (*(self.x[name] for name in sorted(self.x)), self.y, self.weights):
            sha.update(np.ascontiguousarray(array, np.float64).tobytes())
        return sha.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Selection:
    """How the points were chosen; stored with the fit, because the rules belong to it.

    Attributes:
        columns: how each quantity was taken from the table.
        rows: rows of the table.
        exclude: rules of exclusion.
        excluded: how many rows they exclude.
        holdout: rules that hold rows out of the fit.
        held: how many rows are held out.
        weights: column of the weights, if any.
        group: column of the groups, if any.
        notes: what had to be assumed about the points, as sentences.
    """

    columns: Mapping[str, str]
    rows: int
    exclude: tuple[str, ...] = ()
    excluded: int = 0
    holdout: tuple[str, ...] = ()
    held: int = 0
    weights: str | None = None
    group: str | None = None
    notes: tuple[str, ...] = ()


def select(
    law: Law,
    table: pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    holdout: Sequence[str] = (),
    weights: str | None = None,
    group: str | None = None,
    given: int = 0,
) -> tuple[Cases, Cases | None, Selection]:
    """The points of a fit and those held out.

    Args:
        law: whose inputs and output are wanted.
        table: any table.
        columns: names of quantities to columns of the table or arithmetic of such; names that a law does not know are
            helpers for later ones. What is not named is taken from the column of that name.
        exclude: rules; rows that one of them chooses are left out altogether.
        holdout: rules; rows that one of them chooses are predicted, not fitted.
        weights: column or arithmetic; weights of the squared residuals, such as 1 / std ** 2.
        group: column; rows with equal values (a seed, a run) are drawn together by the bootstrap.
        given: how many parameters of the law are not fitted.

    Raises:
        UsageError: a column is missing, a value is missing or not positive where it must be, or too few are left.
    """
    named = _named(table, columns or {})
    excluded = chosen_by_any(exclude, named)
    held = chosen_by_any(holdout, named) & ~excluded
    numbers = _numbers(named)
    quantities = [q for q in law.inputs if not q.optional or q.name in numbers]
    inputs = {q.name: _labels(named, q) if q.label else evaluate(q.name, numbers) for q in quantities}
    y = evaluate(law.output.name, numbers)
    w = np.ones(len(named)) if weights is None else evaluate(weights, numbers)
    used = ~excluded
    for quantity, values in (*((q, inputs[q.name]) for q in quantities), (law.output, y)):
        _check(quantity, values, used)
    _check(Quantity(f"weights ({weights})", "", ""), w, used)
    if group is not None and group not in named.columns:
        raise UsageError(f"group: there is no column {group!r}; the table has {', '.join(map(str, named.columns))}")
    groups = None if group is None else pd.factorize(named[group])[0].astype(np.int64)
    everything = Cases(law.prepare(inputs), y, w, groups)
    fitted, least = used & ~held, law.least_points - given
    if fitted.sum() < least:
        raise UsageError(
            f"{law.name} has {len(law.parameters) - given} parameters to fit and needs at least {least} points; "
            f"{int(fitted.sum())} of {len(table)} rows are left after exclusion ({int(excluded.sum())}) and "
            f"hold-out ({int(held.sum())})"
        )
    described = {q.name: (columns or {}).get(q.name, q.name) for q in (*quantities, law.output)}
    described |= {k: v for k, v in (columns or {}).items() if k not in described}
    selection = Selection(
        described, len(table), tuple(exclude), int(excluded.sum()), tuple(holdout), int(held.sum()), weights, group,
        tuple(law.notes(inputs)),
    )  # fmt: skip
    return everything.take(fitted), everything.take(held) if held.any() else None, selection


def _named(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with a column more for each name, so that rules and expressions can use it."""
    table = with_numbers(table).copy()
    for name, text in columns.items():
        column = table[text] if text in table.columns else evaluate(text.strip(), _numbers(table))
        table[name] = column
    return table


def _numbers(table: pd.DataFrame) -> dict[str, Floats]:
    numeric = table.select_dtypes("number")
    return {str(name): numeric[name].to_numpy(np.float64, na_value=np.nan) for name in numeric.columns}


def _labels(table: pd.DataFrame, quantity: Quantity) -> Floats:
    if quantity.name not in table.columns:
        raise UsageError(f"there is no column {quantity.name!r}; the table has {', '.join(map(str, table.columns))}")
    return np.asarray(pd.factorize(table[quantity.name])[0], np.float64)


def _check(quantity: Quantity, values: Floats, used: NDArray[np.bool_]) -> None:
    name = quantity.name
    missing = np.flatnonzero(used & ~np.isfinite(values))
    if len(missing):
        raise UsageError(
            f"{name} is missing or infinite in {len(missing)} rows (first: row {missing[0]}); "
            f"leave such rows out, for example with --exclude '{name} missing'"
        )
    wrong = np.flatnonzero(used & (values <= 0)) if quantity.positive else np.array([], int)
    if len(wrong):
        raise UsageError(
            f"{name} is {values[wrong[0]]:g} in row {wrong[0]} and not positive in {len(wrong)} rows; it must be "
            f"positive everywhere. Correct the column, or leave such rows out with --exclude '{name} <= 0'"
        )
