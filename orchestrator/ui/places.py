"""The sweeps that a server shows: found below what its user has named, and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.storage.ledger import FACTS
from landsweep.orchestrator.storage.store import Store, is_url
from landsweep.orchestrator.unit import digest

__all__ = ["Place", "Places"]

_DEEPEST = 3  # folders below a named one
_MOST_FOLDERS = 5_000  # that are looked at below a named one
_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sweep lies.

    Attributes:
        id: stands for it in addresses; the same whenever it is served.
        where: results folder, a path or URL, as the user would type it.
        path: the same from the root: the current folder of this process changes while libraries are imported.
    """

    id: str
    where: str
    path: str


class Places:
    """The sweeps below the named folders, as they are now.

    Args:
        named: results folders, folders that hold some, or URLs of sweeps.

    Raises:
        UsageError: one of them is not there.
    """

    def __init__(self, named: Sequence[str]) -> None:
        for where in named:
            if not is_url(where) and not Path(where).expanduser().is_dir():
                raise SpecError(
                    f"there is no folder {where}; give results folders, or folders that hold some, such as `results`"
                )
            Store.at(where)
        self.named = tuple(named)
        self._roots = [(where, where if is_url(where) else str(Path(where).expanduser().absolute())) for where in named]
        self._known: dict[str, Place] = {}

    def all(self) -> list[Place]:
        """All sweeps, in the order of the names given, then by path."""
        places = {p.id: p for where, root in self._roots for p in _below(where, root)}
        self._known = places
        return list(places.values())

    def get(self, name: str) -> Place:
        """The sweep with this id.

        Raises:
            UsageError: none of those that are shown has it.
        """
        if name not in self._known:
            self.all()
        try:
            return self._known[name]
        except KeyError:
            raise UsageError(
                f"there is no sweep {name[:40]!r} in {', '.join(self.named)}: it was removed, or this address belongs "
                "to another folder"
            ) from None


def _below(where: str, root: str) -> Iterator[Place]:
    if is_url(where):
        yield Place(digest(where.rstrip("/"), _ID_BYTES), where, where)
        return
    left = _MOST_FOLDERS
    waiting = [(Path(root), 0)]
    while waiting and left > 0:
        folder, depth = waiting.pop(0)
        left -= 1
        if (folder / FACTS).exists() or (folder / "rows").is_dir():
            shown = Path(where).expanduser() / folder.relative_to(root)
            yield Place(digest(os.path.realpath(folder), _ID_BYTES), str(shown), str(folder))
        elif depth < _DEEPEST:
            waiting += [(inner, depth + 1) for inner in _folders(folder)]


def _folders(folder: Path) -> list[Path]:
    """Those directly in a folder, without links: they may lead anywhere."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")
            )
    except OSError:
        return []
