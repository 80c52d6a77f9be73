"""A folder for each unit: for its files, its output and its checkpoints, the same one whenever it is tried again."""

from __future__ import annotations

import os
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.storage.inside import folder_in, refuse_odd, remove_tree, write_in
from landsweep.orchestrator.storage.outputs import UNITS
from landsweep.orchestrator.unit import digest

__all__ = ["Place", "UnitFolders"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a unit keeps what it has.

    Attributes:
        root: the folder under which nothing is written through links.
        name: of the unit's folder, relative to it.
        attempt: 1 for the first, then 2, ...
    """

    root: Path
    name: str
    attempt: int

    @property
    def folder(self) -> Path:
        """The unit's folder."""
        return self.root / self.name

    def inner(self, name: str) -> Path:
        """A folder in it, made where it is absent.

        Raises:
            Untrusted: the way there leads through a link.
        """
        return folder_in(self.root, f"{self.name}/{name}")

    def own_file(self, name: str) -> Path:
        """Where a file of ours lies; what an earlier attempt has put there in its place, such as a link, is removed."""
        path = self.folder / name
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        elif path.is_symlink() or (path.exists() and not path.is_file()):
            path.unlink()
        return path

    def remove(self, but: str = "") -> None:
        """Remove the folder with all that is in it, or, if it holds a file of the name `but`, all else."""
        if not but or not (self.folder / but).exists():
            remove_tree(self.folder)
            return
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            elif path.name != but:
                path.unlink(missing_ok=True)


class UnitFolders:
    """Gives units their folders.

    They are in the results folder (`units/KEY`), or, where the results are in an object store, in the user's cache on
    the node: there they outlive a worker, but not a node. Without results they last as long as this object.

    Args:
        bench: of the worker.

    Attributes:
        root: the folder that holds `units/`.
    """

    def __init__(self, bench: Workbench) -> None:
        artifacts = bench.artifacts
        if artifacts is None:
            self.root: Path = Path(tempfile.mkdtemp(prefix="landsweep-units-"))
            weakref.finalize(self, remove_tree, self.root)
        elif artifacts.folder is not None:
            self.root = artifacts.folder.resolve()
        else:
            cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
            self.root = cache / "landsweep" / UNITS / digest(artifacts.where, size=8)
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(self, key: str, *, apart: bool = False) -> Place:
        """The folder of a unit that begins; counts its attempts.

        Args:
            key: of the unit.
            apart: another, empty folder: for a second evaluation that must not find what the first has left.

        Raises:
            Untrusted: the way there leads through a link.
        """
        name = f"{UNITS}/{key}" + (".again" if apart else "")
        folder = folder_in(self.root, name)
        if apart:
            remove_tree(folder)
            folder_in(self.root, name)
        refuse_odd(folder, "attempt")
        try:
            attempt = int((folder / "attempt").read_text(encoding="ascii")) + 1
        except (OSError, ValueError):
            attempt = 1
        write_in(self.root, f"{name}/attempt", str(attempt))
        return Place(self.root, name, attempt)
