"""Sets of keys, small enough in memory for 10^6 units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["KeySet", "first_of_each"]


def _pack(key: str) -> bytes | str:
    """A key of 32 hexadecimal digits as its 16 bytes; any other text as it is."""
    if len(key) == 32:
        try:
            packed = bytes.fromhex(key)
        except ValueError:
            return key
        return packed if packed.hex() == key else key
    return key


class KeySet(Set[str]):
    """A set of keys that keeps 16 bytes of each: about 100 bytes per key in all.

    Example:
        >>> keys = KeySet(["00ff" * 8])
        >>> "00ff" * 8 in keys, "other" in keys, len(keys)
        (True, False, 1)
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys = {_pack(k) for k in keys}

    def add(self, key: str) -> bool:
        """Put a key in; False if it was there already."""
        size = len(self._keys)
        self._keys.add(_pack(key))
        return len(self._keys) > size

    def update(self, keys: Iterable[str]) -> None:
        """Put all of them in."""
        self._keys.update(map(_pack, keys))

    def clear(self) -> None:
        """Take all out."""
        self._keys.clear()

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and _pack(key) in self._keys

    def __iter__(self) -> Iterator[str]:
        return (k if isinstance(k, str) else k.hex() for k in self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def first_of_each(columns: Sequence[pa.ChunkedArray]) -> list[pa.Array] | None:
    """Which keys are there for the first time, as flags for each column of keys; None: all are."""
    chunks = [chunk.cast(pa.string()) for column in columns for chunk in column.chunks]
    keys = pa.chunked_array(chunks, pa.string())
    if pc.count_distinct(keys).as_py() == len(keys):
        return None
    seen = KeySet()
    return [pa.array([seen.add(key) for key in column.to_pylist()], pa.bool_()) for column in columns]
