"""Files of data sets come from anywhere: what is wrong with one is said in a line, and it can't take all memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from landsweep.orchestrator.errors import LandsweepError, SpecError

if TYPE_CHECKING:
    from landsweep.sweeps.lab.data.base import Data, Source

__all__ = ["check_arrow", "check_column", "is_lists_of", "reads_files"]

S = TypeVar("S", bound="Source")
_BATCH, _DICTIONARY = 3, 2  # kinds of messages in an Arrow stream
_COMPRESSION = 3  # place of the field in the table of a batch


def reads_files(load: Callable[[S, Path], Data]) -> Callable[[S, Path], Data]:
    """For `load` of a source of files: errors of any kind are the file's fault, and name the source and its folder."""

    @wraps(load)
    def guarded(source: S, base: Path) -> Data:
        try:
            return load(source, base)
        except (LandsweepError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as e:  # panics of libraries in Rust are no `Exception`
            name, folder = getattr(source, "source", "data"), getattr(source, "folder", "")
            what = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
            raise SpecError(
                f"data: {name} {base / folder} can't be read, a file is not what it should be: {what}"
            ) from e

    return guarded


def check_arrow(file: Path, stream: Any) -> None:  # noqa: ANN401 - of a package without types
    """Refuse an Arrow stream with compressed buffers, of which a few bytes can stand for any number.

    Args:
        file: for the message.
        stream: pyarrow's reader of messages.

    Raises:
        SpecError: it has some.
        ValueError: it is damaged.
    """
    for message in stream:
        try:
            compressed = _is_compressed(bytes(message.metadata))
        except (struct.error, IndexError) as e:
            raise ValueError(f"a message of {file} is damaged") from e
        if compressed:
            raise SpecError(
                f"data: {file} has compressed buffers, and a few bytes can stand for gigabytes; save it without "
                "compression, as the package `datasets` does, or as Parquet"
            )


def check_column(file: Path, name: str, column: Any, fits: Callable[[Any], bool], readable: str) -> None:  # noqa: ANN401 - of a package without types
    """Refuse an Arrow column of a type that is not read, and one whose places lie outside of the file.

    Args:
        file: for the message.
        name: of the column.
        column: an array, of which no value has been looked at.
        fits: whether a type is read. Views, runs and nulls must not fit: a few bytes of them can stand for any number.
        readable: what those types are, for the message.

    Raises:
        SpecError: it is of another type.
        ValueError: it is damaged.
    """
    if not fits(column.type):
        raise SpecError(f"data: {name} of {file} holds {str(column.type)[:80]}; it must hold {readable}")
    column.validate(full=True)


def is_lists_of(fits: Callable[[Any], bool], kind: Any) -> bool:  # noqa: ANN401 - an Arrow type
    """Whether a type is lists, or lists of lists, of a type that fits; each value of it takes space in the file."""
    from pyarrow import types  # here: help and plans start without it

    lists = types.is_list(kind) or types.is_large_list(kind) or (types.is_fixed_size_list(kind) and kind.list_size > 0)
    return lists and (fits(kind.value_type) or is_lists_of(fits, kind.value_type))


def _is_compressed(message: bytes) -> bool:
    """Whether a message is a batch of rows, or of a dictionary, with compressed buffers.

    The metadata is a flatbuffer: a table begins with the distance back to its list of fields, which has the place of
    each, and 0 for one that is absent.
    """
    root = struct.unpack_from("<I", message)[0]
    kind, header = _field(message, root, 1), _field(message, root, 2)
    if not kind or not header or message[kind] not in (_BATCH, _DICTIONARY):
        return False
    table = header + struct.unpack_from("<I", message, header)[0]
    if message[kind] == _DICTIONARY:
        if not (data := _field(message, table, 1)):
            return False
        table = data + struct.unpack_from("<I", message, data)[0]
    return _field(message, table, _COMPRESSION) > 0


def _field(message: bytes, table: int, number: int) -> int:
    """Where a field of a table stands; 0: it is absent."""
    fields = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, fields)[0]
    if 4 + 2 * number >= size:
        return 0
    place = struct.unpack_from("<H", message, fields + 4 + 2 * number)[0]
    return table + place if place else 0
