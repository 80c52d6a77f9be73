"""Documents of text on disk: Parquet, JSON lines and Arrow files become token files, once for each machine."""

from __future__ import annotations

import gzip
import json
import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.storage.bounds import refuse_bomb
from landsweep.sweeps.lab.data.base import Data, Dimensions
from landsweep.sweeps.lab.data.foreign import check_arrow, check_column, is_lists_of, reads_files
from landsweep.sweeps.lab.data.shards import ShardData, fingerprint
from landsweep.sweeps.lab.data.token_cache import Encoder, cached_shards
from landsweep.sweeps.lab.data.token_files import token_splits

__all__ = ["Documents", "read_documents"]

_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
_ROWS = 1000  # read at once
_LONGEST_LINE = 64 << 20  # characters


class Documents(ShardData):
    """Tokens [context] of documents; the target of each position is the token after it.

    Each document is followed by the token `end`. They are made into token files in the cache of the machine, in the
    order of the files, when they are first needed. A column may also hold lists of tokens, which are taken as they are.
    """

    source: Literal["documents"]
    column: str = Field("text", description="column or JSON field with the text, or with lists of tokens")
    tokenizer: str | None = Field(
        None, description="tokenizer.json of the package `tokenizers`, relative to the spec; none: bytes as tokens"
    )
    end: str | int | None = Field(
        None, description="token after each document, by its text or number; none: 256 for bytes, else there is none"
    )
    vocabulary: int | None = Field(
        None, ge=2, le=2**31, description="how many tokens there are; none: what the tokenizer has, 257 for bytes"
    )
    context: int = Field(1024, ge=1, description="tokens in one sequence")
    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="share of the documents, drawn at random, that become the split `test`"
    )

    @model_validator(mode="after")
    def _splits_are_made_once(self) -> Self:
        if self.test_fraction is not None and list(self.shards) != ["train"]:
            raise ValueError(
                "test_fraction: takes documents out of `train`; then give `shards: {train: PATTERN}` alone"
            )
        return self

    @property
    def split_names(self) -> tuple[str, ...]:
        """Of the files, and the one that `test_fraction` makes."""
        return (*self.shards, *(("test",) if self.test_fraction is not None else ()))

    def holds(self, file: Path) -> bool:
        return super().holds(file) and file.name.endswith(_SUFFIXES) and not file.name.startswith("dataset_info")

    def dimensions(self) -> Dimensions | None:
        size = self.vocabulary or (257 if self.tokenizer is None else None)
        return None if size is None else Dimensions((self.context,), size, sequence=True, splits=self.split_names)

    def more_digests(self, base: Path) -> Mapping[str, str]:
        if self.tokenizer is None:
            return {}
        file = base / self.tokenizer
        if not file.is_file():
            raise SpecError(f"data.tokenizer: there is no file {file}")
        return {"tokenizer": fingerprint(file)}

    @reads_files
    def load(self, base: Path) -> Data:
        """The splits, on disk.

        Raises:
            SpecError: files are missing or changed, hold no such column, or tokens beyond the vocabulary.
        """
        files = self.verified_splits(base)
        encoder = Encoder.of(None if self.tokenizer is None else base / self.tokenizer, self.end, self.vocabulary)
        identity = [(self.pinned(base)).digests, self.column, self.test_fraction, dict(self.shards)]

        def documents(split: str) -> Iterator[tuple[Path, str | list[int]]]:
            for file in files[split]:
                for document in read_documents(file, self.column):
                    yield file, document

        shards = cached_shards(identity, documents, tuple(self.shards), encoder, self.test_fraction)
        return token_splits(shards, self.context, encoder.vocabulary, self.processes)


def read_documents(file: Path, column: str) -> Iterator[str | list[int]]:
    """The values of a column, one after the other; those that are null are left out.

    Raises:
        SpecError: the file is damaged, has no such column, or it holds neither text nor lists of whole numbers.
    """
    reader = _arrow if file.suffix in (".parquet", ".arrow") else _json_lines
    for number, value in enumerate(reader(file, column)):
        if value is None:
            continue
        if not isinstance(value, str) and not (isinstance(value, list) and all(map(_is_token, value))):
            raise SpecError(
                f"data.column: {column!r} of row {number} of {file} holds {_short(value)}; it must be text, or a list "
                "of tokens"
            )
        yield value


def _is_token(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _short(value: object) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


def _json_lines(file: Path, column: str) -> Iterator[Any]:
    with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8", errors="surrogateescape") as lines:
        number = 0
        try:
            while line := lines.readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE:
                    raise SpecError(
                        f"data: line {number} of {file} has {_LONGEST_LINE:,} characters or more; split the document"
                    )
                if not line.strip():
                    continue
                entry = json.loads(line)
                if not isinstance(entry, dict) or column not in entry:
                    has = ", ".join(entry) if isinstance(entry, dict) else _short(entry)
                    raise SpecError(f"data.column: line {number} of {file} has no field {column!r}; it has {has}")
                if not _is_text(line) or (isinstance(entry[column], str) and not _is_text(entry[column])):
                    raise SpecError(
                        f"data.column: line {number} of {file} is no Unicode text: it has bytes that are no UTF-8, or "
                        "half of a character; save it as UTF-8"
                    )
                yield entry[column]
        except (ValueError, EOFError, OSError, RecursionError) as e:
            raise SpecError(f"data: {file} is no JSON lines, or is cut off, at or after line {number}: {e}") from e


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _arrow(file: Path, column: str) -> Iterator[Any]:
    import pyarrow as pa  # here and below: help and plans start without it
    import pyarrow.parquet as pq

    try:
        if file.suffix == ".parquet":
            with file.open("rb") as raw, pq.ParquetFile(file) as table:
                data = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
                _check_column(file, column, table.schema_arrow.names)
                for group in range(table.num_row_groups):  # one is in memory at a time
                    refuse_bomb(table, data, str(file), [column], groups=[group])
                    for batch in table.iter_batches(_ROWS, [group], columns=[column]):
                        yield from _values(file, column, batch.column(0))
            return
        with pa.memory_map(str(file)) as source:
            check_arrow(file, pa.ipc.MessageReader.open_stream(source))
            source.seek(0)
            with pa.ipc.open_stream(source) as stream:
                _check_column(file, column, stream.schema.names)
                for batch in stream:
                    yield from _values(file, column, batch.column(column))
    except (pa.ArrowException, OSError, ValueError) as e:
        raise SpecError(f"data: {file} can't be read, it is damaged or cut off: {e}") from e


def _values(file: Path, name: str, column: Any) -> Iterator[Any]:  # noqa: ANN401 - an Arrow array
    """The values of a column as Python's own types, not all at once."""
    from pyarrow import types

    if types.is_null(column.type):
        return  # of any number of rows
    check_column(file, name, column, _is_readable, "text, or lists of whole numbers")
    texts = None
    if types.is_dictionary(column.type):  # a text of many rows is in memory once
        texts, column = column.dictionary.to_pylist(), column.indices
    for start in range(0, len(column), _ROWS):
        values = column.slice(start, _ROWS).to_pylist()
        yield from values if texts is None else (None if i is None else texts[i] for i in values)


def _is_readable(kind: Any) -> bool:  # noqa: ANN401 - an Arrow type
    from pyarrow import types

    text = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_string(text) or types.is_large_string(text):
        return True
    return is_lists_of(types.is_integer, kind) and types.is_integer(kind.value_type)


def _check_column(file: Path, column: str, names: list[str]) -> None:
    if column not in names:
        raise SpecError(f"data.column: {file} has no column {column!r}; it has {', '.join(names)}")
