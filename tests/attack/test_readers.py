"""Every reader of every file of a results folder, with files that nobody but a stranger would write.

Each either reads or refuses: with an error of landsweep, in bounded time, never with a traceback. `make fuzz` tries
more of the same.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from landsweep import Zoo
from landsweep.cluster.jobs.follow import progress
from landsweep.cluster.jobs.jobs import jobs_of
from landsweep.cluster.launchers.launcher import status_at_end
from landsweep.cluster.node.driver import load_launch
from landsweep.orchestrator.commands.display import findings_text, state, state_text
from landsweep.orchestrator.errors import LandsweepError
from landsweep.orchestrator.notes import is_own
from landsweep.orchestrator.run.manifest import check_same
from landsweep.orchestrator.run.sweep import Sweep, ledger_at
from landsweep.orchestrator.storage.ledger import Ledger, Store, load_prepared
from landsweep.orchestrator.storage.ledger.lock import DriverLock, driver_here, driver_lives
from landsweep.orchestrator.storage.ledger.prepared import check_prepared
from landsweep.orchestrator.storage.ledger.seal import seal
from tests.attack.folders import FUNCTION, ZOO, command, ran
from tests.attack.fuzzing import RAW, changed, fuzz, refusing


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("function"), FUNCTION)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("zoo"), ZOO)


@contextlib.contextmanager
def replaced(file: Path, data: bytes) -> Iterator[None]:
    """While this lasts, the file holds something else."""
    before = file.read_bytes() if file.exists() else None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        if before is not None:
            file.write_bytes(before)


def content(file: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(file.read_bytes())
    return data


def shown(results: Path) -> None:
    state_text(state(ledger_at(results)))  # as `status` reads it
    sweep = Sweep.at(results)
    findings_text(sweep.ledger.verify(sweep.keys()), "x")
    sweep.rows()
    check_same(sweep.ledger.sweep, sweep.kind, sweep.spec, "x")


@given(st.data())
@fuzz
def test_sweep_json(function: Path, data: st.DataObject) -> None:
    with replaced(function / "sweep.json", data.draw(changed(content(function / "sweep.json")))):
        refusing(lambda: shown(function))
        refusing(lambda: is_own(function, Ledger.open(Store.at(function)).sweep))


@given(st.data())
@fuzz
def test_sweep_json_of_a_zoo(zoo: Path, data: st.DataObject) -> None:
    def read() -> None:
        there = Zoo(zoo)
        for member in there:
            member.module()
            there.recipe(member.key)
        _ = there.swept

    with replaced(zoo / "sweep.json", data.draw(changed(content(zoo / "sweep.json")))):
        refusing(lambda: shown(zoo))
        refusing(read)


@given(st.data())
@fuzz
def test_status_json(function: Path, data: st.DataObject) -> None:
    with replaced(function / "status.json", data.draw(changed(content(function / "status.json")))):
        shown(function)  # a view: whatever it holds, the sweep can be read


@given(st.data(), st.sampled_from(["000001.json", "000007.json", "²³.json", "x.json", "9" * 30 + ".json"]))
@fuzz
def test_the_lock(function: Path, data: st.DataObject, name: str) -> None:
    file = next((function / "lock").iterdir())
    with replaced(function / "lock" / name, data.draw(changed({**content(file), "released": False}))):
        store = Store.at(function)
        driver_here(store)
        driver_lives(store)
        with contextlib.suppress(LandsweepError):
            lock = DriverLock.take(store, stale=0.05)
            lock.release()
            for left in (function / "lock").iterdir():
                left.unlink()
            file.write_text("{}")


JOB = {
    "number": 1, "name": "a", "out": "x", "home": "h", "job": "7", "type": "ssh", "command": "x", "submitted": 1.0,
    "user": "me", "host": "here", "state": "running", "told": "", "seen": 0.0, "launcher": {"type": "ssh"},
}  # fmt: skip
LAUNCH = {
    "name": "a", "out": "x", "home": "h", "number": 1, "kind": "function", "spec": {}, "folder": ".", "cwd": ".",
    "site": {}, "command": "x", "versions": {"ray": "1"}, "seconds": None, "bytes": 0,
}  # fmt: skip


@given(st.data())
@fuzz
def test_job_json(function: Path, data: st.DataObject) -> None:
    with replaced(function / "jobs/0001/job.json", data.draw(changed(JOB))):
        refusing(lambda: [progress(job) for job in jobs_of(function)])


@given(st.data())
@fuzz
def test_launch_json_and_the_exit_code(function: Path, data: st.DataObject) -> None:
    raw = data.draw(changed(LAUNCH))
    with replaced(function / "jobs/0001/launch.json", raw):
        refusing(lambda: load_launch(str(function / "jobs/0001/launch.json")))
    with replaced(function / "jobs/0001/exit", raw):
        status_at_end(function / "jobs/0001")


COLUMNS = st.sampled_from(
    [pa.array(["a", "a"]), pa.array([1, 2]), pa.array([None, None]), pa.array([b"\xff", b"x"]), pa.array([[1], []]),
     pa.array([{"a": 1}, None]), pa.array(["", "\x00"]), pa.array([True, False]), pa.array(["ok", "no status"]),
     pa.array(["a", "b"]).dictionary_encode(), pa.array([1e308, float("nan")])]
)  # fmt: skip
ABOUT = st.sampled_from(['{"replaces": [], "level": 0, "series": null}'] * 3) | changed(
    {"replaces": [[0, 3]], "level": 0, "series": "part-000000-aa.parquet"}
).map(lambda raw: raw.decode("utf-8", "replace").replace("\x00", ""))


@given(st.data(), st.sampled_from(["rows", "series"]))
@fuzz
def test_parts_with_a_right_seal(function: Path, data: st.DataObject, folder: str) -> None:
    """Anybody can seal a file: its columns and its words are as a stranger wants them."""
    names = data.draw(st.lists(st.sampled_from(["key", "status", "x", "error", "step"]), unique=True, max_size=4))
    table = pa.table({name: data.draw(COLUMNS) for name in names})
    raw = bytes(seal(table, {"landsweep": data.draw(ABOUT), "x": "y"}))
    if data.draw(st.integers(0, 3)) == 0:
        raw = raw[: len(raw) // 2] if data.draw(st.booleans()) else data.draw(RAW)
    with replaced(function / folder / "part-000050.parquet", raw):
        refusing(lambda: shown(function))
        refusing(lambda: Sweep.at(function).series())


@given(st.data())
@fuzz
def test_prepared_files(function: Path, data: st.DataObject) -> None:
    store, raw = Store.at(function), data.draw(RAW | st.just(save({"size": np.zeros(2)})))
    about = {"digest": "0", "bytes": "0", "host": "x"}
    with (
        replaced(function / "prepared/a.safetensors", raw),
        replaced(function / "prepared/a.json", data.draw(changed(about))),
    ):
        check_prepared(store)
        load_prepared(store, "a.safetensors")


INDEX = [{"shape": [6], "outputs": 2, "keys": ["a"]}]


@given(st.data())
@fuzz
def test_weight_files(zoo: Path, data: st.DataObject) -> None:
    file = next((zoo / "weights").iterdir())
    index = data.draw(changed({"packs": INDEX}).map(lambda raw: raw.decode("utf-8", "replace")))
    raw = save({"0/last/0.weight": np.zeros((2, 3, 2), np.float32)}, {"format": "x", "packs": index})
    with replaced(file, data.draw(st.sampled_from([raw, raw[:-7], raw[:4]]) | RAW)):
        there = Zoo(zoo)
        for member in there:
            refusing(lambda member=member: member.state())
            refusing(lambda member=member: member.module())
            refusing(lambda member=member: member.vector())


def test_a_zoo_without_its_spec_is_damaged(zoo: Path) -> None:
    head = content(zoo / "sweep.json")
    del head["spec"]
    with replaced(zoo / "sweep.json", json.dumps(head).encode()), pytest.raises(LandsweepError, match="no spec"):
        Zoo(zoo)


def test_formats_of_the_future_are_named(function: Path) -> None:
    head = content(function / "sweep.json")
    with replaced(function / "sweep.json", json.dumps({**head, "format": 99}).encode()):
        done = command("status", function, cwd=function)
        assert done.returncode == 2 and "later landsweep" in done.stderr
    with replaced(function / "sweep.json", json.dumps({**head, "from_the_future": 1}).encode()):
        assert command("status", function, cwd=function).returncode == 0


def test_a_copy_without_its_spec_is_refused(function: Path, tmp_path: Path) -> None:
    shutil.copytree(function, tmp_path / "copy")
    (tmp_path / "copy/sweep.json").unlink()
    for line in (("status",), ("verify",), ("report",), ("rerun",)):
        done = command(*line, tmp_path / "copy", cwd=tmp_path)
        assert done.returncode == 2 and "sweep.json" in done.stderr
