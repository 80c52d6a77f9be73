"""Parts that somebody has copied: from this sweep, from a copy of it that went on by itself, from another sweep."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import obstore
import pandas as pd
import pyarrow as pa
import pytest

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.replaced import lost_rows
from landsweep.orchestrator.storage.ledger.scan import scan
from landsweep.orchestrator.storage.ledger.seal import check, seal, unseal
from tests.orchestrator.storage.ledger.driver import batch, content, key, series, work


def folder_of(ledger: Ledger) -> Path:
    assert ledger.store.path is not None
    return ledger.store.path


def add(ledger: Ledger, *numbers: int) -> None:
    with ledger.writing() as writer:
        writer.append(batch(numbers), series(numbers))
        writer.commit()
        writer._compact = lambda final=False: None  # type: ignore[method-assign] # it would make one part of all


def test_rows_that_a_copy_of_the_sweep_lacks_are_not_lost(disk_ledger: Ledger, tmp_path: Path) -> None:
    """Both go on by themselves; then the parts of one are added to the other."""
    here = folder_of(disk_ledger)
    add(disk_ledger, 0, 1)
    shutil.copytree(here, tmp_path / "copy")
    other = Ledger.open(Store.at(tmp_path / "copy"))
    for numbers in ((2, 3), (4, 5)):
        add(disk_ledger, *numbers)
    for numbers in ((6, 7), (8, 9), (10, 11)):
        with other.writing() as writer:
            writer.append(batch(numbers), series(numbers))
    for folder in ("rows", "series"):
        for file in (tmp_path / "copy" / folder).iterdir():
            if not (here / folder / file.name).exists():
                shutil.copy(file, here / folder)
    findings = disk_ledger.verify(key(i) for i in range(12))
    assert not findings.sound
    rows = [d for d in findings.damaged if d.path.startswith("rows/")]
    assert {d.path for d in rows} == {"rows/part-000001.parquet", "rows/part-000002.parquet"}
    assert all("lacks 2 of its rows" in d.reason for d in rows)
    with disk_ledger.writing() as writer:
        assert len(writer.set_aside) == 4
        lines = [pd.read_parquet(file) for file in (here / "damaged").glob("series-part-*")]
        assert {k for table in lines for k in table["key"]} == {key(i) for i in (2, 3, 4, 5)}
        kept = [pd.read_parquet(file) for file in sorted((here / "damaged").glob("rows-part-*"))]
        assert {k for table in kept for k in table["key"]} == {key(i) for i in (2, 3, 4, 5)}
        assert set(writer.done) == {key(i) for i in (0, 1, *range(6, 12))}
        work(writer, 12, 4)
    assert disk_ledger.verify(key(i) for i in range(12)).sound


def test_rows_taken_out_here_excuse_no_part_of_a_copy(disk_ledger: Ledger, tmp_path: Path) -> None:
    """Their number is the one of a part here from which a row was taken out."""
    here = folder_of(disk_ledger)
    add(disk_ledger, 0, 1)
    shutil.copytree(here, tmp_path / "copy")
    add(disk_ledger, 2, 3)
    disk_ledger.retire([key(2)])
    add(Ledger.open(Store.at(tmp_path / "copy")), 6, 7)
    shutil.copy(tmp_path / "copy/rows/part-000001.parquet", here / "rows")
    for file in (tmp_path / "copy/series").glob("part-000001-*"):
        shutil.copy(file, here / "series")
    findings = disk_ledger.verify()
    assert [d.reason for d in findings.damaged if d.path == "rows/part-000001.parquet"] == [
        "a part says that it replaces it, but lacks 2 of its rows"
    ]
    disk_ledger.writing().close()
    assert [len(pd.read_parquet(file)) for file in (here / "damaged").glob("rows-part-000001-*")] == [2]
    assert disk_ledger.verify().sound


def test_lost_rows_of_a_part_of_any_number(disk_ledger: Ledger) -> None:
    add(disk_ledger, 0, 1)
    (part,) = scan(disk_ledger.store, None).parts
    replaced = {10**30: pa.chunked_array([[key(1), key(2)]]), 7: pa.chunked_array([[key(0)]])}
    assert lost_rows(disk_ledger.store, [part], replaced) == {10**30: 1}


def test_a_replaced_part_that_can_not_be_read_is_not_deleted(disk_ledger: Ledger) -> None:
    with disk_ledger.writing() as writer:
        work(writer, 4, 2)
    torn = folder_of(disk_ledger) / "rows/part-000000.parquet"
    torn.write_bytes(b"PAR1 half")
    assert [d.path for d in disk_ledger.verify().damaged] == ["rows/part-000000.parquet"]
    with disk_ledger.writing() as writer:
        assert [d.path for d in writer.set_aside] == ["rows/part-000000.parquet"]
        assert len(writer.done) == 4
    assert disk_ledger.verify(key(i) for i in range(4)).sound


def test_replaced_parts_whose_rows_were_taken_out_on_purpose_are_leftovers(disk_ledger: Ledger) -> None:
    with disk_ledger.writing() as writer:
        work(writer, 4, 4)
    part = folder_of(disk_ledger) / "rows" / disk_ledger.store.list("rows")[0][0]
    before = part.read_bytes()
    disk_ledger.retire([key(1)])
    part.write_bytes(before)  # a kill before it was deleted
    findings = disk_ledger.verify()
    assert findings.sound and list(findings.leftovers) == [f"rows/{part.name}"] and findings.rows == 3


def test_each_unit_of_a_part_that_was_copied_is_read_once(disk_ledger: Ledger) -> None:
    add(disk_ledger, 0, 1)
    add(disk_ledger, 2, 3)
    before = content(disk_ledger)
    rows = folder_of(disk_ledger) / "rows"
    shutil.copy(rows / "part-000000.parquet", rows / "part-000077.parquet")
    assert content(disk_ledger) == before
    assert disk_ledger.rows(["loss"]).num_rows == 4 and disk_ledger.series([key(1)]).num_rows == 3
    assert set(disk_ledger.verify().duplicates) == {key(0), key(1)}


@pytest.mark.parametrize("target", ["..", ".", "../../.."])
def test_a_link_to_a_folder_in_the_place_of_a_part(disk_ledger: Ledger, target: str) -> None:
    add(disk_ledger, 0, 1)
    link = folder_of(disk_ledger) / "rows/part-000001.parquet"
    link.symlink_to(target)
    (damage,) = disk_ledger.verify().damaged
    assert damage.path == "rows/part-000001.parquet" and "a link to one" in damage.reason
    with disk_ledger.writing() as writer:
        assert [d.path for d in writer.set_aside] == ["rows/part-000001.parquet"]
    assert not link.is_symlink() and disk_ledger.verify().sound


def test_a_sweep_json_of_another_sweep_is_named_before_parts_are_set_aside(disk_ledger: Ledger) -> None:
    ledger = Ledger(disk_ledger.store, {"name": "test", "id": "a" * 32})
    add(ledger, 0, 1)
    stranger = Ledger(disk_ledger.store, {"name": "other", "id": "b" * 32})
    damaged = stranger.verify().damaged
    assert damaged[0].path == "sweep.json" and "put back their own" in damaged[0].reason
    with pytest.raises(UsageError, match=r"sweep\.json is that of another sweep than the parts"):
        stranger.writing()
    assert ledger.verify().sound and ledger.rows().num_rows == 2


def test_plain_readers_see_no_half_written_file(disk_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add(disk_ledger, 0, 1)
    rows, put, seen = folder_of(disk_ledger) / "rows", obstore.put, list[int]()

    def slow(*args: object, **options: object) -> object:
        done = put(*args, **options)  # type: ignore[arg-type]
        for file in rows.glob(".*.staged"):  # as long as it is written
            whole = file.read_bytes()
            file.write_bytes(whole[: len(whole) // 2])
            (rows / f"{file.name}#1").write_bytes(b"PAR1")
            seen.append(len(pd.read_parquet(rows)))
            (rows / f"{file.name}#1").unlink()
            file.write_bytes(whole)
        return done

    monkeypatch.setattr(obstore, "put", slow)
    add(disk_ledger, 2, 3)
    assert seen and set(seen) <= {2, 4}
    assert len(pd.read_parquet(rows)) == 4


@pytest.mark.parametrize("column", ["step", "value", "metric", "key"])
def test_series_of_other_types_under_a_right_checksum(disk_ledger: Ledger, column: str) -> None:
    add(disk_ledger, 0, 1)
    folder = folder_of(disk_ledger)
    (lines,), (part,) = (folder / "series").glob("*.parquet"), (folder / "rows").glob("part-*.parquet")
    table, _ = unseal(lines.read_bytes())
    place = table.column_names.index(column)
    forged = seal(table.set_column(place, column, pa.array([b"ab"] * len(table), pa.binary(2))), {})
    lines.write_bytes(forged)
    rows, about = unseal(part.read_bytes())
    told = json.loads(about["landsweep.part"]) | {"seal": check(forged)}
    part.write_bytes(seal(rows, about | {"landsweep.part": json.dumps(told)}))
    assert any("not those of series" in d.reason for d in disk_ledger.verify().damaged)
    assert disk_ledger.series().num_rows == 0 and disk_ledger.damaged
