"""Axes that were added to a sweep with rows: what existing rows had, and which defaults a sweep may go on with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.canonical import Value
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import SweepKind
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.spec import DEFAULTS, Spec
from landsweep.orchestrator.storage.ledger.schema import cast_to, unify

__all__ = ["changed_defaults", "with_defaults"]


def with_defaults(
    table: pa.Table, params: Sequence[Column], defaults: Mapping[str, Value], planned: Collection[str]
) -> pa.Table:
    """The rows, each with the value that it had of an axis that came later.

    Args:
        table: of rows.
        params: columns of the plan's params.
        defaults: for each new axis the value that rows without it had.
        planned: keys of the plan: rows of other units stay as they are, since nothing says what they had.
    """
    schema = unify([table.schema, pa.schema([pa.field("key", pa.string()), *(c.arrow() for c in params)])])
    table = cast_to(table, schema)
    ours = pc.is_in(table.column("key"), value_set=pa.array(list(planned), pa.string()))
    for column in params:
        value = defaults.get(column.name)
        if value is None:  # no new axis, or rows that lack it had null
            continue
        place = schema.get_field_index(column.name)
        one = pa.table([pa.array([column.cell(value)], column.arrow().type)], names=[column.name])
        cell = cast_to(one, pa.schema([schema.field(place)])).column(0)[0]
        lacking = pc.and_(ours, pc.is_null(table.column(place)))
        table = table.set_column(place, schema.field(place), pc.if_else(lacking, cell, table.column(place)))
    return table


def changed_defaults(manifest: Mapping[str, Any], kind: SweepKind[Any], spec: Spec) -> list[str]:
    """Why a sweep can't go on with the defaults of a spec: a line for each axis whose rows would get other keys.

    Args:
        manifest: of the sweep, as the last run left it.
        kind: of the spec.
        spec: what is to be computed now.
    """
    before, now = manifest["definitions"].get(DEFAULTS, {}), spec.defaults()
    lines = [
        f"axes.{name}: the default {before[name]!r}, without which its rows would be computed again, is missing"
        for name in (c.name for c in kind.params(spec))
        if name in before and name not in now
    ]
    if added := [name for name in now if name not in before]:
        try:
            swept = {c.name for c in kind.params(kind.parse(manifest["spec"], "sweep.json"))}
        except SpecError:  # of a version whose specs this one can't read
            swept = set()
        lines += [
            f"axes.{name}: default is for an axis that is new; existing rows have this one, so leave it out"
            for name in added
            if name in swept
        ]
    return lines
