"""Parts whose columns differ: plain Parquet readers of the folder see all of them, at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.parts import COLUMNS, OF_SWEEP
from landsweep.orchestrator.storage.ledger.schema import table_of, unify
from landsweep.orchestrator.storage.ledger.seal import seal
from tests.support.paths import ROOT

PIECES = [
    {"key": ["a"], "width": [2], "status": ["ok"]},
    {"key": ["b"], "width": [3], "late": [0.5], "status": ["ok"]},
    {"key": ["c"], "width": [0.5], "status": ["ok"]},
    {"key": ["d"], "width": ["wide"], "later": ["text"], "status": ["ok"]},
]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 3, 2), (3, 2, 1, 0), (2, 3, 0, 1)])
def test_plain_readers_see_all_columns_after_each_commit_and_each_merge(
    disk_ledger: Ledger, order: tuple[int, ...]
) -> None:
    ledger, folder = disk_ledger, disk_ledger.store.path
    assert folder is not None
    with ledger.writing() as writer:
        for n in order:
            writer.append(pa.RecordBatch.from_pydict(PIECES[n]))
            writer.commit()
            assert_as_our_reader(ledger, folder)
    assert_as_our_reader(ledger, folder)
    assert [name for name, _ in ledger.store.list("rows")] == ["part-000004.parquet"], "one part shows its own columns"


def assert_as_our_reader(ledger: Ledger, folder: Path) -> None:
    ours = ledger.rows().to_pandas().sort_values("key").reset_index(drop=True)
    for theirs in (pd.read_parquet(folder / "rows"), ds.dataset(folder / "rows").to_table().to_pandas()):
        assert list(theirs.columns) == list(ours.columns)
        pd.testing.assert_frame_equal(theirs.sort_values("key").reset_index(drop=True), ours)


class Died(BaseException):
    """In place of a kill, for what a driver does before it merges parts."""


def die_before_merging(point: str) -> None:
    if point == "compacting":
        raise Died


def test_columns_are_shown_again_when_that_file_is_lost_or_damaged(disk_ledger: Ledger) -> None:
    ledger, folder = disk_ledger, disk_ledger.store.path
    assert folder is not None
    with pytest.raises(Died), ledger.writing(die_before_merging) as writer:
        for piece in PIECES[:2]:
            writer.append(pa.RecordBatch.from_pydict(piece))
            writer.commit()
    for data in (None, b"PAR1 torn"):
        ledger.store.delete(COLUMNS) if data is None else ledger.store.replace(COLUMNS, data)
        assert [d.path for d in ledger.verify().damaged] == [COLUMNS]
        with pytest.raises(Died), ledger.writing(die_before_merging):
            assert_as_our_reader(ledger, folder)
    assert ledger.verify().sound


@pytest.mark.parametrize("sort", ["a part of the sweep", "a part of another", "columns of another", "too few columns"])
def test_a_file_of_columns_that_would_mislead_plain_readers_is_damage(disk_ledger: Ledger, sort: str) -> None:
    """A plain reader takes its columns for those of all rows, and rows in it for units."""
    ledger, folder = disk_ledger, disk_ledger.store.path
    assert folder is not None
    with pytest.raises(Died), ledger.writing(die_before_merging) as writer:
        for piece in PIECES[:2]:
            writer.append(pa.RecordBatch.from_pydict(piece))
            writer.commit()
    part = next((folder / "rows").glob("part-*")).read_bytes()
    about = {OF_SWEEP: "another"} if "another" in sort else {}
    rows = pa.table({"other": [1.0], "key": ["k"]})
    data = {
        "a part of the sweep": part,
        "a part of another": seal(rows, about),
        "columns of another": seal(rows[:0], about),
        "too few columns": seal(rows[:0], {}),
    }
    for _ in range(2):
        ledger.store.replace(COLUMNS, data[sort])
        assert [d.path for d in ledger.verify().damaged] == [COLUMNS]
        with pytest.raises(Died), ledger.writing(die_before_merging) as writer:
            assert [d.path for d in writer.set_aside] == [COLUMNS]
            assert_as_our_reader(ledger, folder)
    assert ledger.verify().sound


@pytest.mark.parametrize("gone", ["a", "b"])
def test_parts_that_lose_rows_leave_columns_behind_them(disk_ledger: Ledger, gone: str) -> None:
    """The part that had all columns came first, and is replaced by one that comes last; also if a kill follows."""
    ledger, folder = disk_ledger, disk_ledger.store.path
    assert folder is not None
    with pytest.raises(Died), ledger.writing(die_before_merging) as writer:
        for piece in (PIECES[1] | {"key": ["b"]}, PIECES[0], PIECES[1] | {"key": ["e"]}):
            writer.append(pa.RecordBatch.from_pydict(piece))
            writer.commit()
    with pytest.raises(Died), ledger.writing(die_before_merging) as writer:
        assert writer.retire(pa.array([gone])) == 1
        assert ledger.verify().sound
        assert_as_our_reader(ledger, folder)
        raise Died
    assert ledger.verify().sound


def grow(i: int) -> dict[str, float]:
    """A unit whose metrics depend on it: the second half has one more."""
    time.sleep(0.005)
    return {
        "loss": 1.0 / (1 + i),
        **({"accuracy": i / 100} if i >= 20 else {}),
        **({"text": 1.0} if i % 7 == 3 else {}),
    }


GROW = "tests.orchestrator.storage.ledger.test_columns:grow"
SPEC = f"kind: function\nname: grow\nfunction: {GROW}\naxes: {{i: {{range: 200}}}}\n"


def test_rows_of_a_killed_sweep_are_read_with_all_columns(tmp_path: Path) -> None:
    (tmp_path / "grow.yaml").write_text(SPEC)
    site = ["site.executor=local", "site.tracking=false", "site.commit_seconds=0.05", "site.shard_seconds=0.02"]
    run = [
        str(Path(sys.executable).parent / "landsweep"),
        "run",
        str(tmp_path / "grow.yaml"),
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen([*run, *site], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    ledger = None
    deadline = time.monotonic() + 120
    while ledger is None or ledger.rows(["key"]).num_rows < 60:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)
        ledger = Ledger.open(Store.at(tmp_path / "out")) if (tmp_path / "out/sweep.json").exists() else None
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    rows = pd.read_parquet(tmp_path / "out/rows").drop_duplicates("key")  # a kill in a merge leaves its sources
    assert len(rows) == ledger.rows().num_rows
    assert {"accuracy", "loss", "text"} <= {*rows.columns}
    assert (rows["accuracy"].notna() == (rows["i"] >= 20)).all()


def test_many_columns_cost_as_many_steps() -> None:
    """16,000 metrics, of which each batch lacks some: seconds, where the square of the number would take minutes."""
    names = [f"m{i}" for i in range(16_000)]
    batches = [
        pa.RecordBatch.from_pydict({"key": [str(n)], **{name: [1.0] for name in names[n::1] if not name.endswith("7")}})
        for n in range(2)
    ]
    table = table_of([*batches, pa.RecordBatch.from_pydict({"key": ["x"], **{name: [2] for name in names}})])
    assert table.num_columns == 16_001 and table.num_rows == 3


def test_columns_keep_their_place() -> None:
    one = pa.schema([("key", pa.string()), ("a", pa.int64()), ("z", pa.int64())])
    two = pa.schema(
        [("first", pa.int64()), ("key", pa.string()), ("a", pa.float64()), ("b", pa.int64()), ("c", pa.int64())]
    )
    assert unify([one, two]).names == ["first", "key", "a", "b", "c", "z"]
    assert unify([two, one]).names == ["first", "key", "a", "z", "b", "c"]
    assert unify([one, two]).field("a").type == pa.float64()
