"""Sealed Parquet: one self-contained file with a checksum over all of its bytes, its footer too.

Parquet itself checks pages at most, never the footer. So 32 zeros are put into the footer's key-value metadata, the
complete file is hashed, and the digits of the hash take the place of the zeros. Any Parquet reader reads the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import pyarrow as pa
import pyarrow.parquet as pq

from landsweep.orchestrator.storage.bounds import refuse_bomb

__all__ = ["Damaged", "check", "contents", "open_sealed", "seal", "seal_tables", "unseal"]

_NAME = "landsweep.seal"
_BLANK = b"0" * 32
_MARK = _NAME.encode() + b"\x18\x20"  # Thrift compact: next field is binary, of length 32
_ROW_GROUP = 1 << 16


class Damaged(Exception):
    """The file is not what was written."""


def seal(table: pa.Table, about: Mapping[str, str]) -> bytearray:
    """Bytes of a sealed Parquet file that holds the table.

    Args:
        table: what to keep.
        about: further key-value metadata of the file.
    """
    return seal_tables([table], table.schema, about)


def seal_tables(tables: Iterable[pa.Table], schema: pa.Schema, about: Mapping[str, str]) -> bytearray:
    """Bytes of a sealed Parquet file that holds all tables, one after the other.

    Memory: the compressed file, plus 65536 rows or one table, whichever is more.

    Args:
        tables: each of the given schema.
        schema: of the file.
        about: further key-value metadata of the file.
    """
    sink = pa.BufferOutputStream()
    # Keys are unique in rows: a dictionary of them would only be built to be thrown away.
    encoded = [n for n in schema.names if n != "key" or "step" in schema.names]
    writer = pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=encoded, write_statistics=False)
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        if count >= _ROW_GROUP:
            writer.write_table(pa.concat_tables(waiting), row_group_size=_ROW_GROUP)
            waiting, count = [], 0
    if waiting:
        writer.write_table(pa.concat_tables(waiting), row_group_size=_ROW_GROUP)
    writer.add_key_value_metadata({**about, _NAME: _BLANK.decode()})
    writer.close()
    data = bytearray(memoryview(sink.getvalue()))
    at = data.rfind(_MARK + _BLANK) + len(_MARK)
    if at < len(_MARK):
        raise RuntimeError("this version of pyarrow writes key-value metadata in another way")
    data[at : at + 32] = _digest(data, at)
    return data


def check(data: bytes | bytearray) -> str:
    """Verify the checksum, and give its digits.

    Raises:
        Damaged: a byte was changed, removed or added since `seal`.
    """
    at = data.rfind(_MARK) + len(_MARK)
    if at < len(_MARK) or at + 32 > len(data):
        raise Damaged(f"torn: its {len(data)} bytes have no seal")
    if data[at : at + 32] != _digest(data, at):
        raise Damaged("its checksum does not match its bytes")
    return data[at : at + 32].decode()


def unseal(
    data: bytes | bytearray, columns: Sequence[str] | None = None, source: str = "a table"
) -> tuple[pa.Table, dict[str, str]]:
    """The table of a sealed file, and the metadata given to `seal`.

    Args:
        data: all bytes of the file.
        columns: read only these; names that the file does not have are left out.
        source: what to call it in a message.

    Raises:
        Damaged: the bytes are not those that were sealed.
        TooLarge: they unpack to more than fits into memory.
    """
    return contents(open_sealed(data), data, columns, source)


def contents(
    file: pq.ParquetFile, data: bytes | bytearray, columns: Sequence[str] | None, source: str
) -> tuple[pa.Table, dict[str, str]]:
    """The table of an opened file, and the metadata given to `seal`; arguments as for `unseal`.

    Raises:
        Damaged: it can't be read, though its seal is right: somebody else has sealed it.
        TooLarge: it unpacks to more than fits into memory.
    """
    try:
        if columns is not None:
            names = set(file.schema_arrow.names)
            columns = [n for n in columns if n in names]
        refuse_bomb(file, data, source, columns)
        table = file.read(columns=columns)
        about = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
    except (pa.ArrowException, OSError, ValueError, TypeError) as e:
        raise Damaged(f"it is no table: {type(e).__name__}") from e
    for name in ("ARROW:schema", _NAME):
        about.pop(name, None)
    return table.replace_schema_metadata(None), about


def open_sealed(data: bytes | bytearray) -> pq.ParquetFile:
    """A sealed file, to read from.

    Raises:
        Damaged: the bytes are not those that were sealed.
    """
    check(data)
    try:
        return pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError) as e:  # sealed, but not by us
        raise Damaged(f"it is no table: {type(e).__name__}") from e


def _digest(data: bytes | bytearray, at: int) -> bytes:
    """Hash of the file with zeros where the seal's 32 digits are."""
    view = memoryview(data)
    state = blake2b(view[:at], digest_size=16)
    state.update(_BLANK)
    state.update(view[at + 32 :])
    return state.hexdigest().encode()
