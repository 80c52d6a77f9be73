"""What the options of `landsweep fit` say, as values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.fitting.expressions import Option, assignments

__all__ = ["ends", "parts", "values"]

_MOST = 200  # fits of one command


def values(texts: Sequence[str] | None, option: Option) -> dict[str, float]:
    """`E=1.69,alpha=0.34` as names and numbers.

    Raises:
        UsageError: a value is no number, or a name has two.
    """
    return {name: _number(text, f"{option} {name}={text}") for name, text in assignments(texts or (), option).items()}


def ends(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """`alpha=0:1,A=1:` as names and both ends, infinite where one is left out.

    Raises:
        UsageError: a value is no LOW:HIGH, or a name has two.
    """
    bounds = {}
    for name, text in assignments(texts or (), "--bounds").items():
        low, colon, high = text.partition(":")
        if not colon:
            raise UsageError(f"--bounds {name}={text}: bounds are LOW:HIGH, one of which may be left out, such as 0:1")
        option = f"--bounds {name}={text}"
        bounds[name] = (_number(low, option) if low else -math.inf, _number(high, option) if high else math.inf)
    return bounds


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{option}: {text!r} is no number") from None


def parts(table: pd.DataFrame, by: str | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each value of a column, or without one the whole table under an empty name.

    Raises:
        UsageError: there is no such column, it is empty in a row, or has more than 200 values.
    """
    if by is None:
        yield "", table
        return
    if by not in table.columns:
        raise UsageError(f"--by {by}: there is no such column; the table has {', '.join(map(str, table.columns))}")
    missing, count = int(table[by].isna().sum()), table[by].nunique()
    if missing:
        raise UsageError(f"--by {by}: the column is empty in {missing} rows; fill it, or leave such rows out")
    if count > _MOST:
        raise UsageError(
            f"--by {by}: the column has {count} values, each a fit of its own; at most {_MOST} are allowed"
        )
    for value, rows in table.groupby(by, sort=True):
        yield str(value), rows.reset_index(drop=True)
