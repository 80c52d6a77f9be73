"""What is known of a sweep beside its rows: state, columns, spec, how it was made, and the commands that act on it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from landsweep.orchestrator.commands.display import span, state, state_text
from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.reading import write_yaml
from landsweep.orchestrator.redaction import redacted
from landsweep.orchestrator.report.commands import commands_for
from landsweep.orchestrator.report.values import brief
from landsweep.orchestrator.row import METERS, Column
from landsweep.orchestrator.run.manifest import read_manifest
from landsweep.orchestrator.run.sweep import ledger_at
from landsweep.orchestrator.storage.ledger import Ledger, check_facts
from landsweep.orchestrator.storage.ledger.running import running_version
from landsweep.orchestrator.ui.cells import command_text, line, text
from landsweep.orchestrator.ui.places import Place
from landsweep.orchestrator.ui.tables import Snapshot

__all__ = ["about", "columns", "problem", "progress", "spec_text"]

_METERS = {c.name: c for c in METERS}
_LONGEST = 2_000  # characters of a message
_LONGEST_SPEC = 100_000
_UNITS = {"key": "the unit's identity: hash of kind, version, context and params"}


def progress(place: Place) -> dict[str, Any]:
    """Where a sweep stands; for a folder that can't be read, why."""
    fields: dict[str, Any] = {"id": place.id, "where": line(redacted(place.where))}
    try:
        return fields | _state(ledger_at(place.path))
    except (LandsweepError, OSError) as e:
        return fields | {"problem": problem(e)}


def problem(error: BaseException) -> str:
    """An error as text for a page."""
    return text(redacted(str(error) or type(error).__name__), _LONGEST)


def _state(ledger: Ledger) -> dict[str, Any]:
    now = state(ledger)
    bad = {name: n for name, n in now.get("counts", {}).items() if name != "ok" and n}
    return {
        "name": line(now["name"]),
        "kind": line(now["kind"]),
        "running": now["running"],
        "reports": running_version(ledger.store) if now["running"] else "",
        "phase": line(now.get("phase", "no driver has run yet")),
        "note": line(now.get("note", "")),
        "done": now.get("done", 0),
        "total": now.get("total"),
        "counts": {line(name): n for name, n in now.get("counts", {}).items()},
        "failures": sum(bad.values()),
        "rate": now.get("rate", 0.0),
        "workers": now.get("workers", 0),
        "left": span(now["eta"]) if now["running"] and now.get("eta") is not None else "",
        "elapsed": span(now["seconds"]) if "seconds" in now else "",
        "updated": now.get("updated"),
        "says": line(state_text(now), _LONGEST),
    }


def about(place: Place, snapshot: Snapshot) -> dict[str, Any]:
    """All that the page of a sweep begins with.

    Raises:
        UsageError: its `sweep.json` can't be understood.
    """
    ledger = snapshot.ledger
    manifest = read_manifest(ledger.sweep, f"{place.where}/sweep.json")
    remarks = [
        f"Left out: {d}. `landsweep rerun {shlex.quote(place.where)} --status damaged` repairs it."
        for d in snapshot.damaged
    ]
    if (changed := check_facts(ledger.sweep)) is not None:
        remarks.append(f"Not proved: what is said of the sweep itself, since of {changed}")
    spec = brief(manifest["spec"])
    return {
        **progress(place),
        "rows": snapshot.table.num_rows,
        "version": snapshot.version,
        "columns": columns(snapshot.table.schema, manifest["spec"]),
        "description": text(str(manifest["spec"].get("description") or ""), _LONGEST),
        "spec": text(redacted(write_yaml(spec)), _LONGEST_SPEC),
        "facts": _facts(manifest),
        "remarks": [text(redacted(r), _LONGEST) for r in remarks],
        "commands": _commands(place, manifest),
    }


def spec_text(place: Place, snapshot: Snapshot) -> str:
    """The whole spec of a sweep as YAML, which `landsweep run` takes.

    Raises:
        UsageError: `sweep.json` can't be understood.
    """
    return write_yaml(read_manifest(snapshot.ledger.sweep, f"{place.where}/sweep.json")["spec"])


def columns(
    schema: pa.Schema, spec: Mapping[str, Any], params: Sequence[Column] = (), metrics: Sequence[Column] = ()
) -> list[dict[str, str]]:
    """Each column of the rows: name, type, role (key, param, metric or meter), meaning and unit.

    Args:
        schema: of the rows.
        spec: as in `sweep.json`: its axes say which columns are params where the kind does not.
        params: as the kind declares them.
        metrics: the same.
    """
    declared = {c.name: c for c in (*params, *metrics)} | _METERS
    swept = {c.name for c in params} or {
        str(name) for field in ("axes", "space") if isinstance(spec.get(field), dict) for name in spec[field]
    }
    described = []
    for field in schema:
        known = declared.get(field.name)
        role = "metric"
        if field.name == "key":
            role = "key"
        elif field.name in swept:
            role = "param"
        elif field.name in _METERS or (known is not None and known.meter):
            role = "meter"
        doc = known.doc if known is not None else _UNITS.get(field.name, "")
        described.append(
            {
                "name": field.name,
                "shown": line(field.name, 80),
                "type": _type(field.type),
                "role": role,
                "doc": line(doc),
                "unit": line(known.unit if known is not None else "", 40),
            }
        )
    return described


def _type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int"
    return "float" if pa.types.is_floating(kind) else "text"


def _facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    created = manifest["created"]
    begun = datetime.fromtimestamp(created, tz=UTC).strftime("%Y-%m-%d %H:%M UTC") if 0 < created < 1e11 else ""
    versions = ", ".join(f"{name} {v}" for name, v in manifest["versions"].items() if v)
    facts = {
        "kind": f"{manifest['kind']}, version {manifest['kind_version']}",
        "begun": begun,
        "host": manifest["host"],
        "commit": manifest["git_commit"] or "",
        "fingerprint": manifest["fingerprint"],
        "versions": versions,
    }
    return {name: line(value) for name, value in facts.items() if value}


def _commands(place: Place, manifest: Mapping[str, Any]) -> dict[str, str]:
    """What to type to act on the sweep: this page only looks on."""
    return {name: command_text(line) for name, line in commands_for(place.where, manifest["command"]).items()}
