"""A package with a kind, as if it were installed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["install", "install_tracker"]


def install(folder: Path, name: str, code: str) -> None:
    """Write a module and its entry point; whoever has the folder on `sys.path` finds the kind.

    Args:
        folder: that is searched for modules.
        name: of the kind; its module is called `NAME_kind`, and the class `Kind`.
        code: of the module.
    """
    _install(folder, f"{name}_kind", code, f"[landsweep.kinds]\n{name} = {name}_kind:Kind\n")


def install_tracker(folder: Path, name: str, code: str, cls: str) -> None:
    """The same for a tracker: its module is called `NAME_tracker`, and its class `cls`."""
    _install(folder, f"{name}_tracker", code, f"[landsweep.trackers]\n{name} = {name}_tracker:{cls}\n")


def _install(folder: Path, module: str, code: str, entry_points: str) -> None:
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    about = folder / f"{module}-1.dist-info"
    about.mkdir()
    name = module.replace("_", "-")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(entry_points, encoding="utf-8")
