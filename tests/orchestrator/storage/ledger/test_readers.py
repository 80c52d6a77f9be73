"""Readers beside a driver that commits and compacts: they see every row that was there, and no false damage."""

from __future__ import annotations

import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.orchestrator.storage.ledger.conftest import Start
from tests.orchestrator.storage.ledger.driver import key, work


@pytest.mark.parametrize("reading", ["rows", "verify"])
def test_part_compacted_between_its_rows_and_its_series(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    writer = ledger.writing()
    work(writer, 8, 2)
    read, pending = Store.read, [True]

    def late(store: Store, path: str) -> bytes:
        data = read(store, path)
        if pending and path == "rows/part-000000.parquet":
            pending.clear()
            writer.close()  # merges all parts; this one is read last, so no other shows it
        return data

    monkeypatch.setattr(Store, "read", late)
    count = ledger.rows().num_rows if reading == "rows" else ledger.verify(key(i) for i in range(8)).rows
    assert not pending
    assert count == 8
    assert ledger.damaged == ()


def test_commit_while_verifying_leaves_no_stray_series(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with ledger.writing() as writer:
        work(writer, 4, 2)
        read, pending = Store.read, [True]

        def late(store: Store, path: str) -> bytes:
            data = read(store, path)
            if pending and path == "rows/part-000000.parquet":
                pending.clear()
                work(writer, 6, 2)
            return data

        monkeypatch.setattr(Store, "read", late)
        assert ledger.verify().sound


def test_listing_that_misses_a_merged_part_and_its_sources(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with ledger.writing() as writer:
        work(writer, 8, 2)
    listing, calls = Store.list, [0]

    def torn(store: Store, folder: str, *, deep: bool = False) -> list[tuple[str, int]]:
        calls[0] += folder == "rows"
        return [] if folder == "rows" and calls[0] == 1 else listing(store, folder, deep=deep)

    monkeypatch.setattr(Store, "list", torn)
    assert ledger.rows().num_rows == 8


def test_missing_series_of_a_part_that_exists_is_damage(ledger: Ledger) -> None:
    with ledger.writing() as writer:
        work(writer, 4, 2)
        ledger.store.delete(f"series/{ledger.store.list('series')[0][0]}")
        found = ledger.verify(key(i) for i in range(4))
    assert [d.path for d in found.damaged] == ["rows/part-000000.parquet"]
    assert (found.rows, set(found.missing)) == (2, {key(0), key(1)})


def test_reader_beside_a_compacting_driver(ledger: Ledger, start: Start) -> None:
    driver = start(ledger, units=300, size=1)
    most, reads = 0, 0
    while driver.poll() is None:
        count = ledger.rows(["key"]).num_rows
        assert ledger.damaged == ()
        assert count >= most
        found = ledger.verify()
        assert found.sound, found
        assert found.rows >= count
        most, reads = found.rows, reads + 1
    assert driver.returncode == 0
    assert reads > 5
    assert ledger.verify(key(i) for i in range(300)).missing == []
