"""Any byte that is changed, removed or added is found; and it is still plain Parquet."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landsweep.orchestrator.storage.ledger.seal import Damaged, check, seal, unseal

TABLE = pa.table({"key": ["a", "b"], "loss": [1.5, None]})
SEALED = bytes(seal(TABLE, {"mine": "text"}))


def test_every_truncation_is_found() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(Damaged):
            check(SEALED[:length])


def test_every_flipped_byte_is_found() -> None:
    for at in range(len(SEALED)):
        for bits in (0x01, 0x20, 0xFF):
            flipped = bytearray(SEALED)
            flipped[at] ^= bits
            with pytest.raises(Damaged):
                check(flipped)


@given(st.lists(st.tuples(st.integers(0, len(SEALED) - 1), st.integers(0, 255)), min_size=1, max_size=40))
def test_any_overwriting_is_found(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(SEALED)
    for at, value in changes:
        changed[at] = value
    if changed != SEALED:
        with pytest.raises(Damaged):
            check(changed)


@given(st.binary(min_size=1, max_size=64))
def test_added_bytes_are_found(more: bytes) -> None:
    with pytest.raises(Damaged):
        check(SEALED + more)


def test_a_stranger_is_not_taken_for_a_part() -> None:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    with pytest.raises(Damaged):
        check(sink.getvalue())


def test_any_parquet_reader_reads_it() -> None:
    assert pd.read_parquet(io.BytesIO(SEALED))["key"].tolist() == ["a", "b"]
    assert pq.read_table(io.BytesIO(SEALED)).column("loss").to_pylist() == [1.5, None]


TEXT = st.one_of(
    st.none(), st.text(st.characters(exclude_categories=["Cs"])), st.just("landsweep.seal\x18 " + "0" * 32)
)


@given(st.lists(st.tuples(TEXT, st.one_of(st.none(), st.floats(allow_nan=False)), st.integers(-(2**63), 2**63 - 1))))
def test_round_trip(lines: list[tuple[str | None, float | None, int]]) -> None:
    columns = list(zip(*lines, strict=True)) or [(), (), ()]
    schema = pa.schema([("key", pa.string()), ("value", pa.float64()), ("n", pa.int64())])
    table = pa.table(dict(zip(schema.names, map(list, columns), strict=True)), schema=schema)
    back, about = unseal(bytes(seal(table, {"mine": "é"})))
    assert back.equals(table)
    assert about == {"mine": "é"}
    assert unseal(seal(table, {}), ["n", "absent"])[0].equals(table.select(["n"]))
