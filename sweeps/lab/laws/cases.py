"""From any table to the points of a fit: columns, units, exclusions, groups, and a digest of what was used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from orchestrator.artifacts import Artifacts
from orchestrator.errors import UsageError
from sweeps.lab.laws.base import Floats, Law, Points, Quantity
from sweeps.lab.laws.expressions import evaluate
from sweeps.lab.laws.rules import chosen_by_any

__all__ = ["Cases", "Selection", "read_table", "select"]

_ENDINGS = "the ending must be one of .csv, .parquet, .jsonl, .ndjson, or it is a folder of Parquet files"


@dataclass(frozen=True, slots=True)
class Cases:
    """The points that a law is fitted to, or judged on.

    Attributes:
        x: inputs, each with first dimension n.
        y: measurements [n].
        weights: [n].
        groups: number of the group of each point [n]; None without groups.
    """

    x: Points
    y: Floats
    weights: Floats
    groups: NDArray[np.int64] | None

    @property
    def group_count(self) -> int | None:
        """How many groups the points belong to; None without groups."""
        return None if self.groups is None else len(np.unique(self.groups))

    def take(self, rows: NDArray[np.bool_]) -> Cases:
        """Those points alone."""
        groups = None if self.groups is None else self.groups[rows]
        return Cases({k: v[rows] for k, v in self.x.items()}, self.y[rows], self.weights[rows], groups)

    def digest(self) -> str:
        """Digest of names and numbers: two fits with equal digests used the same points."""
        found = hashlib.sha256(json.dumps(sorted(self.x)).encode())
        for array in (*(self.x[name] for name in sorted(self.x)), self.y, self.weights):
            found.update(np.ascontiguousarray(array, np.float64).tobytes())
        return found.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Selection:
    """How the points were chosen; stored with the fit, because the rules belong to it.

    Attributes:
        columns: how each quantity was taken from the table.
        rows: rows of the table.
        exclude: rules of exclusion.
        excluded: how many rows they exclude.
        holdout: rules that hold rows out of the fit.
        held: how many rows are held out.
        weights: column of the weights, if any.
        group: column of the groups, if any.
    """

    columns: Mapping[str, str]
    rows: int
    exclude: tuple[str, ...] = ()
    excluded: int = 0
    holdout: tuple[str, ...] = ()
    held: int = 0
    weights: str | None = None
    group: str | None = None


def _read_lines(path: Path) -> pd.DataFrame:
    return pd.DataFrame(pd.read_json(path, lines=True))


_READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv, ".parquet": pd.read_parquet, ".jsonl": _read_lines, ".ndjson": _read_lines
}  # fmt: skip


def read_table(where: str | Path) -> pd.DataFrame:
    """A Parquet file or folder of such, a CSV file, or JSON lines; a path, or a URL of an object store.

    Raises:
        UsageError: there is no such file, or it can't be read; Unreachable, where an object store does not answer.
    """
    files = _fetched(str(where)) if "://" in str(where) else _found(Path(where))
    try:
        table = pd.concat([_READERS.get(file.suffix.lower(), pd.read_parquet)(file) for file in files])
    except (ValueError, OSError) as e:
        raise UsageError(f"{where} can't be read: {e}") from e
    if table.empty:
        raise UsageError(f"{where} holds no rows")
    return table.reset_index(drop=True)


def _found(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"there is no table {path}")
    if not path.is_dir() and path.suffix.lower() not in _READERS:
        raise UsageError(f"{path}: {_ENDINGS}")
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


def select(
    law: Law,
    table: pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    holdout: Sequence[str] = (),
    weights: str | None = None,
    group: str | None = None,
) -> tuple[Cases, Cases | None, Selection]:
    """The points of a fit and those held out.

    Args:
        law: whose inputs and output are wanted.
        table: any table.
        columns: names of quantities to columns of the table or arithmetic of such; names that a law does not know are
            helpers for later ones. What is not named is taken from the column of that name.
        exclude: rules; rows that one of them chooses are left out altogether.
        holdout: rules; rows that one of them chooses are predicted, not fitted.
        weights: column or arithmetic; weights of the squared residuals, such as 1 / std ** 2.
        group: column; rows with equal values (a seed, a run) are drawn together by the bootstrap.

    Raises:
        UsageError: a column is missing, a value is missing or not positive where it must be, or too few are left.
    """
    named = _named(table, columns or {})
    excluded = chosen_by_any(exclude, named)
    held = chosen_by_any(holdout, named) & ~excluded
    numbers = _numbers(named)
    inputs = {q.name: _labels(named, q) if q.label else evaluate(q.name, numbers) for q in law.inputs}
    y = evaluate(law.output.name, numbers)
    w = np.ones(len(named)) if weights is None else evaluate(weights, numbers)
    used = ~excluded
    for quantity, values in (*((q, inputs[q.name]) for q in law.inputs), (law.output, y)):
        _check(quantity, values, used)
    _check(Quantity(f"weights ({weights})", "", ""), w, used)
    if group is not None and group not in named.columns:
        raise UsageError(f"group: there is no column {group!r}; the table has {', '.join(map(str, named.columns))}")
    groups = None if group is None else pd.factorize(named[group])[0].astype(np.int64)
    everything = Cases(law.prepare(inputs), y, w, groups)
    fitted = used & ~held
    if fitted.sum() < law.least_points:
        raise UsageError(
            f"{law.name} has {len(law.parameters)} parameters and needs at least {law.least_points} points; "
            f"{int(fitted.sum())} of {len(table)} rows are left after exclusion ({int(excluded.sum())}) and "
            f"hold-out ({int(held.sum())})"
        )
    described = {q.name: (columns or {}).get(q.name, q.name) for q in (*law.inputs, law.output)}
    described |= {k: v for k, v in (columns or {}).items() if k not in described}
    selection = Selection(
        described, len(table), tuple(exclude), int(excluded.sum()), tuple(holdout), int(held.sum()), weights, group
    )
    return everything.take(fitted), everything.take(held) if held.any() else None, selection


def _named(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with a column more for each name, so that rules and expressions can use it."""
    table = table.copy()
    for name, text in columns.items():
        found = table[text] if text in table.columns else evaluate(text.strip(), _numbers(table))
        table[name] = found
    return table


def _numbers(table: pd.DataFrame) -> dict[str, Floats]:
    numeric = table.select_dtypes("number")
    return {str(name): numeric[name].to_numpy(np.float64, na_value=np.nan) for name in numeric.columns}


def _labels(table: pd.DataFrame, quantity: Quantity) -> Floats:
    if quantity.name not in table.columns:
        raise UsageError(f"there is no column {quantity.name!r}; the table has {', '.join(map(str, table.columns))}")
    return np.asarray(pd.factorize(table[quantity.name])[0], np.float64)


def _check(quantity: Quantity, values: Floats, used: NDArray[np.bool_]) -> None:
    name = quantity.name
    missing = np.flatnonzero(used & ~np.isfinite(values))
    if len(missing):
        raise UsageError(
            f"{name} is missing or infinite in {len(missing)} rows (first: row {missing[0]}); "
            f"leave such rows out, for example with --exclude '{name} missing'"
        )
    wrong = np.flatnonzero(used & (values <= 0)) if quantity.positive else np.array([], int)
    if len(wrong):
        raise UsageError(
            f"{name} is {values[wrong[0]]:g} in row {wrong[0]} and not positive in {len(wrong)} rows; it must be "
            f"positive everywhere. Correct the column, or leave such rows out with --exclude '{name} <= 0'"
        )
