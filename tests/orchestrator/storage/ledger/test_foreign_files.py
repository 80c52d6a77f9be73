"""Files in `rows/` and `series/` that the sweep did not write there: named, set aside, and no unit pays for them."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from landsweep.orchestrator.storage.ledger import Ledger
from landsweep.orchestrator.storage.ledger.parts import Part, read_rows, read_series
from landsweep.orchestrator.storage.ledger.seal import seal, unseal
from tests.orchestrator.storage.ledger.driver import batch, content, key, series, work

UNITS = [key(i) for i in range(6)]
FOREIGN = pa.table({"other": [1.5]})


def series_files(ledger: Ledger) -> list[str]:
    return [f"series/{name}" for name, _ in ledger.store.list("series")]


def as_earlier_versions(ledger: Ledger) -> None:
    """Parts that do not hold the checksum of their series."""
    for number in range(3):
        part, rows = read_rows(ledger.store, number)
        about = {k: v.replace(f', "seal": "{part.seal}"', "") for k, v in part.metadata().items()}
        assert part.seal is not None and part.seal not in str(about)
        ledger.store.replace(part.path, seal(rows, about))


@pytest.mark.parametrize("version", ["now", "earlier"])
@pytest.mark.parametrize("source", ["another part's", "another sweep's", "half of its own"])
def test_a_series_file_in_the_place_of_another(ledger: Ledger, source: str, version: str) -> None:
    with ledger.writing() as writer:
        work(writer, 6, 2)
        before = content(ledger)
        if version == "earlier":
            as_earlier_versions(ledger)
        first, second, _ = series_files(ledger)
        own = unseal(ledger.store.read(second))[0]
        data = {
            "another part's": ledger.store.read(first),
            "another sweep's": seal(pa.Table.from_batches([series([77])]), {}),
            "half of its own": seal(own.slice(0, own.num_rows // 2), {}),
        }[source]
        ledger.store.replace(second, data)
        found = ledger.verify(UNITS)
        if version == "earlier" and source == "half of its own":
            assert found.sound, "nothing in a part of an earlier version tells"
            return
        assert {d.path for d in found.damaged} == {"rows/part-000001.parquet", second}
        assert any("its series are not those that were written" in d.reason for d in found.damaged)
        assert set(found.missing) == {key(2), key(3)}
    with ledger.writing() as writer:
        assert {d.path for d in writer.set_aside} == {"rows/part-000001.parquet", second}
        work(writer, 6, 2)
    assert content(ledger) == before
    assert ledger.verify(UNITS).sound


def test_series_that_are_swapped_while_a_driver_works_are_not_merged(ledger: Ledger) -> None:
    with ledger.writing() as writer:
        work(writer, 6, 2)
        before = content(ledger)
        first, second, _ = series_files(ledger)
        ledger.store.replace(second, ledger.store.read(first))
    assert set(ledger.verify(UNITS).missing) == {key(2), key(3)}
    with ledger.writing() as writer:
        work(writer, 6, 2)
    assert content(ledger) == before


def test_parts_without_the_checksum_of_their_series_count_and_merge(ledger: Ledger) -> None:
    with ledger.writing() as writer:
        work(writer, 6, 2)
        before = content(ledger)
        as_earlier_versions(ledger)
        assert ledger.verify(UNITS).sound and content(ledger) == before
    with ledger.writing() as writer:
        assert writer.set_aside == [] and len(writer.done) == 6
    assert content(ledger) == before
    ((name, _),) = ledger.store.list("rows")
    part, _ = read_rows(ledger.store, int(name[5:11]))
    assert part.seal is not None
    lines = read_series(ledger.store, part)
    assert lines is not None and lines.num_rows == 18


NAMES = [
    "rows/part-0000001.parquet",
    "rows/part-00000\u0661.parquet",  # another alphabet's digit
    "rows/part-000001.parquet.bak",
    "rows/PART-000001.parquet",
    "rows/old/part-000001.parquet",
    "series/part-0000001-0123abcd.parquet",
    "series/copy.parquet",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_a_part_under_a_name_that_is_no_parts(ledger: Ledger, name: str) -> None:
    with ledger.writing() as writer:
        work(writer, 6, 2)
        before = content(ledger)
        source = "rows/part-000001.parquet" if name.startswith("rows") else series_files(ledger)[1]
        ledger.store.replace(name, ledger.store.read(source))
        found = ledger.verify(UNITS)
        assert [str(d) for d in found.damaged] == [f"{name}: it is no file of this sweep"]
        assert (found.rows, found.duplicates, found.missing) == (6, [], [])
        assert content(ledger) == before
    with ledger.writing() as writer:
        assert [d.path for d in writer.set_aside] == [name]
        assert set(writer.done) == set(UNITS)
    assert content(ledger) == before
    found = ledger.verify(UNITS)
    assert found.sound and found.leftovers == []
    assert len(ledger.store.list("damaged")) == 1, "kept, not deleted"


@pytest.mark.parametrize("name", ["aaa.parquet", "zzz.parquet", "deeper/still/a.parquet", "notes.txt"])
def test_plain_readers_find_the_rows_alone_once_strange_files_are_set_aside(disk_ledger: Ledger, name: str) -> None:
    store = disk_ledger.store
    with disk_ledger.writing() as writer:
        work(writer, 6, 2)
    store.replace(f"rows/{name}", seal(FOREIGN, {}))
    assert not disk_ledger.verify(UNITS).sound
    disk_ledger.writing().close()
    assert store.path is not None
    assert sorted(pd.read_parquet(store.path / "rows")["key"]) == sorted(UNITS)
    assert disk_ledger.verify(UNITS).sound


@pytest.mark.parametrize("name", [".nfs0000001", "_SUCCESS", ".cache/a.parquet"])
def test_files_that_plain_readers_pass_over_are_left_alone(disk_ledger: Ledger, name: str) -> None:
    with disk_ledger.writing() as writer:
        work(writer, 6, 2)
    disk_ledger.store.replace(f"rows/{name}", b"x")
    assert disk_ledger.verify(UNITS).sound
    with disk_ledger.writing() as writer:
        assert writer.set_aside == []


def test_units_of_which_no_row_is_left_are_not_done(ledger: Ledger) -> None:
    """A part that holds one unit twice, and its copy."""
    with ledger.writing() as writer:
        work(writer, 4, 2)
    twice = pa.Table.from_batches([batch([8, 8, 9])])
    for number in (50, 51):
        part = Part(number, 0, (), None, 3)
        ledger.store.replace(part.path, seal(twice, part.metadata()))
    with ledger.writing() as writer:
        assert set(writer.done) == set(ledger.keys()) == {key(i) for i in (0, 1, 2, 3, 8, 9)}
        writer.prove(6)
    assert ledger.rows().num_rows == 6


def test_a_part_says_the_checksum_of_its_series_through_every_way_to_write_it(ledger: Ledger) -> None:
    with ledger.writing() as writer:
        work(writer, 6, 2)
        _, rows = read_rows(ledger.store, 1)
        copy = replace(read_rows(ledger.store, 1)[0], number=9)
        ledger.store.replace(copy.path, seal(rows, copy.metadata()))
    with ledger.writing() as writer:  # drops the repeats
        work(writer, 8, 2)
    assert ledger.retire([key(3)]) == 1
    for name, _ in ledger.store.list("rows"):
        part, _ = read_rows(ledger.store, int(name[5:11]))
        assert part.series is not None and part.seal is not None
    assert ledger.verify().sound
