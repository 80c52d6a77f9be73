"""`status.json`: what another terminal sees of a running sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import StorageError, Unreachable
from orchestrator.store import Store

__all__ = ["read_status", "write_status"]


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
        status = json.loads(store.read("status.json"))
    except (FileNotFoundError, ValueError):
        return None
    return status if isinstance(status, dict) else None
