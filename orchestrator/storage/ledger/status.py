"""`status.json`: what another terminal sees of a running sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from landsweep.orchestrator.errors import StorageError, Unreachable
from landsweep.orchestrator.storage.readers import number_in, object_or_none
from landsweep.orchestrator.storage.store import Store

__all__ = ["read_status", "write_status"]


_WHOLE = ("done", "new", "workers")
_NUMBERS = (*_WHOLE, "rate", "seconds", "updated")


def write_status(store: Store, status: Mapping[str, Any]) -> str | None:
    """Replace `status.json`. It is a view, so a failure ends nothing: gives what went wrong, None where all is well."""
    try:
        store.replace("status.json", json.dumps(status).encode(), view=True)
    except (StorageError, Unreachable) as e:
        return str(e)
    return None


def read_status(store: Store) -> dict[str, Any] | None:
    """What was last written; None if nothing was, or a power failure tore it."""
    try:
        status = object_or_none(store.read("status.json"))
    except FileNotFoundError:
        return None
    return None if status is None else _whole(status)


def _whole(status: Mapping[str, Any]) -> dict[str, Any] | None:
    """The fields that are shown, each of its type; None where it says nothing of a run."""
    counts = status.get("counts")
    if not isinstance(status.get("phase"), str) or not isinstance(counts, dict):
        return None
    numbers = {name: number_in(status, name) for name in _NUMBERS}
    whole = {name: int(numbers[name]) for name in _WHOLE}
    optional = {
        name: None if status.get(name) is None else cast(number_in(status, name))
        for name, cast in (("total", int), ("eta", float))
    }
    return {
        **status,
        **numbers,
        **whole,
        **optional,
        "counts": {str(name): int(number_in(counts, name)) for name in counts},
        "note": str(status.get("note", "")),
    }
