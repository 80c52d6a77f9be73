"""`running.json`: the series so far of units that have no row yet; a view for other processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from landsweep.orchestrator.canonical import Value
from landsweep.orchestrator.errors import StorageError, Unreachable
from landsweep.orchestrator.storage.readers import object_or_none
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.text import encodable

__all__ = ["MOST_RUNNING", "RunningUnit", "read_running", "running_version", "write_running"]

_FILE = "running.json"
MOST_RUNNING = 50  # units; more curves nobody can tell apart
_MOST_POINTS = 10_000  # of a unit that are read
_LONGEST_NAME = 1_000  # characters


@dataclass(frozen=True, slots=True)
class RunningUnit:
    """A unit without a row, and what it has reported so far.

    Attributes:
        key: of the unit.
        params: of the unit.
        steps: metrics by step, in the order of the steps.
    """

    key: str
    params: Mapping[str, Value]
    steps: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


def write_running(store: Store, units: Sequence[RunningUnit]) -> str | None:
    """Replace the file, or delete it where there are no units. Gives what went wrong, None where all is well."""
    try:
        if units:
            fields = {u.key: {"params": u.params, "steps": [[n, m] for n, m in u.steps.items()]} for u in units}
            store.replace(_FILE, json.dumps({"units": fields}).encode(), view=True)
        else:
            store.delete(_FILE)
    except (StorageError, Unreachable) as e:
        return str(e)
    return None


def read_running(store: Store) -> list[RunningUnit]:
    """What was last written; it is only true while a driver lives. None of it where it is torn, or no such file."""
    try:
        content = object_or_none(store.read(_FILE))
    except FileNotFoundError:
        return []
    units = (content or {}).get("units")
    read = [_unit(key, fields) for key, fields in units.items()] if isinstance(units, dict) else []
    return [unit for unit in read if unit is not None][:MOST_RUNNING]


def running_version(store: Store) -> str:
    """Changes with the file; empty where there is none."""
    try:
        return blake2b(store.read(_FILE), digest_size=6).hexdigest()
    except FileNotFoundError:
        return ""


def _unit(key: str, fields: Any) -> RunningUnit | None:  # noqa: ANN401 - whatever the file holds
    if not isinstance(fields, dict) or not _is_name(key):
        return None
    params, steps = fields.get("params"), fields.get("steps")
    if not isinstance(params, dict) or not isinstance(steps, list):
        return None
    plain = {name: v for name, v in params.items() if _is_name(name) and _is_plain(v)}
    pairs = [pair for pair in steps[:_MOST_POINTS] if isinstance(pair, list) and len(pair) == 2]
    points = {
        int(step): {name: float(v) for name, v in metrics.items() if _is_name(name) and _is_number(v)}
        for step, metrics in pairs
        if type(step) is int and abs(step) < 2**53 and isinstance(metrics, dict)
    }
    return RunningUnit(key, plain, points)


def _is_name(text: str) -> bool:
    """Whether it is as short as names of metrics must be, and UTF-8 can hold it."""
    return len(text) <= _LONGEST_NAME and encodable(text) == text


def _is_number(value: Any) -> bool:  # noqa: ANN401 - whatever the file holds
    return type(value) in (int, float) and abs(value) < 1e300


def _is_plain(value: object) -> bool:
    """Whether a row could hold it."""
    if isinstance(value, str):
        return encodable(value) == value
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, float)
