"""Rows: what is known of a unit when it has ended; columns: what a metric means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from numbers import Integral
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from landsweep.orchestrator.canonical import Value, as_text, canonical
from landsweep.orchestrator.redaction import redacted_error
from landsweep.orchestrator.unit import Unit

__all__ = [
    "KEY",
    "METERS",
    "PARAM",
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
    "unfit",
]

PARAM = "param of the unit"  # the description of params without a better one

Metric: TypeAlias = int | float | bool | str | None
ColumnType: TypeAlias = Literal["float", "int", "bool", "text"]

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1  # what a column of whole numbers can hold
_EXACT = 2**53  # floats hold every whole number up to here

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
    """One column of the rows.

    Attributes:
        name: as in the table.
        doc: what it means, in one sentence.
        unit: such as `s` or `MB`; empty without one.
        type: of its values.
        meter: whether the metric says how the unit was computed (its pack, its file). Meters may differ between two
            computations of the same unit.
        quoted: texts that are stored in quotes, because another value of the column reads the same: true and "true".
        digits: `whole`: these floats were all given as whole numbers. `large`: floats would round some of these whole
            numbers. This lets parts whose types differ be joined without loss.
        checksum: of a metric that names a file in the results folder: the column that holds the file's BLAKE2b (16
            bytes), by which a lost or damaged file is noticed.
    """

    name: str
    doc: str
    unit: str = ""
    type: ColumnType = "float"
    meter: bool = False
    quoted: frozenset[str] = frozenset()
    digits: Literal["", "whole", "large"] = ""
    checksum: str = ""

    def cell(self, value: Value) -> Value:
        """The value as the column stores it."""
        return self.cells([value])[0]

    def cells(self, values: Iterable[Value]) -> list[Value]:
        """Values as the column stores them."""
        if self.type == "float":
            return [None if v is None else float(v) for v in values]
        if self.type != "text":
            return list(values)
        return [canonical(v) if isinstance(v, str) and v in self.quoted else as_text(v) for v in values]

    def arrow(self) -> pa.Field:
        """The Arrow field, with unit and meaning in its metadata."""
        marks = {"meter": "true"} if self.meter else {}
        digits = {"digits": self.digits} if self.digits else {}
        metadata = {"unit": self.unit, "doc": self.doc, **marks, **digits}
        return pa.field(self.name, _ARROW[self.type], metadata=metadata)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a session gives for a unit that has ended.

    Attributes:
        key: key of the unit.
        metrics: column name to value; a column left out is null in the row.
        status: ok, diverged, pruned or failed.
        error: for failed ones the traceback, for diverged ones what became non-finite and when, for pruned ones when.
        cause: only for failed ones.
        seconds: wall time of this unit alone; by default the time since the session's last outcome.
        cpu_seconds: processor time of this unit alone; by default the time since the session's last outcome, if
            `seconds` is left out too.
    """

    key: str
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    status: Status = Status.ok
    error: str | None = None
    cause: Cause | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Metrics of a unit at a step, given before it ends; they become its series.

    Attributes:
        key: key of the unit.
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
    Column(
        "cpu_seconds", "processor time of the unit's process while it ran alone, or its share of that of several", "s"
    ),
    Column("peak_memory", "largest resident memory of the worker's process so far", "MB"),
)
KEY = Column("key", "the unit's identity: hash of kind, version, context and params", type="text")


def param_columns(values: Mapping[str, Iterable[Value]], docs: Mapping[str, str] | None = None) -> tuple[Column, ...]:
    """Columns for params: whole numbers, numbers, flags, or text; mixed values are stored as canonical text.

    Different values have different cells: a column whose type would round a number becomes text.
    """
    return tuple(_param_column(name, (docs or {}).get(name, PARAM), list(points)) for name, points in values.items())


def _param_column(name: str, doc: str, points: Sequence[Value]) -> Column:
    kind = _common_type(points)
    texts = {p for p in points if isinstance(p, str)}
    if kind != "text" or not texts:
        large = kind == "int" and any(abs(p) >= _EXACT for p in points if type(p) is int)
        return Column(name, doc, type=kind, digits="large" if large else "")
    others = {as_text(p) for p in points if p is not None and not isinstance(p, str)}
    mixed = {p for p in texts if p.startswith('"')} if others else set()
    return Column(name, doc, type=kind, quoted=frozenset(mixed | (texts & others)))


def _common_type(points: Sequence[Value]) -> ColumnType:
    kinds = {type(p) for p in points if p is not None}
    if kinds == {bool}:
        return "bool"
    if kinds == {int} and all(_MIN_INT <= p <= _MAX_INT for p in points if type(p) is int):
        return "int"
    if kinds and kinds <= {int, float} and all(abs(p) < _EXACT for p in points if type(p) is int):
        nan_and_null = any(p != p for p in points) and None in points  # which tables do not distinguish
        return "text" if nan_and_null else "float"
    return "text"


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

    def schema(self, undeclared: Sequence[Column] = ()) -> pa.Schema:
        """Schema of the rows: key, params, metrics, meters."""
        metrics = undeclared if self._metrics is None else self._metrics
        return pa.schema([c.arrow() for c in (KEY, *self._params, *metrics, *METERS)])

    def undeclared(self, outcome: Outcome) -> str | None:
        """Why a row can't hold these metrics, in words; None if it can."""
        if clash := self._taken & outcome.metrics.keys():
            return f"the metrics {sorted(clash)} have names that params or meters already have; rename them"
        if self._allowed is not None and (extra := outcome.metrics.keys() - self._allowed):
            return f"the metrics {sorted(extra)} are not among the declared columns {sorted(self._allowed)}"
        for name, value in outcome.metrics.items():
            if not isinstance(value, int | float | bool | str | None):
                return f"the metric {name} is a {type(value).__name__}; a metric is a number, a flag, text or None"
            if type(value) is int and not _MIN_INT <= value <= _MAX_INT:
                return f"the metric {name} is an int of {value.bit_length()} bits; 64 fit: give it as float or text"
        return None

    def batch(
        self, units: Sequence[Unit], outcomes: Sequence[Outcome], meters: Sequence[Mapping[str, Any]]
    ) -> pa.RecordBatch:
        """One row for each outcome, with its unit and its meters."""
        undeclared = () if self._metrics is not None else _undeclared_columns(outcomes)
        schema = self.schema(undeclared)
        columns: list[list[Any]] = [[o.key for o in outcomes]]
        for c in self._params:
            columns.append(c.cells(u.params.get(c.name) for u in units))
        for c in self._metrics if self._metrics is not None else undeclared:
            columns.append(c.cells(o.metrics.get(c.name) for o in outcomes))
        columns.append([o.status.value for o in outcomes])
        columns.append([None if o.cause is None else o.cause.value for o in outcomes])
        columns.append([None if o.error is None else redacted_error(o.error) for o in outcomes])
        for c in METERS[3:]:  # after status, cause and error
            columns.append([m.get(c.name) for m in meters])
        arrays = [pa.array(values, type=f.type) for values, f in zip(columns, schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _undeclared_columns(outcomes: Sequence[Outcome]) -> tuple[Column, ...]:
    """Columns of undeclared metrics: numbers as floats, unless a whole number needs more digits than a float has."""
    types: dict[str, set[type]] = {}
    large: set[str] = set()
    for o in outcomes:
        for name, value in o.metrics.items():
            kinds = types.get(name)
            if kinds is None:
                kinds = types[name] = set()
            kinds.add(type(value))
            if type(value) is int and not -_EXACT <= value <= _EXACT:
                large.add(name)
    columns = []
    for name in sorted(types):
        if kinds := types[name] - {type(None)}:
            columns.append(_undeclared_column(name, kinds, name in large))
    return tuple(columns)


def _undeclared_column(name: str, kinds: set[type], large: bool) -> Column:
    doc = "found in the units' results"
    if any(issubclass(kind, str) for kind in kinds) or (large and kinds != {int}):
        return Column(name, doc, type="text")
    if large:
        return Column(name, doc, type="int", digits="large")
    return Column(name, doc, digits="whole" if kinds == {int} else "")


def unfit(progress: Progress) -> str | None:
    """Why a series can't hold this progress, in words; None if it can."""
    step, metrics = progress.step, progress.metrics
    if not isinstance(step, Integral) or isinstance(step, bool) or not _MIN_INT <= step <= _MAX_INT:
        return f"its step must be a whole number of 64 bits, not {step!r}"
    if not isinstance(metrics, Mapping):
        return f"its metrics must be names with numbers, not {metrics!r}"
    for name, value in metrics.items():
        try:
            float(value)
            name.encode()
        except (TypeError, ValueError, OverflowError, AttributeError):
            return f"its metrics must be names with numbers, not {name!r}: {value!r}"
    return None


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
    """The progress that a table of series was made from: the inverse of `series_batch`."""
    by_step: dict[tuple[str, int], dict[str, float]] = {}
    for key, step, metric, value in zip(*(column.to_pylist() for column in series.columns), strict=True):
        by_step.setdefault((key, step), {})[metric] = value
    return (Progress(key, step, metrics) for (key, step), metrics in by_step.items())


SERIES = pa.schema([("key", pa.string()), ("step", pa.int64()), ("metric", pa.string()), ("value", pa.float64())])
