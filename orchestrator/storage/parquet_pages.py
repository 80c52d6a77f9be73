"""How much the pages of a Parquet file unpack to, from the header of each page.

The footer of a file may say anything; by the headers, however, every reader allocates memory. They are in the compact
protocol of Apache Thrift (https://github.com/apache/parquet-format, `parquet.thrift`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["unpacked_bytes"]

_VALUE = 8  # bytes; what a value takes at least, and more than a text takes beside its characters
_PLAIN, _PREFIXED = 0, 7  # encodings of texts: one after the other; each as an ending to the text before
_DICTIONARY = 2  # a type of page
_DATA = {0: (5, 2), 3: (8, 4)}  # others: the field with their number of values, and in it that with their encoding
_WIDTH = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_TEXT = "BYTE_ARRAY"


def unpacked_bytes(file: pq.ParquetFile, data: memoryview, group: int, place: int) -> tuple[int, int]:
    """At most this many bytes that a column takes in memory, and how many of them only its texts may take.

    Args:
        file: opened.
        data: all of its bytes.
        group: number of the row group.
        place: number of the column.

    Raises:
        ValueError: its pages are not where the file says.
    """
    column = file.metadata.row_group(group).column(place)
    if column.num_values <= 0:  # no reader looks at its pages
        return 0, 0
    width = _WIDTH.get(column.physical_type) or (
        0 if column.physical_type == _TEXT else file.schema.column(place).length
    )
    try:
        values, texts = _values_and_texts(_pages(data, column))
    except (KeyError, IndexError, TypeError) as e:
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


def _pages(data: memoryview, column: pq.ColumnChunkMetaData) -> Iterator[dict[int, Any]]:
    """The header of each page of a column: number of a field to its value."""
    starts = [column.data_page_offset]
    if column.has_dictionary_page and column.dictionary_page_offset:
        starts.append(column.dictionary_page_offset)
    at, end = min(starts), min(starts) + column.total_compressed_size
    while at < end:
        page, at = _fields(data, at, 0)
        if page[2] < 0 or page[3] < 0:
            raise ValueError("a page of less than no bytes")
        at += page[3]
        yield page


def _fields(data: memoryview, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """A struct in Thrift's compact protocol: its numbers and structs; and where it ends."""
    if depth > 4:
        raise ValueError("a header that is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while (head := data[at]) != 0:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        if kind in (1, 2):
            fields[number] = kind == 1
        elif kind in (4, 5, 6):
            fields[number], at = _zigzag(data, at)
        elif kind in (3, 7):
            at += 1 if kind == 3 else 8
        elif kind == 8:
            length, at = _varint(data, at)
            at += length
        elif kind == 12:
            fields[number], at = _fields(data, at, depth + 1)
        else:  # no header of a page has lists or mappings
            raise ValueError(f"a header with a field of the type {kind}")
    return fields, at + 1


def _zigzag(data: memoryview, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place in range(10):
        byte = data[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number that is too long")
