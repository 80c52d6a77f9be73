"""Parts: which files hold rows, which of them count, and what is damaged.

A part is `rows/part-000012.parquet`, and the file of series that its metadata names. It counts if it is intact and no
other intact part replaces it. `replaces` is cumulative, so a part that a paused driver writes late, under a number
that was replaced long ago, never counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import StorageError
from orchestrator.ledger.keys import KeySet
from orchestrator.ledger.seal import Damaged, check, unseal
from orchestrator.store import Store

__all__ = [
    "Damage",
    "Part",
    "Ranges",
    "Scan",
    "covers",
    "merge_ranges",
    "only",
    "read_rows",
    "read_series",
    "scan",
    "scan_keys",
    "steady",
]

Ranges: TypeAlias = tuple[tuple[int, int], ...]
_ROWS = re.compile(r"^part-(\d{6,})\.parquet$")
_SERIES = re.compile(r"^part-\d{6,}-[0-9a-f]{8}\.parquet$")
_ABOUT = "landsweep.part"


@dataclass(frozen=True, slots=True)
class Part:
    """One committed part.

    Attributes:
        number: parts are numbered as they are committed.
        level: 0 for a commit; a merged part is one above its sources.
        replaces: ranges of part numbers, both ends included, that this part stands for.
        series: name of its file in `series/`, None without.
        rows: how many.
        size: bytes, with its series.
    """

    number: int
    level: int
    replaces: Ranges
    series: str | None
    rows: int
    size: int = 0

    @property
    def path(self) -> str:
        """Of its file of rows."""
        return f"rows/part-{self.number:06d}.parquet"

    def about(self) -> dict[str, str]:
        """Key-value metadata for its file."""
        content = {"level": self.level, "replaces": self.replaces, "series": self.series}
        return {_ABOUT: json.dumps(content)}


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was written, and how that shows."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(slots=True)
class Scan:
    """What lies in `rows/` and `series/`.

    Attributes:
        parts: those that count, by rising number.
        damaged: files to set aside; the units of their rows are to run again.
        garbage: replaced rows, and series that no part refers to: leftovers of a kill.
        next: first number that was never used.
        vanished: the driver compacted parts away while this was read, so it must be done again.
    """

    parts: list[Part] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)
    garbage: list[str] = field(default_factory=list)
    next: int = 0
    vanished: bool = False


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers in as few ranges as possible.

    Example:
        >>> merge_ranges([(4, 6), (0, 2), (3, 3), (9, 9)])
        ((0, 6), (9, 9))
    """
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def covers(ranges: Iterable[tuple[int, int]], number: int) -> bool:
    """Whether a number lies in one of the ranges."""
    return any(low <= number <= high for low, high in ranges)


def scan(
    store: Store, each: Callable[[Part, pa.Table], None] | None = None, columns: Sequence[str] | None = ("key",)
) -> Scan:
    """Read and verify every part, the newest first.

    Args:
        store: of the sweep.
        each: called with each part that counts and its rows.
        columns: of the rows given to `each`; None for all.
    """
    found = Scan()
    sizes = dict(store.list("series"))
    numbers = _numbers(store)
    found.next = max([n for n, _ in numbers] + [_number(name) for name, _ in store.list("damaged")], default=-1) + 1
    replaced: Ranges = ()
    used: set[str] = set()
    for number, size in reversed(numbers):
        if covers(replaced, number):
            found.garbage.append(Part(number, 0, (), None, 0).path)
            continue
        try:
            part, table = read_rows(store, number, columns, size)
        except FileNotFoundError:
            found.vanished = True
            continue
        except Damaged as e:
            found.damaged.append(Damage(Part(number, 0, (), None, 0).path, str(e)))
            continue
        if part.series is not None:
            used.add(part.series)
            try:
                reason = _harm(store, part)
            except FileNotFoundError:
                found.vanished = True
                continue
            if reason is not None:
                found.damaged.append(Damage(part.path, f"its series are damaged: {reason}"))
                if part.series in sizes:
                    found.damaged.append(Damage(f"series/{part.series}", reason))
                continue
            part = replace(part, size=size + sizes.get(part.series, 0))
        replaced = merge_ranges([*replaced, *part.replaces])
        found.parts.append(part)
        if each is not None:
            each(part, table)
    found.parts.reverse()
    found.garbage += [f"series/{name}" for name in sizes if _SERIES.match(name) and name not in used]
    return found


def steady(read: Callable[[], Scan]) -> Scan:
    """Read until no part was compacted away meanwhile.

    Raises:
        StorageError: that did not come to an end.
    """
    for _ in range(50):
        found = read()
        if not found.vanished:
            return found
    raise StorageError("parts of the ledger vanish while it is read; is something else deleting files there?")


def scan_keys(store: Store) -> tuple[Scan, KeySet]:
    """What is there, and the keys of all rows that count."""
    keys = KeySet()

    def read() -> Scan:
        keys.clear()
        return scan(store, lambda part, rows: keys.update(rows.column("key").to_pylist()))

    return steady(read), keys


def read_rows(store: Store, number: int, columns: Sequence[str] | None = None, size: int = 0) -> tuple[Part, pa.Table]:
    """One part and its rows, verified.

    Raises:
        Damaged, FileNotFoundError: it is torn or changed, or not there.
    """
    table, about = unseal(store.read(Part(number, 0, (), None, 0).path), columns)
    try:
        known = json.loads(about[_ABOUT])
        replaces = tuple((int(a), int(b)) for a, b in known["replaces"])
        part = Part(number, int(known["level"]), replaces, known["series"], table.num_rows, size)
    except (KeyError, ValueError, TypeError) as e:
        raise Damaged("it is a sealed file, but not a part of a ledger") from e
    return part, table


def read_series(store: Store, part: Part) -> pa.Table | None:
    """The series of a part, verified; None if it has none.

    Raises:
        Damaged, FileNotFoundError: the file is torn or changed, or not there.
    """
    return None if part.series is None else unseal(store.read(f"series/{part.series}"))[0]


def only(table: pa.Table, keys: pa.Array | None) -> pa.Table:
    """The lines of a table that belong to these keys; all for None."""
    return table if keys is None else table.filter(pc.is_in(table.column("key").cast(keys.type), value_set=keys))


def _numbers(store: Store) -> list[tuple[int, int]]:
    """Numbers and sizes of the files of rows, by rising number.

    A listing is no snapshot: it may lack a merged part, made since it began, and also the sources, deleted before it
    came to them. The merged part is then in the next listing, so a listing holds once the next has no newer part.
    """
    listed: list[tuple[int, int]] | None = None
    for _ in range(50):
        before = listed
        listed = sorted((int(m[1]), size) for name, size in store.list("rows") if (m := _ROWS.match(name)))
        if before is not None and before[-1:] == listed[-1:]:
            return before
    raise StorageError("parts of the ledger appear faster than they can be listed; is something else writing there?")


def _harm(store: Store, part: Part) -> str | None:
    """What is wrong with the series of a part whose rows were just read.

    Raises:
        FileNotFoundError: the whole part was compacted away meanwhile: rows go first, then their series.
    """
    try:
        check(store.read(f"series/{part.series}"))
    except FileNotFoundError:
        store.read(part.path)
        return "the file is missing"
    except Damaged as e:
        return str(e)
    return None


def _number(damaged: str) -> int:
    found = re.search(r"part-(\d+)", damaged)
    return int(found[1]) if found else -1
