"""Identity by content: what a spec's files hold, not where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["by_content", "without_processes"]

_PLACES = ("folder", "file", "tokenizer")


def by_content(value: Any) -> Any:  # noqa: ANN401 - any dumped spec
    """A dumped spec without the paths of files whose digests it holds, and without numbers of processes.

    Example:
        >>> by_content({"data": {"folder": "/a", "digests": {"x": "1f"}}, "other": {"folder": "/b", "digests": None}})
        {'data': {'digests': {'x': '1f'}}, 'other': {'folder': '/b', 'digests': None}}
    """
    if isinstance(value, Mapping):
        places = _PLACES if value.get("digests") else ()
        left_out = {*places, *(("processes",) if "digests" in value else ())}
        return {k: by_content(v) for k, v in value.items() if k not in left_out}
    return [by_content(v) for v in value] if isinstance(value, list | tuple) else value


def without_processes(value: Any) -> Any:  # noqa: ANN401 - any dumped spec
    """A dumped spec without what says by how many processes files are read: it changes nothing that is read.

    Example:
        >>> without_processes({"data": {"folder": "/a", "digests": None, "processes": 4}})
        {'data': {'folder': '/a', 'digests': None}}
    """
    if isinstance(value, Mapping):
        return {k: without_processes(v) for k, v in value.items() if k != "processes" or "digests" not in value}
    return [without_processes(v) for v in value] if isinstance(value, list | tuple) else value
