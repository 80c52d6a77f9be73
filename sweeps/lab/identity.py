"""Identity by content: what a spec's files hold, not where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["by_content"]

_PLACES = ("folder", "file")


def by_content(value: Any) -> Any:  # noqa: ANN401 - any dumped spec
    """A dumped spec without the paths of files whose digests it holds.

    Example:
        >>> by_content({"data": {"folder": "/a", "digests": {"x": "1f"}}, "other": {"folder": "/b", "digests": None}})
        {'data': {'digests': {'x': '1f'}}, 'other': {'folder': '/b', 'digests': None}}
    """
    if isinstance(value, Mapping):
        places = _PLACES if value.get("digests") else ()
        return {k: by_content(v) for k, v in value.items() if k not in places}
    return [by_content(v) for v in value] if isinstance(value, list | tuple) else value
