"""What a program prints: kept in a file that does not grow without bound, and read line by line."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["LONGEST", "Kept", "Lines"]

LONGEST = 1 << 20  # bytes of each stream that are kept: the last ones
_TAIL = 1 << 14  # bytes
_LONGEST_LINE = 1 << 16  # bytes; a longer line is cut there


class Lines:
    r"""Whole lines out of bytes that come in parts; \r ends a line too, as progress bars use it.

    Example:
        >>> lines = Lines()
        >>> lines.feed(b"loss 1\nlo"), lines.feed(b"ss 2\r"), lines.feed(b"end"), lines.rest()
        (['loss 1'], ['loss 2'], [], ['end'])
    """

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that end in this part."""
        *whole, self._begun = re.split(rb"\r\n|\n|\r", self._begun + data)
        if len(self._begun) > _LONGEST_LINE:
            whole.append(self._begun)
            self._begun = b""
        return [line.decode(errors="replace") for line in whole if line]

    def rest(self) -> list[str]:
        """What came after the last end of a line."""
        begun, self._begun = self._begun, b""
        return [begun.decode(errors="replace")] if begun else []


class Kept:
    """One stream of a program, in a file of at most twice `LONGEST` bytes, and its new lines.

    Args:
        path: of the file; an older one is replaced.
        lines: whether lines are asked for.
    """

    def __init__(self, path: Path, *, lines: bool = False) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        self._size = self._dropped = 0
        self._tail = b""
        self._lines = Lines() if lines else None
        self._new: list[str] = []

    def write(self, data: bytes) -> None:
        """Take in what has come."""
        os.write(self._file, data)
        self._size += len(data)
        self._tail = (self._tail + data)[-_TAIL:]
        if self._size > 2 * LONGEST:
            self._shorten()
        if self._lines is not None:
            self._new += self._lines.feed(data)

    def news(self, *, last: bool = False) -> list[str]:
        """Lines since the last call; `last`: also one without an end."""
        if last and self._lines is not None:
            self._new += self._lines.rest()
        new, self._new = self._new, []
        return new

    def tail(self, most: int) -> str:
        """The last characters that were printed."""
        return self._tail.decode(errors="replace").strip()[-most:]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _shorten(self) -> None:
        end = os.pread(self._file, LONGEST, self._size - LONGEST)
        self._dropped += self._size - LONGEST
        head = f"... the first {self._dropped:,} bytes are left out ...\n".encode()
        os.ftruncate(self._file, 0)
        os.write(self._file, head + end)
        self._dropped -= len(head)
        self._size = len(head) + len(end)
