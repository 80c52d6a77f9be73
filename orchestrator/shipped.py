"""YAML files that installed packages bring along: sites and specs."""

from __future__ import annotations

from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path

__all__ = ["shipped_files"]


def shipped_files(group: str) -> dict[str, Path]:
    """The YAML files of all packages that are registered in a group of entry points, by name without `.yaml`."""
    folders = [resources.files(entry.value) for entry in entry_points(group=group)]
    files = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): Path(str(file)) for file in sorted(files, key=lambda file: file.name)}
