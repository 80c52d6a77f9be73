"""The driver's side of the ledger: append, group commit, compaction. One writer lives at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from posixpath import splitext
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.errors import StopSweep, StorageError, UsageError
from landsweep.orchestrator.storage.bounds import TooLarge
from landsweep.orchestrator.storage.ledger.compact import due, merged, repeats
from landsweep.orchestrator.storage.ledger.facts import FACTS
from landsweep.orchestrator.storage.ledger.keys import KeySet
from landsweep.orchestrator.storage.ledger.lock import DriverLock
from landsweep.orchestrator.storage.ledger.parts import (
    COLUMNS,
    OF_SWEEP,
    STRANGE,
    Damage,
    Part,
    belongs_elsewhere,
    read_rows,
    read_series,
    rows_of,
)
from landsweep.orchestrator.storage.ledger.scan import scan_keys
from landsweep.orchestrator.storage.ledger.schema import same_columns, table_of, unify
from landsweep.orchestrator.storage.ledger.seal import Damaged, check, seal
from landsweep.orchestrator.storage.ledger.series import SeriesBuffer
from landsweep.orchestrator.storage.store import Store

__all__ = ["Hook", "Writer"]

Hook = Callable[[str], None]
MOST_ROWS = 32_768  # rows of one commit
SECONDS = 2.0  # between commits


class Writer:
    """Appends rows to a sweep; made by `Ledger.writing`, and a context manager.

    On the way out it commits what is buffered, merges small parts, and releases the lock.

    Readers of a whole folder, such as `pandas.read_parquet`, take the columns of its first file and drop in silence
    what only later files have. So while parts differ, a file without rows comes before them that has all columns.

    Attributes:
        done: keys of all rows, committed or buffered.
        dropped: how many rows were refused so far because their unit had one already.
        set_aside: what was damaged, no file of this sweep, or there twice, and is in `damaged/` now; units that have no
            other row are not in `done`.
    """

    def __init__(
        self,
        store: Store,
        lock: DriverLock,
        hook: Hook,
        seconds: float = SECONDS,
        most_rows: int = MOST_ROWS,
        sweep: str | None = None,
    ) -> None:
        self._seconds, self._most_rows = seconds, most_rows
        self.done = KeySet()
        self.dropped = 0
        self.set_aside: list[Damage] = []
        self._store = store
        self._lock = lock
        self._hook = hook
        self._sweep = sweep
        self._parts: list[Part] = []
        self._next = 0
        self._schema = pa.schema([])  # all columns of all parts
        self._columns: pa.Schema | None = None  # of the file COLUMNS; None: there is none
        self._rows: list[pa.RecordBatch] = []
        self._count = 0
        self._series = SeriesBuffer()
        self._since: float | None = None
        try:
            lock.check()
            store.clean("rows", "series", "prepared", "weights", "states", "points")
            store.clean("retired", "damaged", "report", "lock", "")
            self._absorb()
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, StorageError):  # what could not be written a moment ago
            self._lock.release()
        else:
            with contextlib.suppress(StopSweep):  # the error under way says more
                self.close()

    @property
    def columns(self) -> list[str]:
        """Names of all columns of the committed rows."""
        return list(self._schema.names)

    def prove(self, expected: int) -> None:
        """Make sure that at least this many rows are committed, and that the files of their parts are in the folder.

        Raises:
            StorageError: there are fewer.
        """
        files = {f"rows/{name}" for name, _ in self._store.list("rows")}
        missing = expected - sum(part.rows for part in self._parts if part.path in files)
        if missing > 0:
            raise StorageError(
                f"{missing:,} units should have rows in {self._store.where}, but have none: were files removed from "
                "rows/ during this run? All other rows are safe; the same command computes the missing ones."
            )

    def append(self, rows: pa.RecordBatch, series: pa.RecordBatch | None = None) -> int:
        """Buffer rows and series; returns how many rows were dropped because their unit has one already.

        Series are committed with the row of their unit, and wait for it as long as that takes.

        Args:
            rows: with a column `key`; one row per unit.
            series: with the schema `row.SERIES`, of any units that have no row yet, or theirs here.
        """
        if series is not None and series.num_rows:
            self._series.append(series, self.done)  # before the rows, which make their units done
        fresh = [self.done.add(key) for key in rows.column("key").to_pylist()]
        dropped = len(fresh) - sum(fresh)
        if dropped:
            rows = rows.filter(pa.array(fresh, pa.bool_()))
            self.dropped += dropped
        if rows.num_rows:
            self._rows.append(rows)
            self._count += rows.num_rows
        return dropped

    def commit_if_due(self, now: float) -> bool:
        """Commit if rows have waited long enough or are many; returns whether it did.

        Args:
            now: any clock that never goes back, seconds.

        Raises:
            StorageError, TakenOver: as `commit`.
        """
        if self._since is None or not self._count:
            self._since = now
        if self._count < self._most_rows and (not self._count or now - self._since < self._seconds):
            return False
        self.commit()
        self._since = now
        return True

    def commit(self) -> None:
        """Write all buffered rows as one part; after it they survive anything.

        Raises:
            StorageError: it could not be written. The rows are still buffered, so it may be tried again.
            TakenOver: another driver works on this sweep.
        """
        if not self._count:
            return
        self._hook("before-commit")
        while self._count:  # another driver's late part may hold all of them
            rows = table_of(self._rows)
            series, later = self._series.split(rows.column("key").combine_chunks())
            name, checksum, lines = None, None, None
            if series is not None:
                name, lines = f"part-{self._next:06d}-{self._lock.token}.parquet", seal(series, {})
                checksum = check(lines)
            part = Part(self._next, 0, (), name, rows.num_rows, sweep=self._sweep, schema=rows.schema, seal=checksum)
            data = seal(rows, part.metadata())
            self._show_columns(rows.schema)
            if self._put(part, data, lines, hook=self._hook):
                self._rows, self._count = [], 0
                self._series = later
                self._hook("after-commit")
        self._compact()

    def update_sweep(self, sweep: Mapping[str, Any]) -> None:
        """Replace `sweep.json`, when an axis has grown.

        Raises:
            StorageError, TakenOver: as `commit`.
        """
        self._lock.check()
        self._store.replace(FACTS, json.dumps(sweep, indent=2).encode(), durable=True)

    def retire(self, keys: pa.Array) -> int:
        """Take rows out of the table at once: one part replaces all that held them. Returns how many rows.

        Args:
            keys: of the rows, as Arrow text.

        Raises:
            StorageError, TakenOver: as `commit`.
        """
        while True:
            keep = {}
            for part in self._parts:
                have = read_rows(self._store, part.number, ["key"])[1].column("key").cast(keys.type)
                leaving = pc.is_in(have, value_set=keys).combine_chunks()
                if leaving.true_count:
                    keep[part.number] = pc.invert(leaving)
            count = self._narrow(keep, "retired")
            if count is not None:
                return count

    def set_file_aside(self, path: str) -> None:
        """Move a file that is not what its rows say to `damaged/`.

        Raises:
            StorageError, TakenOver: as `commit`.
        """
        self._lock.check()
        self._store.move(path, f"damaged/{path.replace('/', '-')}-{self._lock.token}")

    def _narrow(self, keep: Mapping[int, pa.Array], folder: str) -> int | None:
        """Replace parts by one with some of their rows; returns how many have left. None: start again from `_parts`.

        Args:
            keep: by number of the part, which of its rows stay.
            folder: keeps, for the record, what leaves the parts.
        """
        narrowed = [part for part in self._parts if part.number in keep]
        if not narrowed:
            return 0
        count = sum(self._record(part, pc.invert(keep[part.number]), folder) for part in narrowed)
        part, data, series = merged(self._store, narrowed, self._next, self._lock.token, self._sweep, keep)
        if not self._put(part, data, series):
            return None
        self._drop(narrowed)
        return count

    def _record(self, part: Part, leaving: pa.Array, folder: str) -> int:
        """Keep in a folder what is about to leave a part."""
        rows = read_rows(self._store, part.number)[1].filter(leaving)
        series = read_series(self._store, part)
        name = f"{folder}/part-{self._next:06d}-{part.number:06d}"
        self._store.replace(f"{name}-rows.parquet", seal(rows, {}), durable=True)
        if series is not None:
            series = rows_of(rows.column("key").combine_chunks(), series)
            self._store.replace(f"{name}-series.parquet", seal(series, {}), durable=True)
        return int(rows.num_rows)

    def close(self) -> None:
        """Commit, merge the small parts, and release the lock.

        Raises:
            StorageError, TakenOver: as `commit`; the lock is released all the same.
        """
        try:
            self.commit()
            self._compact(final=True)
            self._show_columns()
        finally:
            self._lock.release()

    def _put(self, part: Part, data: bytearray, series: bytearray | None, hook: Hook | None = None) -> bool:
        """Commit a part; False if its number was taken, after having read what took it."""
        say = hook or (lambda point: None)
        if series is not None:
            self._store.replace(f"series/{part.series}", series, durable=True)
            say("after-series")
        self._lock.check()
        say("writing")
        if not self._store.create(part.path, data) and self._store.read(part.path) != data:
            # A driver that was paused between its check and its put has written this part before us.
            if part.series is not None:
                self._store.delete(f"series/{part.series}")
            self._lock.check()
            self._absorb()
            return False
        self._parts.append(replace(part, size=len(data)))
        self._next = part.number + 1
        return True

    def _compact(self, *, final: bool = False) -> None:
        """Merge parts that are many. A failure leaves all as it was, so it is no reason to stop."""
        with contextlib.suppress(StorageError):
            while sources := due(self._parts, final=final):
                self._hook("compacting")
                try:
                    part, data, series = merged(self._store, sources, self._next, self._lock.token, self._sweep)
                except (Damaged, FileNotFoundError, TooLarge):
                    return  # damaged while we ran: the next start sets it aside; or memory is short
                if not self._put(part, data, series):
                    return
                self._hook("compacted")
                self._drop(sources)

    def _drop(self, replaced: list[Part]) -> None:
        gone = {p.number for p in replaced}
        self._parts = [p for p in self._parts if p.number not in gone]
        self._show_columns(unify(p.schema for p in self._parts))  # before the first part goes, which may have had all
        used = {p.series for p in self._parts}  # a copy of a part names the same file
        with contextlib.suppress(StorageError):  # readers ignore them, and the next start deletes them
            for p in replaced:
                self._delete(p.path)
                if p.series is not None and p.series not in used:
                    self._delete(f"series/{p.series}")

    def _delete(self, path: str) -> None:
        """Remove a file, unless another driver has taken over: to that one it may be no leftover.

        Raises:
            StorageError, TakenOver: as `commit`.
        """
        self._lock.check()
        self._store.delete(path)

    def _show_columns(self, more: pa.Schema | None = None) -> None:
        """Let readers of the whole folder see all columns, also those of a part that comes next."""
        if more is None:
            self._schema = unify(p.schema for p in self._parts)
        elif not more.equals(self._schema, check_metadata=True):
            self._schema = unify([self._schema, more])
        if not self._parts or same_columns(self._parts[0].schema, self._schema):
            if self._columns is not None and more is None:
                self._delete(COLUMNS)
                self._columns = None
        elif self._columns is None or not same_columns(self._columns, self._schema):
            self._lock.check()
            about = {} if self._sweep is None else {OF_SWEEP: self._sweep}
            self._store.replace(COLUMNS, seal(self._schema.empty_table(), about), durable=True)
            self._columns = self._schema

    def _absorb(self) -> None:
        """Read the folder, set damaged parts aside, delete leftovers, drop buffered rows that are committed already."""
        scanned, committed = scan_keys(self._store, self._sweep)
        if scanned.stranger:
            raise UsageError(
                f"{self._store.where}: {FACTS} is that of another sweep than the parts in rows/. Put back their own; "
                "or, if it is the parts that don't belong here, move rows/ and series/ away"
            )
        aside = set[str]()
        while damaged := [d for d in scanned.damaged if d.path not in aside]:
            self._set_aside(damaged)
            aside.update(damage.path for damage in damaged)
            scanned, committed = scan_keys(self._store, self._sweep)  # a part may have been a link to one of them
        for path in scanned.garbage:
            if belongs_elsewhere(self._store, path, self._sweep):
                self._set_aside([Damage(path, STRANGE)])
            else:
                self._delete(path)
        self._parts, self._next = scanned.parts, scanned.next
        self._columns = pa.schema([]) if scanned.columns else None
        buffered, self._rows, self._count = self._rows, [], 0
        if sum(part.rows for part in self._parts) > len(committed):
            self._drop_repeats()
            committed = scan_keys(self._store, self._sweep)[1]
        self.done = committed
        for batch in buffered:
            self.append(batch)
        self._show_columns()

    def _drop_repeats(self) -> None:
        """Somebody has copied a part: keep the first row of each unit."""
        keep = repeats(self._store, self._parts)
        count = self._narrow(keep, "damaged")
        if count is not None:
            paths = ", ".join(Part(number, 0, (), None, 0).path for number in sorted(keep))
            self.set_aside.append(Damage(paths, f"{count:,} of its rows are of units that have an earlier row"))

    def _set_aside(self, damaged: Sequence[Damage]) -> None:
        for damage in damaged:
            self._lock.check()
            stem, suffix = splitext(damage.path.replace("/", "-"))
            self._store.move(damage.path, f"damaged/{stem}-{self._lock.token}{suffix}")
        self.set_aside += damaged
