"""Rows and series as a report can read them: every declared column is there, and holds what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.tables import numbers
from landsweep.orchestrator.report.values import is_missing
from landsweep.orchestrator.row import METERS, SERIES, Column
from landsweep.orchestrator.text import encodable
from landsweep.orchestrator.unit import as_python

__all__ = ["readable_rows", "readable_series"]

_LARGEST, _SMALLEST = 1e150, 1e-150  # beyond them squares, ranges and margins of axes overflow


def readable_rows(rows: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The rows with all declared columns and the engine's own.

    Numbers are floats, or whole numbers where none is missing; nan stands for nothing. Numbers beyond 1e150 count as
    infinite and those nearer to 0 than 1e-150 as 0: no figure can show them, and their squares are no numbers. Half
    characters (surrogates), which no file can hold, are written as escapes.

    Args:
        rows: as a ledger holds them; a column may be missing, hold nulls, or objects of any type.
        columns: of params and metrics.
    """
    declared: dict[str, pd.Series] = {}
    for c in (*columns, *METERS):
        cells = rows[c.name] if c.name in rows else pd.Series([None] * len(rows), index=rows.index, dtype=object)
        declared[c.name] = _column(cells, c)
    rest = {name: _encodable(rows[name]) for name in rows.columns if name not in declared}
    return pd.DataFrame({**rest, **declared}, index=rows.index)


def _column(cells: pd.Series, c: Column) -> pd.Series:
    if c.type in ("float", "int"):
        if cells.dtype.kind in "iu":
            return cells
        return pd.Series(_tamed(numbers(cells)), index=cells.index)
    if cells.dtype == object or c.type == "bool":
        plain = [None if is_missing(v := as_python(cell)) else v for cell in cells]
        typed = plain if c.type == "bool" else [None if v is None else encodable(str(v)) for v in plain]
        return pd.Series(typed, index=cells.index, dtype=object)
    return cells


def _encodable(cells: pd.Series) -> pd.Series:
    """The same, with texts that pandas can turn into a column of text again."""
    if cells.dtype != object:
        return cells
    texts = [encodable(cell) if isinstance(cell, str) else cell for cell in cells]
    return pd.Series(texts, index=cells.index, dtype=object)


def readable_series(series: pd.DataFrame) -> pd.DataFrame:
    """The series with all four columns, values tamed as those of rows are."""
    if not len(series):
        types = {"key": object, "step": float, "metric": object, "value": float}
        return pd.DataFrame({name: pd.Series(dtype=types[name]) for name in SERIES.names})
    return series.assign(value=_tamed(numbers(series["value"])))


def _tamed(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    size = np.abs(values)
    tamed = np.where(size > _LARGEST, np.copysign(np.inf, values), values)
    return np.where(size < _SMALLEST, 0.0, tamed)
