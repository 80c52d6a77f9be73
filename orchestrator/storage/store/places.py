"""Addresses of results, and the folder on this machine that belongs to one elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from landsweep.orchestrator.unit import digest

__all__ = ["folder_here", "is_url", "views"]

_URL = re.compile(r"^([a-z][a-z0-9+.-]*):/+")


def is_url(where: str | Path) -> bool:
    """Whether this names an object store, and not a local folder."""
    return isinstance(where, str) and (url := _URL.match(where)) is not None and url[1] != "file"


def folder_here(where: str) -> Path:
    """Folder below `results` here for what belongs to results elsewhere: two addresses never share one.

    Example:
        >>> folder_here("s3://bucket/a/fine") == folder_here("s3://bucket/b/fine")
        False
    """
    where = where.rstrip("/")
    return Path("results") / f"{where.rsplit('/', 1)[-1]}-{digest(where, size=3)}"


def views(where: str) -> Path:
    """Folder of the views of a sweep: its results folder, or one of its own here for an object store.

    Example:
        >>> views("results/fine").as_posix(), views("s3://bucket/a/fine").parent.as_posix()
        ('results/fine', 'results')
    """
    return folder_here(where) if is_url(where) else Path(where)
