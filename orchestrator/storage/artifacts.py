"""Files that units leave beside their rows: weights to keep, and states to go on from in the middle of a unit.

Workers write them straight into the results folder, and rows name them. A unit may be computed twice, since its worker
may die before the row arrives: a file is live if a committed row names it, and all others are garbage.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from landsweep.orchestrator.storage.arrays import Spoilt, encode, pack, unpack
from landsweep.orchestrator.storage.store import Store

__all__ = ["Artifacts"]


class Artifacts:
    """Named sets of arrays in a results folder.

    Args:
        where: the results folder, a path or URL.

    Attributes:
        notes: what the user should read; the worker passes it on.
    """

    def __init__(self, where: str) -> None:
        self._store = Store.at(where)
        self.notes: list[str] = []

    @property
    def where(self) -> str:
        """The results folder, a path or URL."""
        return self._store.where

    @property
    def folder(self) -> Path | None:
        """The results folder, where it is a local one."""
        return self._store.path

    def reach(self) -> None:
        """Make sure that this process can reach the results folder, where it is an object store.

        Raises:
            Unreachable: it can't.
        """
        self._store.reach()

    def path(self, file: str) -> Path:
        """A path on this machine with the bytes of `file`, which for an object store is a copy in the user's cache.

        Raises:
            FileNotFoundError: there is no such file.
            Unreachable: the object store does not answer.
        """
        return self._store.fetch(file, _cache())

    def read(self, file: str) -> bytes:
        """All bytes of a file.

        Raises:
            FileNotFoundError: there is none.
            Unreachable, StorageError: it can't be read.
        """
        return self._store.read(file)

    def save(
        self, file: str, arrays: Mapping[str, np.ndarray[Any, Any]], about: Mapping[str, str] | None = None
    ) -> str:
        """Keep arrays as `file`, all or nothing, replacing an older one; gives the checksum of its bytes.

        Args:
            file: path under the results folder, such as `weights/pack-0c1d.safetensors`.
            arrays: name to array.
            about: text that the file carries in its header.

        Raises:
            StorageError: it can't be written.
        """
        data = encode(arrays, about)
        self._store.replace(file, data)
        return blake2b(data, digest_size=16).hexdigest()

    def write(self, file: str, data: bytes) -> None:
        """Keep bytes as `file`, all or nothing, replacing an older one.

        Raises:
            StorageError: they can't be written.
        """
        self._store.replace(file, data)

    def keep(self, file: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Keep arrays to go on from as `file`, all or nothing, replacing an older one, with a digest for `load`.

        Raises:
            StorageError: they can't be written.
        """
        self._store.replace(file, pack(file, arrays))

    def load(self, file: str) -> dict[str, np.ndarray[Any, Any]] | None:
        """The arrays kept as `file`; None if there is no such file, or it is damaged, and then it is set aside.

        Raises:
            StorageError, Unreachable: it can't be read, or not be moved.
        """
        try:
            return unpack(file, self._store.read(file))
        except FileNotFoundError:
            return None
        except Spoilt as e:
            self._store.move(file, f"damaged/{file.replace('/', '-')}")
            self.notes.append(f"set aside: {file} ({e}); what would go on from it begins earlier")
            return None

    def drop(self, file: str) -> None:
        """Delete a file if it exists."""
        self._store.delete(file)

    def files(self, folder: str) -> list[str]:
        """Names of the files in a folder of the results."""
        return [name for name, _ in self._store.list(folder)]


def _cache() -> Path:
    """Copies of files of object stores; each may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "landsweep"
