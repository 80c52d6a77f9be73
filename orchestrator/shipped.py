"""YAML files that installed packages bring along: sites and specs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.metadata import entry_points
from importlib.resources.abc import Traversable
from pathlib import Path

__all__ = ["shipped_files"]


def shipped_files(group: str) -> dict[str, Path]:
    """The YAML files of all packages that are registered in a group of entry points, by name without `.yaml`.

    Files in folders inside of these packages have no longer names for it.
    """
    files = [file for entry in entry_points(group=group) for file in _inside(resources.files(entry.value))]
    return {file.stem: file for file in sorted(files, key=lambda file: file.name)}


def _inside(folder: Traversable) -> Iterator[Path]:
    for place in folder.iterdir():
        if place.is_dir():
            yield from _inside(place)
        elif place.name.endswith(".yaml"):
            yield Path(str(place))
