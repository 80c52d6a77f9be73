"""Merging parts: many small ones into one, so that a sweep of any length stays at a few files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import pyarrow as pa

from landsweep.orchestrator.row import SERIES
from landsweep.orchestrator.storage.ledger.keys import first_of_each
from landsweep.orchestrator.storage.ledger.parts import Part, merge_ranges, read_rows, read_series, rows_of
from landsweep.orchestrator.storage.ledger.schema import cast_to, unify
from landsweep.orchestrator.storage.ledger.seal import Damaged, check, seal_tables
from landsweep.orchestrator.storage.store import Store

__all__ = ["FAN_IN", "due", "last_of_each", "merged", "repeats"]

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


def repeats(store: Store, parts: Sequence[Part]) -> dict[int, pa.Array]:
    """Which rows to keep, by number of the part, for each part that repeats rows of units.

    Args:
        store: of the sweep.
        parts: all that count, by rising number.

    Raises:
        Damaged, FileNotFoundError: a part is damaged, or has vanished.
    """
    first = first_of_each([read_rows(store, part.number, ["key"])[1].column("key") for part in parts])
    pairs = zip(parts, first or (), strict=first is not None)
    return {part.number: flags for part, flags in pairs if flags.false_count}


def merged(
    store: Store,
    sources: Sequence[Part],
    number: int,
    token: str,
    sweep: str | None,
    keep: Mapping[int, pa.Array] | None = None,
) -> tuple[Part, bytearray, bytearray | None]:
    """A part that replaces others: what it is, the bytes of its rows, and those of its series.

    Memory: the compressed result and one row group.

    Args:
        store: of the sweep.
        sources: parts to merge, by rising number.
        number: of the new part.
        token: of the driver; makes the name of the series unique.
        sweep: its id.
        keep: which rows of a source stay, by its number; all rows of a source that is left out. Series follow rows.

    Raises:
        Damaged: a source is damaged.
    """
    schema = unify(_schema(store, p) for p in sources)
    count = 0

    def rows() -> Iterator[pa.Table]:
        nonlocal count
        for p in sources:
            now, table = read_rows(store, p.number)
            if (now.series, now.seal, now.sweep) != (p.series, p.seal, p.sweep):
                raise Damaged("another part has taken its place")
            if keep is not None and p.number in keep:
                table = table.filter(keep[p.number])
            count += table.num_rows
            yield cast_to(table, schema)

    def series() -> Iterator[pa.Table]:
        for p in sources:
            table = read_series(store, p)
            if table is not None and keep is not None and p.number in keep:
                have = read_rows(store, p.number, ["key"])[1].filter(keep[p.number])
                table = last_of_each(rows_of(have.column("key").combine_chunks(), table))
            if table is not None:
                yield cast_to(table, SERIES)

    has_series = any(p.series is not None for p in sources)
    name = f"part-{number:06d}-{token}.parquet" if has_series else None
    series_bytes = seal_tables(series(), SERIES, {}) if has_series else None
    level = max(p.level for p in sources) + (keep is None)
    replaces = merge_ranges([(p.number, p.number) for p in sources] + [r for p in sources for r in p.replaces])
    checksum = None if series_bytes is None else check(series_bytes)
    part = Part(number, level, replaces, name, 0, sweep=sweep, schema=schema, seal=checksum)
    data = seal_tables(rows(), schema, part.metadata())
    if keep is None and count != sum(p.rows for p in sources):
        raise RuntimeError(f"merging {[p.path for p in sources]} gave {count} rows")
    return dataclasses.replace(part, rows=count, size=len(data) + len(series_bytes or b"")), data, series_bytes


def last_of_each(series: pa.Table) -> pa.Table:
    """Series without repeats: of equal key, step and metric the last line."""
    place = pa.array(range(series.num_rows), pa.int64())
    last = series.append_column("at", place).group_by(["key", "step", "metric"]).aggregate([("at", "max")])
    if last.num_rows == series.num_rows:
        return series
    return series.take(last.column("at_max").combine_chunks().sort())


def _schema(store: Store, part: Part) -> pa.Schema:
    return part.schema or read_rows(store, part.number, [])[1].schema
