"""Phase diagrams: from the rows of a table to cells of load and temperature with medians and phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.values import ordered
from landsweep.sweeps.lab.arrays import Floats
from landsweep.sweeps.laws.fitting.expressions import evaluate
from landsweep.sweeps.laws.fitting.tables import is_sweep
from landsweep.sweeps.measure.phases.rules import PhaseRules, Quantity, columns_of

__all__ = ["Diagram", "phase_diagram", "sources"]

_AXES = ("load", "temperature")
_APART = {"measure": "measures", "of_label": "checkpoints"}  # columns of a measuring sweep


@dataclass(frozen=True, slots=True)
class Diagram:
    """Cells of load and temperature, each with its medians and its phase.

    Attributes:
        rules: that gave the phases.
        columns: axis or quantity to the column, or the arithmetic, that it was taken from.
        cells: `load`, `temperature`, `rows`, the median of each quantity, and `phase`; one line for each cell.
        rows: of the table.
        left_out: rows that did not end well, or have no load or temperature.
    """

    rules: PhaseRules
    columns: Mapping[str, str]
    cells: pd.DataFrame
    rows: int
    left_out: int

    @property
    def quantities(self) -> list[str]:
        """Those that the table has, in the order of the rules."""
        return [q for q in self.rules.quantities if q in self.columns]

    @property
    def loads(self) -> list[object]:
        """Values of the load, in order."""
        return list(ordered(self.cells["load"].unique()))

    @property
    def temperatures(self) -> list[object]:
        """Values of the temperature, in order."""
        return list(ordered(self.cells["temperature"].unique()))

    def grid(self, column: str) -> list[list[object]]:
        """Values of a column of the cells, [temperatures, loads]; None where there is no cell."""
        at = self.cells.set_index(["temperature", "load"])[column].to_dict()
        return [[at.get((t, load)) for load in self.loads] for t in self.temperatures]

    def numbers(self, quantity: str) -> Floats:
        """The medians of a quantity, [temperatures, loads]; nan where there is none."""
        return np.array([[np.nan if v is None else v for v in line] for line in self.grid(quantity)], np.float64)

    def counts(self) -> dict[str, int]:
        """How many cells each phase has, in the order of the rules; those without a phase are under the empty name."""
        of = self.cells["phase"].fillna("").value_counts().to_dict()
        labels = [phase.label for phase in self.rules.phases]
        return {label: int(of.get(label, 0)) for label in (*labels, "")}


def phase_diagram(
    tables: Sequence[pd.DataFrame], rules: PhaseRules, columns: Mapping[str, str] | None = None
) -> Diagram:
    """Medians over all rows of a cell, such as seeds or pairs of seeds, and the phases that the rules give them.

    Args:
        tables: rows of any table; several are put below each other, so that a quantity may come from any of them.
            Of the rows of a sweep those that did not end well are left out.
        rules: that give the phases.
        columns: axis or quantity to its column, or to arithmetic of columns; what is not named is looked for among the
            columns of the rules.

    Raises:
        UsageError: an axis or a quantity that a rule needs is missing, or may be one of several columns.
    """
    good = [t[t["status"].astype(str) == "ok"] if is_sweep(t) else t for t in tables]
    table = pd.concat(good, ignore_index=True) if good else pd.DataFrame()
    if unknown := [name for name in columns or {} if name not in (*_AXES, *rules.quantities)]:
        names = ", ".join((*_AXES, *rules.quantities))
        raise UsageError(f"--columns: the rules {rules.name} know no {unknown[0]!r}; they know {names}")
    used = {}
    for name, quantity in {"load": rules.load, "temperature": rules.temperature, **rules.quantities}.items():
        expression = (columns or {}).get(name) or _found(name, quantity, table)
        if expression is not None:
            used[name] = expression
        elif name in _AXES or name in rules.needed():
            raise UsageError(_missing(name, quantity, table))
    _refuse_mixed(table, used)
    values = pd.DataFrame({name: _values(table, expression) for name, expression in used.items()})
    placed = values.dropna(subset=list(_AXES))
    cells = _cells(placed, [q for q in used if q not in _AXES])
    cells["phase"] = pd.Series(rules.label(cells), dtype=object, index=cells.index)
    total = sum(len(t) for t in tables)
    return Diagram(rules, used, cells, total, total - len(placed))


def sources(rules: PhaseRules) -> dict[str, Quantity]:
    """What a table must have: both axes, and the quantities that a rule speaks of."""
    return {"load": rules.load, "temperature": rules.temperature, **{q: rules.quantities[q] for q in rules.needed()}}


def _cells(values: pd.DataFrame, quantities: Sequence[str]) -> pd.DataFrame:
    if values.empty:
        raise UsageError("no row has a load and a temperature and ended well, so there is no cell")
    grouped = values.groupby(list(_AXES), sort=True)
    cells = grouped[list(quantities)].median() if quantities else pd.DataFrame(index=grouped.size().index)
    cells.insert(0, "rows", grouped.size())
    return cells.reset_index()


def _found(name: str, quantity: Quantity, table: pd.DataFrame) -> str | None:
    """The column that holds a quantity; None where there is none."""
    there = [c for c in quantity.columns if quantity.held_by(c, set(map(str, table.columns)))]
    there = [c for c in there if _values(table, c).notna().any()]
    varying = [c for c in there if _values(table, c).nunique() > 1]
    if len(varying) > 1 and name in _AXES:
        raise UsageError(
            f"{name} may be one of {', '.join(varying)}, which all vary; say which with --columns {name}={varying[0]}"
        )
    return next(iter(varying or there), None)


def _refuse_mixed(table: pd.DataFrame, used: Mapping[str, str]) -> None:
    """Medians over rows of several measures, or of several checkpoints, would mean nothing."""
    for name, expression in used.items():
        for column in (c for c in columns_of(expression) & set(table.columns) if name not in _AXES):
            filled = table[table[column].notna()]
            for by, what in _APART.items():
                if by not in table or (by == "measure" and column.startswith("of_")):
                    continue
                values = ordered(filled[by].dropna().unique())
                if len(values) > 1:
                    raise UsageError(
                        f"{name}: {column} stands in rows of several {what}: {', '.join(map(str, values[:6]))}; leave "
                        f"all but one out, such as with --exclude '{by} == {values[-1]}'"
                    )


def _values(table: pd.DataFrame, expression: str) -> pd.Series:
    if expression in table.columns:
        return pd.Series(table[expression])
    numeric = table.select_dtypes(include=["number", "bool"])
    columns = {str(c): numeric[c].to_numpy(np.float64) for c in numeric.columns}
    return pd.Series(evaluate(expression, columns), index=table.index)


def _missing(name: str, quantity: Quantity, table: pd.DataFrame) -> str:
    return (
        f"the table has no {name} ({quantity.doc}): none of {', '.join(quantity.columns)} is there; say which column "
        f"it is with --columns {name}=COLUMN. The table has {', '.join(map(str, table.columns))}"
    )
