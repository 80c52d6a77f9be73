"""One schema for parts whose columns differ: a later part may have more metrics, or a param that became a float."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from landsweep.orchestrator.canonical import as_text

__all__ = ["cast_to", "same_columns", "table_of", "unify"]

_DIGITS = b"digits"  # see `landsweep.orchestrator.row.Column`


def unify(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The schema that all of them fit: whole numbers and floats become floats, anything else that differs text.

    Columns keep their order; one that only a later schema has comes after the column that it follows there.
    """
    after: dict[str | None, str | None] = {None: None}  # each column's next one; None stands before the first
    fields: dict[str, pa.Field] = {}
    last: pa.Schema | None = None
    for schema in schemas:
        if last is not None and schema.equals(last, check_metadata=True):
            continue
        last, previous = schema, None
        for field in schema:
            earlier = fields.get(field.name)
            if earlier is None:
                after[field.name], after[previous] = after[previous], field.name
                fields[field.name] = field
            elif earlier.type != field.type or earlier.metadata != field.metadata:
                fields[field.name] = _united(earlier, field)
            previous = field.name
    order: list[pa.Field] = []
    name = after[None]
    while name is not None:
        order.append(fields[name])
        name = after[name]
    return pa.schema(order)


def same_columns(a: pa.Schema, b: pa.Schema) -> bool:
    """Whether both have the same columns of the same types, in any order."""
    return bool(a.equals(b)) or dict(zip(a.names, a.types, strict=True)) == dict(zip(b.names, b.types, strict=True))


def _united(a: pa.Field, b: pa.Field) -> pa.Field:
    """A field for both: where a float would round whole numbers of one, they stay, beside whole floats as numbers."""
    marks = {_digits(a), _digits(b)}
    kind = _common(a.type, b.type)
    if "large" in marks and pa.types.is_floating(kind):
        kind = pa.int64() if marks == {"large", "whole"} else pa.string()
    digits = "large" if "large" in marks and pa.types.is_integer(kind) else "whole" if marks == {"whole"} else ""
    metadata = {k: v for k, v in (a.metadata or {}).items() if k != _DIGITS}
    return pa.field(a.name, kind, metadata={**metadata, **({_DIGITS: digits} if digits else {})})


def _digits(field: pa.Field) -> str:
    return str((field.metadata or {}).get(_DIGITS, b"").decode())


def _common(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pa.types.is_null(a) or a == b:
        return b
    if pa.types.is_null(b):
        return a
    if pa.types.is_integer(a) and pa.types.is_integer(b):
        return pa.int64()
    if all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in (a, b)):
        return pa.float64()
    return pa.string()


def cast_to(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the schema's columns; those it does not have are null."""
    if table.schema.equals(schema, check_metadata=True):
        return table
    have = dict(zip(table.column_names, table.columns, strict=True))
    columns = [_cast(have[f.name], f.type) if f.name in have else pa.nulls(table.num_rows, f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def table_of(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """One table of batches whose schemas may differ; at least one batch."""
    schema = unify(b.schema for b in batches)
    return pa.concat_tables([cast_to(pa.Table.from_batches([b]), schema) for b in batches])


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    if pa.types.is_string(kind) and not pa.types.is_large_string(column.type):
        # As params are written as text: 1 for 1.0, true for True, so that it does not matter which part came first.
        return pa.chunked_array([pa.array([as_text(v) for v in column.to_pylist()], kind)])
    return column.cast(kind, safe=False)  # a declared column that was given other numbers
