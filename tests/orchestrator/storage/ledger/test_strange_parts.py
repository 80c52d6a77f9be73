"""Parts that somebody has put there: of another sweep, or copies of our own. No row is hidden, none is there twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.parts import Part
from landsweep.orchestrator.storage.ledger.seal import seal, unseal
from tests.orchestrator.storage.ledger.driver import batch as batch_of
from tests.orchestrator.storage.ledger.driver import content, key, series, work


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    if request.param == "disk":
        return Store.at(tmp_path_factory.mktemp("own") / "sweep")
    return Store.at(request.getfixturevalue("bucket_url"))


@pytest.fixture
def own(store: Store) -> Ledger:
    return Ledger.create(store, {"id": "own"})


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Another sweep: its one part replaces 0 to 4, and holds a unit of ours with another result."""
    ledger = Ledger.create(Store.at(tmp_path_factory.mktemp("other") / "sweep"), {"id": "other"})
    with ledger.writing() as writer:
        for i in range(5):
            writer.append(batch_of([i + 3, 100 + i], "strange"), series([i + 3]))
            writer.commit()
    assert [name for name, _ in ledger.store.list("rows")] == ["part-000005.parquet"]
    return ledger


def copy(source: Store, name: str, target: Store, to: str) -> None:
    target.replace(to, source.read(name))


@pytest.mark.parametrize("number", [0, 3, 4, 77, 10**12])
def test_a_part_of_another_sweep_is_set_aside_whatever_its_number(own: Ledger, other: Ledger, number: int) -> None:
    """Ours is number 3, in place of 0 to 2: as 3 it overwrites ours, as 0 it would count for a leftover."""
    with own.writing() as writer:
        work(writer, 6, 2)
    before = content(own)
    path = f"rows/part-{number:06d}.parquet"
    copy(other.store, "rows/part-000005.parquet", own.store, path)
    name = other.store.list("series")[0][0]
    copy(other.store, f"series/{name}", own.store, f"series/{name}")
    assert not any("strange" in row["note"] for row in own.rows().to_pylist()), "no planner is told of it"
    found = own.verify()
    assert (found.rows, found.duplicates) == (0 if number == 3 else 6, [])
    if number:
        assert {d.path for d in found.damaged} == {path, f"series/{name}"}
        assert all("another sweep" in d.reason for d in found.damaged)
    with own.writing() as writer:
        assert path in {d.path for d in writer.set_aside}
        work(writer, 6, 2)
    assert content(own) == before
    assert own.verify(key(i) for i in range(6)).sound
    assert any("rows-part" in name for name, _ in own.store.list("damaged")), "kept, not deleted"
    assert sum(unseal(own.store.read(f"rows/{n}"))[0].num_rows for n, _ in own.store.list("rows")) == 6


@pytest.mark.parametrize("number", [1, 3])
def test_a_part_of_another_sweep_that_comes_while_a_driver_works(own: Ledger, other: Ledger, number: int) -> None:
    """In place of a part that is about to be merged, or of the next one."""
    with own.writing() as writer:
        work(writer, 6, 2)
        before = content(own)
        copy(other.store, "rows/part-000005.parquet", own.store, f"rows/part-{number:06d}.parquet")
    with own.writing() as writer:
        work(writer, 6, 2)
    assert content(own) == before
    assert own.verify(key(i) for i in range(6)).sound


def test_parts_of_before_parts_named_their_sweep_count(own: Ledger) -> None:
    old = Ledger(own.store, {})
    with old.writing() as writer:
        work(writer, 4, 2)
    with own.writing() as writer:
        assert writer.set_aside == [] and len(writer.done) == 4
        work(writer, 8, 2)
    assert own.verify(key(i) for i in range(8)).sound
    assert own.rows().num_rows == 8
    assert Ledger(own.store, {"id": "other"}).rows().num_rows == 0, "the merged part names its sweep"


def test_rows_without_their_sweep_are_refused(own: Ledger) -> None:
    with own.writing() as writer:
        work(writer, 2, 2)
    own.store.delete("sweep.json")
    with pytest.raises(UsageError, match=r"no sweep\.json that says which sweep.*put it back, or move"):
        Ledger.exists(own.store)


def test_a_driver_that_begins_between_two_looks_has_its_sweep(own: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks finds no `sweep.json` at first, and then the rows that the other driver has written meanwhile."""
    with own.writing() as writer:
        work(writer, 2, 2)
    looks: list[str] = []

    def listed(store: Store, folder: str, real: Callable[[Store, str], list[tuple[str, int]]] = Store.list) -> Any:
        looks.append(folder)
        return [] if looks == [""] else real(store, folder)

    monkeypatch.setattr(Store, "list", listed)
    assert Ledger.exists(own.store)
    assert looks == ["", "rows", ""]


@pytest.mark.parametrize("number", [4, 77])
def test_a_copied_part_is_noticed_and_each_unit_stays_once(own: Ledger, number: int) -> None:
    with own.writing() as writer:
        work(writer, 3, 1)
    before = content(own)
    copy(own.store, "rows/part-000003.parquet", own.store, f"rows/part-{number:06d}.parquet")
    assert {*own.verify().duplicates} == {key(0), key(1), key(2)}
    with own.writing() as writer:
        assert any("earlier row" in d.reason for d in writer.set_aside)
        assert content(own) == before
        assert own.verify().sound, "mended at the start, not only when parts are merged"
        work(writer, 5, 1)
    found = own.verify(key(i) for i in range(5))
    assert found.sound and found.rows == 5 and not found.leftovers
    assert any("rows" in name for name, _ in own.store.list("damaged")), "what left the parts is kept"


def test_repeats_beside_new_rows_leave_alone(own: Ledger) -> None:
    """A part that repeats one unit and brings another; and one that a former version has merged with its own copy."""
    with own.writing() as writer:
        work(writer, 3, 3)
    last = own.store.list("rows")[-1][0]
    number = int(last[5:11])
    mixed = pa.Table.from_batches([batch_of([2, 7], "late"), batch_of([8, 8], "twice")])
    lines = pa.Table.from_batches([series([2, 7, 8]), series([8])])
    own.store.replace("series/part-000050-0123abcd.parquet", seal(lines, {}))
    part = Part(number + 9, 0, (), "part-000050-0123abcd.parquet", 4, sweep="own")
    own.store.replace(part.path, seal(mixed, part.metadata()))
    assert {*own.verify().duplicates} == {key(2), key(8)}
    with own.writing() as writer:
        assert len(writer.done) == 5
    rows = {row["key"]: row["note"][8:] for row in own.rows().to_pylist()}
    assert rows == {key(0): "", key(1): "", key(2): "", key(7): "late", key(8): "twice"}
    found = own.verify()
    assert found.sound and found.rows == 5
    assert own.series().group_by("key").aggregate([("step", "count")]).column("step_count").to_pylist() == [3] * 5


def test_plain_readers_see_each_unit_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    ledger = Ledger.create(Store.at(tmp_path_factory.mktemp("own") / "sweep"), {"id": "own"})
    with ledger.writing() as writer:
        work(writer, 6, 2)
    name = ledger.store.list("rows")[0][0]
    copy(ledger.store, f"rows/{name}", ledger.store, "rows/part-000077.parquet")
    ledger.writing().close()
    assert ledger.store.path is not None
    assert sorted(pd.read_parquet(ledger.store.path / "rows")["key"]) == sorted(key(i) for i in range(6))
