"""Rows and series come back as they were given, through commits, compaction and retirement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from landsweep.orchestrator.errors import NotDeterministic, SweepMismatch, UsageError
from landsweep.orchestrator.row import Progress, series_batch
from landsweep.orchestrator.storage.ledger import Ledger, Store, load_prepared, read_status, save_prepared, write_status
from tests.orchestrator.storage.ledger.driver import batch, key, series, work


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(st.lists(st.integers(0, 40), max_size=8), max_size=20))
def test_each_unit_has_its_first_row(tmp_path_factory: pytest.TempPathFactory, commits: list[list[int]]) -> None:
    ledger = Ledger.create(Store.at(tmp_path_factory.mktemp("s")), {})
    expected: dict[str, str] = {}
    given_rows = 0
    with ledger.writing() as writer:
        for n, numbers in enumerate(commits):
            for i in numbers:
                expected.setdefault(key(i), f"{key(i)[:8]}{n}")
            given_rows += len(numbers)
            writer.append(batch(numbers, str(n)), series(set(numbers)))
            assert set(writer.done) == set(expected)
            writer.commit()
        assert writer.dropped == given_rows - len(expected)
    rows = ledger.rows(["note", "key"]).to_pylist()
    assert {r["key"]: r["note"] for r in rows} == expected
    assert len(rows) == len(expected)
    assert ledger.series().num_rows == 3 * len(expected)


def test_two_levels_of_compaction_keep_every_row_once(ledger: Ledger) -> None:
    writer = ledger.writing()
    work(writer, 290, 1)
    parts = len(ledger.store.list("rows"))
    assert parts <= 1 + 2 + 2  # 256 in one part of the second level, 32 in two of the first, and two
    assert len(ledger.store.list("series")) == parts
    assert ledger.verify(key(i) for i in range(290)).sound
    writer.close()
    assert len(ledger.store.list("rows")) == 1
    assert ledger.rows(["x"]).column("x").to_pylist() == [i / 7 for i in range(290)]


def test_commit_waits_two_seconds_or_for_many_rows(ledger: Ledger) -> None:
    with ledger.writing() as writer:
        assert not writer.commit_if_due(100.0)
        writer.append(batch([1]))
        assert not writer.commit_if_due(101.0)
        assert not writer.commit_if_due(101.9)
        assert len(ledger.keys()) == 0
        assert writer.commit_if_due(102.0)
        assert len(ledger.keys()) == 1
        writer.append(batch(range(2, 40_000)))
        assert writer.commit_if_due(102.1)


def test_series_wait_for_their_row_and_are_not_repeated(ledger: Ledger) -> None:
    def progress(step: int, value: float) -> pa.RecordBatch:
        return series_batch([Progress(key(1), step, {"loss": value})])

    with ledger.writing() as writer:
        writer.append(batch([0]), progress(0, 1.0))
        writer.commit()
        assert ledger.series().num_rows == 0  # of a unit that may still run again
        writer.append(batch([]), progress(0, 2.0))
        writer.append(batch([1]), progress(1, 3.0))
        writer.append(batch([]), progress(9, 9.0))  # too late
    assert ledger.series().select(["step", "value"]).to_pylist() == [
        {"step": 0, "value": 2.0},
        {"step": 1, "value": 3.0},
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_columns_that_differ_between_parts(ledger: Ledger, order: tuple[int, ...]) -> None:
    pieces = [
        {"key": ["a"], "width": [2], "lr": [1], "status": ["ok"]},
        {"key": ["b"], "width": [4], "lr": [0.5], "new": [True], "status": ["ok"]},
        {"key": ["c"], "width": ["wide"], "lr": [3.0], "status": ["ok"]},
    ]
    with ledger.writing() as writer:
        for n in order:
            writer.append(pa.RecordBatch.from_pydict(pieces[n]))
            writer.commit()
        apart = ledger.rows().sort_by("key")
    merged = ledger.rows().sort_by("key")
    assert apart.to_pydict() == merged.to_pydict()
    assert merged.column("width").to_pylist() == ["2", "4", "wide"]
    assert merged.column("lr").to_pylist() == [1.0, 0.5, 3.0]
    assert merged.column("new").to_pylist() == [None, True, None]
    assert ledger.rows(["lr", "absent"], keys=["b", "z"]).to_pydict() == {"lr": [0.5], "absent": [None]}


def test_retired_units_leave_the_table_and_are_kept(ledger: Ledger) -> None:
    with ledger.writing() as writer:
        work(writer, 10, 2)
    assert ledger.retire([key(3), key(8), "none"]) == 2
    assert set(ledger.keys()) == {key(i) for i in range(10) if i not in (3, 8)}
    assert set(ledger.series().column("key").to_pylist()) == set(ledger.keys())
    assert len(ledger.store.list("retired")) == 2  # rows, series
    assert ledger.retire([key(3)]) == 0
    with ledger.writing() as writer:
        work(writer, 10, 2, "again")
    assert ledger.verify(key(i) for i in range(10)).sound
    assert ledger.rows(["note"], keys=[key(3)]).column("note").to_pylist() == [key(3)[:8] + "again"]


def test_verify_says_what_is_missing_and_what_is_not_planned(ledger: Ledger) -> None:
    with ledger.writing() as writer:
        work(writer, 3, 3)
    found = ledger.verify([key(1), key(2), key(7)])
    assert (found.missing, found.unexpected, found.by_status) == ([key(7)], [key(0)], {"ok": 3})
    assert found.sound


def test_one_sweep_per_folder(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "a" / "b")
    with pytest.raises(UsageError, match="holds no sweep"):
        Ledger.open(store)
    assert not (tmp_path / "a").exists()
    Ledger.create(store, {"spec": 1})
    with pytest.raises(SweepMismatch):
        Ledger.create(store, {"spec": 2})
    with Ledger.open(store).writing() as writer:
        writer.update_sweep({"spec": 3})
    assert Ledger.open(store).sweep == {"spec": 3}
    assert Ledger.open(store).rows().num_rows == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        Store.at(tmp_path / "file")


def test_status_is_replaced(ledger: Ledger) -> None:
    assert read_status(ledger.store) is None
    for done in (1, 2):
        write_status(ledger.store, {"phase": "running", "done": done, "counts": {"ok": done}})
    status = read_status(ledger.store)
    assert status is not None and (status["done"], status["counts"]) == (2, {"ok": 2})


@pytest.mark.parametrize("sort", ["swapped", "one copied", "of another sweep"])
def test_prepared_files_in_place_of_others_are_damage(ledger: Ledger, sort: str) -> None:
    """Each pair of files is intact, so only the name tells that it is another one."""
    store, names = ledger.store, ["base-1.safetensors", "base-2.safetensors"]
    for value, name in enumerate([*names, "other-3.safetensors"]):
        save_prepared(store, name, {"w": np.full(3, value)}, {"host": "here"})
    pairs = [[f"prepared/{name}", f"prepared/{name}".replace("safetensors", "json")] for name in names]
    first, second = ([store.read(file) for file in pair] for pair in pairs)
    other = [store.read("prepared/other-3.safetensors"), store.read("prepared/other-3.json")]
    given = {"swapped": (second, first), "one copied": (first, first), "of another sweep": (other, second)}[sort]
    for pair, contents in zip(pairs, given, strict=True):
        for file, data in zip(pair, contents, strict=True):
            store.replace(file, data)
    wrong = [name for name, now, was in zip(names, given, (first, second), strict=True) if now != was]
    assert [d.path for d in ledger.verify().damaged] == [f"prepared/{name}" for name in wrong]
    with ledger.writing() as writer:
        work(writer, 1, 1)
    for name in wrong:
        assert load_prepared(store, name) is None
        save_prepared(store, name, {"w": np.full(3, names.index(name))}, {"host": "here"})
    assert ledger.verify().damaged == []
    for value, name in enumerate(names):
        arrays = load_prepared(store, name)
        assert arrays is not None and arrays["w"].tolist() == [value] * 3


def test_prepared_files_of_earlier_versions_do_not_say_their_name(ledger: Ledger) -> None:
    save_prepared(ledger.store, "a.safetensors", {"w": np.ones(1)}, {})
    about = json.loads(ledger.store.read("prepared/a.json"))
    del about["file"]
    ledger.store.replace("prepared/a.json", json.dumps(about).encode())
    assert ledger.verify().damaged == [] and load_prepared(ledger.store, "a.safetensors") is not None


def test_prepared_arrays(ledger: Ledger) -> None:
    arrays = {"w": np.arange(6.0).reshape(2, 3).T, "n": np.array(3)}
    store, name = ledger.store, "base-12345678.safetensors"
    assert load_prepared(store, name) is None
    save_prepared(store, name, arrays, {"seconds": 1.5, "host": "here"})
    back = load_prepared(store, name)
    assert back is not None
    assert {k: (v.shape, v.tolist()) for k, v in back.items()} == {k: (v.shape, v.tolist()) for k, v in arrays.items()}
    data = bytearray(store.read(f"prepared/{name}"))
    data[-1] ^= 1
    store.replace(f"prepared/{name}", data)
    assert [d.path for d in ledger.verify().damaged] == [f"prepared/{name}"]
    assert load_prepared(store, name) is None
    assert store.list("prepared") == [("base-12345678.json", store.list("prepared")[0][1])]
    with ledger.writing() as writer:
        work(writer, 1, 1)
    with pytest.raises(NotDeterministic, match="existing rows belong to the old"):
        save_prepared(store, name, {**arrays, "n": np.array(4)}, {})
    save_prepared(store, name, arrays, {})
    assert load_prepared(store, name) is not None
