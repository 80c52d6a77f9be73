"""Rows: what is known of a unit when it has ended; columns: what a metric means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from orchestrator.axes import Value
from orchestrator.unit import Unit, canonical

__all__ = [
    "METERS",
    "SERIES",
    "Cause",
    "Column",
    "Metric",
    "Outcome",
    "Progress",
    "RowMaker",
    "Status",
    "param_columns",
    "reported",
    "series_batch",
]

Metric: TypeAlias = int | float | bool | str | None
ColumnType: TypeAlias = Literal["float", "int", "bool", "text"]

_ARROW: dict[str, pa.DataType] = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "text": pa.string()}


class Status(StrEnum):
    """How a unit ended."""

    ok = "ok"
    diverged = "diverged"  # a result: the loss became non-finite
    pruned = "pruned"  # a result: a search stopped it, because others do better
    failed = "failed"


class Cause(StrEnum):
    """Why a unit failed, or why a shard was lost."""

    error = "error"  # the unit raised
    oom = "oom"  # memory of host or device ran out
    timeout = "timeout"  # the unit went past its limit
    infra = "infra"  # worker or node died


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the rows: its name, what it means in one sentence, its unit and its type.

    A metric that is a `meter` says how a unit was computed (in which pack, in which file it lies), so that it may
    differ between two computations of the same unit.
    """

    name: str
    doc: str
    unit: str = ""
    type: ColumnType = "float"
    meter: bool = False

    def arrow(self) -> pa.Field:
        """The Arrow field, with unit and meaning in its metadata."""
        meter = {"meter": "true"} if self.meter else {}
        return pa.field(self.name, _ARROW[self.type], metadata={"unit": self.unit, "doc": self.doc, **meter})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session gives for a unit that has ended.

    Attributes:
        key: of the unit.
        metrics: column name to value; a column left out is null in the row.
        status: ok, diverged, pruned or failed.
        error: for failed ones the traceback, for diverged ones what became non-finite and when, for pruned ones when.
        cause: only for failed ones.
        seconds: wall time of this unit alone; by default the time since the session's last outcome.
    """

    key: str
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    status: Status = Status.ok
    error: str | None = None
    cause: Cause | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Metrics of a unit at a step, given before it ends; they become its series.

    Attributes:
        key: of the unit.
        step: rises within the unit.
        metrics: name to number.
    """

    key: str
    step: int
    metrics: Mapping[str, float]


METERS: tuple[Column, ...] = (
    Column("status", "how the unit ended: ok, diverged, pruned or failed", type="text"),
    Column("cause", "of a failed unit: error, oom, timeout or infra", type="text"),
    Column("error", "traceback of a failed unit, reason of a diverged or pruned one", type="text"),
    Column("attempt", "how many times the unit was given to a worker", type="int"),
    Column("worker", "host and process that computed the unit", type="text"),
    Column("ended", "when the unit ended, since 1970 (UTC)", "s"),
    Column("seconds", "wall time of the unit", "s"),
    Column("cpu_seconds", "processor time of the unit's process while it ran, where it ran alone", "s"),
    Column("peak_memory", "largest resident memory of the worker's process so far", "MB"),
)
KEY = Column("key", "the unit's identity: hash of kind, version, context and params", type="text")


def param_columns(values: Mapping[str, Iterable[Value]], docs: Mapping[str, str] | None = None) -> tuple[Column, ...]:
    """Columns for params: whole numbers, numbers, flags, or text; mixed values are stored as canonical text."""
    return tuple(
        Column(name, (docs or {}).get(name, "param of the unit"), type=_common_type(list(points)))
        for name, points in values.items()
    )


def _common_type(points: Sequence[Value]) -> ColumnType:
    kinds = {type(p) for p in points if p is not None}
    if kinds == {bool}:
        return "bool"
    if kinds == {int}:
        return "int"
    return "float" if kinds and kinds <= {int, float} else "text"


class RowMaker:
    """Turns outcomes into Arrow record batches with an explicit schema.

    Args:
        params: columns of the units' params.
        metrics: columns of the metrics; None takes whatever the units give, numbers as float and the rest as text.
    """

    def __init__(self, params: Sequence[Column], metrics: Sequence[Column] | None) -> None:
        self._params = tuple(params)
        self._metrics = None if metrics is None else tuple(metrics)
        self._allowed = None if metrics is None else {c.name for c in metrics}
        self._taken = {c.name for c in (KEY, *params, *METERS)}

    def schema(self, found: Sequence[Column] = ()) -> pa.Schema:
        """Schema of the rows: key, params, metrics, meters."""
        metrics = found if self._metrics is None else self._metrics
        return pa.schema([c.arrow() for c in (KEY, *self._params, *metrics, *METERS)])

    def undeclared(self, outcome: Outcome) -> str | None:
        """Complaint about metrics that this sweep has no column for, or None."""
        if clash := self._taken & outcome.metrics.keys():
            return f"the metrics {sorted(clash)} have names that params or meters already have; rename them"
        if self._allowed is not None and (extra := outcome.metrics.keys() - self._allowed):
            return f"the metrics {sorted(extra)} are not among the declared columns {sorted(self._allowed)}"
        for name, value in outcome.metrics.items():
            if not isinstance(value, int | float | bool | str | None):
                return f"the metric {name} is a {type(value).__name__}; a metric is a number, a flag, text or None"
        return None

    def batch(
        self, units: Sequence[Unit], outcomes: Sequence[Outcome], meters: Sequence[Mapping[str, Any]]
    ) -> pa.RecordBatch:
        """One row for each outcome; `units` and `meters` run beside them."""
        found = () if self._metrics is not None else _found(outcomes)
        schema = self.schema(found)
        columns: list[list[Any]] = [[o.key for o in outcomes]]
        for c in self._params:
            columns.append([_param(u.params.get(c.name), c.type) for u in units])
        for c in self._metrics if self._metrics is not None else found:
            columns.append([_fit(o.metrics.get(c.name), c.type) for o in outcomes])
        columns.append([o.status.value for o in outcomes])
        columns.append([None if o.cause is None else o.cause.value for o in outcomes])
        columns.append([o.error for o in outcomes])
        for c in METERS[3:]:
            columns.append([m.get(c.name) for m in meters])
        arrays = [pa.array(values, type=f.type) for values, f in zip(columns, schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _found(outcomes: Sequence[Outcome]) -> tuple[Column, ...]:
    types: dict[str, ColumnType] = {}
    for o in outcomes:
        for name, value in o.metrics.items():
            if value is not None:
                kind: ColumnType = "text" if isinstance(value, str) else "float"
                types[name] = "text" if types.get(name, kind) == "text" else kind
    return tuple(Column(name, "found in the units' results", type=kind) for name, kind in sorted(types.items()))


def _param(value: Value, kind: ColumnType) -> Value:
    return canonical(value) if kind == "text" and value is not None and not isinstance(value, str) else value


def _fit(value: Metric, kind: ColumnType) -> Metric:
    if value is None:
        return None
    if kind == "float":
        return float(value)
    return str(value) if kind == "text" else value


def series_batch(progress: Sequence[Progress]) -> pa.RecordBatch:
    """Series as a long table: key, step, name of the metric, value."""
    keys: list[str] = []
    steps: list[int] = []
    names: list[str] = []
    values: list[float] = []
    for p in progress:
        for name, value in p.metrics.items():
            keys.append(p.key)
            steps.append(p.step)
            names.append(name)
            values.append(float(value))
    return pa.RecordBatch.from_arrays(
        [
            pa.array(keys, pa.string()),
            pa.array(steps, pa.int64()),
            pa.array(names, pa.string()),
            pa.array(values, pa.float64()),
        ],
        schema=SERIES,
    )


def reported(series: pa.Table) -> Iterator[Progress]:
    """What `series_batch` was given, read back."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for key, step, metric, value in zip(*(column.to_pylist() for column in series.columns), strict=True):
        found.setdefault((key, step), {})[metric] = value
    return (Progress(key, step, metrics) for (key, step), metrics in found.items())


SERIES = pa.schema([("key", pa.string()), ("step", pa.int64()), ("metric", pa.string()), ("value", pa.float64())])
