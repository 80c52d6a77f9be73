"""Compressed files are not unpacked beyond the memory that is there: a few bytes can stand for any number of values."""

from __future__ import annotations

import gzip
import io
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import psutil

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.parquet_pages import unpacked_bytes

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["TooLarge", "gunzip", "opened", "refuse_beyond", "refuse_bomb", "refuse_bombs", "room"]

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap

_SHARE = 0.5  # of the free memory: what is read is copied at least once
_ROW = 100  # bytes; a key in Python
_PIECE = 64 << 20  # bytes


class TooLarge(UsageError):
    """What a file unpacks to does not fit into the memory of this machine."""


def room() -> int:
    """Bytes that one table may take."""
    return int(psutil.virtual_memory().available * _SHARE)


def refuse_beyond(source: str, size: int) -> None:
    """Refuse to read a file that does not fit into memory; an archive can carry holes of any size.

    Raises:
        TooLarge: says how large it is.
    """
    _refuse(size, room(), source)


def opened(data: Buffer) -> pq.ParquetFile:
    """The Parquet file with these bytes.

    Raises:
        ValueError: there is none.
    """
    import pyarrow as pa  # here, since commands that read no table need none of it
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)))


def refuse_bombs(files: Iterable[Path]) -> None:
    """Refuse Parquet files that would take more memory, together, than there is; for readers that take paths.

    Raises:
        TooLarge: names the file that is too much.
        OSError, ValueError: one can't be read.
    """
    left = room()
    for path in files:
        with path.open("rb") as raw:  # mapped, not read: what is refused may be large in itself
            data = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
        left -= refuse_bomb(opened(data), data, str(path), most=left)


def refuse_bomb(
    file: pq.ParquetFile,
    data: Buffer,
    source: str,
    columns: Iterable[str] | None = None,
    most: int | None = None,
    groups: Iterable[int] | None = None,
) -> int:
    """Refuse a Parquet file whose table would not fit into memory; how many bytes its table takes, at most.

    Args:
        file: opened.
        data: all of its bytes.
        source: what to call it in a message.
        columns: that are to be read; None for all.
        most: bytes; `room()` if not given.
        groups: of rows, that are to be read; None for all.

    Raises:
        TooLarge: says how much it would take.
        ValueError: it is damaged.
    """
    most = room() if most is None else most
    names = None if columns is None else set(columns)
    groups = range(file.metadata.num_row_groups) if groups is None else list(groups)
    rows = sum(int(file.metadata.row_group(group).num_rows) for group in groups)
    size, texts = rows * _ROW, dict[tuple[int, int], int]()
    for group in groups:
        for place in range(file.metadata.num_columns):
            name = file.schema.column(place).path
            if names is None or name.partition(".")[0] in names:
                values, of_texts = unpacked_bytes(file, memoryview(data), group, place)
                size += values
                texts[group, place] = of_texts
    _refuse(size, most, source)
    bound = size + sum(texts.values())
    if bound <= most:
        return bound
    for (group, place), of_texts in texts.items():
        size = _measured(file, group, place, of_texts, size, most, source)
    return size


def _measured(file: pq.ParquetFile, group: int, place: int, texts: int, size: int, most: int, source: str) -> int:
    """A size with that of the texts of a column, which are read in pieces that fit into memory."""
    column, rows = file.schema.column(place), file.metadata.row_group(group).num_rows
    if column.max_repetition_level:  # lists of texts, any number in a row
        _refuse(size + texts, most, source)
        return size + texts
    for batch in file.iter_batches(max(1, rows * _PIECE // max(texts, 1)), [group], [column.path], use_threads=False):
        size += int(batch.nbytes)
        _refuse(size, most, source)
    return size


def _refuse(size: int, most: int, source: str) -> None:
    if size > most:
        raise TooLarge(
            f"{source} takes {size / 2**30:,.1f} GiB of memory or more, and {max(most, 0) / 2**30:,.1f} GiB are free "
            "here. Read it on a machine with more memory; if the file is not what it should be, move it "
            "away"
        )


def gunzip(data: bytes, source: str, most: int) -> bytes:
    """What a gzip file holds.

    Args:
        data: of the file.
        source: what to call it in a message.
        most: bytes that it may hold.

    Raises:
        TooLarge: it holds more.
        EOFError, OSError, zlib.error: it is damaged.
    """
    out = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        while piece := file.read(1 << 20):
            out += piece
            _refuse(len(out), most, source)
    return bytes(out)
