"""JSON that is read back from a results folder: whatever it holds, the result is an object or a plain refusal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from landsweep.orchestrator.errors import UsageError

__all__ = ["json_object", "number_in", "object_or_none"]

_DEEPEST = 100  # objects and lists inside each other; a spec has at most 64


def json_object(raw: str | bytes, source: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UsageError: it holds something else.
    """
    try:
        data = json.loads(raw)
        _check_depth(data)
    except (ValueError, RecursionError) as e:
        reason = "it is nested too deeply" if isinstance(e, RecursionError) else str(e)
        raise UsageError(f"{source} is damaged: {reason}; restore it, or use another folder") from e
    if not isinstance(data, dict):
        raise UsageError(f"{source} is damaged: it holds {type(data).__name__}, not fields; restore it")
    return data


def _check_depth(data: object) -> None:
    """Refuse what `json` reads, but other code that goes down into it can't.

    Raises:
        RecursionError: there are more levels than a spec may have, and some.
    """
    level = [data]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise RecursionError


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def object_or_none(raw: str | bytes) -> dict[str, Any] | None:
    """The same for a file that others can do without: None where it holds something else."""
    try:
        return json_object(raw, "")
    except UsageError:
        return None


def number_in(data: Mapping[str, Any], name: str, otherwise: float = 0.0) -> float:
    """A finite number from a field; `otherwise` where there is none."""
    value = data.get(name)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if usable and math.isfinite(value) else otherwise  # type: ignore[arg-type]
