"""Tables from files, object stores and the results of sweeps."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.row import Status
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.bounds import refuse_beyond, refuse_bombs, room
from landsweep.orchestrator.storage.inside import refuse_odd

__all__ = ["SWEEP_ROWS", "is_sweep", "read_table", "with_numbers"]

SWEEP_ROWS = "status != ok"
"""The rule that leaves out rows of a sweep that did not end well."""
_HEAD = "sweep.json"
# What readers raise for a file that is none of theirs: pandas trusts the description of a table that Parquet carries,
# and nesting ends in the interpreter's limit.
_UNREADABLE = (
    ValueError, OSError, csv.Error, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
    NotImplementedError, pa.ArrowException,
)  # fmt: skip
_CELL = 8  # bytes of a number
_PARTS = {"rows", "series"}  # folders of a sweep that are tables


def read_table(where: str | Path) -> pd.DataFrame:
    """A table: a file, a folder of Parquet files, or the results of a sweep; a path, or a URL of an object store.

    Files are Parquet, CSV, TSV, text in columns (.txt), JSON (a list of objects, or names to lists) and JSON lines. The
    results folder of a sweep gives its rows, and so does `rows` in it; `series` in it gives a line for each unit and
    step, with a column for each metric of the series and the columns of the unit's row.

    Raises:
        UsageError: there is no such file, or it can't be read; Unreachable, where an object store does not answer.
    """
    if (swept := _swept(str(where))) is not None:
        table = swept
    else:
        files = _fetched(str(where)) if "://" in str(where) else _found(Path(where))
        try:
            table = pd.concat([_READERS.get(file.suffix.lower(), _parquet)(file) for file in files])
        except _UNREADABLE as e:
            kind = "" if isinstance(e, ValueError | OSError | csv.Error) else f"{type(e).__name__}: "
            raise UsageError(f"{where} can't be read: {kind}{e}") from e
    if table.empty:
        raise UsageError(f"{where} holds no rows")
    try:
        return with_numbers(table.reset_index(drop=True))
    except OverflowError as e:
        raise UsageError(f"{where} can't be read: it holds whole numbers that no float can hold") from e


def is_sweep(table: pd.DataFrame) -> bool:
    """Whether these are rows of a sweep, each with a key and with the status in which its unit ended."""
    if not {"key", "status"} <= set(table.columns):
        return False
    return set(table["status"].dropna().astype(str)) <= {str(s) for s in Status}


def with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The same with whole numbers from 2^64 on, and decimal ones, as floats: pandas has no type of its own for them."""
    changed = {}
    for name in table.columns[table.dtypes.map(pd.api.types.is_object_dtype)]:
        present = table[name].dropna()
        numbers = present.map(lambda v: isinstance(v, int | float | Decimal) and not isinstance(v, bool))
        if len(present) and numbers.all():
            changed[name] = table[name].map(lambda v: np.nan if pd.isna(v) else float(v)).astype(np.float64)
    return table.assign(**changed) if changed else table


def _swept(where: str) -> pd.DataFrame | None:
    """Rows or series of a sweep; None where no sweep lies."""
    folder, _, name = where.rstrip("/").rpartition("/")
    part = name if name in _PARTS else ""
    home = (folder or ".") if part else where
    has_head = _HEAD in Artifacts(home).files("") if "://" in home else (Path(home) / _HEAD).is_file()
    if not has_head:
        return None
    from landsweep.orchestrator.run.sweep import Sweep  # it knows all kinds, which a table from a file does not need

    sweep = Sweep.at(home)
    if part != "series":
        return sweep.rows()
    series = sweep.series()
    _refuse_wide(where, series)
    wide = series.pivot_table(index=["key", "step"], columns="metric", values="value", aggfunc="last").reset_index()
    wide.columns.name = None
    rows = sweep.rows()
    return pd.DataFrame(wide.merge(rows.drop(columns=[c for c in rows if c in wide and c != "key"]), on="key"))


def _refuse_wide(where: str, series: pd.DataFrame) -> None:
    """Refuse series that take more memory than there is once each metric has a column.

    Raises:
        TooLarge: each of many metrics has steps of its own, say.
    """
    metrics = series["metric"].nunique()
    if metrics * len(series) * _CELL > room():  # no step has more than one line, at the worst
        refuse_beyond(f"{where}, with a column for each of {metrics:,} metrics,", metrics * _steps(series) * _CELL)


def _steps(series: pd.DataFrame) -> int:
    return int(series.groupby(["key", "step"]).ngroups)


def _text(path: Path) -> pd.DataFrame:
    """Columns between tabs, semicolons, commas or blanks, whichever the first line has; a `#` before it is dropped."""
    lines = path.read_text(encoding="utf-8-sig").lstrip("# ")
    first = lines.partition("\n")[0]
    separator = next((m for m in "\t;," if m in first), r"\s+")
    return _csv(io.StringIO(lines), sep=separator, skipinitialspace=True)


def _csv(source: Path | io.StringIO, *, sep: str = ",", skipinitialspace: bool = False) -> pd.DataFrame:
    """A table with a head. pandas takes values beyond it for an index, and moves all others under wrong names.

    Raises:
        ValueError: lines have more values than the head has names.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(source, sep=sep, skipinitialspace=skipinitialspace, index_col=False)
        except pd.errors.ParserWarning as e:
            raise ValueError("its lines have more values than its first line has names; name each column there") from e


def _tabs(path: Path) -> pd.DataFrame:
    return _csv(path, sep="\t")


def _parquet(path: Path) -> pd.DataFrame:
    """A file, or all files below a folder but those whose names begin with `.` or `_`, as pandas reads them."""
    files = (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else (path,)
    refuse_bombs(f for f in files if not any(n.startswith((".", "_")) for n in f.relative_to(path).parts))
    return pd.read_parquet(path)


def _json(path: Path) -> pd.DataFrame:
    data = json.loads(path.read_text(encoding="utf-8"))
    columns = isinstance(data, dict) and all(isinstance(v, list | dict) for v in data.values())
    objects = isinstance(data, list) and all(isinstance(v, dict) for v in data)
    if not columns and not objects:
        raise ValueError("a table in JSON is a list of objects, or an object of names to lists")
    return pd.DataFrame(data)


def _json_lines(path: Path) -> pd.DataFrame:
    lines: list[dict[str, Any]] = [json.loads(t) for t in path.read_text(encoding="utf-8").splitlines() if t.strip()]
    if not all(isinstance(line, dict) for line in lines):
        raise ValueError("each line must be an object of names to values")
    return pd.DataFrame(lines)


_READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _csv, ".tsv": _tabs, ".txt": _text, ".parquet": _parquet, ".json": _json,
    ".jsonl": _json_lines, ".ndjson": _json_lines,
}  # fmt: skip
_ENDINGS = (
    f"the ending must be one of {', '.join(_READERS)}, or it is a folder of Parquet files or the results of a sweep"
)


def _found(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"there is no table {path}")
    refuse_odd(path)
    if not path.is_dir() and path.suffix.lower() not in _READERS:
        raise UsageError(f"{path}: {_ENDINGS}")
    if path.is_dir() and not any(path.rglob("*.parquet")):
        raise UsageError(f"{path} is a folder without Parquet files and without {_HEAD}: {_ENDINGS}")
    return [path]


def _fetched(url: str) -> list[Path]:
    """Copies on this machine of a file, or of the Parquet files directly in a folder, of an object store."""
    folder, _, name = url.rstrip("/").rpartition("/")
    whole = Path(name).suffix.lower() not in _READERS
    store = Artifacts(url if whole else folder)
    names = [f for f in store.files("") if f.endswith(".parquet")] if whole else [name]
    if not names:
        raise UsageError(f"{url}: {_ENDINGS}; no Parquet files are there")
    try:
        return [store.path(file) for file in names]
    except FileNotFoundError:
        raise UsageError(f"there is no table {url}") from None
