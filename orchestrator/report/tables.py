"""Numbers that every report starts with, computed from rows alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.row import METERS, Cause, Column, Status

__all__ = ["Head", "counts", "described", "first_units", "headline", "metric_table", "not_finite", "numbers", "times"]

_OWN = {"key", *(c.name for c in METERS)}
_MOST_LINES, _MOST_COLUMNS = 50, 12  # of the first units
_PAUSE = 60.0  # s without any unit: a pause between two runs of the same sweep


Head: TypeAlias = Mapping[str, Any]
"""What is known of a sweep beside its rows: the entries of `sweep.json`, and those below; each may be missing.

Of `sweep.json` a report shows: spec, fingerprint, versions, git_commit, host, created (seconds since 1970), command.
Added by the caller: `params` and `columns`, as the kind gives them for the spec, and `total`, the units of the plan.
"""


def numbers(values: pd.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A column as floats; what is null or no number becomes nan."""
    return np.asarray(pd.to_numeric(values, errors="coerce").astype(float).to_numpy(), dtype=np.float64)


def described(head: Head, rows: pd.DataFrame) -> tuple[list[Column], list[Column]]:
    """Columns of params and metrics that the rows really have; undeclared ones are found by their type."""
    params = [c for c in head.get("params") or () if c.name in rows]
    declared = {c.name: c for c in head.get("columns") or ()}
    names = {c.name for c in params}
    metrics = [c for c in declared.values() if c.name in rows]
    for name in rows.columns:
        if name not in _OWN and name not in names and name not in declared:
            metrics.append(_guessed(str(name), rows[name]))
    return params, metrics


def _guessed(name: str, values: pd.Series) -> Column:
    present = values.dropna()
    if len(present) and all(isinstance(v, bool | np.bool_) for v in present):
        return Column(name, "", type="bool")
    text = any(isinstance(v, str) for v in present.head(1000))
    return Column(name, "", type="text" if text else "float")


def counts(rows: pd.DataFrame, total: int | None = None) -> dict[str, int]:
    """Units by status, by cause of failure, and those still to run."""
    status = rows["status"].value_counts().to_dict() if len(rows) else {}
    units = {s.value: int(status.get(s.value, 0)) for s in Status if s is not Status.pruned or s.value in status}
    if len(rows) and units["failed"]:
        causes = rows.loc[rows["status"] == Status.failed.value, "cause"].value_counts().to_dict()
        units |= {f"failed: {c.value}": int(causes[c.value]) for c in Cause if c.value in causes}
    if total is not None and total > len(rows):
        units["not yet run"] = total - len(rows)
    return units


def times(rows: pd.DataFrame) -> dict[str, float]:
    """Seconds summed over units, seconds that passed while units ran, units per second, peak memory.

    Stretches of more than a minute in which no unit ran are pauses between two runs and do not count as passed.
    """
    if not len(rows):
        return {}
    seconds, ended = np.nan_to_num(numbers(rows["seconds"])), numbers(rows["ended"])
    spent = {"unit_seconds": float(seconds.sum()), "cpu_seconds": float(np.nansum(numbers(rows["cpu_seconds"])))}
    timed = np.isfinite(ended)
    if timed.any():
        stop = ended[timed]
        begin = stop - seconds[timed]
        order = np.argsort(begin)
        begin, reached = begin[order], np.maximum.accumulate(stop[order])
        gaps = np.maximum(begin[1:] - reached[:-1], 0)
        spent["elapsed_seconds"] = float(reached[-1] - begin[0] - gaps[gaps > _PAUSE].sum())
        if spent["elapsed_seconds"] > 0:
            spent["units_per_second"] = float(timed.sum() / spent["elapsed_seconds"])
    memory = numbers(rows["peak_memory"])
    if np.isfinite(memory).any():
        spent["peak_memory_mb"] = float(np.nanmax(memory))
    return spent


def metric_table(rows: pd.DataFrame, metrics: Sequence[Column]) -> Table | None:
    """Meaning, count, mean, sd, least, median and largest of each metric over the units that have it."""
    lines: list[list[object]] = []
    for c in metrics:
        name = f"{c.name} [{c.unit}]" if c.unit else c.name
        if c.type == "text":
            present = rows[c.name].dropna()
            different = f"{present.nunique()} different value{'s' if present.nunique() > 1 else ''}"
            doc = "; ".join(filter(None, [c.doc, different if len(present) else ""]))
            lines.append([name, doc, len(present), *[None] * 6])
            continue
        values = numbers(rows[c.name])
        finite = values[np.isfinite(values)]
        spread: list[object] = [None] * 5
        if len(finite):
            with np.errstate(over="ignore", invalid="ignore"):
                sd = float(finite.std(ddof=1)) if len(finite) > 1 else None
                spread = [float(finite.mean()), sd, float(finite.min()), float(np.median(finite)), float(finite.max())]
        lines.append([name, c.doc, len(finite), not_finite(rows, c.name), *spread])
    if not lines:
        return None
    header = ["metric", "meaning", "n", "nan, inf or none", "mean", "sd", "min", "median", "max"]
    caption = (
        "Metrics over the n units that have a finite value. sd: sample standard deviation. "
        "nan, inf or none: units that ended ok without a finite value, and all that gave inf."
    )
    return Table(caption, header, lines, name="metrics", digits=3)


_TRACEBACK = "Traceback (most recent call last)"


def not_finite(rows: pd.DataFrame, name: str) -> int:
    """How many units ended ok without a finite value of a metric, or gave inf; pandas reads null as nan."""
    values = numbers(rows[name])
    ok = (rows["status"] == Status.ok.value).to_numpy(dtype=bool)
    return int((np.isinf(values) | (np.isnan(values) & ok)).sum())


def headline(error: object) -> str:
    """The line of an error that says what happened: of a traceback the one after its last frame, else the first."""
    text = str(error).strip() if isinstance(error, str) else ""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "no message"
    starts = [(i, line.partition(_TRACEBACK)[0]) for i, line in enumerate(lines) if _TRACEBACK in line]
    last, member = starts[-1] if starts else (-1, "")  # `member 1 of 2: Traceback ...`
    return member.lstrip() + next((line for line in lines[last + 1 :] if not line.startswith(" ")), lines[-1])


def first_units(rows: pd.DataFrame, columns: Sequence[Column]) -> Table:
    """The first lines of the rows, in the plan's order."""
    shown = columns[:_MOST_COLUMNS]
    header = [*(f"{c.name} [{c.unit}]" if c.unit else c.name for c in shown), "status"]
    first = rows[[*(c.name for c in shown), "status"]].head(_MOST_LINES)
    more = f"; the other {len(rows) - _MOST_LINES} are in rows/*.parquet" if len(rows) > _MOST_LINES else ""
    lines = [list(line) for line in first.itertuples(index=False)]
    return Table(f"The first {len(lines)} units in the plan's order{more}.", header, lines)
