"""How much the pages of a Parquet file unpack to, from the header of each page.

The footer of a file may say anything; by the headers, however, every reader allocates memory. Both are in the compact
protocol of Apache Thrift (https://github.com/apache/parquet-format, `parquet.thrift`). The footer is read here too:
pyarrow ends the process when it is asked for a column of one that contradicts itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["Chunk", "column_chunks", "unpacked_bytes"]

Chunk: TypeAlias = dict[int, Any]  # what the footer says of a column in a row group: number of a field to its value

_VALUE = 8  # bytes; what a value takes at least, and more than a text takes beside its characters
_PLAIN, _PREFIXED = 0, 7  # encodings of texts: one after the other; each as an ending to the text before
_DICTIONARY = 2  # a type of page
_DATA = {0: (5, 2), 3: (8, 4)}  # others: the field with their number of values, and in it that with their encoding
_WIDTH = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_TEXT = "BYTE_ARRAY"
_I32, _I64 = 5, 6  # types of the numbers in headers of pages, and in the footer
_GROUPS, _CHUNKS, _ABOUT = 4, 1, 3  # fields of the footer, of a row group, and of a column in it
_VALUES, _SIZE, _FIRST_PAGE, _DICTIONARY_PAGE = 5, 7, 9, 11  # fields of what is said about that
_DEEPEST = 8  # structs and lists inside each other; a footer has seven


def column_chunks(data: memoryview) -> list[list[Chunk]]:
    """For each row group its columns, as the footer says.

    Args:
        data: all bytes of a file that was opened.

    Raises:
        ValueError: the footer contradicts itself.
    """
    try:
        size = int.from_bytes(data[-8:-4], "little")
        footer, _ = _fields(bytes(data[-8 - size : -8]), 0, _I64)
        return [[chunk[_ABOUT] for chunk in group[_CHUNKS]] for group in footer[_GROUPS]]
    except (AttributeError, KeyError, IndexError, TypeError) as e:
        raise ValueError("a footer without columns") from e


def unpacked_bytes(file: pq.ParquetFile, data: memoryview, chunk: Chunk, place: int) -> tuple[int, int]:
    """At most this many bytes that a column takes in memory, and how many of them only its texts may take.

    Args:
        file: opened.
        data: all of its bytes.
        chunk: the column in a row group.
        place: number of the column.

    Raises:
        ValueError: its pages are not where the file says.
    """
    column = file.schema.column(place)
    width = _WIDTH.get(column.physical_type) or (0 if column.physical_type == _TEXT else column.length)
    try:
        if chunk[_VALUES] <= 0:  # no reader looks at its pages
            return 0, 0
        values, texts = _values_and_texts(_pages(data, chunk))
    except (AttributeError, KeyError, IndexError, TypeError) as e:
        raise ValueError("a page without its header") from e
    return values * max(width, _VALUE), 0 if width else texts


def _values_and_texts(pages: Iterator[dict[int, Any]]) -> tuple[int, int]:
    """How many values there are, and at most how many bytes if they are texts."""
    longest = values = texts = 0
    for page in pages:
        if page[1] == _DICTIONARY:
            longest = max(longest, page[2])  # it may hold one text, for all values
        if page[1] in _DATA:
            about, place = _DATA[page[1]]
            count, encoding = page[about][1], page[about][place]
            if count < 0:  # it would be taken from the values of other pages
                raise ValueError("a page of less than no values")
            values += count
            texts += {_PLAIN: page[2], _PREFIXED: page[2] * count}.get(encoding, max(longest * count, page[2]))
    return values, texts


def _pages(data: memoryview, chunk: Chunk) -> Iterator[dict[int, Any]]:
    """The header of each page of a column: number of a field to its value."""
    at = min(chunk[_FIRST_PAGE], chunk.get(_DICTIONARY_PAGE) or chunk[_FIRST_PAGE])
    end = at + chunk[_SIZE]
    while at < end:
        page, at = _fields(data, at, _I32)
        if page[2] < 0 or page[3] < 0:
            raise ValueError("a page of less than no bytes")
        at += page[3]
        yield page


def _fields(data: bytes | memoryview, at: int, wanted: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol: its numbers, structs and lists; and where it ends.

    Numbers of another type than the wanted one are None, since readers pass over them.
    """
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != 0:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        if number in fields:
            raise ValueError("a field that is there twice")
        if kind in (1, 2):
            fields[number] = kind == 1
        else:
            fields[number], at = _value(data, at, kind, wanted, depth)
    return fields, at + 1


def _value(data: bytes | memoryview, at: int, kind: int, wanted: int, depth: int) -> tuple[Any, int]:
    """A number, struct or list of them; None for what is of no use here; and where it ends."""
    if kind in (4, 5, 6):
        number, at = _zigzag(data, at)
        if not -(2**63) <= number < 2**63 or (kind == _I32 and not -(2**31) <= number < 2**31):
            raise ValueError("a number that its type has not")
        return number if kind == wanted else None, at
    if kind in (1, 2, 3, 7):
        return None, at + (8 if kind == 7 else 1)
    if kind == 8:
        length, at = _varint(data, at)
        return None, at + length
    if kind not in (9, 12) or depth > _DEEPEST:
        raise ValueError(f"a header with a field of the type {kind}, or nested too deeply")
    if kind == 12:
        return _fields(data, at, wanted, depth + 1)
    size, inner = data[at] >> 4, data[at] & 15
    at += 1
    if size == 15:
        size, at = _varint(data, at)
    if size > len(data) - at:
        raise ValueError("a list that is longer than its file")
    values = []
    for _ in range(size):
        value, at = _value(data, at, inner, wanted, depth + 1)
        values.append(value)
    return values, at


def _zigzag(data: bytes | memoryview, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 128:  # as most are
        return (value >> 1) ^ -(value & 1), at + 1
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number that is too long")
