"""Whether rows of a part that another one says it replaces are anywhere else.

That a part says so is not enough. If two copies of one sweep go on apart, their parts have the same numbers and other
rows. Once the files lie in one folder, a part of one copy says that it replaces parts of the other that it never read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.storage.ledger.parts import Part, covers, read_rows
from landsweep.orchestrator.storage.ledger.seal import Damaged, unseal
from landsweep.orchestrator.storage.store import Store

__all__ = ["Elsewhere"]

_RECORD = re.compile(r"part-(\d+)-(\d+)-rows\.parquet")  # new part, old part; see `Writer`, which writes them


class Elsewhere:
    """Keys of the parts that count, and of rows that have left the table; each file is read once, when it is needed.

    Args:
        store: of the sweep.
        parts: those that count.
    """

    def __init__(self, store: Store, parts: Sequence[Part]) -> None:
        self._store = store
        self._parts = parts
        self._keys: dict[int, pa.ChunkedArray] = {}  # by number of the part
        self._left: dict[str, pa.ChunkedArray] = {}  # by path of the record

    def lacks(self, number: int, keys: pa.ChunkedArray) -> int:
        """How many rows of a replaced part are in no part that counts, and did not leave the table after it was made.

        Args:
            number: of the replaced part.
            keys: of its rows.

        Raises:
            FileNotFoundError, Damaged: a part that counted is gone, or was changed.
        """
        for part in sorted(self._parts, key=lambda part: not covers(part.replaces, number)):  # most likely ones first
            if len(keys) == 0:
                return 0
            if part.number not in self._keys:
                self._keys[part.number] = read_rows(self._store, part.number, ["key"])[1].column("key")
            keys = _without(keys, self._keys[part.number])
        for path in self._records(number) if len(keys) else ():
            keys = _without(keys, self._left[path])
        return len(keys)

    def _records(self, number: int) -> list[str]:
        """Paths of the intact records of rows that left the table after the part of this number was made."""
        listed = [(folder, name) for folder in ("retired", "damaged") for name, _ in self._store.list(folder)]
        paths = [f"{folder}/{name}" for folder, name in listed if (m := _RECORD.fullmatch(name)) and int(m[1]) > number]
        for path in paths:
            if path in self._left:
                continue
            try:
                self._left[path] = unseal(self._store.read(path), ["key"], path)[0].column("key")
            except (Damaged, FileNotFoundError, KeyError):  # it excuses nothing
                continue
        return [path for path in paths if path in self._left]


def _without(keys: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    """The keys that are not among others."""
    return keys.filter(pc.invert(pc.is_in(keys, value_set=others.cast(keys.type).combine_chunks())))
