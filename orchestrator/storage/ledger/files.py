"""Files beside the rows: weights and others that rows name, and states to go on from; whether they are as written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.row import Column
from landsweep.orchestrator.storage.arrays import Spoilt, has_digest, unpack
from landsweep.orchestrator.storage.ledger.parts import Damage
from landsweep.orchestrator.storage.readers import json_object
from landsweep.orchestrator.storage.store import Store

__all__ = ["NamedFile", "StateFindings", "check_files", "check_states", "kept_files"]

_AT_ONCE = 16  # requests to an object store, each of which takes some 50 ms
_HEAD = 1 << 16  # bytes; the header of most files is shorter
_STATES = ("states", "points")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that rows name.

    Attributes:
        path: under the results folder.
        checksums: that its rows give; more than one: they can't all be right.
        keys: of the units whose rows name it.
    """

    path: str
    checksums: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StateFindings:
    """What was found of the files to go on from, in `states/` and `points/`.

    Attributes:
        count: how many there are.
        unproved: how many of them carry no digest, because an earlier version wrote them.
        damaged: those that are cut off, or whose bytes are not what was written.
    """

    count: int = 0
    unproved: int = 0
    damaged: Sequence[Damage] = ()


def kept_files(rows: pa.Table, columns: Iterable[Column]) -> list[NamedFile]:
    """All files that rows name, each once.

    Args:
        rows: with `key` and the columns below.
        columns: those with a `checksum` name files.
    """
    keys: dict[str, dict[str, None]] = {}
    sums: dict[str, dict[str, None]] = {}
    for column in columns:
        if not column.checksum:
            continue
        lines = (rows.column(name).to_pylist() for name in ("key", column.name, column.checksum))
        for key, path, checksum in zip(*lines, strict=True):
            if path is not None:
                keys.setdefault(path, {})[key] = None
                sums.setdefault(path, {})[str(checksum)] = None
    return [NamedFile(path, tuple(sums[path]), tuple(keys[path])) for path in keys]


def check_files(store: Store, files: Sequence[NamedFile], *, deep: bool) -> list[tuple[NamedFile, Damage]]:
    """The files that are missing or damaged.

    Args:
        store: of the sweep.
        files: to look at.
        deep: read all of their bytes and compare checksums; else see only whether each is there and not cut off.

    Raises:
        StorageError, Unreachable: a file can't be read.
    """
    folders = sorted({file.path.rpartition("/")[0] for file in files})
    sizes = {f"{folder}/{name}".lstrip("/"): size for folder in folders for name, size in _listed(store, folder)}

    def harm(file: NamedFile) -> str | None:
        if file.path not in sizes:
            return "the file is missing"
        try:
            if deep:
                return (
                    None if {store.checksum(file.path)} == {*file.checksums} else "its checksum is not that of its rows"
                )
            return _cut_off(store, file.path, sizes[file.path])
        except FileNotFoundError:
            return "the file is missing"

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reasons = list(pool.map(harm, files))
    return [(file, Damage(file.path, why)) for file, why in zip(files, reasons, strict=True) if why is not None]


def check_states(store: Store, *, deep: bool) -> StateFindings:
    """Look at the files that units go on from. Which of them should be there nobody knows: they come and go.

    Args:
        store: of the sweep.
        deep: read all of their bytes and compare digests; else see only whether each is cut off.

    Raises:
        StorageError, Unreachable: a file can't be read.
    """
    files = [(f"{folder}/{name}", size) for folder in _STATES for name, size in store.list(folder)]
    files = [(path, size) for path, size in files if path.endswith(".safetensors")]

    def look(file: tuple[str, int]) -> tuple[bool, Damage | None]:
        path, size = file
        try:
            if not deep and _cut_off(store, path, size) is None:
                return True, None
            data = store.read(path)  # what seemed cut off may have been replaced since it was listed
            unpack(path, data)
        except FileNotFoundError:  # its unit has ended since
            return True, None
        except Spoilt as e:
            return True, Damage(path, str(e))
        return has_digest(data), None

    with ThreadPoolExecutor(1 if deep else _AT_ONCE) as pool:  # deep holds a whole file in memory
        looks = list(pool.map(look, files))
    return StateFindings(len(files), sum(not proved for proved, _ in looks), [d for _, d in looks if d is not None])


def _listed(store: Store, folder: str) -> list[tuple[str, int]]:
    """None for a folder outside the results: names in rows may come from anybody."""
    try:
        return [] if folder.startswith("/") or ".." in folder.split("/") else store.list(folder)
    except UsageError:
        return []


def _cut_off(store: Store, path: str, size: int) -> str | None:
    head = store.head(path, min(size, _HEAD)) if size else b""
    try:
        whole = _whole_length(head)
        if whole is None and size > len(head):
            whole = _whole_length(store.head(path, min(size, 8 + int.from_bytes(head[:8], "little"))))
    except ValueError as e:
        return str(e)
    if whole is None:
        return f"it is cut off: of its header, {size:,} bytes are left"
    return None if whole == size else f"it has {size:,} bytes instead of {whole:,}"


def _whole_length(head: bytes) -> int | None:
    """How long a safetensors file should be, from its first bytes; None where these do not hold all of its header.

    Raises:
        ValueError: no file of this kind begins like that.
    """
    if len(head) < 8:
        return None
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 + length and head[8:9] in (b"{", b""):
        return None
    try:
        fields = json_object(head[8 : 8 + length], "the header")
        return 8 + length + max((f["data_offsets"][1] for n, f in fields.items() if n != "__metadata__"), default=0)
    except (UsageError, TypeError, KeyError, IndexError) as e:
        raise ValueError("it does not begin as a file of arrays does") from e
