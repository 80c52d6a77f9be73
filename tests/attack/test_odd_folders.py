"""What somebody may put into a results folder so that commands never end, or end without a word of what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from landsweep.orchestrator.errors import SpecError, StorageError, UsageError
from landsweep.orchestrator.run.stage_list import write_stage_list
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.lock import DriverLock
from tests.attack.folders import FUNCTION, command, ran, stranger


def test_a_lock_that_no_number_follows_on_is_refused(tmp_path: Path) -> None:
    """A driver with a longer number would not see its own lock."""
    (tmp_path / "lock").mkdir()
    last = tmp_path / "lock" / f"{10**15 - 1}.json"
    for content in ('{"released": true}', "{}"):
        last.write_text(content)
        with pytest.raises(UsageError, match=f"{last.name}.*remove the file"):
            DriverLock.take(Store.at(tmp_path), stale=0.1)
    last.rename(last.with_name(f"{10**15 - 2}.json"))
    lock = DriverLock.take(Store.at(tmp_path), stale=0.1)
    lock.check()
    lock.release()
    last.rename(tmp_path / f"lock/{10**15}.json")
    DriverLock.take(Store.at(tmp_path), stale=0.1).release()


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "two lines": (lambda rows: (rows / "a\nb.parquet").touch(), r"a\\nb.*remove or rename"),
    "no unicode": (lambda rows: (rows / os.fsdecode(b"\xff.parquet")).touch(), "FF.*remove or rename"),
    "loop": (lambda rows: (rows / "loop").symlink_to("."), "loop.*remove the link"),
}


@pytest.mark.parametrize("odd", ODD)
def test_names_that_no_listing_takes_are_said_with_a_cure(odd: str, tmp_path: Path) -> None:
    ledger = Ledger.create(Store.at(tmp_path), {"id": "a"})
    (tmp_path / "rows").mkdir()
    plant, said = ODD[odd]
    plant(tmp_path / "rows")
    with pytest.raises(StorageError, match=said):
        ledger.store.list("rows", deep=True)


def test_a_date_that_no_calendar_has(tmp_path: Path) -> None:
    own = ran(tmp_path, FUNCTION)
    for created in (-1, -1e300, 1e300, float("nan")):
        with pytest.raises(SpecError, match="created"):
            Sweep.at(stranger(own, "own", keep=True, created=created))


def test_stages_and_a_sweep_share_no_folder(tmp_path: Path) -> None:
    """Whoever reads the folder would see one of them alone."""
    own, site = ran(tmp_path, FUNCTION), ("site.executor=local", "site.tracking=false")
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump({"name": "all", "stages": {"one": FUNCTION}}))
    done = command("run", tmp_path / "stages.yaml", "--out", own, *site, cwd=tmp_path)
    assert done.returncode == 2 and "holds one sweep" in done.stderr and not (own / "stages.json").exists()
    write_stage_list(Store.at(tmp_path / "all"), "all", "", ["one"])
    done = command("run", tmp_path / "spec.yaml", "--out", tmp_path / "all", *site, cwd=tmp_path)
    assert done.returncode == 2 and "holds the stages of all" in done.stderr
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["stages.json"]
