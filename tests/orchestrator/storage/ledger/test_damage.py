"""Damaged files are found, set aside and named; a storage that refuses to write stops the sweep cleanly."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from landsweep.orchestrator.commands.publish import write_report
from landsweep.orchestrator.errors import StorageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch, run_example
from tests.chaos.driver import spec_data
from tests.orchestrator.storage.ledger.conftest import Start
from tests.orchestrator.storage.ledger.driver import batch, content, key, series, work


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


NO_LINKS = """
#include <errno.h>
int link(const char *a, const char *b) { errno = EPERM; return -1; }
int linkat(int a, const char *b, int c, const char *d, int e) { errno = EPERM; return -1; }
"""


def test_a_file_system_without_hard_links_is_named_as_the_cause(tmp_path: Path) -> None:
    """As FAT answers; a folder that may not be written keeps its own cure."""
    (tmp_path / "no_links.c").write_text(NO_LINKS)
    library = tmp_path / "no_links.so"
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "no_links.c"], check=True)
    code = "import sys; from landsweep.orchestrator.storage.ledger import *; Ledger.create(Store.at(sys.argv[1]), {})"
    words = [sys.executable, "-c", code, str(tmp_path / "sweep")]
    done = subprocess.run(words, env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True)
    assert "UsageError" in done.stderr and "without hard links" in done.stderr and "--out" in done.stderr
    assert list((tmp_path / "sweep").iterdir()) == [], "nothing is left there"


@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_a_report_that_can_not_be_written_is_a_clear_error(small_disk: Path, full: bool) -> None:
    kind = kind_named("function")
    folder = small_disk / "sweep"
    run_example(kind, parse(kind.spec, spec_data(6, 0.0), "spec"), folder)
    if full:
        with contextlib.suppress(OSError):
            (small_disk / "filler").write_bytes(b"x" * (1 << 20))
    else:
        remount(small_disk, "ro")
    with pytest.raises(StorageError, match=r"report could not be written: (No space left|Read-only).*rows are safe"):
        write_report(Sweep.at(folder), str(folder))
    assert Sweep.at(folder).verify().sound


@pytest.mark.parametrize("harm", ["a folder in its place", "a read-only file system for it"])
def test_a_status_that_can_not_be_written_does_not_end_a_sweep(tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "sweep"
    (folder / "status.json").mkdir(parents=True)
    (folder / "status.json/x").write_text("")
    if harm != "a folder in its place":
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder / "status.json")])
        if mounted.returncode:
            pytest.skip("no right to mount")
    kind, watch = kind_named("function"), QuietWatch()
    spec = parse(kind.spec, spec_data(6, 0.0), "spec")
    try:
        end = run_sweep(kind, spec, Site(executor="local"), folder, folder=Path.cwd(), watch=watch)
    finally:
        subprocess.run(["umount", "-l", str(folder / "status.json")], capture_output=True)
    assert (end.phase, end.done) == ("done", 6)
    assert sum("shows an old state" in text for text in watch.said) == 1
    assert Sweep.at(folder).verify().sound
