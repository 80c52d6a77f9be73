"""A run that ends well has all rows of its plan; and of two that begin one sweep, each is told what is going on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.errors import StorageError, SweepLocked, SweepMismatch
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep, begin_sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from tests.chaos.driver import spec_data

KIND = kind_named("function")


def function_spec(units: int, seconds: float = 0.0) -> Any:
    return parse(KIND.spec, spec_data(units, seconds), "test")


def run(folder: Path, units: int, watch: QuietWatch | None = None, **options: Any) -> Snapshot:
    site = Site(executor="local", tracking=False, shard_seconds=1e-9, commit_rows=1)
    watch = watch or QuietWatch()
    return run_sweep(KIND, function_spec(units), site, folder, folder=Path.cwd(), watch=watch, **options)


def removing(folder: Path, point: str, nth: int, names: Callable[[], list[str]]) -> Callable[[str], None]:
    """A hook that removes files of rows at a point of the nth commit."""
    seen = 0

    def hook(now: str) -> None:
        nonlocal seen
        seen += now == point
        if now == point and seen == nth:
            for name in names():
                (folder / "rows" / name).unlink()

    return hook


def parts(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "rows").glob("part-*"))


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_part_that_vanishes_during_a_run_is_noticed_at_its_end(tmp_path: Path, nth: int) -> None:
    hook = removing(tmp_path, "after-commit", nth, lambda: parts(tmp_path)[-1:])
    with pytest.raises(StorageError, match=r"units should have rows.*removed from rows/.*same command"):
        run(tmp_path, 6, hook=hook)
    assert len(Ledger.open(Store.at(tmp_path)).keys()) < 6
    end = run(tmp_path, 6)
    assert (end.phase, end.done) == ("done", 6)
    assert Sweep.at(tmp_path).verify().sound


def test_rows_of_no_unit_of_the_plan_stand_in_for_none(tmp_path: Path) -> None:
    run(tmp_path, 8)
    before = parts(tmp_path)
    assert run(tmp_path, 4).done == 4 and parts(tmp_path) == before
    with pytest.raises(StorageError, match="8 units should have rows"):
        run(tmp_path, 10, hook=removing(tmp_path, "before-commit", 1, lambda: before))
    assert run(tmp_path, 10).done == 10


@pytest.mark.parametrize("name", ["part-0000000.parquet", "part-000000-copy.parquet"])
def test_a_copied_part_costs_no_unit_its_row(tmp_path: Path, name: str) -> None:
    run(tmp_path, 6)
    (part,) = (tmp_path / "rows").iterdir()
    number = part.stem.removeprefix("part-")
    shutil.copy(part, part.with_name(name.replace("000000", number)))
    watch = QuietWatch()
    end = run(tmp_path, 6, watch)
    assert (end.done, end.new) == (6, 0)
    assert [line for line in watch.said if "no file of this sweep" in line]
    found = Sweep.at(tmp_path).verify()
    assert found.sound and found.rows == 6


class Rival(QuietWatch):
    """Lets another driver begin while this one's workers check the input."""

    def __init__(self, begin: Callable[[], None]) -> None:
        super().__init__()
        self._begin: Callable[[], None] | None = begin

    def show(self, snapshot: Snapshot) -> None:
        if snapshot.phase == "checking" and self._begin is not None:
            begin, self._begin = self._begin, None
            begin()


def test_a_driver_that_begins_a_moment_later_is_told_who_works_there(tmp_path: Path) -> None:
    writers = []

    def begin() -> None:
        writers.append(begin_sweep(Store.at(tmp_path), KIND, function_spec(6), Path.cwd()).writing())

    with pytest.raises(SweepLocked, match=r"is being worked on by process \d+ on .*landsweep status"):
        run(tmp_path, 6, Rival(begin))
    writers[0].close()
    assert run(tmp_path, 6).done == 6


@pytest.mark.parametrize("units", [6, 4])
def test_a_driver_that_began_and_ended_meanwhile_has_left_its_rows(tmp_path: Path, units: int) -> None:
    end = run(tmp_path, 6, Rival(lambda: run(tmp_path, units) and None))
    assert (end.phase, end.done, end.new) == ("done", 6, 6 - units)
    assert Sweep.at(tmp_path).verify().sound


def test_another_spec_that_began_there_meanwhile_is_named(tmp_path: Path) -> None:
    other = function_spec(6, seconds=0.5)
    with pytest.raises(SweepMismatch, match=r"another spec(.|\n)*seconds(.|\n)*--out"):
        run(tmp_path, 6, Rival(lambda: begin_sweep(Store.at(tmp_path), KIND, other, Path.cwd()) and None))
