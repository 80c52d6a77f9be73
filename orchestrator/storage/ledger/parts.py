"""Parts: files of rows, each with the file of series that its metadata names, and that file's checksum.

A part is `rows/part-000012.parquet`; see `landsweep.orchestrator.storage.ledger.scan` for which of them count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.row import KEY, METERS
from landsweep.orchestrator.storage.ledger.seal import Damaged, check, contents, open_sealed, unseal
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.text import one_line

__all__ = [
    "COLUMNS",
    "OF_SWEEP",
    "STRANGE",
    "Damage",
    "Part",
    "Ranges",
    "belongs_elsewhere",
    "check_seal",
    "covers",
    "is_text",
    "merge_ranges",
    "read_rows",
    "read_series",
    "rows_of",
]

Ranges: TypeAlias = tuple[tuple[int, int], ...]
STRANGE = "it belongs to another sweep"
_NUMBER = "([0-9]{6}|[1-9][0-9]{6,})"  # each number has one name
ROWS = re.compile(rf"part-{_NUMBER}\.parquet")
SERIES_FILE = re.compile(rf"part-{_NUMBER}-[0-9a-f]{{8}}\.parquet")
_ABOUT = "landsweep.part"
COLUMNS = "rows/columns.parquet"  # no rows, all columns; it sorts before the parts, see `Writer`
OF_SWEEP = "landsweep.sweep"  # in its metadata: the id of its sweep; earlier versions have none there


@dataclass(frozen=True, slots=True)
class Part:
    """One committed part.

    Attributes:
        number: parts are numbered as they are committed.
        level: 0 for a commit; a merged part is one above its sources.
        replaces: ranges of part numbers, both ends included, that this part stands for.
        series: name of its file in `series/`, None without.
        seal: checksum of that file; None without one, and in parts of earlier versions.
        rows: how many.
        size: bytes, with its series.
        sweep: `id` of the sweep that it is a part of; None in parts of earlier versions, which belong to any.
        schema: of its rows; None until it was read or written.
    """

    number: int
    level: int
    replaces: Ranges
    series: str | None
    rows: int
    size: int = 0
    sweep: str | None = None
    schema: pa.Schema | None = None
    seal: str | None = None

    @property
    def path(self) -> str:
        """Path of its file of rows."""
        return f"rows/part-{self.number:06d}.parquet"

    def metadata(self) -> dict[str, str]:
        """Key-value metadata of its file."""
        names = ("level", "replaces", "series", "sweep", "seal")
        return {_ABOUT: json.dumps({name: getattr(self, name) for name in names})}


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was written, and how that shows."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{one_line(self.path)}: {self.reason}"


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


def read_rows(store: Store, number: int, columns: Sequence[str] | None = None, size: int = 0) -> tuple[Part, pa.Table]:
    """One part and its rows, verified.

    Raises:
        Damaged, FileNotFoundError: it is torn or changed, or not there.
    """
    path = Part(number, 0, (), None, 0).path
    data = store.read(path)
    file = open_sealed(data)
    table, metadata = contents(file, data, columns, f"{store.where}/{path}")
    try:
        about = json.loads(metadata[_ABOUT])
        replaces = tuple((int(a), int(b)) for a, b in about["replaces"])
        series, sweep, seal = about["series"], about.get("sweep"), about.get("seal")
        if series is not None and not SERIES_FILE.fullmatch(series):
            raise ValueError(f"{series!r} is no name of a file of series")
        if sweep is not None and not isinstance(sweep, str):
            raise ValueError(f"{sweep!r} is no id of a sweep")
        if seal is not None and not isinstance(seal, str):
            raise ValueError(f"{seal!r} is no checksum")
        schema = file.schema_arrow.remove_metadata()
        part = Part(number, int(about["level"]), replaces, series, table.num_rows, size, sweep, schema, seal)
        _check_columns(schema)
        if "key" in table.column_names and table.column("key").null_count:
            raise ValueError("some of its rows have no keys")
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as e:
        raise Damaged("it is a sealed file, but not a part of a ledger") from e
    return part, table


def _check_columns(schema: pa.Schema) -> None:
    """Refuse columns that `RowMaker` does not make: whoever has sealed the part, it was not a driver.

    Raises:
        ValueError: says which column.
    """
    if len(set(schema.names)) < len(schema.names):
        raise ValueError("it has columns of the same name")
    for field in schema:
        if not any(is_one(field.type) for is_one in _PLAIN):
            raise ValueError(f"the column {field.name!r} has the type {field.type}")
    for column in (KEY, *METERS):
        if column.name not in schema.names:
            if column.name in ("key", "status"):
                raise ValueError(f"it has no column {column.name!r}")
            continue
        kind = schema.field(column.name).type
        if is_text(kind) != (column.type == "text") and not (pa.types.is_null(kind) and column is not KEY):
            raise ValueError(f"the column {column.name!r} has the type {kind}")


def belongs_elsewhere(store: Store, path: str, sweep: str | None) -> bool:
    """Whether a file of rows, which may be damaged or gone, is a part of another sweep."""
    match = ROWS.fullmatch(path.removeprefix("rows/"))
    try:
        return match is not None and read_rows(store, int(match[1]), [])[0].sweep not in (None, sweep)
    except (Damaged, FileNotFoundError):
        return False


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


_PLAIN = (is_text, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)


_OF_SERIES = {"key": is_text, "step": pa.types.is_integer, "metric": is_text, "value": pa.types.is_floating}


def read_series(store: Store, part: Part) -> pa.Table | None:
    """The series of a part, verified; None if it has none.

    Raises:
        Damaged, FileNotFoundError: the file is torn, changed, or another one; or not there.
    """
    if part.series is None:
        return None
    data = store.read(f"series/{part.series}")
    check_seal(part, check(data))
    table = unseal(data, source=f"{store.where}/series/{part.series}")[0]
    kinds = {field.name: field.type for field in table.schema}
    if len(kinds) < table.num_columns or not all(n in kinds and fits(kinds[n]) for n, fits in _OF_SERIES.items()):
        raise Damaged("a sealed file, but its columns are not those of series")
    return table


def rows_of(keys: pa.Array | None, table: pa.Table) -> pa.Table:
    """The rows of a table that have these keys; None: all rows."""
    return table if keys is None else table.filter(pc.is_in(table.column("key").cast(keys.type), value_set=keys))


def check_seal(part: Part, seal: str) -> None:
    """Compare the checksum of a file of series with that in the part.

    Raises:
        Damaged: it is another file.
    """
    if part.seal not in (None, seal):
        raise Damaged("an intact file, but not the one of this part")
