"""A package with a kind, as if it were installed."""

from __future__ import annotations

from pathlib import Path

__all__ = ["install"]


def install(folder: Path, name: str, code: str) -> None:
    """Write a module and its entry point; whoever has the folder on `sys.path` finds the kind.

    Args:
        folder: that is searched for modules.
        name: of the kind; its module is called `NAME_kind`, and the class `Kind`.
        code: of the module.
    """
    (folder / f"{name}_kind.py").write_text(code, encoding="utf-8")
    about = folder / f"{name}_kind-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-kind\nVersion: 1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[landsweep.kinds]\n{name} = {name}_kind:Kind\n", encoding="utf-8")
