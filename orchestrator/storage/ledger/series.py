"""Series that wait in memory until the row of their unit is committed."""

from __future__ import annotations

from collections.abc import Container, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.row import SERIES
from landsweep.orchestrator.storage.ledger.compact import last_of_each

__all__ = ["SeriesBuffer"]


class SeriesBuffer:
    """Lines of series (key, step, metric, value), of units that may have no row yet.

    Of equal key, step and metric the last line counts, so that a unit that was tried twice has one series.
    """

    def __init__(self, batches: Sequence[pa.RecordBatch] = ()) -> None:
        self._batches = list(batches)

    def append(self, series: pa.RecordBatch, done: Container[str]) -> None:
        """Take in lines, but for those of units that are done: they are a late repeat.

        Args:
            series: with the schema `landsweep.orchestrator.row.SERIES`.
            done: keys of units that have a row already.
        """
        keys = series.column("key").dictionary_encode()
        is_open = [key not in done for key in keys.dictionary.to_pylist()]
        if not all(is_open):
            series = series.filter(pc.take(pa.array(is_open, pa.bool_()), keys.indices))
        if series.num_rows:
            self._batches.append(series)

    def split(self, keys: pa.Array) -> tuple[pa.Table | None, SeriesBuffer]:
        """The lines of these units, without repeats, or None where there are none; and a buffer of all others."""
        if not self._batches:
            return None, self
        table = pa.Table.from_batches(self._batches, schema=SERIES)
        of_keys = pc.is_in(table.column("key"), value_set=keys)
        lines, others = last_of_each(table.filter(of_keys)), table.filter(pc.invert(of_keys))
        return lines if lines.num_rows else None, SeriesBuffer(others.to_batches() if others.num_rows else ())
