"""SIGKILL at every named point and at random times: the table equals that of an undisturbed run."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest

from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.orchestrator.storage.ledger.conftest import Start
from tests.orchestrator.storage.ledger.driver import content, key, work

UNITS, SIZE = 60, 2  # 30 commits: one compaction on the way, one at the end


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> object:
    ledger = Ledger.create(Store.at(tmp_path_factory.mktemp("plain") / "sweep"), {})
    with ledger.writing() as writer:
        work(writer, UNITS, SIZE)
    table = content(ledger)
    assert len(table[0]) == UNITS
    assert len(table[1]) == 3 * UNITS
    return table


def finish(ledger: Ledger, units: int = UNITS, size: int = SIZE) -> None:
    before = len(ledger.keys())
    with ledger.writing() as writer:
        assert writer.set_aside == []  # a kill tears nothing
        assert len(writer.done) == before
        work(writer, units, size)
    found = ledger.verify(key(i) for i in range(units))
    assert found.sound
    assert not (found.missing or found.unexpected or found.leftovers)


@pytest.mark.parametrize(
    ("point", "nth"),
    [(p, n) for p in ("before-commit", "after-series", "writing", "after-commit") for n in (9,)]
    + [(p, n) for p in ("compacting", "compacted") for n in (1, 2)],
)
def test_kill_at_a_point(ledger: Ledger, start: Start, undisturbed: object, point: str, nth: int) -> None:
    driver = start(ledger, units=UNITS, size=SIZE, at=point, nth=nth)
    assert driver.wait(60) == -signal.SIGKILL
    finish(ledger)
    assert content(ledger) == undisturbed


def test_after_the_commit_the_rows_are_there(ledger: Ledger, start: Start) -> None:
    start(ledger, units=UNITS, size=SIZE, at="after-commit", nth=3).wait(60)
    assert set(ledger.keys()) == {key(i) for i in range(3 * SIZE)}


def test_before_the_commit_none_is(ledger: Ledger, start: Start) -> None:
    start(ledger, units=UNITS, size=SIZE, at="writing", nth=3).wait(60)
    assert set(ledger.keys()) == {key(i) for i in range(2 * SIZE)}


def test_killed_between_create_and_delete_no_row_is_there_twice(ledger: Ledger, start: Start) -> None:
    start(ledger, units=UNITS, size=SIZE, at="compacted").wait(60)
    assert len(ledger.store.list("rows")) == 17  # 16 parts and the one that replaces them
    found = ledger.verify(key(i) for i in range(32))
    assert (found.rows, found.duplicates, found.missing) == (32, [], [])
    assert len(found.leftovers) == 32  # the old rows and series


@pytest.mark.parametrize("after", [0.0005, 0.002, 0.006])
def test_kill_in_the_middle_of_a_put(ledger: Ledger, start: Start, after: float) -> None:
    driver = start(ledger, units=16_000, size=8_000, at="writing", nth=2, after=after)
    assert driver.wait(60) == -signal.SIGKILL
    assert len(ledger.keys()) in {8_000, 16_000}
    finish(ledger, 16_000, 8_000)
    assert len(set(ledger.rows(["key"]).column("key").to_pylist())) == 16_000
    folder = ledger.store.path
    assert folder is None or [f for f in (folder / "rows").iterdir() if "#" in f.name] == []


def test_half_written_staging_files_are_no_parts_and_go_away(disk_ledger: Ledger) -> None:
    ledger = disk_ledger
    with ledger.writing() as writer:
        work(writer, 4, 2)
    folder = ledger.store.path
    assert folder is not None
    names = ("rows/part-000007.parquet#1", "rows/.0a1b.staged", "series/.0a1b.staged#1", "status.json#2")
    staged: list[Path] = [folder / name for name in names]
    for file in staged:
        file.write_bytes(b"PAR1 half")
    assert ledger.verify(key(i) for i in range(4)).sound
    ledger.writing().close()
    assert not any(f.exists() for f in staged)


def test_kills_at_random_times(ledger: Ledger, start: Start, undisturbed: object) -> None:
    chance = random.Random(7)
    killed = 0
    for _ in range(8):
        driver = start(ledger, units=UNITS, size=SIZE)
        assert driver.stdout is not None
        driver.stdout.readline()  # it drives
        try:
            driver.wait(chance.uniform(0, 0.1))
        except subprocess.TimeoutExpired:
            driver.kill()
            killed += driver.wait(60) == -signal.SIGKILL
        found = ledger.verify()
        assert found.sound
    assert killed > 0
    finish(ledger)
    assert content(ledger) == undisturbed
