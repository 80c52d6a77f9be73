"""How many columns the rows of a sweep have together: each unit may name metrics of its own, and each is a column."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.row import Cause, RowMaker, Status
from landsweep.orchestrator.text import shortened

__all__ = ["ColumnLimit", "most_columns"]

_MOST = 20_000
_ALWAYS = 1_000  # however many units there are
_CELLS = 200_000_000  # of the table of all rows: 1.6 GB
_LONGEST_NAME = 60  # characters of a metric's name in a message


def most_columns(units: int | None) -> int:
    """How many columns a sweep may have.

    Args:
        units: of its plan; None where that is not known.

    Example:
        >>> most_columns(None), most_columns(40_000), most_columns(10_000_000)
        (20000, 5000, 1000)
    """
    return max(_ALWAYS, min(_MOST, _CELLS // max(1, units or 1)))


class ColumnLimit:
    """Fails units that would give the sweep's table more columns than it can bear.

    Columns that a unit has in common with earlier ones count once, so which unit fails depends on which came first.

    Args:
        maker: of the rows; knows which columns are no metrics.
        names: of the columns that the table has already.
    """

    def __init__(self, maker: RowMaker, names: Iterable[str]) -> None:
        self._fixed = set(maker.schema().names)
        self._names = self._fixed | set(names)

    def admitted(self, rows: pa.RecordBatch, units: int | None) -> pa.RecordBatch:
        """The rows; those that bring too many columns are failed ones, without metrics.

        Args:
            rows: of units that have ended.
            units: of the plan, if that is known.
        """
        new = [name for name in rows.schema.names if name not in self._names]
        most = most_columns(units)
        if len(self._names) + len(new) <= most:
            self._names.update(new)
            return rows
        errors = self._errors(rows, new, most)
        return rows if all(e is None for e in errors) else self._failed(rows, errors)

    def _errors(self, rows: pa.RecordBatch, new: list[str], most: int) -> list[str | None]:
        """For each row, in order, why it fails; its columns are noted where it does not."""
        filled = np.array([rows.column(name).is_valid().to_numpy(zero_copy_only=False) for name in new], bool)
        errors: list[str | None] = []
        for unit in range(rows.num_rows):
            more = [new[i] for i in np.flatnonzero(filled[:, unit]) if new[i] not in self._names]
            fits = not more or len(self._names) + len(more) <= most
            if fits:
                self._names.update(more)
            errors.append(None if fits else self._complaint(more, most))
        return errors

    def _complaint(self, more: list[str], most: int) -> str:
        names = ", ".join([shortened(name, _LONGEST_NAME) for name in more[:3]] + ["..."] * (len(more) > 3))
        return (
            f"the unit gave {len(more):,} metrics that no unit before it has ({names}). Each is a column of the "
            f"sweep's table, which has {len(self._names):,} columns and may have {most:,}. Give metrics the same names "
            "in all units, yield what differs as a series, or write it to a file of your own"
        )

    def _failed(self, rows: pa.RecordBatch, errors: list[str | None]) -> pa.RecordBatch:
        fails = pa.array([e is not None for e in errors])
        changes = {"status": Status.failed.value, "cause": Cause.error.value, "error": pa.array(errors, pa.string())}
        fields, columns = [], []
        for field, column in zip(rows.schema, rows.columns, strict=True):
            if field.name in changes:
                value = changes[field.name]
                column = pc.if_else(fails, value, column)
            elif field.name not in self._fixed:
                column = pc.if_else(fails, pa.scalar(None, column.type), column)
            if field.name in self._names:
                fields.append(field)
                columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
