"""Parts of tables as JSON and as files: pages of rows, points to draw, groups of failures, comparisons."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from landsweep.orchestrator.commands.watching import ranges
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.redaction import redacted, redacted_error
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.spec import differences
from landsweep.orchestrator.ui.cells import cell, cells, line, text
from landsweep.orchestrator.ui.query import Query, sampled
from landsweep.orchestrator.ui.tables import Snapshot

__all__ = ["as_csv", "as_parquet", "chosen", "compared", "failures", "keys", "page", "points", "table_json"]

_MOST_ROWS = 1_000  # of a page
_MOST_POINTS = 5_000
_MOST_FAILED = 10_000  # that are grouped
_MOST_GROUPS = 50
_KEYS = 8  # of a group
_BATCH = 50_000  # rows of a CSV that are written at once
_MOST_LINES = 200  # of differences


def page(snapshot: Snapshot, query: Query, names: Sequence[str], offset: int, limit: int) -> dict[str, Any]:
    """Some of the rows that a query gives.

    Args:
        snapshot: of the sweep.
        query: filters and order.
        names: columns; none for all.
        offset: how many rows to leave out.
        limit: at most this many rows.

    Raises:
        UsageError: a column, filter or order does not fit.
    """
    rows = snapshot.rows(query)
    count = snapshot.table.num_rows if rows is None else len(rows)
    offset, limit = max(0, offset), min(max(0, limit), _MOST_ROWS)
    table = _columns(snapshot.table, names)
    some = table.slice(offset, limit) if rows is None else table.take(rows.slice(offset, limit))
    shown = {name: cells(some.column(name).to_pylist()) for name in table.column_names}
    return {
        "version": snapshot.version,
        "all": snapshot.table.num_rows,
        "count": count,
        "offset": offset,
        "rows": shown,
    }


def points(snapshot: Snapshot, query: Query, names: Sequence[str]) -> dict[str, Any]:
    """Columns of the rows that a query gives, to be drawn: where they are many, some at even distances.

    Raises:
        UsageError: as `page`.
    """
    rows = snapshot.rows(query)
    count = snapshot.table.num_rows if rows is None else len(rows)
    places = sampled(count, _MOST_POINTS)
    table = _columns(snapshot.table, ["key", *names]).take(places if rows is None else rows.take(places))
    shown = {name: cells(table.column(name).to_pylist()) for name in table.column_names}
    return {"version": snapshot.version, "count": count, "shown": len(places), "columns": shown}


def keys(snapshot: Snapshot, query: Query, most: int) -> list[str]:
    """Keys of the first rows that a query gives."""
    rows = snapshot.rows(query)
    column = snapshot.table.column("key")
    first = column.slice(0, most) if rows is None else column.take(rows.slice(0, most))
    return [str(key) for key in first.to_pylist()]


def chosen(snapshot: Snapshot, query: Query, names: Sequence[str]) -> pa.Table:
    """The table that a query gives, with all digits.

    Raises:
        UsageError: as `page`.
    """
    rows, table = snapshot.rows(query), _columns(snapshot.table, names)
    return table if rows is None else table.take(rows)


def table_json(table: pa.Table) -> dict[str, Any]:
    """A whole table: the names of its columns and their cells."""
    columns = [cells(column.to_pylist()) for column in table.columns]
    return {"header": [line(name, 80) for name in table.column_names], "columns": columns}


def as_csv(table: pa.Table) -> Iterator[bytes]:
    """A table as CSV, piece by piece."""
    for offset in range(0, max(table.num_rows, 1), _BATCH):
        buffer = io.BytesIO()
        options = pyarrow.csv.WriteOptions(include_header=offset == 0)
        pyarrow.csv.write_csv(table.slice(offset, _BATCH), buffer, options)
        yield buffer.getvalue()


def as_parquet(table: pa.Table) -> bytes:
    """A table as Parquet."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def failures(snapshot: Snapshot) -> dict[str, Any]:
    """The failed units by what happened, the most frequent first, each with the whole text of one error."""
    from landsweep.orchestrator.report.tables import headline  # pandas

    table = snapshot.table
    failed = table.filter(pc.equal(table.column("status"), Status.failed.value))
    some = _columns(failed, ["key", "cause", "error"]).slice(0, _MOST_FAILED).to_pylist()
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for row in some:
        error = redacted_error(row["error"]) if isinstance(row["error"], str) else ""
        name = str(row["cause"] or ""), line(headline(error))
        group = groups.setdefault(name, {"count": 0, "keys": [], "error": text(error, 20_000)})
        group["count"] += 1
        if len(group["keys"]) < _KEYS:
            group["keys"].append(line(row["key"], 80))
    ordered = sorted(groups.items(), key=lambda item: -item[1]["count"])
    shown = [{"cause": line(cause), "says": says, **group} for (cause, says), group in ordered[:_MOST_GROUPS]]
    return {"count": failed.num_rows, "grouped": len(some), "kinds": len(groups), "groups": shown}


def compared(snapshots: Mapping[str, Snapshot]) -> dict[str, Any]:
    """Sweeps side by side: least and largest value of each metric, and how their specs differ from the first.

    Args:
        snapshots: id to the rows of a sweep.
    """
    sweeps = []
    first: Snapshot | None = None
    for name, snapshot in snapshots.items():
        values = ranges(snapshot.table, snapshot.ledger.sweep)
        lines: list[str] = []
        if first is not None:
            lines = differences(first.spec, snapshot.spec)
        first = first or snapshot
        sweeps.append(
            {
                "id": name,
                "rows": snapshot.table.num_rows,
                "metrics": {metric: {"least": cell(v[0]), "largest": cell(v[1])} for metric, v in values.items()},
                "differences": [line(redacted(difference)) for difference in lines[:_MOST_LINES]],
            }
        )
    return {"sweeps": sweeps}


def _columns(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Only these columns, each once.

    Raises:
        UsageError: the table lacks one.
    """
    if unknown := [name for name in names if name not in table.column_names]:
        raise UsageError(f"there is no column {unknown[0][:100]!r}; there are {', '.join(table.column_names)[:1000]}")
    return table.select(list(dict.fromkeys(names))) if names else table
