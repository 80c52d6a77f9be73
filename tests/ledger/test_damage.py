"""Damaged files are found, set aside and named; a storage that refuses to write stops the sweep cleanly."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import StorageError
from orchestrator.ledger import Ledger, Store
from tests.ledger.conftest import Start
from tests.ledger.driver import batch, content, key, series, work


@pytest.mark.parametrize("harm", ["torn", "empty", "flipped"])
@pytest.mark.parametrize("folder", ["rows", "series"])
def test_damaged_part_is_set_aside_and_its_units_run_again(ledger: Ledger, harm: str, folder: str) -> None:
    with ledger.writing() as writer:
        work(writer, 6, 2)
        before = content(ledger)
        victim = ledger.store.list(folder)[1][0]
        data = bytearray(ledger.store.read(f"{folder}/{victim}"))
        if harm == "flipped":
            data[len(data) // 2] ^= 4
        ledger.store.replace(f"{folder}/{victim}", {"torn": data[:-9], "empty": b"", "flipped": data}[harm])
        found = ledger.verify(key(i) for i in range(6))
        assert f"{folder}/{victim}" in {d.path for d in found.damaged}
        assert set(found.missing) == {key(2), key(3)}
        assert not found.sound
    with ledger.writing() as writer:
        assert f"{folder}/{victim}" in {d.path for d in writer.set_aside}
        assert set(writer.done) == {key(i) for i in (0, 1, 4, 5)}
        assert any(victim.removesuffix(".parquet") in name for name, _ in ledger.store.list("damaged"))
        work(writer, 6, 2)
    assert content(ledger) == before
    assert ledger.verify(key(i) for i in range(6)).sound


@pytest.mark.parametrize("point", ["before-commit", "after-series"])
def test_kernel_refuses_to_write(disk_ledger: Ledger, start: Start, point: str) -> None:
    ledger = disk_ledger
    driver = start(ledger, units=20, size=2, at=point, nth=4, fsize=500)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 3
    assert "StorageError" in said
    assert "File too large" in said
    assert "there is room again" in said
    assert set(ledger.keys()) == {key(i) for i in range(6)}
    with ledger.writing() as writer:
        work(writer, 20, 2)
    assert ledger.verify(key(i) for i in range(20)).sound


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip(f"no right to mount a small disk: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def test_full_disk_stops_cleanly_and_goes_on(small_disk: Path) -> None:
    ledger = Ledger.create(Store.at(small_disk / "sweep"), {})
    with ledger.writing() as writer:
        with pytest.raises(StorageError, match=r"No space left.*same command goes on once there is room"):
            work(writer, 4000, 100)
        safe = set(ledger.keys())
        assert 0 < len(safe) < 4000
        assert ledger.verify().sound
        remount(small_disk, "size=16m")
        writer.commit()  # what was buffered is not lost
        assert len(ledger.keys()) == len(safe) + 100
    with ledger.writing() as writer:
        work(writer, 4000, 100)
    assert ledger.verify(key(i) for i in range(4000)).missing == []


def test_read_only_disk(small_disk: Path) -> None:
    ledger = Ledger.create(Store.at(small_disk / "sweep"), {})
    with ledger.writing() as writer:
        work(writer, 2, 2)
    remount(small_disk, "ro")
    with pytest.raises(StorageError, match="Read-only"):
        ledger.writing()
    assert len(ledger.keys()) == 2
    with pytest.raises(StorageError, match="Read-only"):
        Ledger.create(Store.at(small_disk / "other"), {})
    remount(small_disk, "rw")


def test_error_of_the_sweep_is_not_hidden_by_a_commit(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt), ledger.writing() as writer:
        writer.append(batch([1, 2]), series([1, 2]))
        raise KeyboardInterrupt
    assert set(ledger.keys()) == {key(1), key(2)}
