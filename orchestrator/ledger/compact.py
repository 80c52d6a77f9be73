"""Merging parts: many small ones into one, so that a sweep of any length stays at a few files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ledger.parts import Part, merge_ranges, read_rows, read_series
from orchestrator.ledger.schema import fit, unify
from orchestrator.ledger.seal import seal_tables
from orchestrator.row import SERIES
from orchestrator.store import Store

__all__ = ["FAN_IN", "due", "merged"]

FAN_IN = 16  # with 32, 10^4 commits with series could leave 190 files
_LARGE = 64 << 20  # bytes; merging parts as large as this would save few files and cost much


def due(parts: Sequence[Part], *, final: bool = False) -> list[Part]:
    """The parts to merge now: `FAN_IN` of one level, or at the end of a run all small ones; else none.

    Args:
        parts: those that count.
        final: the run ends, so merge even a few.
    """
    small = [p for p in parts if p.size < _LARGE]
    if final:
        return small if len(small) > 1 and sum(p.size for p in small) < _LARGE else []
    for _, group in groupby(sorted(small, key=lambda p: (p.level, p.number)), key=lambda p: p.level):
        same = list(group)
        if len(same) >= FAN_IN:
            return same
    return []


def merged(
    store: Store, sources: Sequence[Part], number: int, token: str, without: pa.Array | None = None
) -> tuple[Part, bytearray, bytearray | None]:
    """A part that replaces others: what it is, the bytes of its rows, and those of its series.

    Memory: the compressed result and one row group.

    Args:
        store: of the sweep.
        sources: parts to merge, by rising number.
        number: of the new part.
        token: of the driver; makes the name of the series unique.
        without: keys whose rows and series are left out.

    Raises:
        Damaged: a source is.
    """
    schema = unify(_schema(store, p) for p in sources)
    count = 0

    def rows() -> Iterator[pa.Table]:
        nonlocal count
        for p in sources:
            table = _without(read_rows(store, p.number)[1], without)
            count += table.num_rows
            yield fit(table, schema)

    def series() -> Iterator[pa.Table]:
        for p in sources:
            table = read_series(store, p)
            if table is not None:
                yield fit(_without(table, without), SERIES)

    has_series = any(p.series is not None for p in sources)
    name = f"part-{number:06d}-{token}.parquet" if has_series else None
    series_bytes = seal_tables(series(), SERIES, {}) if has_series else None
    level = max(p.level for p in sources) + (without is None)
    replaces = merge_ranges([(p.number, p.number) for p in sources] + [r for p in sources for r in p.replaces])
    part = Part(number, level, replaces, name, 0)
    data = seal_tables(rows(), schema, part.about())
    if without is None and count != sum(p.rows for p in sources):
        raise RuntimeError(f"merging {[p.path for p in sources]} gave {count} rows")
    return dataclasses.replace(part, rows=count, size=len(data) + len(series_bytes or b"")), data, series_bytes


def _schema(store: Store, part: Part) -> pa.Schema:
    return read_rows(store, part.number)[1].schema


def _without(table: pa.Table, keys: pa.Array | None) -> pa.Table:
    if keys is None:
        return table
    return table.filter(pc.invert(pc.is_in(table.column("key").cast(keys.type), value_set=keys)))
