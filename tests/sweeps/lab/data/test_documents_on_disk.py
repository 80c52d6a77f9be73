"""Text on disk: Parquet, JSON lines and folders of the real `datasets`, as bytes and with a real tokenizer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter, ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from landsweep.orchestrator.errors import SpecError, Untrusted
from landsweep.orchestrator.trust import refuse_files
from landsweep.sweeps.lab.data import Data, DataSpec

TEXTS = [f"number {i} is {'even' if i % 2 == 0 else 'odd'}, naïve ☕" for i in range(300)]
CONTEXT = 8


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def load(folder: Path, **fields: Any) -> Data:
    given = {"source": "documents", "folder": str(folder), "context": CONTEXT, **fields}
    spec = TypeAdapter(DataSpec).validate_python(given)
    return spec.pinned(folder).load(folder)  # type: ignore[no-any-return]


def tokens(data: Data, split: str = "train") -> list[int]:
    """The stream that the sequences were cut from, but for the tokens that fill no sequence."""
    whole = data.splits[split]
    return [*whole.inputs.flatten().tolist(), int(whole.targets[-1, -1])]


def as_bytes(texts: Sequence[str]) -> list[int]:
    return [t for text in texts for t in (*text.encode(), 256)]


def write_all(folder: Path, kind: str, texts: Sequence[str], split: str) -> None:
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps({"text": t, "other": 1}) + "\n" for t in texts)
    if kind == "parquet":
        pq.write_table(
            pa.table({"text": texts, "other": range(len(texts))}), folder / f"{split}.parquet", row_group_size=7
        )
    elif kind == "jsonl":
        (folder / f"{split}.jsonl").write_text(lines + "\n", encoding="utf-8")
    elif kind == "jsonl.gz":
        with gzip.open(folder / f"{split}.jsonl.gz", "wt", encoding="utf-8") as f:
            f.write(lines)
    else:
        datasets.Dataset.from_dict({"text": list(texts)}).save_to_disk(folder / split)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.gz", "datasets"])
def test_bytes_of_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    write_all(tmp_path / "texts", kind, TEXTS, "train")
    write_all(tmp_path / "texts", kind, TEXTS[:50], "val")
    shards = {"shards": {"train": "train/*.arrow", "test": "val/*.arrow"}} if kind == "datasets" else {}
    data = load(tmp_path / "texts", **shards)
    assert (data.classes, data.shape, data.sequence) == (257, (CONTEXT,), True)
    for split, texts in (("train", TEXTS), ("test", TEXTS[:50])):
        wanted = as_bytes(texts)
        assert tokens(data, split) == wanted[: (len(wanted) - 1) // CONTEXT * CONTEXT + 1]


def trained_tokenizer(file: Path) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=["[UNK]", "<|end|>"], show_progress=False)
    )
    tokenizer.save(str(file))
    return tokenizer


def test_a_real_tokenizer(tmp_path: Path) -> None:
    write_all(tmp_path, "parquet", TEXTS, "train")
    write_all(tmp_path, "parquet", TEXTS[:50], "val")
    tokenizer = trained_tokenizer(tmp_path / "tok.json")
    data = load(tmp_path, tokenizer="tok.json", end="<|end|>")
    wanted = [t for text in TEXTS for t in (*tokenizer.encode(text).ids, tokenizer.token_to_id("<|end|>"))]
    assert tokens(data) == wanted[: (len(wanted) - 1) // CONTEXT * CONTEXT + 1]
    assert data.classes == tokenizer.get_vocab_size()
    assert load(tmp_path, tokenizer="tok.json", vocabulary=70_000).classes == 70_000  # tokens of four bytes
    with pytest.raises(SpecError, match=r"data\.end: the tokenizer .* has no token 'x'"):
        load(tmp_path, tokenizer="tok.json", end="x")
    with pytest.raises(SpecError, match=r"data\.vocabulary: 10 is less than the"):
        load(tmp_path, tokenizer="tok.json", vocabulary=10)
    with pytest.raises(SpecError, match=r"data\.tokenizer: there is no file"):
        load(tmp_path, tokenizer="other.json")
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(SpecError, match=r"odd\.json is no tokenizer file"):
        load(tmp_path, tokenizer="odd.json")


def test_lists_of_tokens_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = [[i, i + 1, 5] for i in range(50)]
    datasets.Dataset.from_dict({"input_ids": rows}).save_to_disk(tmp_path / "train")
    data = load(tmp_path, column="input_ids", shards={"train": "train/*.arrow"}, vocabulary=300, end=299)
    wanted = [t for row in rows for t in (*row, 299)]
    assert tokens(data) == wanted[: (len(wanted) - 1) // CONTEXT * CONTEXT + 1]
    with pytest.raises(SpecError, match=r"has the token 400, but the vocabulary has 300"):
        datasets.Dataset.from_dict({"input_ids": [[400] * 20]}).save_to_disk(tmp_path / "more")
        load(tmp_path, column="input_ids", shards={"train": "more/*.arrow"}, vocabulary=300)


def test_documents_held_out_are_whole_and_the_same_ones_always(tmp_path: Path) -> None:
    write_all(tmp_path, "jsonl", TEXTS, "train")
    data = load(tmp_path, shards={"train": "*.jsonl"}, test_fraction=0.2)
    parts = {s: bytes(t for t in tokens(data, s) if t < 256).decode(errors="ignore") for s in ("train", "test")}
    counts = {s: [f"number {i} " in part for i in range(300)] for s, part in parts.items()}
    assert all(a != b for a, b in zip(counts["train"][:-2], counts["test"][:-2], strict=True))
    assert 35 < sum(counts["test"]) < 85
    with pytest.raises(ValidationError, match=r"then give `shards: \{train: PATTERN\}` alone"):
        load(tmp_path, test_fraction=0.2)


def test_made_once_and_again_if_anything_changes(tmp_path: Path) -> None:
    write_all(tmp_path / "texts", "jsonl", TEXTS, "train")
    fields: dict[str, Any] = {"shards": {"train": "*.jsonl"}}
    load(tmp_path / "texts", **fields)
    made = {f: f.stat().st_mtime_ns for f in (tmp_path / "cache").rglob("*.bin")}
    load(tmp_path / "texts", **fields, processes=2)
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "cache").rglob("*.bin")} == made and len(made) == 1
    load(tmp_path / "texts", **fields, end=0)
    write_all(tmp_path / "texts", "jsonl", TEXTS[:200], "train")
    assert len(tokens(load(tmp_path / "texts", **fields))) < len(as_bytes(TEXTS))
    assert len(list((tmp_path / "cache").rglob("*.bin"))) == 3
    file = next(iter(made))
    file.write_bytes(b"")
    write_all(tmp_path / "texts", "jsonl", TEXTS, "train")
    with pytest.raises(SpecError, match="in the cache is damaged; delete"):
        load(tmp_path / "texts", **fields)


@pytest.mark.parametrize("tokenizer", [None, "tok.json"])
@pytest.mark.parametrize("half", ["\\ud83d", "fine \\udc00 not", "\\ud83d\\ud83d"])
def test_halves_of_characters_are_refused(tmp_path: Path, half: str, tokenizer: str | None) -> None:
    """JSON can spell what no Unicode text may hold; whole characters may be spelt so too."""
    trained_tokenizer(tmp_path / "tok.json")
    fields: dict[str, Any] = {"shards": {"train": "*.jsonl"}, "tokenizer": tokenizer}
    (tmp_path / "train.jsonl").write_text('{"text": "number 7, \\ud83d\\ude00"}\n' * 9)
    load(tmp_path, **fields)
    (tmp_path / "train.jsonl").write_text(f'{{"text": "a"}}\n{{"text": "{half}"}}\n')
    with pytest.raises(SpecError, match=r"data\.column: line 2 of .*train\.jsonl is no Unicode text"):
        load(tmp_path, **fields)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.jsonl", b'{"text": "a"}\n{"te', r"train\.jsonl is no JSON lines, or is cut off, at or after line 2"),
        ("train.jsonl", b'{"words": "a"}\n', r"line 1 of .* has no field 'text'; it has words"),
        ("train.jsonl", b"[1]\n", r"has no field 'text'; it has list '\[1\]'"),
        ("train.jsonl", b'{"text": 5}\n', r"row 0 of .* holds int '5'; it must be text, or a list of tokens"),
        ("train.jsonl", b"\xff\xfe\n", r"is no JSON lines"),
        ("train.jsonl.gz", b"no gzip", r"is no JSON lines, or is cut off"),
        ("train.jsonl", b"\n", r"there are no documents in the split 'train'"),
        ("train.parquet", b"PAR1 cut off", r"train\.parquet can't be read, it is damaged or cut off"),
        ("train.arrow", b"nothing", r"train\.arrow can't be read, it is damaged or cut off"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=message):
        load(tmp_path, shards={"train": "train*"})


def test_a_parquet_file_without_the_column_or_with_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["a"], "n": [1.5]}), tmp_path / "train.parquet")
    with pytest.raises(SpecError, match=r"train\.parquet has no column 'text'; it has body, n"):
        load(tmp_path, shards={"train": "train*"})
    with pytest.raises(SpecError, match="holds double; it must hold text"):
        load(tmp_path, shards={"train": "train*"}, column="n")


@pytest.mark.parametrize("field", ["folder", "tokenizer"])
def test_results_of_others_do_not_lead_to_files_of_ours(tmp_path: Path, field: str) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "mine").write_text("secret")
    (results / "link").symlink_to(tmp_path / "mine")
    (results / "theirs").write_text("{}")
    refuse_files({"data": {field: "theirs"}}, results, str(results))
    for place in ("link", "../mine", str(tmp_path / "mine")):
        with pytest.raises(Untrusted, match=f"data.{field}"):
            refuse_files({"data": {field: place}}, results, str(results))


def test_tokens_are_on_disk(tmp_path: Path) -> None:
    write_all(tmp_path, "parquet", TEXTS, "train")
    load(tmp_path, shards={"train": "train*"})
    file = next((tmp_path / "cache").rglob("train.bin"))
    assert np.fromfile(file, "<u2").tolist() == as_bytes(TEXTS)
