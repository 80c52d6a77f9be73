"""The ledger of a sweep: its rows and series on disk, to read, write and verify."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.errors import SweepMismatch, UsageError
from landsweep.orchestrator.row import SERIES, Column, RowMaker
from landsweep.orchestrator.storage.ledger.facts import FACTS, check_facts, has_checksum
from landsweep.orchestrator.storage.ledger.files import NamedFile, check_files, check_states, kept_files
from landsweep.orchestrator.storage.ledger.keys import KeySet, first_of_each
from landsweep.orchestrator.storage.ledger.lock import DriverLock, Holder
from landsweep.orchestrator.storage.ledger.parts import Damage, Part, read_series, rows_of
from landsweep.orchestrator.storage.ledger.prepared import check_prepared
from landsweep.orchestrator.storage.ledger.scan import Scan, scan, scan_keys, until_steady
from landsweep.orchestrator.storage.ledger.schema import cast_to, unify
from landsweep.orchestrator.storage.ledger.seal import Damaged
from landsweep.orchestrator.storage.ledger.writer import MOST_ROWS, SECONDS, Hook, Writer
from landsweep.orchestrator.storage.readers import json_object
from landsweep.orchestrator.storage.store import Store

__all__ = ["Findings", "Ledger"]


@dataclass(frozen=True, slots=True)
class Findings:
    """What `Ledger.verify` found.

    Attributes:
        rows: how many, of all intact parts.
        by_status: status to count.
        duplicates: keys that more than one row has.
        missing: keys of the plan without a row.
        unexpected: keys of rows that are not in the plan: an axis was made shorter.
        damaged: parts, prepared files, files that rows name, and states, if they are not as they were written, or (but
            for states) are missing; files in `rows/` and `series/` that are not the sweep's; and a changed
            `sweep.json`.
        units_affected: keys of the units that left one of these files.
        stray_series: keys of series without a row.
        leftovers: files of a kill that no part refers to; harmless, the next run deletes them.
        files: how many files rows name.
        states: how many states there are to resume from.
        unproved: how many of them carry no digest, because an earlier version wrote them.
        facts_proved: whether `sweep.json` carries a checksum; those of earlier versions do not.
        deep: whether all bytes of files and states were compared with checksums; else only whether they exist and are
            not cut off.
    """

    rows: int
    by_status: Mapping[str, int]
    duplicates: Sequence[str]
    missing: Sequence[str]
    unexpected: Sequence[str]
    damaged: Sequence[Damage]
    units_affected: Sequence[str]
    stray_series: Sequence[str]
    leftovers: Sequence[str]
    files: int = 0
    states: int = 0
    unproved: int = 0
    facts_proved: bool = False
    deep: bool = False

    @property
    def sound(self) -> bool:
        """Whether every row is intact and unique; units may lack rows, since the sweep may not be finished."""
        return not (self.duplicates or self.damaged or self.stray_series)


class Ledger:
    """The rows and series of one sweep.

    Reading needs no lock and may go on while a driver writes. Damaged parts are left out, and named in `damaged`.

    Attributes:
        store: its folder.
        sweep: content of `sweep.json`.
        damaged: what the last read or `retire` found damaged.
    """

    def __init__(self, store: Store, sweep: dict[str, Any]) -> None:
        self.store = store
        self.sweep = sweep
        self.damaged: tuple[Damage, ...] = ()

    @classmethod
    def create(cls, store: Store, sweep: Mapping[str, Any]) -> Ledger:
        """Begin a sweep: writes `sweep.json`.

        Raises:
            SweepMismatch: a sweep is there already.
            StorageError: it can't be written.
        """
        data = json.dumps(sweep, indent=2).encode()
        if not store.create(FACTS, data) and store.read(FACTS) != data:
            raise SweepMismatch(f"{store.where} already holds a sweep; use another folder with --out")
        return cls.open(store)

    @classmethod
    def exists(cls, store: Store) -> bool:
        """Whether there is a sweep.

        Raises:
            Unreachable: the object store does not answer, or lets nobody in.
            UsageError: there are rows, but nothing says of which sweep.
        """
        store.reach()

        def has_facts() -> bool:
            return any(name == FACTS for name, _ in store.list(""))

        begun = has_facts()
        # Another driver may have begun between the two looks.
        if not begun and (parts := store.list("rows")) and not (begun := has_facts()):
            raise UsageError(
                f"{store.where} holds rows (rows/{parts[0][0]}), but no {FACTS} that says which sweep they belong to: "
                "put it back, or move rows/ and series/ away, or give another folder with --out"
            )
        return begun

    @classmethod
    def open(cls, store: Store) -> Ledger:
        """The sweep that is there, to read or to go on with.

        Raises:
            UsageError: there is none, or its `sweep.json` can't be understood.
        """
        try:
            raw = store.read(FACTS)
        except FileNotFoundError:
            raise UsageError(f"{store.where} holds no sweep: it has no {FACTS}") from None
        return cls(store, json_object(raw, f"{store.where}/{FACTS}"))

    def writing(
        self,
        hook: Hook | None = None,
        *,
        holder: Holder | None = None,
        stale: float = 15.0,
        beat: float = 2.0,
        seconds: float = SECONDS,
        most_rows: int = MOST_ROWS,
    ) -> Writer:
        """Become the driver: takes the lock, sets damaged parts aside, drops leftovers of a kill.

        Args:
            hook: called with the name of each point where a kill is tested: `before-commit`, `after-series`,
                `writing`, `after-commit`, `compacting`, `compacted`.
            holder: this process, if not given.
            stale: seconds without a heartbeat after which a driver on another machine counts as dead.
            beat: seconds between heartbeats.
            seconds: rows wait at most this long for a commit.
            most_rows: or until this many rows wait.

        Raises:
            SweepLocked: another driver is alive.
            StorageError: the lock can't be written.
        """
        lock = DriverLock.take(self.store, holder=holder, stale=stale, beat=beat)
        return Writer(self.store, lock, hook or (lambda point: None), seconds, most_rows, self._id)

    @property
    def _id(self) -> str | None:
        """Stands in each part, so that no part of another sweep is taken for one of this."""
        name = self.sweep.get("id")
        return name if isinstance(name, str) else None

    def keys(self) -> KeySet:
        """Keys of all rows, from verified parts."""
        scanned, keys = scan_keys(self.store, self._id)
        self.damaged = tuple(scanned.damaged)
        return keys

    def rows(self, columns: Sequence[str] | None = None, keys: Iterable[str] | None = None) -> pa.Table:
        """One row per unit, in the order of commits.

        Where parts differ, a column of whole numbers and floats is float, any other mixture is text, and a column that
        a part does not have is null there.

        Args:
            columns: only these; one that no part has is all null.
            keys: only the rows of these units.
        """
        key_array = None if keys is None else pa.array(list(keys), pa.string())
        names = None if columns is None else list(dict.fromkeys([*columns, "key"]))
        tables: list[pa.Table] = []

        def read() -> Scan:
            tables.clear()
            return scan(self.store, self._id, lambda part, rows: tables.append(rows_of(key_array, rows)), names)

        self._steady(read)
        tables.reverse()  # scanned from the newest
        if (first := first_of_each([t.column("key") for t in tables])) is not None:  # somebody has copied a part
            tables = [t.filter(flags) for t, flags in zip(tables, first, strict=True)]
        schema = unify(t.schema for t in tables) if tables else RowMaker((), ()).schema()
        if columns is not None:
            schema = pa.schema([schema.field(n) if n in schema.names else pa.field(n, pa.null()) for n in columns])
        return pa.concat_tables([cast_to(t, schema) for t in tables]) if tables else schema.empty_table()

    def series(self, keys: Iterable[str] | None = None) -> pa.Table:
        """Series of the units that have a row: key, step, metric, value.

        Args:
            keys: only of these units.
        """
        key_array = None if keys is None else pa.array(list(keys), pa.string())
        tables: list[pa.Table] = []
        keys_of: dict[int, pa.ChunkedArray] = {}

        def read() -> Scan:
            tables.clear()
            keys_of.clear()
            scanned = scan(self.store, self._id, lambda part, rows: keys_of.update({part.number: rows.column("key")}))
            columns = [keys_of[part.number] for part in scanned.parts]
            kept: dict[int, pa.Array] = {}
            if (first := first_of_each(columns)) is not None:  # somebody has copied a part
                every = zip(scanned.parts, columns, first, strict=True)
                kept = {part.number: column.filter(flags).combine_chunks() for part, column, flags in every}

            def add(part: Part, table: pa.Table) -> None:
                tables.append(cast_to(rows_of(key_array, rows_of(kept.get(part.number), table)), SERIES))

            self._each_series(scanned, add)
            return scanned

        self._steady(read)
        return pa.concat_tables(tables) if tables else SERIES.empty_table()

    def retire(self, keys: Iterable[str], files: Iterable[str] = (), **options: Any) -> int:  # noqa: ANN401 - as below
        """Take the rows and series of these units out of the table, so that the units run again; returns how many rows.

        All leave at once, and are kept in `retired/` for the record. Like each driver when it begins, this sets damaged
        parts aside; `damaged` names them.

        Args:
            keys: of the units; those without a row are ignored.
            files: of theirs, to set aside in `damaged/`; missing ones are ignored.
            options: arguments of `writing`.

        Raises:
            SweepLocked, StorageError, TakenOver: as `writing` and `Writer.commit`.
        """
        with self.writing(**options) as writer:
            count = writer.retire(pa.array(sorted(set(keys)), pa.string()))
            for file in files:
                writer.set_file_aside(file)
            self.damaged = tuple(writer.set_aside)
            return count

    def named_files(self, columns: Iterable[Column]) -> list[NamedFile]:
        """The files that rows name.

        Args:
            columns: of the rows; those with a `checksum` name files.
        """
        naming = [column for column in columns if column.checksum]
        if not naming:
            return []
        names = dict.fromkeys(["key", *(n for c in naming for n in (c.name, c.checksum))])
        return kept_files(self.rows(list(names)), naming)

    def verify(
        self,
        expected: Iterable[str] | None = None,
        columns: Iterable[Column] = (),
        prepared: Iterable[str] = (),
        *,
        deep: bool = False,
    ) -> Findings:
        """Read all rows, series and prepared files, check the files that rows name, and report what is wrong.

        Nothing is changed, and a driver may be running.

        Args:
            expected: keys of the plan; None leaves `missing` and `unexpected` empty.
            columns: of the rows; those with a `checksum` name files, which are checked too.
            prepared: names of the prepared files that a sweep whose units all have rows must have.
            deep: compare all bytes of files that rows name, and of states to go on from, with their checksums, instead
                of seeing whether they are there and not cut off.
        """
        tables: list[pa.Table] = []
        in_series = KeySet()

        def read() -> Scan:  # rows and series of the same parts, so that a commit meanwhile leaves no stray series
            tables.clear()
            in_series.clear()
            scanned = scan(self.store, self._id, lambda part, rows: tables.append(rows), ["key", "status"])
            self._each_series(scanned, lambda part, table: in_series.update(pc.unique(table.column("key")).to_pylist()))
            return scanned

        scanned = self._steady(read)
        tables.reverse()  # scanned from the newest
        counts = Counter(k for t in tables for k in t.column("key").to_pylist())
        keys = KeySet(counts)
        planned = None if expected is None else KeySet(expected)
        missing = [] if planned is None else [k for k in planned if k not in keys]
        files, states = self.named_files(columns), check_states(self.store, deep=deep)
        lost, facts = check_files(self.store, files, deep=deep), self._facts_damage(scanned)
        prepared_damage = check_prepared(self.store, prepared if len(keys) and not missing else ())
        return Findings(
            rows=sum(t.num_rows for t in tables),
            by_status=dict(Counter(str(s) for t in tables for s in t.column("status").to_pylist())),
            duplicates=[k for k, n in counts.items() if n > 1],
            missing=missing,
            unexpected=[] if planned is None else [k for k in keys if k not in planned],
            damaged=[
                *facts,
                *scanned.damaged,
                *(damage for _, damage in lost),
                *prepared_damage,
                *states.damaged,
            ],
            units_affected=sorted({key for file, _ in lost for key in file.keys}),
            stray_series=sorted(k for k in in_series if k not in keys),
            leftovers=scanned.garbage,
            files=len(files),
            states=states.count,
            unproved=states.unproved,
            facts_proved=has_checksum(self.sweep),
            deep=deep,
        )

    def _facts_damage(self, scanned: Scan) -> list[Damage]:
        """What is wrong with `sweep.json`."""
        strange = [Damage(FACTS, "no part in rows/ is of its sweep: put back their own")] if scanned.stranger else []
        changed = check_facts(self.sweep)
        return [*strange, *([changed] if changed else [])]

    def _each_series(self, scanned: Scan, each: Callable[[Part, pa.Table], None]) -> None:
        """Read the series of the parts of a scan, and note in it what is damaged or has vanished."""
        for part in scanned.parts:
            try:
                table = read_series(self.store, part)
            except FileNotFoundError:
                scanned.vanished = True
                return
            except Damaged as e:
                scanned.damaged.append(Damage(f"series/{part.series}", str(e)))
                continue
            if table is not None:
                each(part, table)

    def _steady(self, read: Callable[[], Scan]) -> Scan:
        """Read until no part was compacted away meanwhile."""
        scanned = until_steady(read)
        self.damaged = tuple(scanned.damaged)
        return scanned
