"""A few bytes that unpack to any number: refused in words, before the memory is taken."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage import bounds
from landsweep.orchestrator.storage.bounds import TooLarge, gunzip, opened, refuse_bomb, refuse_bombs
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.seal import seal
from landsweep.orchestrator.storage.parquet_pages import unpacked_bytes
from landsweep.sweeps.lab.data.mnist import read_idx
from landsweep.sweeps.laws.fitting.tables import read_table
from tests.attack.folders import FUNCTION, ZOO, command, ran

MEBIBYTE = 1 << 20


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", **options)
    return bytes(sink.getvalue())


def one_text(rows: int, length: int) -> pa.Table:
    return pa.table({"a": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["x" * length]).cast(pa.string())})


BOMBS: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: parquet(pa.table({"a": np.zeros(1_000_000)})),
    "rows": lambda: parquet(pa.table({"a": pa.nulls(1_000_000, pa.int8())})),
    "a text for all rows": lambda: parquet(one_text(200, 200_000)),
    "the same in many groups": lambda: parquet(one_text(200, 200_000), row_group_size=10),
    "the same in pages of version 2": lambda: parquet(one_text(200, 200_000), data_page_version="2.0"),
    "a long text": lambda: parquet(one_text(1, 40_000_000)),
    "texts that begin alike": lambda: parquet(
        one_text(200, 200_000), use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"}
    ),
    "lists": lambda: parquet(pa.table({"a": [["x" * 200_000] * 200]})),
    "fixed lengths": lambda: parquet(pa.table({"a": pa.array([b"x" * 40_000] * 1000, pa.binary(40_000))})),
}


@pytest.mark.parametrize("sort", BOMBS)
def test_what_unpacks_to_more_than_there_is_room_for(sort: str, tmp_path: Path) -> None:
    data = BOMBS[sort]()
    assert len(data) < 50_000
    file = tmp_path / "bomb.parquet"
    file.write_bytes(data)
    with pytest.raises(TooLarge, match="bomb takes"):
        refuse_bomb(opened(data), data, "bomb", most=5 * MEBIBYTE)
    assert refuse_bomb(opened(data), data, "bomb", most=2**50) >= pq.read_table(file).nbytes, "never less than it takes"
    assert refuse_bomb(opened(data), data, "bomb", [], most=200 * MEBIBYTE) < 120 * MEBIBYTE, "no column, no values"


@pytest.mark.parametrize("share", [0.5, 1.5])
def test_texts_are_measured_where_the_most_they_may_take_is_too_much(share: float) -> None:
    """A dictionary of one long text and many short ones: it can mean a lot, and means little."""
    texts = ["y" * 500_000, *(str(n % 7) for n in range(20_000))]
    data = parquet(pa.table({"a": texts}))
    size = pa.table({"a": texts}).nbytes + len(texts) * 108
    if share < 1:
        with pytest.raises(TooLarge):
            refuse_bomb(opened(data), data, "bomb", most=int(size * share))
    else:
        assert refuse_bomb(opened(data), data, "bomb", most=int(size * share)) <= size * share


@pytest.mark.parametrize("words", [b"total", b"pages"])
def test_a_file_that_lies_of_its_size(words: bytes) -> None:
    """The footer says nothing that is believed; and a damaged header of a page is no traceback of another sort."""
    data = bytearray(BOMBS["a text for all rows"]())
    meta = opened(data).metadata.row_group(0).column(0)
    if words == b"total":
        varint, zigzag = bytearray(), meta.total_uncompressed_size << 1
        while zigzag:
            varint.append(zigzag & 127 | (128 if zigzag > 127 else 0))
            zigzag >>= 7
        data = data.replace(bytes(varint), b"\x82" + b"\x80" * (len(varint) - 2) + b"\x00")
        assert opened(data).metadata.row_group(0).column(0).total_uncompressed_size == 1
        with pytest.raises(TooLarge):
            refuse_bomb(opened(data), data, "bomb", most=5 * MEBIBYTE)
    else:
        for at in range(4, 40):
            for value in (0, 25, 28, 127, 255):
                other = bytearray(data)
                other[at] = value
                try:
                    refuse_bomb(opened(other), other, "bomb", most=5 * MEBIBYTE)
                except (ValueError, OSError, TooLarge):
                    continue


def test_tables_of_many_shapes_are_never_thought_smaller_than_they_are() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(0, 3000))
        columns = {
            "key": [f"{rng.integers(2**60):x}" for _ in range(rows)],
            "text": ["t" * int(rng.integers(0, 50)) for _ in range(rows)],
            "some": [None if rng.random() < 0.5 else "x" for _ in range(rows)],
            "number": rng.normal(size=rows),
            "whole": pa.array(rng.integers(0, 9, rows), pa.int32()),
            "flag": rng.random(rows) < 0.5,
            "none": pa.nulls(rows),
        }
        table = pa.table(columns)
        options = {
            "data_page_version": ["1.0", "2.0"][seed % 2],
            "use_dictionary": bool(seed % 3),
            "row_group_size": 999,
        }
        data = parquet(table, **options, data_page_size=4096)
        bound = refuse_bomb(opened(data), data, "table", most=2**50)
        assert table.nbytes <= bound + 100, "an empty table has a few bytes of its own"
        assert refuse_bomb(opened(data), data, "table", most=2**29) <= bound
        data = bytes(seal(table, {}))
        assert refuse_bomb(opened(data), data, "table", most=2**50) < 2**26, "what we write is no bomb"


def test_a_part_that_is_a_bomb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = ran(tmp_path, FUNCTION)
    head = json.loads((results / "sweep.json").read_text())
    about = {"landsweep.part": json.dumps({"level": 0, "replaces": [], "series": None, "sweep": head["id"]})}
    rows = one_text(200, 200_000).rename_columns(["error"])
    rows = rows.append_column("key", [[f"{n:032x}" for n in range(200)]]).append_column("status", [["ok"] * 200])
    (results / "rows" / "part-000099.parquet").write_bytes(seal(rows, about))
    monkeypatch.setattr(bounds, "room", lambda: 5 * MEBIBYTE)
    done = command("report", results, cwd=tmp_path)
    assert done.returncode == 2
    assert "part-000099.parquet takes" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr


def test_a_series_and_a_zoo_that_are_bombs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = ran(tmp_path, ZOO)
    monkeypatch.setattr(bounds, "room", lambda: 500)
    for words in (["zoo-card", zoo], ["verify", zoo], ["zoo-export", zoo, "--to", tmp_path / "to"]):
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 2, done
        assert "takes" in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(TooLarge):
        Ledger.open(Store.at(zoo)).series()


def test_tables_for_laws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "bomb.parquet"
    file.write_bytes(BOMBS["numbers"]())
    assert len(read_table(file)) == len(read_table(tmp_path)) == 1_000_000
    monkeypatch.setattr(bounds, "room", lambda: 200 * MEBIBYTE)
    assert len(read_table(file)) == 1_000_000
    (tmp_path / "below" / "other.parquet").write_bytes(BOMBS["numbers"]())
    with pytest.raises(TooLarge, match=r"parquet takes"):
        read_table(tmp_path)
    (tmp_path / "below" / "other.parquet").rename(tmp_path / "below" / "_other.parquet")
    assert len(read_table(tmp_path)) == 1_000_000, "pandas passes these over"
    refuse_bombs([])


def test_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = gzip.compress(bytes(50 * MEBIBYTE))
    assert len(gunzip(data, "zeros", 50 * MEBIBYTE)) == 50 * MEBIBYTE
    many = gzip.compress(bytes(MEBIBYTE)) * 50
    for bomb in (data, many, data + many):
        with pytest.raises(TooLarge, match="zeros takes"):
            gunzip(bomb, "zeros", 50 * MEBIBYTE - 1)
    file = tmp_path / "images.gz"
    file.write_bytes(data)
    monkeypatch.setattr("landsweep.sweeps.lab.data.mnist.room", lambda: MEBIBYTE)
    with pytest.raises(TooLarge, match=r"images\.gz"):
        read_idx(file, 3)


def test_a_published_zoo_whose_table_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landsweep.sweeps.lab.trained_models.small_cnn_zoo.room", lambda: MEBIBYTE)
    np.save(tmp_path / "weights.npy", np.zeros((1, 1)))
    (tmp_path / "layout.csv").write_text("varname,start_idx,end_idx,shape\n")
    for content, message in (
        (gzip.compress(b"modeldir,step\n" + b"a,1\n" * 100_000), "takes"),
        (b"no gzip", "is damaged"),
        (gzip.compress(b"a,b\n1,2\n")[:-4], "is damaged"),
        (gzip.compress(b'a\n"'), "is damaged"),
    ):
        (tmp_path / "metrics.csv.gz").write_bytes(content)
        done = command("zoo-card", tmp_path, cwd=tmp_path)
        assert done.returncode == 2, done
        assert message in done.stderr and "Traceback" not in done.stderr


def header(**fields: object) -> bytes:
    """The header of a page of numbers, as Thrift writes it; `type`, `values` and `extra` bytes of further fields."""
    values = int(fields["values"])  # type: ignore[call-overload]
    about = b"\x15" + varint(values) + b"\x15\x00\x15\x06\x15\x06\x00"  # plain, levels by RLE
    kind = varint(int(fields["type"]))  # type: ignore[call-overload]
    return b"\x15" + kind + b"\x15\x00\x15\x00\x2c" + about + bytes(fields.get("extra", b"")) + b"\x00"  # type: ignore[call-overload]


def varint(number: int) -> bytes:
    zigzag, out = (number << 1) ^ (number >> 63), bytearray()
    while zigzag > 127:
        out.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*out, zigzag])


class Chunk:
    """What the footer says of a column."""

    physical_type, num_values, has_dictionary_page, dictionary_page_offset, data_page_offset = "INT64", 1, False, 0, 0

    def __init__(self, size: int) -> None:
        self.total_compressed_size = size


@pytest.mark.parametrize(
    ("pages", "values"),
    [
        ([header(type=0, values=1000)], 1000),
        ([header(type=0, values=1000), header(type=0, values=-1000)], None),
        ([header(type=0, values=1000, extra=b"\x2c\x15\x02\x00")], 1000),  # it also says that it is a dictionary
        ([header(type=2, values=1000)], 0),
        ([header(type=3, values=1000)], None),
        ([header(type=0, values=1000)[:-1]], None),
        ([b"\x15\x00\x15\x00\x15\x00\x00"], None),
        ([b"\x15\x00\x15\x00\x15\x00\x25\x00\x00"], None),
        ([b"\x2c" * 60], None),
        ([b"\x15" + b"\xff" * 20], None),
    ],
)
def test_headers_of_pages_that_were_forged(pages: list[bytes], values: int | None) -> None:
    """No page hides the values of another one, or its own."""
    data = b"".join(pages)
    file = SimpleNamespace(
        metadata=SimpleNamespace(row_group=lambda g: SimpleNamespace(column=lambda c: Chunk(len(data))))
    )
    if values is None:
        with pytest.raises(ValueError, match=r"page|header|number"):
            unpacked_bytes(file, memoryview(data), 0, 0)  # type: ignore[arg-type]
    else:
        assert unpacked_bytes(file, memoryview(data), 0, 0) == (8 * values, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "file", ["rows/part-000077.parquet", "rows/columns.parquet", "prepared/x.safetensors", "units/aa/stdout.txt"]
)
def test_a_file_of_holes_is_not_read_into_memory(tmp_path: Path, file: str) -> None:
    """An archive of a few bytes can hold it."""
    path = tmp_path / "sweep" / file
    path.parent.mkdir(parents=True)
    path.touch()
    os.truncate(path, 8 << 40)
    store = Store.at(tmp_path / "sweep")
    with pytest.raises(TooLarge, match=rf"{path.name} takes 8,192\.0 GiB"):
        store.read(file)
    assert store.head(file, 8) == bytes(8)


def test_a_table_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "table.csv")
    with pytest.raises(UsageError, match="named pipe"):
        read_table(tmp_path / "table.csv")
