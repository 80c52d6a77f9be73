"""What somebody may put into a results folder so that commands never end, or end without a word of what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from landsweep.orchestrator.errors import SpecError, UsageError
from landsweep.orchestrator.run.stage_list import write_stage_list
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Store
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


ODD: dict[str, Callable[[Path], object]] = {
    "two lines": lambda file: file.with_name(f"a\nb{file.suffix}").touch(),
    "no unicode": lambda file: file.with_name(os.fsdecode(b"\xff") + file.suffix).touch(),
    "loop": lambda file: file.with_name(f"loop{file.suffix}").symlink_to("."),
}
SHOWN = {"two lines": r"a\nb", "no unicode": r"\udcff", "loop": "loop"}
FOLDERS = ("rows", "series", "units", "lock", "prepared", "artifacts", "damaged", "jobs")


@pytest.mark.parametrize("odd", ODD)
def test_files_with_names_that_no_object_store_takes_are_set_aside(odd: str, tmp_path: Path) -> None:
    """They are no files of this sweep, as others are that somebody has put there, and no command ends at them."""
    own, site = ran(tmp_path, FUNCTION), ("site.executor=local", "site.tracking=false")
    for file in (*(f"{folder}/file.parquet" for folder in FOLDERS), "states/file.safetensors", "weights/file.st"):
        (own / file).parent.mkdir(exist_ok=True)
        ODD[odd](own / file)
    report = command("report", own, cwd=tmp_path)
    assert report.returncode == 0, report
    found = json.loads(command("verify", own, "--json", cwd=tmp_path).stdout)
    states = [] if odd == "loop" else ["states"]  # a state is a file
    assert [Path(damage["path"]).parent.name for damage in found["damaged"]] == ["rows", "series", *states], found
    seen = command("verify", own, cwd=tmp_path)
    assert seen.returncode == 1 and f"rows/{SHOWN[odd]}.parquet: it is no file of this sweep" in seen.stdout, seen
    done = command("run", tmp_path / "spec.yaml", "--out", own, *site, cwd=tmp_path)
    assert done.returncode == 0 and f"set aside: series/{SHOWN[odd]}.parquet (it is no" in done.stderr, done
    again = command("rerun", own, "--status", "damaged", *site, cwd=tmp_path)
    assert command("verify", own, "--deep", cwd=tmp_path).returncode == 0, again


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
