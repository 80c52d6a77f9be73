"""What lies in `rows/` and `series/`: which parts count, what is damaged, and what is left over.

A part counts if it is intact and no other intact part replaces it. `replaces` is cumulative, so a part that a paused
driver writes late, under a number that was replaced long ago, never counts. A part that names another sweep never
counts, nor what it says it replaces. Where parts of a copy of the same sweep were added, one may be said to be replaced
by a part that has other rows: it is damaged then, not a leftover.

No other files belong into these folders: a plain reader of a folder would take them for rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.errors import StorageError
from landsweep.orchestrator.storage.ledger.keys import KeySet
from landsweep.orchestrator.storage.ledger.parts import (
    COLUMNS,
    OF_SWEEP,
    ROWS,
    SERIES_FILE,
    STRANGE,
    Damage,
    Part,
    Ranges,
    check_seal,
    covers,
    is_text,
    merge_ranges,
    read_rows,
)
from landsweep.orchestrator.storage.ledger.replaced import lost_rows
from landsweep.orchestrator.storage.ledger.schema import same_columns, unify
from landsweep.orchestrator.storage.ledger.seal import Damaged, check, unseal
from landsweep.orchestrator.storage.store import NO_FILE, Store

__all__ = ["Scan", "scan", "scan_keys", "until_steady"]

FOREIGN = "it is no file of this sweep"
_NONE = "it is no file: a folder, or a link to one or to nothing"


@dataclass(slots=True)
class Scan:
    """What lies in `rows/` and `series/`.

    Attributes:
        parts: those that count, by rising number.
        damaged: files to set aside; the units of their rows are to run again.
        garbage: replaced rows, and series that no part refers to: leftovers of a kill.
        next: first number that was never used.
        columns: whether there is a file `COLUMNS`.
        vanished: the driver compacted parts away while this was read, so it must be done again.
    """

    parts: list[Part] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)
    garbage: list[str] = field(default_factory=list)
    next: int = 0
    columns: bool = False
    vanished: bool = False

    @property
    def stranger(self) -> bool:
        """Whether nothing is of this sweep, but parts are of another one: then it may be `sweep.json` that is."""
        strange = any(d.reason == STRANGE and d.path.startswith("rows/part") for d in self.damaged)
        return strange and not self.parts and not self.garbage


def scan(
    store: Store,
    sweep: str | None,
    each: Callable[[Part, pa.Table], None] | None = None,
    columns: Sequence[str] | None = ("key",),
) -> Scan:
    """Read and verify every part, the newest first.

    Args:
        store: of the sweep.
        sweep: its id; parts of another one are damage.
        each: called with each part that counts and its rows.
        columns: of the rows given to `each`; None for all.
    """
    scanned = Scan()
    sizes = _files(store, "series", scanned)
    numbers = _listed(store, scanned)
    scanned.next = max([n for n, _ in numbers] + [_number(name) for name, _ in store.list("damaged")], default=-1) + 1
    replaced: Ranges = ()
    behind: list[int] = []  # parts that others replace
    used: set[str] = set()  # series of parts of this sweep
    foreign: set[str] = set()  # series of parts of others
    for number, size in reversed(numbers):
        if covers(replaced, number):
            behind.append(number)
            continue
        try:
            part, table = read_rows(store, number, columns, size)
            if part.sweep not in (None, sweep):
                scanned.damaged.append(Damage(part.path, STRANGE))
                foreign.update(filter(None, [part.series]))
                continue
            used.update(filter(None, [part.series]))
            reason = _series_damage(store, part, table)
        except FileNotFoundError:
            _note_absent(store, Part(number, 0, (), None, 0).path, scanned)
            continue
        except Damaged as e:
            scanned.damaged.append(Damage(Part(number, 0, (), None, 0).path, str(e)))
            continue
        if reason is not None:
            scanned.damaged.append(Damage(part.path, f"its series are not those that were written: {reason}"))
            if part.series in sizes:
                scanned.damaged.append(Damage(f"series/{part.series}", reason))
            continue
        part = replace(part, size=size + sizes.get(part.series or "", 0))
        replaced = merge_ranges([*replaced, *part.replaces])
        scanned.parts.append(part)
        if each is not None:
            each(part, table)
    scanned.parts.reverse()
    kept = (_sort_replaced(store, sweep, scanned, behind) & sizes.keys()) - used
    _check_columns(store, sweep, scanned, unify(part.schema for part in scanned.parts))
    foreign = (foreign - used) & sizes.keys()
    scanned.damaged[:0] = [Damage(f"series/{name}", "its part is set aside") for name in sorted(kept)]
    scanned.damaged += [Damage(f"series/{name}", STRANGE) for name in sorted(foreign)]
    names = {name for name in sizes if SERIES_FILE.fullmatch(name)}
    scanned.damaged += [Damage(f"series/{name}", FOREIGN) for name in _visible(sizes) if name not in names]
    scanned.garbage += [f"series/{name}" for name in sorted(names - used - foreign - kept)]
    return scanned


def _sort_replaced(store: Store, sweep: str | None, scanned: Scan, numbers: Sequence[int]) -> set[str]:
    """Note parts that others replace: leftovers of a kill, unless rows would be lost. Gives the series to keep."""
    found: dict[int, Part] = {}
    keys: dict[int, pa.ChunkedArray] = {}
    for number in numbers:
        try:
            found[number], rows = read_rows(store, number, ["key"])
        except FileNotFoundError:
            continue
        except Damaged as e:  # which rows it held nobody knows
            scanned.damaged.append(Damage(Part(number, 0, (), None, 0).path, str(e)))
            continue
        if found[number].sweep in (None, sweep):
            keys[number] = rows.column("key")
    try:
        lost = lost_rows(store, scanned.parts, keys)
    except (FileNotFoundError, Damaged):
        scanned.vanished = True
        return set()
    scanned.garbage += [part.path for number, part in found.items() if number not in lost]
    for number, count in lost.items():
        reason = f"a part says that it replaces it, but lacks {count:,} of its rows"
        scanned.damaged.append(Damage(found[number].path, reason))
    return {series for number in lost if (series := found[number].series) is not None}


def _note_absent(store: Store, path: str, scanned: Scan) -> None:
    """Note a part that is listed and not there: compacted away, or a link to a folder, which is listed as a file."""
    if store.path is not None and (store.path / path).is_dir():
        scanned.damaged.append(Damage(path, _NONE))
    else:
        scanned.vanished = True


def until_steady(read: Callable[[], Scan]) -> Scan:
    """Read again until no part was compacted away meanwhile.

    Raises:
        StorageError: parts vanish each time.
    """
    for _ in range(50):
        scanned = read()
        if not scanned.vanished:
            return scanned
    raise StorageError("parts of the ledger vanish while it is read; is something else deleting files there?")


def scan_keys(store: Store, sweep: str | None) -> tuple[Scan, KeySet]:
    """The scan, and the keys of all rows that count."""
    keys = KeySet()

    def read() -> Scan:
        keys.clear()
        return scan(store, sweep, lambda part, rows: keys.update(rows.column("key").to_pylist()))

    return until_steady(read), keys


def _files(store: Store, folder: str, scanned: Scan) -> dict[str, int]:
    """Names and sizes of the files in a folder; what is none but has a name like one is noted in the scan."""
    sizes = dict(store.list(folder, deep=True))
    scanned.damaged += [Damage(f"{folder}/{name}", _NONE) for name, size in sizes.items() if size == NO_FILE]
    return {name: size for name, size in sizes.items() if size != NO_FILE}


def _listed(store: Store, scanned: Scan) -> list[tuple[int, int]]:
    """Numbers and sizes of the files of rows, by rising number; notes other files in the scan.

    A listing is no snapshot: it may lack a merged part, made since it began, and also the sources, deleted before it
    came to them. The merged part is then in the next listing, so a listing holds once the next has no newer part.
    """
    listed: list[tuple[int, int]] | None = None
    for _ in range(50):
        before, others = listed, Scan()
        files = _files(store, "rows", others)
        listed = sorted((int(m[1]), size) for name, size in files.items() if (m := ROWS.fullmatch(name)))
        if before is not None and before[-1:] == listed[-1:]:
            scanned.columns = files.pop(COLUMNS.removeprefix("rows/"), None) is not None
            strange = (f"rows/{name}" for name in _visible(files) if not ROWS.fullmatch(name))
            scanned.damaged += [*others.damaged, *(Damage(path, FOREIGN) for path in strange)]
            return before
    raise StorageError("parts of the ledger appear faster than they can be listed; is something else writing there?")


def _series_damage(store: Store, part: Part, rows: pa.Table) -> str | None:
    """What is wrong with the series of a part whose rows were just read; None: nothing.

    Raises:
        FileNotFoundError: the whole part was compacted away meanwhile: rows go first, then their series.
    """
    if part.series is None:
        return None
    try:
        data = store.read(f"series/{part.series}")
        check_seal(part, check(data))
        if part.seal is None and "key" in rows.column_names:  # of an earlier version
            _check_keys(unseal(data, ["key"], f"{store.where}/series/{part.series}")[0], rows)
    except FileNotFoundError:
        store.read(part.path)
        return "the file is missing"
    except Damaged as e:
        return str(e)
    return None


def _check_columns(store: Store, sweep: str | None, scanned: Scan, columns: pa.Schema) -> None:
    """Note a wrong file `COLUMNS`: a plain reader takes its columns for those of all files, and its rows for units."""
    try:
        if scanned.columns:
            table, about = unseal(store.read(COLUMNS), source=f"{store.where}/{COLUMNS}")
            if table.num_rows:
                raise Damaged(f"it holds {table.num_rows:,} rows, and should have none")
            if about.get(OF_SWEEP, sweep) != sweep:
                raise Damaged(STRANGE)
            if lacking := [name for name in columns.names if name not in table.column_names]:
                raise Damaged(f"it lacks columns of the parts: {', '.join(map(repr, lacking[:5]))}")
        elif scanned.parts and not same_columns(scanned.parts[0].schema, columns):
            raise Damaged("the file is missing: a reader of the whole folder takes the columns of the first part only")
    except FileNotFoundError:
        pass  # a driver has just ended
    except Damaged as e:
        scanned.damaged.append(Damage(COLUMNS, str(e)))


def _check_keys(lines: pa.Table, rows: pa.Table) -> None:
    if lines.column_names != ["key"] or not is_text(lines.schema.field("key").type):
        raise Damaged("it has no keys")
    keys = pc.unique(lines.column("key"))
    expected = pc.is_in(keys, value_set=rows.column("key").combine_chunks().cast(keys.type))
    if not pc.all(expected, min_count=0).as_py():
        raise Damaged("some of its lines are of units of other parts")


def _visible(names: Iterable[str]) -> list[str]:
    """The names that plain readers of a folder do not skip."""
    return [name for name in names if not any(piece.startswith((".", "_")) for piece in name.split("/"))]


def _number(damaged: str) -> int:
    match = re.search(r"part-(\d+)", damaged)
    return int(match[1]) if match else -1
