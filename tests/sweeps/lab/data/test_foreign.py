"""Files of data sets that are not what they should be: refused in a line, before they take memory."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import TypeAdapter

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.storage import bounds
from landsweep.sweeps.lab.data import DataSpec, documents, token_cache
from landsweep.sweeps.lab.data.base import Data
from landsweep.sweeps.lab.data.documents import read_documents

_SPECS: TypeAdapter[Any] = TypeAdapter(DataSpec)
TABLE = pa.table({"x": [[1.0, 2.0]] * 8, "label": [0, 1] * 4})
NAMES = {"features": {"label": {"names": ["a", "b"]}}}
LISTS = {"_data_files": [{"filename": "a.arrow"}]}


def loaded(folder: Path, **fields: Any) -> Data:
    data: Data = _SPECS.validate_python({"folder": ".", **fields}).load(folder)
    return data


def stream(table: pa.Table, compression: str | None = None) -> bytes:
    written = io.BytesIO()
    with pa.ipc.new_stream(written, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    return written.getvalue()


def with_wrong_offsets(table: pa.Table, last: int) -> bytes:
    """The stream of a table with one column of 8 values, whose last place is far outside of it."""
    good = stream(table)
    offsets = np.arange(0, last + 1, last // 8, dtype=np.int32).tobytes()
    assert good.count(offsets) == 1
    return good.replace(offsets, offsets[:-4] + np.int32(1 << 30).tobytes())


def saved(folder: Path, content: bytes, state: object = LISTS, info: object = NAMES) -> None:
    (folder / "a.arrow").write_bytes(content)
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_a_good_folder_of_the_package_is_read(tmp_path: Path) -> None:
    saved(tmp_path, stream(TABLE))
    assert len(loaded(tmp_path, source="hf_dataset", inputs="x").splits["train"]) == 8


@pytest.mark.parametrize(
    "state", [{"_data_files": files} for files in (5, "abc", ["a.arrow"], [None], [{}], {"filename": "a.arrow"})]
)
def test_a_list_of_files_of_another_shape(tmp_path: Path, state: object) -> None:
    saved(tmp_path, stream(TABLE), state)
    with pytest.raises(SpecError, match="does not list files as"):
        loaded(tmp_path, source="hf_dataset", inputs="x")


ODD = [{"features": f} for f in ([], "x", *({"label": {"names": n}} for n in (5, True, "ab")))]


@pytest.mark.parametrize("info", ODD)
def test_names_of_classes_of_another_shape(tmp_path: Path, info: object) -> None:
    saved(tmp_path, stream(TABLE), info=info)
    with pytest.raises(SpecError, match="give `classes`"):
        loaded(tmp_path, source="hf_dataset", inputs="x")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    column = TABLE["x"]
    saved(tmp_path, stream(pa.Table.from_arrays([column, column, TABLE["label"]], names=["x", "x", "label"])))
    with pytest.raises(SpecError, match="several columns 'x'"):
        loaded(tmp_path, source="hf_dataset", inputs="x")


def viewed(count: int, values: pa.Array) -> pa.Array:
    """Lists, each of all values."""
    return pa.ListViewArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([len(values)] * count), values)


def seen(count: int, text: str) -> pa.Array:
    """Texts that are one, of which each says where it stands."""
    views = np.array([(len(text), text[:4].encode(), 0, 0)] * count, "i4, S4, i4, i4").tobytes()
    return pa.Array.from_buffers(pa.string_view(), count, [None, pa.py_buffer(views), pa.py_buffer(text.encode())])


# A few bytes of these can stand for any number of values, or they are none of ours.
UNREAD = {
    "times": pa.array([2**62] * 8, pa.timestamp("s")),
    "no values": pa.nulls(8),
    "lists of no values": pa.array([[None] * 9] * 8),
    "lists of one size, of no values": pa.FixedSizeListArray.from_arrays(pa.nulls(8 * 1000), 1000),
    "lists of nothing": pa.array([[]] * 8, pa.list_(pa.float32(), 0)),
    "views of lists": viewed(8, viewed(100, pa.array([1] * 100))),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([8], pa.int32()), pa.array([1.0])),
    "pictures with more": pa.array([{"bytes": b"", "path": "", "more": [None] * 9}] * 8),
}


@pytest.mark.parametrize("column", UNREAD.values(), ids=UNREAD)
def test_columns_that_are_not_read(tmp_path: Path, column: pa.Array) -> None:
    saved(tmp_path, stream(pa.table({"x": column, "label": TABLE["label"]})))
    with pytest.raises(SpecError, match=r"data: x of .*a\.arrow holds .*; it must hold numbers"):
        loaded(tmp_path, source="hf_dataset", inputs="x")


TEXTS = {
    "views": seen(8, "a long text"),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([8], pa.int32()), pa.array(["a"])),
    "views of lists": viewed(8, pa.array([1] * 100)),
    "lists of no values": pa.array([[None] * 9] * 8),
}


@pytest.mark.parametrize("column", TEXTS.values(), ids=TEXTS)
def test_texts_that_are_not_read(tmp_path: Path, column: pa.Array) -> None:
    (tmp_path / "a.arrow").write_bytes(stream(pa.table({"text": column})))
    with pytest.raises(SpecError, match=r"data: text of .*a\.arrow holds .*; it must hold text"):
        list(read_documents(tmp_path / "a.arrow", "text"))


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_a_text_of_many_rows_is_in_memory_once(tmp_path: Path, kind: str) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1500 + [None, 1]), pa.array(["a" * 1000, "b"]))
    (tmp_path / "a.arrow").write_bytes(stream(pa.table({"text": texts})))
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    read = list(read_documents(tmp_path / f"a.{kind}", "text"))
    assert read == ["a" * 1000] * 1500 + ["b"]
    assert len({id(text) for text in read}) < 9


def test_documents_without_values_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(stream(pa.table({"text": pa.nulls(2**31 - 1)})))
    assert list(read_documents(tmp_path / "a.arrow", "text")) == []


def test_batches_of_documents_are_small_whatever_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "_LARGEST", 10)
    documents = [(Path("a"), text) for text in ("aaaa", "b" * 7, "c" * 90, *"d" * 15)]
    batches = list(token_cache._batches(iter(documents)))
    assert [len(batch) for batch in batches] == [2, 1, 10, 5]
    assert [document for batch in batches for document in batch] == documents


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\\ud800 half"])
def test_the_line_that_is_no_text_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "good"}\n' * 5 + b'{"text": "%s"}\n' % text)
    with pytest.raises(SpecError, match=r"line 6 of .*a\.jsonl is no Unicode text"):
        list(read_documents(tmp_path / "a.jsonl", "text"))


def test_places_outside_of_an_arrow_file_are_not_looked_at(tmp_path: Path) -> None:
    saved(tmp_path, with_wrong_offsets(TABLE, 16))
    with pytest.raises(SpecError, match=r"a\.arrow is no Arrow file .* or damaged"):
        loaded(tmp_path, source="hf_dataset", inputs="x")
    (tmp_path / "b.arrow").write_bytes(with_wrong_offsets(pa.table({"text": ["abcd"] * 8}), 32))
    with pytest.raises(SpecError, match=r"b\.arrow can't be read, it is damaged"):
        list(read_documents(tmp_path / "b.arrow", "text"))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("texts", [pa.array(["a" * 100] * 9), pa.array(["a" * 100] * 9).dictionary_encode()])
def test_compressed_arrow_files_are_refused(tmp_path: Path, compression: str, texts: pa.Array) -> None:
    saved(tmp_path, stream(TABLE, compression))
    with pytest.raises(SpecError, match="compressed buffers"):
        loaded(tmp_path, source="hf_dataset", inputs="x")
    file = tmp_path / "b.arrow"
    file.write_bytes(stream(pa.table({"text": texts}), compression))
    with pytest.raises(SpecError, match="compressed buffers"):
        list(read_documents(file, "text"))
    file.write_bytes(stream(pa.table({"text": texts})))
    assert list(read_documents(file, "text")) == ["a" * 100] * 9


def test_text_of_parquet_that_takes_more_memory_than_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a" * 10_000] * 1000}), file, row_group_size=500)
    assert file.stat().st_size < 20_000
    assert len(list(read_documents(file, "text"))) == 1000
    monkeypatch.setattr(bounds, "room", lambda: 6_000_000)  # of one group, not of all
    assert len(list(read_documents(file, "text"))) == 1000
    monkeypatch.setattr(bounds, "room", lambda: 1_000_000)
    with pytest.raises(bounds.TooLarge, match=r"a\.parquet takes"):
        list(read_documents(file, "text"))


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "short"}\n{"text": "' + "a" * 100)
    monkeypatch.setattr(documents, "_LONGEST_LINE", 50)
    with pytest.raises(SpecError, match=r"line 2 of .* has 50 characters or more"):
        list(read_documents(tmp_path / "a.jsonl", "text"))


@pytest.mark.parametrize("token", [10**30, 2**63, -(2**63) - 1])
def test_a_token_that_is_too_large(tmp_path: Path, token: int) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": [1, token]}))
    with pytest.raises(SpecError, match="must be text, or a list of tokens"):
        list(read_documents(tmp_path / "a.jsonl", "text"))


def picture(kind: str, size: tuple[int, int]) -> bytes:
    written = io.BytesIO()
    Image.new("L", size).save(written, kind)
    return written.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: picture("EPS", (4, 4)), "is no image"),  # PIL has a program of PostScript's read it
        (lambda: picture("PNG", (1, 2_000_000)), "8 x 16000000 once its shorter side has 8"),
        (lambda: picture("PNG", (9_000, 9_000)), "9000 x 9000 pixels"),
    ],
)
def test_pictures_that_are_none_or_too_large(tmp_path: Path, content: Callable[[], bytes], said: str) -> None:
    (tmp_path / "train/a").mkdir(parents=True)
    (tmp_path / "train/a/0.png").write_bytes(content())
    with pytest.raises(SpecError, match=said):
        loaded(tmp_path, source="image_folder", size=8, splits={"train": "train"})


def test_a_label_that_is_too_large(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in {"0.png": picture("PNG", (8, 8)), "0.cls": b"1" * 40}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(SpecError, match=r"data: webdataset .* what it should be: OverflowError"):
        loaded(tmp_path, source="webdataset", size=8, classes=2, shards={"train": "a.tar"})


def test_labels_of_a_pickle_that_are_too_large(tmp_path: Path) -> None:
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [10**30, 1]}
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (tmp_path / name).write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(SpecError, match=r"data: cifar10 .* what it should be: OverflowError"):
        loaded(tmp_path, source="cifar10")


def test_a_tokenizer_neither_cuts_documents_nor_fills_them_up(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "t.json"))
    encoder = documents.Encoder.of(tmp_path / "t.json", None, None)
    assert encoder.encode(["a b a b a"]) == [[0, 1, 0, 1, 0]]


def test_a_tokenizer_that_panics(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    bad = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "post_processor": None, "decoder": None,
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAA=="}, "pre_tokenizer": None,
        "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "continuing_subword_prefix": None, "unk_token": None},
    }  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(bad))
    (tmp_path / "a.jsonl").write_text('{"text": "a a"}\n')
    with pytest.raises(SpecError, match="data"):
        loaded(tmp_path, source="documents", tokenizer="t.json", context=1, shards={"train": "a.jsonl"})
