"""Disks that fill up or close in the middle of a run, and results that were damaged: found, computed again, sound."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.attack.amounts import attacks, held
from tests.attack.folders import command
from tests.chaos.driver import spec_data
from tests.support.cli import LANDSWEEP, LOCAL, write_spec
from tests.support.cli import command as another_process
from tests.support.paths import ROOT
from tests.support.results import assert_undisturbed
from tests.support.zoos import assert_same_zoos, zoo_spec

OFTEN = ["site.commit_seconds=0.02", "site.shard_seconds=0.02"]
UNITS = 300


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no right to mount a disk of our own (root is needed): {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def remount(disk: Path, options: str) -> None:
    """Again and again while a file is open for writing, which makes it busy."""
    words = ["mount", "-o", f"remount,{options}", str(disk)]
    while (done := subprocess.run(words, capture_output=True, text=True)).returncode:
        assert "busy" in done.stderr, done.stderr
        time.sleep(0.01)


FAULTS = {
    "no space": ("size=64k", "size=64m"),
    "no inodes": ("nr_inodes=12", "nr_inodes=100k"),
    "read-only": ("ro", "rw"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_in_a_run(disk: Path, tmp_path: Path, fault: str) -> None:
    """The run ends with 3, and the same command goes on once the fault is mended."""
    write_spec(tmp_path, spec_data(2000, 0.01))
    words = ["run", "spec.yaml", *LOCAL, *OFTEN, "--out", str(disk / "out")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        (log := tmp_path / "log").open("w") as out,
        subprocess.Popen([*LANDSWEEP, *words], cwd=tmp_path, env=env, stdout=out, stderr=out) as process,
    ):
        try:
            while not list(disk.glob("out/rows/*.parquet")):
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            remount(disk, FAULTS[fault][0])
            process.wait()
        finally:
            process.kill()
    said = log.read_text()
    assert process.returncode == 3 and "same command goes on" in said and "Traceback" not in said, said
    remount(disk, FAULTS[fault][1])
    done = another_process(*words, cwd=tmp_path, check=None)  # in this one, a signal to the tests would end it with 3
    assert done.returncode == 0, done.stderr
    assert_undisturbed(disk / "out", 2000)
    held(f"storage: {fault}", 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["ddp", "fsdp"])
def test_a_disk_that_the_members_of_a_gang_fill(disk: Path, tmp_path: Path, backend: str) -> None:
    """Two processes train a model of 2.4 MB, with 1 MB of room; under fsdp each of them writes its part of a state."""
    recipe = {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [8000]},
        "optimizer": {"method": "sgd"},
        "steps": 3 if backend == "ddp" else 60,
        "batch_size": 16,
    }
    spec = zoo_spec(recipe=recipe, axes={}, seeds={"range": 1}).model_dump(mode="json")
    write_spec(tmp_path, {**spec, "devices": 2, "backend": backend})
    words = ["run", "spec.yaml", *LOCAL, "site.workers=2", "--out", str(disk / "out")]
    remount(disk, "size=1m")
    stopped = another_process(*words, "site.state_seconds=0.01", cwd=tmp_path, check=3)
    assert "same command goes on once there is room again" in " ".join(stopped.stderr.split()), stopped.stderr
    remount(disk, "size=64m")
    another_process(*words, cwd=tmp_path)
    held(f"storage: members of a gang fill the disk, {backend}", 1, 1)


@attacks(None, full=1)
def test_a_disk_that_weights_fill(disk: Path, tmp_path: Path, n: int) -> None:
    """A zoo of 24 models of 800 kB, with 8 MB of room: the run ends with 3, and the same command goes on with more."""
    recipe = {
        "data": {"source": "digits"},
        "net": {"net": "mlp", "hidden": [2700]},
        "optimizer": {"method": "sgd"},
        "steps": 3,
        "batch_size": 16,
    }
    axes = {"optimizer.learning_rate": [0.1, 0.05]}
    write_spec(tmp_path, zoo_spec(recipe=recipe, axes=axes, seeds={"range": 12}).model_dump(mode="json"))
    words, out = ["run", "spec.yaml", *LOCAL, *OFTEN, "--out"], disk / "out"
    another_process(*words, "undisturbed", cwd=tmp_path)
    for _ in range(n):
        remount(disk, "size=8m")
        stopped = another_process(*words, str(out), cwd=tmp_path, check=3)
        assert "same command goes on once there is room again" in " ".join(stopped.stderr.split()), stopped.stderr
        assert "sound:" in another_process("verify", "--deep", str(out), cwd=tmp_path, check=1).stdout
        remount(disk, "size=64m")
        another_process(*words, str(out), cwd=tmp_path)
        assert_same_zoos(out, tmp_path / "undisturbed")
        files = {Path(name).name for name in Sweep.at(out).rows()["weights_file"]}
        assert {file.name for file in (out / "weights").iterdir()} == files, "nothing staged, nothing left over"
        shutil.rmtree(out)
    held("storage: weights fill the disk", n, n)


def moving(i: int, seconds: float) -> dict[str, float]:
    """A unit that renames or removes the results of the sweep that it belongs to."""
    if i == UNITS // 2:
        results = Path(os.environ["LANDSWEEP_TEST_RESULTS"])
        if results.exists() and os.environ["LANDSWEEP_TEST_DEED"] == "rename":
            results.rename(results.with_name("renamed"))
        elif results.exists() and os.environ["LANDSWEEP_TEST_DEED"] == "remove":
            shutil.rmtree(results)
    return {"y": i + seconds}


@pytest.mark.parametrize("deed", ["rename", "remove"])
def test_results_that_vanish_in_a_run(tmp_path: Path, deed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with 3 and writes no more; it goes on under the new name, or begins anew."""
    data = spec_data(UNITS, 0.0) | {"function": "tests.attack.test_storage:moving"}
    write_spec(tmp_path, data)
    monkeypatch.setenv("LANDSWEEP_TEST_RESULTS", str(tmp_path / "out"))
    monkeypatch.setenv("LANDSWEEP_TEST_DEED", deed)
    words = ["run", "spec.yaml", *LOCAL, "site.probe_seconds=0"]
    another_process(*words, *OFTEN, "--out", "out", cwd=tmp_path, check=3)
    assert not (tmp_path / "out/rows").exists()
    monkeypatch.setenv("LANDSWEEP_TEST_DEED", "none")
    out = "renamed" if deed == "rename" else "out"
    done = command(*words, "--out", out, cwd=tmp_path)
    assert done.returncode == 0 and f"{UNITS} units ({UNITS} ok)" in done.stderr
    assert command("verify", out, cwd=tmp_path).returncode == 0
    held(f"storage: results {deed}d in a run", 1, 1)


def parts(folder: Path, name: str = "rows") -> list[Path]:
    return sorted((folder / name).glob("*.parquet"))


def swap(one: Path, other: Path) -> None:
    third = one.with_name("third")
    one.rename(third)
    other.rename(one)
    third.rename(other)


def in_its_place(file: Path) -> None:
    file.unlink()
    file.mkdir()


def linked(file: Path) -> None:
    real = file.with_suffix(".real")
    file.rename(real)
    file.symlink_to(real.name)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a part removed": lambda folder: parts(folder)[1].unlink(),
    "a series removed": lambda folder: parts(folder, "series")[1].unlink(),
    "rows removed": lambda folder: shutil.rmtree(folder / "rows"),
    "series removed": lambda folder: shutil.rmtree(folder / "series"),
    "lock removed": lambda folder: shutil.rmtree(folder / "lock"),
    "a status of garbage": lambda folder: (folder / "status.json").write_bytes(b"\xff{"),
    "odd files": lambda folder: [(folder / "rows" / odd).write_bytes(b"odd") for odd in ("a b.txt", "part-x.parquet")],
    "a folder as a part": lambda folder: (folder / "rows" / "part-000040.parquet").mkdir(),
    "a folder in the place of a part": lambda folder: in_its_place(parts(folder)[0]),
    "a folder in the place of a series": lambda folder: in_its_place(parts(folder, "series")[0]),
    "a part that is a link beside itself": lambda folder: linked(parts(folder)[1]),
    "a link to nothing as a part": lambda folder: (folder / "rows" / "part-000040.parquet").symlink_to("nothing"),
    "a part of the number 10^12": lambda folder: (folder / f"rows/part-{10**12}.parquet").write_bytes(b"PAR1"),
    "parts swapped": lambda folder: swap(*parts(folder)[:2]),
}  # fmt: skip


class Unmerged(Exception):
    """Ends a run before its parts become one."""


@pytest.fixture(scope="module")
def unmerged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results in several parts, of a run that ended early."""
    folder = tmp_path_factory.mktemp("storage") / "unmerged"

    def hook(point: str) -> None:
        if point == "compacting":
            raise Unmerged

    with pytest.raises(Unmerged):
        computed(folder, hook)
    assert len(parts(folder)) > 2
    return folder


def computed(folder: Path, hook: Callable[[str], None] | None = None) -> Snapshot:
    kind = kind_named("function")
    spec = parse(kind.spec, spec_data(UNITS, 0.0), "test")
    site = Site(executor="local", commit_rows=100, shard_seconds=0.01)
    return run_sweep(kind, spec, site, folder, folder=ROOT, watch=QuietWatch(), hook=hook)


@pytest.mark.parametrize("put", [Path.mkdir, lambda place: place.symlink_to("nothing")], ids=["folder", "link"])
def test_what_lies_in_the_place_of_the_lock_is_named(
    unmerged: Path, tmp_path: Path, put: Callable[[Path], object]
) -> None:
    """A driver that tries again for ever would say nothing."""
    folder = Path(shutil.copytree(unmerged, tmp_path / "sweep"))
    shutil.rmtree(folder / "lock")
    (folder / "lock").mkdir()
    put(folder / "lock" / "000001.json")
    with pytest.raises(LandsweepError, match=r"lock/000001\.json is (a folder|no file).*remove it"):
        computed(folder)
    held("storage: something in the place of the lock", 1, 1)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_results_are_mended_by_the_next_run(unmerged: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(unmerged, tmp_path / "sweep"))
    DAMAGES[damage](folder)
    assert computed(folder).phase == "done"
    assert_undisturbed(folder, UNITS)
    held(f"storage: {damage}", 1, 1)
