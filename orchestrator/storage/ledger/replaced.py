"""Whether rows of a part that another one says it replaces are anywhere else.

That a part says so is not enough. If two copies of one sweep go on apart, their parts have the same numbers and other
rows. Once the files lie in one folder, a part of one copy says that it replaces parts of the other that it never read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.storage.ledger.parts import Part, is_text, read_rows
from landsweep.orchestrator.storage.ledger.seal import Damaged, unseal
from landsweep.orchestrator.storage.store import Store

__all__ = ["lost_rows"]

_RECORD = re.compile(r"part-(\d+)-\d+-rows\.parquet")  # of rows that left the table for a new part; see `Writer`


def lost_rows(store: Store, parts: Sequence[Part], replaced: Mapping[int, pa.ChunkedArray]) -> dict[int, int]:
    """How many rows of replaced parts are in no part that counts, and did not leave the table after that part was made.

    Each file is read at most once, and none where nothing is replaced.

    Args:
        store: of the sweep.
        parts: those that count, by rising number.
        replaced: keys of the rows of each replaced part, by its number.

    Returns:
        By number of the part; parts of which nothing is lost are left out.

    Raises:
        FileNotFoundError, Damaged: a part that counted is gone, or was changed.
    """
    order = list(replaced)  # a number may be too large for Arrow, its place here is not
    places = [pa.repeat(pa.scalar(place, pa.int64()), len(replaced[number])) for place, number in enumerate(order)]
    keys = [chunk.cast(pa.string()) for column in replaced.values() for chunk in column.chunks]
    lost = pa.table({"part": pa.chunked_array(places, pa.int64()), "key": pa.chunked_array(keys, pa.string())})
    for part in reversed(parts):  # the one that was merged last is the likeliest to hold all
        if lost.num_rows:
            lost = lost.filter(pc.invert(_among(lost, read_rows(store, part.number, ["key"])[1])))
    for folder in ("retired", "damaged") if lost.num_rows else ():
        for name, _ in store.list(folder):
            if (match := _RECORD.fullmatch(name)) is None:
                continue
            try:
                record = unseal(store.read(f"{folder}/{name}"), ["key"], name)[0]
            except (Damaged, FileNotFoundError):  # it excuses nothing
                continue
            if record.column_names == ["key"] and is_text(record.schema.field("key").type):
                older = [place for place, number in enumerate(order) if number < int(match[1])]
                before = pc.is_in(lost.column("part"), value_set=pa.array(older, pa.int64()))
                lost = lost.filter(pc.invert(pc.and_(before, _among(lost, record))))
    return {order[place]: count for place, count in Counter(lost.column("part").to_pylist()).items()}


def _among(rows: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    """Which rows have the keys of others."""
    return pc.is_in(rows.column("key"), value_set=others.column("key").combine_chunks().cast(pa.string()))
