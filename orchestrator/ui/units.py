"""One unit: its params, what came of it, its curves, what it has printed, and the commands that concern it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from landsweep.orchestrator.errors import LandsweepError, SpecError, Untrusted, UsageError
from landsweep.orchestrator.redaction import redacted, redacted_error
from landsweep.orchestrator.row import Cause, Status
from landsweep.orchestrator.storage.inside import is_name
from landsweep.orchestrator.storage.ledger.running import RunningUnit, read_running
from landsweep.orchestrator.storage.outputs import UNITS, unit_output
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.ui.about import problem, progress
from landsweep.orchestrator.ui.cells import Cell, cell, command_text, line, text
from landsweep.orchestrator.ui.places import Place
from landsweep.orchestrator.ui.query import Query, sampled
from landsweep.orchestrator.ui.tables import Snapshot

__all__ = ["curves", "printed", "under_way", "unit"]

_LONGEST = 100_000  # characters of an error
_LONGEST_LOG = 200_000
_MOST_POINTS = 2_000  # of a curve
_MOST_METRICS = 200


def unit(place: Place, snapshot: Snapshot, key: str, again: str) -> dict[str, Any]:
    """What is known of a unit.

    Args:
        place: of its sweep.
        snapshot: its rows.
        key: of the unit.
        again: the kind's command that computes a unit again, with {folder} and {key}.

    Raises:
        UsageError: there is no row with this key.
    """
    table = snapshot.table
    position = pc.index(table.column("key"), pa.scalar(key, table.schema.field("key").type)).as_py()
    if position < 0:
        raise UsageError(f"{place.where} has no row of a unit {key[:80]!r}; it may still run, or have been retired")
    row = table.slice(position, 1).to_pylist()[0]
    return {
        "key": line(key),
        "values": {name: cell(value, 2_000) for name, value in row.items() if name not in ("key", "error")},
        "error": text(redacted_error(row["error"]), _LONGEST) if isinstance(row.get("error"), str) else "",
        "log": _log(place, key),
        "commands": _commands(place, snapshot, row, again),
    }


def curves(snapshot: Snapshot, keys: Sequence[str], metric: str, running: Sequence[RunningUnit] = ()) -> dict[str, Any]:
    """One metric of the series of some units, a line each, and which metrics there are.

    Args:
        snapshot: of the sweep.
        keys: of the units.
        metric: its name; empty for the first.
        running: units without a row; each line of theirs has the unit's params.
    """
    series = snapshot.series
    stored = set(series.column("metric").combine_chunks().dictionary.to_pylist() if series.num_rows else ())
    metrics = sorted(stored | {name for unit in running for point in unit.steps.values() for name in point})
    shown_metric = metric or (metrics[0] if metrics else "")
    lines = []
    if shown_metric in stored:
        of_metric = series.filter(pc.and_(_is(series, "metric", [shown_metric]), _is(series, "key", keys)))
        for key in keys:
            one = of_metric.filter(_is(of_metric, "key", [key])).sort_by("step")
            one = one.take(sampled(one.num_rows, _MOST_POINTS))
            steps, values = one.column("step").to_pylist(), one.column("value").to_pylist()
            if steps:
                lines.append({"key": key, "steps": steps, "values": [cell(v) for v in values]})
    return {
        "metrics": [{"name": name, "shown": line(name, 80)} for name in metrics[:_MOST_METRICS]],
        "metric": shown_metric,
        "lines": lines + _running_lines(running, shown_metric),
    }


def under_way(place: Place, snapshot: Snapshot, query: Query) -> list[RunningUnit]:
    """The units that run now, of those that report; under filters only if their params pass them."""
    if not progress(place).get("running"):
        return []
    units = read_running(snapshot.ledger.store)
    keys = pa.array([u.key for u in units], pa.string())
    ended = set(keys.filter(pc.is_in(keys, value_set=snapshot.table.column("key").cast(pa.string()))).to_pylist())
    units = [unit for unit in units if unit.key not in ended]
    if not query.filters or not units:
        return units
    try:
        params = pa.Table.from_pylist([{**u.params, "key": u.key} for u in units], schema=snapshot.table.schema)
        passing = Query(query.filters).rows(params)
    except (pa.ArrowException, OverflowError, UsageError):  # params that no row has so far, or of other types
        return []
    return units if passing is None else [units[i] for i in passing.to_pylist()]


def _running_lines(units: Sequence[RunningUnit], metric: str) -> list[dict[str, Any]]:
    lines = []
    for unit in units:
        points = [(step, point[metric]) for step, point in sorted(unit.steps.items()) if metric in point]
        if points:
            params = {line(name, 80): cell(value) for name, value in unit.params.items()}
            steps, values = zip(*points, strict=True)
            lines.append({"key": unit.key, "steps": steps, "values": [cell(v) for v in values], "params": params})
    return lines


def _is(series: pa.Table, name: str, values: Sequence[str]) -> pa.Array:
    """Which lines have one of these texts; compared by their numbers in the dictionary."""
    column = series.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    places = pc.index_in(pa.array(list(values), column.dictionary.type), column.dictionary).drop_null()
    return pc.is_in(column.indices, value_set=places.cast(column.indices.type))


def printed(place: Place, key: str) -> str:
    """All that the last attempt of a unit has printed.

    Raises:
        LandsweepError: it has printed nothing, or that can't be read.
    """
    if not is_name(key):
        raise UsageError(f"{key[:80]!r} is no key of a unit")
    store = Store.at(place.path)
    if store.path is not None:
        _refuse_outside(store.path, store.path / UNITS / key)
    return unit_output(store, key)


def _log(place: Place, key: str) -> dict[str, str]:
    try:
        return {"text": text(printed(place, key), _LONGEST_LOG)}
    except SpecError:
        return {"note": "This unit has printed nothing that was kept."}
    except (LandsweepError, OSError) as e:
        return {"note": problem(e)}


def _refuse_outside(root: Path, folder: Path) -> None:
    """Refuse to read what a link puts into a results folder from elsewhere.

    Raises:
        Untrusted: names the file.
    """
    home = os.path.realpath(root)
    for path in [folder, *(folder.iterdir() if folder.is_dir() else ())]:
        if os.path.commonpath([home, os.path.realpath(path)]) != home:
            raise Untrusted(f"{path} is a link that leads out of the results folder, so it is not read")


def _commands(place: Place, snapshot: Snapshot, row: Mapping[str, Any], again: str) -> dict[str, str]:
    where, key = shlex.quote(redacted(place.where)), shlex.quote(str(row["key"]))
    commands = {}
    if again:
        commands["compute it again and compare"] = again.format(folder=where, key=key)
    elif assigned := _assigned(snapshot.spec, row):
        what = "compute it again, alone (SPEC: the file of its spec, see About)"
        commands[what] = f"landsweep run SPEC {assigned} --out results/again"
    if row.get("status") == Status.failed:
        cause = f" --cause {row['cause']}" if row.get("cause") in set(Cause) else ""
        commands["compute all units again that failed so"] = f"landsweep rerun {where} --status failed{cause}"
    commands["print what it has printed"] = f"landsweep logs {where} --unit {key}"
    return {name: command_text(command) for name, command in commands.items()}


def _assigned(spec: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Changes to a spec that leave of its axes the values of this unit; empty where it has none, or an unknown one."""
    axes = spec.get("axes")
    if not isinstance(axes, dict) or not axes or not all(name in row for name in axes):
        return ""
    values: dict[str, Cell] = {name: row[name] for name in axes}
    return " ".join(shlex.quote(f"axes.{name}={json.dumps([value])}") for name, value in values.items())
